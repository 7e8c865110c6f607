"""A Markdown file as a page: its headings, a tree of blocks with true offsets, and how they read.

Offsets count Unicode characters in the text as given, byte order mark and CR LF included. Blocks
and headings are whole lines; their `end` is before the last line's line break.

Lines of a page: where they start and end in the file, and in the parser's state.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from markdown_it.rules_block import StateBlock

NEWLINES: Final = re.compile(r"[\r\n](?:(?<=\r)\n)?")


class Lines:
    """Where markdown-it's lines start and end in the text they were read from.

    Its rule is `\\r\\n`, `\\r` or `\\n`; `str.splitlines` also breaks at form feeds, U+2028 and
    others, after which every offset would be wrong.
    """

    def __init__(self, text: str, start: int) -> None:
        self.starts: list[int] = [start]
        self.ends: list[int] = []
        for found in NEWLINES.finditer(text, start):
            self.ends.append(found.start())
            self.starts.append(found.end())
        self.ends.append(len(text))
        self.text = text

    def blank(self, line: int) -> bool:
        return not self.text[self.starts[line] : self.ends[line]].strip(" \t")

    def span(self, begin: int, end: int) -> tuple[int, int]:
        """Offsets of lines `begin` to `end` (exclusive), blank lines at the end left off."""
        end = min(end, len(self.starts))
        while end > begin + 1 and self.blank(end - 1):
            end -= 1
        return self.starts[begin], self.ends[max(end - 1, begin)]


def push_line(state: StateBlock, kind: str, start: int, end: int, content: str = "") -> bool:
    """A block that is the lines `start` to `end` (exclusive) and holds no other."""
    token = state.push(kind, "", 0)
    token.map = [start, end]
    token.content = content
    state.line = end
    return True


def line_of(state: StateBlock, line: int, end: int, pos: int) -> int:
    """The line on which the offset `pos` lies; `end` if it lies on a later one."""
    while line < end and state.eMarks[line] < pos:
        line += 1
    return line


Flavour: TypeAlias = Literal["commonmark", "mdx", "myst"]

BlockKind: TypeAlias = Literal[
    "heading",
    "paragraph",
    "list",
    "item",
    "quote",
    "container",  # an admonition, tab, footnote or definition: `text` is its title
    "code",
    "table",
    "row",
    "math",
    "html",
    "marker",  # a line that opens or closes something: `text` is the title or label it shows
    "comment",
    "esm",
    "expression",
    "reference",
    "rule",
]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading wherever it stands, in quotes, lists and admonitions too: generators give an
    anchor to those as well."""

    level: int
    text: str
    """What a reader sees: inline markup rendered to plain text, the explicit id removed."""
    source: str
    """The inline source as written, the explicit id removed."""
    explicit_id: str | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Block:
    """A block of whole lines. The children of a block lie inside it, in order, and don't overlap
    but for sharing the line on which a list item or a quote begins."""

    kind: BlockKind
    start: int
    end: int
    text: str = ""
    """What a reader sees of this block itself, its children not included: plain text for prose,
    the code itself for code, ` | ` between the cells of a row, a title for a container."""
    language: str = ""
    """A fence's language, lower case."""
    title: str = ""
    """Code: the file name or caption shown above it."""
    body: int = -1
    """Code: where its own first line begins, below the fence that opens it."""
    heading: int | None = None
    """For a heading, its place in `Page.headings`."""
    children: tuple["Block", ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    flavour: Flavour
    front_matter: Mapping[str, object]
    title: str
    """The front matter's title, else the first h1; empty where there is neither."""
    headings: tuple[Heading, ...]
    blocks: tuple[Block, ...]
    imports: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """MDX: the imported name to the module it comes from."""
    problems: tuple[str, ...] = ()
    """Sentences on what could not be read; the rest of the page is there all the same."""
    references: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Link reference definitions, as `plain_text` wants them."""


def render(block: Block, include: Callable[[Block], str | None] | None = None) -> str:
    """A block and its children as a reader sees them, in plain text: lists with dashes, code in a
    fence that names its language, a table's cells between bars. Empty for what a page does not
    show (imports, comments, bare tags). `include` may name the text of a file a block stands for.
    """
    kind = block.kind
    if include is not None and not block.children:
        included = include(block)
        if included is not None:
            return _fenced(block, included) if kind == "code" else included
    if kind == "code":
        return _fenced(block, block.text)
    if not block.children:
        return block.text
    parts = [block.text] if block.text else []
    for child in block.children:
        text = render(child, include)
        if not text:
            continue
        if child.kind == "item":
            text = "- " + text.replace("\n", "\n  ")
        parts.append(text)
    return "\n".join(parts)


def _fenced(block: Block, code: str) -> str:
    if not code.strip():
        return block.title
    title = f"{block.title}\n" if block.title else ""
    return f"{title}{fence(code, block.language)}"


def fence(code: str, language: str) -> str:
    """`code` between fences that no line of it closes."""
    marks = "```"
    while marks in code:
        marks += "`"
    return f"{marks}{language}\n{code.strip(chr(10))}\n{marks}"
