"""Tags of template languages in Markdown: Liquid, Jinja and Hugo's shortcodes.

Templates are not run, so the value of a tag is unknown. A tag is no text, except for titles and
captions in it. Comments are hidden, with their headings. The body of `raw` stays as written, and
that of `highlight` is code. A heading in the body of `{{< note >}}` is not one of the page's.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

_Syntax: TypeAlias = Literal["liquid", "jinja", "hugo"]

FILLER: Final = "\ufdd4"
"""Stands for each character that is not shown; reserved by Unicode for a program's own use."""

_LIQUID: Final = r"""
    \{%-?\s*+(?P<name>\#|\w*+)(?P<arguments>(?:[^%{]|%(?!\})|\{(?!%))*+)%\}
    |\{\{(?:[^{}]|\{(?!\{)|\}(?!\}))*+\}\}
"""
_JINJA_COMMENT: Final = r"|(?P<comment>\{\#(?:[^\#{]|\#(?!\})|\{(?!\#))*+\#\})"
_KRAMDOWN: Final = r"|\{::(?P<kramdown>\w++)(?:[^{}\n]*+)\}|\{:/(?:\w*+)\}"
_HUGO: Final = r"""
    \{\{(?P<delimiter><)(?P<shortcode>
        (?:[^>"`{]|"(?:[^"\\\n]|\\.)*+"|`[^`]*+`|>(?!\}\})|\{(?!\{))*+)>\}\}
    |\{\{%(?P<markdown>(?:[^%"`{]|"(?:[^"\\\n]|\\.)*+"|`[^`]*+`|%(?!\}\})|\{(?!\{))*+)%\}\}
    |(?P<comment>\{\{/\*(?:[^*{]|\*(?!/\}\})|\{(?!\{/))*+\*/\}\})
"""
_TAGS: Final = {
    syntax: re.compile(pattern, re.VERBOSE | re.DOTALL)
    for syntax, pattern in {
        "liquid": _LIQUID + _KRAMDOWN,
        "jinja": _LIQUID + _JINJA_COMMENT,
        "hugo": _HUGO,
    }.items()
}
_ENDS: Final = {
    "raw": re.compile(r"\{%-?\s*+(?P<end>end)raw\s*+-?%\}"),
    "comment": re.compile(r"\{%-?\s*+(?P<end>end)?comment\b(?:[^%{]|%(?!\})|\{(?!%))*+%\}"),
    "if": re.compile(
        r"\{%-?\s*+(?:(?P<end>end)?if\b|(?P<other>else|elsif|elif)\b)"
        r"(?:[^%{]|%(?!\})|\{(?!%))*+%\}"
    ),
    "kramdown": re.compile(r"\{:(?:(?P<end>/)(?:comment)?|:comment[^{}\n/]*+)\}"),
}
_SHORTCODE: Final = re.compile(r"\s*+(/?)\s*+([\w./-]++)")
_CODE: Final = re.compile(r"highlight|code[\w-]*+|mermaid")
_LANGUAGES: Final = frozenset(
    "bash c console cpp cs css csharp diff docker dockerfile go graphql html http ini java js "
    "javascript json jsx kotlin lua makefile php plain powershell proto py python rb ruby rust "
    "scss sh shell sql swift text toml ts tsx typescript xml yaml yml".split()
)
"""A first argument that makes the body of any shortcode code: `{{< text bash >}}`."""
_TITLED: Final = frozenset("accordion collapse details expand step tab".split())
"""Their first argument is a title."""
_NAMED: Final = re.compile(
    r"""(?<![\w-])([A-Za-z][\w-]*+)\s*+=\s*+"""
    r"""(?:"((?:[^"\\]|\\.)*+)"|'([^']*+)'|`([^`]*+)`|([^\s"'`=]++))"""
)
_POSITIONAL: Final = re.compile(r"""\s*+(?:"((?:[^"\\]|\\.)*+)"|([\w+#-]++)(?=\s|\Z))""")
_TITLES: Final = frozenset("caption content header label summary title".split())
_BLANK: Final = f" \t\r\n{FILLER}"
_NOT_BREAK: Final = re.compile(r"[^\r\n]")

_LONGEST_SPAN: Final = 1_000
"""Characters of a code span; longer code is a block. Also of what stands beside a title."""

_Span: TypeAlias = tuple[int, int]


class _Body(NamedTuple):
    """The text between two tags, or the titles of a tag."""

    start: int
    end: int
    kind: Literal["code", "foreign", "titles"]
    """foreign: Markdown whose headings are not those of the page."""
    language: str = ""
    title: str = ""


