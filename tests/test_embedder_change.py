"""Another embedding model: the old index answers until the new one is complete."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from lib.embedding import Vectors
from lib.embedding_e5 import MODEL_ID
from lib.embedding_local import LocalEmbedder
from lib.settings import Settings
from tests.api import Api, serving
from tests.conftest import MakeSettings, wait_for_ingestion
from tests.handlers.test_archive import push, tar_of
from tests.qdrant_server import running_qdrant
from tests.tiny_book import write_book
from tests.upstream import Status, Upstream

QUESTION = "When does the tide turn?"
SERVICE_MODEL = "openai/text-embedding-3-small"


@pytest.fixture
def service(make_settings: MakeSettings, own_index: Path, upstream: Upstream) -> Settings:
    """Settings for embeddings of the scripted service and a language model."""
    return make_settings(
        qdrant_path=own_index,
        openai_api_key="sk-test",
        openai_base_url=upstream.base_url,
        rate_limit_enabled=False,  # `search_until` does not pause
    )


@pytest.fixture
def local(make_settings: MakeSettings, own_index: Path) -> Settings:
    """The settings that the index was built with."""
    return make_settings(qdrant_path=own_index, rate_limit_enabled=False)


async def health(api: Api) -> dict[str, Any]:
    api.services.store_probe.expire()
    await api.services.store_probe.answer(10)  # /health itself waits only 20 ms
    response = await api.get("/health")
    while response.json()["index_version"] is None:
        response = await api.get("/health")
    assert response.status == 200
    assert response.json()["ready"] is True
    return dict(response.json())


async def answers(api: Api) -> None:
    response = await api.ask(QUESTION)
    assert response.status == 200
    assert "guide/tides.md" in {
        each["source"]["file_path"] for each in response.json()["citations"]
    }


async def search_until(done: asyncio.Event, api: Api) -> int:
    """Search all the time and count; each query is new, so no cache helps."""
    count = 0
    while not done.is_set():
        found = await api.post("/search", {"query": f"tide turn {count}"})
        assert found.status == 200
        assert found.json()["passages"][0]["file_path"] == "guide/tides.md"
        count += 1
    return count


async def build(settings: Settings) -> None:
    async with serving(settings) as api:
        await api.services.index_checked.wait()
        await wait_for_ingestion(api.services.ingestion)


def delete_generations_of(embedding_model: str, index: Path) -> None:
    """Without their vectors, the next ingestion has something to embed."""
    for file in list(index.rglob("model")):
        if file.read_text() == embedding_model:
            rmtree(file.parent)


async def test_a_service_instead_of_the_local_model(
    service: Settings, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lib.services")
    upstream.embedding_gate, switched = asyncio.Event(), asyncio.Event()
    async with serving(service) as api:
        await upstream.until(lambda u: bool(u.embedded()))  # a part of the book
        documents = len(upstream.embedded())
        await answers(api)
        report = await health(api)
        assert (report["status"], report["embedder"]) == ("degraded", MODEL_ID)
        assert report["message"] == (
            f"The index was built with the embedding model {MODEL_ID}, but {SERVICE_MODEL} is "
            "configured. Until the new index is complete, questions are embedded with the former."
        )
        assert caplog.text.count(report["message"]) == 1
        assert len(upstream.embedded()) == documents  # no question
        searching = asyncio.create_task(search_until(switched, api))
        upstream.embedding_gate.set()
        await wait_for_ingestion(api.services.ingestion)
        await answers(api)
        switched.set()
        assert await searching
        assert [QUESTION] in upstream.embedded()
        report = await health(api)
        assert (report["status"], report["message"]) == ("healthy", None)
        assert report["embedder"] == SERVICE_MODEL


async def test_the_local_model_instead_of_a_service(
    service: Settings,
    local: Settings,
    own_index: Path,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the key, the old index is searched by words."""
    await build(service)
    delete_generations_of(MODEL_ID, own_index)
    embed, gate, switched = LocalEmbedder.embed_documents, asyncio.Event(), asyncio.Event()
    embedding = asyncio.Event()

    async def embed_later(self: LocalEmbedder, texts: Sequence[str]) -> Vectors:
        embedding.set()
        await gate.wait()
        return await embed(self, texts)

    monkeypatch.setattr(LocalEmbedder, "embed_documents", embed_later)
    asked = len(upstream.requests)
    async with serving(local) as api:
        await embedding.wait()
        await answers(api)
        refused = await api.ask("Who was the first emperor of Rome?")
        assert refused.json()["finish_reason"] == "not_in_book"
        report = await health(api)
        assert (report["status"], report["embedder"]) == ("degraded", "none")
        assert report["message"].endswith("questions are compared by words only.")
        searching = asyncio.create_task(search_until(switched, api))
        gate.set()
        await wait_for_ingestion(api.services.ingestion)
        await answers(api)
        switched.set()
        assert await searching
        report = await health(api)
        assert (report["status"], report["embedder"]) == ("healthy", MODEL_ID)
    assert len(upstream.requests) == asked


