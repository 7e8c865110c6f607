"""Embedding, reuse and publication of an ingestion."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import lib.indexing
from lib.book import PreparedChunk
from lib.embedding import GuardedEmbedder, Vectors
from lib.errors import UpstreamError
from lib.indexing import _MAX_LINES, IngestTask, _IndexWriter, _languages_of
from lib.reader import open_reader
from lib.services import Services, make_local_embedder, open_services
from lib.settings import Settings
from lib.store import Candidates, FileRecord, GenerationBuilder, Ledger, all_urls, new_generation
from lib.store_edge import EdgeStore
from lib.terms import query_vector
from tests.ingesting import FILES, ingest_settings, run
from tests.stores import chunk, sparse_vectors
from tests.tiny_book import write_book
from tests.upstream import Body, Status, Upstream


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


async def search(services: Services, query: str) -> Candidates:
    vector = await services.embedder.embed_query(query)
    return await services.store.search(vector, query_vector(query), 50)


def texts_since(upstream: Upstream, count: int = 0) -> int:
    """Count the embedded texts, without those of the first `count` requests."""
    return sum(len(texts) for texts in upstream.embedded()[count:])


async def test_a_first_run_embeds_everything(services: Services, upstream: Upstream) -> None:
    status = await run(services)
    assert status.status == "completed"
    assert status.error is None
    progress = status.progress
    assert (progress.files_processed, progress.total_files) == (6, 6)
    assert progress.chunks_created == progress.chunks_embedded == texts_since(upstream) == 6
    assert progress.chunks_reused == 0
    manifest = await services.store.manifest()
    assert manifest is not None
    assert (manifest.documents, manifest.chunks) == (6, 6)
    assert manifest.embedding_model == "openai/text-embedding-3-small"
    assert manifest.generator == "mkdocs"


async def test_an_unchanged_book_embeds_nothing(services: Services, upstream: Upstream) -> None:
    await run(services)
    before = await services.store.manifest()
    asked = len(upstream.requests)
    status = await run(services)
    assert status.status == "completed"
    assert len(upstream.requests) == asked
    assert status.progress.files_unchanged == 6
    assert status.progress.chunks_reused == status.progress.chunks_created == 6
    assert await services.store.manifest() == before


async def test_only_what_changed_is_embedded(
    services: Services, upstream: Upstream, folder: Path
) -> None:
    await run(services)
    asked = len(upstream.requests)
    write_book(folder, {"page-2.md": "# Page 2\n\nQuite another text.\n"})
    status = await run(services)
    assert texts_since(upstream, asked) == 1
    assert (status.progress.chunks_embedded, status.progress.chunks_reused) == (1, 5)
    found = await search(services, "another")
    assert sorted(hit.chunk.file_path for hit in found.hits) == sorted(FILES)
    assert any("Quite another text" in hit.chunk.text for hit in found.hits)
    assert not any("number 2" in hit.chunk.text for hit in found.hits)


async def test_a_file_that_moved_is_not_embedded_again(
    services: Services, upstream: Upstream, folder: Path
) -> None:
    await run(services)
    asked = len(upstream.requests)
    (folder / "page-1.md").rename(folder / "moved.md")
    status = await run(services)
    assert texts_since(upstream, asked) == 0
    assert status.progress.files_removed == 1
    found = await search(services, "Page 1")
    assert "moved.md" in {hit.chunk.file_path for hit in found.hits}
    assert "page-1.md" not in {hit.chunk.file_path for hit in found.hits}


async def test_a_deleted_file_is_gone(services: Services, folder: Path) -> None:
    await run(services)
    (folder / "page-1.md").unlink()
    status = await run(services)
    assert status.progress.files_removed == 1
    assert set(await services.store.ledger()) == set(FILES) - {"page-1.md"}


async def test_force_embeds_everything_anew(services: Services, upstream: Upstream) -> None:
    await run(services)
    asked = len(upstream.requests)
    status = await run(services, force_reindex=True)
    assert status.status == "completed"
    assert texts_since(upstream, asked) == 6


async def test_a_text_that_stands_twice_is_embedded_once(
    services: Services, upstream: Upstream, folder: Path
) -> None:
    write_book(folder, {f"copy-{n}.md": "# Same\n\nThe same text.\n" for n in range(5)})
    status = await run(services)
    assert status.progress.chunks_created == 11
    assert texts_since(upstream) == 7


@pytest.mark.parametrize("size", [1, 4, 1000])
async def test_batches_have_the_wanted_size(
    services: Services, upstream: Upstream, size: int
) -> None:
    await run(services, batch_size=size)
    sizes = [len(texts) for texts in upstream.embedded()]
    assert sum(sizes) == 6
    assert max(sizes) == min(size, 6)


FAULTS: dict[str, Callable[[Upstream], Any]] = {
    "a wrong key": lambda _: Status(401),
    "garbage": lambda _: Body(b"<html>", "text/html"),
    "too few vectors": lambda up: lambda texts: up.embeddings(texts[:-1] or ["x", "y"]),
    "no numbers": lambda _: Body(b'{"data": [{"index": 0, "embedding": "????"}]}'),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_run_that_fails_leaves_the_index(
    services: Services, upstream: Upstream, folder: Path, fault: Callable[[Upstream], Any]
) -> None:
    await run(services)
    before = await services.store.manifest()
    write_book(folder, {"page-2.md": "# Page 2\n\nQuite another text.\n"})
    upstream.embedding_replies.append(fault(upstream))
    status = await run(services)
    assert status.status == "failed"
    assert status.error
    assert status.error in status.progress.errors
    assert "embedding service" in status.error
    assert await services.store.manifest() == before
    assert (await run(services)).status == "completed"


async def test_a_run_that_fails_half_way_keeps_what_was_paid_for(
    services: Services, upstream: Upstream
) -> None:
    upstream.embedding_replies.extend([upstream.embeddings] * 3)
    upstream.embedding_replies.extend([Status(401)] * 3)
    assert (await run(services, batch_size=1)).status == "failed"
    assert await services.store.manifest() is None
    upstream.embedding_replies.clear()
    asked = len(upstream.requests)
    status = await run(services, batch_size=1)
    assert status.status == "completed"
    assert (status.progress.chunks_embedded, status.progress.chunks_reused) == (3, 3)
    assert texts_since(upstream, asked) == 3


async def test_every_failure_of_a_run_is_seen(
    services: Services, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio logs an exception that is never retrieved; several batches run at the same time."""
    upstream.embedding_replies.extend([Status(401)] * 20)
    assert (await run(services, batch_size=1)).status == "failed"
    gc.collect(1)  # younger objects only: the whole heap takes half a second
    assert "never retrieved" not in caplog.text


