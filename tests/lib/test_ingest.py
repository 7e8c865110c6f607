import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

import lib.ingest
from lib.errors import InvalidRequest, NotFound
from lib.ingest import IngestRequest
from lib.services import Services, open_services
from lib.settings import Settings
from tests.ingesting import ingest_settings, run
from tests.tiny_book import write_book
from tests.upstream import Upstream


@pytest.fixture
def settings(tmp_path: Path, upstream: Upstream) -> Settings:
    return ingest_settings(tmp_path, upstream)


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[Services]:
    async with open_services(settings) as opened:
        yield opened


@pytest.fixture
def folder(settings: Settings) -> Path:
    return settings.book_content_path


async def test_stopping_leaves_the_index(
    services: Services, upstream: Upstream, folder: Path
) -> None:
    await run(services)
    before = await services.store.manifest()
    write_book(folder, {"new.md": "# New\n\nText.\n"})
    upstream.embedding_gate = asyncio.Event()
    started = await services.ingestion.start(IngestRequest())
    await upstream.until(lambda u: "New" in str(u.embedded()[-1]))
    stopping = asyncio.create_task(services.ingestion.cancel(started.task_id))
    await asyncio.sleep(0)
    upstream.embedding_gate.set()
    status = await stopping
    assert status.status == "failed"
    assert status.error is not None
    assert "stopped" in status.error
    assert await services.store.manifest() == before
    assert (await run(services)).status == "completed"


async def test_closing_the_services_ends_a_run(settings: Settings, upstream: Upstream) -> None:
    upstream.embedding_gate = asyncio.Event()
    async with open_services(settings) as services:
        await services.ingestion.start(IngestRequest())
        await upstream.until(lambda u: bool(u.embedded()))
        upstream.embedding_gate.set()
        ingestion = services.ingestion
    assert ingestion.latest is not None
    assert not ingestion.latest.running


async def test_a_preview_does_nothing(services: Services, upstream: Upstream, folder: Path) -> None:
    await run(services)
    before, asked = await services.store.manifest(), len(upstream.requests)
    write_book(folder, {"new.md": "# New\n\nText.\n", "page-1.md": "# Other\n\nText.\n"})
    (folder / "page-0.md").unlink()
    preview = await services.ingestion.preview(IngestRequest())
    assert set(preview.files_changed) >= {"new.md", "page-1.md"}
    assert preview.files_removed == ["page-0.md"]
    assert preview.chunks >= 2
    assert preview.tokens > 0
    assert await services.store.manifest() == before
    assert len(upstream.requests) == asked


async def test_a_hostile_configuration_is_one_line_and_the_book_is_read(
    services: Services, folder: Path
) -> None:
    bomb = "".join(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(40))
    files = {"mkdocs.yml": f"a0: &a0 [x]\n{bomb}", ".quireignore": "[z-a]\n" + "*a" * 2_000 + "b"}
    write_book(folder, files)
    status = await run(services)
    assert status.status == "completed"
    lines = status.progress.errors
    assert [line.split(":")[0] for line in lines] == ["mkdocs.yml", ".quireignore"]
    assert status.progress.files_processed == status.progress.total_files > 0


async def test_only_the_last_tasks_are_remembered(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.ingest, "_MAX_REMEMBERED_TASKS", 2)
    ids = [(await run(services)).task_id for _ in range(4)]
    for forgotten in ids[:2]:
        with pytest.raises(NotFound):
            services.ingestion.status(forgotten)
    assert services.ingestion.status(ids[2]).task_id == ids[2]
    assert services.ingestion.status(None).task_id == ids[3]


async def test_a_missing_content_folder_names_its_setting(
    settings: Settings, tmp_path: Path
) -> None:
    async with open_services(replace(settings, book_content_path=tmp_path / "no")) as services:
        with pytest.raises(InvalidRequest, match="BOOK_CONTENT_PATH") as caught:
            await services.ingestion.start(IngestRequest())
        assert str(tmp_path) not in caught.value.message


async def test_an_error_of_the_program_ends_the_task_and_not_the_server(
    services: Services, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(lib.ingest, "index_book", broken)
    status = await run(services)
    assert status.status == "failed"
    assert "secret detail" not in str(status)
    assert "ZeroDivisionError" in caplog.text
