"""How well numbers tell two kinds apart: their order, the curve between them, and a threshold that
loses hardly any of one kind."""

import math
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from lib.evaluation import SEED, Estimate, Numbers, percentile_interval, resample_weights

RIDGE: Final = 1e-4
"""Keeps the curve from being infinitely steep where the two kinds do not overlap."""
RESAMPLED: Final = 8
"""Draws whose weights are averaged: the best for one draw fit its accidents."""
CLIMBED: Final = 500
"""Steps of a search for weights."""
ROUNDED: Final = 1e-9
"""By so much a sum may differ when it is taken of one row instead of many."""


def auroc(higher: Sequence[float], lower: Sequence[float]) -> Estimate | None:
    """How often one of the first is above one of the second; None without any of either."""
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
    """The likeliest weights of the columns of `table` `(n, m)`, and the constant.

    `truth` `(n,)` is 1 for one kind and 0 for the other; `shares` `(n,)`, which sum to 1, are how
    much each row counts. Found by Newton's method, in short steps.
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
    """The highest sum of weighted columns that `share` of the rows of each table `(n, m)` reach."""
    lowest = min(np.sort(of @ weights)[math.floor((1 - share) * len(of))] for of in kept)
    return float(lowest) - ROUNDED


def most_stopping(
    start: Numbers, kept: Sequence[Numbers], others: Numbers, share: float
) -> Numbers:
    """The weights, none below 0, with which most of `others` `(k, m)` stay below `threshold`.

    The likeliest weights, with which to `start`, tell best on the whole. The threshold lies where
    hardly a row of `kept` is lost, and so few rows are, and there other weights tell better. A
    column whose weight is 0 at the start is left out.
    """
    generator = np.random.default_rng(SEED)
    draws = [
        climbed(
            start,
            [generator.choice(of, len(of)) for of in kept],
            generator.choice(others, len(others)),
            share,
            generator,
        )
        for _ in range(RESAMPLED)
    ]
    found: Numbers = np.mean(draws, axis=0)
    return found


def climbed(
    start: Numbers,
    kept: Sequence[Numbers],
    others: Numbers,
    share: float,
    generator: np.random.Generator,
) -> Numbers:
    """The same for these rows, by steps at random of which only those that help are taken."""

    def stopped(weights: Numbers) -> float:
        return float(np.mean(others @ weights < threshold(weights, kept, share)))

    best, most = start, stopped(start)
    least = start.mean()
    for step in np.geomspace(0.5, 0.05, CLIMBED):
        moved = (start > 0) & (generator.random(len(start)) < 0.5)
        changes = step * generator.normal(size=len(start)) * np.maximum(best, least)
        tried = np.maximum(best + moved * changes, 0)
        if (now := stopped(tried)) > most:
            best, most = tried, now
    found: Numbers = best * (start.sum() / best.sum())
    return found
