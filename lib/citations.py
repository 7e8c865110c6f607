"""Resolve a model's citation markers to passages and links while the answer streams.

The prompt numbers the passages; a model cites them as `[2]` or in another form known to
`lib.sanitizer_syntax`. Readers see `[1](address)`, numbered in order of appearance. Markers
without a passage, and links that are not in the passages, are removed (`lib.sanitizer`).

Links end with a text fragment such as `#:~:text=The%20tide`, which highlights the cited sentence
(https://wicg.github.io/scroll-to-text-fragment/). If a browser does not find the text, it scrolls
to the heading.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import msgspec

from lib.languages import page_language
from lib.ranking import Passage, cached_per_passage, join_headings
from lib.sanitizer import AnswerBuffer
from lib.sanitizer_syntax import RESOLVED_MARKER, Addresses, absolute_url, link_target
from lib.sentences import Sentence, split_passage, split_text
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

    @property
    def title(self) -> str:
        """Chapter, section and heading."""
        return join_headings(self.chapter, self.section, self.heading) or self.file_path


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
        self._markers: dict[tuple[int, int], int] = {}
        self._cited = 0
        self._text_fragments = text_fragments

    def cite(
        self, number: int, said: str = "", quoted: Sequence[Sentence] = ()
    ) -> tuple[str, Citation | None]:
        """Return the reader's marker for passage `number` (from 1), and its citation at first use.

        `said` is the line's text before the marker; `quoted` holds the passage's sentences under
        one heading that are quoted, if the answer does so. Each heading of a passage has a marker
        of its own. Without such a passage, the marker is "".
        """
        if not 1 <= number <= len(self.passages) or self._cited == _MAX_MARKERS:
            return "", None
        self._cited += 1
        passage = self.passages[number - 1]
        clear = bool(quoted)
        if not quoted and self._cited <= _MAX_DIRECTIVES:
            quoted, clear = _find_support(passage, said)
        place = quoted[0].section if quoted else _own_section(passage)
        first = (number, place) not in self._markers
        marker = self._markers.setdefault((number, place), len(self._markers) + 1)
        shown = f"[{marker}]"
        if url := absolute_url(passage.sections[place].url):
            target = link_target(url)
            if clear and self._text_fragments and self._cited <= _MAX_DIRECTIVES:
                directive = _text_directive(quoted[0].text, " ".join(passage.content.split()))
                target = _with_directive(target, directive)
            shown += f"({target})"
        return shown, _make_citation(marker, passage, place, quoted) if first else None


class MarkerResolver(AnswerBuffer[Citation]):
    """Turns a model's deltas into the reader's text and citations."""

    def __init__(self, citations: Citations) -> None:
        passages = citations.passages
        addresses = (
            text
            for passage in passages
            for text in (passage.content, *_addresses_of(passage))
            if text
        )
        super().__init__(citations.cite, Addresses(addresses))


def _addresses_of(passage: Passage) -> Iterator[str | None]:
    for section in passage.sections:
        yield section.url
        yield (section.url or "").partition("#")[0]


def _own_section(passage: Passage) -> int:
    """Return the index of the section whose label, or one above it, the passage has."""
    label = (passage.heading, passage.section, passage.url)
    for place, section in enumerate(passage.sections):
        for each in (section, *section.above):
            if (each.heading, each.section, each.url) == label:
                return place
    return 0


def _make_citation(
    marker: int, passage: Passage, place: int, quoted: Sequence[Sentence]
) -> Citation:
    section = passage.sections[place]
    if not quoted:
        quoted = [each for each in split_passage(passage) if each.section == place]
    return Citation(
        marker=marker,
        text=_excerpt(quoted, section.heading) or section.heading,
        source=_Source(
            chapter=passage.chapter,
            section=section.section,
            heading=section.heading,
            file_path=passage.file_path,
            url=section.url,
        ),
        relevance_score=passage.score,
        chunk_id=passage.chunk_id,
    )


def _excerpt(quoted: Sequence[Sentence], heading: str) -> str:
    """Return the sentences and the code in them as plain text, cut between words."""
    text = label = ""
    for sentence in quoted:
        said = sentence.text if sentence.text != heading else ""  # stands for it above code
        if said and sentence.label != label:
            label = sentence.label
            said = f"{_ESCAPE.sub('', label)}: {said}" if label else said
        code = _FENCE_LINE.sub("", sentence.code).strip("\n")
        text = "\n".join(filter(None, (f"{text} {said}".strip(), code)))
        if len(text) > _EXCERPT_CHARACTERS:
            return text[:_EXCERPT_CHARACTERS].rsplit(maxsplit=1)[0].rstrip(" ,;:") + " …"
    return text


# Also the title above code, which is bold.
_FENCE_LINE: Final = re.compile(
    r"^(?:\*\*[^\n]*\*\*\n\n(?=[`~$]))?(?:`{3,}+[^\n]*+|~{3,}+[^\n]*+|\$\$$)\n?+", re.MULTILINE
)
_ESCAPE: Final = re.compile(r"\\(?=\W)|`")
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
class _CitableSentence:
    sentence: Sentence
    terms: frozenset[str]
    context: frozenset[str]
    """Its terms, those of its code and of the heading above it."""


def _find_support(passage: Passage, said: str) -> tuple[list[Sentence], bool]:
    """Return the sentence that matches the end of `said` best, and whether it clearly does.

    Empty if no sentence shares a term with it.
    """
    claim = _last_sentence(said)
    if not claim:
        return [], False
    language, sentences = _read_sentences(passage)
    wanted = frozenset(terms(claim, language))
    own = _own_section(passage)
    best = max(
        sentences,
        key=lambda each: (_similarity(wanted, each.context), each.sentence.section == own),
        default=None,
    )
    if best is None or wanted.isdisjoint(best.context):
        return [], False
    others = (_similarity(wanted, each.terms) for each in sentences if each is not best)
    least = max(_MIN_SIMILARITY, _MIN_LEAD * max(others, default=0.0))
    common = len(wanted & best.terms)
    clear = common >= _MIN_COMMON_TERMS and _similarity(wanted, best.terms) >= least
    return [best.sentence], clear


def _similarity(one: frozenset[str], other: frozenset[str]) -> float:
    """The Dice coefficient."""
    return 2 * len(one & other) / (len(one) + len(other) or 1)


@cached_per_passage(300)
def _read_sentences(passage: Passage) -> tuple[str, list[_CitableSentence]]:
    """Return the language of the passage, and its sentences."""
    language = page_language(passage.content, passage.locale)

    def read(sentence: Sentence) -> _CitableSentence:
        own = frozenset(terms(sentence.text, language))
        heading = passage.sections[sentence.section].heading
        around = terms(f"{heading} {sentence.label} {sentence.code}", language)
        return _CitableSentence(sentence, own, own.union(around))

    return language, [read(sentence) for sentence in split_passage(passage)]


def _last_sentence(said: str) -> str:
    """Return the last sentence of `said`, the claim of the marker that follows, without markers."""
    sentences = split_text(_MARKER.sub("", said[-_MAX_CLAIM_CHARACTERS:]))
    return sentences[-1] if sentences else ""


def _text_directive(sentence: str, source: str) -> str:
    """Return `text=...` for a sentence, or "" if its words are not once and verbatim in `source`.

    `source` is the sentence's Markdown on one line. A long sentence is named by its first and last
    words, so markup between them does no harm.
    """
    words = sentence.split()
    if len(words) > _LONG_SENTENCE_WORDS:
        start = _clean(" ".join(words[:_END_WORDS]))
        end = _clean(" ".join(words[-_END_WORDS:]))
        if not (_shown(start, source) and end in source) or _REPLACED.search(end):
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
    """Whether `text` is once in `source`, and on the page as it is there."""
    return bool(text) and source.count(text) == 1 and not _REPLACED.search(text)


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
