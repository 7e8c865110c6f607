"""GET /health"""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import lib.embedding_e5
import lib.health
import lib.services
from lib import __version__
from lib.services import Services
from tests.api import Api, serving
from tests.conftest import MakeSettings, wait_for_ingestion
from tests.tiny_book import BOOK
from tests.upstream import Body, Drop, Hang, Status, Upstream

CONTRACT: dict[str, type] = {
    "status": str,
    "version": str,
    "uptime": float,
    "qdrant_connected": bool,
    "openai_connected": bool,
    "documents_count": int,
    "chunks_count": int,
}


def rewrite_manifest(index: Path, change: Callable[[bytes], bytes]) -> None:
    [path] = index.rglob("manifest.json")
    path.write_bytes(change(path.read_bytes()))


async def settled(api: Api) -> Any:
    """The response of /health after all running probes have finished."""
    await api.get("/health")
    for probe in (api.services.store_probe, api.services.model_probe):
        if probe is not None:
            while (answer := await probe.answer(10)) is None:
                pass
            assert answer is not None
    return (await api.get("/health")).json()


async def test_a_ready_service_is_healthy(api: Api) -> None:
    health = await settled(api)
    assert {name: type(health[name]) for name in CONTRACT} == CONTRACT
    assert health["status"] == "healthy"
    assert health["version"] == __version__
    assert health["uptime"] >= 0
    assert health["qdrant_connected"] is True
    assert health["openai_connected"] is False  # not configured, which is not a problem
    assert health["documents_count"] == len(BOOK)
    assert health["chunks_count"] >= len(BOOK)
    assert health["ready"] is True
    assert health["embedder"] == "local/multilingual-e5-small-int8"


async def test_a_model_that_answers_is_connected_and_costs_nothing(
    generating: Api, upstream: Upstream
) -> None:
    health = await settled(generating)
    assert health["status"] == "healthy"
    assert health["openai_connected"] is True
    assert {r.path for r in upstream.requests} == {"/v1/models"}


@pytest.mark.parametrize(
    "reply", [Status(401), Status(403), Status(500), Status(503), [Drop()]], ids=str
)
async def test_a_model_that_is_down_degrades_but_serves(
    generating: Api, upstream: Upstream, reply: Any
) -> None:
    upstream.models_reply = reply
    health = await settled(generating)
    assert health["status"] == "degraded"
    assert health["openai_connected"] is False
    assert health["ready"] is True
    assert "sk-" not in str(health)
    assert (await generating.get("/health")).status == 200


@pytest.mark.parametrize("reply", [Status(404), Body(b"<html>", "text/html")], ids=str)
async def test_a_server_without_a_list_of_models_is_connected(
    generating: Api, upstream: Upstream, reply: Any
) -> None:
    upstream.models_reply = reply
    assert (await settled(generating))["openai_connected"] is True


async def test_a_model_that_hangs_is_not_waited_for(generating: Api, upstream: Upstream) -> None:
    """Waiting for it would exceed the time limit of /health."""
    upstream.models_reply = [Hang()]
    answers = await asyncio.gather(*(generating.get("/health") for _ in range(10)))
    assert [answer.status for answer in answers] == [200] * 10
    probe = generating.services.model_probe
    assert probe is not None
    assert await probe.answer(0) is None  # still running after the response
    await upstream.until(lambda u: bool(u.requests))
    assert len(upstream.requests) == 1  # one probe for all ten


