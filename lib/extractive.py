"""Answer without a language model: quote the sentences that cover the question best.

A sentence's weight is the share of the question's terms in it, weighted by inverse document
frequency among the retrieved sentences. Terms in its heading or in the previous sentence count in
part: "It is made of steel" answers a question on what the previous sentence names. The passage's
score and rank count too. The weights were fitted to golden questions; halving or doubling one of
them changes the share of answered questions by 1 to 2 percentage points.

Sentences are taken by weight while there is room, and shown in reading order. A list comes with the
sentence that introduces it, code with the sentence before it.
"""

import math
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from lib.citations import Citation, Citations
from lib.markdown_page import GOES_ON
from lib.ranking import Passage, inverse_document_frequency
from lib.sentences import Sentence, split_passage
from lib.terms import terms

_MAX_SENTENCES: Final = 7
_MAX_CHARACTERS: Final = 900
"""Maximum characters of all sentences together; the first one may be longer."""
_MAX_CODE_CHARACTERS: Final = 3_300
"""Maximum characters of all code together. Of a longer block, the beginning is shown."""
_MAX_PASSAGES: Final = 3
_MAX_READ: Final = 200
"""Maximum sentences of a passage that are considered."""
_MIN_WEIGHT_SHARE: Final = 0.6
"""A sentence below this share of the best weight is dropped."""
_REDUNDANT_OVERLAP: Final = 0.9
"""A sentence is redundant if a taken one contains this share of its terms."""

_CONTEXT_WEIGHT: Final = 0.6
_PASSAGE_WEIGHT: Final = 0.5
"""Weight of the passage's score relative to the best one."""
_RANK_WEIGHT: Final = 0.2
_COVERED_SHARE: Final = 0.33
"""A sentence below this share of the best coverage has no weight..."""
_KNOWN_SHARE: Final = 0.6
"""...if the passages contain this share of the question's terms. Otherwise the question uses other
words or another language, and the passage's rank decides."""
_UNKNOWN_RANK_WEIGHT: Final = 4.0


@dataclass(frozen=True, slots=True)
class _Extract:
    """Sentences quoted from one section of passage `number` (from 1), in reading order."""

    number: int
    sentences: tuple[Sentence, ...]


@dataclass(frozen=True, slots=True)
class _CandidateSentence:
    """A sentence of passage `number` and its terms."""

    number: int
    sentence: Sentence
    terms: frozenset[str]
    context: frozenset[str]
    """Terms of the heading and the previous sentence."""

    @property
    def introduces(self) -> bool:
        """Whether it needs a list or code after it."""
        return self.sentence.text.endswith((":", "：")) and not self.sentence.listed

    @property
    def begins_inside(self) -> bool:
        """Whether it is code without its beginning."""
        return self.sentence.code.split("\n")[1:2] == [GOES_ON]


def extract_in_steps(
    question: str, passages: Sequence[Passage]
) -> Generator[None, None, list[_Extract]]:
    """Extract the sentences that answer best, those of the best section first.

    Yields between steps of up to 2 ms. Empty only if no passage has a sentence.
    """
    candidates: list[_CandidateSentence] = []
    for number, passage in enumerate(passages, start=1):
        candidates += _read_candidates(number, passage)
        yield
    candidates = [each for each in candidates if not each.begins_inside] or candidates
    weigh = yield from _weigh_sentences(
        question, candidates, [passage.score for passage in passages]
    )
    ranked = sorted(range(len(candidates)), key=lambda i: (-weigh[i], i))
    taken: list[int] = []
    for index in ranked:
        yield
        if weigh[index] < _MIN_WEIGHT_SHARE * weigh[ranked[0]]:
            break
        for each in _with_companions(candidates, index, alone=not taken):
            if _fits(candidates, taken, each):
                taken.append(each)
    extracts: dict[tuple[int, int], list[int]] = {}
    for index in taken:
        place = candidates[index].number, candidates[index].sentence.section
        extracts.setdefault(place, []).append(index)
    return [
        _Extract(number, tuple(candidates[i].sentence for i in sorted(indices)))
        for (number, _), indices in extracts.items()
    ]


def _read_candidates(number: int, passage: Passage) -> Iterator[_CandidateSentence]:
    """Yield the sentences of `passage` with at least two terms."""
    headings = [
        frozenset(terms(f"{passage.chapter} {each.section} {each.heading}"))
        for each in passage.sections
    ]
    place, before = 0, frozenset[str]()
    for sentence in split_passage(passage)[:_MAX_READ]:
        if sentence.section != place:
            place, before = sentence.section, frozenset()
        if len(sentence.code) > _MAX_CODE_CHARACTERS:
            sentence = replace(sentence, code=_beginning_of(sentence.code))
        if sentence.code and not sentence.text:
            sentence = replace(sentence, text=passage.sections[place].heading or passage.chapter)
        held = terms(f"{sentence.label} {sentence.text} {sentence.code}")
        if len(held) > 1:
            bag = frozenset(held)
            yield _CandidateSentence(number, sentence, bag, headings[place] | before)
            before = bag


def _beginning_of(code: str) -> str:
    """Cut code blocks between lines, with a mark that they go on; empty if no line fits."""
    lines = code[: _MAX_CODE_CHARACTERS - 100].split("\n")[:-1]
    opening = ""
    for line in lines:
        if opening:
            opening = "" if line == opening else opening
        elif line.startswith("```"):
            opening = line[: len(line) - len(line.lstrip("`"))]
    if lines and opening and lines[-1].startswith(opening):
        return ""
    return "\n".join([*lines, GOES_ON, opening] if opening else lines)


