"""The end of a link that marks a sentence on the page: `#:~:text=The%20tide`.

The form is that of the URL Fragment Text Directives (https://wicg.github.io/scroll-to-text-fragment/).
A browser that does not find the text goes to the heading instead.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from lib.passages import Passage, kept
from lib.sentences import split_passage
from lib.terms import language_of, terms

ENOUGH: Final = 0.4
"""Dice's coefficient of a claim's terms and a sentence's from which the sentence is marked..."""
FEWEST: Final = 2
"""...if they have so many in common..."""
LEAD: Final = 1.15
"""...and no other is as near: the best is ahead by this factor."""
LONG: Final = 10
"""Words from which a text is named by its first and its last ones."""
ENDS: Final = 4
"""Words of each end."""
SHORTEST: Final = 3
LONGEST_CLAIM: Final = 600

_MARKERS: Final = re.compile(r"\[\d+\](?:\([^()\s]*\))?")
_STOP: Final = re.compile(r"[.!?…][\"'”’)*_]*\s+(?=\S)|[。！？।]\s*(?=\S)")
# Generators set quotes, dashes and dots in other characters than the file has.
_AS_WRITTEN: Final = re.compile(r"[^\"'`‘’“”–—…]*", re.DOTALL)
_DOTS_OR_DASHES: Final = re.compile(r"--|\.\.\.")
_PUNCTUATION: Final = " \t.,;:!?()[]{}*_|。！？，、；："


@dataclass(frozen=True, slots=True)
class Marked:
    """A sentence that can be marked: its terms, and the directive that names it."""

    terms: frozenset[str]
    directive: str


class Markable:
    """A passage's sentences, read when they are first asked for."""

    def __init__(self, passage: Passage) -> None:
        self._passage = passage
        self._language = ""
        self._sentences: list[Marked] | None = None

    def directive(self, said: str) -> str:
        """`text=...` for the sentence that clearly says the same as the end of `said`, else ""."""
        claim = last_sentence(said)
        if not claim:
            return ""
        sentences = self.sentences()
        wanted = frozenset(terms(claim, self._language))
        best = second = 0.0
        found = ""
        for sentence in sentences:
            common = len(wanted & sentence.terms)
            score = 2 * common / (len(wanted) + len(sentence.terms) or 1)
            if common < FEWEST or score <= second:
                continue
            if score > best:
                best, second, found = score, best, sentence.directive
            else:
                second = score
        return found if best >= max(ENOUGH, LEAD * second) else ""

    def sentences(self) -> list[Marked]:
        """Those of which the words stand in the file as a page shows them."""
        if self._sentences is None:
            passage = self._passage
            self._language = language_of(passage.text, passage.locale)
            source = " ".join(passage.text.split())
            self._sentences = [
                Marked(frozenset(terms(sentence.text, self._language)), directive)
                for sentence in split_passage(passage)
                if (directive := text_directive(sentence.text, source))
            ]
        return self._sentences


def last_sentence(said: str) -> str:
    """What the marker behind `said` stands for: its last sentence, without other markers."""
    text = _MARKERS.sub("", said[-LONGEST_CLAIM:]).rstrip()
    begin = 0
    for stop in _STOP.finditer(text):
        begin = stop.end()
    return text[begin:]


def text_directive(sentence: str, source: str) -> str:
    """`text=...` for a sentence; "" where its words are not in `source` as they are shown.

    `source` is the Markdown that it comes from, on one line. Markup inside of a sentence does no
    harm between the two ends of a longer one.
    """
    words = sentence.split()
    if len(words) > LONG:
        start = _clean(" ".join(words[:ENDS]))
        end = _clean(" ".join(words[-ENDS:]))
        if not (_shown(start, source) and _shown(end, source)) or sentence.count(start) > 1:
            return ""
        return f"text={_encoded(start)},{_encoded(end)}"
    whole = _clean(sentence)
    # Scripts without spaces have words of their own kind.
    if len(words) < SHORTEST and whole.isascii():
        return ""
    return f"text={_encoded(whole)}" if _shown(whole, source) and len(whole) > 5 else ""


def _clean(text: str) -> str:
    return text.strip(_PUNCTUATION)


def _shown(text: str, source: str) -> bool:
    whole = _AS_WRITTEN.fullmatch(text) is not None and not _DOTS_OR_DASHES.search(text)
    return bool(text) and whole and text in source


def _encoded(text: str) -> str:
    return quote(text, safe="").replace("-", "%2D")


def with_directive(url: str, directive: str) -> str:
    """`url` with a text directive, unless its fragment is an address for the site's own program."""
    if not directive:
        return url
    address, hash_, fragment = url.partition("#")
    if fragment.startswith(("/", "!")) or ":~:" in fragment:
        return url
    return f"{address}#{fragment}:~:{directive}" if hash_ else f"{address}#:~:{directive}"


def markables(passages: Sequence[Passage]) -> list[Markable]:
    return [markable(passage) for passage in passages]


@kept(300)
def markable(passage: Passage) -> Markable:
    return Markable(passage)
