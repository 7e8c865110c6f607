"""Blocks as the units that chunks are packed of.

A block that fits in a chunk is one unit. One that is over the budget is cut where its kind allows:
a list between items, a table between rows, code between lines, a paragraph between sentences. A
cut table repeats its header in what is embedded, cut code the language of its fence.

Where a text is cut when it has to be: between sentences, else clauses, else words; code
between lines. Nothing here knows of Markdown's blocks: a text, a room in tokens, a way to count.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import ceil
from typing import Final, Literal, NamedTuple, TypeAlias

from lib.markdown import plain_text
from lib.markdown_page import Block, Page, fence, render
from lib.markdown_rules import html_text
from lib.tokens import CountTokens

_LINE_BREAK: Final = re.compile(r"[\r\n](?:(?<=\r)\n)?")


def line_end(text: str, at: int) -> int:
    found = _LINE_BREAK.search(text, at)
    return found.start() if found is not None else len(text)


def line_spans(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Where the lines of a part of `text` start and end, line breaks left off."""
    spans: list[tuple[int, int]] = []
    if "\r" not in text[start:end]:  # nearly always, and in a fifth of the time
        for line in text[start:end].split("\n"):
            spans.append((start, start + len(line)))
            start += len(line) + 1
        return spans
    for found in _LINE_BREAK.finditer(text, start, end):
        spans.append((start, found.start()))
        start = found.end()
    spans.append((start, end))
    return spans


class Piece(NamedTuple):
    start: int
    stop: int
    cost: int
    """Tokens of it."""


def text_pieces(
    source: str, room: int, count: CountTokens, cost: int | None = None
) -> Iterator[Piece]:
    """Cut a text between sentences into pieces of nearly the same size, each at most `room`
    tokens; a sentence over that is cut between clauses or words. What is left out between pieces
    is white space.

    Counting sentence by sentence takes longer than parsing the page. As a text costs much the
    same all along, the reach of a piece is reckoned from the whole, and only the piece is counted.
    `cost` is what the whole costs, if it has been counted.
    """
    places = _Places(source)
    rate = max(count(source) if cost is None else cost, 1) / max(len(source), 1)
    begin = 0
    while begin < len(source):
        piece = _piece(places, begin, room, rate, count)
        yield piece
        begin = piece.stop
        while begin < len(source) and source[begin].isspace():
            begin += 1


def _piece(places: "_Places", begin: int, room: int, rate: float, count: CountTokens) -> Piece:
    """The piece at `begin`, of a text of which a character costs about `rate` tokens."""
    source = places.source
    best: Piece | None = None
    stretch = 2.0  # a sentence is counted before it is cut, if it may fit at all
    while True:
        reach = room / rate
        left = len(source) - begin
        # An equal share of what is left and a little more, for the cut is at the last end before.
        share = 1.1 * left / ceil(left / reach)
        stop = places.last(begin, int(min(reach, share)), int(reach * stretch))
        start, stop = trimmed(source, begin, stop)
        if best is not None and stop <= best.stop:
            return best
        cost = count(source[start:stop])
        piece = Piece(start, stop, cost)
        if cost > room and stop - start > 1:
            if best is not None:
                return best
            rate = 1.05 * cost / (stop - start)
            stretch = 1.0
        elif stretch > 1 and 3 * cost < room and stop < places.end:
            # This part costs less than the rest: so it reaches farther.
            best = piece
            rate = max(cost, 1) / (stop - start)
        else:
            return piece


# The end of a sentence: a full stop and its like before white space, or the scripts' own marks,
# after which none need stand (Han, kana), with the quotation marks and brackets that close there;
# or an empty line. The first mark is looked for by itself, which is what makes it fast.
_SENTENCE_END: Final = re.compile(
    r"[.!?\u2026\u3002\uff01\uff1f\uff61\u061f\u06d4\u0964\u0965\u104b\u1362\u1367\u17d4\u0589\r\n]"
    r"(?:(?<=[.!?\u2026])[.!?\u2026]*[\"'\u2019\u201d\u00bb)\]*_`]*(?=\s)\s*"
    r"|(?<=[\u3002\uff01\uff1f\uff61])[\u3002\uff01\uff1f\uff61]*[\u300d\u300f\u201d\u2019\uff09\u3011]*\s*"
    r"|(?<=[^.!?\u2026\u3002\uff01\uff1f\uff61\r\n])[\"'\u201d\u00bb)]*(?=\s|$)\s*"
    r"|(?<=[\r\n])(?>(?:(?<=\r)\n)?)[ \t]*[\r\n]\s*)"
)
# An abbreviation or an initial before the full stop: no sentence ends there.
_ABBREVIATION: Final = re.compile(
    r"(?:^|[\s(])(?:[A-Za-z]|e\.g|i\.e|etc|cf|vs|Mr|Mrs|Ms|Dr|Prof|St|No|Fig|Eq|vol|pp?|approx)\.$"
)
# What a cut may not go through: code, link and image, formula, tag.
_WHOLE: Final = re.compile(
    r"`(?<!``)(`*+).{1,400}?(?<!`)`\1(?!`)"
    r"|\[[^\[\]]{0,400}\]\([^()\s]{0,600}\)|\$[^$\n]{1,300}\$|<[^<>\n]{1,300}>",
    re.DOTALL,
)
# Where a sentence is cut that is too long, the best place first.
_BREAKS: Final = (
    re.compile(r"[\r\n]\s*"),
    re.compile(r"[,;:\u2014](?=\s)\s*|[\uff0c\u3001\uff1b\uff1a\u060c\u061b]\s*"),
    re.compile(r"\s+"),
)


