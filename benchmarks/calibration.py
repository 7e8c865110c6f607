"""Fit a model's `Similarity` and the curve of `lib.ranking` to questions with known answers."""

import random
import statistics
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from benchmarks.book_index import Index, find_candidates
from benchmarks.separation import logistic
from lib.embedding import Similarity
from lib.evaluation import SEED
from lib.golden import Question
from lib.ranking import rank
from lib.search import CANDIDATES

SAMPLED_QUESTIONS: Final = 100
"""Questions compared with every chunk to find the cosine of unrelated texts."""


async def print_calibration(index: Index, questions: Sequence[Question]) -> None:
    own, fitted = index.embedder.similarity, await fitted_similarity(index, questions)
    if fitted is None:
        print("\ncannot calibrate: no question has an answer in the index")
        return
    print(
        f"\nfitted Similarity: unrelated={fitted.unrelated:.3f}, "
        f"answering={fitted.answering:.3f}; the model's: {own.unrelated} and {own.answering}"
    )
    if fitted.answering <= fitted.unrelated:
        print("no curve: for this model, answering chunks are no nearer than unrelated ones")
        return
    for name, similarity in (("the model's", own), ("the fitted", fitted)):
        curve = await fitted_curve(index, questions, similarity)
        if curve is None:
            print("no curve: both answerable and unanswerable questions are needed")
            return
        print(f"curve with {name} Similarity: STEEPNESS {curve[0]:.1f}, MIDDLE {curve[1]:.3f}")


async def fitted_similarity(index: Index, questions: Sequence[Question]) -> Similarity | None:
    """Mean cosine of a question with any chunk, and median cosine of the best answering chunk.

    None if no chunk answers any question.
    """
    every_chunk = index.manifest.chunks
    unrelated, answering = [], []
    for question in random.Random(SEED).sample(questions, min(len(questions), SAMPLED_QUESTIONS)):
        looked = await find_candidates(index, question.text, every_chunk)
        unrelated.append(statistics.fmean(hit.cosine for hit in looked.found.hits))
    for question in questions:
        wanted = [place for gold in question.answer for place in gold]
        cosines: list[float] = []
        for file in {place.file for place in wanted}:
            looked = await find_candidates(
                index, question.text, every_chunk, only={"file_path": file}
            )
            cosines += [
                hit.cosine
                for hit in looked.found.hits
                if any(place.hit_by(hit.chunk) for place in wanted)
            ]
        answering += [max(cosines)] if cosines else []
    if not answering:
        return None
    return Similarity(statistics.fmean(unrelated), statistics.median(answering))


async def fitted_curve(
    index: Index, questions: Iterable[Question], similarity: Similarity
) -> tuple[float, float] | None:
    """Fit the curve to the totals of the first hits. None without questions of both classes."""
    answered: list[float] = []
    unanswered: list[float] = []
    for question in questions:
        looked = await find_candidates(index, question.text, CANDIDATES)
        ranked = rank(looked.query, looked.asked, looked.found, index.manifest, similarity)
        (answered if question.answer else unanswered).extend(each.total for each in ranked[:1])
    return logistic_curve(answered, unanswered) if answered and unanswered else None


def logistic_curve(answered: Sequence[float], unanswered: Sequence[float]) -> tuple[float, float]:
    """Return steepness and middle of the logistic curve, with equal weight for both classes."""
    totals = np.array([*answered, *unanswered])
    counts = [len(answered), len(unanswered)]
    truth, shares = np.repeat([1.0, 0.0], counts), np.repeat(0.5 / np.array(counts), counts)
    weights, constant = logistic(totals[:, np.newaxis], truth, shares)
    steepness = float(weights[0])
    return steepness, -constant / steepness
