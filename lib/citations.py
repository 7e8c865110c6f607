"""Resolve a model's citation markers to passages and links while the answer streams.

The prompt numbers the passages; a model cites them as `[2]` or in another form known to
`lib.sanitizer_syntax`. Readers see `[1](address)`, numbered in order of appearance. Markers
without a passage, and links that are not in the passages, are removed (`lib.sanitizer`).

Links end with a text fragment such as `#:~:text=The%20tide`, which highlights the cited sentence
(https://wicg.github.io/scroll-to-text-fragment/). If a browser does not find the text, it scrolls
to the heading.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import msgspec

from lib.languages import page_language
from lib.ranking import TEXT_CACHE_SIZE, Passage, cached_per_passage
from lib.sanitizer import AnswerBuffer
from lib.sanitizer_syntax import RESOLVED_MARKER, Addresses, link_target
from lib.sentences import split_passage, split_text
from lib.terms import terms

_EXCERPT_CHARACTERS = 240
_MAX_DIRECTIVES = 200
"""Markers in an answer whose sentence is looked for, which takes time."""
_MAX_MARKERS = 2_000
"""Markers in an answer. A link is thirty times as long as the model's marker."""


class _Source(msgspec.Struct, frozen=True, kw_only=True):
    """The place that a citation links to."""

    chapter: str
    section: str
    heading: str
    file_path: str
    url: str | None


class Citation(msgspec.Struct, frozen=True, kw_only=True):
    """A passage that the answer cites."""

    marker: int
    text: str
    source: _Source
    relevance_score: float
    chunk_id: str


class Citations:
    """Numbers the citations of one answer in order of appearance.

    With `text_fragments`, a marker's link also highlights the sentence that supports the claim.
    """

    def __init__(self, passages: Sequence[Passage], *, text_fragments: bool = True) -> None:
        self.passages = passages
        self._markers: dict[int, int] = {}
        self._cited = 0
        self._text_fragments = text_fragments

    def cite(self, number: int, said: str = "") -> tuple[str, Citation | None]:
        """Return the reader's marker for passage `number` (from 1), and its citation at first use.

        `said` is the line's text before the marker. Without such a passage, the marker is "".
        """
        if not 1 <= number <= len(self.passages) or self._cited == _MAX_MARKERS:
            return "", None
        self._cited += 1
        passage = self.passages[number - 1]
        first = number not in self._markers
        marker = self._markers.setdefault(number, len(self._markers) + 1)
        shown = f"[{marker}]"
        url = passage.url or ""
        # A relative address does not work from a chat on another site.
        if url.startswith(("http://", "https://")):
            target = link_target(url)
            if self._text_fragments and self._cited <= _MAX_DIRECTIVES:
                target = _with_directive(target, _find_directive(passage, said))
            shown += f"({target})"
        return shown, _make_citation(marker, passage) if first else None


class MarkerResolver(AnswerBuffer[Citation]):
    """Turns a model's deltas into the reader's text and citations."""

    def __init__(self, citations: Citations) -> None:
        passages = citations.passages
        addresses = (
            text
            for passage in passages
            for text in (passage.text, passage.url, (passage.url or "").partition("#")[0])
            if text
        )
        super().__init__(citations.cite, Addresses(addresses))


def _make_citation(marker: int, passage: Passage) -> Citation:
    return Citation(
        marker=marker,
        text=_excerpt(passage.text),
        source=msgspec.convert(passage, _Source, from_attributes=True),
        relevance_score=passage.score,
        chunk_id=passage.chunk_id,
    )


@functools.lru_cache(maxsize=TEXT_CACHE_SIZE)
def _excerpt(text: str) -> str:
    """Return the beginning of `text` on one line, cut between words. Cached, like the text."""
    line = " ".join(text.split())
    if len(line) <= _EXCERPT_CHARACTERS:
        return line
    return line[:_EXCERPT_CHARACTERS].rsplit(" ", 1)[0].rstrip(" ,;:") + " …"


