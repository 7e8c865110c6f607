"""Load test: latency with many concurrent streams, and the cost of relaying them.

    python -m benchmarks.load [FOLDER] [--streams 1,100,300] [--rounds 2] [--ramp SECONDS]
        [--repeat 5] [--embedding 0.05] [--first-token 0.2] [--rate 50] [--tokens 200]

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
"""

import argparse
import asyncio
import itertools
import multiprocessing
import os
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.load_clients import AnswerResult, Exchange, Plan, measure_answers, request
from benchmarks.load_figures import HEADER, Row, Run, summarize
from benchmarks.server import RunningServer, running_server
from benchmarks.upstream import Script, running_upstream
from lib.cli import integer_argument
from lib.golden import read_questions

QUESTIONS: Final = "questions.jsonl"
"""File with golden questions in the book's folder."""
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
TICK: Final = os.sysconf("SC_CLK_TCK")
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

    async def upstream(self, questions: Sequence[str], streams: int, ramp: float) -> Run:
        """Ask the upstream directly."""
        asked = [
            (
                request("/v1/embeddings", {"input": [question]}),
                request("/v1/chat/completions", {"messages": [], "stream": True}),
            )
            for question in questions
        ]
        return Run(await self._ask(self._port, asked, streams, ramp))

    async def quire(self, questions: Sequence[str], streams: int, ramp: float) -> Run:
        """Ask the server, and measure its CPU time and memory."""
        asked = [(request("/chat", {"question": question}),) for question in questions]
        before = cpu_seconds(self._server.pid)
        reading = asyncio.ensure_future(self._ask(self._server.port, asked, streams, ramp))
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
    scripted = Script()
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
    parser.add_argument("--embedding", type=float, default=scripted.embedding, help="seconds")
    parser.add_argument("--first-token", type=float, default=scripted.first_token, help="seconds")
    parser.add_argument("--rate", type=float, default=scripted.rate, help="tokens per second")
    parser.add_argument(
        "--tokens",
        type=integer_argument(2, 10_000),
        default=scripted.tokens,
        help="tokens per answer",
    )
    options = parser.parse_args(arguments)
    script = Script(options.embedding, options.first_token, options.rate, options.tokens)
    with raised_file_limit():
        rows = asyncio.run(measure(options, script))
    for row in rows:
        for problem, times in row.problems.most_common():
            print(f"{row.streams} streams: {times} wrong answers: {problem}", file=sys.stderr)


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


async def measure(options: argparse.Namespace, script: Script) -> list[Row]:
    """Measure and print one row per number of streams."""
    ramp = script.answer_seconds if options.ramp is None else options.ramp
    golden = read_questions([options.folder / QUESTIONS], options.folder)
    texts = [each.text for each in golden if each.answer and not each.history]
    count = itertools.count(1000)
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as scratch,
        ProcessPoolExecutor(1, mp_context=spawn) as pool,
        running_upstream(script) as upstream,
    ):
        pool.submit(os.getpid)  # start the process now, in parallel with the others
        variables = {
            "BOOK_CONTENT_PATH": str(options.folder),
            "SITE_URL": "https://book.example",
            "SITE_GENERATOR": "mkdocs",
            "QDRANT_PATH": scratch,
            "OPENAI_API_KEY": "benchmark",
            "OPENAI_BASE_URL": upstream,
            "ANSWER_CACHE_SIZE": "0",
            "RATE_LIMIT_ENABLED": "false",
            "MAX_CONCURRENT_ANSWERS": str(max(options.streams)),
        }
        async with running_server(variables) as server:
            bench = Bench(pool, upstream, server, script)
            texts = await answered_questions(bench, texts, count)
            print(
                f"Questions per client: {options.rounds}. Clients start over {ramp:.1f} s. "
                f"Medians of {options.repeat} runs.\n\n{HEADER}",
                flush=True,
            )
            rows = []
            for streams in options.streams:
                runs = []
                for _ in range(options.repeat):
                    asked = unique_questions(texts, count, streams * options.rounds)
                    alone = await bench.upstream(asked, streams, ramp)
                    runs.append((alone, await bench.quire(asked, streams, ramp)))
                rows.append(summarize(streams, runs, script))
                print(rows[-1].markdown(), flush=True)
    return rows


async def answered_questions(
    bench: Bench, texts: Sequence[str], count: "itertools.count[int]"
) -> list[str]:
    """Return the questions with a generated answer and two passages. Also warms up the server."""
    run = await bench.quire(unique_questions(texts, count, len(texts)), len(texts), 0.0)
    good = [text for text, result in zip(texts, run.results, strict=True) if not result.problem]
    if not good:
        sys.exit(f"no question was answered: {Counter(result.problem for result in run.results)}")
    return good


def unique_questions(texts: Sequence[str], count: "itertools.count[int]", number: int) -> list[str]:
    """Return `number` questions that were never asked before, so that no cache answers them."""
    return [f"{text} ({next(count)})" for text in itertools.islice(itertools.cycle(texts), number)]


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and its threads."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / TICK


def megabytes(pid: int) -> float:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6


if __name__ == "__main__":
    main()
