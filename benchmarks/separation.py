"""Separation of two classes: AUROC, logistic regression, and a threshold for a share of one."""

import math
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from lib.evaluation import SEED, Estimate, Numbers, percentile_interval, resample_weights

RIDGE: Final = 1e-4
"""Ridge penalty. Keeps the curve finite if the classes do not overlap."""
BOOTSTRAP_SAMPLES: Final = 8
"""The weights are averaged over these samples, against overfitting."""
SEARCH_STEPS: Final = 500
"""Steps of the random search for weights."""
ROUNDING: Final = 1e-9
"""Rounding error of a weighted sum over one row instead of many."""


def auroc(higher: Sequence[float], lower: Sequence[float]) -> Estimate | None:
    """Probability that a value of `higher` exceeds one of `lower`. None if either is empty."""
    if not higher or not lower:
        return None
    above, below = np.asarray(higher)[:, np.newaxis], np.asarray(lower)
    wins: Numbers = (above > below) + 0.5 * (above == below)
    generator = np.random.default_rng(SEED)
    rows, columns = (
        resample_weights(generator, len(higher)),
        resample_weights(generator, len(lower)),
    )
    return percentile_interval(float(wins.mean()), ((rows @ wins) * columns).sum(axis=1))


def logistic(table: Numbers, truth: Numbers, shares: Numbers) -> tuple[Numbers, float]:
    """Fit a logistic regression to `table` `(n, m)`. Returns the column weights and the intercept.

    `truth` `(n,)` is 1 for one class and 0 for the other. `shares` `(n,)` are the row weights and
    sum to 1. Newton's method with bounded steps.
    """
    mean, spread = table.mean(axis=0), np.maximum(table.std(axis=0), 1e-3)
    scaled = np.column_stack([(table - mean) / spread, np.ones(len(table))])
    weights = np.zeros(scaled.shape[1])
    for _ in range(100):
        likely = 1 / (1 + np.exp(-scaled @ weights))
        gradient = scaled.T @ (shares * (truth - likely)) - RIDGE * weights
        bend = (scaled.T * (shares * likely * (1 - likely))) @ scaled
        step = np.linalg.solve(bend + RIDGE * np.eye(len(weights)), gradient)
        weights += np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-9:
            break
    found: Numbers = weights[:-1] / spread
    return found, float(weights[-1] - mean @ found)


def threshold(weights: Numbers, kept: Iterable[Numbers], share: float) -> float:
    """Return the highest weighted sum that `share` of the rows of each table `(n, m)` reach."""
    lowest = min(np.sort(of @ weights)[math.floor((1 - share) * len(of))] for of in kept)
    return float(lowest) - ROUNDING


def maximize_stopped(
    start: Numbers, kept: Sequence[Numbers], others: Numbers, share: float
) -> Numbers:
    """Find the non-negative weights with which most of `others` `(k, m)` stay below `threshold`.

    `start` is the maximum likelihood solution, which separates best over all rows. But the
    threshold keeps nearly all rows of `kept`, so it lies where few rows are, and other weights
    separate better there. Columns with weight 0 in `start` stay at 0.
    """
    generator = np.random.default_rng(SEED)
    draws = [
        random_search(
            start,
            [generator.choice(of, len(of)) for of in kept],
            generator.choice(others, len(others)),
            share,
            generator,
        )
        for _ in range(BOOTSTRAP_SAMPLES)
    ]
    found: Numbers = np.mean(draws, axis=0)
    return found


def random_search(
    start: Numbers,
    kept: Sequence[Numbers],
    others: Numbers,
    share: float,
    generator: np.random.Generator,
) -> Numbers:
    """Improve `start` for these rows with random steps, keeping only improvements."""

    def stopped(weights: Numbers) -> float:
        return float(np.mean(others @ weights < threshold(weights, kept, share)))

    best, most = start, stopped(start)
    least = start.mean()
    for step in np.geomspace(0.5, 0.05, SEARCH_STEPS):
        moved = (start > 0) & (generator.random(len(start)) < 0.5)
        changes = step * generator.normal(size=len(start)) * np.maximum(best, least)
        tried = np.maximum(best + moved * changes, 0)
        if (now := stopped(tried)) > most:
            best, most = tried, now
    found: Numbers = best * (start.sum() / best.sum())
    return found
