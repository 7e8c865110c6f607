"""Inline Markdown of one paragraph, built from the text and the inline elements of HTML."""

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, cast

from markdown_it.common.utils import isMdAsciiPunct, isPunctChar

_SPACES: Final = re.compile(r"\s++")
_MARKS: Final = ("](", "![", "~~")
_INVISIBLE: Final = re.compile("[\u00ad\u200b\u2060\ufeff]")
"""Characters without a width that only say where a line may be broken."""
_BREAK: Final = "  \n"

# Lookarounds decide by the neighbours within the text; at its ends every neighbour is possible.
_SPECIAL: Final = re.compile(r"[\\`*_~$<&\]{!|\[]")
_MEANT: Final = re.compile(
    r"\\(?=[!-/:-@\[-`{-~\n]|\Z)"
    r"|`"
    r"|\*(?!(?<=\s\*)\s)"
    r"|(?<!\w)_++(?=\S|\Z)"
    r"|~~++"
    r"|<(?=[^\W\d_]|[/!?>{]|[^\S ]| [/>{]| \s|\Z)"
    r"|&(?=#?\w{1,31};|\Z)"
    r"|\](?=\()"
    r"|\{(?=:? ?[.#]|\{[%!]|\Z)"
)
_MEANT_IN_LINK: Final = re.compile(rf"{_MEANT.pattern}|[\[\]]")
_DOUBTFUL: Final = re.compile(r"[\\`*_~$<&\[\]{!]")
_FORMULA: Final = re.compile(r"\$\$|\$(?![\s$])[^$]*+(?<!\s)\$(?![\w$])")
_FORMULA_TEXT: Final = re.compile(r"(?![\s$])(?:[^$\\]|\\.)++(?<!\s)", re.DOTALL)
_LINE_START: Final = re.compile(
    r"#{1,6}(?:\s|\Z)|>|[-+*](?:\s|\Z)|\+\+\+|=(?:=|\s*\Z)|:(?:\s|::|\Z)|//(?=/)|!(?=!!)|\?(?=\?\?)"
    r"|~(?:\s|\Z)|_(?:\s|\Z)|\$(?=\$)|\[(?=(?:[^\[\]\\]|\\.)*+\]:)|[-|:][-|: \t]*\Z"
)
_ATTRIBUTES: Final = re.compile(r"((?:^|\s))\\?\{(?=[^{}]*[.#=])")
_NUMBER: Final = re.compile(r"(\d{1,9})([.)])(?:\s|\Z)")
_STARTS: Final = frozenset("#>-+*=:/!?~_$[|0123456789")
_MAX_BRACKETS: Final = 40


def _escape(found: re.Match[str]) -> str:
    return "".join(f"\\{char}" for char in found[0])


def code_span(code: str) -> str:
    """Put `code` between as many backticks as it needs."""
    if "`" not in code:
        return f"`{code}`"
    marks = "`" * (1 + max(map(len, re.findall("`++", code))))
    pad = " " if code[0] == "`" or code[-1] == "`" else ""
    return f"{marks}{pad}{code}{pad}{marks}"


class _Format(NamedTuple):
    """An open inline element: its marks before and after the text."""

    before: str
    after: str
    repeat: bool = True
    """Whether it goes on in the next paragraph."""

    @property
    def is_mark(self) -> bool:
        """Whether Markdown reads it by the characters around it."""
        return self.before in ("*", "**", "~~")


_NO_FORMAT: Final = _Format("", "")


class _Mark(NamedTuple):
    text: str
    opens: bool


_ITEM_MARK: Final = "-"


