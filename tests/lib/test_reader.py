"""The reading process, and what a page can do to it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import lib.reader
from lib.errors import QuireError
from lib.ingest import IngestRequest
from lib.reader import Reader, open_reader
from lib.services import Services, open_services
from lib.settings import Settings
from lib.store import all_urls
from lib.worker import Open
from tests.ingesting import FILES, ingest_settings, run
from tests.tiny_book import write_book
from tests.upstream import Upstream

pytestmark = pytest.mark.usefixtures("reading_process")


@pytest.fixture
def settings(tmp_path: Path, upstream: Upstream) -> Settings:
    return ingest_settings(tmp_path, upstream)


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[Services]:
    async with open_services(settings) as opened:
        yield opened


@pytest.fixture
def bad_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lib.reader, "_MODULE", "tests.bad_worker")


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[Reader]:
    """The readers that are opened during the test."""
    opened: list[Reader] = []

    class Remembered(Reader):
        def __init__(self, request: Open) -> None:
            super().__init__(request)
            opened.append(self)

    monkeypatch.setattr(lib.reader, "Reader", Remembered)
    return opened


def process_of(reader: Reader) -> int:
    assert reader._connection
    return reader._connection.process.pid


async def ingest_bad_pages(services: Services, folder: Path, words: dict[str, str]) -> None:
    """Ingest pages that break the process; each is one error."""
    pages = {f"page-2-{word}.md": reason for word, reason in words.items()}
    write_book(folder, {f"page-2-{word}.md": f"# Bad\n\n{word}\n" for word in words})
    status = await run(services)
    assert status.status == "completed"
    assert status.progress.errors == [f"{path}: {reason}" for path, reason in pages.items()]
    assert status.progress.files_processed == len(FILES) + len(words)
    assert (await services.store.ledger()).keys() == FILES.keys()


@pytest.mark.processes
async def test_a_page_that_breaks_the_process_is_one_error(
    services: Services, settings: Settings, bad_worker: None, caplog: pytest.LogCaptureFixture
) -> None:
    words = {
        "EAT": "reading takes more than 384 MB of memory",
        "RAISE": "the file cannot be read (ZeroDivisionError)",
        "SEGFAULT": "reading ended with SIGSEGV",
    }
    await ingest_bad_pages(services, settings.book_content_path, words)
    assert len([each for each in caplog.records if each.name == "lib.reader"]) == 3


@pytest.mark.processes
async def test_a_page_that_hangs_is_one_error(
    services: Services, settings: Settings, bad_worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.reader, "_STEP_SECONDS", 5.0)
    words = {
        "SLEEP": "reading takes more than 5 seconds",
        "SPIN": "reading takes more than 20 seconds of processor time",
        "STOP": "reading takes more than 5 seconds",
    }
    await ingest_bad_pages(services, settings.book_content_path, words)


@pytest.mark.processes
async def test_a_configuration_that_breaks_the_process_is_not_used(
    services: Services, settings: Settings, bad_worker: None
) -> None:
    write_book(settings.book_content_path, {"mkdocs.yml": "SEGFAULT"})
    status = await run(services)
    assert status.status == "completed"
    assert status.progress.errors == [
        "The site's configuration cannot be read: reading ended with SIGSEGV."
    ]
    assert await all_urls(services.store) == set()


async def test_a_process_that_cannot_start_fails_the_ingestion(
    services: Services, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lib.reader, "_MODULE", "tests.no_such_module")
    status = await run(services)
    assert status.error == (
        "The book cannot be read: reading ended with exit code 1. See the server log."
    )
    assert "No module named tests.no_such_module" in caplog.text
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    status = await run(services)
    assert status.error == "The reading process cannot be started: No such file or directory."


@pytest.mark.parametrize("kills", [1, pytest.param(9, marks=pytest.mark.processes)])
async def test_a_killed_process_loses_nothing(settings: Settings, kills: int) -> None:
    pages = {f"{number:02}.md": f"# Page {number}\n\nText.\n" for number in range(60)}
    folder = write_book(settings.book_content_path, pages)
    async with open_reader(settings, folder) as reader:
        os.kill(process_of(reader), signal.SIGKILL)
        plan = await reader.survey({})
        read = []
        async for page in reader.read(plan.changed):
            read.append(page.path)
            assert page.record
            assert not page.errors
            if len(read) in range(5, 5 + 7 * kills, 7):
                os.kill(process_of(reader), signal.SIGKILL)
    assert read == sorted(FILES.keys() | pages.keys())


async def test_a_process_is_limited_and_ends_with_the_server(settings: Settings) -> None:
    async with open_reader(settings, settings.book_content_path) as reader:
        process = Path("/proc", str(process_of(reader)))
        environment = (process / "environ").read_bytes()
        names = [each.split(b"=")[0] for each in environment.rstrip(b"\0").split(b"\0")]
        assert names == [b"PYTHONPATH", b"TMPDIR"]
        assert (process / "oom_score_adj").read_text() == "1000\n"
        assert (process / "stat").read_text().split()[18] == str(min(19, os.nice(0) + 10))
        assert "onnxruntime" not in (maps := (process / "maps").read_text())
        assert "numpy" not in maps
        assert reader._connection
        reader._connection.writer.close()
        assert await reader._connection.process.wait() == 0


async def test_stopping_an_ingestion_ends_its_process(
    services: Services, upstream: Upstream, readers: list[Reader]
) -> None:
    upstream.embedding_gate = asyncio.Event()
    await services.ingestion.start(IngestRequest())
    process = process_of(readers[0])
    await upstream.until(lambda u: bool(u.embedded()))
    stopping = asyncio.create_task(services.ingestion.cancel(None))
    upstream.embedding_gate.set()
    await stopping
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


@pytest.mark.processes
async def test_too_many_broken_pages_fail_the_ingestion(
    settings: Settings, bad_worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.reader, "_MAX_LOST", 1)
    write_book(settings.book_content_path, {"a.md": "# A\n\nSEGFAULT\n"})
    with pytest.raises(QuireError, match=r"^More than 1 pages cannot be read. Last, a.md: "):
        async with open_reader(settings, settings.book_content_path) as reader:
            [page async for page in reader.read(reader.book.paths)]
