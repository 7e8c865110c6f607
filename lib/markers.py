"""The forms in which models write a marker: `[1, 3]`, `[^1]`, `【1†source】`, `(Source 1)`, ..."""

import re
from typing import Final

LONGEST: Final = 80
"""Characters after which a bracket that has not closed is no marker."""
WIDEST_RANGE: Final = 10
"""A range over more is taken as its ends."""

# Possessive: two of these side by side must not share out the spaces in every possible way.
_SPACE: Final = r"(?:[^\S\n]|[\u200b\u2060])*+"
_NOUN: Final = (
    r"(?:sources?|passages?|passagen|quellen?|fuentes?|pasajes?|fontes?|fonti|bron|bronnen"
    r"|источник|来源|來源|出典)"
)
# These also name things of the book's own, and so need square brackets around them.
_OTHER: Final = (
    r"(?:refs?|references?|citations?|documents?|docs?|chunks?|excerpts?|footnotes?|abschnitte?"
    r"|資料|资料|参考|文献)"
)
_LEAD: Final = rf"{_SPACE}[.:：]?{_SPACE}[#№]?"
_AND: Final = rf"{_SPACE}(?:[,;、，；&–—-]|and|und|et|y|to|bis){_SPACE}"


def _list(item: str) -> str:
    return rf"({item}(?:{_AND}{item})*)"


_ITEM: Final = rf"(?:\^|#|(?:{_NOUN}|{_OTHER}){_LEAD})?{_SPACE}\d{{1,3}}\^?"
_NAMED: Final = rf"(?:{_NOUN}{_LEAD})?{_SPACE}\d{{1,3}}"
_MARKER: Final = re.compile(
    rf"(?:\[\[?|［|【){_SPACE}{_list(_ITEM)}{_SPACE}(?:†[^\]］】\n]{{0,60}})?(?:\]\]|\\?\]|[］】])"
    rf"|\\\[{_SPACE}{_list(_ITEM)}{_SPACE}\\?\]"
    rf"|\({_SPACE}(?:see[ ]++)?(?={_NOUN})"
    rf"{_list(_NAMED)}{_SPACE}\)",
    re.IGNORECASE,
)
_CLOSED: Final = re.compile(r"[\]］】)\n]")
# Nearly every bracket that opens a marker shows it by what follows.
_MAY_BEGIN: Final = re.compile(
    rf"[\[［【\\]+{_SPACE}(?:[\^#\d]|{_NOUN}|{_OTHER}|\w{{0,10}}\Z|\Z)"
    rf"|\({_SPACE}(?:(?:see[ ]++)?{_NOUN}|(?:see[ ]++)?\w{{0,8}}\Z)",
    re.IGNORECASE,
)
_RANGE: Final = re.compile(r"(\d{1,3})(?:\s*(?:[-–—]|to|bis)\s*[\^#]?(\d{1,3}))?", re.IGNORECASE)


_UNFINISHED: Final = re.compile(
    rf"{_SPACE}[\[［【\\]+{_SPACE}(?:\^|#|(?:{_NOUN}|{_OTHER}){_LEAD})?"
    rf"{_SPACE}(?:\d{{1,3}}(?:{_AND}|{_SPACE}))*+\d{{0,3}}(?:†[^\]］】\n]*)?\Z",
    re.IGNORECASE,
)


def without_unfinished(text: str) -> str:
    """`text`, the last of an answer, without a marker that was cut off in its midst."""
    cut = _UNFINISHED.search(text)
    return text[: cut.start()] if cut and len(cut[0]) < LONGEST else text


def find_marker(text: str, start: int, final: bool) -> tuple[int, list[int]] | None:
    """Where the marker at `start` ends and which passages it names.

    `(start, [])` where there is none; None while more of the text must decide. `final` says that
    no more comes.
    """
    window = text[start : start + LONGEST]
    match = _MARKER.match(window)
    if match is None:
        if final or len(window) == LONGEST or not _MAY_BEGIN.match(window):
            return start, []
        closed = _CLOSED.search(window, 1)
        # An escaped or a double bracket may have one more to come.
        return (start, []) if closed and closed.end() < len(window) else None
    if match.end() == len(window) < LONGEST and not final:
        return None  # a second bracket may follow
    return start + match.end(), expand(match[1] or match[2] or match[3])


def expand(numbers: str) -> list[int]:
    """`"1, 3-5"` as `[1, 3, 4, 5]`; a range over more than ten is taken as its ends."""
    found: list[int] = []
    for match in _RANGE.finditer(numbers):
        first, last = int(match[1]), int(match[2] or match[1])
        wide = not first < last <= first + WIDEST_RANGE
        found.extend((first, last) if wide else range(first, last + 1))
    return list(dict.fromkeys(found))
