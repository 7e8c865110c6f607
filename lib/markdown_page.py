"""Data model of a parsed page: headings and a tree of blocks with offsets, and their plain text.

Offsets count Unicode characters of the text as given, including a byte order mark and CR LF.
Blocks and headings are whole lines; `end` comes before the line break of the last line.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from markdown_it.rules_block import StateBlock

from lib.templates import FILLER

# As in markdown-it. `str.splitlines` also splits at form feeds, U+2028 and others, which would make
# all later offsets wrong.
NEWLINES: Final = re.compile(r"[\r\n](?:(?<=\r)\n)?")


def line_spans(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Offsets of the lines of `text[start:end]`, without line breaks."""
    spans: list[tuple[int, int]] = []
    if "\r" not in text[start:end]:  # the usual case, five times faster
        for line in text[start:end].split("\n"):
            spans.append((start, start + len(line)))
            start += len(line) + 1
        return spans
    for found in NEWLINES.finditer(text, start, end):
        spans.append((start, found.start()))
        start = found.end()
    spans.append((start, end))
    return spans


_BLANK: Final = f" \t{FILLER}"


class Lines:
    """Line numbers of markdown-it mapped to offsets in the original text."""

    def __init__(self, text: str, start: int) -> None:
        spans = line_spans(text, start, len(text))
        self.starts = [start for start, _ in spans]
        self.ends = [end for _, end in spans]
        self.text = text

    def blank(self, line: int) -> bool:
        return not self.text[self.starts[line] : self.ends[line]].strip(_BLANK)

    def span(self, begin: int, end: int) -> tuple[int, int]:
        """Offsets of lines `begin` to `end` (exclusive), without trailing blank lines."""
        end = min(end, len(self.starts))
        while end > begin + 1 and self.blank(end - 1):
            end -= 1
        return self.starts[begin], self.ends[max(end - 1, begin)]


def push_line(state: StateBlock, kind: str, start: int, end: int, content: str = "") -> bool:
    """Push a childless block of the lines `start` to `end` (exclusive). Returns True."""
    token = state.push(kind, "", 0)
    token.map = [start, end]
    token.content = content
    state.line = end
    return True


def line_of(state: StateBlock, line: int, end: int, pos: int) -> int:
    """Return the line that contains offset `pos`, or `end` if it is on a later line."""
    while line < end and state.eMarks[line] < pos:
        line += 1
    return line


CODE: Final = "\ufdd0"
FORMULA: Final = "\ufdd1"
_VERBATIM_END: Final = "\ufdd2"
VERBATIM_MARK: Final = re.compile("[\ufdd0-\ufdd3]")
"""Characters that Unicode reserves for a program's own use."""
VERBATIM: Final = re.compile(
    f"(?P<mark>[{CODE}{FORMULA}])(?P<text>[^{CODE}-{_VERBATIM_END}]*+){_VERBATIM_END}"
)
"""A code span or a formula in the text of `parse_page(..., verbatim=True)`."""


def mark_verbatim(mark: str, text: str) -> str:
    return f"{mark}{text}{_VERBATIM_END}"


_CLOSER: Final = re.compile(r"[ \t]*(?:</|:{3,}[ \t]*$|/{3,}[ \t]*$)")


def closes(source: str) -> bool:
    """Tell whether a marker line closes a tag or a container."""
    return _CLOSER.match(source) is not None


Flavour: TypeAlias = Literal["commonmark", "mdx", "myst", "liquid", "jinja", "hugo"]
"""The last three are CommonMark with the tags of a template language (`lib.templates`)."""

BlockKind: TypeAlias = Literal[
    "heading",
    "paragraph",
    "list",
    "item",
    "quote",
    "container",  # an admonition, tab, footnote or definition; `text` is the title
    "code",
    "table",
    "row",
    "math",
    "html",
    "marker",  # a line that opens or closes something; `text` is its title or label
    "comment",
    "esm",
    "expression",
    "reference",
    "rule",
]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading, also in quotes, lists and admonitions: generators give those an anchor too."""

    level: int
    text: str
    """Plain text as displayed, without the explicit id."""
    source: str
    """Inline Markdown as written, without the explicit id."""
    explicit_id: str | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Block:
    """A block of whole lines.

    Children lie inside their parent, in order. They do not overlap, except that a list item or a
    quote shares its first line with its parent.
    """

    kind: BlockKind
    start: int
    end: int
    text: str = ""
    """Plain text of the block without its children.

    Prose as displayed, code as it is, the cells of a row joined by ` | `, the title of a container.
    """
    language: str = ""
    """Language of a fence, in lower case."""
    title: str = ""
    """For code: the file name or caption displayed above it. For a step: its number, as `3.`"""
    body: int = -1
    """For code: offset of its first line, after the opening fence."""
    heading: int | None = None
    """For a heading: index in `Page.headings`."""
    children: tuple["Block", ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    flavour: Flavour
    front_matter: Mapping[str, object]
    title: str
    """Title of the front matter, else the first h1, else empty."""
    headings: tuple[Heading, ...]
    blocks: tuple[Block, ...]
    hidden: Sequence[tuple[int, int]] = ()
    """Offsets of what the author has hidden from readers, in order."""
    shown: str = ""
    """The file with its template tags marked (`lib.templates`); empty without any."""
    front_matter_complete: bool = True
    """False if the front matter may set more than could be read."""
    imports: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """MDX: imported name to module path."""
    problems: tuple[str, ...] = ()
    """Sentences about unreadable parts; the rest of the page is complete."""
    references: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Link reference definitions, as `plain_text` needs them."""


def render(block: Block, include: Callable[[Block], str | None] | None = None) -> str:
    """Render a block and its children as plain text.

    Lists get dashes, code a fence with its language, table cells a ` | ` between them. Imports,
    comments and bare tags give an empty string. `include` may return the text of the file that a
    block includes.
    """
    text = block.text
    if include is not None and not block.children:
        included = include(block)
        text = block.text if included is None else included
    if block.kind == "code":
        parts = [block.title, fence(text, block.language) if text.strip() else ""]
        return "\n".join(filter(None, parts))
    if not block.children:
        return text
    parts = [text] if text else []
    for child in block.children:
        shown = render(child, include)
        if child.kind == "item" and shown:
            shown = "- " + shown.replace("\n", "\n  ")
        if shown:
            parts.append(shown)
    return "\n".join(parts)


def fence(code: str, language: str) -> str:
    """Put `code` in a fence longer than any fence inside it."""
    marks = "`" * max(3, 1 + max(map(len, re.findall("`++", code)), default=0))
    return f"{marks}{language}\n{code.strip(chr(10))}\n{marks}"
