"""Split passages and plain text into sentences, without markup.

`split_text` splits plain text. A stop does not end a sentence after an abbreviation, inside a name
or a number (`Node.js`, `2.5`), or before a lower-case letter. In doubt, two sentences stay one,
because a fragment is worse.

`split_passage` parses Markdown first, except in a reader's selection. A list item and a table row
are sentences; headings, and lines for the site generator, are not. A code span or a formula is
never split.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, NamedTuple

import regex

from lib.languages import words_of_all
from lib.markdown import parse_page
from lib.markdown_page import CODE, VERBATIM, VERBATIM_MARK, Block, Flavour, closes, fence
from lib.markdown_rules import ADMONITIONS
from lib.ranking import PLAIN, Passage, cached_per_passage


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence and the code after it."""

    text: str
    """Plain text on one line; for a row `Header: cell; Header: cell`. Empty if the passage begins
    with code."""
    code: str = ""
    """Markdown of the code blocks and formulas that follow, each below its title or tab."""
    block: int = 0
    """Number of its paragraph, item or row, from 0."""
    listed: bool = False
    """Whether it is in a list or a table."""
    markdown: str = ""
    """`text` with its code spans and formulas as written, and the rest escaped."""
    list_marker: str = ""
    """Number of its step, such as `3.`, or `-` in another list; empty elsewhere."""
    label: str = ""
    """Markdown of the term that it defines, or of the tab or titled box it is in."""
    header: tuple[str, ...] = ()
    """For a table row: Markdown of the column names; empty if unknown."""
    cells: tuple[str, ...] = ()
    """For a table row: Markdown of its cells."""
    section: int = 0
    """Index in `Passage.sections`."""

    def __post_init__(self) -> None:
        if not self.markdown:
            object.__setattr__(self, "markdown", _as_markdown(self.text))


@cached_per_passage(500)
def split_passage(passage: Passage) -> tuple[Sentence, ...]:
    """Split `passage` into sentences, in reading order."""
    text = passage.content
    if passage.kind == PLAIN:
        paragraphs = re.split(r"\n(?:[^\S\n]*+\n)++", text)
        return tuple(
            Sentence(sentence, block=number)
            for number, paragraph in enumerate(paragraphs)
            for sentence in split_text(paragraph)
        )
    if passage.kind == "code" and not _FENCE.search(text):
        # Part of a block that is indented instead of fenced.
        return (Sentence("", fence(text, passage.language)),) if text.strip() else ()
    flavour = _detect_flavour(text, passage.file_path)
    found: list[Sentence] = []
    for section, (start, end) in enumerate(pairwise([*passage.section_starts, len(text)])):
        block = found[-1].block + 1 if found else 0
        found += [
            replace(each, section=section, block=block + each.block)
            for each in split_markdown(text[start:end], flavour)
        ]
    return tuple(found)


def split_markdown(text: str, flavour: Flavour = "commonmark") -> list[Sentence]:
    """Split a page or a part of one into sentences."""
    text = _readable(VERBATIM_MARK.sub("", text))
    found: list[Sentence] = []
    blocks = parse_page(text, flavour, verbatim=True).blocks
    number, item = -1, None
    for leaf in _leaves(blocks, text):
        block = leaf.block
        number += leaf.item is None or leaf.item is not item
        item = leaf.item
        if block.kind not in ("code", "math"):
            found += _sentences_of(leaf, number)
        elif code := _code_of(block):
            attaches = found and found[-1].label in ("", leaf.label)
            last = found.pop() if attaches else Sentence("", block=number)
            title = _as_label(block.title) or leaf.label
            if title and (last.code or title != last.label):
                code = f"**{title}**\n\n{code}"
            found.append(replace(last, code=f"{last.code}\n\n{code}" if last.code else code))
    return found


class _Leaf(NamedTuple):
    """A block with text of its own, and what it stands in; see `Sentence`."""

    block: Block
    label: str = ""
    item: Block | None = None
    listed: bool = False
    list_marker: str = ""
    header: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()


def _sentences_of(leaf: _Leaf, number: int) -> Iterator[Sentence]:
    for line in _lines(leaf.block):
        for marked in split_text(line):
            yield Sentence(
                VERBATIM.sub(lambda code: code["text"], marked),
                block=number,
                listed=leaf.listed,
                markdown=_as_markdown(marked),
                list_marker=leaf.list_marker,
                label=leaf.label,
                header=leaf.header,
                cells=leaf.cells,
            )


def _code_of(block: Block) -> str:
    if not _STANDS_FOR.sub("", block.text).strip():
        return ""
    if block.kind == "code":
        return fence(block.text, block.language)
    return block.text if block.text.startswith("$$") else f"$$\n{block.text.strip()}\n$$"


