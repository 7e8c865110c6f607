"""How well numbers tell two kinds apart: their order, and the curve between them."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from lib.intervals import SEED, Estimate, Numbers, resampled, within

RIDGE: Final = 1e-4
"""Keeps the curve from being infinitely steep where the two kinds do not overlap."""


def auroc(higher: Sequence[float], lower: Sequence[float]) -> Estimate | None:
    """How often one of the first is above one of the second; None without any of either."""
    if not higher or not lower:
        return None
    above, below = np.asarray(higher)[:, np.newaxis], np.asarray(lower)
    wins: Numbers = (above > below) + 0.5 * (above == below)
    generator = np.random.default_rng(SEED)
    rows, columns = resampled(generator, len(higher)), resampled(generator, len(lower))
    return within(float(wins.mean()), ((rows @ wins) * columns).sum(axis=1))


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
