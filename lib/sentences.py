"""Split passages and plain text into sentences, without markup.

`split_text` splits plain text. A stop does not end a sentence after an abbreviation, inside a name
or a number (`Node.js`, `2.5`), or before a lower-case letter. In doubt, two sentences stay one,
because a fragment is worse.

`split_passage` parses Markdown first, except in a reader's selection. A list item and a table row
are sentences; headings, and lines for the site generator, are not.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import regex

from lib.languages import words_of_all
from lib.markdown import parse_page
from lib.markdown_page import Block, Flavour, fence
from lib.ranking import PLAIN, Passage, cached_per_passage


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence and the code after it."""

    text: str
    """Plain text on one line; for a row `Header: cell; Header: cell`. Empty if the passage begins
    with code."""
    code: str = ""
    """The code blocks that follow, with their fences."""
    block: int = 0
    """Number of its paragraph, item or row, from 0."""
    listed: bool = False
    """Whether it is in a list or a table."""


@cached_per_passage(500)
def split_passage(passage: Passage) -> tuple[Sentence, ...]:
    """Split `passage` into sentences, in reading order."""
    text = passage.text
    if passage.kind == PLAIN:
        paragraphs = re.split(r"\n(?:[^\S\n]*+\n)++", text)
        return tuple(
            Sentence(sentence, block=number)
            for number, paragraph in enumerate(paragraphs)
            for sentence in split_text(paragraph)
        )
    if passage.kind == "code" and not _FENCE.search(text):
        # Part of a long code block whose fences are in other chunks.
        return (Sentence("", fence(text, passage.language)),) if text.strip() else ()
    if passage.kind == "code" and _begins_inside(text):
        text = f"{_FENCE.findall(text)[0][0]}{passage.language}\n{text}"
    return tuple(split_markdown(text, _detect_flavour(text, passage.file_path)))


def split_markdown(text: str, flavour: Flavour = "commonmark") -> list[Sentence]:
    """Split a page, or a part of one that may begin inside a block, into sentences."""
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


def _detect_flavour(text: str, file_path: str) -> Flavour:
    """Detect the Markdown flavour of a text by its file name and syntax."""
    if file_path.endswith(".mdx") or _MDX.search(text):
        return "mdx"
    return "myst" if _MYST.search(text) else "commonmark"


_MDX: Final = re.compile(
    r"^import [^\n]{1,500}? from ['\"]|^import ['\"]|^export (?:default|const|function) "
    r"|^</?[A-Z]\w*+[ />\n]",
    re.MULTILINE,
)
_MYST: Final = re.compile(r"^(?:`{3,}+|~{3,}+|:{3,}+)\{[a-z]|\{[a-z]++\}`", re.MULTILINE)
_FENCE: Final = re.compile(
    r"^[ \t]*+(?:[-*+>] ++)*+(`{3,}+|~{3,}+)[ \t]*+([^\n`]*+)$", re.MULTILINE
)
# Placeholders: templates and icons of a generator, references to notes, and reference links, whose
# text is kept. Code spans stay unchanged.
_STANDS_FOR: Final = re.compile(
    r"""(?P<kept>(?<!`)(?P<ticks>`++)[^`].{0,2000}?(?P=ticks))
    |\{\{[<%#](?:(?!\{\{|\}\}).)*+\}\} | \{%(?:(?!\{%|%\}).)*+%\} | <%(?:(?!<%|%>).)*+%>
    |^[ \t]*+(?:-{2,3}8<-{2,3}.*|\[\[?toc\]\]?|@\[[\w-]++\]\([^()\n]*+\))[ \t]*+$
    |:[a-z]++(?:-\w++)++:                               # :octicons-search-24:
    |(?<=\S)\[\^[^\[\]\s]+\]
    |(?<![\\!\]\w])\[(?P<text>[\w"'“`*](?:[^\[\]\n]|\n(?!\n)){2,200})\](?:\[[^\[\]\n]*\])?(?![(:\[])
    """,
    re.MULTILINE | re.IGNORECASE | re.VERBOSE,
)
_ADMONITION: Final = re.compile(r"\[![A-Za-z]++\][+-]?\s*+")
_OPENS_OR_CLOSES: Final = re.compile(
    r"(?::{3,}+[^\n]*+|(?:!!!|\?\?\?\+?) ?[^\n]*+|===[!+]? *+\"[^\n]*+"
    r"|</?[A-Z][\w.]*+(?:\s*+/?>|\s++[\w-]++=[^\n]*+(?<=>)))"
)
_ROW: Final = re.compile(r"\s*+\|.*+")
_RULE: Final = re.compile(r"[\s|:-]*+")
_TOGETHER: Final = regex.compile(
    r"(?<=[\p{Han}\p{Hiragana}\p{Katakana}、。，！？]) (?=[\p{Han}\p{Hiragana}\p{Katakana}])"
)


def _begins_inside(text: str) -> bool:
    """Whether a text that is mostly code begins inside a block that ends in it."""
    fences = list(_FENCE.finditer(text))
    if len(fences) % 2 == 0 or fences[0][2]:
        return False
    return len(text[: fences[0].start()].strip()) > len(text[fences[-1].end() :].strip())