class _Places:
    """Where a text may be cut."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.end = len(source.rstrip())
        whole = [found.span() for found in _WHOLE.finditer(source)]
        self.whole_starts = [start for start, _ in whole]
        self.whole_ends = [end for _, end in whole]

    def last(self, begin: int, size: int, farthest: int) -> int:
        """The last good place at most `size` characters after `begin`: the end of a sentence,
        else of the first one if it is no farther than `farthest`, else of a line, a clause or a
        word in the second half; at the least one character after `begin`."""
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
        # Not between a letter and its vowel sign, nor inside an emoji sequence.
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
        """Whether a cut at `at` would go through something."""
        nearest = bisect_left(self.whole_starts, at) - 1
        return nearest >= 0 and at < self.whole_ends[nearest]


def _joins(before: str, after: str) -> bool:
    return (
        unicodedata.category(after)[0] == "M" or after in "\u200d\ufe0f" or before == "\u200d"
    ) or (before == "\r" and after == "\n")


def trimmed(source: str, start: int, stop: int) -> tuple[int, int]:
    """The piece without the white space around it; a cut may not leave a character out, so all
    that is left off is white space."""
    while stop > start + 1 and source[stop - 1].isspace():
        stop -= 1
    while start < stop - 1 and source[start] in "\r\n":
        start += 1
    return start, stop


def line_pieces(lines: Sequence[str], room: int, count: CountTokens, cost: int) -> Iterator[Piece]:
    """Cut lines of code into runs of at most `room` tokens, as the numbers of lines; a line over
    that is a run of its own. As in `text_pieces`, the reach of a run is reckoned and the run is
    counted; `cost` is about what all lines cost."""
    ends = list(accumulate(len(line) + 1 for line in lines))
    reach = room * ends[-1] / max(cost, 1)
    begin = 0
    while begin < len(lines):
        offset = ends[begin - 1] if begin else 0
        left = ends[-1] - offset
        # Before the last run a cut nearer to the middle, so that the last is no crumb.
        size = min(0.95 * reach, 0.6 * left) if left > reach else left
        end = bisect_right(ends, offset + size)
        if end < len(lines):
            end = _best_line(lines, begin, max(end, begin + 1))
        while (counted := count("\n".join(lines[begin:end]))) > room and end - begin > 1:
            size = int((end - begin) * 0.95 * room / counted)
            end = _best_line(lines, begin, begin + max(size, 1))
        yield Piece(begin, end, counted)
        begin = end


def _best_line(lines: Sequence[str], first: int, last: int) -> int:
    """Where to begin the next piece, in the second half of lines `first` to `last`: after an
    empty line if the next one is at the margin, after any empty line, at the margin, or here."""
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


Include: TypeAlias = Callable[[Block], str | None]
Kind: TypeAlias = Literal["prose", "code", "table"]


@dataclass(frozen=True, slots=True)
class Unit:
    """Something the packing does not cut."""

    start: int
    end: int
    clean: str
    cost: int
    """Tokens of `clean`."""
    raw: int
    """Tokens of the slice."""
    kind: Kind = "prose"
    language: str = ""
    heading: int | None = None
    keep_with_next: bool = False
    closes: bool = False
    """A closing tag or fence: shows nothing, but reads better at its content's end."""


def is_bare(unit: Unit) -> bool:
    """Whether there is nothing in it to stand under a heading."""
    return unit.heading is not None or not unit.clean


_CLOSER: Final = re.compile(r"[ \t]*(?:</|:{3,}[ \t]*$|/{3,}[ \t]*$)")


def _kind(block: Block) -> Kind:
    if block.kind == "code":
        return "code"
    return "table" if block.kind in ("table", "row") else "prose"


