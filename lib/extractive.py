"""An answer without a language model: the sentences of the passages that cover the question best.

The words are the book's own. A sentence's weight is, first of all, the share of the question's
terms that it holds, each weighted by how rare it is among the retrieved sentences (inverse document
frequency). Of what it lacks, its heading and the sentence before it may hold a part: "It is made of
steel" answers what the one before it names. Its passage's score and rank count as well. The
weights were fitted to questions whose answers are known; halving or doubling any one of them
changes the share of questions that are answered by a point or two.

Sentences are taken by weight while there is room, and shown in reading order. A list comes with the
sentence that announces it, code with the sentence before it.

Extracts as Markdown: sentences with their markers, paragraphs and lists as the book has them.
"""

import math
import re
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from lib.citations import Citation, Citations
from lib.ranking import Passage
from lib.runtime import run_to_end
from lib.sentences import Sentence, split_passage
from lib.terms import terms

MAX_SENTENCES: Final = 7
MAX_CHARACTERS: Final = 900
"""Of all sentences together; one that is longer may stand alone."""
MAX_CODE_CHARACTERS: Final = 3_000
"""Of all code together. A longer block is left out."""
MAX_PASSAGES: Final = 3
MIN_SHARE_OF_BEST: Final = 0.6
"""A sentence with less than this share of the best one's weight is left out."""
REDUNDANT_OVERLAP: Final = 0.9
"""Share of a sentence's terms that another one holds as well, from which it says nothing new."""

CONTEXT_WEIGHT: Final = 0.6
PASSAGE_WEIGHT: Final = 0.5
"""For the passage's score, as a share of the best one's."""
RANK_WEIGHT: Final = 0.2
COVERED_SHARE: Final = 0.33
"""A sentence that covers less than this share of what the best one covers has no weight..."""
KNOWN_SHARE: Final = 0.6
"""...if the passages have so many of the question's terms. Else it is in another language or in
quite other words, what little they share says little, and the search knows better."""
UNKNOWN_RANK_WEIGHT: Final = 4.0


@dataclass(frozen=True, slots=True)
class Extract:
    """What is quoted from passage `number` (from 1), in reading order."""

    number: int
    sentences: tuple[Sentence, ...]


@dataclass(frozen=True, slots=True)
class CandidateSentence:
    """A sentence of passage `number`, its terms, and those of its heading and of the sentence
    before it."""

    number: int
    sentence: Sentence
    terms: frozenset[str]
    context: frozenset[str]

    @property
    def announces(self) -> bool:
        """Whether it needs a list or code to follow."""
        return self.sentence.text.endswith((":", "：")) and not self.sentence.listed


def extract(question: str, passages: Sequence[Passage]) -> list[Extract]:
    """The sentences of `passages` that answer best, those of the best passage first.

    Empty only where no passage has a sentence.
    """
    return run_to_end(extract_in_steps(question, passages))


def extract_in_steps(
    question: str, passages: Sequence[Passage]
) -> Generator[None, None, list[Extract]]:
    """The same in slices: each passage takes some 2 ms the first time."""
    candidates: list[CandidateSentence] = []
    for number, passage in enumerate(passages, start=1):
        candidates += read_candidates(number, passage)
        yield
    weigh = weigh_sentences(question, candidates, [passage.score for passage in passages])
    ranked = sorted(range(len(candidates)), key=lambda i: (-weigh[i], i))
    taken: list[int] = []
    for index in ranked:
        if weigh[index] < MIN_SHARE_OF_BEST * weigh[ranked[0]]:
            break
        for each in with_companions(candidates, index, alone=not taken):
            if fits(candidates, taken, each):
                taken.append(each)
    extracts: dict[int, list[int]] = {}
    for index in taken:
        extracts.setdefault(candidates[index].number, []).append(index)
    return [
        Extract(number, tuple(candidates[i].sentence for i in sorted(indices)))
        for number, indices in extracts.items()
    ]


def read_candidates(number: int, passage: Passage) -> Iterator[CandidateSentence]:
    """What may be quoted of `passage`: sentences with two terms or more."""
    heading = frozenset(terms(f"{passage.chapter} {passage.section} {passage.heading}"))
    before: frozenset[str] = frozenset()
    for sentence in split_passage(passage):
        if len(sentence.code) > MAX_CODE_CHARACTERS:
            sentence = replace(sentence, code="")
        if sentence.code and not sentence.text:
            sentence = replace(sentence, text=passage.heading or passage.chapter)
        held = terms(f"{sentence.text} {sentence.code}")
        if len(held) > 1:
            bag = frozenset(held)
            yield CandidateSentence(number, sentence, bag, heading | before)
            before = bag


