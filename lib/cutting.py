"""Where a text is cut when it has to be: between sentences, else clauses, else words; code
between lines. Nothing here knows of Markdown's blocks: a text, a room in tokens, a way to count.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

CountTokens: TypeAlias = Callable[[str], int]

_LINE_BREAK: Final = re.compile(r"\r\n?|\n")


def line_end(text: str, at: int) -> int:
    found = _LINE_BREAK.search(text, at)
    return found.start() if found is not None else len(text)


def next_line(text: str, at: int) -> int:
    found = _LINE_BREAK.search(text, at)
    return found.end() if found is not None else len(text)


def text_pieces(source: str, room: int, count: CountTokens) -> Iterable[slice]:
    """Cut a text between sentences into pieces of nearly the same size."""
    room = max(8, room - 1)
    ends = _sentence_ends(source)
    costs: list[int] = []
    spans: list[slice] = []
    begin = 0
    for end in ends:
        cost = count(source[begin:end])
        if cost <= room:
            spans.append(slice(begin, end))
            costs.append(cost)
        else:
            while begin < end:
                cut = begin + fit(source[begin:end], 0, room, count)
                spans.append(slice(begin, cut))
                costs.append(count(source[begin:cut]))
                begin = cut
        begin = end
    groups: list[list[int]] = [[]]
    size = 0
    for index, cost in enumerate(costs):
        if groups[-1] and size + cost > room:
            groups.append([])
            size = 0
        groups[-1].append(index)
        size += cost
    # The last sentence often stands alone: take some from the piece before it.
    while len(groups) > 1 and len(groups[-2]) > 1:
        before = sum(costs[i] for i in groups[-2])
        last = sum(costs[i] for i in groups[-1])
        moved = costs[groups[-2][-1]]
        if last + moved > before - moved:
            break
        groups[-1].insert(0, groups[-2].pop())
    for group in filter(None, groups):
        yield trimmed(source, spans[group[0]].start, spans[group[-1]].stop)


# The end of a sentence: a full stop and its like before white space, or the scripts' own marks,
# after which none need stand (Han, kana), with the quotation marks and brackets that close there.
_SENTENCE_END: Final = re.compile(
    r"(?:[.!?\u2026]+[\"'\u2019\u201d\u00bb)\]*_`]*(?=\s)"
    r"|[\u3002\uff01\uff1f\uff61]+[\u300d\u300f\u201d\u2019\uff09\u3011]*"
    r"|[\u061f\u06d4\u0964\u0965\u104b\u1362\u1367\u17d4\u0589][\"'\u201d\u00bb)]*(?=\s|$))\s*"
    r"|(?:\r\n?|\n)[ \t]*(?:(?:\r\n?|\n)[ \t]*)+"
)
# An abbreviation or an initial before the full stop: no sentence ends there.
_ABBREVIATION: Final = re.compile(
    r"(?:^|[\s(])(?:[A-Za-z]|e\.g|i\.e|etc|cf|vs|Mr|Mrs|Ms|Dr|Prof|St|No|Fig|Eq|vol|pp?|approx)\.$"
)
# What a cut may not go through: code, link and image, formula, tag.
_WHOLE: Final = re.compile(
    r"(`+)(?!`).{1,400}?(?<!`)\1(?!`)|!?\[[^\[\]]{0,400}\]\([^()\s]{0,600}\)|\$[^$\n]{1,300}\$|<[^<>\n]{1,300}>",
    re.DOTALL,
)


def _sentence_ends(source: str) -> list[int]:
    """Offsets after each sentence and the white space behind it; the last is the text's end."""
    whole = [found.span() for found in _WHOLE.finditer(source)]
    ends: list[int] = []
    at = 0
    for found in _SENTENCE_END.finditer(source):
        end = found.end()
        while at < len(whole) and whole[at][1] <= found.start():
            at += 1
        if at < len(whole) and whole[at][0] < found.start() < whole[at][1]:
            continue
        stop = source[max(0, found.start() - 10) : found.start() + 1]
        if stop.endswith(".") and _ABBREVIATION.search(stop):
            continue
        ends.append(end)
    if not ends or ends[-1] < len(source):
        ends.append(len(source))
    return ends


_BREAKS: Final = (
    re.compile(r"(?:\r\n?|\n)\s*"),
    re.compile(r"[,;:\u2014](?=\s)\s*|[\uff0c\u3001\uff1b\uff1a\u060c\u061b]\s*"),
    re.compile(r"\s+"),
)


def fit(text: str, start: int, room: int, count: CountTokens) -> int:
    """How far from `start` a piece of at most `room` tokens reaches: rather to the end of a line,
    a clause or a word; at least one character."""
    # Grow the window until it holds too much, then halve the doubt to a few characters: nobody
    # sees whether a cut could have come two characters later.
    low, size = start, room * 4
    while True:
        high = min(len(text), start + size)
        if count(text[start:high]) > room:
            break
        low = high
        if high == len(text):
            return high
        size *= 2
    low = max(low, start + 1)
    while high - low > 1 + (low - start) // 50:
        middle = (low + high) // 2
        if count(text[start:middle]) <= room:
            low = middle
        else:
            high = middle
    least = start + (low - start) // 2
    for pattern in _BREAKS:
        cut = -1
        for found in pattern.finditer(text, least, low):
            cut = found.end()
        if cut > start:
            return cut
    # Not between a letter and its vowel sign, nor inside an emoji sequence.
    cut = low
    while cut > least and cut < len(text) and _joins(text[cut - 1], text[cut]):
        cut -= 1
    return cut if cut > least else low


def _joins(before: str, after: str) -> bool:
    return (
        unicodedata.category(after)[0] == "M" or after in "\u200d\ufe0f" or before == "\u200d"
    ) or (before == "\r" and after == "\n")


def trimmed(source: str, start: int, stop: int) -> slice:
    """The piece without the white space around it; a cut may not leave a character out, so all
    that is left off is white space."""
    while stop > start + 1 and source[stop - 1].isspace():
        stop -= 1
    while start < stop - 1 and source[start] in "\r\n":
        start += 1
    return slice(start, stop)


def line_pieces(lines: Sequence[str], room: int, count: CountTokens) -> list[tuple[int, int]]:
    """Cut lines of code into runs of at most `room` tokens, each `(first, last + 1)`; a line over
    that is a run of its own. Runs are filled by the listing's average and counted once: counting
    line by line takes longer than parsing the page."""
    whole = "\n".join(lines)
    rate = count(whole) / max(len(whole), 1)
    pieces: list[tuple[int, int]] = []
    todo: list[tuple[int, int]] = []
    first, size = 0, 0.0
    index = 0
    while index < len(lines):
        cost = rate * (len(lines[index]) + 1)
        if index > first and size + cost > room * 0.95:
            first, size = _best_line(lines, first, index), 0.0
            todo.append((todo[-1][1] if todo else 0, first))
            index = first
            continue
        size += cost
        index += 1
    todo.append((first, len(lines)))
    todo.reverse()
    while todo:
        first, last = todo.pop()
        if last - first > 1 and count("\n".join(lines[first:last])) > room:
            middle = _best_line(lines, first, (first + last + 1) // 2)
            todo += [(middle, last), (first, middle)]
        else:
            pieces.append((first, last))
    return pieces


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
