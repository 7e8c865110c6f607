"""Split blocks into units, the pieces that chunks are packed from.

A block that fits in a chunk is one unit. A larger one is split by its kind: a list between items, a
table between rows, code between lines, a paragraph between sentences, else clauses, else words. In
the embedded text a split table repeats its header, split code the language of its fence.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import ceil
from operator import itemgetter
from typing import Final, Literal, NamedTuple, TypeAlias

from lib.markdown import parse_page, plain_text
from lib.markdown_page import (
    GOES_ON,
    Block,
    Include,
    Page,
    closes,
    fence,
    is_templated_code,
    line_spans,
    render,
)
from lib.markdown_rules import html_text
from lib.templates import FILLER
from lib.tokens import CountTokens


class _Piece(NamedTuple):
    start: int
    stop: int
    cost: int
    """In tokens."""


def text_pieces(
    source: str, room: int, count: CountTokens, cost: int | None = None
) -> Iterator[_Piece]:
    """Split a text between sentences into pieces of similar size, each at most `room` tokens.

    A longer sentence is split between clauses or words. Only white space is left out. `cost` is
    the token count of the whole, if known.

    Counting each sentence takes longer than parsing the page. So the length of a piece is
    estimated from the average cost per character, and only the piece is counted.
    """
    points = _CutPoints(source)
    rate = max(count(source) if cost is None else cost, 1) / max(len(source), 1)
    begin = 0
    while begin < len(source):
        piece = _piece(points, begin, room, rate, count)
        yield piece
        begin = piece.stop
        while begin < len(source) and source[begin].isspace():
            begin += 1


def _piece(points: "_CutPoints", begin: int, room: int, rate: float, count: CountTokens) -> _Piece:
    """Return the piece at `begin`, at about `rate` tokens per character."""
    source = points.source
    best: _Piece | None = None
    stretch = 2.0  # a sentence is counted before it is cut, if it may fit at all
    while True:
        reach = room / rate
        left = len(source) - begin
        # an equal share of the rest, and a little more: the cut moves back to a sentence end
        share = 1.1 * left / ceil(left / reach)
        stop = points.last(begin, int(min(reach, share)), int(reach * stretch))
        start, stop = _trimmed(source, begin, stop)
        if best is not None and stop <= best.stop:
            return best
        cost = count(source[start:stop])
        piece = _Piece(start, stop, cost)
        if cost > room and stop - start > 1:
            if best is not None:
                return best
            rate = 1.05 * cost / (stop - start)
            stretch = 1.0
        elif stretch > 1 and 3 * cost < room and stop < points.end:
            # cheaper than average: try a longer piece
            best = piece
            rate = max(cost, 1) / (stop - start)
        else:
            return piece


# End of a sentence: a full stop or similar before white space, or a mark of scripts without spaces
# (Han, kana), with closing quotation marks and brackets; or an empty line. The leading character
# class makes the search fast. `lib.sentences` has the rule for plain text; it keeps no offsets, and
# another rule here would change the chunks of every index.
_SENTENCE_END: Final = re.compile(
    r"[.!?\u2026\u3002\uff01\uff1f\uff61\u061f\u06d4\u0964\u0965\u104b\u1362\u1367\u17d4\u0589\r\n]"
    r"(?:(?<=[.!?\u2026])[.!?\u2026]{0,40}+[\"'\u2019\u201d\u00bb)\]*_`]{0,40}+(?=\s)\s*+"
    r"|(?<=[\u3002\uff01\uff1f\uff61])[\u3002\uff01\uff1f\uff61]*+[\u300d\u300f\u201d\u2019\uff09\u3011]*+\s*+"
    r"|(?<=[^.!?\u2026\u3002\uff01\uff1f\uff61\r\n])[\"'\u201d\u00bb)]*+(?=\s|$)\s*+"
    r"|(?<=[\r\n])(?>(?:(?<=\r)\n)?)[ \t]*+[\r\n]\s*+)"
)
# Abbreviation or initial: its full stop ends no sentence.
_ABBREVIATION: Final = re.compile(
    r"(?:^|[\s(])(?:[A-Za-z]|e\.g|i\.e|etc|cf|vs|Mr|Mrs|Ms|Dr|Prof|St|No|Fig|Eq|vol|pp?|approx)\.$"
)
# Never split: code, links and images, formulas, tags.
_WHOLE: Final = re.compile(
    r"`(?<!``)(`*+).{1,400}?(?<!`)`\1(?!`)"
    r"|\[[^\[\]]{0,400}\]\([^()\s]{0,600}\)|\$[^$\n]{1,300}\$|<[^<>\n]{1,300}>",
    re.DOTALL,
)
# Where to split a long sentence, best first.
_BREAKS: Final = (
    re.compile(r"[\r\n]\s*"),
    re.compile(r"[,;:\u2014](?=\s)\s*|[\uff0c\u3001\uff1b\uff1a\u060c\u061b]\s*"),
    re.compile(r"\s+"),
)


class _CutPoints:
    """Positions at which a text may be split."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.end = len(source.rstrip())
        whole = [found.span() for found in _WHOLE.finditer(source)]
        self.whole_starts = [start for start, _ in whole]
        self.whole_ends = [end for _, end in whole]

    def last(self, begin: int, size: int, farthest: int) -> int:
        """Return the last good cut at most `size` characters after `begin`.

        A sentence end; else the first sentence end up to `farthest`; else a line, clause or word in
        the second half. Always at least one character after `begin`.
        """
        high = begin + max(size, 1)
        if high >= self.end:
            return len(self.source)
        least = begin + (high - begin) // 2
        for low, limit in ((least, high), (begin, least)):
            for found in reversed(list(_SENTENCE_END.finditer(self.source, low, limit))):
                if self._ends_sentence(found):
                    return found.end()
        if begin + farthest > high:
            for found in _SENTENCE_END.finditer(self.source, high, begin + farthest):
                if self._ends_sentence(found):
                    return found.end()
            if begin + farthest >= self.end:
                return len(self.source)
        for pattern in _BREAKS:
            for found in reversed(list(pattern.finditer(self.source, least, high))):
                if found.end() > begin and not self._is_inside(found.end()):
                    return found.end()
        # keep combining marks and emoji sequences together
        cut = high
        while cut > least and _joins(*self.source[cut - 1 : cut + 1]):
            cut -= 1
        return cut if cut > least else high

    def _ends_sentence(self, found: re.Match[str]) -> bool:
        at = found.start()
        if self.source[at] == "." and _ABBREVIATION.search(self.source[max(0, at - 10) : at + 1]):
            return False
        return not self._is_inside(at)

    def _is_inside(self, at: int) -> bool:
        """Tell whether a cut at `at` would split an indivisible part."""
        nearest = bisect_left(self.whole_starts, at) - 1
        return nearest >= 0 and at < self.whole_ends[nearest]


