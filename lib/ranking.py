"""One score, 0 to 1, for how well a chunk fits a question.

Two measurements are taken of a chunk, each of which means the same for every book:

- *coverage*, the chunk's BM25 over the most that any chunk could reach for this question: the
  share of the question's rare words that the chunk has;
- *similarity*, the cosine of the two vectors, scaled so that 0 is what texts that have nothing to
  do with each other get from this embedder, and 1 what a text gets that answers the question.

Their weighted sum decides. Where some chunk has nearly all of the question's words, words are to be
trusted, and similarity only orders what they leave open; where none has, as for a question in the
reader's own words, similarity weighs more; and where the book does not even know the words, since
they are another language's, it weighs most. Reciprocal ranks, the usual fusion, would forget how
good a hit is.

The first of them are looked at once more, for words that stand side by side in the question and in
the chunk: "ownership rules" is more than "ownership" and "rules". It takes a millisecond or two and
brings the answer to the first place more often.

The score is that sum through a logistic curve, fitted to questions whose passages are known
(`benchmarks/retrieval.py` repeats it): of the questions whose best chunk scores 0.5, half are
answered by the book.

What a reader typed: words, "quoted phrases" and restrictions such as `file:intro`.

`file:`, `chapter:`, `kind:`, `version:` and `locale:` (also `path:`, `lang:`) restrict to passages
with that value; a value with spaces goes in quotes. A word counts as a restriction only with
something else beside it, since a question may be about `version:` itself.

From ranked chunks to what a reader gets: no text twice, neighbours joined.
"""

import functools
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Final, TypeVar

import msgspec

from lib.embedding import Similarity
from lib.languages import may_be_in
from lib.store import Candidates, Hit, Manifest, StoredChunk
from lib.terms import CEILING, SparseVector, term_number, terms, terms_of_chunk

_FIELDS: Final = {
    "file": "paths",
    "path": "paths",
    "chapter": "chapter",
    "kind": "kind",
    "version": "version",
    "locale": "locale",
    "lang": "locale",
}
_RESTRICTION: Final = re.compile(
    rf"(?<!\S)(?P<name>{'|'.join(_FIELDS)}):(?:\"(?P<quoted>[^\"]+)\"|(?P<bare>[^\s\":]+))(?!\S)",
    re.IGNORECASE,
)
_PHRASE: Final = re.compile(r"\"([^\"]{2,200})\"|“([^”]{2,200})”|«([^»]{2,200})»")


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    text: str
    """Without the restrictions; what is embedded."""
    only: Mapping[str, str]
    """Values of `lib.store.FILTERS`."""
    phrases: tuple[str, ...]
    """Without their quotation marks, in lower case, white space evened out."""


def parse_query(text: str) -> ParsedQuery:
    """Read the restrictions and phrases in `text`; without any it comes back as it is."""
    only: dict[str, str] = {}
    for found in _RESTRICTION.finditer(text):
        field, value = _FIELDS[found["name"].lower()], found["quoted"] or found["bare"]
        only[field] = value.lower().strip("/") if field == "paths" else value
    rest = " ".join(_RESTRICTION.sub(" ", text).split()) if only else text
    if not re.search(r"\w", rest):
        rest, only = text, {}
    phrases = (
        normalize_text(next(filter(None, found.groups()))) for found in _PHRASE.finditer(rest)
    )
    return ParsedQuery(rest, only, tuple(phrase for phrase in phrases if phrase))


def normalize_text(text: str) -> str:
    """In lower case, with single spaces: two texts that read the same are equal."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


@dataclass(frozen=True, slots=True)
class Ranked:
    hit: Hit
    total: float
    """The weighted sum; twice as much is twice as good."""

    @property
    def score(self) -> float:
        """The same as a likelihood, 0 to 1."""
        return logistic(self.total)


SIMILARITY_WEIGHT: Final = 0.05
UNCOVERED_WEIGHT: Final = 0.3
"""More weight for similarity, by the share of the question's words that no chunk has together."""
FOREIGN_WEIGHT: Final = 0.7
"""Its weight instead for a question in another language than the book's."""
FOREIGN_SHARE: Final = 0.5
"""Of a question's words: if the book knows as many, they are its own whatever they look like."""
PHRASE_WEIGHT: Final = 1.0
"""For a chunk that has a phrase the reader has put in quotation marks."""
PAIR_WEIGHT: Final = 0.2
"""For a chunk that has all pairs of neighbouring words of the question."""
RERANKED: Final = 20
STEEPNESS: Final = 7.5
MIDDLE: Final = 0.42
"""Of the logistic curve over the weighted sum."""


