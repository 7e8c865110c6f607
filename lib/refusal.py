"""Whether the book has anything on a question at all, before a model is asked.

Search always finds something. Five measurements, each of which means the same for every book and
every embedding model, tell whether it answers (`AnswerabilitySignals`); a weighted sum adds them.
Its weights were fitted to questions about nine books, headings and single words among them, asked
of the book that answers and of others that do not, with two embedding models. The threshold keeps
at least 95 in a hundred of the questions that the book answers, in each of their sets: refusing a
reader wrongly is worse than answering with what is nearest. `benchmarks/refusal.py` repeats the
figures, and looks for weights.

A question whose topic the book has and whose answer it lacks is beyond any such measurement: it
looks like the others. There the model declines (`lib.refusal`).

Whether the answer of a model says that the book does not answer.

A model that is told to keep to the passages says so in words of its own. They are recognised in the
first sentence alone, and only of the book or the model: an answer that says that an error "is not
mentioned in the log" declines nothing. A first sentence that cites a passage, or an answer that
goes on for long, has answered, whatever it began with.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import regex

from lib.embedding import Similarity
from lib.languages import (
    is_foreign,
    languages,
    question_language,
    refusal_pattern,
    small_talk,
)
from lib.ranking import ParsedQuery, Passage, max_bm25
from lib.sanitizer_syntax import link_target
from lib.store import Candidates, Manifest
from lib.terms import SparseVector

MAX_SUGGESTIONS: Final = 3
COMPARED_HITS: Final = 50
"""Hits that the best one is compared with."""
MIN_COMPARED_HITS: Final = 5
"""So many at the least: those that a book of one or two pages lacks count as unrelated. Without
them its only page would stand out from nothing, and be refused."""

BENEFIT_OF_DOUBT: Final = 0.1
"""Of a similarity whose scale was not measured. Too much stops fewer questions that the book does
not answer; too little would refuse those that it does."""

_NO_WORD: Final = regex.compile(r"[^\p{L}\p{M}\p{N}'-]+")
_MARKUP: Final = re.compile(r"[\\`*_\[\]<>]")


@dataclass(frozen=True, slots=True)
class AnswerabilitySignals:
    """What search knows of a question as a whole."""

    coverage: float
    """The largest share of the question's rare words that one chunk has (`lib.ranking`), 0 to 1."""
    known: float
    """The share of its words, weighted by rarity, that the book has anywhere, 0 to 1."""
    terms: int
    """How many different ones it has: of two words, one is easily found by chance."""
    nearest: float | None
    """The highest similarity, about 0 to 1 (`lib.embedding.Similarity`). None without vectors."""
    lead: float
    """By how much that is above the mean of the nearest: what answers stands out."""
    foreign: bool
    """Whether it is in another language than the book, so that its words tell nothing."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A weighted sum: likely the book answers from `threshold` on."""

    nearest: float
    lead: float
    coverage: float
    known: float
    terms: float
    """Of `log_terms`."""
    threshold: float

    def passes(self, evidence: AnswerabilitySignals) -> bool:
        return self.margin(evidence) >= 0

    def margin(self, evidence: AnswerabilitySignals) -> float:
        """How far above the threshold."""
        return (
            self.nearest * (evidence.nearest or 0.0)
            + self.lead * evidence.lead
            + self.coverage * evidence.coverage
            + self.known * evidence.known
            + self.terms * log_terms(evidence)
            - self.threshold
        )


OWN_LANGUAGE: Final = Weights(
    nearest=1.8, lead=4.0, coverage=9.0, known=0.8, terms=2.0, threshold=6.5
)
FOREIGN_LANGUAGE: Final = Weights(
    nearest=3.0, lead=18.0, coverage=0.0, known=0.0, terms=0.0, threshold=3.9
)
"""For a question in another language than the book's."""
WORDS_ONLY: Final = Weights(
    nearest=0.0, lead=0.0, coverage=12.1, known=1.5, terms=2.7, threshold=6.3
)
"""While the embedding model is away."""
MAX_COUNTED_TERMS: Final = 8
"""More of them say no more: they only make it rarer that one chunk has many."""


def log_terms(evidence: AnswerabilitySignals) -> float:
    """What the number of terms counts: its logarithm."""
    return math.log(min(MAX_COUNTED_TERMS, max(1, evidence.terms)))


def is_answerable(evidence: AnswerabilitySignals) -> bool:
    """Whether what was found is worth an answer."""
    return answerability_margin(evidence) >= 0


def answerability_margin(evidence: AnswerabilitySignals) -> float:
    """How sure that is: below 0, the question counts as not in the book."""
    if evidence.nearest is None:
        # Words of another language tell nothing, and there is nothing else.
        return math.inf if evidence.foreign else WORDS_ONLY.margin(evidence)
    if evidence.foreign:
        return max(OWN_LANGUAGE.margin(evidence), FOREIGN_LANGUAGE.margin(evidence))
    return OWN_LANGUAGE.margin(evidence)