# Characters that Markdown reads as markup. An underscore inside a word is not; some count only at
# the start of a line.
_MARKUP: Final = re.compile(r"[\\`*<\[\]]|(?<![^\W_])_|_(?![^\W_])|^[#>+~-]|(?<=^\d)[.)](?=\s)")


def _as_markdown(marked: str) -> str:
    """Return the Markdown that shows plain text whose code and formulas are marked."""
    parts: list[str] = []
    end = 0
    for code in VERBATIM.finditer(marked):
        parts.append(_MARKUP.sub(r"\\\g<0>", marked[end : code.start()]))
        parts.append(_code_span(code["text"]) if code["mark"] == CODE else code["text"])
        end = code.end()
    parts.append(_MARKUP.sub(r"\\\g<0>", marked[end:]))
    return "".join(parts)


def _code_span(code: str) -> str:
    ticks = "`" * (1 + max(map(len, re.findall("`++", code)), default=0))
    space = " " if code.startswith("`") or code.endswith("`") else ""
    return f"{ticks}{space}{code}{space}{ticks}"


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


def _readable(text: str) -> str:
    """Remove template tags, and the indentation of a text from inside a block."""
    lines = text.split("\n")
    first = next((line for line in lines if line.strip()), "")
    indent = first[: len(first) - len(first.lstrip(" \t"))]
    if indent:  # from a list item or an admonition; it would read as code otherwise
        text = "\n".join(line.removeprefix(indent) for line in lines)
    parts = re.split(r"(^[ \t]*+(?:`{3,}+|~{3,}+)[^`\n]*+$)", text, flags=re.MULTILINE)
    inside = False
    for at, part in enumerate(parts):
        if at % 2:
            inside = not inside
        elif not inside:
            parts[at] = _STANDS_FOR.sub(lambda found: found["kept"] or found["text"] or "", part)
    return "".join(parts)


def _leaves(blocks: Sequence[Block], text: str, within: _Leaf | None = None) -> Iterator[_Leaf]:
    """Yield the blocks with text of their own; `text` is the source of the page."""
    labels = [within.label if within else ""]
    terms: list[str] = []
    defined = False
    for block in blocks:
        leaf = within._replace(block=block) if within else _Leaf(block)
        leaf = leaf._replace(label=labels[-1])
        if block.kind == "heading":
            del labels[1:]
        elif block.kind == "marker":
            _track_label(labels, block, text[block.start : block.end])
        elif block.kind == "table":
            yield from _rows(leaf)
        elif block.kind == "item":
            leaf = leaf._replace(item=block, listed=True, list_marker=block.title or "-")
            if terms:
                leaf, defined = leaf._replace(label=", ".join(terms)), True
            yield from _leaves(block.children, text, leaf)
        elif within and within.block.kind == "list":  # a term of a definition list
            terms = [*([] if defined else terms), _as_label(block.text)]
            defined = False
        elif block.children:
            if block.kind == "container" and block.text and not _is_admonition(block.text):
                leaf = leaf._replace(label=_as_label(block.text))
            yield from _leaves(block.children, text, leaf)
        elif block.kind in ("paragraph", "code", "math", "html") and block.text:
            yield leaf


def _track_label(labels: list[str], marker: Block, source: str) -> None:
    """Follow the tags and containers that are open at a line which opens or closes some."""
    if closes(source):
        del labels[max(1, len(labels) - 1) :]
    elif not source.rstrip().endswith("/>"):
        shown = "" if _is_admonition(marker.text) else marker.text
        labels.append(_as_label(shown) or labels[-1])


def _as_label(marked: str) -> str:
    return " ".join(_as_markdown(marked).split()).rstrip(":：")


def _is_admonition(title: str) -> bool:
    return title.lower() in ADMONITIONS


def _rows(table: _Leaf) -> Iterator[_Leaf]:
    """Yield the rows below the header, each cell after its column's name."""
    header, *rows = table.block.children
    names = _cells(header.text)
    for row in rows or [header]:
        cells = _cells(row.text)
        known = names if rows and len(names) >= len(cells) else []
        yield table._replace(
            block=replace(row, text=_row_text(cells, known)),
            listed=True,
            header=tuple(map(_as_markdown, known)),
            cells=tuple(map(_as_markdown, cells)),
        )


def _cells(row: str) -> list[str]:
    """Split a row between its cells, but not at a ` | ` in code."""
    protected = VERBATIM.sub(lambda code: code[0].replace("|", "\ufdd3"), row)
    return [cell.strip().replace("\ufdd3", "|") for cell in protected.split(" | ")]


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
_OPENING: Final = "\"'“‘«([*_¿¡„`$<#@\ufdd0\ufdd1"
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
    whole = VERBATIM.finditer(line)
    code = next(whole, None)
    for stop in _STOP.finditer(line):
        while code is not None and code.end() <= stop.start():
            code = next(whole, None)
        if code is not None and code.start() < stop.start():
            continue
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