class Inline:
    """The inline Markdown of one paragraph."""

    def __init__(self) -> None:
        self.size = 0
        """Characters so far."""
        self.newline = _BREAK
        """What a line break becomes."""
        self._parts: list[str | _Mark] = []
        self._raw: dict[int, str] = {}
        """The displayed text of the parts that may be read as markup."""
        self._open: list[_Format] = []
        self._written = 0
        """How many of the open elements have text in this paragraph."""
        self._gap = ""
        """Space or line break before the next text."""
        self._code: list[str] = []
        self._code_depth = 0
        self._code_gap = ""
        self._links = 0
        self._formula = -1
        """Index of the last part that is a formula."""
        self._last_code: tuple[int, str] | None = None
        """Index and text of the last part that is code."""
        self._counts = dict.fromkeys(_MARKS, 0)

    def text(self, text: str) -> None:
        """Add text, its white space as in the file."""
        if text.isascii():
            body = " ".join(text.split())
        else:
            text = _INVISIBLE.sub("", text)
            body = _SPACES.sub(" ", text).strip(" ")
        if not body:
            if text:
                self.space()
            return
        if text[0].isspace():
            self.space()
        if self._code_depth:
            if self._code:
                self._code.append(" " if self._gap else "")
            else:
                self._code_gap = self._gap
            self._gap = ""
            self._code.append(body)
        elif _SPECIAL.search(body):
            self._emit(_MEANT.sub(_escape, body), body)
        else:
            self._emit(body)
        if text[-1].isspace():
            self.space()

    def verbatim(self, markdown: str) -> None:
        """Add Markdown as it is."""
        self._end_code()
        for mark in _MARKS:
            self._counts[mark] += markdown.count(mark)
        self._emit(markdown)

    def image(self, alt: str, address: str) -> None:
        alt = _DOUBTFUL.sub(_escape, alt)
        self.verbatim(f"![{alt}]({address})")

    def formula(self, tex: str) -> None:
        """Add a formula; as code if it could not be read as one."""
        if _FORMULA_TEXT.fullmatch(tex):
            self.verbatim(f"${tex}$")
            self._formula = len(self._parts) - 1
        else:
            self.verbatim(code_span(tex))

    @property
    def is_empty(self) -> bool:
        return not self._parts

    def line_break(self) -> None:
        self._end_code()
        if self._parts[-1:] != [_ITEM_MARK]:
            self._gap = self.newline

    def begin_item(self) -> None:
        """Begin an item of a list in a cell of a table."""
        self.verbatim(_ITEM_MARK)
        self.space()

    def space(self) -> None:
        self._gap = self._gap or " "

    def open(self, before: str, after: str, *, repeat: bool = True) -> None:
        """Begin an inline element, which adds `before` and `after` if it has text.

        An element that does not `repeat` ends with its first paragraph.
        """
        nested = self._code_depth or any(each.before == before for each in self._open)
        self._open.append(_NO_FORMAT if nested else _Format(before, after, repeat))

    def close(self) -> None:
        """End the innermost inline element."""
        last = self._open.pop()
        if self._written > len(self._open):
            self._written -= 1
            self._end(last)

    def open_code(self) -> None:
        """Begin code, in which other elements have no marks."""
        self._open.append(_NO_FORMAT)
        self._code_depth += 1

    def close_code(self) -> None:
        if self._code_depth == 1:
            self._end_code()
        self._code_depth -= 1
        self.close()

    def finish(self) -> str:
        """Return the paragraph's Markdown and begin the next one, in the same elements."""
        if not self._parts and not self._code:
            self._gap = ""
            return ""
        self._end_code()
        while self._written:
            self._written -= 1
            last = self._open[self._written]
            self._end(last)
            if not last.repeat:
                self._open[self._written] = _NO_FORMAT
        parts, raw, counts = self._parts, self._raw, self._counts
        self._parts, self._raw, self._gap, self.size = [], {}, "", 0
        self._formula, self._last_code = -1, None
        self._counts = dict.fromkeys(_MARKS, 0)
        text = _join(parts)
        if raw and not _is_safe(text, counts, raw.values()):
            for place, shown in raw.items():
                parts[place] = _DOUBTFUL.sub(_escape, shown)
            text = _join(parts)
            if text.count("[") - text.count("]") > _MAX_BRACKETS:
                text = text.replace("\\[", "&#91;")
        return text

    def _emit(self, markdown: str, raw: str = "") -> None:
        parts = self._parts
        if self._gap:
            if parts:
                parts.append(self._gap)
            self._gap = ""
        while self._written < len(self._open):
            self._begin(self._open[self._written])
            self._written += 1
        if self._formula == len(parts) - 1 >= 0 and (markdown[0].isalnum() or markdown[0] in "_$"):
            shown = str(parts[-1])  # which Markdown does not read before a letter
            parts[-1] = _DOUBTFUL.sub(_escape, shown)
        if markdown[0] == "(" and parts and str(parts[-1]).endswith("]"):
            markdown = f"\\{markdown}"
        if raw:
            if self._links:
                markdown = _MEANT_IN_LINK.sub(_escape, raw)
            self._raw[len(parts)] = raw
        parts.append(markdown)
        self.size += len(markdown)

    def _begin(self, each: _Format) -> None:
        parts = self._parts
        if each.is_mark:
            last = parts[-1] if parts else None
            if isinstance(last, _Mark) and not last.opens and last.text == each.before:
                parts.pop()
            else:
                parts.append(_Mark(each.before, opens=True))
        elif each.before:
            self._links += each.before == "["
            self.size += len(each.before + each.after)
            parts.append(each.before)

    def _end(self, each: _Format) -> None:
        if each.is_mark:
            self._counts["~~"] += 2 * (each.before == "~~")
            self._parts.append(_Mark(each.after, opens=False))
        elif each.before:
            self._links -= each.before == "["
            self._counts["]("] += each.before == "["
            self._parts.append(each.after)

    def _end_code(self) -> None:
        if not self._code:
            return
        code, self._code = "".join(self._code), []
        gap, self._gap = self._gap, self._code_gap
        before, parts = self._last_code, self._parts
        if before and before[0] == len(parts) - 1 and not self._gap and not self._begins():
            code = before[1] + code  # two spans would have their marks side by side
            parts.pop()
        for mark in _MARKS:
            self._counts[mark] += code.count(mark)
        self._emit(code_span(code))
        self._last_code = len(parts) - 1, code
        self._gap = gap

    def _begins(self) -> bool:
        """Whether an element begins with the next text."""
        return any(each.before for each in self._open[self._written :])


