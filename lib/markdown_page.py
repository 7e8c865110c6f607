"""Data model of a parsed page: headings and a tree of blocks with offsets, and their plain text.

Offsets count Unicode characters of the text as given, including a byte order mark and CR LF.
Blocks and headings are whole lines; `end` comes before the line break of the last line.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from markdown_it.rules_block import StateBlock

from lib.sites.site import Flavour as Flavour
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


GOES_ON: Final = "…"
"""The line that shows where code goes on elsewhere."""
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


Include: TypeAlias = Callable[[Block], str | None]
"""Returns the text that a block has instead of its own if it includes a file: code, or Markdown."""


def render(block: Block, include: Include | None = None) -> str:
    """Render a block and its children as plain text.

    Lists get dashes, code a fence with its language, table cells a ` | ` between them. Imports,
    comments and bare tags give an empty string. `include` returns plain text or code here.
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


class Edit(NamedTuple):
    """A replacement of the characters `start` to `end`."""

    start: int
    end: int
    text: str


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """Replace parts of `text`; `edits` are in order and do not overlap."""
    parts: list[str] = []
    at = 0
    for edit in edits:
        parts += text[at : edit.start], edit.text
        at = edit.end
    return "".join(parts) + text[at:]


def shift(offset: int, edits: Iterable[Edit]) -> int:
    """Return where `offset`, outside of the edits, is after them."""
    before = (edit for edit in edits if edit.end <= offset)
    return offset + sum(len(edit.text) - edit.end + edit.start for edit in before)


_KEPT_MARKER: Final = re.compile(r"[ \t>]*(?:<|(?::{3,}+|/{3,}+)[^\n]*+\Z)")
_TEMPLATE_TAG: Final = re.compile(f"(?: ``)?{FILLER}+(?:`` )?")
"""With the marks of the code between two tags."""
_BLANK_ABOVE: Final = re.compile(r"(?:\A|(?:\r\n?|\n){2})\Z")
_GOES_ON_BELOW: Final = re.compile(r"(?:\r\n?|\n)[ \t]*+[^\s]")
_STEP: Final = re.compile(r"[ \t>]*(\d{1,9})[.)]")
_PREFIX: Final = re.compile(r"(?:[ \t]|(?:[-*+>:]|\d{1,9}[.)])(?=[ \t]))*")
_HIDDEN_START: Final = re.compile(
    r"(?<!`)(?P<ticks>`++)|(?P<open><!--|\{/\*|<(?P<tag>script|style)\b)", re.IGNORECASE
)
_HIDDEN_END: Final = {"<!--": "-->", "{/*": "*/}"}


def edits_for_readers(text: str, page: Page, include: Include | None = None) -> list[Edit]:
    """Edits that turn the source of a page into the Markdown of what its readers see.

    Comments, imports and directives go, included files take the place of their directive, and
    steps get the numbers that are displayed. Tags that open or close something stay.
    """
    edits = [
        edit for block in _walk(page.blocks) for edit in _edits_of_block(text, block, page, include)
    ]
    edits += [Edit(start, end, "") for start, end in page.hidden]
    edits += [
        Edit(*found.span(), found[0].replace(FILLER, ""))
        for found in _TEMPLATE_TAG.finditer(page.shown)
    ]
    apart: list[Edit] = []
    for edit in sorted(edits, key=lambda edit: (edit.start, -edit.end)):
        if apart and edit.start < apart[-1].end:
            last = apart.pop()
            edit = Edit(last.start, max(last.end, edit.end), last.text or edit.text)
        apart.append(edit)
    return apart


def _walk(blocks: Iterable[Block]) -> Iterator[Block]:
    for block in blocks:
        yield block
        yield from _walk(block.children)


def _edits_of_block(text: str, block: Block, page: Page, include: Include | None) -> Iterator[Edit]:
    start, end = block.start, block.end
    if block.children:
        step = _STEP.match(text, start, end) if block.kind == "item" and block.title else None
        if step is not None and step[1] != block.title[:-1]:
            yield Edit(*step.span(1), block.title[:-1])
        return
    included = include(block) if include is not None else None
    if is_templated_code(text, block, page):
        yield Edit(start, end, fence(block.text, block.language, block.title))
    elif included:
        if block.kind == "code":
            included = fence(included, block.language, block.title)
        yield Edit(start, end, indent_like(text[start:end], included))
    elif included is not None or _is_hidden(text, block):
        prefix = indent_like(text[start:end], "")
        if not prefix.strip() and _BLANK_ABOVE.search(text, max(0, start - 4), start):
            while text[end : end + 1] in ("\r", "\n"):
                end += 1
        yield Edit(start, end, prefix.strip() and prefix)
    elif block.kind not in ("code", "math"):
        yield from _hidden_parts(text, block, page.flavour)
        if block.kind == "html" and _GOES_ON_BELOW.match(text, end):
            yield Edit(end, end, "\n")  # CommonMark would read the next line as HTML


def is_templated_code(text: str, block: Block, page: Page) -> bool:
    """Tell whether a block of code stands between tags of a template instead of fences."""
    bare = block.kind == "code" and bool(page.shown) and block.body == block.start
    return bare and text.startswith(block.text.partition("\n")[0], block.start)  # not dedented


def _hidden_parts(text: str, block: Block, flavour: Flavour) -> Iterator[Edit]:
    """Remove comments in prose, and scripts and styles in HTML, but not those in code spans."""
    at, unclosed = block.start, set[str]()
    while found := _HIDDEN_START.search(text, at, block.end):
        at, tag = found.end(), found["tag"]
        end = found["ticks"] or _HIDDEN_END.get(found[0]) or f"</{tag}>"
        if end in unclosed or (tag and block.kind != "html") or (end == "*/}" and flavour != "mdx"):
            continue
        stop = text.find(end, at, block.end)
        if stop < 0:
            unclosed.add(end)
            continue
        at = stop + len(end)
        if found["open"]:
            yield Edit(found.start(), at, "")


def indent_like(source: str, markdown: str) -> str:
    """Put `markdown` in place of the lines `source`, in the same list item or quote."""
    found = _PREFIX.match(source)
    assert found is not None
    below = re.sub(r"[^>\s]", " ", found[0])
    return found[0] + markdown.replace("\n", f"\n{below}")


def _is_hidden(text: str, block: Block) -> bool:
    if block.kind in ("marker", "expression") and not block.text:
        return _KEPT_MARKER.match(text, block.start, block.end) is None
    return block.kind in ("comment", "esm")


def fence(code: str, language: str, title: str = "") -> str:
    """Put `code` in a fence longer than any fence inside it."""
    marks = "`" * max(3, 1 + max(map(len, re.findall("`++", code)), default=0))
    info = f'{language} title="{title}"' if title else language
    return f"{marks}{info}\n{code.strip(chr(10))}\n{marks}"
