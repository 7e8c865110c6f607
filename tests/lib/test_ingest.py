import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

import lib.ingest
from lib.errors import InvalidRequest, NotFound
from lib.ingest import IngestRequest
from lib.services import Services, open_services, warm_up
from lib.settings import Settings
from lib.store import all_urls
from tests.ingesting import ingest_settings, run
from tests.static_site import Reply, StaticSite, local_network, running_site
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


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StaticSite]:
    """A published site, which may be read although it is on this machine."""
    monkeypatch.setattr("lib.crawl._Network", local_network)
    async with running_site() as running:
        running.list("/docs/", "/docs/a/", "/docs/b", at="/docs/sitemap.xml")
        text = "<title>{0}</title><main><h1>{0}</h1><h2 id=more>More</h2><p>About {0}.</p></main>"
        for path, name in (("/docs/", "Home"), ("/docs/a/", "Tides"), ("/docs/b", "Moon")):
            running.replies[path] = Reply(text.format(name).encode())
        yield running


async def test_a_site_is_read_from_the_web(
    services: Services, settings: Settings, site: StaticSite
) -> None:
    url = f"{site.origin}/docs/sitemap.xml"
    status = await run(services, url=url)
    assert (status.status, status.progress.errors) == ("completed", [])
    assert status.progress.pages_fetched == status.progress.total_files == 3
    manifest = await services.store.manifest()
    assert manifest is not None
    assert manifest.origin == url
    assert (manifest.site_url, manifest.base_url) == (site.origin, "/docs/")
    urls = await all_urls(services.store)
    pages = [f"{site.origin}/docs/", f"{site.origin}/docs/a/", f"{site.origin}/docs/b"]
    assert urls == {f"{page}#more" for page in pages}
    # a page that is gone
    site.list("/docs/", "/docs/a/", at="/docs/sitemap.xml")
    assert (await run(services, url=url)).progress.files_removed == 1
    # another book: its own folder
    assert (await run(services)).status == "completed"
    manifest = await services.store.manifest()
    assert manifest is not None
    assert manifest.origin == ""
    assert list(settings.crawled_content.iterdir()) == []


async def test_a_site_stays_published_after_a_restart(settings: Settings, site: StaticSite) -> None:
    url = f"{site.origin}/docs/sitemap.xml"
    async with open_services(settings) as services:
        await run(services, url=url)
    site.requests.clear()
    async with open_services(settings) as services:
        await warm_up(services)
        assert services.ingestion.latest is None
    async with open_services(replace(settings, chunk_tokens=100)) as services:
        await warm_up(services)
        await services.ingestion.wait()
        manifest = await services.store.manifest()
        assert manifest is not None
        assert (manifest.origin, manifest.documents) == (url, 3)
        assert manifest.settings["CHUNK_TOKENS"] == "100"
    assert site.requests == []


async def test_an_index_that_is_lost_is_built_from_the_copy(
    settings: Settings, site: StaticSite
) -> None:
    url = f"{site.origin}/docs/sitemap.xml"
    async with open_services(settings) as services:
        await run(services, url=url)
    site.requests.clear()
    for path in (settings.qdrant_path / settings.qdrant_collection).iterdir():
        if path != settings.crawled_content:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    async with open_services(settings) as services:
        await warm_up(services)
        await services.ingestion.wait()
        manifest = await services.store.manifest()
        assert manifest is not None
        assert (manifest.origin, manifest.documents) == (url, 3)
    assert site.requests == []


async def test_a_copy_that_is_gone_leaves_the_index(settings: Settings, site: StaticSite) -> None:
    async with open_services(settings) as services:
        await run(services, url=f"{site.origin}/docs/")
    shutil.rmtree(settings.crawled_content)
    async with open_services(replace(settings, chunk_tokens=100)) as services:
        await warm_up(services)
        await services.ingestion.wait()
        assert "copy of http" in str(services.ingestion.status(None).error)
        manifest = await services.store.manifest()
        assert manifest is not None
        assert manifest.documents == 3


async def test_reading_a_site_can_be_stopped(services: Services, site: StaticSite) -> None:
    await run(services)
    before = await services.store.manifest()
    asked = asyncio.Event()

    def hang(_: object) -> Reply:
        asked.set()
        return Reply(b"x", hangs=True)

    site.replies["/docs/b"] = hang
    started = await services.ingestion.start(IngestRequest(url=f"{site.origin}/docs/"))
    assert (started.status, started.estimated_files) == ("started", 0)
    assert started.message == f"Reading {site.origin}/docs/."
    async with asyncio.timeout(10):
        await asked.wait()
    status = await services.ingestion.cancel(started.task_id)
    assert status.error == "The ingestion was stopped. The old index stays in use."
    assert await services.store.manifest() == before


async def test_a_preview_of_a_site(services: Services, site: StaticSite) -> None:
    preview = await services.ingestion.preview(IngestRequest(url=f"{site.origin}/docs/"))
    assert preview.files_changed == ["a/index.html", "b.html", "index.html"]
    assert await services.store.manifest() is None