def _joins(before: str, after: str) -> bool:
    return (
        unicodedata.category(after)[0] == "M" or after in "\u200d\ufe0f" or before == "\u200d"
    ) or (before == "\r" and after == "\n")


def _trimmed(source: str, start: int, stop: int) -> tuple[int, int]:
    """Strip white space around the piece `start` to `stop`, at least one character remaining.

    At the start only line breaks go: indentation stays.
    """
    while stop > start + 1 and source[stop - 1].isspace():
        stop -= 1
    while start < stop - 1 and source[start] in "\r\n":
        start += 1
    return start, stop


def _line_pieces(
    lines: Sequence[str], room: int, count: CountTokens, cost: int
) -> Iterator[_Piece]:
    """Split lines of code into runs of at most `room` tokens, as line numbers.

    A longer line is a run by itself. As in `text_pieces`, lengths are estimated and only the run is
    counted; `cost` is about the tokens of all lines.
    """
    ends = list(accumulate(len(line) + 1 for line in lines))
    reach = room * ends[-1] / max(cost, 1)
    begin = 0
    while begin < len(lines):
        offset = ends[begin - 1] if begin else 0
        left = ends[-1] - offset
        # before the last run, cut nearer to the middle to avoid a tiny rest
        size = min(0.95 * reach, 0.6 * left) if left > reach else left
        end = bisect_right(ends, offset + size)
        if end < len(lines):
            end = _best_line(lines, begin, max(end, begin + 1))
        while (counted := count("\n".join(lines[begin:end]))) > room and end - begin > 1:
            size = int((end - begin) * 0.95 * room / counted)
            end = _best_line(lines, begin, begin + max(size, 1))
        yield _Piece(begin, end, counted)
        begin = end


