"""Align the headings of a page's source with those of its built page.

A plugin inserts, removes and rewrites headings: the ids of the others must not shift. All steps
take linear time, for pages with thousands of headings.
"""

import re
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from lib.languages import normalize
from lib.markdown_page import Page

WORD: Final = re.compile(r"[^\W\u3040-\u9fff]+|[\u3040-\u9fff]")
"""A word; of Chinese and Japanese, a character."""
_MAX_HEADING: Final = 1_000
"""Characters that are compared."""

Titled = tuple[int, str]
"""Level and text of a heading."""


@lru_cache(maxsize=20_000)
def heading_key(text: str) -> str:
    """The letters and digits of a heading."""
    text = normalize("NFKC", text[:_MAX_HEADING]).casefold()
    return "".join(WORD.findall(text)) or "".join(text.split())


def titled(page: Page) -> list[Titled]:
    return [(each.level, each.text) for each in page.headings]


def align_ids(
    ours: Sequence[Titled], theirs: Sequence[Titled], ids: Sequence[str | None]
) -> tuple[str | None, ...]:
    """Return the id of each of our headings; of the section that holds it, if it has none."""
    aligned: list[str | None] = []
    above: list[tuple[int, str | None]] = []
    """Levels and ids of the sections that hold the next heading."""
    for (level, _), place in zip(ours, _align(ours, theirs), strict=True):
        while above and above[-1][0] >= level:
            above.pop()
        found = ids[place] if place is not None else None
        found = found or (above[-1][1] if above else None)
        above.append((level, found))
        aligned.append(found)
    return tuple(aligned)


_MAX_CELLS: Final = 10_000
"""Of a table of two runs of headings, which are compared with each other."""
_MAX_AHEAD: Final = 20
"""Headings that one with another wording is compared with."""


def _align(ours: Sequence[Titled], theirs: Sequence[Titled]) -> list[int | None]:
    """Return for each of our headings the index of the same one in `theirs`, in order.

    The longest series of equal headings is found. On pages with many, those that are unique in
    both divide the rest (patience diff). What is left over is compared by similarity.
    """
    left, right = [heading_key(text) for _, text in ours], [heading_key(text) for _, text in theirs]
    found: list[int | None] = [None] * len(ours)
    large = len(left) * len(right) > _MAX_CELLS
    pairs = _unique_pairs(left, right) if large else []
    for first, last, begin, end in _gaps(pairs, len(left), len(right), found):
        _align_gap(left, right, (first, last, begin, end), found)
    pairs = [(at, place) for at, place in enumerate(found) if place is not None]
    for first, last, begin, end in _gaps(pairs, len(left), len(right), found):
        _align_similar(ours, theirs, (first, last, begin, end), found)
    return found


_Gap = tuple[int, int, int, int]
"""Two ranges: first and last (exclusive) of ours, first and last of theirs."""


def _unique_pairs(left: Sequence[str], right: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of equal keys that are unique in both, the longest series in order."""
    ours, theirs = Counter(left), Counter(right)
    place = {key: at for at, key in enumerate(right) if theirs[key] == 1}
    pairs = [(at, place[key]) for at, key in enumerate(left) if key in place and ours[key] == 1]
    tails: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for index, (_, there) in enumerate(pairs):
        at = bisect_left(tails, there)
        before.append(ends[at - 1] if at else -1)
        tails[at : at + 1] = [there]
        ends[at : at + 1] = [index]
    series: list[tuple[int, int]] = []
    index = ends[-1] if ends else -1
    while index >= 0:
        series.append(pairs[index])
        index = before[index]
    return series[::-1]


def _gaps(
    pairs: Iterable[tuple[int, int]], ours: int, theirs: int, found: list[int | None]
) -> list[_Gap]:
    """Note `pairs` in `found` and return the ranges between them that are not empty."""
    gaps: list[_Gap] = []
    first = begin = 0
    for at, place in [*pairs, (ours, theirs)]:
        if at > first and place > begin:
            gaps.append((first, at, begin, place))
        if at < ours:
            found[at] = place
        first, begin = at + 1, place + 1
    return gaps


def _align_gap(
    left: Sequence[str], right: Sequence[str], gap: _Gap, found: list[int | None]
) -> None:
    """Find the equal keys of two ranges: the longest series in order, or the next of each."""
    first, last, begin, end = gap
    while first < last and begin < end and left[first] == right[begin]:
        found[first] = begin
        first, begin = first + 1, begin + 1
    while first < last and begin < end and left[last - 1] == right[end - 1]:
        last, end = last - 1, end - 1
        found[last] = end
    if (last - first) * (end - begin) > _MAX_CELLS:
        places: dict[str, list[int]] = defaultdict(list)
        for place in range(begin, end):
            places[right[place]].append(place)
        for at in range(first, last):
            ahead = places.get(left[at], [])
            index = bisect_right(ahead, begin - 1)
            if index < len(ahead):
                found[at] = ahead[index]
                begin = ahead[index] + 1
        return
    wide = end - begin + 1
    longest = [[0] * wide for _ in range(last - first + 1)]
    for i in range(last - first - 1, -1, -1):
        for j in range(wide - 2, -1, -1):
            longest[i][j] = (
                longest[i + 1][j + 1] + 1
                if left[first + i] == right[begin + j]
                else max(longest[i + 1][j], longest[i][j + 1])
            )
    i = j = 0
    while first + i < last and begin + j < end:
        if left[first + i] == right[begin + j]:
            found[first + i] = begin + j
            i, j = i + 1, j + 1
        elif longest[i + 1][j] >= longest[i][j + 1]:
            i += 1
        else:
            j += 1


def _align_similar(
    ours: Sequence[Titled], theirs: Sequence[Titled], gap: _Gap, found: list[int | None]
) -> None:
    """Find headings with most words in common, or all words of one of them."""
    first, last, begin, end = gap
    words = [_words(text) for _, text in theirs[begin:end]]
    at = 0
    for index in range(first, last):
        own = _words(ours[index][1])
        for place in range(at, min(len(words), at + _MAX_AHEAD)):
            common = len(own & words[place])
            fewer, more = sorted((len(own), len(words[place])))
            if common and (common == fewer or 2 * common > more):
                found[index] = begin + place
                at = place + 1
                break


def _words(text: str) -> set[str]:
    return {*WORD.findall(text.casefold())}
