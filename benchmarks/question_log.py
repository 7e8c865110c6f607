"""Measure the question log with many entries: writing, size on disk, and response times.

    python -m benchmarks.question_log [FOLDER] [--entries 100000] [--readers 50] [--rounds 2]
        [--repeat 3] [--embedding 0.05] [--first-token 0.2] [--rate 50] [--tokens 200]

Indexes FOLDER (default: the handbook) and writes entries of the last 30 days about it through the
log itself: questions in six languages, all outcomes, passages of the book's headings, and vectors
for a third. Then the real server reads them over HTTP, `--repeat` times each:

    CPU, ms       median processor time of the server for a request without readers
    alone, ms     median and maximum of its duration
    busy, ms      the same while `--readers` clients ask and their questions are logged
    kB            length of the response

Finally, the time to the first token for readers: without the author, and while the author reads
everything without a pause, alternately. The clients, the scripted model server and the server
share the processors, as in benchmarks/load.py.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
import numpy as np

from benchmarks.load import (
    Bench,
    add_script_options,
    answered_questions,
    cpu_seconds,
    golden_texts,
    raised_file_limit,
    script_of,
    server_variables,
    unique_questions,
)
from benchmarks.load_figures import Run
from benchmarks.server import RunningServer, running_server
from benchmarks.upstream import Script, running_upstream
from lib.cli import integer_argument
from lib.contents import Page
from lib.ingest import IngestRequest
from lib.question_log import (
    FILE_NAME,
    LoggedPassage,
    LoggedQuestion,
    Outcome,
    QuestionLog,
    pack_vector,
)
from lib.ranking import join_headings
from lib.search import check_index
from lib.services import open_services
from lib.settings import load_settings

KEY: Final = "benchmark"
DAYS: Final = 30
DAY_MS: Final = 24 * 3_600_000
BATCH: Final = 1_000
TOPICS: Final = 200
"""Questions of a topic have similar vectors."""
ASKED: Final = {
    "english": "How do I set up {} on a small server?",
    "german": "Wie richte ich {} auf einem kleinen Server ein?",
    "french": "Comment configurer {} sur un petit serveur ?",
    "spanish": "¿Cómo configuro {} en un servidor pequeño?",
    "russian": "Как настроить {} на небольшом сервере?",
    "chinese": "如何在小型服务器上设置 {}？",
}
OUTCOMES: Final[dict[Outcome, int]] = {
    "answered": 70,
    "refused": 10,
    "declined": 8,
    "small_talk": 5,
    "left": 5,
    "failed": 2,
}
INTERFACES: Final = {"/chat": 80, "/mcp": 10, "/v1/chat/completions": 10}


@dataclass(frozen=True, slots=True)
class Book:
    """Data of the index that entries need."""

    places: Sequence[LoggedPassage]
    model: str
    dimension: int


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path("book_content"),
        help="book with golden questions; default: the handbook",
    )
    whole = integer_argument(1, 10_000_000)
    parser.add_argument("--entries", type=whole, default=100_000, help="entries of the log")
    parser.add_argument("--readers", type=whole, default=50, help="concurrent readers")
    parser.add_argument("--rounds", type=whole, default=2, help="questions per reader")
    parser.add_argument("--repeat", type=whole, default=3, help="times of everything")
    add_script_options(parser)
    options = parser.parse_args(arguments)
    script = script_of(options)
    with raised_file_limit():
        asyncio.run(measure(options, script))


async def measure(options: argparse.Namespace, script: Script) -> None:
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as scratch,
        ProcessPoolExecutor(1, mp_context=spawn) as pool,
        running_upstream(script) as upstream,
    ):
        pool.submit(os.getpid)  # start the process now, in parallel with the others
        variables = server_variables(options.folder, scratch, upstream, options.readers) | {
            "ADMIN_API_KEY": KEY,
            "QUESTION_LOG": f"{DAYS + 1}d",
            "MAX_LOG_MB": "10000",
        }
        book = await index_book(variables)
        await fill(Path(scratch) / FILE_NAME, book, options.entries)
        async with running_server(variables) as server:
            bench = Bench(pool, upstream, server, script)
            asked = count(1000)
            texts = await answered_questions(bench, golden_texts(options.folder), asked)
            await compare(options, bench, server, texts, asked, book, script)


async def index_book(variables: dict[str, str]) -> Book:
    """Index the book in this process, and read its headings."""
    async with open_services(load_settings(variables)) as services:
        await services.store.open()
        await services.ingestion.start(IngestRequest())
        await services.ingestion.wait()
        manifest = check_index(await services.store.manifest())
        contents = await services.contents.get(60.0)
        assert contents is not None
        places = [place for page in contents.pages for place in places_of(page)]
        return Book(places, manifest.embedding_model, manifest.dimension)


def places_of(page: Page) -> Iterator[LoggedPassage]:
    for at, heading in enumerate(page.flat):
        yield LoggedPassage(
            file_path=page.file_path,
            heading=join_headings(page.title, heading.text),
            url=heading.url,
            start_char=at * 700,
            end_char=at * 700 + 650,
            score=0.5,
            cited=False,
        )


async def fill(path: Path, book: Book, entries: int) -> None:
    """Write the entries, and print the time and the size."""
    log = QuestionLog(path, days=DAYS + 1, max_bytes=10_000_000_000)
    seconds = 0.0
    asked = make_entries(book, entries)
    for _ in range(0, entries, BATCH):
        batch = [each for _, each in zip(range(BATCH), asked, strict=False)]
        began = time.perf_counter()
        for each in batch:
            log.add(each)
        await log.flush()
        seconds += time.perf_counter() - began
    began = time.perf_counter()
    await log.close()
    seconds += time.perf_counter() - began
    size = sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*"))
    print(
        f"{entries:,} entries written in {seconds:.1f} s, {entries / seconds:,.0f} a second. "
        f"Lost: {log.lost}.\n"
        f"Size: {size / 1e6:.1f} MB, {size / entries:,.0f} bytes an entry.\n",
        flush=True,
    )


def make_entries(book: Book, entries: int) -> Iterator[LoggedQuestion]:
    """Entries of the last days, evenly spread. The same in each run."""
    chosen = random.Random(22)
    topics = np.random.default_rng(22).standard_normal((TOPICS, book.dimension))
    start = time.time_ns() // 1_000_000 - DAYS * DAY_MS
    for number in range(entries):
        language = chosen.choice([*ASKED])
        [outcome] = chosen.choices([*OUTCOMES], [*OUTCOMES.values()])
        [interface] = chosen.choices([*INTERFACES], [*INTERFACES.values()])
        about = chosen.choice(book.places)
        answered = outcome == "answered"
        places = [about, *chosen.choices(book.places, k=chosen.randint(0, 4))]
        found = [msgspec.structs.replace(place, cited=answered) for place in places]
        vector = b""
        if number % 3 == 0:
            noise = np.random.default_rng(number).standard_normal(book.dimension)
            vector = pack_vector((topics[number % TOPICS] + noise / 2).astype(np.float32))
        yield LoggedQuestion(
            asked_at=start + number * DAYS * DAY_MS // entries,
            answer=number + 1,
            conversation=f"{number // 3:011d}",
            question=ASKED[language].format(about.heading.rpartition(" > ")[2]),
            language=language,
            interface=interface,
            outcome=outcome,
            mode="generated" if answered else "none",
            stands_alone=number % 3 == 0,
            supported=4 * answered,
            unsupported=int(answered and number % 20 == 0),
            first_ms=chosen.randint(200, 3_000) if answered else None,
            total_ms=chosen.randint(3_000, 9_000),
            prompt_tokens=2_000,
            completion_tokens=200,
            embedding_tokens=12,
            cost_usd=0.001,
            passages=() if outcome == "small_talk" else tuple(found),
            vector=vector,
            vector_model=book.model if vector else "",
        )


def requests(book: Book, entries: int) -> dict[str, str]:
    """Paths that the author reads, by name."""
    answered = next(
        each.answer for each in make_entries(book, entries) if each.outcome == "answered"
    )
    return {
        "status": "/admin/status",
        "questions": "/admin/questions",
        "questions, last page": "/admin/questions?before=51",
        "questions, 200": "/admin/questions?limit=200",
        "questions, unanswered": "/admin/questions?unanswered=true",
        "questions, two words": "/admin/questions?q=small+server",
        "questions, no such word": "/admin/questions?q=small+harbour",
        "questions, a page": f"/admin/questions?path={book.places[0].file_path}",
        "conversation": f"/admin/conversations/{entries // 6:011d}",
        "golden line": f"/admin/questions/{answered}/golden",
        "activity, 30 days": "/admin/activity",
        "pages, 30 days": "/admin/pages",
        "gaps, 30 days": "/admin/gaps",
        "report, 7 days": "/admin/report?since=7d",
        "export, CSV": "/admin/export?format=csv",
        "export, JSON Lines": "/admin/export?format=jsonl",
    }


class Author:
    """Reads everything over HTTP and records the times."""

    def __init__(self, server: RunningServer, paths: dict[str, str]) -> None:
        self._server = server
        self._paths = paths
        self.cpu: dict[str, list[float]] = defaultdict(list)
        self.lengths: dict[str, int] = {}
        self.problems: dict[str, str] = {}

    async def read(self, http: aiohttp.ClientSession, seconds: dict[str, list[float]]) -> None:
        for name, path in self._paths.items():
            before, began = cpu_seconds(self._server.pid), time.perf_counter()
            async with http.get(self._server.address + path) as answer:
                content = await answer.read()
            seconds[name].append(time.perf_counter() - began)
            self.cpu[name].append(cpu_seconds(self._server.pid) - before)
            self.lengths[name] = len(content)
            if answer.status != 200:
                self.problems[name] = f"status {answer.status}"


async def compare(
    options: argparse.Namespace,
    bench: Bench,
    server: RunningServer,
    texts: Sequence[str],
    asked: "count[int]",
    book: Book,
    script: Script,
) -> None:
    """Measure the author alone, the readers alone, and both together."""
    author = Author(server, requests(book, options.entries))
    cpu: dict[str, list[float]] = defaultdict(list)
    alone: dict[str, list[float]] = defaultdict(list)
    busy: dict[str, list[float]] = defaultdict(list)
    runs: dict[str, list[Run]] = {"without the author": [], "with the author": []}
    number = options.readers * options.rounds
    timeout = aiohttp.ClientTimeout(total=600)
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:

        async def ask() -> Run:
            questions = unique_questions(texts, asked, number)
            return await bench.run("chat", questions, options.readers, script.answer_seconds)

        await author.read(http, defaultdict(list))  # opens files and loads modules
        for _ in range(options.repeat):
            author.cpu.clear()
            await author.read(http, alone)
            for name, seconds in author.cpu.items():
                cpu[name] += seconds
            runs["without the author"].append(await ask())
            asking = asyncio.ensure_future(ask())
            while not asking.done():
                await author.read(http, busy)
            runs["with the author"].append(await asking)
    print("| request | CPU, ms | alone, ms: median / max | busy, ms: median / max | kB |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in alone:
        cells = (
            name,
            f"{1e3 * statistics.median(cpu[name]):,.0f}",
            spread(alone[name]),
            spread(busy[name]),
            f"{author.lengths[name] / 1e3:,.0f}",
        )
        print("| " + " | ".join(cells) + f" | {author.problems.get(name, '')}".rstrip(" |") + " |")
    print(f"\n{options.readers} readers, {options.rounds} questions each, {options.repeat} runs.")
    print("\n| readers | first token p50 / p95 / p99, ms | gap p99, ms | whole | wrong |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, measured in runs.items():
        results = [each for run in measured for each in run.results]
        whole = [each for each in results if not each.problem]
        first = np.percentile([1e3 * each.first for each in whole], (50, 95, 99))
        gap = np.percentile([1e3 * gap for each in whole for gap in each.gaps], 99)
        print(
            f"| {name} | {' / '.join(f'{each:.0f}' for each in first)} | {gap:.0f} "
            f"| {len(whole)} | {len(results) - len(whole)} |",
            flush=True,
        )


def spread(seconds: Sequence[float]) -> str:
    return f"{1e3 * statistics.median(seconds):,.0f} / {1e3 * max(seconds):,.0f}"


if __name__ == "__main__":
    main()