async def test_before_the_store_was_opened_it_is_warming(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = asyncio.Event()

    async def slow() -> bool:
        await opened.wait()
        return True

    monkeypatch.setattr(api.services.store, "reachable", slow)
    answer = await api.get("/health")
    assert answer.status == 200
    health = answer.json()
    assert health["ready"] is False
    assert health["qdrant_connected"] is False
    assert health["message"]
    opened.set()
    assert (await settled(api))["ready"] is True


async def test_no_index_and_nothing_on_its_way_is_a_503(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(book_content_path=tmp_path / "no", qdrant_path=tmp_path / "none")
    async with serving(settings) as api:
        health = await settled(api)
        answer = await api.get("/health")
        assert answer.status == 503
        assert set(answer.json()) >= set(CONTRACT)
        assert health["status"] == "degraded"
        assert health["documents_count"] == health["chunks_count"] == 0
        assert health["message"]


async def test_while_the_first_ingestion_runs_it_is_a_200(
    make_settings: MakeSettings,
    tmp_path: Path,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upstream.embedding_gate = asyncio.Event()
    settings = make_settings(
        qdrant_path=tmp_path / "none",
        openai_base_url=upstream.base_url,
        embedding_provider="openai",
    )
    async with serving(settings) as api:
        await upstream.until(lambda u: bool(u.embedded()))  # started automatically
        await settled(api)
        answer = await api.get("/health")
        assert answer.status == 200
        assert answer.json()["ingesting"] is True
        assert answer.json()["ready"] is False
        with monkeypatch.context() as patch:
            patch.setattr(lib.services, "_FIRST_INDEX_SECONDS", 0.05)
            assert (await api.ask("tide")).json()["code"] == "INDEX_NOT_READY"
        patient = asyncio.create_task(api.ask("tide"))
        await settled(api)
        upstream.embedding_gate.set()
        assert (await patient).status == 200  # it has waited for the index


async def test_until_it_is_known_whether_one_begins_an_ingestion_is_told_of(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a client that waits for the end, to upload a book, would get a 409."""
    known, look = asyncio.Event(), lib.services._open_index

    async def late(services: Services) -> bool:
        await known.wait()
        return await look(services)

    monkeypatch.setattr(lib.services, "_open_index", late)
    async with serving(make_settings()) as api:
        health = await settled(api)
        assert (health["ready"], health["ingesting"]) == (True, True)
        known.set()
        while (await api.get("/health")).json()["ingesting"]:
            continue


def older(manifest: bytes) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(manifest) | {"index_format": 0})


async def test_an_index_of_another_version_is_a_503_until_it_is_made_anew(
    make_settings: MakeSettings, own_index: Path, upstream: Upstream
) -> None:
    rewrite_manifest(own_index, older)
    upstream.embedding_gate = asyncio.Event()
    settings = make_settings(
        qdrant_path=own_index, embedding_provider="openai", openai_base_url=upstream.base_url
    )
    async with serving(settings) as api:
        await upstream.until(lambda u: bool(u.embedded()))
        health = await settled(api)
        assert health["ready"] is False
        assert "another version" in health["message"]
        assert (await api.post("/search", {"query": "tide"})).json()["code"] == "INDEX_OUTDATED"
        upstream.embedding_gate.set()
        await wait_for_ingestion(api.services.ingestion)
        assert (await settled(api))["message"] is None


async def test_an_index_of_another_version_is_made_anew_by_itself(
    make_settings: MakeSettings, own_index: Path
) -> None:
    rewrite_manifest(own_index, older)
    async with serving(make_settings(qdrant_path=own_index)) as api:
        await api.services.index_checked.wait()
        await wait_for_ingestion(api.services.ingestion)
        health = await settled(api)
        assert health["ready"] is True
        assert health["message"] is None
        assert (await api.ask("When does the tide turn?")).json()["citations"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"generation": 5}', b"\xff\xfe"])
async def test_a_damaged_index_is_a_503_until_it_is_made_anew(
    make_settings: MakeSettings, own_index: Path, upstream: Upstream, content: bytes
) -> None:
    """Not automatically, because it may cost money. `force` is not needed."""
    rewrite_manifest(own_index, lambda _: content)
    settings = make_settings(
        qdrant_path=own_index, embedding_provider="openai", openai_base_url=upstream.base_url
    )
    async with serving(settings) as api:
        await settled(api)
        health = await api.get("/health")
        assert health.status == 503
        assert str(own_index) not in health.text
        answer = await api.ask("tide")
        assert answer.status == 503
        assert answer.json()["code"] == "INDEX_UNREADABLE"
        assert upstream.embedded() == []
        assert (await api.ingest())["status"] == "completed"
        assert (await api.ask("tide")).status == 200


async def test_an_index_that_was_deleted_is_no_index(
    make_settings: MakeSettings, own_index: Path, tmp_path: Path
) -> None:
    settings = make_settings(qdrant_path=own_index, book_content_path=tmp_path / "no")
    async with serving(settings) as api:
        assert (await api.ask("tide")).status == 200
        shutil.rmtree(own_index)
        assert (await api.ask("tide")).json()["code"] == "INDEX_NOT_READY"


async def test_only_the_author_sees_inside(api: Api) -> None:
    assert "inside" not in await settled(api)
    inside = (await api.as_admin("GET", "/health")).json()["inside"]
    assert inside["sessions"] == 0


async def test_a_server_that_stops_is_not_ready(api: Api) -> None:
    """A load balancer then sends readers elsewhere, while open answers finish."""
    assert (await settled(api))["draining"] is False
    await api.app.extensions["middleware"].drain(0)
    answer = await api.get("/health")
    assert answer.status == 503
    assert (answer.json()["ready"], answer.json()["draining"]) == (False, True)
    assert answer.json()["message"]


async def test_weights_that_are_not_the_pinned_ones_do_not_stop_the_start(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise RuntimeError("not the pinned weights")

    monkeypatch.setattr(lib.embedding_e5, "load_e5", refuse)
    async with serving(make_settings()) as api:
        assert (await api.get("/health")).status in (200, 503)
        answer = await api.ask("tide")
        assert answer.status >= 500
        assert "pinned" not in answer.text
