"""Sanitize a model's Markdown while it streams: resolve markers, remove foreign links.

Every Markdown renderer must read the result the same way. Where one could see code and another
text, or a link where another sees none, the text is changed: unmatched backticks, brackets, `<` and
addresses without a target are escaped. Code passes unchanged.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Generic, TypeVar

from lib.sanitizer_syntax import (
    MAX_ADDRESS,
    Addresses,
    LineKind,
    OpenBlocks,
    classify_line,
    drop_unfinished_marker,
    find_address,
    find_closing_bracket,
    find_entity,
    find_marker,
    find_tag,
    find_target,
    is_simple,
)

_MAX_CODE_SPAN: Final = 400
"""Characters after which an unmatched backtick is text."""
_MAX_DOMAIN: Final = 255
_MAX_LINE_PREFIX: Final = 1_000
"""Maximum characters of undecided structure at the start of a line; then the line is broken."""
_MAX_SPACES: Final = 64
"""Spaces that are held back, and removed before a marker without a passage."""
_MAX_LINE: Final = 4_000
"""Characters of a line that are remembered."""
STEP: Final = 500
"""Characters processed in one step: each handler copies the rest of the text."""
_READ_AGAIN: Final = 100
"""Held text of this length is read again only when it has grown by an eighth, so that the time
stays linear if each delta is one character."""

_T = TypeVar("_T")
_Cite = Callable[[int, str], tuple[str, _T | None]]
"""Maps a passage's number and the line's text before its marker to the reader's marker ("" without
such a passage) and an object to emit after it, if any."""

_SPECIAL: Final = re.compile(
    r"[`\n\[［【\\<&@(!:]|/(?:/|\Z)|(?:[hH][tT][tT]|[fF][tT])[pP]|[wW]{3}(?:\\?\.|\\?\Z)"
    r"|(?<![A-Za-z0-9])(?:[hH](?:[tT][tT]?)?|[fF][tT]?|[wW]{1,2})\Z"
)
_UNSETTLED: Final = re.compile(r"(?:/|(?<![A-Za-z0-9])(?:ht?t?p?s?|ft?p?s?|w{1,3}))\Z", re.I)
_STRUCTURE: Final = re.compile(r"[-*_=|:+#>0-9.)\s~]*+")
# Nested quotes and lists, before one more: deeper ones are no structure.
_TOO_DEEP: Final = re.compile(
    r"(?:[ \t]*+(?:>|[-+*](?=[ \t])|[0-9]{1,9}+[.)](?=[ \t]))){20}[ \t]*+[0-9]*+(?=[-+*>.)])"
)
_TICKS_OR_BREAK: Final = re.compile(r"`++|\n")
_WORD_NEXT: Final = re.compile(r" {0,3}[^\W\d_]")
_SCHEME_BEFORE: Final = re.compile(r"(?:https?|ftps?)\Z", re.IGNORECASE)
_LOCAL_PART_BACKWARDS: Final = re.compile(r"[\w.+-]++")
_DOMAIN: Final = re.compile(r"@[\w-]++(?:\\?\.[\w-]++)*+")
_IN_ADDRESS: Final = re.compile(r"[^\s<>\"`|\[\]［］【】\\]*+")
_SLASHES: Final = re.compile(r"/*+")
_PUNCTUATION: Final = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_MAKES_TEXT: Final = frozenset("&<[［【")
_NO_TAG: Final = frozenset(" \t\n=-0123456789")
_DEFINES: Final = re.compile(_STRUCTURE.pattern + r"\[")
_HOST_BEGUN: Final = re.compile(r"(?:www\.?|@[^\s@]*+)\Z", re.IGNORECASE)
_NUMBER_BEGUN: Final = re.compile(r"[\[［【][\s\d]*+\Z")
_LINE: Final = re.compile(r"[^\n]*+")


class AnswerBuffer(Generic[_T]):
    """Buffers a model's deltas and emits sanitized text, with the objects that `cite` adds.

    The result does not depend on how the deltas were cut. Each handler below processes one position
    and returns the rest of the text, or None if it needs more text to decide.
    """

    def __init__(self, cite: _Cite[_T], addresses: Addresses) -> None:
        self._cite = cite
        self._addresses = addresses
        self._cited: set[int] = set()
        self._out: list[str | _T] = []
        self._held = ""
        self._read = 0  # the length of `_held` when it was read
        self._line = ""  # the emitted part of this line
        self._blocks = OpenBlocks()
        self._after = OpenBlocks()
        self._unclassified = True
        self._in_code = False
        self._gap = ""
        self._skip: re.Pattern[str] | None = None
        self._ends_with_cr = False

    def feed(self, delta: str) -> list[str | _T]:
        """Process a delta and return what can be emitted."""
        if self._ends_with_cr or "\r" in delta:
            delta = self._normalize_line_breaks(delta)
        steps = range(0, len(delta), STEP)
        return [piece for at in steps for piece in self._feed(delta[at : at + STEP])]

    def _feed(self, delta: str) -> list[str | _T]:
        if len(self._held) >= _READ_AGAIN:
            self._held += delta
            if len(self._held) < self._read + self._read // 8:
                return []
            return self._process("", final=False)
        if (
            not (self._held or self._unclassified or self._gap or self._skip)
            and (not _SPECIAL.search(delta) if not self._in_code else "\n" not in delta)
            and delta[-1:] != " "
        ):
            self._remember(delta)
            return [delta]
        return self._process(delta, final=False)

    def finish(self) -> list[str | _T]:
        """Return the held text at the end, without an unfinished marker."""
        if not self._in_code:
            self._held = drop_unfinished_marker(self._held)
        return self._process("", final=True)

    def _process(self, delta: str, *, final: bool) -> list[str | _T]:
        text, self._held = self._held + delta, ""
        rest: str | None = text
        while rest:
            text = rest
            if self._skip is not None:
                skipped = self._skip.match(text)
                text = text[skipped.end() if skipped else 0 :]
                if text:
                    self._skip = None
                rest = text
            elif self._gap:
                if (
                    _NUMBER_BEGUN.search(self._line[-_MAX_DOMAIN:])
                    and text[0] in "]］】 0123456789"
                ):
                    self._emit("·")
                elif self._line and _would_join(self._line, text[0], self._gap):
                    self._emit(" ")
                self._gap = ""
            elif self._unclassified:
                rest = self._begin_line(text, final)
            elif self._in_code:
                line, end, rest = text.partition("\n")
                self._emit(line + end)
                if end:
                    self._end_line()
            else:
                rest = self._process_inline(text, final)
        self._read = len(self._held)
        return self._drain()

    def _normalize_line_breaks(self, delta: str) -> str:
        """Convert line breaks to `\\n`; a `\\r` may have ended the previous delta."""
        if self._ends_with_cr and delta:
            delta, self._ends_with_cr = delta.removeprefix("\n"), False
        self._ends_with_cr = self._ends_with_cr or delta.endswith("\r")
        return delta.replace("\r\n", "\n").replace("\r", "\n")

    def _drain(self) -> list[str | _T]:
        pieces: list[str | _T] = []
        plain: list[str] = []
        for piece in self._out:
            if isinstance(piece, str):
                plain.append(piece)
                continue
            if plain:
                pieces.append("".join(plain))
                plain.clear()
            pieces.append(piece)
        if plain:
            pieces.append("".join(plain))
        self._out.clear()
        return pieces

    def _begin_line(self, text: str, final: bool) -> str | None:
        end = text.find("\n")
        line = (self._line + (text if end < 0 else text[:end]))[: _MAX_LINE_PREFIX + 1]
        whole = len(line) <= _MAX_LINE_PREFIX
        in_code = self._blocks.fence and not self._blocks.containers
        if not in_code and (deep := _TOO_DEEP.match(line)):
            at = deep.end() - len(self._line)
            return f"{text[:at]}\\{text[at:]}"
        read = classify_line(self._blocks, line, whole and (final or end >= 0))
        if not whole and (read is None or read[0] is LineKind.FENCE):
            cut = _MAX_LINE_PREFIX - len(self._line)
            return f"{text[:cut]}\n{text[cut:]}"
        if read is None or (read[0] is LineKind.FENCE and end < 0 and not final):
            self._held = text
            return None
        kind, after = read
        if kind is LineKind.UNCLEAR:
            return ("\\" if self._line else "\n") + text
        if kind is LineKind.FENCE:
            # A bar could make it a table's header.
            text = text[:end].replace("|", " ") + text[end:] if end >= 0 else text.replace("|", " ")
        self._unclassified = False
        self._after = after
        self._in_code = kind in (LineKind.FENCE, LineKind.CODE)
        return text

    def _end_line(self) -> None:
        self._blocks, self._line = self._after, ""
        self._unclassified, self._in_code, self._gap = True, False, ""

    def _emit(self, piece: str) -> None:
        if piece:
            self._out.append(piece)
            self._remember(piece)

    def _remember(self, piece: str) -> None:
        self._line += piece
        if len(self._line) > 2 * _MAX_LINE:
            # Whether it began with more than structure, and with which character, still counts.
            first = _STRUCTURE.sub("", self._line[:-_MAX_LINE], count=1)[:1]
            self._line = first + self._line[-_MAX_LINE:]

    def _process_inline(self, text: str, final: bool) -> str | None:
        found = _SPECIAL.search(text)
        if found is None:
            kept = text if final else _without_spaces(text)
            self._emit(kept)
            self._held = text[len(kept) :]
            return None
        rest = self._handle_special(found, text, final)
        if rest is None:
            before = text[: found.start()]
            unsettled = _UNSETTLED.search(before, max(0, found.start() - _MAX_SPACES))
            kept = before[: unsettled.start()] if unsettled else _without_spaces(before)
            self._emit(kept)
            self._held = text[len(kept) :]
        return rest

    def _handle_special(self, found: re.Match[str], text: str, final: bool) -> str | None:
        at = found.start()
        if text[at] == "\n":
            self._emit(text[: at + 1])
            self._end_line()
            return text[at + 1 :]
        if text[at] == "(" and self._line_before(text, at).endswith("]"):
            return self._show(text, at, "\\(", at + 1)
        handle = _HANDLERS.get(text[at])
        return handle(self, text, at, final) if handle else self._handle_address(found, text, final)

    def _line_before(self, text: str, at: int) -> str:
        return self._line + text[:at]

    def _is_at_start(self, text: str, at: int) -> bool:
        """Whether only characters of lists, rules and headings precede `at`."""
        return bool(_STRUCTURE.fullmatch(self._line_before(text, at)))

    def _show(self, text: str, at: int, shown: str, end: int) -> str:
        self._emit(text[:at])
        self._emit(shown)
        return text[end:]

    def _rewrite(self, text: str, at: int, new: str, end: int) -> str:
        """Continue as if the model had written `new`."""
        self._unclassified = self._is_at_start(text, at)
        return text[:at] + new + text[end:]

    def _drop(self, text: str, before: str, end: int, gap: str) -> str:
        self._unclassified = self._is_at_start(before, len(before))
        self._emit(before)
        self._gap = gap
        return text[end:]

    def _handle_marker(self, text: str, at: int, final: bool) -> str | None:
        marker = find_marker(text, at, final)
        if marker is None:
            return None
        end, numbers = marker
        if not numbers:
            return self._show(text, at, text[at], at + 1)
        following = text[end : end + 1]
        if not following and not final:
            return None
        if following == "(":  # some models add a target of their own
            own = find_target(text, end, final)
            if own is None:
                return None
            end = own[1] or end
        elif following == ":" and self._is_at_start(text, at) and self._cited.issuperset(numbers):
            # Drop the text of a footnote: the citation replaces it.
            self._skip = _LINE
            return self._drop(text, text[:at], end, "")
        return self._emit_citations(text, at, numbers, end)

    def _emit_citations(self, text: str, at: int, numbers: Sequence[int], end: int) -> str:
        said = self._line_before(text, at)
        cited = [(number, *self._cite(number, said)) for number in numbers]
        if not any(shown for _, shown, _ in cited):
            return self._drop(text, _without_spaces(text[:at]), end, "hard")
        self._emit(text[:at])
        for number, shown, extra in cited:
            if shown:
                self._emit_link(shown)
                self._cited.add(number)
            if extra is not None:
                self._out.append(extra)
        return text[end:]

    def _emit_link(self, link: str) -> None:
        # A preceding `!` would make it an image, a backslash would escape it.
        self._emit(f" {link}" if self._line[-1:] in ("!", "\\") else link)

    def _handle_bracket(self, text: str, at: int, final: bool) -> str | None:
        marker = find_marker(text, at, final)
        if marker is None or marker[1]:
            return self._handle_marker(text, at, final)
        link = _find_link(text, at, final)
        if link is None:
            return None
        label, target, end = link
        if end == 0:
            # A label at the start of a line could become a link definition.
            opens = label is None and self._is_at_start(text, at)
            return self._show(text, at, "\\[" if opens else "[", at + 1)
        known = self._addresses.find(target) if label and is_simple(label) else None
        if known is None:
            return self._replace(text, at, label or "", end)
        self._emit(text[:at])
        self._emit_link(f"[{label}]({known})")
        return text[end:]

    def _replace(self, text: str, at: int, label: str, end: int) -> str:
        if label.strip():
            return self._rewrite(text, at, label, end)
        return self._drop(text, _without_spaces(text[:at]), end, "hard")

    def _handle_exclamation(self, text: str, at: int, final: bool) -> str | None:
        if at + 1 == len(text) and not final:
            return None
        if text.startswith("[", at + 1):
            marker = find_marker(text, at + 1, final)
            if marker is None:
                return None
            link = ("", "", 0) if marker[1] else _find_link(text, at + 1, final)
            if link is None:
                return None
            label, _, end = link
            if end:
                return self._replace(text, at, label or "", end)
        return self._show(text, at, "!", at + 1)

    def _handle_backticks(self, text: str, at: int, final: bool) -> str | None:
        """Process a code span or unmatched backticks."""
        begin = len(text) - len(text[at:].lstrip("`"))
        if begin >= at + _MAX_CODE_SPAN:
            return self._escape_backticks(text, at, at + _MAX_CODE_SPAN)
        if begin == len(text) and not final:
            return None
        ticks = text[at:begin]
        for found in _TICKS_OR_BREAK.finditer(text, begin):
            if found.start() >= at + _MAX_CODE_SPAN:
                break
            after = text[found.end() : found.end() + 5]
            if found[0] == "\n":
                if not final and not after[:4].strip(" ") and len(after) < 4:
                    return None
                if self._after.table or not _WORD_NEXT.match(after):
                    return self._escape_backticks(text, at, begin)
            elif not after and not final:
                return None
            elif found[0] == ticks:
                code = text[begin : found.start()]
                if "|" in code:
                    if self._after.table:
                        return self._escape_backticks(text, at, begin)
                    self._after = replace(self._after, bar=True)
                # On one line, it is code even for renderers that would see two blocks.
                shown = f"{ticks}{code}{ticks}".replace("\n", " ")
                return self._show(text, at, shown, found.end())
        if not final and len(text) < at + _MAX_CODE_SPAN:
            return None
        return self._escape_backticks(text, at, begin)

    def _escape_backticks(self, text: str, at: int, end: int) -> str:
        return self._show(text, at, "\\`" * (end - at), end)

    def _handle_backslash(self, text: str, at: int, final: bool) -> str | None:
        if at + 1 == len(text):
            return self._show(text, at, "\\", at + 1) if final else None
        char = text[at + 1]
        if char == "[":
            marker = find_marker(text, at, final)
            if marker is None or marker[1]:
                return self._handle_marker(text, at, final)
        if char in ":/@":
            return self._rewrite(text, at, char, at + 2)
        if char == "<":
            return self._show(text, at, "&lt;", at + 2)
        end = at + 2 if char in _PUNCTUATION else at + 1
        return self._show(text, at, text[at:end], end)

    def _handle_angle(self, text: str, at: int, final: bool) -> str | None:
        tag = find_tag(text, at, final)
        if tag is None:
            return None
        stays, end = tag
        if end and stays:
            return self._rewrite(text, at, stays, end)
        if end:
            return self._drop(text, text[:at], end, "soft")
        safe = text[at + 1 : at + 2] in _NO_TAG
        return self._show(text, at, "<" if safe else "&lt;", at + 1)

    def _handle_entity(self, text: str, at: int, final: bool) -> str | None:
        entity = find_entity(text, at, final)
        if entity is None:
            return None
        char, end = entity
        if end == 0 or (char == "." and self._is_at_start(text, at)):
            return self._show(text, at, "&", at + 1)
        return self._rewrite(text, at, char, end)

    def _handle_at_sign(self, text: str, at: int, final: bool) -> str | None:
        local = _LOCAL_PART_BACKWARDS.match(self._line_before(text, at)[: -_MAX_DOMAIN - 1 : -1])
        domain = _DOMAIN.match(text, at)
        if local is None:
            return self._show(text, at, "@", at + 1)
        if domain is None:
            if at + 1 == len(text) and not final:
                return None
            made = text[at + 1 : at + 2] in _MAKES_TEXT
            return self._show(text, at, " at " if made else "@", at + 1)
        end = domain.end()
        # The domain may continue after a dot, escaped or not.
        if not final and len(text) < end + 3 and text[end:] in ("", ".", "\\", "\\."):
            return None if len(text) - at < _MAX_DOMAIN else self._show(text, at, " at ", at + 1)
        dotted = "." in domain[0] or text[end : end + 1] in _MAKES_TEXT
        if not dotted or self._addresses.has_mail(local[0][::-1] + domain[0]):
            return self._show(text, at, domain[0], end)
        return self._show(text, at, " at ", at + 1)

    def _handle_colon(self, text: str, at: int, final: bool) -> str | None:
        before = self._line_before(text, at)
        if before.endswith("]") and _DEFINES.match(before):
            return self._show(text, at, "\\:", at + 1)
        if not final and text[at:] in (":", ":/"):
            return None
        end = at + 1
        if text.startswith("://", at) and _SCHEME_BEFORE.search(before[-5:]):
            self._skip = _SLASHES
        return self._show(text, at, ":", end)

    def _handle_slashes(self, text: str, at: int, final: bool) -> str | None:
        if len(text) - at < 3 and not final:
            return None
        if not text.startswith("//", at):
            return self._show(text, at, "/", at + 1)
        # Some renderers link an address without a scheme.
        leads = text[at + 2 : at + 3].strip()
        return self._show(text, at, "/\\/" if leads else "//", at + 2)

    def _handle_address(self, found: re.Match[str], text: str, final: bool) -> str | None:
        at = found.start()
        previous = self._line_before(text, at)[-1:]
        if previous.isascii() and previous.isalnum():
            return self._show(text, at, found[0], found.end())
        address = find_address(text, at, final)
        if address is None or (len(text) - at < 4 and not final):
            return None
        written, host, end = address
        if end == 0:
            return self._show(text, at, found[0], found.end())
        known = self._addresses.within(written)
        if known is not None:
            self._emit(text[:at])
            self._emit_link(f"<{known[0]}>")
            return text[at + known[1] :]
        if len(written) >= MAX_ADDRESS:
            self._skip, end = _IN_ADDRESS, at + len(written)
        if not host:
            return self._drop(text, text[:at], end, "hard")
        if self._is_at_start(text, at):
            return self._rewrite(text, at, host, end)
        apart = " " if _HOST_BEGUN.search(self._line_before(text, at)[-_MAX_DOMAIN:]) else ""
        return self._show(text, at, apart + host, end)


_HANDLERS: Final[Mapping[str, Callable[[AnswerBuffer[Any], str, int, bool], str | None]]] = {
    "`": AnswerBuffer._handle_backticks,
    "[": AnswerBuffer._handle_bracket,
    "!": AnswerBuffer._handle_exclamation,
    "［": AnswerBuffer._handle_marker,
    "【": AnswerBuffer._handle_marker,
    "(": AnswerBuffer._handle_marker,
    "\\": AnswerBuffer._handle_backslash,
    "<": AnswerBuffer._handle_angle,
    "&": AnswerBuffer._handle_entity,
    "@": AnswerBuffer._handle_at_sign,
    ":": AnswerBuffer._handle_colon,
    "/": AnswerBuffer._handle_slashes,
}


def _find_link(text: str, at: int, final: bool) -> tuple[str | None, str, int] | None:
    """Parse the link whose label opens at `at`: label, target, end.

    The end is 0 without a link; the label is None if it is not closed either. None if more text is
    needed.
    """
    close = find_closing_bracket(text, at, final)
    if close is None:
        return None
    if close < 0:
        return None, "", 0
    if close + 1 == len(text) and not final:
        return None
    label = text[at + 1 : close]
    if not text.startswith("(", close + 1):
        return label, "", 0
    target = find_target(text, close + 1, final)
    return None if target is None else (label, *target)


def _without_spaces(text: str) -> str:
    """Remove the spaces at the end, at most `_MAX_SPACES` of them."""
    return text[: max(len(text.rstrip(" ")), len(text) - _MAX_SPACES)]


def _would_join(line: str, following: str, gap: str) -> bool:
    """Whether the text on both sides of a gap could form new markup without a space."""
    last = line[-1]
    if last.isspace() or following.isspace():
        return False
    if last in "\\&!</:@" or following in "/:@&\\" or last + following in ("``", "](", "]["):
        return True
    if following == ".":
        return bool(_HOST_BEGUN.search(line[-_MAX_DOMAIN:]))
    if last == "." or (last in "wW" and following in "wW[<"):
        return last != "." or bool(_HOST_BEGUN.search(line[-_MAX_DOMAIN:]))
    return gap == "hard" and last.isalnum() and following.isascii() and following.isalnum()