class UnitMaker:
    """Makes the units of one page."""

    def __init__(
        self, text: str, page: Page, budget: int, count: CountTokens, include: Include | None
    ) -> None:
        self.text = text
        self.page = page
        self.budget = budget
        self.count = count
        self.include = include

    def units(self, block: Block, room: int) -> Iterable[Unit]:
        """A block as one unit if it fits in `room`, else as several."""
        source = self.text[block.start : block.end]
        clean = render(block, self.include).strip()
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
            block.kind == "marker" and not clean and _CLOSER.match(source) is not None,
        )

    def _split(self, block: Block, clean: str, cost: int, room: int) -> Iterable[Unit]:
        if block.kind == "table" and block.children:
            yield from self._split_table(block, room)
        elif block.children:
            if block.text:
                end = line_end(self.text, block.start)
                yield from self._split_markup(block.start, end, block.text, room)
            for child in block.children:
                yield from self.units(child, room)
        elif block.kind == "code":
            yield from self._split_code(block, cost, room)
        elif self.include is not None and self.include(block) is not None:
            # An included file: its pieces all stand for the one line that includes it.
            for piece in self._pieces(clean, room, cost):
                yield self._slice(block.start, block.end, clean[piece.start : piece.stop])
        elif block.kind in ("marker", "expression"):
            yield from self._split_markup(block.start, block.end, clean, room)
        elif block.kind in ("paragraph", "heading"):
            known = cost if clean == self.text[block.start : block.end] else None
            yield from self._split_text(block.start, block.end, room, known, heading=block.heading)
        else:
            for piece in self._pieces(self.text[block.start : block.end], room):
                start, end = block.start + piece.start, block.start + piece.stop
                source = self.text[start:end]
                shown = html_text(source) if block.kind == "html" else source.strip()
                yield self._slice(start, end, shown, _kind(block), raw=piece.cost)

    def _pieces(self, source: str, room: int, cost: int | None = None) -> Iterator[Piece]:
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
        """The unit of a slice that shows `clean`; `raw` if the slice has been counted."""
        source = self.text[start:end]
        if raw is None:
            raw = self.count(source)
        cost = raw if clean == source else self.count(clean)
        return Unit(start, end, clean, cost, raw, kind, "", heading, keep_with_next)

    def _split_table(self, block: Block, room: int) -> Iterable[Unit]:
        """Cut between rows; every piece shows the header, if there is room for it. A row that is
        over the budget alone is cut like a text."""
        header, *rows = block.children
        top = slice(*trimmed(self.text, block.start, rows[0].start if rows else block.end))
        top_raw = self.count(self.text[top.start : top.stop])
        head_cost = self.count(header.text) + 1
        head = f"{header.text}\n" if head_cost <= room // 3 else ""
        head_cost = head_cost if head else 0
        if not head and (top_raw > self.budget or self.count(header.text) > room):
            yield from self._split_text(top.start, top.stop, room)
            top = slice(top.stop, top.stop)

        # The header's own lines wait for the first rows and go alone if they don't fit together.
        start, raw, cost = top.start, top_raw, head_cost
        group: list[Block] = []

        def flush() -> Iterable[Unit]:
            nonlocal top
            if group:
                shown = head + "\n".join(row.text for row in group)
                if not head and start == top.start:
                    shown = f"{header.text}\n{shown}"
                yield self._slice(start, group[-1].end, shown, "table")
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
                    yield replace(
                        part, clean=head + part.clean, cost=part.cost + head_cost, kind="table"
                    )
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
        """Tags or the like of which a reader sees only `shown`: it stands for their first piece,
        and the others can be left off."""
        first = next(text_pieces(self.text[begin:stop], self.budget, self.count))
        start, end = begin + first.start, begin + first.stop
        if self.count(shown) <= room:
            yield self._slice(start, end, shown, raw=first.cost, keep_with_next=True)
            return
        for piece in self._pieces(shown, room):
            part = shown[piece.start : piece.stop]
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
        """Inline Markdown cut between sentences; `plain_cost` is what it costs if it is known to
        read as it is written."""
        for piece in self._pieces(self.text[begin:stop], room, plain_cost):
            start, end = begin + piece.start, begin + piece.stop
            source = self.text[start:end]
            clean = source if plain_cost is not None else plain_text(source, self.page)
            yield self._slice(start, end, clean.strip(), raw=piece.cost, heading=heading)

    def _split_code(self, block: Block, cost: int, room: int) -> Iterable[Unit]:
        """Cut between lines, rather where an empty line or one at the margin begins anew. The
        fence's own lines go with the first and the last piece."""
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
            if opening > self.budget // 2:  # a fence's line so long leaves no room for its code
                top = body
                opening = 2
            wrap = max(wrap, opening)
            spans = line_spans(self.text, body, block.end)[: len(lines)]
            spans += [(block.end, block.end)] * (len(lines) - len(spans))
            if not self.text.startswith(code, body):
                # Counted as it stands in the file: with the indentation of the list it is in.
                counted = [self.text[start:end] for start, end in spans]
        for piece in line_pieces(counted, max(room - wrap - 1, 8), self.count, cost):
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
            if piece.stop - piece.start == 1 and (part_cost > room or raw > self.budget):
                yield from self._split_line(start, end, code, language, room - wrap, included)
            else:
                yield Unit(start, end, shown, part_cost, raw, "code", language)

    def _split_line(
        self, start: int, end: int, code: str, language: str, room: int, included: str | None
    ) -> Iterable[Unit]:
        """A single line of code over the budget: data, or a minified script."""
        source = self.text[start:end] if included is None else code
        for piece in self._pieces(source, room - 1):
            part = source[piece.start : piece.stop]
            shown = fence(part.strip().strip("`~"), language)
            if included is None:
                unit = self._slice(
                    start + piece.start, start + piece.stop, shown, "code", raw=piece.cost
                )
            else:
                unit = self._slice(start, end, shown, "code")
            yield replace(unit, language=language)
