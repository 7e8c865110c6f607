"""How far a measured figure can be trusted: the ends of its 95 % interval.

Another set of as many such questions would likely come out between them.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

RESAMPLES: Final = 2_000
SEED: Final = 7
Z: Final = 1.96
"""Standard errors on either side that 95 % lie within."""


@dataclass(frozen=True, slots=True)
class Estimate:
    value: float
    low: float
    high: float


def estimate(numbers: Sequence[float]) -> Estimate | None:
    """The mean and its interval by resampling; None for no numbers."""
    if not numbers:
        return None
    weights = resampled(np.random.default_rng(SEED), len(numbers))
    return within(statistics.fmean(numbers), weights @ np.asarray(numbers))


def share(numbers: Sequence[float]) -> Estimate | None:
    """The mean of numbers from 0 to 1 and its interval; None for no numbers.

    The interval is Wilson's (1927), which says something even where all numbers are the same:
    resampling those would find no doubt at all. For numbers between 0 and 1 it is wider than
    need be.
    """
    if not numbers:
        return None
    n, mean = len(numbers), statistics.fmean(numbers)
    centre = (mean + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(mean * (1 - mean) / n + Z**2 / (4 * n**2))
    return Estimate(mean, max(0.0, min(mean, centre - half)), min(1.0, max(mean, centre + half)))


def resampled(generator: np.random.Generator, n: int) -> Numbers:
    """`(RESAMPLES, n)`: the weight of each of `n` where as many are drawn with repetitions."""
    return generator.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n


def within(value: float, resamples: Numbers) -> Estimate:
    """`value` between the ends of the middle 95 % of `resamples` `(n,)`."""
    low, high = np.percentile(resamples, [2.5, 97.5])
    return Estimate(value, float(low), float(high))