def rank(
    query: ParsedQuery,
    asked: Sequence[SparseVector],
    found: Candidates,
    manifest: Manifest,
    similarity: Similarity | None,
) -> list[Ranked]:
    """The hits, best first; ties in the order of their ids.

    `asked` are the question's terms in each language of the book, `found` is of the index that
    `manifest` describes. Without `similarity` (the embedder is away) coverage alone decides.
    """
    # A word is asked for as each language of the book would have it; the question's own language
    # is the one of whose terms the book knows most.
    most = min(max_bm25(each, found, manifest.chunks) for each in asked)
    coverages = [hit.bm25 / most for hit in found.hits]
    known = max(share_of_known_terms(each, found) for each in asked)
    if known < FOREIGN_SHARE and not may_be_in(query.text, manifest.languages):
        weight = FOREIGN_WEIGHT
    else:
        uncovered = 1 - max(coverages, default=0.0)
        weight = SIMILARITY_WEIGHT + UNCOVERED_WEIGHT * max(0.0, uncovered)
    ranked = []
    for hit, total in zip(found.hits, coverages, strict=True):
        if similarity is not None:
            total += weight * similarity.scaled(hit.cosine)
        if query.phrases:
            total += PHRASE_WEIGHT * share_of_phrases(hit, query.phrases)
        ranked.append(Ranked(hit, total))
    ranked.sort(key=sort_key)
    pairs = WordPairs(query.text, manifest.languages, found.rarity)
    again = [
        Ranked(each.hit, each.total + PAIR_WEIGHT * pairs.share_in(each.hit.chunk.text))
        for each in ranked[:RERANKED]
    ]
    return sorted(again, key=sort_key) + ranked[RERANKED:]


def sort_key(ranked: Ranked) -> tuple[float, str]:
    return -ranked.total, ranked.hit.chunk.chunk_id


class WordPairs:
    """Terms that stand side by side in a question, each pair weighted by how rare its terms are."""

    def __init__(self, text: str, languages: Sequence[str], rarity: Mapping[int, float]) -> None:
        self._languages = languages
        self._weights: dict[tuple[str, str], float] = {}
        for language in languages:
            for one, other in pairwise(terms(text, language)):
                known = [rarity.get(term_number(term), 0.0) for term in (one, other)]
                if all(known):
                    self._weights[one, other] = sum(known)
        self._all = sum(self._weights.values())

    def share_in(self, text: str) -> float:
        """0 to 1; 0 where the question has no pair that the book could have."""
        if not self._all:
            return 0.0
        here = {
            pair
            for language in self._languages
            for pair in pairwise(terms_of_chunk(text, language))
            if pair in self._weights
        }
        return sum(map(self._weights.__getitem__, sorted(here))) / self._all


def share_of_phrases(hit: Hit, phrases: Sequence[str]) -> float:
    """The share of the phrases that the chunk has word for word."""
    text = normalize_text(hit.chunk.text)
    return sum(phrase in text for phrase in phrases) / len(phrases)


def logistic(total: float) -> float:
    return 1 / (1 + math.exp(-STEEPNESS * (total - MIDDLE)))


def share_of_known_terms(weights: SparseVector, found: Candidates) -> float:
    """The share of terms that the book has at all."""
    return sum(term in found.rarity for term in weights.indices) / len(weights.indices)


def max_bm25(weights: SparseVector, found: Candidates, chunks: int) -> float:
    """What a chunk would get that had every term of the question over and over.

    A term that the book does not have counts as much as the rarest: who asks for something that
    is not there shall see that it is not.
    """
    rarest = math.log((chunks + 0.5) / 0.5 + 1)
    return CEILING * sum(found.rarity.get(term, rarest) for term in weights.indices)


T = TypeVar("T")

