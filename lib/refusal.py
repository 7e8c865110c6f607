"""Decide whether the book can answer a question, and recognise a model's refusal.

Before generation: search always finds something, so a weighted sum of `AnswerabilitySignals`
decides whether it answers. The signals are comparable across books and embedding models. The
weights were fitted to questions about eleven books, including headings and excerpts, with the
local embedding model. Each question was asked of the book that answers it and of others. The
threshold keeps all of 755 answerable questions, because a wrong refusal is worse than a weak
answer, and refuses 39 % of the others. `benchmarks/refusal.py` measures this.

An ingestion raises it by the book's shift, as far as the questions made from its own headings and
sentences allow: it then keeps 99 % and refuses 80 %.

The signals cannot detect a question on a topic of the book whose answer is missing. There the model
refuses.

After generation: `is_refusal` recognises a model's refusal by its first sentence, and only if that
speaks of the book or the model. A first sentence with a marker, or a long answer, is no refusal.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import regex

from lib.embedding import Similarity
from lib.languages import (
    IS_UNSPACED,
    is_foreign,
    languages,
    refusal_pattern,
    small_talk,
    small_words,
    split_words,
    word_meaning,
)
from lib.ranking import ParsedQuery, Passage, inverse_document_frequency, join_headings, max_bm25
from lib.sanitizer_syntax import RESOLVED_MARKER, absolute_url, markdown_link
from lib.sentences import split_markdown, split_text
from lib.store import Candidates, Manifest, StoredChunk
from lib.terms import SparseVector, term_number, terms

_MAX_SUGGESTIONS: Final = 3
_COMPARED_HITS: Final = 50
"""Maximum hits whose mean similarity is compared with the best."""
_MIN_COMPARED_HITS: Final = 5
"""Minimum hits. Missing ones count as unrelated; otherwise the only page of a tiny book would have
no lead and be refused."""

_BENEFIT_OF_DOUBT: Final = 0.1
"""Added to a similarity whose scale was not measured. A larger value refuses fewer unanswerable
questions; a smaller one refuses answerable ones."""

_SHIFT_SHARE: Final = 0.6
"""Readers use other words than the book, so their questions have a smaller margin."""
_MAX_SHIFT: Final = 1.7
"""A larger shift refuses the difficult questions of every book."""
_EXCERPT_CHARACTERS: Final = 4
"""Length of a word in a script without spaces."""

_NO_WORD: Final = regex.compile(r"[^\p{L}\p{M}\p{N}'-]++")


@dataclass(frozen=True, slots=True)
class AnswerabilitySignals:
    """Measurements of a question's search results."""

    coverage: float
    """The best coverage of a chunk (`lib.ranking`), 0 to 1."""
    known: float
    """The share of the question's words in the book, weighted by rarity, 0 to 1."""
    terms: int
    """Distinct terms of the question: with two, one is easily found by chance."""
    nearest: float | None
    """The best similarity, about 0 to 1 (`lib.embedding.Similarity`). None without vectors."""
    lead: float
    """`nearest` minus the mean of the nearest hits: an answer stands out."""
    foreign: bool
    """Whether the question is in another language than the book, which makes words useless."""


@dataclass(frozen=True, slots=True)
class _SignalWeights:
    """A weighted sum of the signals; from `threshold` on, a question counts as answerable."""

    nearest: float
    lead: float
    coverage: float
    known: float
    terms: float
    """Weight of `log_terms`."""
    threshold: float
    shifted: float
    """Part of the book's shift that raises the threshold."""

    def margin(self, signals: AnswerabilitySignals, shift: float) -> float:
        return (
            self.nearest * (signals.nearest or 0.0)
            + self.lead * signals.lead
            + self.coverage * signals.coverage
            + self.known * signals.known
            + self.terms * log_terms(signals)
            - self.threshold
            - self.shifted * shift
        )


