"""Where a text is cut when it has to be: between sentences, else clauses, else words; code
between lines. Nothing here knows of Markdown's blocks: a text, a room in tokens, a way to count.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import ceil
from typing import Final, NamedTuple

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
