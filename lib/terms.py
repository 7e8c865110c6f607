"""Words as search compares them: lower case, stemmed, without the words every sentence has.

A name from code counts twice: whole, as `std::sync::mutex`, and in its parts, so that "mutex",
"use state" and `useState` find it. Scripts that are written without spaces are cut into pairs of
characters, the usual substitute for a dictionary.

BM25 as sparse vectors, one number a term.

A document's numbers are its saturated term frequencies, a question's are the weights of its
terms; Qdrant multiplies them by the terms' rarity in the book (`Modifier.IDF`) and adds them up.

A chunk also has, at a fraction of their weight, the terms of the chunks before and after it: a
sentence in the middle of a long section seldom repeats what the section is about. Measured on
seven sets of questions, this finds 2 to 4 in a hundred passages more than the chunk alone.
"""

import functools
import itertools
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

import regex
import Stemmer

from lib.languages import ENGLISH, IS_UNSPACED, WORD, split_words, stop_words, words

_PARTS: Final = regex.compile(
    r"[_.:/>-]+|(?<=[\p{Ll}\d])(?=\p{Lu})|(?<=\p{Lu})(?=\p{Lu}\p{Ll})|(?<=\p{L})(?=\d)|(?<=\d)(?=\p{L})",
    regex.V1,
)
_local = threading.local()  # a stemmer keeps state and is not safe to share between threads


def terms(text: str, language: str = ENGLISH) -> list[str]:
    """The terms of `text` in order, without stop words; `language` has a stemmer."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)  # a letter and its accent may come apart
    return [term for word in split_words(text) for term in _terms_of(word, language)]


@functools.lru_cache(maxsize=5_000)  # readers ask for the same places
def terms_of_chunk(text: str, language: str = ENGLISH) -> tuple[str, ...]:
    """The same as `terms`, remembered for the texts that were asked for last."""
    return tuple(terms(text, language))


@functools.lru_cache(maxsize=50_000)  # books repeat their words
def _terms_of(word: str, language: str) -> tuple[str, ...]:
    stop, stem = stop_words(language), _stemmer(language)
    if word.isascii() and word.isalpha() and (word.islower() or word.istitle()):
        parts = [word.lower()]  # as most are: what follows would find no other
    elif IS_UNSPACED.match(word):
        return tuple(map("".join, itertools.pairwise(word))) if word[1:] else (word,)
    else:
        parts = [part.casefold() for part in _PARTS.split(word) if part]
    found = [stem(part) for part in parts if part not in stop]
    if len(parts) > 1:
        found.append(word.casefold())
    return tuple(found)


def without_small_words(text: str, languages: Sequence[str]) -> str:
    """`text` without the stop words of all `languages`, unless it has no others.

    A question to a book of several languages is stemmed as each of them: what is a small word in
    one must not count as a rare word in another.
    """
    small = frozenset[str]().union(*map(stop_words, languages))
    rest = WORD.sub(lambda word: "" if word[0].casefold() in small else word[0], text)
    return rest if WORD.search(rest) else text


def _stemmer(language: str) -> Callable[[str], str]:
    stemmers: dict[str, Callable[[str], str]] = _local.__dict__
    if language not in stemmers:
        stemmers[language] = Stemmer.Stemmer(language).stemWord
    return stemmers[language]


SPARSE_VERSION: Final = 1
"""Of everything here and in `lib.terms` that decides a document's numbers."""

SATURATION: Final = 1.2
LENGTH_SHARE: Final = 0.5
"""How much a long text's terms count less, 0 to 1. Chunks are much alike in length."""
MEAN_LENGTH: Final = 120.0
"""Terms of a usual chunk, its share of the neighbours included. A constant, since an index that
changes a page at a time never knows its mean; only the relation of chunks to one another counts."""
NEIGHBOUR_SHARE: Final = 0.3
MAX_ASKED: Final = 100
"""Different terms of a question that count: each costs the engine a look."""
CEILING: Final = SATURATION + 1
"""What a term that is repeated for ever comes to."""


@dataclass(frozen=True, slots=True)
class SparseVector:
    """Term numbers, 32 bits and without repetitions, and the weight of each."""

    indices: list[int]
    values: list[float]


def document_vectors(texts: Sequence[str], language: str = ENGLISH) -> list[SparseVector]:
    """Of the chunks of one page, in order."""
    counted = [Counter(terms(text, language)) for text in texts]
    vectors = []
    for place, own in enumerate(counted):
        beside = counted[max(0, place - 1) : place] + counted[place + 1 : place + 2]
        vectors.append(_weighed(_with_neighbours(own, beside)))
    return vectors


def query_vector(text: str, language: str = ENGLISH) -> SparseVector:
    """Of a question that is asked of texts in `language`; every term counts once. Never empty."""
    # Small words are better than nothing.
    found = terms(text, language) or words(text) or [text]
    numbers = list(dict.fromkeys(map(number, found)))[:MAX_ASKED]
    return SparseVector(numbers, [1.0] * len(numbers))


def together(vectors: Iterable[SparseVector]) -> SparseVector:
    """All terms of all, each once: one question to a book of several languages."""
    weights = {
        index: value
        for vector in vectors
        for index, value in zip(vector.indices, vector.values, strict=True)
    }
    return SparseVector(list(weights), list(weights.values()))


@functools.lru_cache(maxsize=50_000)
def number(term: str) -> int:
    """The number of a term. Two in a hundred thousand terms may share one, which does no harm."""
    return crc32(term.encode("utf-8", "surrogatepass"))


def _with_neighbours(
    own: Mapping[str, int], beside: Sequence[Mapping[str, int]]
) -> dict[str, float]:
    counts: dict[str, float] = dict(own)
    for neighbour in beside:
        for term, count in neighbour.items():
            counts[term] = counts.get(term, 0.0) + NEIGHBOUR_SHARE * count
    return counts


def _weighed(counts: Mapping[str, float]) -> SparseVector:
    length = sum(counts.values())
    slack = SATURATION * (1 - LENGTH_SHARE + LENGTH_SHARE * length / MEAN_LENGTH)
    weights: dict[int, float] = {}
    for term, count in counts.items():
        weights[number(term)] = count * CEILING / (count + slack)
    return SparseVector(list(weights), list(weights.values()))
