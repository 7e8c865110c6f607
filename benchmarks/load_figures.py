"""Summarize load test runs: medians, and one table row per number of streams."""

import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.load_clients import AnswerResult
from benchmarks.upstream import Script
from lib.evaluation_report import percentiles

HEADER: Final = (
    "| streams | first token p50, ms: upstream / Quire | ratio | p95, ms: upstream / Quire | ratio "
    "| gap p99, ms | CPU, ms per 1,000 tokens | MB | whole | wrong |\n"
    "| ---: |" + " ---: |" * 9
)


@dataclass(frozen=True, slots=True)
class Run:
    """One run, directly against the upstream or through the server."""

    results: Sequence[AnswerResult]
    cpu: float = 0.0
    """CPU seconds of the server."""
    megabytes: float = 0.0

    @property
    def whole(self) -> list[AnswerResult]:
        return [result for result in self.results if not result.problem]

    def first_token(self) -> tuple[float, float]:
        """Return median and 95th percentile of the first token, in milliseconds."""
        p50, p95 = percentiles([result.first for result in self.whole])
        return 1e3 * p50, 1e3 * p95


@dataclass(frozen=True, slots=True)
class Row:
    """Medians of the runs with one number of streams. Times in milliseconds."""

    streams: int
    upstream: tuple[float, float]
    """First token, p50 and p95."""
    quire: tuple[float, float]
    ratios: tuple[float, float]
    gap: float
    cpu: float
    """CPU milliseconds per 1,000 tokens."""
    megabytes: float
    whole: int
    """Correct answers of both sides, in all runs."""
    problems: Counter[str]

    def markdown(self) -> str:
        times = [
            f"{alone:.0f} / {through:.0f} | {ratio:.2f}"
            for alone, through, ratio in zip(self.upstream, self.quire, self.ratios, strict=True)
        ]
        cells = [str(self.streams), *times, f"{self.gap:.0f}", f"{self.cpu:.0f}"]
        cells += [f"{self.megabytes:.0f}", str(self.whole), str(self.problems.total())]
        return f"| {' | '.join(cells)} |"


def summarize(streams: int, runs: Sequence[tuple[Run, Run]], script: Script) -> Row:
    """Compute medians of pairs of runs: the upstream alone, and through the server."""
    results = [result for pair in runs for run in pair for result in run.results]
    problems = Counter(result.problem for result in results if result.problem)
    runs = [pair for pair in runs if all(run.whole for run in pair)]
    if not runs:
        sys.exit(f"no run has a correct answer: {problems}")
    firsts = [(alone.first_token(), through.first_token()) for alone, through in runs]

    def median_of(side: int) -> tuple[float, float]:
        p50, p95 = (statistics.median(pair[side][which] for pair in firsts) for which in (0, 1))
        return p50, p95

    def ratio(which: int) -> float:
        return statistics.median(through[which] / alone[which] for alone, through in firsts)

    return Row(
        streams=streams,
        upstream=median_of(0),
        quire=median_of(1),
        ratios=(ratio(0), ratio(1)),
        gap=statistics.median(gap_p99(through) for _, through in runs),
        cpu=statistics.median(
            1e6 * through.cpu / (script.tokens * len(through.whole)) for _, through in runs
        ),
        megabytes=max(through.megabytes for _, through in runs),
        whole=len(results) - problems.total(),
        problems=problems,
    )


def gap_p99(run: Run) -> float:
    """Return the 99th percentile of the gaps in milliseconds."""
    gaps = sorted(gap for result in run.whole for gap in result.gaps)
    return 1e3 * gaps[int(0.99 * len(gaps))] if gaps else 0.0
