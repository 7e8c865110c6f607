"""Outages of Quire or of its Qdrant server.

The Qdrant server and the embeddings run in the test process. The killed Quire is a process of its
own, so that a test controls the exact moment of the kill.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lib.services
from lib.embedding import Vectors
from lib.settings import Settings
from lib.store import Ledger
from lib.store_server import ServerStore
from tests.api import Api, serving
from tests.conftest import wait_for_ingestion
from tests.qdrant_server import QdrantServer, running_qdrant
from tests.tiny_book import write_book
from tests.upstream import Hang, Status, Upstream

pytestmark = [
    pytest.mark.filterwarnings("ignore:Api key is used with an insecure:UserWarning"),
    pytest.mark.processes,
]

ROOT = Path(__file__).parents[1]
KEY = "the-key"
PAGES = {
    f"page{n}.md": f"# Page {n}\n\nThe lamp {n} burns.\n\n## Oil\n\nLamp {n} takes oil {n * 7}.\n"
    for n in range(120)
}
CHANGED = {"page3.md": "# Page 3\n\nA beacon replaced the lamp.\n", "new.md": "# New\n\nA buoy.\n"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[QdrantServer]:
    async with running_qdrant(tmp_path / "server", api_key=KEY, strict=True) as running:
        yield running


@pytest.fixture
def settings(server: QdrantServer, upstream: Upstream, tmp_path: Path) -> Settings:
    return Settings(
        book_content_path=write_book(tmp_path / "book", PAGES),
        qdrant_url=server.url,
        qdrant_api_key=KEY,
        qdrant_path=tmp_path / "unused",
        openai_api_key="sk-of-the-test",
        openai_base_url=upstream.base_url,
        admin_api_key="the-admin-key",
    )


async def run_and_kill(
    settings: Settings, *arguments: str, at: Coroutine[Any, Any, None], output: Path
) -> None:
    """Run `python main.py` with these settings and kill it when `at` returns."""
    environment = {
        "PATH": os.environ["PATH"],
        "BOOK_CONTENT_PATH": str(settings.book_content_path),
        "QDRANT_URL": settings.qdrant_url,
        "QDRANT_API_KEY": settings.qdrant_api_key,
        "QDRANT_PATH": str(settings.qdrant_path),
        "OPENAI_API_KEY": settings.openai_api_key,
        "OPENAI_BASE_URL": settings.openai_base_url,
        "API_HOST": "127.0.0.1",
        "API_PORT": "0",
    }
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "main.py",
            *arguments,
            cwd=ROOT,
            env=environment,
            stdout=file,
            stderr=file,
        )
        reached = asyncio.create_task(at)
        exited = asyncio.create_task(process.wait())
        await asyncio.wait((reached, exited), return_when=asyncio.FIRST_COMPLETED)
        if process.returncode is None:
            process.kill()
        await exited
    # Otherwise it exited early; its output says why.
    assert process.returncode == -signal.SIGKILL, await asyncio.to_thread(output.read_text)
    await reached


@dataclass(frozen=True)
class Generation:
    """A published generation: `payloads` by chunk id, `vectors` in the order of the ids."""

    ledger: Ledger
    payloads: dict[str, Any]
    vectors: Vectors


async def uninterrupted(settings: Settings, tmp_path: Path) -> Generation:
    """Ingest the same book on another server, without an outage."""
    async with running_qdrant(tmp_path / "other", api_key=KEY) as other:
        async with serving(replace(settings, qdrant_url=other.url)) as api:
            await first_index(api)
        return await published(other)


async def published(server: QdrantServer) -> Generation:
    """Read the published generation, and check that the server has no other collection."""
    [name] = server.collections
    assert server.aliases == {"quire": name}
    store = ServerStore(server.url, KEY, "quire")
    manifest, ledger = await store.manifest(), await store.ledger()
    await store.close()
    assert manifest is not None
    assert name == f"quire--{manifest.generation}"
    assert server.collections[name].info().points_count == manifest.chunks
    ids = sorted(chunk_id for record in ledger.values() for chunk_id in record.chunks)
    records = server.collections[name].shard.retrieve(
        list(ids), with_payload=True, with_vector=True
    )
    assert len(records) == manifest.chunks
    points = {str(record.id): record for record in records}
    vectors: list[Any] = [points[chunk_id].vector for chunk_id in ids]
    return Generation(
        ledger,
        {chunk_id: points[chunk_id].payload for chunk_id in ids},
        np.array([vector["dense"] for vector in vectors], np.float32),
    )


def assert_same(one: Generation, other: Generation) -> None:
    assert one.ledger == other.ledger
    assert one.payloads == other.payloads
    assert one.vectors == pytest.approx(other.vectors, abs=1e-6)


async def first_index(api: Api) -> None:
    """Wait for the ingestion that starts automatically without an index."""
    await api.services.index_checked.wait()
    await wait_for_ingestion(api.services.ingestion)
    assert api.services.ingestion.status(None).status == "completed"


async def top_passage(api: Api, query: str) -> str:
    answer = await api.post("/search", {"query": query, "k": 1})
    assert answer.status == 200, answer.text
    return str(answer.json()["passages"][0]["text"])


async def test_killed_during_the_first_ingestion(
    server: QdrantServer, settings: Settings, upstream: Upstream, tmp_path: Path
) -> None:
    upserts = r"PUT .*/points$"
    with server.failing(Hang(), upserts, after=1):
        second = server.until(lambda s: len(s.requests_matching(upserts)) > 1)
        await run_and_kill(settings, at=second, output=tmp_path / "output")
    assert len(server.collections) == 1
    assert server.aliases == {}
    upstream.requests.clear()
    async with serving(settings) as api:
        await first_index(api)
        # Chunks, not the questions that calibrate refusals.
        embedded = sum("\n" in text for texts in upstream.embedded() for text in texts)
        assert "takes oil" in await top_passage(api, "Which oil does lamp 7 take?")
    generation = await published(server)
    assert 0 < embedded < len(generation.payloads)  # the rest is reused from the killed attempt
    assert_same(generation, await uninterrupted(settings, tmp_path))


async def test_killed_before_publication(
    server: QdrantServer,
    settings: Settings,
    tmp_path: Path,
) -> None:
    step = "POST /collections/aliases"
    async with serving(settings) as api:
        await first_index(api)
    change_book(settings.book_content_path, CHANGED)
    before = len(server.requests_matching(step))
    with server.failing(Hang(), step):
        arrived = server.until(lambda s: len(s.requests_matching(step)) > before)
        await run_and_kill(settings, "ingest", at=arrived, output=tmp_path / "output")
    assert len(server.collections) == 2
    async with serving(settings) as api:
        assert "beacon" not in await top_passage(api, "beacon replaced the lamp")
        assert (await api.ingest())["status"] == "completed"
        assert "beacon" in await top_passage(api, "beacon replaced the lamp")
    assert_same(await published(server), await uninterrupted(settings, tmp_path))


def change_book(book: Path, files: Mapping[str, str]) -> None:
    write_book(book, files)
    (book / "page5.md").unlink()


async def test_recovers_after_a_qdrant_outage(
    server: QdrantServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.services, "_STORE_PROBE_SECONDS", 0)
    await server.stop()
    async with serving(settings) as api:
        await api.services.index_checked.wait()
        await assert_unavailable(api)
        await server.start()
        assert (await api.ingest())["status"] == "completed"
        for _ in range(2):
            assert "takes oil" in await top_passage(api, "oil for lamp 3")
            assert (await api.ask("Which oil does lamp 3 take?")).status == 200
            await server.stop()
            await assert_unavailable(api)
            await server.start()
        assert "takes oil" in await top_passage(api, "oil for lamp 3")
        with server.failing(Status(403, message=f"vendor text with {KEY}")):
            answer = await api.post("/search", {"query": "oil"})
            assert "QDRANT_API_KEY" in answer.json()["error"]
            assert KEY not in answer.text
            assert "vendor" not in answer.text


async def assert_unavailable(api: Api) -> None:
    for path, body in [("/search", {"query": "oil"}), ("/chat", {"question": "Which oil?"})]:
        answer = await api.post(path, body)
        assert answer.status == 503
        assert answer.json()["code"] == "STORE_UNAVAILABLE"
        assert "QDRANT_URL" in answer.json()["error"]
        assert answer.headers["Content-Type"] == "application/json"
    assert (await api.ingest())["status"] == "failed"
