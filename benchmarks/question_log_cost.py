"""Cost of the question log for readers: servers with and without it, side by side.

    python -m benchmarks.question_log_cost [FOLDER] [--streams 1,100] [--entries 0,100000]
        [--rounds 2] [--repeat 5] [--embedding 0.05] [--first-token 0.2] [--rate 50] [--tokens 200]

One server keeps no log. The others keep one that has `--entries` already, of the last 30 days. All
run at the same time, and clients ask them in turn, in an order that changes with each repetition,
so the machine's load cancels out in the differences. See benchmarks/load.py for the clients, the
scripted model server and the options. The table has, for each number of streams and each log:

    first token   milliseconds, p50 and p99 of all answers
    difference    to the server without a log: median over the repetitions
    CPU           CPU milliseconds of the server per answer
    logged        entries that the answers left in the log

First, the time that `QuestionLog.add` takes on the event loop, while the thread writes.
"""

import argparse
import asyncio
import multiprocessing
import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.load import (
    Bench,
    add_script_options,
    answered_questions,
    golden_texts,
    numbers,
    raised_file_limit,
    script_of,
    server_variables,
    unique_questions,
)
from benchmarks.load_figures import Run
from benchmarks.question_log import DAYS, Book, fill, index_book, make_entries
from benchmarks.server import running_server
from benchmarks.upstream import Script, running_upstream
from lib.cli import integer_argument
from lib.question_log import FILE_NAME, QuestionLog

ADDED: Final = 20_000
PAUSE: Final = 0.0005
"""Seconds between two entries, so that the thread keeps up."""
WRITTEN_SECONDS: Final = 2.0
"""After this time, the servers have written their last entries."""


@dataclass(slots=True)
class Side:
    """A server and its runs with one number of streams."""

    name: str
    bench: Bench
    log: Path | None
    runs: list[Run] = field(default_factory=list)

    def logged(self) -> int:
        if self.log is None:
            return 0
        with closing(sqlite3.connect(self.log)) as connection:
            return int(connection.execute("SELECT count(*) FROM questions").fetchone()[0])


def main(arguments: Sequence[str] | None = None) -> None:
    whole = integer_argument(1, 10_000)
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("book_content"))
    parser.add_argument("--streams", type=numbers, default=[1, 100], metavar="N,N")
    parser.add_argument("--entries", type=_entries, default=[0, 100_000], metavar="N,N")
    parser.add_argument("--rounds", type=whole, default=2, help="questions per client")
    parser.add_argument("--repeat", type=whole, default=5, help="runs per row")
    add_script_options(parser)
    options = parser.parse_args(arguments)
    script = script_of(options)
    with raised_file_limit():
        asyncio.run(measure(options, script))


def _entries(given: str) -> list[int]:
    return [integer_argument(0, 10_000_000)(each) for each in given.split(",")]


async def measure(options: argparse.Namespace, script: Script) -> None:
    spawn = multiprocessing.get_context("spawn")
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pool = stack.enter_context(ProcessPoolExecutor(1, mp_context=spawn))
        upstream = stack.enter_context(running_upstream(script))
        pool.submit(os.getpid)  # start the process now, in parallel with the others
        streams = max(options.streams)
        variables = server_variables(options.folder, scratch / "off", upstream, streams) | {
            "MAX_LOG_MB": "10000"
        }
        book = await index_book(variables)
        await measure_add(scratch / "add" / FILE_NAME, book)
        sides = []
        for entries in (None, *options.entries):
            own = variables
            if entries is not None:
                folder = scratch / str(entries)
                shutil.copytree(scratch / "off", folder)
                own = variables | {"QDRANT_PATH": str(folder), "QUESTION_LOG": f"{DAYS + 1}d"}
                if entries:
                    await fill(folder / FILE_NAME, book, entries)
            server = await stack.enter_async_context(running_server(own))
            name = "off" if entries is None else f"{entries:,} entries"
            log = None if entries is None else Path(own["QDRANT_PATH"]) / FILE_NAME
            sides.append(Side(name, Bench(pool, upstream, server, script), log))
        await compare(options, script, sides, golden_texts(options.folder))


async def measure_add(path: Path, book: Book) -> None:
    """Print how long `QuestionLog.add` holds the event loop."""
    log = QuestionLog(path, days=DAYS + 1, max_bytes=10_000_000_000)
    seconds = []
    for entry in list(make_entries(book, ADDED)):
        began = time.perf_counter()
        log.add(entry)
        seconds.append(time.perf_counter() - began)
        await asyncio.sleep(PAUSE)
    await log.close()
    shown = " / ".join(f"{each:.1f}" for each in np.percentile(seconds, (50, 99, 99.9)) * 1e6)
    print(f"QuestionLog.add: {shown} µs (p50 / p99 / p99.9 of {ADDED:,}). Lost: {log.lost}.\n")


async def compare(
    options: argparse.Namespace, script: Script, sides: Sequence[Side], texts: Sequence[str]
) -> None:
    asked = count(1000)
    for side in sides:  # also warms up the server
        texts = await answered_questions(side.bench, texts, asked)
    print(
        f"Questions per client: {options.rounds}. {options.repeat} runs.\n\n"
        "| streams | log | first token p50, ms | difference | p99, ms | difference "
        "| CPU, ms per answer | difference | whole | wrong | logged |\n"
        "| ---: | --- |" + " ---: |" * 9,
        flush=True,
    )
    for streams in options.streams:
        await asyncio.sleep(WRITTEN_SECONDS)
        before = [side.logged() for side in sides]
        for side in sides:
            side.runs.clear()
        for turn in range(options.repeat):
            first = turn % len(sides)
            for side in (*sides[first:], *sides[:first]):
                questions = unique_questions(texts, asked, streams * options.rounds)
                side.runs.append(
                    await side.bench.run("chat", questions, streams, script.answer_seconds)
                )
        await asyncio.sleep(WRITTEN_SECONDS)
        for side, known in zip(sides, before, strict=True):
            print(row(streams, side, sides[0], side.logged() - known), flush=True)


def row(streams: int, side: Side, without: Side, logged: int) -> str:
    """A row of the table."""
    pairs = list(zip(figures(side), figures(without), strict=True))
    results = [result for run in side.runs for result in run.results]
    whole = [result.first for result in results if not result.problem]
    if not whole:
        sys.exit(f"no correct answer: {results[0].problem}")
    p50, p99 = 1e3 * np.percentile(whole, (50, 99))
    cpu = statistics.median(each[2] for each, _ in pairs)
    later = [statistics.median(a[which] - b[which] for a, b in pairs) for which in range(3)]
    cells = [str(streams), side.name, f"{p50:.0f}", f"{later[0]:+.1f}", f"{p99:.0f}"]
    cells += [f"{later[1]:+.1f}", f"{cpu:.1f}", f"{later[2]:+.2f}"]
    cells += [str(len(whole)), str(len(results) - len(whole)), str(logged)]
    return f"| {' | '.join(cells)} |"


def figures(side: Side) -> list[tuple[float, float, float]]:
    """Of each run: p50 and p99 of the first token, and CPU per answer, in milliseconds."""
    found = []
    for run in side.runs:
        p50, p99 = 1e3 * np.percentile([each.first for each in run.whole], (50, 99))
        found.append((float(p50), float(p99), 1e3 * run.cpu / len(run.whole)))
    return found


if __name__ == "__main__":
    main()