def _is_safe(text: str, counts: dict[str, int], raw: Iterable[str]) -> bool:
    """Tell whether marks of Markdown in `text` are no more than were meant."""
    if any(text.count(mark) != count for mark, count in counts.items()):
        return False
    if "~~~" in text or text.count("[") - text.count("]") > _MAX_BRACKETS:
        return False
    return "$" not in text or not any("$" in each for each in raw) or not _FORMULA.search(text)


def _join(parts: Sequence[str | _Mark]) -> str:
    """Join the parts, without the marks that Markdown would not read as such."""
    if _Mark not in map(type, parts):
        return "".join(cast(Sequence[str], parts))
    before = _neighbours(parts, -1)
    after = _neighbours(parts[::-1], 0)[::-1]
    joined = ["" if isinstance(part, _Mark) else part for part in parts]
    opened: list[tuple[int, bool]] = []
    after_mark = False
    for place, part in enumerate(parts):
        if isinstance(part, str):
            after_mark = False
        elif part.opens:
            opened.append((place, after_mark))
        else:
            start, touches = opened.pop()  # a mark that ends another element would be one with it
            inside = _flanks(after[start], before[start]) and _flanks(before[place], after[place])
            if inside and not touches:
                joined[start] = joined[place] = part.text
                after_mark = True
    return "".join(joined)


def _neighbours(parts: Sequence[str | _Mark], end: int) -> list[str]:
    """For each part the character at that end of the text before it."""
    found, last = [], ""
    for part in parts:
        found.append(last)
        if isinstance(part, str):
            last = part[end]
    return found


def _flanks(inner: str, outer: str) -> bool:
    """Tell whether a mark between these characters can begin or end emphasis."""
    if not inner or inner.isspace():
        return False
    return not _is_punctuation(inner) or not outer or outer.isspace() or _is_punctuation(outer)


def _is_punctuation(char: str) -> bool:
    return isMdAsciiPunct(ord(char)) or isPunctChar(char)


def at_line_starts(text: str) -> str:
    """Escape what would begin another block at the start of a line of `text`."""
    if "\n" in text:
        return "\n".join(map(_at_line_start, text.split("\n")))
    return _at_line_start(text)


def _at_line_start(line: str) -> str:
    if line[:1] not in _STARTS:
        return line
    if found := _NUMBER.match(line):
        return f"{found[1]}\\{line[found.end(1) :]}"
    return f"\\{line}" if _LINE_START.match(line) else line


def heading_text(text: str) -> str:
    """Escape what a heading would lose at its end: `#`, and braces, which may be its id."""
    if text.endswith("#") and (found := re.search(r"(?:(?<=\s)|^)#++$", text)):
        return f"{text[: found.start()]}\\{found[0]}"
    if text.endswith("}") and (found := _ATTRIBUTES.search(text, max(text.rfind("{") - 2, 0))):
        return f"{text[: found.end(1)]}&#123;{text[found.end() :]}"
    return text
