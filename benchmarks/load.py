"""Load test: latency with many concurrent streams, and the cost of relaying them.

    python -m benchmarks.load [FOLDER] [--streams 1,100,300] [--rounds 2] [--ramp SECONDS]
        [--repeat 5] [--embedding 0.05] [--first-token 0.2] [--rate 50] [--tokens 200]
        [--interface chat,completions,ui,ask,mcp]

Clients request an embedding and an answer directly from a scripted OpenAI-compatible upstream.
Alternately, they ask the same questions to the real server, which serves FOLDER (default: the
handbook) and uses the same upstream. Each row compares the two under the same conditions, so the
machine's load cancels out in the ratio. Upstream, clients and server are separate processes. With
two cores, upstream and clients take CPU time from the server.

`--streams` is the number of concurrent clients. Each asks `--rounds` questions in sequence. Clients
start evenly over `--ramp` seconds: the duration of an answer by default, 0 for a burst. No question
is repeated and the answer cache is off. Figures are medians of `--repeat` runs. Linux only, since
CPU and memory are read from /proc:

    first token   milliseconds from before the connection to the first text, p50 and p95
    gap           milliseconds between two reads with text, p99
    CPU           CPU milliseconds of the server per 1,000 tokens, including retrieval
    MB            maximum memory of the server
    whole, wrong  answers that match the script to the last word, and others

`--interface` compares the server's interfaces instead: each repetition runs the same load through
every one in turn. Differences and ratios are medians over the pairs with the first interface's run
of the same repetition.
"""

import argparse
import asyncio
import itertools
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.load_clients import AnswerResult, Plan, measure_answers
from benchmarks.load_figures import (
    COMPARISON_HEADER,
    HEADER,
    Comparison,
    Row,
    Run,
    compare_interfaces,
    summarize,
)
from benchmarks.load_interfaces import INTERFACES, UPSTREAM, Exchange
from benchmarks.server import RunningServer, running_server
from benchmarks.upstream import Script, running_upstream
from lib.cli import integer_argument
from lib.golden import read_questions

COMPARED: Final = [name for name in INTERFACES if name != UPSTREAM]
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
CPUCLOCK_SCHED: Final = 2
"""The process clock of a pid in Linux' clock ids."""
SAMPLE_SECONDS: Final = 0.2


class Bench:
    """Runs the clients against the upstream or the server."""

    def __init__(
        self, pool: ProcessPoolExecutor, upstream: str, server: RunningServer, script: Script
    ) -> None:
        self._pool = pool
        self._port = int(upstream.removesuffix("/v1").rpartition(":")[2])
        self._server = server
        self._answer = "".join(script.answer())

    async def run(self, interface: str, questions: Sequence[str], streams: int, ramp: float) -> Run:
        """Ask the upstream or the server, and measure the server's CPU time and memory."""
        asked = [INTERFACES[interface](question) for question in questions]
        port = self._port if interface == UPSTREAM else self._server.port
        before = cpu_seconds(self._server.pid)
        reading = asyncio.ensure_future(self._ask(port, asked, streams, ramp))
        peak = 0.0
        while not reading.done():
            peak = max(peak, megabytes(self._server.pid))
            await asyncio.wait((reading,), timeout=SAMPLE_SECONDS)
        return Run(await reading, cpu_seconds(self._server.pid) - before, peak)

    async def _ask(
        self, port: int, asked: Sequence[Exchange], clients: int, ramp: float
    ) -> list[AnswerResult]:
        plan = Plan(port, asked, clients, ramp, self._answer)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, measure_answers, plan)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path("book_content"),
        help="book with golden questions; default: the handbook",
    )
    parser.add_argument(
        "--streams",
        type=numbers,
        default=[1, 100, 300],
        metavar="N,N",
        help="numbers of concurrent streams",
    )
    parser.add_argument(
        "--rounds", type=integer_argument(1, 1000), default=2, help="questions per client"
    )
    parser.add_argument("--ramp", type=float, help="seconds; 0 for a burst")
    parser.add_argument("--repeat", type=integer_argument(1, 1000), default=5, help="runs per row")
    add_script_options(parser)
    parser.add_argument(
        "--interface",
        type=interfaces,
        default=[],
        metavar="NAME,NAME",
        help=f"interfaces to compare: {', '.join(COMPARED)}",
    )
    options = parser.parse_args(arguments)
    script = script_of(options)
    with raised_file_limit():
        rows = asyncio.run(measure(options, script))
    for row in rows:
        for problem, times in row.problems.most_common():
            print(f"{row.label}: {times} wrong answers: {problem}", file=sys.stderr)