def answerability_signals(
    query: ParsedQuery,
    asked: Sequence[SparseVector],
    found: Candidates,
    manifest: Manifest,
    similarity: Similarity | None,
) -> AnswerabilitySignals:
    """Arguments as for `lib.ranking.rank`; no `similarity` where the question has no vector."""
    most = min(max_bm25(each, found, manifest.chunks) for each in asked)
    shares = {
        share_of_known_rarity(each, found, manifest.chunks): len(each.indices) for each in asked
    }
    known = max(shares)
    near = sorted((hit.cosine for hit in found.hits), reverse=True)[:COMPARED_HITS]
    nearest, lead = None, 0.0
    if similarity is not None:
        scale = similarity.answering - similarity.unrelated
        nearest = (near[0] - similarity.unrelated) / scale if near else 0.0
        nearest += 0.0 if similarity.measured else BENEFIT_OF_DOUBT
        compared = near + [similarity.unrelated] * (MIN_COMPARED_HITS - len(near))
        lead = max(0.0, near[0] - sum(compared) / len(compared)) / scale if near else 0.0
    return AnswerabilitySignals(
        coverage=max((hit.bm25 / most for hit in found.hits), default=0.0),
        known=known,
        terms=shares[known],
        nearest=nearest,
        lead=lead,
        foreign=is_foreign(query.text, manifest.languages),
    )


def share_of_known_rarity(weights: SparseVector, found: Candidates, chunks: int) -> float:
    """The share of a question's terms that the book has, each weighted by its rarity; one that it
    does not have counts as the rarest."""
    rarest = math.log((chunks + 0.5) / 0.5 + 1)
    has = sum(found.rarity.get(term, 0.0) for term in weights.indices)
    return has / sum(found.rarity.get(term, rarest) for term in weights.indices)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A place in the book that comes near a question."""

    title: str
    """Its chapter and heading."""
    url: str | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a reader is told instead of an answer."""

    sentence: str
    """In the question's language, or in English."""
    lead: str
    """Stands before the suggestions."""
    suggestions: tuple[Suggestion, ...]

    def markdown(self) -> str:
        if not self.suggestions:
            return self.sentence
        items = "\n".join(f"- {format_suggestion(each)}" for each in self.suggestions)
        return f"{self.sentence} {self.lead}\n\n{items}"


def make_refusal(question: str, passages: Sequence[Passage]) -> Refusal:
    """The words for a question that is not in the book, with the nearest of `passages`."""
    language = languages()[question_language(question)]
    if is_small_talk(question):
        return Refusal(language.ask_me, "", ())
    return Refusal(language.not_in_book, language.nearest, tuple(suggest_places(passages)))


def suggest_places(passages: Sequence[Passage]) -> list[Suggestion]:
    """The nearest places, each once and at most `MAX_SUGGESTIONS`, in the order of `passages`."""
    places: dict[Suggestion, None] = {}
    for passage in passages:
        parts = dict.fromkeys(filter(None, (passage.chapter, passage.heading)))
        title = " > ".join(parts) or passage.file_path
        places.setdefault(Suggestion(title, passage.url))
    return list(places)[:MAX_SUGGESTIONS]


def format_suggestion(suggestion: Suggestion) -> str:
    """As Markdown; a link only where the address leads somewhere from a page elsewhere."""
    title = _MARKUP.sub(r"\\\g<0>", suggestion.title)
    url = suggestion.url or ""
    return f"[{title}]({link_target(url)})" if url.startswith(("http://", "https://")) else title


def is_small_talk(question: str) -> bool:
    """Whether a question is a greeting, thanks or the like, which no book answers."""
    return " ".join(_NO_WORD.sub(" ", question.casefold()).split()) in small_talk()


MAX_REFUSAL_CHARACTERS: Final = 700
"""Characters of an answer that declines, at the most."""
MAX_CITING_REFUSAL_CHARACTERS: Final = 350
"""The same where it cites something: what the passages do cover, say."""

_MARKER: Final = regex.compile(r"\[\d+\](?:\([^)\s]*\))?")
_SENTENCE_END: Final = regex.compile(r"(?<=[.!?])\s|(?<=[。！？।۔؟])|\n\n")
_APOSTROPHES: Final = str.maketrans("’ʼ", "''")


def is_refusal(answer: str) -> bool:
    """Whether `answer`, as the reader sees it, says no more than that the book does not tell."""
    text = answer.translate(_APOSTROPHES).strip()
    plain = _MARKER.sub("", text)
    longest = MAX_REFUSAL_CHARACTERS if plain == text else MAX_CITING_REFUSAL_CHARACTERS
    if len(plain) > longest or "```" in text:
        return False
    first = _SENTENCE_END.split(text, maxsplit=1)[0]
    return not _MARKER.search(first) and bool(refusal_pattern().search(first))