def _weigh_sentences(
    question: str, candidates: Sequence[_CandidateSentence], scores: Sequence[float]
) -> Generator[None, None, list[float]]:
    """Return a weight for each candidate. `scores` are the passages' scores."""
    rarity = dict(_term_rarity([each.context for each in candidates]))
    yield
    rarity.update(_term_rarity([each.terms for each in candidates]))
    yield
    asked = {term: rarity.get(term, 0.0) for term in terms(question)}
    total = sum(asked.values()) or 1.0

    def share(held: frozenset[str]) -> float:
        return math.fsum(asked[term] for term in asked.keys() & held) / total

    covered: list[float] = []
    for each in candidates:
        covered.append(share(each.terms) + _CONTEXT_WEIGHT * share(each.context - each.terms))
        yield
    enough, rank_weight = _COVERED_SHARE * max(covered, default=0.0), _RANK_WEIGHT
    known = sum(term in rarity for term in asked) / len(asked) if asked else 0.0
    if known < _KNOWN_SHARE:
        covered = [known * cover for cover in covered]
        enough, rank_weight = 0.0, _UNKNOWN_RANK_WEIGHT
    best = max(scores, default=0.0) or 1.0
    return [
        cover + _PASSAGE_WEIGHT * scores[each.number - 1] / best + rank_weight / each.number
        if cover >= enough
        else 0.0
        for each, cover in zip(candidates, covered, strict=True)
    ]


def _term_rarity(bags: Sequence[frozenset[str]]) -> Mapping[str, float]:
    """Return the inverse document frequency of each term in `bags`."""
    count = Counter(term for bag in bags for term in bag)
    return {term: inverse_document_frequency(len(bags), df) for term, df in count.items()}


def _with_companions(
    candidates: Sequence[_CandidateSentence], index: int, *, alone: bool
) -> list[int]:
    """Return the candidates to quote together: a list and the sentence that introduces it.

    Empty if the candidate introduces something that is missing, unless it is `alone`.
    """
    candidate = candidates[index]
    if candidate.sentence.listed:
        start = index
        while start > 0 and _is_same_list(candidates[start - 1], candidate):
            start -= 1
        above = candidates[start - 1] if start else candidate
        introduced = above.introduces and _is_same_section(above, candidate)
        return [start - 1, index] if introduced else [index]
    if not candidate.introduces or candidate.sentence.code:
        return [index]
    end = index + 1
    while end < len(candidates) and _is_same_list(candidates[end], candidate):
        end += 1
    return list(range(index, end)) if end > index + 1 or alone else []


def _is_same_list(candidate: _CandidateSentence, other: _CandidateSentence) -> bool:
    return candidate.sentence.listed and _is_same_section(candidate, other)


def _is_same_section(candidate: _CandidateSentence, other: _CandidateSentence) -> bool:
    return (candidate.number, candidate.sentence.section) == (other.number, other.sentence.section)


def _fits(candidates: Sequence[_CandidateSentence], taken: Sequence[int], index: int) -> bool:
    """Whether a candidate is within the limits and not redundant."""
    new, others = candidates[index], [candidates[i] for i in taken]
    quoted = [each.sentence for each in (*others, new)]
    return not others or (
        len(quoted) <= _MAX_SENTENCES
        and len({each.number for each in (*others, new)}) <= _MAX_PASSAGES
        and sum(len(each.text) for each in quoted) <= _MAX_CHARACTERS
        and sum(len(each.code) for each in quoted) <= _MAX_CODE_CHARACTERS
        and all(
            len(new.terms & each.terms) < _REDUNDANT_OVERLAP * len(new.terms) for each in others
        )
    )


def render_extracts(extracts: Sequence[_Extract], citations: Citations) -> Iterator[str | Citation]:
    """Yield the answer as Markdown, with each citation after its first marker."""
    for extract in extracts:
        before: Sentence | None = None
        for place, sentence in enumerate(extract.sentences):
            if before is not None:
                yield _separator_between(before, sentence)
            marker, citation = citations.cite(extract.number, quoted=extract.sentences[place:])
            if sentence.text:
                yield f"{_lead(before, sentence)}{sentence.markdown} {marker}"
            else:  # code without a sentence has its marker below
                yield sentence.code
                yield f"\n\n{marker}"
            if citation:
                yield citation
            if sentence.text and sentence.code:
                yield f"\n\n{sentence.code}"
            before = sentence
        yield "\n\n"


def _separator_between(before: Sentence, sentence: Sentence) -> str:
    if before.code or (sentence.code and not sentence.text):
        return "\n\n"
    if _is_same_block(before, sentence):
        return " "
    return "\n" if before.listed and sentence.listed else "\n\n"


def _is_same_block(before: Sentence | None, sentence: Sentence) -> bool:
    return before is not None and not before.code and before.block == sentence.block


def _lead(before: Sentence | None, sentence: Sentence) -> str:
    """Return the list marker and the label that go before a sentence."""
    lead = ""
    if sentence.listed and not _is_same_block(before, sentence):
        lead = f"{sentence.list_marker or '-'} "
    if sentence.label and (before is None or before.label != sentence.label):
        lead += f"{sentence.label}: "
    return lead
