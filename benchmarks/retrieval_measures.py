"""Retrieval measures: recall, MRR and IoU of the passages found for a question."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lib.golden import GoldPlaces, Question, find_ranks, recall
from lib.ranking import Passage

MEASURES: Final = ("recall@5", "recall@10", "MRR@10", "recall in budget", "IoU@5")


@dataclass(frozen=True, slots=True)
class Judged:
    ranks: tuple[int | None, ...]
    """Rank of the first passage that hits each part of the answer, from 1."""
    measures: Mapping[str, float]
    """Values of `MEASURES`. Empty without an answer; no IoU for whole files."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one way of searching for a question."""

    question: Question
    found: Sequence[Passage]
    seconds: float
    judged: Judged

    @property
    def score(self) -> float:
        return self.found[0].score if self.found else 0.0


def judge(question: Question, found: Sequence[Passage], budget: int) -> Judged:
    if not question.answer:
        return Judged((), {})
    hits = find_ranks(question.answer, found)
    best = min(filter(None, hits), default=11)
    measures = {
        "recall@5": recall(hits, 5),
        "recall@10": recall(hits, 10),
        "MRR@10": 1 / best if best <= 10 else 0.0,
        "recall in budget": recall(hits, fitting(found, budget)),
    }
    if not any(place.whole for gold in question.answer for place in gold):
        measures["IoU@5"] = overlap(question.answer, found[:5])
    return Judged(hits, measures)


def fitting(found: Iterable[Passage], budget: int) -> int:
    """Count the first passages that have at most `budget` characters together."""
    return sum(size <= budget for size in itertools.accumulate(len(p.text) for p in found))


def overlap(answer: Iterable[GoldPlaces], found: Iterable[Passage]) -> float:
    """Intersection over union of the characters found and expected."""
    given = {(p.file_path, at) for p in found for at in range(p.start_char, p.end_char)}
    wanted: set[tuple[str, int]] = set()
    for gold in answer:
        each = [{(place.file, at) for at in range(place.start, place.end)} for place in gold]
        wanted |= max(each, key=lambda characters: len(characters & given))
    return len(given & wanted) / len(given | wanted)
