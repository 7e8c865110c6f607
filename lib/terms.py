"""Terms (stemmed, lower-case words without stop words) and BM25 as sparse vectors.

An identifier counts whole, as `std::sync::mutex`, and in its parts, so that "mutex", "use state"
and `useState` find it. Names made of signs are terms: `||>`, `...` and, beside `c`, `c#`. Scripts
written without spaces are cut into pairs of characters, the usual substitute for a dictionary.

A document's weights are saturated term frequencies, a query's are 1. Qdrant multiplies them by the
terms' IDF (`Modifier.IDF`) and adds them up. A chunk also gets the terms of its two neighbours, at
a fraction of their weight, because a sentence in the middle of a long section seldom repeats the
topic. On seven sets of questions this finds 2 to 4 % more passages.
"""

import functools
import itertools
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

import regex
import Stemmer

from lib.languages import ASCII_WORD, ENGLISH, IS_UNSPACED, WORD, normalize, stop_words, words

_PARTS: Final = regex.compile(
    r"[_.:/>-]++|(?<=[\p{Ll}\d])(?=\p{Lu})|(?<=\p{Lu})(?=\p{Lu}\p{Ll})|(?<=\p{L})(?=\d)|(?<=\d)(?=\p{L})",
    regex.V1,
)
_SIGNS: Final = r"!$%&*+/:<=>?@\\^|~.\-"
# Two to four signs that stand alone, but no dash, rule of a table or punctuation after a word.
_OPERATOR: Final = (
    rf"(?<![\w{_SIGNS}])(?!(?:-+|\?!|!\?)(?![{_SIGNS}]))[{_SIGNS}]{{2,4}}+(?![\w{_SIGNS}])"
)
_SUFFIX: Final = r"(?:(?:#|\+\+)(?![\w#+]))?+"
_TERM: Final = regex.compile(rf"(?:{WORD.pattern}){_SUFFIX}|{_OPERATOR}", regex.V1)
_ASCII_TERM: Final = re.compile(rf"(?:{ASCII_WORD.pattern}){_SUFFIX}|{_OPERATOR}", re.ASCII)
_END_OF_QUESTION: Final = re.compile(rf"(?<=[{_SIGNS}][{_SIGNS}])[?!]\Z")
_local = threading.local()  # a stemmer has state and is not thread-safe


def terms(text: str, language: str = ENGLISH) -> list[str]:
    """The terms of `text` in order, without stop words; `language` has a stemmer."""
    return [term for word in split_terms(text) for term in _terms_of(word, language)]


def split_terms(text: str) -> list[str]:
    """The words of `text` and its names made of signs, in order."""
    if not text.isascii():
        text = normalize("NFC", text)  # an accent may be a character of its own
    if text[-1:] in ("?", "!"):
        text = _END_OF_QUESTION.sub("", text)
    found: list[str] = (_ASCII_TERM if text.isascii() else _TERM).findall(text)
    return found


@functools.lru_cache(maxsize=5_000)  # readers ask about the same passages
def terms_of_chunk(text: str, language: str = ENGLISH) -> tuple[str, ...]:
    """`terms`, cached for recent texts."""
    return tuple(terms(text, language))


@functools.lru_cache(maxsize=50_000)  # books repeat their words
def _terms_of(word: str, language: str) -> tuple[str, ...]:
    stop, stem = stop_words(language), _stemmer(language)
    if word.isascii() and word.isalpha() and (word.islower() or word.istitle()):
        parts = [word.lower()]  # the usual case, and nothing to split
    elif not word[0].isalnum() and word[0] != "_":
        return (word,)
    elif word[-1] in "#+":
        return (*_terms_of(word.rstrip("#+"), language), word.casefold())
    elif IS_UNSPACED.match(word):
        return tuple(map("".join, itertools.pairwise(word))) if word[1:] else (word,)
    else:
        parts = [part.casefold() for part in _PARTS.split(word) if part]
    found = [stem(part) for part in parts if part not in stop]
    if len(parts) > 1:
        found.append(word.casefold())
    return tuple(found)


