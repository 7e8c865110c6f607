"""The sentences that a reader sees in a passage, block by block, without markup.

`split_text` cuts plain text after full stops that end a sentence. A stop does not end one behind an
abbreviation, inside a name or a number (`Node.js`, `2.5`), or before a small letter. Where that
leaves a doubt, two sentences stay one: a reader forgives that, but not a fragment.

`split_passage` reads Markdown first. An item of a list and a row of a table are sentences of their
own; headings, and lines that speak to the site generator alone, are none.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import regex

from lib.languages import abbreviations, final_abbreviations, sentence_openers
from lib.markdown import parse_page
from lib.markdown_page import Block, Flavour, fence
from lib.ranking import Passage, cached_per_passage


@dataclass(frozen=True, slots=True)
class Sentence:
    text: str
    """Plain text on one line; of a row `Header: cell; Header: cell`. Empty where a passage begins
    with code."""
    code: str = ""
    """The blocks of code that follow, each in its fence."""
    block: int = 0
    """Sentences of one paragraph, item or row have the same number; it counts from 0."""
    listed: bool = False
    """Whether it stands in a list or a table."""


@cached_per_passage(500)
def split_passage(passage: Passage) -> tuple[Sentence, ...]:
    """The sentences of `passage` in reading order."""
    text = passage.text
    if passage.kind == "code" and not _FENCE.search(text):
        # A piece out of the middle of a long block: its fences stand in other chunks.
        return (Sentence("", fence(text, passage.language)),) if text.strip() else ()
    if passage.kind == "code" and _begins_inside(text):
        text = f"{_FENCE.findall(text)[0][0]}{passage.language}\n{text}"
    return tuple(split_markdown(text, flavour_of(text, passage.file_path)))


def split_markdown(text: str, flavour: Flavour = "commonmark") -> list[Sentence]:
    """The sentences of a page, or of a piece of one that may begin inside of a block."""
    found: list[Sentence] = []
    for number, (block, listed) in enumerate(_leaves(parse_page(_readable(text), flavour).blocks)):
        if block.kind != "code":
            found += [
                Sentence(sentence, block=number, listed=listed)
                for line in _lines(block)
                for sentence in split_text(line)
            ]
        elif _STANDS_FOR.sub("", block.text).strip():
            last = found.pop() if found else Sentence("", block=number)
            code = fence(block.text, block.language)
            found.append(replace(last, code=f"{last.code}\n\n{code}" if last.code else code))
    return found


def flavour_of(text: str, file_path: str) -> Flavour:
    """Which Markdown a piece is written in: its file's name and its own marks tell."""
    if file_path.endswith(".mdx") or _MDX.search(text):
        return "mdx"
    return "myst" if _MYST.search(text) else "commonmark"


# Blocks

_MDX: Final = re.compile(
    r"^import [^\n]+ from ['\"]|^import ['\"]|^export (?:default|const|function) "
    r"|^</?[A-Z]\w*[ />\n]",
    re.MULTILINE,
)
_MYST: Final = re.compile(r"^(?:`{3,}|~{3,}|:{3,})\{[a-z]|\{[a-z]+\}`", re.MULTILINE)
_FENCE: Final = re.compile(r"^[ \t]*(?:[-*+>] +)*(`{3,}|~{3,})[ \t]*([^\n`]*)$", re.MULTILINE)
# What stands for something else: a generator's templates and icons, references to notes, and links
# whose addresses stand elsewhere on the page, of which the text is kept. Code spans stay whole.
_STANDS_FOR: Final = re.compile(
    r"""(?P<kept>(?P<ticks>`+)[^`].*?(?P=ticks))
    |\{\{[<%#].*?\}\} | \{%.*?%\} | <%.*?%>             # Hugo, mdBook, Liquid, Jinja
    |^[ \t]*(?:-{2,3}8<-{2,3}.*|\[\[?toc\]\]?|@\[[\w-]+\]\(.*?\))[ \t]*$
    |:[a-z]+(?:-\w+)+:                                  # :octicons-search-24:
    |(?<=\S)\[\^[^\[\]\s]+\]
    |(?<![\\!\]\w])\[(?P<text>[\w"'“`*](?:[^\[\]\n]|\n(?!\n)){2,200})\](?:\[[^\[\]\n]*\])?(?![(:\[])
    """,
    re.MULTILINE | re.IGNORECASE | re.VERBOSE,
)
_ADMONITION: Final = re.compile(r"\[![A-Za-z]+\][+-]?\s*")
_OPENS_OR_CLOSES: Final = re.compile(
    r"[ \t]*(?::{3,}[^\n]*|(?:!!!|\?\?\?\+?) ?[^\n]*|===[!+]? *\"[^\n]*"
    r"|</?[A-Z][\w.]*(?:\s+[\w-]+=[^\n]*)?\s*/?>)[ \t]*"
)
_ROW: Final = re.compile(r"\s*\|.*")
_RULE: Final = re.compile(r"[\s|:-]*")
_TOGETHER: Final = regex.compile(
    r"(?<=[\p{Han}\p{Hiragana}\p{Katakana}、。，！？]) (?=[\p{Han}\p{Hiragana}\p{Katakana}])"
)


def _begins_inside(text: str) -> bool:
    """Whether a text that is mostly code begins inside of a block that ends in it."""
    fences = list(_FENCE.finditer(text))
    if len(fences) % 2 == 0 or fences[0][2]:
        return False
    return len(text[: fences[0].start()].strip()) > len(text[fences[-1].end() :].strip())