def _best_line(lines: Sequence[str], first: int, last: int) -> int:
    """Choose where the next piece begins, in the second half of lines `first` to `last`.

    Preferred: after an empty line and unindented, after any empty line, unindented, or `last`.
    """
    least = first + max(1, (last - first) // 2)
    margin = empty = 0
    for index in range(last, least - 1, -1):
        if index >= len(lines):
            continue
        line, above = lines[index], lines[index - 1]
        at_margin = bool(line) and not line[0].isspace() and line[0] not in "})]"
        if not above.strip():
            if at_margin:
                return index
            empty = empty or index
        elif at_margin:
            margin = margin or index
    return empty or margin or last


Kind: TypeAlias = Literal["prose", "code", "table"]


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece that packing never splits."""

    start: int
    end: int
    clean: str
    cost: int
    """Tokens of `clean`."""
    raw: int
    """Tokens of the slice of the file."""
    kind: Kind = "prose"
    language: str = ""
    heading: int | None = None
    keep_with_next: bool = False
    closes: bool = False
    """Closing tag or fence: has no text, but belongs at the end of its content."""
    shown: str | None = None
    """Markdown that readers see in place of the slice: its part of an included file."""
    lead: str = ""
    """What a piece of a block needs before it: the header of its table, the fence of its code."""
    tail: str = ""
    """What a piece of a block that goes on needs after it."""


def is_bare(unit: Unit) -> bool:
    """Tell whether the unit is a heading or has no text."""
    return unit.heading is not None or not unit.clean


_COMMENT: Final = re.compile(r"<!--(?:(?!-->).)*+(?:-->|\Z)", re.DOTALL)
_OPENING: Final = re.compile(r"((?:[ \t>]|(?:[-*+:]|\d{1,9}[.)])(?=[ \t]))*)(`{3,}|~{3,}|:{3,})?")


def _defining(term: str, units: Iterable[Unit]) -> Iterator[Unit]:
    """Give the units of a definition its term, for those that begin a chunk."""
    for nth, unit in enumerate(units):
        yield replace(unit, lead=f"{term}\n: {GOES_ON}\n{unit.lead}" if nth else f"{term}\n")


def _kind(block: Block) -> Kind:
    if block.kind == "code":
        return "code"
    return "table" if block.kind in ("table", "row") else "prose"


def hidden_between(page: Page, start: int, end: int) -> Sequence[tuple[int, int]]:
    """Return the parts of `page.hidden` that overlap with `start` to `end`."""
    first = bisect_right(page.hidden, start, key=itemgetter(1))
    last = bisect_left(page.hidden, end, key=itemgetter(0))
    return page.hidden[first:last]


@dataclass(frozen=True)
class UnitMaker:
    """Splits blocks of one page into units."""

    text: str
    page: Page
    budget: int
    count: CountTokens
    include: Include | None

    def units(self, block: Block, room: int) -> Iterable[Unit]:
        """Return a block as one unit if it fits in `room`, else split."""
        if hidden := hidden_between(self.page, block.start, block.end):
            yield from self._split_around(block, hidden, room)
            return
        source = self.text[block.start : block.end]
        clean = render(block, self._included_text).strip()
        cost = self.count(clean)
        if cost > room:
            yield from self._split(block, clean, cost, room)
            return
        raw = cost if clean == source else self.count(source)
        if raw > self.budget and clean:
            yield from self._split(block, clean, cost, room)
            return
        yield Unit(
            block.start,
            block.end,
            clean,
            cost,
            raw,
            _kind(block),
            block.language,
            block.heading,
            block.heading is not None
            or (block.kind == "marker" and bool(clean))
            or (block.kind == "paragraph" and clean.endswith((":", "："))),
            block.kind == "marker" and not clean and closes(source),
        )

    def _split_around(
        self, block: Block, hidden: Sequence[tuple[int, int]], room: int
    ) -> Iterable[Unit]:
        """Split a block so that no unit contains what the page hides."""
        if block.children and block.kind != "table":
            if block.text:
                end = line_spans(self.text, block.start, block.end)[0][1]
                yield from self.units(Block("marker", block.start, end, block.text), room)
            for child in block.children:
                yield from self.units(child, room)
            return
        start = block.start
        for first, last in (*hidden, (block.end, block.end)):
            if self._shown(start, first).strip():
                for unit in self._split_text(start, first, room, heading=block.heading):
                    yield replace(unit, kind=_kind(block), language=block.language)
            start = max(start, last)

    def _without_comments(self, start: int, end: int) -> str:
        return _COMMENT.sub("", self._shown(start, end))

    def _shown(self, start: int, end: int) -> str:
        """Return a slice without template tags."""
        return (self.page.shown or self.text)[start:end].replace(FILLER, "")

    def _split(self, block: Block, clean: str, cost: int, room: int) -> Iterable[Unit]:
        if block.kind == "table" and block.children:
            yield from self._split_table(block, room)
        elif block.children:
            if block.text:
                end = line_spans(self.text, block.start, block.end)[0][1]
                yield from self._split_markup(block.start, end, block.text, room)
            term = ""
            for child in block.children:
                units = self.units(child, room)
                if block.kind != "list":
                    yield from units
                elif child.kind != "item":
                    term = self._without_comments(child.start, child.end)
                    yield from (replace(unit, keep_with_next=True) for unit in units)
                elif term:
                    yield from _defining(term, units)
                else:
                    yield from units
        elif block.kind == "code":
            yield from self._split_code(block, cost, room)
        elif self.include is not None and (included := self.include(block)) is not None:
            yield from self._split_included(block, included, room)
        elif block.kind in ("marker", "expression"):
            yield from self._split_markup(block.start, block.end, clean, room)
        elif block.kind in ("paragraph", "heading"):
            known = cost if clean == self.text[block.start : block.end] else None
            yield from self._split_text(block.start, block.end, room, known, heading=block.heading)
        else:
            for piece in self._pieces(self.text[block.start : block.end], room):
                start, end = block.start + piece.start, block.start + piece.stop
                source = self._shown(start, end)
                shown = html_text(source) if block.kind == "html" else source.strip()
                yield self._slice(start, end, shown, _kind(block), raw=piece.cost)

    def _included_text(self, block: Block) -> str | None:
        """Return what a block includes as plain text, or as it is for code."""
        included = self.include(block) if self.include is not None else None
        if not included or block.kind == "code":
            return included
        return "\n\n".join(filter(None, map(render, self._parse(included).blocks)))

    def _parse(self, included: str) -> Page:
        """Parse the text of an included file, from which template tags are gone."""
        flavour = self.page.flavour
        return parse_page(included, flavour if flavour in ("mdx", "myst") else "commonmark")

    def _split_included(self, block: Block, included: str, room: int) -> Iterable[Unit]:
        """Split an included file. All pieces map to the line that includes it."""
        page = self._parse(included)
        raw = self.count(self.text[block.start : block.end])
        inner = UnitMaker(included, page, self.budget, self.count, None)
        for part in page.blocks:
            for unit in inner.units(part, room):
                shown = unit.shown or included[unit.start : unit.end]
                yield replace(
                    unit, start=block.start, end=block.end, raw=raw, shown=shown, heading=None
                )

    def _pieces(self, source: str, room: int, cost: int | None = None) -> Iterator[_Piece]:
        return text_pieces(source, max(8, min(room, self.budget) - 1), self.count, cost)

    def _slice(
        self,
        start: int,
        end: int,
        clean: str,
        kind: Kind = "prose",
        *,
        raw: int | None = None,
        heading: int | None = None,
        keep_with_next: bool = False,
    ) -> Unit:
        """Make the unit of a slice displayed as `clean`; `raw` is its token count, if known."""
        source = self.text[start:end]
        if raw is None:
            raw = self.count(source)
        cost = raw if clean == source else self.count(clean)
        return Unit(start, end, clean, cost, raw, kind, "", heading, keep_with_next)

    def _split_table(self, block: Block, room: int) -> Iterable[Unit]:
        """Split between rows; each piece repeats the header if there is room.

        A row over the budget is split like a paragraph.
        """
        header, *rows = block.children
        top = slice(*_trimmed(self.text, block.start, rows[0].start if rows else block.end))
        lead = f"{self._without_comments(top.start, top.stop)}\n"
        top_raw = self.count(self.text[top.start : top.stop])
        head_cost = self.count(header.text) + 1
        head = f"{header.text}\n" if head_cost <= room // 3 else ""
        if not head:
            head_cost, lead = 0, ""
        if not head and (top_raw > self.budget or self.count(header.text) > room):
            yield from self._split_text(top.start, top.stop, room)
            top = slice(top.stop, top.stop)

        begin = top.start
        # the lines of the header join the first rows, or form a piece if they do not fit together
        start, raw, cost = top.start, top_raw, head_cost
        group: list[Block] = []

        def flush() -> Iterable[Unit]:
            nonlocal top
            if group:
                shown = head + "\n".join(row.text for row in group)
                if not head and start == top.start:
                    shown = f"{header.text}\n{shown}"
                unit = self._slice(start, group[-1].end, shown, "table")
                yield replace(unit, lead=lead) if start != begin else unit
            elif top.stop > top.start:
                yield self._slice(top.start, max(header.end, top.start), header.text, "table")
            group.clear()
            top = slice(block.end, block.end)

        for row in rows:
            row_cost = self.count(row.text) + 1
            row_raw = self.count(self.text[row.start : row.end]) + 1
            if row_cost + head_cost > room or row_raw > self.budget:
                yield from flush()
                for part in self._split_text(row.start, row.end, room - head_cost):
                    clean, cost = head + part.clean, part.cost + head_cost
                    yield replace(part, clean=clean, cost=cost, kind="table", lead=lead)
                continue
            if (group or top.stop > top.start) and (
                cost + row_cost > room or raw + row_raw > self.budget
            ):
                yield from flush()
            if not group and top.start == top.stop:
                start, raw, cost = row.start, 0, head_cost
            group.append(row)
            cost, raw = cost + row_cost, raw + row_raw
        yield from flush()

    def _split_markup(self, begin: int, stop: int, shown: str, room: int) -> Iterable[Unit]:
        """Split tags or similar, displayed as `shown`.

        The first piece carries the text; the others can be dropped.
        """
        first = next(text_pieces(self.text[begin:stop], self.budget, self.count))
        start, end = begin + first.start, begin + first.stop
        parts = [shown]
        if self.count(shown) > room:
            parts = [shown[piece.start : piece.stop] for piece in self._pieces(shown, room)]
        for part in parts:
            yield self._slice(start, end, part, raw=first.cost, keep_with_next=True)

    def _split_text(
        self,
        begin: int,
        stop: int,
        room: int,
        plain_cost: int | None = None,
        *,
        heading: int | None = None,
    ) -> Iterable[Unit]:
        """Split inline Markdown between sentences.

        `plain_cost` is its token count if it contains no markup.
        """
        for piece in self._pieces(self.text[begin:stop], room, plain_cost):
            start, end = begin + piece.start, begin + piece.stop
            source = self.text[start:end]
            clean = (
                source if plain_cost is not None else plain_text(self._shown(start, end), self.page)
            )
            yield self._slice(start, end, clean.strip(), raw=piece.cost, heading=heading)

    def _split_code(self, block: Block, cost: int, room: int) -> Iterable[Unit]:
        """Split between lines, preferably at an empty or unindented line.

        The first and last piece include the lines of the fence.
        """
        included = self.include(block) if self.include is not None else None
        language = block.language
        fences = self.count(fence("", language))
        wrap = fences + (self.count(block.title) if block.title else 0)
        code = (included if included is not None else block.text).rstrip("\n")
        lines = counted = code.split("\n")
        spans: list[tuple[int, int]] = []
        top = block.start
        if included is None:
            opening = self.count(self.text[top : block.body]) + 2
            body = min(block.body, block.end)
            if opening > self.budget // 2:  # a very long fence line leaves no room for code
                top = body
                opening = 2
            wrap = max(wrap, opening)
            spans = line_spans(self.text, body, block.end)[: len(lines)]
            spans += [(block.end, block.end)] * (len(lines) - len(spans))
            if not self.text.startswith(code, body):
                # count the lines of the file, with the indentation of an enclosing list
                counted = [self.text[start:end] for start, end in spans]
        first_line, last_line = fence(code, language, block.title).split("\n", 1)
        last_line = last_line.rpartition("\n")[2]
        indent = ""
        outside = included is not None or is_templated_code(self.text, block, self.page)
        if not outside:
            found = _OPENING.match(self.text, block.start)
            assert found is not None
            indent = re.sub(r"[^>\s]", " ", found[1])
            marks = found[2] if body > block.start and found[2] else ""
            first_line = marks and f"{found[1]}{marks}{language}"
            if marks and top < body:
                first_line = self.text[top:body].rstrip()
            last_line = marks and indent + marks
        for piece in _line_pieces(counted, max(room - wrap - 1, 8), self.count, cost):
            code = "\n".join(lines[piece.start : piece.stop])
            if not code.strip():
                continue
            shown = fence(code, language)
            if piece.start == 0 and block.title:
                shown = f"{block.title}\n{shown}"
            start, end = block.start, block.end
            if included is None:
                start = spans[piece.start][0] if piece.start else top
                end = spans[piece.stop - 1][1] if piece.stop < len(lines) else block.end
                end = max(start, end)
            source = self.text[start:end]
            raw = piece.cost if source == code else self.count(source)
            part_cost = (
                piece.cost + fences if counted is lines and piece.start else self.count(shown)
            )
            units = [Unit(start, end, shown, part_cost, raw, "code", language)]
            if outside:  # of the fences that the slice may have
                units = [replace(units[0], shown=code)]
            if piece.stop - piece.start == 1 and (part_cost > room or raw > self.budget):
                units = list(self._split_line(start, end, code, language, room - wrap, included))
            for nth, unit in enumerate(units):
                begins = not piece.start and not nth
                ends = piece.stop == len(lines) and nth == len(units) - 1
                before = [first_line] * (outside or top != block.start or not begins)
                after = [last_line] * (outside or not ends)
                before += [indent + GOES_ON] * (not begins)
                after[:0] = [indent + GOES_ON] * (not ends)
                yield replace(
                    unit,
                    lead="".join(f"{line}\n" for line in before if line),
                    tail="".join(f"\n{line}" for line in after if line),
                )

    def _split_line(
        self, start: int, end: int, code: str, language: str, room: int, included: str | None
    ) -> Iterable[Unit]:
        """Split a single line of code over the budget: data, or a minified script."""
        source = self.text[start:end] if included is None else code
        for piece in self._pieces(source, room - 1):
            part = source[piece.start : piece.stop]
            shown = fence(part.strip().strip("`~"), language)
            if included is None:
                unit = self._slice(
                    start + piece.start, start + piece.stop, shown, "code", raw=piece.cost
                )
            else:
                unit = replace(self._slice(start, end, shown, "code"), shown=part)
            yield replace(unit, language=language)