def _readable(text: str) -> str:
    """Remove template tags, and restore the opening of a block that was cut off."""
    lines = text.split("\n")
    first = next((line for line in lines if line.strip()), "")
    indent = first[: len(first) - len(first.lstrip(" \t"))]
    if indent:  # from a list item or an admonition; it would read as code otherwise
        text = "\n".join(line.removeprefix(indent) for line in lines)
    fences = _FENCE.findall(text)
    # Only an opening fence names a language. If one is where a block should end, the passage begins
    # inside a block.
    if any(info for _, info in fences[1::2]) and not fences[0][1]:
        text = f"{fences[0][0]}\n{text}"
    parts = re.split(r"(^[ \t]*+(?:`{3,}+|~{3,}+)[^`\n]*+$)", text, flags=re.MULTILINE)
    inside = False
    for at, part in enumerate(parts):
        if at % 2:
            inside = not inside
        elif not inside:
            parts[at] = _STANDS_FOR.sub(lambda found: found["kept"] or found["text"] or "", part)
    return "".join(parts)


def _leaves(blocks: Sequence[Block], listed: bool = False) -> Iterator[tuple[Block, bool]]:
    """Yield the blocks with text of their own, and whether they are in a list."""
    for block in blocks:
        if block.kind == "table":
            yield from ((row, True) for row in _rows(block.children))
            continue
        if block.kind in ("paragraph", "code", "html", "item", "quote") and block.text:
            yield block, listed or block.kind == "item"
        yield from _leaves(block.children, listed or block.kind in ("list", "item"))


def _rows(rows: Sequence[Block]) -> Iterator[Block]:
    """Yield the rows below the header, each cell after its column's name."""
    if len(rows) == 1:
        yield rows[0]
    names = [name.strip() for name in rows[0].text.split(" | ")] if rows else []
    for row in rows[1:]:
        cells = [cell.strip() for cell in row.text.split(" | ")]
        yield replace(row, text=_row_text(cells, names if len(names) >= len(cells) else []))


def _row_text(cells: Sequence[str], names: Sequence[str]) -> str:
    named = zip(names or [""] * len(cells), cells, strict=False)  # short rows have fewer cells
    return "; ".join(f"{name[:80]}: {cell}" if name else cell for name, cell in named if cell)


def _lines(block: Block) -> Iterator[str]:
    """Yield the separate texts of a block."""
    lines = [
        line for line in block.text.split("\n") if not _OPENS_OR_CLOSES.fullmatch(line.strip())
    ]
    if block.kind == "paragraph" and lines and all(map(_ROW.fullmatch, lines)):
        # Rows whose header is in another chunk.
        for line in lines:
            if not _RULE.fullmatch(line):
                yield _row_text([cell.strip() for cell in line.strip(" \t|").split("|")], [])
    elif block.kind == "html":
        yield from lines
    elif lines:
        line = _ADMONITION.sub("", " ".join(" ".join(lines).split()), count=1)
        yield _TOGETHER.sub("", line)


_SPACED_STOPS: Final = ".!?…"
_UNSPACED_STOPS: Final = "。！？｡।॥؟۔"
STOPS: Final = _SPACED_STOPS + _UNSPACED_STOPS
"""Characters that can end a sentence."""
# Possessive, and with a bounded look back for a word: a text of dots must take linear time.
_STOP: Final = regex.compile(
    rf"[{_UNSPACED_STOPS}]++[”’」』）)\]»\"]*+\s*+"
    rf"|(?<![{_SPACED_STOPS}])(?P<mark>[{_SPACED_STOPS}]++)(?P<close>[\"'”’)\]»*_]*+)\s++(?=\S)"
)
_OPENING: Final = "\"'“‘«([*_¿¡„`$<#@"
_WORD_BEFORE: Final = regex.compile(r"(?<![\p{L}\p{M}\d.])[\p{L}\p{M}\d.]++\Z")
_LONGEST_WORD: Final = 50
_WORD_AFTER: Final = regex.compile(r"[\p{L}\p{M}\d']++")
_INITIAL: Final = regex.compile(r"(?:\p{L}\.)*+\p{L}")
_CAMEL: Final = regex.compile(r"\p{Ll}\p{Lu}")


def split_text(text: str) -> list[str]:
    """Split plain text into sentences with normalized white space."""
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
    """Whether the stop ends the sentence that begins at `begin`."""
    mark = stop["mark"]
    rest = line[stop.end() : stop.end() + 2 * _LONGEST_WORD].lstrip(_OPENING)
    after = _WORD_AFTER.match(rest)
    if after is None:
        return unicodedata.category(rest[:1] or " ") == "So"  # an emoji may begin a sentence
    small = after[0][0].islower()
    if small and (stop["close"] or mark != "."):
        return bool(_CAMEL.search(after[0])) and not stop["close"]
    before = _WORD_BEFORE.search(line, max(begin, stop.start() - _LONGEST_WORD), stop.start())
    word = before[0] if before else ""
    if mark == "." and not stop["close"] and word:
        known = word.casefold().lstrip(".")
        if known in words_of_all("abbreviations") or (
            word.isdecimal() and before and before.start() == begin
        ):
            return False
        if known in words_of_all("final_abbreviations") or _INITIAL.fullmatch(known):
            return after[0].casefold() in words_of_all("sentence_openers") and not small
        # An identifier may begin a sentence in lower case.
        return not small or bool(_CAMEL.match(after[0])) or (len(word) > 3 and not word.istitle())
    return not small or bool(_CAMEL.match(after[0]))
