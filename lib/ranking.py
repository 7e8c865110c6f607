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
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from lib.embedding import Similarity
from lib.query import ParsedQuery, even
from lib.sparse import CEILING, SparseVector, number
from lib.store import Found, Hit, Manifest
from lib.terms import may_be_in, terms, terms_of_chunk


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
LOOKED_AT_AGAIN: Final = 20
STEEPNESS: Final = 7.5
MIDDLE: Final = 0.42
"""Of the logistic curve over the weighted sum."""


def rank(
    query: ParsedQuery,
    asked: Sequence[SparseVector],
    found: Found,
    manifest: Manifest,
    similarity: Similarity | None,
) -> list[Ranked]:
    """The hits, best first; ties in the order of their ids.

    `asked` are the question's terms in each language of the book, `found` is of the index that
    `manifest` describes. Without `similarity` (the embedder is away) coverage alone decides.
    """
    # A word is asked for as each language of the book would have it; the question's own language
    # is the one of whose terms the book knows most.
    most = min(best_bm25(each, found, manifest.chunks) for each in asked)
    coverages = [hit.bm25 / most for hit in found.hits]
    known = max(known_share(each, found) for each in asked)
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
            total += PHRASE_WEIGHT * phrases_in(hit, query.phrases)
        ranked.append(Ranked(hit, total))
    ranked.sort(key=best_first)
    pairs = Pairs(query.text, manifest.languages, found.rarity)
    again = [
        Ranked(each.hit, each.total + PAIR_WEIGHT * pairs.share_in(each.hit.chunk.text))
        for each in ranked[:LOOKED_AT_AGAIN]
    ]
    return sorted(again, key=best_first) + ranked[LOOKED_AT_AGAIN:]


def best_first(ranked: Ranked) -> tuple[float, str]:
    return -ranked.total, ranked.hit.chunk.chunk_id


class Pairs:
    """Terms that stand side by side in a question, each pair weighted by how rare its terms are."""

    def __init__(self, text: str, languages: Sequence[str], rarity: Mapping[int, float]) -> None:
        self._languages = languages
        self._weights: dict[tuple[str, str], float] = {}
        for language in languages:
            for one, other in pairwise(terms(text, language)):
                known = [rarity.get(number(term), 0.0) for term in (one, other)]
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


def phrases_in(hit: Hit, phrases: Sequence[str]) -> float:
    """The share of the phrases that the chunk has word for word."""
    text = even(hit.chunk.text)
    return sum(phrase in text for phrase in phrases) / len(phrases)


def logistic(total: float) -> float:
    return 1 / (1 + math.exp(-STEEPNESS * (total - MIDDLE)))


def known_share(weights: SparseVector, found: Found) -> float:
    """The share of terms that the book has at all."""
    return sum(term in found.rarity for term in weights.indices) / len(weights.indices)


def best_bm25(weights: SparseVector, found: Found, chunks: int) -> float:
    """What a chunk would get that had every term of the question over and over.

    A term that the book does not have counts as much as the rarest: who asks for something that
    is not there shall see that it is not.
    """
    rarest = math.log((chunks + 0.5) / 0.5 + 1)
    return CEILING * sum(found.rarity.get(term, rarest) for term in weights.indices)