async def test_vectors_that_change_their_length_are_refused(
    services: Services, upstream: Upstream
) -> None:
    normal = upstream.vector
    upstream.embedding_replies.append(upstream.embeddings)

    def shorter(texts: list[str]) -> Body:
        upstream.vector = lambda text: normal(text)[:32]
        return upstream.embeddings(texts)

    upstream.embedding_replies.append(shorter)
    status = await run(services, batch_size=1)
    assert status.status == "failed"
    assert status.error is not None
    assert "vectors of" in status.error
    assert await services.store.manifest() is None


async def test_the_refusal_threshold_is_calibrated_with_the_book_s_own_words(
    services: Services, upstream: Upstream, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def shift() -> float:
        manifest = await services.store.manifest()
        assert manifest is not None
        return manifest.refusal_shift

    await run(services)
    assert await shift() == -1  # of a small book
    monkeypatch.setattr(lib.indexing, "_SMALL_BOOK", 6)
    await run(services, force_reindex=True)
    assert {"Page 1", "Page 5"} < set(upstream.embedded()[-1])
    measured = await shift()
    assert 0 < measured <= 2
    # After a small change it still holds.
    asked = len(upstream.requests)
    write_book(folder, {"page-2.md": "# Page 2\n\nQuite another text.\n"})
    await run(services)
    assert texts_since(upstream, asked) == 1
    assert await shift() == measured
    monkeypatch.setattr(lib.indexing, "_SMALL_BOOK", 20)
    write_book(folder, {"page-2.md": "# Page 2\n\nAnother text again.\n"})
    await run(services)
    assert await shift() == -1
    monkeypatch.setattr(lib.indexing, "_SMALL_BOOK", 6)
    # It is not worth a failed ingestion.
    upstream.embedding_replies.extend([upstream.embeddings, *[Status(400)] * 2])
    assert (await run(services, force_reindex=True)).status == "completed"
    assert await shift() == 0


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_busy_embedding_service_is_waited_for(
    services: Services, upstream: Upstream, status: int
) -> None:
    upstream.embedding_replies.extend([Status(status, {"Retry-After-Ms": "1"})] * 3)
    assert (await run(services)).status == "completed"


async def test_a_shrunken_book_is_not_published(
    services: Services, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.indexing, "_SMALL_BOOK", 6)
    await run(services)
    before = await services.store.manifest()
    for number in range(1, 6):
        (folder / f"page-{number}.md").unlink()
    status = await run(services)
    assert status.status == "failed"
    assert status.error is not None
    assert "force_reindex" in status.error
    assert await services.store.manifest() == before
    assert (await run(services, force_reindex=True)).status == "completed"
    assert set(await services.store.ledger()) == {"page-0.md"}


@pytest.mark.parametrize("force", [True, False])
async def test_a_book_without_files_is_not_published(
    services: Services, folder: Path, force: bool
) -> None:
    await run(services)
    before = await services.store.manifest()
    for path in FILES:
        (folder / path).unlink()
    status = await run(services, force_reindex=force)
    assert status.status == "failed"
    assert await services.store.manifest() == before


async def test_another_model_embeds_everything_anew(settings: Settings, upstream: Upstream) -> None:
    async with open_services(settings) as services:
        await run(services)
    asked = len(upstream.requests)
    async with open_services(replace(settings, openai_embedding_model="other")) as services:
        status = await run(services)
        assert status.status == "completed"
        assert texts_since(upstream, asked) == 6
        manifest = await services.store.manifest()
        assert manifest is not None
        assert manifest.embedding_model == "openai/other"


async def test_another_site_address_costs_no_embedding(
    settings: Settings, upstream: Upstream
) -> None:
    async with open_services(settings) as services:
        await run(services)
    asked = len(upstream.requests)
    async with open_services(replace(settings, site_url="https://other.example")) as services:
        assert (await run(services)).status == "completed"
        assert all(
            url.startswith("https://other.example/") for url in await all_urls(services.store)
        )
    assert texts_since(upstream, asked) == 0


async def test_another_order_of_the_pages_costs_no_embedding(
    settings: Settings, upstream: Upstream, folder: Path
) -> None:
    """The sidebars decide no address, so no page has changed."""
    config = "export default {title: 'B', presets: [['classic', {docs: {path: '.'}}]]}"
    write_book(folder, {"docusaurus.config.js": config})
    own = replace(settings, site_generator="docusaurus")
    async with open_services(own) as services:
        for order in (["page-2", "page-1"], ["page-1", "page-2"]):
            write_book(folder, {"sidebars.json": json.dumps({"docs": order})})
            status = await run(services)
            assert status.status == "completed"
            manifest = await services.store.manifest()
            assert manifest is not None
            assert manifest.title == "B"
            assert manifest.site_url == "https://b.example"
            assert manifest.reading_order == tuple(f"{page}.md" for page in order)
    assert status.progress.files_unchanged == 6
    assert texts_since(upstream) == 6


def test_a_language_of_few_pages_does_not_count() -> None:
    def pages(**counts: int) -> Ledger:
        return {
            f"{language}{n}.md": FileRecord(file_hash="", chunks={"a": "b"}, language=language)
            for language, count in counts.items()
            for n in range(count)
        }

    assert _languages_of(pages(english=99, french=1)) == ("english",)
    assert _languages_of(pages(english=10, german=90)) == ("german", "english")
    # pages without chunks do not count
    drafts: Ledger = {f"{n}.md": FileRecord(file_hash="", language="french") for n in range(50)}
    assert _languages_of(drafts | pages(english=3)) == ("english",)


class Refusing(GuardedEmbedder):
    """Refuses every text, once it may answer."""

    def __init__(self) -> None:
        super().__init__(make_local_embedder("multilingual"))
        self.concurrency = 2
        self._asked = 0
        self.asked_twice = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        self._asked += 1
        if self._asked == 2:
            self.asked_twice.set()
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            raise UpstreamError("The embedding service hung up.") from None
        raise UpstreamError("The embedding service refuses.")


@pytest.fixture
async def builder(tmp_path: Path) -> AsyncIterator[GenerationBuilder]:
    store = EdgeStore(tmp_path)
    made = await store.build(new_generation(), "m")
    yield made
    await made.discard()
    await store.close()


def pieces(count: int) -> list[PreparedChunk]:
    chunks = [chunk(number) for number in range(count)]
    return [
        PreparedChunk(each, each.text, terms)
        for each, terms in zip(chunks, sparse_vectors(chunks), strict=True)
    ]


@pytest.mark.parametrize("cancelled", [False, True])
async def test_every_exception_is_retrieved(builder: GenerationBuilder, cancelled: bool) -> None:
    unseen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
    embedder = Refusing()
    writer = _IndexWriter(embedder, builder, IngestTask(), batch_size=1, reuse_vectors=False)
    await writer.write(pieces(2))
    await embedder.asked_twice.wait()
    stopping = asyncio.create_task(writer.stop())
    await asyncio.sleep(0)
    if cancelled:  # as when the server stops during an ingestion
        stopping.cancel()
    else:
        embedder.may_answer.set()
    await asyncio.wait((stopping,))
    assert stopping.cancelled() is cancelled
    embedder.may_answer.set()
    if left := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(left)
    del writer, stopping, left
    gc.collect(1)  # younger objects only: the whole heap takes half a second
    assert not unseen


async def test_an_option_that_the_generator_does_not_read_is_reported(tmp_path: Path) -> None:
    write_book(tmp_path, {"mkdocs.yml": "site_name: b", "docs/a.md": "# A\n"})
    options = {"clean_urls": True, "base_url": "/b/"}
    async with open_reader(Settings(site_options=options), tmp_path / "docs") as reader:
        errors = reader.book.errors
    assert errors == ["SITE_OPTIONS: clean_urls has no effect with mkdocs"]


def test_errors_are_bounded() -> None:
    task = IngestTask()
    task.add_errors(["a.md: wrong"] * (_MAX_LINES - 1))
    task.add_errors(["b.md: wrong", "c.md: wrong"])
    task.add_errors(["d.md: wrong"])
    assert task.report().progress.errors[-2:] == ["a.md: wrong", "b.md: wrong"]
    assert len(task.errors) == _MAX_LINES


def test_there_is_no_estimate_before_the_first_chunk() -> None:
    task = IngestTask()
    assert task.report().estimated_completion is None
    task.total_files, task.files_processed, task.chunks_created = 10, 5, 100
    assert task.report().estimated_completion is None
    task.chunks_embedded = 50
    assert task.report().estimated_completion is not None


def test_the_estimate_extrapolates_from_the_chunks_done() -> None:
    began = datetime.now(UTC) - timedelta(seconds=60)
    task = IngestTask(total_files=10, files_processed=5, chunks_created=100, started_at=began)
    task.chunks_embedded, task.chunks_reused = 20, 30  # a quarter of the 200 to come
    estimated = task.report().estimated_completion
    assert estimated is not None
    left = datetime.fromisoformat(estimated) - began
    assert left.total_seconds() == pytest.approx(240, abs=1)


def test_a_finished_task_reports_its_end_as_the_estimate() -> None:
    task = IngestTask(finished_at=datetime.now(UTC))
    report = task.report()
    assert report.estimated_completion == report.finished_at
    assert not task.running