def _readable(text: str) -> str:
    """`text` without template tags, and with the beginning of a block that it is cut out of."""
    lines = text.split("\n")
    first = next((line for line in lines if line.strip()), "")
    indent = first[: len(first) - len(first.lstrip(" \t"))]
    if indent:  # out of a list's item or an admonition, where it would else read as code
        text = "\n".join(line.removeprefix(indent) for line in lines)
    fences = _FENCE.findall(text)
    # Only a fence that opens a block names its language. If one stands where a block would have to
    # end, the passage begins inside of a block.
    if any(info for _, info in fences[1::2]) and not fences[0][1]:
        text = f"{fences[0][0]}\n{text}"
    parts = re.split(r"(^[ \t]*(?:`{3,}|~{3,})[^`\n]*$)", text, flags=re.MULTILINE)
    inside = False
    for at, part in enumerate(parts):
        if at % 2:
            inside = not inside
        elif not inside:
            parts[at] = _STANDS_FOR.sub(lambda found: found["kept"] or found["text"] or "", part)
    return "".join(parts)


def _leaves(blocks: Sequence[Block], listed: bool = False) -> Iterator[tuple[Block, bool]]:
    """The blocks that hold text of their own, in reading order, and whether a list holds them."""
    for block in blocks:
        if block.kind == "table":
            yield from ((row, True) for row in _rows(block.children))
            continue
        if block.kind in ("paragraph", "code", "html", "item", "quote") and block.text:
            yield block, listed or block.kind == "item"
        yield from _leaves(block.children, listed or block.kind in ("list", "item"))


def _rows(rows: Sequence[Block]) -> Iterator[Block]:
    """The rows below the header, each cell under its name."""
    if len(rows) == 1:
        yield rows[0]
    names = [name.strip() for name in rows[0].text.split(" | ")] if rows else []
    for row in rows[1:]:
        cells = [cell.strip() for cell in row.text.split(" | ")]
        yield replace(row, text=row_text(cells, names if len(names) == len(cells) else []))


def row_text(cells: Sequence[str], names: Sequence[str]) -> str:
    named = zip(names or [""] * len(cells), cells, strict=True)
    return "; ".join(f"{name}: {cell}" if name else cell for name, cell in named if cell)


def _lines(block: Block) -> Iterator[str]:
    """The texts of a block that do not run into each other."""
    lines = [line for line in block.text.split("\n") if not _OPENS_OR_CLOSES.fullmatch(line)]
    if block.kind == "paragraph" and lines and all(map(_ROW.fullmatch, lines)):
        # Rows whose header stands in another chunk.
        for line in lines:
            if not _RULE.fullmatch(line):
                yield row_text([cell.strip() for cell in line.strip(" \t|").split("|")], [])
    elif block.kind == "html":
        yield from lines
    elif lines:
        line = _ADMONITION.sub("", " ".join(" ".join(lines).split()), count=1)
        yield _TOGETHER.sub("", line)


# Sentences

# A run of stops is looked at once, and only so far back for a word: a text of nothing but dots
# shall take no longer than another.
_STOP: Final = regex.compile(
    r"[。！？｡।॥؟۔]+[”’」』）)\]»\"]*\s*|(?<![.!?…])(?P<mark>[.!?…]++)(?P<close>[\"'”’)\]»*_]*)\s+(?=\S)"
)
_OPENING: Final = "\"'“‘«([*_¿¡„`$<#@"
_WORD_BEFORE: Final = regex.compile(r"[\p{L}\p{M}\d.]+\Z")
_LONGEST_WORD: Final = 50
_WORD_AFTER: Final = regex.compile(r"[\p{L}\p{M}\d']+")
_INITIAL: Final = regex.compile(r"(?:\p{L}\.)*\p{L}")
_CAMEL: Final = regex.compile(r"\p{Ll}\p{Lu}")


def split_text(text: str) -> list[str]:
    """The sentences of plain text, white space made even."""
    line = " ".join(text.split())
    found: list[str] = []
    begin = 0
    for stop in _STOP.finditer(line):
        if stop["mark"] is None or _ends(line, begin, stop):
            found.append(line[begin : stop.end()].strip())
            begin = stop.end()
    rest = line[begin:].strip()
    return [*found, rest] if rest else found


def _ends(line: str, begin: int, stop: "regex.Match[str]") -> bool:
    """Whether a sentence that begins at `begin` ends with the stop."""
    mark, rest = stop["mark"], line[stop.end() :].lstrip(_OPENING)
    after = _WORD_AFTER.match(rest)
    if after is None:
        return unicodedata.category(rest[:1] or " ") == "So"  # an emoji in place of a word
    small = after[0][0].islower()
    if small and (stop["close"] or mark != "."):
        return bool(_CAMEL.search(after[0])) and not stop["close"]
    before = _WORD_BEFORE.search(line, max(begin, stop.start() - _LONGEST_WORD), stop.start())
    word = before[0] if before else ""
    if mark == "." and not stop["close"] and word:
        known = word.casefold().lstrip(".")
        if known in abbreviations() or (word.isdecimal() and before and before.start() == begin):
            return False
        if known in final_abbreviations() or _INITIAL.fullmatch(known):
            return after[0].casefold() in sentence_openers() and not small
        # A name from code may begin a sentence in small letters.
        return not small or bool(_CAMEL.match(after[0])) or (len(word) > 3 and not word.istitle())
    return not small or bool(_CAMEL.match(after[0]))