_MIN_SIMILARITY: Final = 0.4
"""Minimum Dice coefficient of the terms of a claim and a sentence..."""
_MIN_COMMON_TERMS: Final = 2
"""...minimum number of common terms..."""
_MIN_LEAD: Final = 1.15
"""...and minimum ratio to the second best sentence, for a text fragment."""
_LONG_SENTENCE_WORDS: Final = 10
"""A sentence with more words is named by its first and last ones..."""
_END_WORDS: Final = 4
"""...this many of each."""
_MIN_WORDS: Final = 3
_MAX_CLAIM_CHARACTERS: Final = 600

_MARKER: Final = re.compile(RESOLVED_MARKER)
# Site generators replace quotes, dashes and dots with typographic ones.
_REPLACED: Final = re.compile(r"[\"'`‘’“”–—…]|--|\.\.\.")
_PUNCTUATION: Final = " \t.,;:!?()[]{}*_|。！？，、；："


@dataclass(frozen=True, slots=True)
class _LinkableSentence:
    terms: frozenset[str]
    directive: str


def _find_directive(passage: Passage, said: str) -> str:
    """Return `text=...` for the sentence that clearly matches the end of `said`, else ""."""
    claim = _last_sentence(said)
    if not claim:
        return ""
    language, sentences = _read_linkable_sentences(passage)
    wanted = frozenset(terms(claim, language))
    best = second = 0.0
    found = ""
    for sentence in sentences:
        common = len(wanted & sentence.terms)
        score = 2 * common / (len(wanted) + len(sentence.terms) or 1)
        if common < _MIN_COMMON_TERMS or score <= second:
            continue
        if score > best:
            best, second, found = score, best, sentence.directive
        else:
            second = score
    return found if best >= max(_MIN_SIMILARITY, _MIN_LEAD * second) else ""


@cached_per_passage(300)
def _read_linkable_sentences(passage: Passage) -> tuple[str, list[_LinkableSentence]]:
    """Return the language, and the sentences whose words in the file equal those on the page."""
    language = page_language(passage.text, passage.locale)
    source = " ".join(passage.text.split())
    return language, [
        _LinkableSentence(frozenset(terms(sentence.text, language)), directive)
        for sentence in split_passage(passage)
        if (directive := _text_directive(sentence.text, source))
    ]


def _last_sentence(said: str) -> str:
    """Return the last sentence of `said`, the claim of the marker that follows, without markers."""
    sentences = split_text(_MARKER.sub("", said[-_MAX_CLAIM_CHARACTERS:]))
    return sentences[-1] if sentences else ""


def _text_directive(sentence: str, source: str) -> str:
    """Return `text=...` for a sentence, or "" if its words are not verbatim in `source`.

    `source` is the sentence's Markdown on one line. A long sentence is named by its first and last
    words, so markup between them does no harm.
    """
    words = sentence.split()
    if len(words) > _LONG_SENTENCE_WORDS:
        start = _clean(" ".join(words[:_END_WORDS]))
        end = _clean(" ".join(words[-_END_WORDS:]))
        if not (_shown(start, source) and _shown(end, source)) or sentence.count(start) > 1:
            return ""
        return f"text={_encoded(start)},{_encoded(end)}"
    whole = _clean(sentence)
    # Scripts without spaces have few words.
    if len(words) < _MIN_WORDS and whole.isascii():
        return ""
    return f"text={_encoded(whole)}" if _shown(whole, source) and len(whole) > 5 else ""


def _clean(text: str) -> str:
    return text.strip(_PUNCTUATION)


def _shown(text: str, source: str) -> bool:
    return bool(text) and text in source and not _REPLACED.search(text)


def _encoded(text: str) -> str:
    return quote(text, safe="").replace("-", "%2D")


def _with_directive(url: str, directive: str) -> str:
    """Append a text directive to `url`, unless its fragment is a client-side route."""
    if not directive:
        return url
    address, _, fragment = url.partition("#")
    if fragment.startswith(("/", "!")) or ":~:" in fragment:
        return url
    return f"{address}#{fragment}:~:{directive}"
