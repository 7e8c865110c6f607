"""Which lines of a Markdown text are code in a fence, told line by line while the text streams.

The block structure of CommonMark 0.31 (section 4 and 5, and the strategy of its appendix), as far
as it decides where a fence begins and ends: quotes and list items around it, paragraphs that go on,
headings, rules. HTML blocks and link definitions are left out: who asks never lets one stand.
"""

import re
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

LONGEST_INFO: Final = 200
"""Characters after which the line of a fence that has not ended is taken for text."""


class Line(Enum):
    """What a line is."""

    TEXT = auto()
    BLANK = auto()
    FENCE = auto()
    """Opens or closes a block of code."""
    CODE = auto()
    UNCLEAR = auto()
    """Goes on with a paragraph but not with a table, or begins a table: only a blank line before it
    makes it the same to every reader of Markdown."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks that are open between two lines."""

    containers: tuple[int, ...] = ()
    """Outermost first: 0 for a quote, else a list item, by the columns its content is indented."""
    fence: str = ""
    paragraph: bool = False
    bare: bool = False
    """The innermost item began without text: a blank line ends it."""
    table: bool = False
    """The lines since the last blank one may be a table."""
    bar: bool = False
    """The last line has a bar in a span of code: as a table's head it would have no such span. Who
    reads the line sets it."""


QUOTE: Final = 0
_HEADING: Final = re.compile(r"#{1,6}(?: |\Z)")
_RUN: Final = re.compile(r"`+|~+")
_RULE: Final = re.compile(r"(?:\* *){3,}|(?:- *){3,}|(?:_ *){3,}")
_RULE_SO_FAR: Final = re.compile(r"(?:\* *)+|(?:- *)+|(?:_ *)+|=+ *|[-:| ]+")
_UNDERLINE: Final = re.compile(r"(?:=+|-+) *")
_DELIMITERS: Final = re.compile(r"(?=[^-]*-)[-:| ]+")
_BULLET: Final = re.compile(r"[-+*](?= |\Z)")
_ORDERED: Final = re.compile(r"(\d{1,9})[.)](?= |\Z)")
_ORDERED_SO_FAR: Final = re.compile(r"\d{1,9}[.)]?|[-+*]")


def read_line(blocks: Blocks, line: str, complete: bool) -> tuple[Line, Blocks] | None:
    """What `line`, or what is there of it, is, and the blocks that are open behind it.

    None while the rest must decide; never if the line is `complete`.
    """
    text = line.expandtabs(4)
    at = matched = 0
    for container in blocks.containers:
        indent = _indent(text, at)
        if at + indent == len(text):
            break
        if container == QUOTE:
            if indent > 3 or text[at + indent] != ">":
                break
            at += indent + 1
            if at == len(text) and not complete:
                return None
            at += text.startswith(" ", at)
        elif indent < container:
            break
        else:
            at += container
        matched += 1
    if not text[at:].strip(" "):
        return _blank(blocks, matched) if complete else None
    if blocks.fence and matched == len(blocks.containers):
        return _in_fence(blocks, text[at:], complete)
    return _starts(blocks, text, at, matched, complete)


def _blank(blocks: Blocks, matched: int) -> tuple[Line, Blocks]:
    containers = blocks.containers
    while matched < len(containers) and containers[matched] != QUOTE:
        matched += 1
    whole = matched == len(containers)
    if whole and blocks.fence:
        return Line.CODE, blocks
    if whole and blocks.bare:
        matched -= 1
    return Line.BLANK, Blocks(containers[:matched])


def _in_fence(blocks: Blocks, rest: str, complete: bool) -> tuple[Line, Blocks] | None:
    marks = rest.lstrip(" ")
    run = len(marks) - len(marks.lstrip(blocks.fence[0]))
    if len(rest) - len(marks) <= 3 and not marks[run:].strip(" "):
        if not complete:
            return None
        if run >= len(blocks.fence):
            return Line.FENCE, replace(blocks, fence="")
    return Line.CODE, blocks


def _starts(
    blocks: Blocks, text: str, at: int, matched: int, complete: bool
) -> tuple[Line, Blocks] | None:
    """The blocks that a line of text opens."""
    open_ = blocks.containers[:matched]
    whole = matched == len(blocks.containers)
    # Whether the line may go on with a paragraph, its own or (lazily) that of a block inside.
    goes_on = blocks.paragraph
    own = blocks.paragraph and whole
    table = blocks.table
    while True:
        indent = _indent(text, at)
        rest = text[at + indent :]
        if not rest:
            if not complete:
                return None
            return Line.TEXT, Blocks(open_, bare=open_[-1] != QUOTE)
        if indent >= 4:
            break
        if not complete and (_RULE_SO_FAR.fullmatch(rest) or _ORDERED_SO_FAR.fullmatch(rest)):
            return None
        if rest[0] == ">":
            if len(rest) == 1 and not complete:
                return None
            width = 1 + rest.startswith(" ", 1)
            open_ = (*open_, QUOTE)
        elif rest[0] in "`~" and (fence := _fence(rest, complete)) != "":
            return None if fence is None else (Line.FENCE, Blocks(open_, fence=fence))
        elif rest[0] == "#" and not complete and not rest.strip("#"):
            return None
        elif _HEADING.match(rest):
            return Line.TEXT, Blocks(open_)
        elif (own and _UNDERLINE.fullmatch(rest)) or _RULE.fullmatch(rest):
            return Line.TEXT, Blocks(open_, table=table or bool(_DELIMITERS.fullmatch(rest)))
        elif found := _item(rest, complete):
            columns, interrupts = found
            if own and not interrupts:
                if table:
                    return Line.UNCLEAR, blocks
                break
            if columns is None:
                return None
            width = columns
            open_ = (*open_, indent + width)
        else:
            break
        at += indent + width
        goes_on = own = table = False
    if goes_on and table and (indent >= 4 or not whole):
        return Line.UNCLEAR, blocks
    if not complete and _RULE_SO_FAR.fullmatch(rest):
        return None
    if indent >= 4 and not goes_on:
        return Line.TEXT, Blocks(open_)  # code, too, but of a kind that no model means
    delimiters = bool(_DELIMITERS.fullmatch(rest))
    if delimiters and blocks.bar and "|" in rest:
        return Line.UNCLEAR, blocks
    table = table or delimiters
    if goes_on:
        return Line.TEXT, replace(blocks, bare=False, table=table, bar=False)
    return Line.TEXT, Blocks(open_, paragraph=True, table=table)


def _fence(rest: str, complete: bool) -> str | None:
    """The run that opens a block of code; "" if it is text, None if that is not decided."""
    run = _RUN.match(rest)
    marks = run[0] if run else ""
    if len(marks) == len(rest) and not complete:
        return None
    if len(marks) < 3:
        return ""
    if marks[0] == "~":
        return marks
    if "`" in rest[len(marks) :] or len(rest) > LONGEST_INFO:
        return ""
    return marks if complete else None


def _item(rest: str, complete: bool) -> tuple[int | None, bool] | None:
    """A list item's columns, marker and space, None while they are not all there; and whether it
    may stand behind a paragraph without a blank line between."""
    match = _BULLET.match(rest) or _ORDERED.match(rest)
    if match is None:
        return None
    body = rest[match.end() :]
    spaces = _indent(body, 0)
    if spaces == len(body):
        return (match.end() + 1, False) if complete else (None, True)
    interrupts = match.re is _BULLET or int(match[1]) == 1
    return match.end() + (spaces if spaces <= 4 else 1), interrupts


def _indent(text: str, at: int) -> int:
    return len(text) - at - len(text[at:].lstrip(" "))