class Template(NamedTuple):
    """A text whose tags are marked."""

    text: str
    """As long as the source, with `FILLER` in place of tags and comments and the same lines."""
    hidden: Sequence[_Span] = ()
    """Offsets of comments, in order."""
    bodies: Sequence[_Body] = ()
    """A body that contains another comes first."""


def read_template(text: str, start: int, syntax: _Syntax) -> Template:
    """Mark the tags from the offset `start` on. A tag that is not closed is text."""
    found = _TAGS[syntax].search(text, start)
    if found is None:
        return Template(text)
    reader = _Reader(text, syntax)
    while found:
        start = reader.shortcode(found) if syntax == "hugo" else reader.tag(found)
        found = _TAGS[syntax].search(text, start)
    return reader.template()


def place_bodies(
    template: Template, starts: Sequence[int]
) -> tuple[dict[int, tuple[int, _Body]], set[int]]:
    """Return the bodies that are blocks by line, and the lines of foreign ones.

    `starts` are the offsets of the lines. Each line of a block has its last line (exclusive).
    """
    blocks: dict[int, tuple[int, _Body]] = {}
    foreign: set[int] = set()
    ends = {"code": -1, "foreign": -1}
    for body in template.bodies:
        first = bisect_right(starts, body.start) - 1
        last = bisect_right(starts, max(body.end - 1, body.start)) - 1
        before = template.text[max(starts[first], body.start - _LONGEST_SPAN) : body.start]
        if body.kind == "titles":
            line_end = starts[last + 1] if last + 1 < len(starts) else len(template.text)
            after = template.text[body.end : min(line_end, body.end + _LONGEST_SPAN)]
            if not (before + after).strip(_BLANK):
                blocks[first] = last + 1, body
            continue
        if last <= ends[body.kind]:
            continue  # inside another one
        if body.kind == "foreign":
            foreign.update(
                range(max(first + bool(before.strip(_BLANK)), ends["foreign"] + 1), last + 1)
            )
        else:
            lines = [
                line
                for line in range(max(first, ends["code"] + 1), last + 1)
                if template.text[
                    starts[line] : starts[line + 1] if line < last else body.end
                ].strip(_BLANK)
            ]
            if lines:
                last = lines[-1]
                blocks.update((line, (last + 1, body)) for line in range(lines[0], last + 1))
        ends[body.kind] = last
    return blocks, foreign


class _Open(NamedTuple):
    """A tag that may have a body."""

    name: str
    start: int
    end: int
    arguments: Mapping[str, _Span]
    """Offsets of the values, by name or by place."""
    is_markdown: bool = False