def without_small_words(text: str, languages: Sequence[str]) -> str:
    """`text` without the stop words of all `languages`, unless it has no other words.

    A query to a book in several languages is stemmed in each of them. A stop word of one language
    must not count as a rare word in another.
    """
    small = frozenset[str]().union(*map(stop_words, languages))
    rest = WORD.sub(lambda word: "" if word[0].casefold() in small else word[0], text)
    return rest if _TERM.search(rest) else text


def _stemmer(language: str) -> Callable[[str], str]:
    stemmers: dict[str, Callable[[str], str]] = _local.__dict__
    if language not in stemmers:
        stemmers[language] = Stemmer.Stemmer(language).stemWord
    return stemmers[language]


SPARSE_VERSION: Final = 2
"""Version of everything that decides a document's weights. A change makes a new index."""

_SATURATION: Final = 1.2
_LENGTH_SHARE: Final = 0.5
"""BM25's b, 0 to 1. Low, because chunks have similar lengths."""
_MEAN_LENGTH: Final = 120.0
"""Terms of a typical chunk, neighbours included. A constant, because an index that is updated page
by page does not know its mean. Only the proportions between chunks matter."""
_NEIGHBOUR_SHARE: Final = 0.3
_MAX_ASKED: Final = 100
"""Distinct terms of a query that are searched; each costs a look-up."""
CEILING: Final = _SATURATION + 1
"""Limit of a weight as the term frequency grows."""


@dataclass(frozen=True, slots=True)
class SparseVector:
    """Distinct 32-bit term numbers, and the weight of each."""

    indices: list[int]
    values: list[float]


def document_vectors(texts: Sequence[str], language: str = ENGLISH) -> list[SparseVector]:
    """Vectors of the chunks of one page, in order."""
    counted = [Counter(terms(text, language)) for text in texts]
    vectors = []
    for place, own in enumerate(counted):
        beside = counted[max(0, place - 1) : place] + counted[place + 1 : place + 2]
        vectors.append(_weighed(_with_neighbours(own, beside)))
    return vectors


def query_vector(text: str, language: str = ENGLISH) -> SparseVector:
    """Vector of a query to texts in `language`; every term counts once. Never empty."""
    # Stop words are better than nothing.
    found = terms(text, language) or words(text) or [text]
    numbers = list(dict.fromkeys(map(term_number, found)))[:_MAX_ASKED]
    return SparseVector(numbers, [1.0] * len(numbers))


def merge_vectors(vectors: Iterable[SparseVector]) -> SparseVector:
    """The union of `vectors`: one query to a book in several languages."""
    weights = {
        index: value
        for vector in vectors
        for index, value in zip(vector.indices, vector.values, strict=True)
    }
    return SparseVector(list(weights), list(weights.values()))


@functools.lru_cache(maxsize=50_000)
def term_number(term: str) -> int:
    """CRC-32 of a term. Among 100,000 terms about two share a number, which is harmless."""
    return crc32(term.encode("utf-8", "surrogatepass"))


def _with_neighbours(
    own: Mapping[str, int], beside: Sequence[Mapping[str, int]]
) -> dict[str, float]:
    counts: dict[str, float] = dict(own)
    for neighbour in beside:
        for term, count in neighbour.items():
            counts[term] = counts.get(term, 0.0) + _NEIGHBOUR_SHARE * count
    return counts


def _weighed(counts: Mapping[str, float]) -> SparseVector:
    length = sum(counts.values())
    slack = _SATURATION * (1 - _LENGTH_SHARE + _LENGTH_SHARE * length / _MEAN_LENGTH)
    weights: dict[int, float] = {}
    for term, count in counts.items():
        weights[term_number(term)] = count * CEILING / (count + slack)
    return SparseVector(list(weights), list(weights.values()))