_OWN_LANGUAGE: Final = _SignalWeights(
    nearest=3.0, lead=1.0, coverage=9.0, known=3.0, terms=2.0, threshold=7.3, shifted=1.0
)
_FOREIGN_LANGUAGE: Final = (
    _SignalWeights(
        nearest=1.8, lead=18.0, coverage=0.0, known=0.0, terms=0.0, threshold=3.7, shifted=0.6
    ),
    # In a book about one subject, many chunks are as near as the answer.
    _SignalWeights(
        nearest=6.0, lead=0.0, coverage=0.0, known=0.0, terms=0.0, threshold=3.0, shifted=0.4
    ),
)
"""For a question in another language than the book's; the larger margin counts."""
_WORDS_ONLY: Final = _SignalWeights(
    nearest=0.0, lead=0.0, coverage=12.1, known=1.5, terms=2.7, threshold=6.3, shifted=0.7
)
"""While the embedding model is unavailable."""
_MAX_COUNTED_TERMS: Final = 8
"""More terms are no more evidence: they only lower the share that one chunk contains."""


def log_terms(signals: AnswerabilitySignals) -> float:
    return math.log(min(_MAX_COUNTED_TERMS, max(1, signals.terms)))


def answerability_margin(signals: AnswerabilitySignals, shift: float = 0.0) -> float:
    """Return the confidence that the book answers; refuse below 0. `shift`: of `Manifest`."""
    if signals.nearest is None:
        # Neither words nor vectors can tell for a foreign question.
        return math.inf if signals.foreign else _WORDS_ONLY.margin(signals, shift)
    weights = (_OWN_LANGUAGE, *_FOREIGN_LANGUAGE) if signals.foreign else (_OWN_LANGUAGE,)
    return max(each.margin(signals, shift) for each in weights)


