"""Measure the duration of an ingestion and the latency of /search meanwhile.

    python -m benchmarks.ingest [FOLDER] [--embedder api|local] [--runs 3]

Ingests FOLDER (default: the handbook) into a fresh index, then again without changes, then with one
file edited. With `api`, a scripted server in a separate process answers each embedding request
after 50 ms, so that the figures measure Quire and not a provider. Then the server is started and
receives one /search request every 50 ms, while idle and during an ingestion.
"""

import argparse
import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from benchmarks.server import running_server
from benchmarks.upstream import Script, running_upstream
from lib.book import Book, BookReader
from lib.documents import DocumentLimits, discover
from lib.indexing import IngestStatus
from lib.ingest import IngestRequest
from lib.services import Services, open_services
from lib.settings import Settings
from lib.sites.detection import detect_site

REQUEST_INTERVAL = 0.05  # seconds
QUESTION = "how is it configured"


async def ingest(services: Services) -> tuple[float, IngestStatus]:
    """Return the seconds from the request to the published index, and the status."""
    began = time.perf_counter()
    started = await services.ingestion.start(IngestRequest())
    await services.ingestion.wait()
    seconds = time.perf_counter() - began
    status = services.ingestion.status(started.task_id)
    if status.status != "completed":
        sys.exit(f"the ingestion failed: {status.error}")
    return seconds, status


def edit_one_file(folder: Path) -> None:
    file = max(folder.rglob("*.md*"), key=lambda path: path.stat().st_size)
    with file.open("a", encoding="utf-8") as out:
        out.write(f"\n\nA paragraph that was not there before, at {time.time_ns()}.\n")


async def measure_ingestion(settings: Settings, runs: int) -> None:
    rows: dict[str, list[float]] = {"first": [], "unchanged": [], "one file edited": []}
    for _ in range(runs):
        shutil.rmtree(settings.qdrant_path, ignore_errors=True)
        async with open_services(settings) as services:
            await services.embedder.load()
            for name, seconds in rows.items():
                if name == "one file edited":
                    edit_one_file(settings.book_content_path)
                taken, status = await ingest(services)
                seconds.append(taken)
                progress = status.progress
                print(
                    f"  {name:16} {taken:7.2f} s   {progress.total_files} files, "
                    f"{progress.chunks_created} chunks, {progress.chunks_embedded} embedded"
                )
    print("median: " + ", ".join(f"{k} {statistics.median(v):.2f} s" for k, v in rows.items()))


def measure_chunking(settings: Settings) -> None:
    folder = settings.book_content_path
    paths = discover(folder, DocumentLimits()).paths
    size = sum((folder / path).stat().st_size for path in paths)
    book = Book(folder, detect_site(folder), paths, DocumentLimits(), settings.chunk_tokens)
    began = time.perf_counter()
    batch = BookReader(book).read(paths)
    seconds = time.perf_counter() - began
    print(
        f"chunking alone: {size / 1e6:.2f} MB in {seconds:.2f} s, {size / 1e6 / seconds:.1f} MB/s, "
        f"{len(batch.chunks)} chunks"
    )


async def measure_search(settings: Settings) -> None:
    """Measure the latency of /search in a running server, idle and during an ingestion."""
    variables = {
        "QDRANT_PATH": str(settings.qdrant_path),
        "BOOK_CONTENT_PATH": str(settings.book_content_path),
        "OPENAI_API_KEY": settings.openai_api_key,
        "OPENAI_BASE_URL": settings.openai_base_url,
        "EMBEDDING_PROVIDER": settings.embeddings_from,
        "RATE_LIMIT_ENABLED": "false",
        "ADMIN_API_KEY": "benchmark",
    }
    admin = {"Authorization": "Bearer benchmark"}
    async with running_server(variables) as server:
        base = server.address
        async with aiohttp.ClientSession() as http:

            async def ask() -> float:
                began = time.perf_counter()
                async with http.post(f"{base}/search", json={"query": QUESTION, "k": 5}) as answer:
                    await answer.read()
                    if answer.status != 200:
                        sys.exit(f"/search returned status {answer.status}")
                return time.perf_counter() - began

            async def ask_while(going_on: Callable[[], Awaitable[bool]]) -> list[float]:
                taken = []
                while await going_on():
                    taken.append(await ask())
                    await asyncio.sleep(REQUEST_INTERVAL)
                return taken

            await ask()  # warm-up
            left = 100

            async def hundred() -> bool:
                nonlocal left
                left -= 1
                return left >= 0

            async def ingesting() -> bool:
                async with http.get(f"{base}/ingest/status") as answer:
                    return (await answer.json())["status"] not in ("completed", "failed")

            idle = await ask_while(hundred)
            body = {"force_reindex": True}
            async with http.post(f"{base}/ingest", json=body, headers=admin) as answer:
                await answer.read()
            busy = await ask_while(ingesting)
    for name, taken in (("idle", idle), ("during an ingestion", busy)):
        ordered = sorted(taken)
        print(
            f"/search {name:20} p50 {statistics.median(ordered) * 1e3:6.1f} ms, "
            f"p95 {ordered[int(len(ordered) * 0.95)] * 1e3:6.1f} ms, {len(ordered)} requests"
        )
    print(f"ratio of the medians: {statistics.median(busy) / statistics.median(idle):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path("book_content"),
        help="book; default: the handbook",
    )
    parser.add_argument(
        "--embedder", choices=("api", "local"), default="api", help="scripted API or local model"
    )
    parser.add_argument("--runs", type=int, default=3, help="number of runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, running_upstream(Script()) as base_url:
        book = Path(shutil.copytree(options.folder, Path(scratch) / "book"))
        settings = Settings(
            book_content_path=book,
            qdrant_path=Path(scratch) / "index",
            openai_api_key="benchmark",
            openai_base_url=base_url,
            embedding_provider="openai" if options.embedder == "api" else "local",
        )
        measure_chunking(settings)
        asyncio.run(measure_ingestion(settings, options.runs))
        asyncio.run(measure_search(settings))


if __name__ == "__main__":
    main()