async def test_the_old_index_stays_while_the_service_is_down(
    service: Settings, upstream: Upstream
) -> None:
    upstream.embedding_replies.extend([Status(401)] * 9)
    async with serving(service) as api:
        await api.services.index_checked.wait()
        await wait_for_ingestion(api.services.ingestion)
        await answers(api)
        report = await health(api)
        assert (report["status"], report["embedder"]) == ("degraded", MODEL_ID)
        assert report["message"].endswith("Run `python main.py ingest` or POST /ingest.")


async def test_another_model_of_the_service(
    service: Settings, make_settings: MakeSettings, upstream: Upstream
) -> None:
    await build(service)
    settings = make_settings(
        qdrant_path=service.qdrant_path,
        openai_api_key="sk-test",
        openai_base_url=upstream.base_url,
        openai_embedding_model="other",
    )
    upstream.embedding_replies.extend([Status(401)])
    async with serving(settings) as api:
        await api.services.index_checked.wait()
        await wait_for_ingestion(api.services.ingestion)
        await answers(api)
        request = upstream.requests[-2].body  # before the chat completion
        assert (request["model"], request["input"]) == ("text-embedding-3-small", [QUESTION])
        assert (await health(api))["embedder"] == SERVICE_MODEL
        assert (await api.ingest())["status"] == "completed"
        await api.post("/search", {"query": QUESTION})
        assert upstream.requests[-1].body["model"] == "other"
        assert (await health(api))["embedder"] == "openai/other"


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure:UserWarning")
async def test_on_a_qdrant_server_despite_outages(upstream: Upstream, tmp_path: Path) -> None:
    async with running_qdrant(tmp_path / "server", api_key="the-key", strict=True) as server:
        settings = Settings(
            book_content_path=write_book(tmp_path / "book", {"guide/tides.md": "The tide turns."}),
            qdrant_path=tmp_path / "unused",
            qdrant_url=server.url,
            qdrant_api_key="the-key",
            openai_api_key="sk-test",
            openai_base_url=upstream.base_url,
        )
        await build(replace(settings, openai_api_key=""))
        old = dict(server.aliases)
        with server.failing(Status(500), "PUT .*/points$"):
            async with serving(settings) as api:
                await api.services.index_checked.wait()
                await wait_for_ingestion(api.services.ingestion)
                await answers(api)
                assert (await health(api))["embedder"] == MODEL_ID
        upstream.embedding_gate = asyncio.Event()
        asked = len(upstream.embedded())
        async with serving(settings) as api:
            await upstream.until(lambda u: len(u.embedded()) > asked)
            await server.stop()
            await server.start()
            await answers(api)
            assert server.aliases == old
            upstream.embedding_gate.set()
            await wait_for_ingestion(api.services.ingestion)
            await answers(api)
            assert (await health(api))["embedder"] == SERVICE_MODEL
        assert server.aliases != old
        assert len(server.collections) == 1


async def test_an_uploaded_book_is_never_replaced_by_the_content_folder(
    local: Settings,
    make_settings: MakeSettings,
    upstream: Upstream,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(local) as api:
        archive = tar_of({"index.md": "# Pushed\n\nThe pushed book is about volcanoes.\n"})
        await push(api, archive)
        await wait_for_ingestion(api.services.ingestion)

    async def restarted(**changes: Any) -> tuple[bool, set[str]]:
        """Whether a restart ingests, and the files of the index."""
        settings = make_settings(qdrant_path=local.qdrant_path, **changes)
        async with serving(settings) as api:
            await api.services.index_checked.wait()
            await api.services.ingestion.wait()
            ingested = api.services.ingestion.latest is not None
            return ingested, set(await api.services.store.ledger())

    assert await restarted() == (False, {"index.md"})
    assert await restarted(site_url="https://other.example") == (True, {"index.md"})
    service = {"openai_api_key": "sk-test", "openai_base_url": upstream.base_url}
    assert await restarted(**service) == (True, {"index.md"})
    assert upstream.embedded() == [["Pushed\n\nThe pushed book is about volcanoes."]]
    local.pushed_content.rename(local.pushed_content.with_name("gone"))
    assert await restarted() == (False, {"index.md"})
    assert "The folder of the book is gone: ingest an uploaded archive again." in caplog.text