def weigh_sentences(
    question: str, candidates: Sequence[CandidateSentence], scores: Sequence[float]
) -> list[float]:
    """One weight for each candidate. `scores` are those of the passages."""
    rarity = {
        **inverse_frequency([each.context for each in candidates]),
        **inverse_frequency([each.terms for each in candidates]),
    }
    asked = {term: rarity.get(term, 0.0) for term in terms(question)}
    total = sum(asked.values()) or 1.0

    def share(held: frozenset[str]) -> float:
        return sum(rare for term, rare in asked.items() if term in held) / total

    covered = [
        share(each.terms) + CONTEXT_WEIGHT * share(each.context - each.terms) for each in candidates
    ]
    enough, rank_weight = COVERED_SHARE * max(covered, default=0.0), RANK_WEIGHT
    known = sum(term in rarity for term in asked) / len(asked) if asked else 0.0
    if known < KNOWN_SHARE:
        covered = [known * cover for cover in covered]
        enough, rank_weight = 0.0, UNKNOWN_RANK_WEIGHT
    best = max(scores, default=0.0) or 1.0
    return [
        cover + PASSAGE_WEIGHT * scores[each.number - 1] / best + rank_weight / each.number
        if cover >= enough
        else 0.0
        for each, cover in zip(candidates, covered, strict=True)
    ]


def inverse_frequency(bags: Sequence[frozenset[str]]) -> Mapping[str, float]:
    """BM25's inverse document frequency (Robertson and Zaragoza 2009), never negative."""
    count = Counter(term for bag in bags for term in bag)
    n = len(bags)
    return {term: math.log(1 + (n - df + 0.5) / (df + 0.5)) for term, df in count.items()}


def with_companions(
    candidates: Sequence[CandidateSentence], index: int, *, alone: bool
) -> list[int]:
    """What is read with a candidate: the list that it announces, or what announces its list.

    Nothing, not even itself, if it announces what is not there, unless it stands `alone`.
    """
    candidate = candidates[index]
    if candidate.sentence.listed:
        start = index
        while start > 0 and is_same_list(candidates[start - 1], candidate):
            start -= 1
        above = candidates[start - 1] if start else candidate
        announced = above.announces and above.number == candidate.number
        return [start - 1, index] if announced else [index]
    if not candidate.announces or candidate.sentence.code:
        return [index]
    end = index + 1
    while end < len(candidates) and is_same_list(candidates[end], candidate):
        end += 1
    return list(range(index, end)) if end > index + 1 or alone else []


def is_same_list(candidate: CandidateSentence, other: CandidateSentence) -> bool:
    return candidate.sentence.listed and candidate.number == other.number


def fits(candidates: Sequence[CandidateSentence], taken: Sequence[int], index: int) -> bool:
    """Whether there is room for a candidate, and those taken do not say it already."""
    new, others = candidates[index], [candidates[i] for i in taken]
    quoted = [each.sentence for each in (*others, new)]
    return not others or (
        len(quoted) <= MAX_SENTENCES
        and len({each.number for each in (*others, new)}) <= MAX_PASSAGES
        and sum(len(each.text) for each in quoted) <= MAX_CHARACTERS
        and sum(len(each.code) for each in quoted) <= MAX_CODE_CHARACTERS
        and all(len(new.terms & each.terms) < REDUNDANT_OVERLAP * len(new.terms) for each in others)
    )


# What would be read as markup. An underscore inside a word is none; some marks count only at the
# beginning of a line.
_MARKUP: Final = re.compile(r"[\\`*<\[\]]|(?<![^\W_])_|_(?![^\W_])|^[#>+~-]|(?<=^\d)[.)](?=\s)")


def render_extracts(extracts: Sequence[Extract], citations: Citations) -> Iterator[str | Citation]:
    """The pieces of an answer in order, each citation after its first marker."""
    for extract in extracts:
        before: Sentence | None = None
        for sentence in extract.sentences:
            if before is not None:
                yield separator_between(before, sentence)
            if sentence.text:
                lead = "- " if sentence.listed and not is_same_block(before, sentence) else ""
                marker, citation = citations.cite(extract.number, sentence.text)
                yield f"{lead}{escape_markdown(sentence.text)} {marker}"
                if citation:
                    yield citation
            if sentence.code:
                yield f"\n\n{sentence.code}" if sentence.text else sentence.code
            if not sentence.text:
                # Code that nothing announces: its marker stands below it.
                marker, citation = citations.cite(extract.number)
                yield f"\n\n{marker}"
                if citation:
                    yield citation
            before = sentence
        yield "\n\n"


def separator_between(before: Sentence, sentence: Sentence) -> str:
    if before.code or (sentence.code and not sentence.text):
        return "\n\n"
    if is_same_block(before, sentence):
        return " "
    return "\n" if before.listed and sentence.listed else "\n\n"


def is_same_block(before: Sentence | None, sentence: Sentence) -> bool:
    return before is not None and not before.code and before.block == sentence.block


def escape_markdown(text: str) -> str:
    """Markdown that reads as `text` does."""
    return _MARKUP.sub(r"\\\g<0>", text)
