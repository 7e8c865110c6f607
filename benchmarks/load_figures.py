"""Summarize load test runs: medians, and one table row per number of streams."""

import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.load_clients import AnswerResult
from benchmarks.upstream import Script
from lib.evaluation_report import percentiles

HEADER: Final = (
    "| streams | first token p50, ms: upstream / Quire | ratio | p95, ms: upstream / Quire | ratio "
    "| gap p99, ms | CPU, ms per 1,000 tokens | MB | whole | wrong |\n"
    "| ---: |" + " ---: |" * 9
)
COMPARISON_HEADER: Final = (
    "| streams | interface | first token p50, ms | difference | p95, ms | difference "
    "| CPU, ms per 1,000 tokens | ratio | whole | wrong |\n"
    "| ---: | --- |" + " ---: |" * 8
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

    def cpu_per_thousand(self, script: Script) -> float:
        """Return the server's CPU milliseconds per 1,000 tokens."""
        return 1e6 * self.cpu / (script.tokens * len(self.whole))


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

    @property
    def label(self) -> str:
        return f"{self.streams} streams"

    def markdown(self) -> str:
        times = [
            f"{alone:.0f} / {through:.0f} | {ratio:.2f}"
            for alone, through, ratio in zip(self.upstream, self.quire, self.ratios, strict=True)
        ]
        cells = [str(self.streams), *times, f"{self.gap:.0f}", f"{self.cpu:.0f}"]
        cells += [f"{self.megabytes:.0f}", str(self.whole), str(self.problems.total())]
        return f"| {' | '.join(cells)} |"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Medians of the runs of one interface, and over their pairs with the first interface's."""

    streams: int
    interface: str
    first_token: tuple[float, float]
    """Milliseconds, p50 and p95."""
    later: tuple[float, float]
    """Milliseconds after the first interface's, p50 and p95."""
    cpu: float
    """CPU milliseconds per 1,000 tokens."""
    cpu_ratio: float
    whole: int
    problems: Counter[str]

    @property
    def label(self) -> str:
        return f"{self.streams} streams, {self.interface}"

    def markdown(self) -> str:
        times = [
            f"{time:.0f} | {later:+.1f}"
            for time, later in zip(self.first_token, self.later, strict=True)
        ]
        cells = [str(self.streams), self.interface, *times, f"{self.cpu:.0f}"]
        cells += [f"{self.cpu_ratio:.2f}", str(self.whole), str(self.problems.total())]
        return f"| {' | '.join(cells)} |"


def summarize(streams: int, runs: Sequence[Sequence[Run]], script: Script) -> Row:
    """Compute medians of pairs of runs: the upstream alone, and through the server."""
    problems = _problems(run for pair in runs for run in pair)
    answers = sum(len(run.results) for pair in runs for run in pair)
    runs = _useful(runs)
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
        cpu=statistics.median(through.cpu_per_thousand(script) for _, through in runs),
        megabytes=max(through.megabytes for _, through in runs),
        whole=answers - problems.total(),
        problems=problems,
    )


def compare_interfaces(
    streams: int, interfaces: Sequence[str], runs: Sequence[Sequence[Run]], script: Script
) -> list[Comparison]:
    """Compute one row per interface. Each of `runs` has one run per interface."""
    useful = _useful(runs)
    first = np.array([[run.first_token() for run in each] for each in useful])
    cpu = np.array([[run.cpu_per_thousand(script) for run in each] for each in useful])
    times = [np.median(each, axis=0) for each in (first, first - first[:, :1])]
    costs = [np.median(each, axis=0) for each in (cpu, cpu / cpu[:, :1])]
    rows = []
    for place, interface in enumerate(interfaces):
        own = [each[place] for each in runs]
        rows.append(
            Comparison(
                streams=streams,
                interface=interface,
                first_token=times[0][place],
                later=times[1][place],
                cpu=costs[0][place],
                cpu_ratio=costs[1][place],
                whole=sum(len(run.whole) for run in own),
                problems=_problems(own),
            )
        )
    return rows


def _problems(runs: Iterable[Run]) -> Counter[str]:
    return Counter(result.problem for run in runs for result in run.results if result.problem)


def _useful(runs: Sequence[Sequence[Run]]) -> list[Sequence[Run]]:
    """Return the repetitions with a correct answer in every run. Exits without any."""
    useful = [each for each in runs if all(run.whole for run in each)]
    if not useful:
        sys.exit(f"no run has a correct answer: {_problems(run for each in runs for run in each)}")
    return useful


def gap_p99(run: Run) -> float:
    """Return the 99th percentile of the gaps in milliseconds."""
    gaps = sorted(gap for result in run.whole for gap in result.gaps)
    return 1e3 * gaps[int(0.99 * len(gaps))] if gaps else 0.0