class _Reader:
    def __init__(self, text: str, syntax: _Syntax) -> None:
        self.text = text
        self.syntax = syntax
        self.shown = list(text)
        self.hidden: list[_Span] = []
        self.bodies: list[_Body] = []
        self.open: list[_Open] = []
        self.names: Counter[str] = Counter()

    def template(self) -> Template:
        self.bodies.sort(key=lambda body: (body.start, -body.end))
        return Template("".join(self.shown), self.hidden, self.bodies)

    def fill(self, start: int, end: int) -> int:
        self.shown[start:end] = _NOT_BREAK.sub(FILLER, self.text[start:end])
        return end

    def hide(self, start: int, end: int) -> int:
        if start < end:
            self.hidden.append((start, end))
        return self.fill(start, end)

    def tag(self, found: re.Match[str]) -> int:
        """Mark a tag of Liquid or Jinja, and what it hides. Return the offset after it."""
        start, end = found.span()
        groups = found.groupdict()
        if groups.get("comment") or groups["name"] == "#":
            return self.hide(start, end)
        if groups.get("kramdown") == "comment" and not found[0].endswith("/}"):
            return self.hide(start, self.close("kramdown", end)[1])
        self.fill(start, end)
        match groups["name"]:
            case "raw":
                return self.fill(*self.close("raw", end))
            case "comment":
                return self.hide(start, self.close("comment", end)[1])
            case "if" if groups["arguments"].strip(" \n-").lower() == "false":
                return self.hide(end, self.close("if", end)[0])
            case "highlight" | "include" as name:
                arguments = self.arguments(found.start("arguments"), end - 2)
                if name == "include":
                    self.show(start, end, arguments)
                else:
                    self.push(_Open(name, start, end, arguments))
            case "endhighlight":
                self.pop("highlight", start, end)
        return end

    def close(self, name: str, at: int) -> _Span:
        """Find the tag that ends the body at `at`; at the end of the text if there is none."""
        depth = 1
        for found in _ENDS[name].finditer(self.text, at):
            if found.lastgroup == "other":
                depth -= depth == 1
            else:
                depth += -1 if found["end"] else 1
            if not depth:
                return found.span()
        return len(self.text), len(self.text)

    def shortcode(self, found: re.Match[str]) -> int:
        """Mark a shortcode of Hugo. Return the offset after it."""
        start, end = found.span()
        if found["comment"]:
            return self.hide(start, end)
        begin = start + 3
        if self.text.startswith("/*", begin) and self.text.startswith("*/", end - 5):
            self.fill(begin, begin + 2)
            return self.fill(end - 5, end - 3) + 3
        self.fill(start, end)
        named = _SHORTCODE.match(self.text, begin, end - 3)
        if named is None:
            return end
        name = named[2].lower().rpartition("/")[2]
        if named[1]:
            self.pop(name, start, end)
            return end
        arguments = self.arguments(named.end(), end - 3)
        self.push(_Open(name, start, end, arguments, found["markdown"] is not None))
        self.show(start, end, arguments, titled=name in _TITLED)
        return end

    def arguments(self, start: int, end: int) -> dict[str, _Span]:
        """Find the values of a tag's arguments: by name, and the first without a name as "0"."""
        values: dict[str, _Span] = {}
        if first := _POSITIONAL.match(self.text, start, end):
            values["0"] = first.span(first.lastindex or 0)
        for found in _NAMED.finditer(self.text, start, end):
            values[found[1].lower()] = found.span(found.lastindex or 0)
        return values

    def value(self, tag: _Open, *names: str) -> str:
        return next((self.text[slice(*tag.arguments[n])] for n in names if n in tag.arguments), "")

    def show(
        self, start: int, end: int, arguments: Mapping[str, _Span], *, titled: bool = False
    ) -> None:
        """Show the titles of a tag where they stand."""
        names = _TITLES | {"0"} if titled else _TITLES
        spans = sorted(
            span
            for name, span in arguments.items()
            if name in names and (self.syntax == "hugo" or self.text[span[0] - 1] in "\"'")
        )  # without quotes, Liquid takes it for a variable
        for first, last in spans:
            self.shown[first:last] = self.text[first:last]
            after = last + (self.text[first - 1] in "\"'`")
            if self.text[after].isspace():  # keeps titles apart
                self.shown[after] = self.text[after]
        if spans:
            self.bodies.append(_Body(start, end, "titles"))

    def push(self, tag: _Open) -> None:
        self.open.append(tag)
        self.names[tag.name] += 1

    def pop(self, name: str, start: int, end: int) -> None:
        """Find the tag that the one from `start` to `end` closes, and mark its body."""
        while self.names[name]:
            tag = self.open.pop()
            self.names[tag.name] -= 1
            if tag.name == name:
                self.body(tag, start, end)
                return

    def is_code(self, tab: _Open) -> bool:
        """Whether the body of a tab is code, as it is by default in Docsy."""
        texts = [self.value(each, "text") for each in (tab, *self.open[-1:])]
        names = {"lang", "language"} if tab.is_markdown else {"lang", "language", "header"}
        return "true" not in texts and not names.isdisjoint(tab.arguments)

    def body(self, tag: _Open, start: int, end: int) -> None:
        if tag.name == "comment":
            if self.names["comment"]:
                return  # the outer one hides it
            while self.hidden and self.hidden[-1][0] >= tag.start:
                self.hidden.pop()
            self.hide(tag.start, end)
        elif (
            _CODE.fullmatch(tag.name)
            or (tag.name not in _TITLED and self.value(tag, "0").lower() in _LANGUAGES)
            or (tag.name == "tab" and self.is_code(tag))
        ):
            title = self.value(tag, "title", "header", "file", "filename")
            language = self.value(tag, "lang", "language", "0")
            if not language and "." in title:
                language = title.rpartition(".")[2]
            self.fill(tag.start, tag.end)
            if start - tag.end < _LONGEST_SPAN and "\n" not in self.text[tag.end : start]:
                self.shown[tag.end - 3 : tag.end] = "`` "
                self.shown[start : start + 3] = " ``"
            else:
                self.bodies.append(_Body(tag.end, start, "code", language.lower(), title))
        elif not tag.is_markdown:
            self.bodies.append(_Body(tag.end, start, "foreign"))