MAX_JOINED: Final = 2_000
"""Characters up to which neighbours are joined."""
MIN_SHARE_OF_BEST: Final = 0.57
"""A chunk with less than this share of the best one's sum is left out: it would only cost the
reader's time and the model's tokens. Of the right answers, 1 in a hundred is lost so."""
ALWAYS_KEPT_MARGIN: Final = 0.1
"""So far behind the best one it is always kept: where all sums are small, shares say little."""
TEXT_CACHE_SIZE: Final = 256
DUPLICATE_OVERLAP: Final = 0.9
"""Share of common terms from which two texts are the same to a reader."""


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A retrieved text: one chunk, or neighbours under the same heading.

    `text` is the file's own `[start_char:end_char]`, in characters. `kind` says what the chunk in
    it that fits best is: prose, code or table; `language` is the code's. `score` says how likely
    it answers.
    """

    chunk_id: str
    text: str
    file_path: str
    chapter: str
    section: str
    heading: str
    url: str | None
    start_char: int
    end_char: int
    kind: str = "prose"
    language: str = ""
    version: str = ""
    locale: str = ""
    score: Annotated[float, msgspec.Meta(ge=0, le=1)]


def cached_per_passage(most: int) -> Callable[[Callable[[Passage], T]], Callable[[Passage], T]]:
    """Remember what a function makes of a passage, for the `most` that were used last: readers ask
    for the same places. It may not look at the score or the id, which differ by question."""

    def decorate(read: Callable[[Passage], T]) -> Callable[[Passage], T]:
        remembered = functools.lru_cache(maxsize=most)(read)

        @functools.wraps(read)
        def ask(passage: Passage) -> T:
            return remembered(msgspec.structs.replace(passage, chunk_id="", score=0.0))

        return ask

    return decorate


@dataclass(slots=True)
class _Run:
    """Neighbouring chunks of one file, in order, and the one that was found first."""

    best: Ranked
    chunks: list[StoredChunk]

    def joined_with(self, chunk: StoredChunk) -> list[StoredChunk] | None:
        """With `chunk` at one of its ends, if it belongs there and there is room."""
        first, last = self.chunks[0], self.chunks[-1]
        if heading_of(chunk) != heading_of(first):
            return None
        if chunk.ordinal == last.ordinal + 1:
            joined = [*self.chunks, chunk]
        elif chunk.ordinal == first.ordinal - 1:
            joined = [chunk, *self.chunks]
        else:
            return None
        whole = all(later.before is not None for later in joined[1:])
        return (
            joined if whole and joined[-1].end_char - joined[0].start_char <= MAX_JOINED else None
        )

    def passage(self) -> Passage:
        best, first = self.best.hit.chunk, self.chunks[0]
        texts = [text for each in self.chunks[1:] for text in (each.before or "", each.text)]
        return Passage(
            chunk_id=best.chunk_id,
            text=join_texts(first.text, *texts),
            file_path=best.file_path,
            chapter=best.chapter,
            section=best.section,
            heading=best.heading,
            url=best.url,
            start_char=first.start_char,
            end_char=self.chunks[-1].end_char,
            kind=best.kind,
            language=best.language,
            version=best.version,
            locale=best.locale,
            score=self.best.score,
        )


@functools.lru_cache(maxsize=TEXT_CACHE_SIZE)
def join_texts(*texts: str) -> str:
    """Remembered, so that readers who ask for the same places share it: hundreds of answers are
    written at once, and each holds its passages until its end."""
    return "".join(texts)


def select_passages(ranked: Iterable[Ranked], k: int) -> list[Passage]:
    """At most `k` of those that are not far behind the best; best first.

    A chunk whose neighbour is already there joins it, which leaves its place to another; one that
    says the same as one before it (in another version of the book, say) is left out.
    """
    runs: list[_Run] = []
    seen: list[frozenset[str]] = []
    best: float | None = None
    for each in ranked:
        best = each.total if best is None else best
        if runs and each.total < min(MIN_SHARE_OF_BEST * best, best - ALWAYS_KEPT_MARGIN):
            break
        chunk = each.hit.chunk
        bag = frozenset(terms_of_chunk(chunk.text))
        if any(is_near_duplicate(bag, other) for other in seen):
            continue
        run, joined = next(
            ((run, joined) for run in runs if (joined := run.joined_with(chunk))), (None, None)
        )
        if run is not None and joined is not None:
            run.chunks = joined
        elif len(runs) == k:
            break
        else:
            runs.append(_Run(each, [chunk]))
        seen.append(bag)
    return [run.passage() for run in runs]


def heading_of(chunk: StoredChunk) -> tuple[str, str | None, str, str]:
    """The heading that a chunk stands under. Only what stands under one is joined: a claim from
    the passage leads to the very heading it was found below."""
    return chunk.file_path, chunk.url, chunk.section, chunk.heading


def is_near_duplicate(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether a reader who has read one text gains nothing from the other."""
    both = len(one & other)
    return both > 0 and both >= DUPLICATE_OVERLAP * max(len(one), len(other))