def add_script_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the scripted model server, for `script_of`."""
    scripted = Script()
    parser.add_argument("--embedding", type=float, default=scripted.embedding, help="seconds")
    parser.add_argument("--first-token", type=float, default=scripted.first_token, help="seconds")
    parser.add_argument("--rate", type=float, default=scripted.rate, help="tokens per second")
    parser.add_argument(
        "--tokens",
        type=integer_argument(2, 10_000),
        default=scripted.tokens,
        help="tokens per answer",
    )


def script_of(options: argparse.Namespace) -> Script:
    return Script(options.embedding, options.first_token, options.rate, options.tokens)


def interfaces(given: str) -> list[str]:
    """Parse the value of `--interface`."""
    names = given.split(",")
    if unknown := set(names) - set(COMPARED):
        raise argparse.ArgumentTypeError(f"unknown interfaces: {', '.join(sorted(unknown))}")
    return names


def numbers(given: str) -> list[int]:
    """Parse the value of `--streams`."""
    return [integer_argument(1, 10_000)(each) for each in given.split(",")]


@contextmanager
def raised_file_limit() -> Iterator[None]:
    """Raise the limit of open files to its maximum. The server needs two files per stream."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def measure(options: argparse.Namespace, script: Script) -> list[Row | Comparison]:
    """Measure and print one row per number of streams, and per interface if they are compared."""
    ramp = script.answer_seconds if options.ramp is None else options.ramp
    texts = golden_texts(options.folder)
    count = itertools.count(1000)
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as scratch,
        ProcessPoolExecutor(1, mp_context=spawn) as pool,
        running_upstream(script) as upstream,
    ):
        pool.submit(os.getpid)  # start the process now, in parallel with the others
        variables = server_variables(options.folder, scratch, upstream, max(options.streams))
        async with running_server(variables) as server:
            bench = Bench(pool, upstream, server, script)
            texts = await answered_questions(bench, texts, count)
            print(
                f"Questions per client: {options.rounds}. Clients start over {ramp:.1f} s. "
                f"Medians of {options.repeat} runs.\n\n"
                f"{COMPARISON_HEADER if options.interface else HEADER}",
                flush=True,
            )
            rows: list[Row | Comparison] = []
            sides = options.interface or [UPSTREAM, "chat"]
            for streams in options.streams:
                asked = streams * options.rounds
                runs = [
                    [
                        await bench.run(side, unique_questions(texts, count, asked), streams, ramp)
                        for side in sides
                    ]
                    for _ in range(options.repeat)
                ]
                measured: Sequence[Row | Comparison]
                if options.interface:
                    measured = compare_interfaces(streams, sides, runs, script)
                else:
                    measured = [summarize(streams, runs, script)]
                for row in measured:
                    print(row.markdown(), flush=True)
                rows += measured
    return rows


def golden_texts(folder: Path) -> list[str]:
    """The questions of `questions.jsonl` in the book's folder that it answers by themselves."""
    golden = read_questions([folder / "questions.jsonl"], folder)
    return [each.text for each in golden if each.answer and not each.history]


def server_variables(
    folder: Path, index: Path | str, upstream: str, streams: int
) -> dict[str, str]:
    """The settings of a server that has no limits and generates every answer."""
    return {
        "BOOK_CONTENT_PATH": str(folder),
        "SITE_URL": "https://book.example",
        "SITE_GENERATOR": "mkdocs",
        "QDRANT_PATH": str(index),
        "OPENAI_API_KEY": "benchmark",
        "OPENAI_BASE_URL": upstream,
        "ANSWER_CACHE_SIZE": "0",
        "RATE_LIMIT_ENABLED": "false",
        "MAX_CONCURRENT_ANSWERS": str(streams),
    }


async def answered_questions(
    bench: Bench, texts: Sequence[str], count: "itertools.count[int]"
) -> list[str]:
    """Return the questions with a generated answer and two passages. Also warms up the server."""
    run = await bench.run("chat", unique_questions(texts, count, len(texts)), len(texts), 0.0)
    good = [text for text, result in zip(texts, run.results, strict=True) if not result.problem]
    if not good:
        sys.exit(f"no question was answered: {Counter(result.problem for result in run.results)}")
    return good


def unique_questions(texts: Sequence[str], count: "itertools.count[int]", number: int) -> list[str]:
    """Return `number` questions that were never asked before, so that no cache answers them."""
    return [f"{text} ({next(count)})" for text in itertools.islice(itertools.cycle(texts), number)]


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and its threads, in nanosecond resolution, unlike /proc."""
    return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)


def megabytes(pid: int) -> float:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6


if __name__ == "__main__":
    main()