def questions_of_chunk(chunk: StoredChunk, language: str) -> list[str]:
    """Make questions that a chunk answers: its heading, and three words of its longest sentence."""
    sentences = (
        [
            word[:_EXCERPT_CHARACTERS] if IS_UNSPACED.match(word) else word
            for word in split_words(sentence.text)
            if word_meaning(word.casefold(), language)
        ]
        for sentence in split_markdown(chunk.text)
    )
    longest = max(sentences, key=len, default=[])
    places = (0, len(longest) // 2, -1) if len(longest) > 2 else ()
    excerpt = " ".join(longest[place] for place in places)
    return [question for question in (chunk.sections[0].heading, excerpt) if question]


def refusal_shift(margins: Sequence[float]) -> float:
    """The shift of a book from the margins of questions that it answers (`questions_of_chunk`)."""
    low = sorted(margins)[len(margins) // 10]
    return round(min(_MAX_SHIFT, max(0.0, _SHIFT_SHARE * low)), 2)


def answerability_signals(
    query: ParsedQuery,
    asked: Sequence[SparseVector],
    found: Candidates,
    manifest: Manifest,
    similarity: Similarity | None,
) -> AnswerabilitySignals:
    """Measure a question; arguments as for `lib.ranking.rank`."""
    asked = [
        _without_unknown_small_words(each, query.text, language, found)
        for each, language in zip(asked, manifest.languages, strict=True)
    ]
    most = min(max_bm25(each, found, manifest.chunks) for each in asked)
    shares = {
        _share_of_known_rarity(each, found, manifest.chunks): len(each.indices) for each in asked
    }
    known = max(shares)
    near = sorted((hit.cosine for hit in found.hits), reverse=True)[:_COMPARED_HITS]
    nearest, lead = None, 0.0
    if similarity is not None:
        scale = similarity.answering - similarity.unrelated
        nearest = (near[0] - similarity.unrelated) / scale if near else 0.0
        nearest += 0.0 if similarity.measured else _BENEFIT_OF_DOUBT
        compared = near + [similarity.unrelated] * (_MIN_COMPARED_HITS - len(near))
        lead = max(0.0, near[0] - sum(compared) / len(compared)) / scale if near else 0.0
    return AnswerabilitySignals(
        coverage=max((hit.bm25 / most for hit in found.hits), default=0.0),
        known=known,
        terms=shares[known],
        nearest=nearest,
        lead=lead,
        foreign=is_foreign(query.text, manifest.languages),
    )


def _without_unknown_small_words(
    asked: SparseVector, text: str, language: str, found: Candidates
) -> SparseVector:
    """Leave out words of little meaning ("how long") that the book lacks, unless there are no
    others."""
    small = small_words(language)
    words = (word for word in split_words(text) if word.casefold() in small)
    gone = {term_number(term) for word in words for term in terms(word, language)}
    kept = [term for term in asked.indices if term in found.rarity or term not in gone]
    return SparseVector(kept, [1.0] * len(kept)) if kept else asked


def _share_of_known_rarity(weights: SparseVector, found: Candidates, chunks: int) -> float:
    """Return the share of terms in the book, weighted by rarity; a missing term is the rarest."""
    rarest = inverse_document_frequency(chunks, 0)
    has = sum(found.rarity.get(term, 0.0) for term in weights.indices)
    return has / sum(found.rarity.get(term, rarest) for term in weights.indices)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A place in the book that is close to the question."""

    title: str
    """Chapter and heading."""
    url: str | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reply to a question that the book does not answer."""

    sentence: str
    lead: str
    """Introduces the suggestions."""
    suggestions: tuple[Suggestion, ...]

    def markdown(self) -> str:
        if not self.suggestions:
            return self.sentence
        return f"{self.sentence} {_list_places(self.lead, self.suggestions)}"


def list_suggestions(suggestions: Sequence[Suggestion], language: str) -> str:
    """Introduce and list suggestions in Markdown, for a refusal that does not do it itself."""
    return _list_places(languages()[language].nearest, suggestions)


def _list_places(lead: str, places: Sequence[Suggestion]) -> str:
    items = (f"- {markdown_link(each.title, absolute_url(each.url))}" for each in places)
    return "\n".join((lead, "", *items))


def make_refusal(language: str, passages: Sequence[Passage]) -> Refusal:
    """Write a refusal in `language` with the nearest of `passages`."""
    spoken = languages()[language]
    return Refusal(spoken.not_in_book, spoken.nearest, tuple(suggest_places(passages)))


def suggest_places(passages: Sequence[Passage]) -> list[Suggestion]:
    """Return the first `_MAX_SUGGESTIONS` distinct places of `passages`."""
    places: dict[Suggestion, None] = {}
    for passage in passages:
        title = join_headings(passage.chapter, passage.heading) or passage.file_path
        places.setdefault(Suggestion(title, passage.url))
    return list(places)[:_MAX_SUGGESTIONS]


def small_talk_reply(question: str, likely: Sequence[str] = ()) -> str | None:
    """The reply to greetings, thanks and the like; None for any other question.

    `likely` decides between languages that share a phrase.
    """
    if len(question) > _MAX_SMALL_TALK_CHARACTERS:
        return None
    rest = " ".join(_NO_WORD.sub(" ", question.translate(_APOSTROPHES).casefold()).split())
    replies: dict[str, str] = {}
    while rest:
        phrase = next((each for each in small_talk() if f"{rest} ".startswith(f"{each} ")), None)
        if phrase is None:
            return None
        replies = replies or small_talk()[phrase]
        rest = rest[len(phrase) + 1 :]
    return next((replies[name] for name in (*likely, *replies) if name in replies), None)


_MAX_SMALL_TALK_CHARACTERS: Final = 100
_MAX_REFUSAL_CHARACTERS: Final = 700
"""Maximum characters of a refusal."""
_MAX_CITING_REFUSAL_CHARACTERS: Final = 350
"""Maximum characters of a refusal that cites a passage, such as one that names related topics."""

_MARKER: Final = re.compile(RESOLVED_MARKER)
_APOSTROPHES: Final = str.maketrans("’ʼ", "''")


def is_refusal(answer: str) -> bool:
    """Whether `answer`, as the reader sees it, only says that the book does not answer."""
    text = answer.translate(_APOSTROPHES).strip()
    plain = _MARKER.sub("", text)
    longest = _MAX_REFUSAL_CHARACTERS if plain == text else _MAX_CITING_REFUSAL_CHARACTERS
    if len(plain) > longest or "```" in text:
        return False
    first = next(iter(split_text(text.partition("\n\n")[0])), "")
    return not _MARKER.search(first) and bool(refusal_pattern().search(first))
