"""Redis outages: requests do not fail, and nothing is spent without a budget check."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

import lib.replicas.budget
import lib.replicas.client
import lib.replicas.ingest
import lib.services
from lib.answer import stream
from lib.auth import parse_key
from lib.chat import ChatRequest, prepare
from lib.events import Done, TextDelta
from lib.ingest import Ingestion
from lib.replicas.client import RedisClient
from lib.settings import Settings
from tests.api import ADMIN_KEY, READER_KEY, SESSION, Api, serving
from tests.conftest import MakeSettings, wait_for_ingestion
from tests.qdrant_server import running_qdrant
from tests.redis_server import RedisServer, running_redis
from tests.upstream import Upstream, answer

PASSWORD = "geheim"
QUESTION = "When does the tide turn?"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with running_redis(tmp_path, "--requirepass", PASSWORD) as running:
        yield running


@pytest.fixture
def shared(
    server: RedisServer,
    make_settings: MakeSettings,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
) -> Settings:
    monkeypatch.setattr(lib.services, "_REDIS_PROBE_SECONDS", 0.0)
    monkeypatch.setattr(lib.replicas.client, "_TIMEOUT", 0.1)
    monkeypatch.setattr(lib.replicas.client, "_PAUSE", 0.05)
    monkeypatch.setattr(lib.replicas.client, "_LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(lib.replicas.budget, "_RETRY_SECONDS", 0.01)
    return make_settings(
        redis_url=f"redis://:{PASSWORD}@127.0.0.1:{server.port}",
        openai_base_url=upstream.base_url,
        daily_tokens=1_000_000,
        answer_cache_size=0,
    )


@pytest.fixture
async def api(shared: Settings) -> AsyncIterator[Api]:
    async with serving(shared) as running:
        yield running


async def ask(api: Api, **fields: Any) -> dict[str, Any]:
    replied = await api.ask(QUESTION, headers={"X-API-Key": READER_KEY}, **fields)
    assert replied.status == 200, replied.text
    body: dict[str, Any] = replied.json()
    return body


async def health(api: Api) -> dict[str, Any]:
    """Return /health after the Redis probe has finished."""
    assert api.services.redis_probe is not None
    await api.services.redis_probe.answer(10)
    body: dict[str, Any] = (await api.get("/health")).json()
    return body


async def until_generated(api: Api, upstream: Upstream) -> None:
    while (await ask(api))["mode"] != "generated":
        upstream.replies.clear()
        upstream.replies.append(answer("Six hours [1]."))


@pytest.mark.parametrize("how", ["killed", "hanging"])
async def test_redis_outage_and_recovery(
    api: Api, server: RedisServer, upstream: Upstream, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.replies.append(answer("Six hours [1]."))
    assert (await ask(api, session_id=SESSION))["mode"] == "generated"
    assert len(await api.history(reader=f"key:{parse_key(READER_KEY).name}")) == 2
    before = await health(api)
    assert (before["status"], before["redis_connected"]) == ("healthy", True)
    asked = len(upstream.chats())

    async def assert_degraded() -> None:
        for _ in range(5):
            replied = await ask(api, session_id=SESSION)
            assert replied["mode"] == "extractive"
            assert "cannot answer right now" in replied["answer"]
        streamed = await api.ask(QUESTION, stream=True)
        assert streamed.events()[-1]["type"] == "done"
        assert (await api.post("/search", {"query": "tide"})).status == 200
        now = await health(api)
        assert (now["status"], now["redis_connected"], now["ready"]) == ("degraded", False, True)
        assert "Redis" in now["message"]
        assert PASSWORD not in str(now)

    if how == "killed":
        server.kill()
        await assert_degraded()
        server.start()
    else:
        with server.paused():
            await assert_degraded()
    assert len(upstream.chats()) == asked  # nothing was spent without a budget check
    upstream.replies.append(answer("Six hours [1]."))
    await until_generated(api, upstream)
    after = await health(api)
    assert (after["status"], after["redis_connected"]) == ("healthy", True)
    metrics = (await api.as_admin("GET", "/metrics")).text
    assert 'quire_upstream_away{service="redis"} 0' in metrics
    assert PASSWORD not in caplog.text + metrics


async def test_start_does_not_wait_for_redis(
    shared: Settings, server: RedisServer, upstream: Upstream
) -> None:
    server.kill()
    async with serving(shared) as api:
        assert (await ask(api))["mode"] == "extractive"
        server.start()
        upstream.replies.append(answer("Six hours [1]."))
        await until_generated(api, upstream)


async def test_a_running_answer_completes_and_is_settled_later(
    api: Api, server: RedisServer, upstream: Upstream
) -> None:
    upstream.replies.append(answer("Six", " hours [1]."))
    services = api.services
    turn = await prepare(services.chat, ChatRequest(question=QUESTION, session_id=SESSION))
    async with aclosing(stream(services.chat, turn)) as events:
        while not isinstance(await anext(events), TextDelta):
            continue
        with server.paused():
            rest = [event async for event in events]
    assert isinstance(rest[-1], Done)
    while services.chat.budget.state().tokens_reserved:
        await health(api)
    assert services.chat.budget.state().tokens == rest[-1].tokens_used > 0


async def test_without_a_budget_the_model_needs_no_redis(
    shared: Settings, server: RedisServer, upstream: Upstream, make_settings: MakeSettings
) -> None:
    settings = make_settings(redis_url=shared.redis_url, openai_base_url=upstream.base_url)
    async with serving(settings) as api:
        server.kill()
        upstream.replies.append(answer("Six hours [1]."))
        assert (await ask(api))["mode"] == "generated"


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure:UserWarning")
async def test_no_ingestion_without_redis(
    shared: Settings,
    server: RedisServer,
    make_settings: MakeSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lib.services, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(lib.replicas.ingest, "_PUBLISH_SECONDS", 0.01)
    async with running_qdrant(tmp_path / "qdrant") as qdrant:
        settings = make_settings(
            redis_url=shared.redis_url, qdrant_url=qdrant.url, qdrant_path=tmp_path / "unused"
        )
        server.kill()
        async with serving(settings) as api:
            await api.services.index_checked.wait()
            refused = await api.as_admin("POST", "/ingest", json={})
            assert refused.status == 503
            assert refused.json()["code"] == "REDIS_UNAVAILABLE"
            assert "Check REDIS_URL" in refused.json()["error"]
            assert api.services.ingestion.latest is None
            server.start()
            # The pending ingestion of the start resumes.
            while api.services.ingestion.latest is None:
                await health(api)
            await wait_for_ingestion(api.services.ingestion)
            assert api.services.ingestion.status(None).status == "completed"
            async with serving(settings) as other:
                await other.services.index_checked.wait()
                assert other.services.ingestion.latest is None
                assert isinstance(other.services.redis, RedisClient)
                taken = "return redis.call('SET', KEYS[1], 'another')"
                await other.services.redis.run(taken, ["ingest"])
                failed = await other.ingest(force_reindex=True)
                assert "Another process is building" in failed["error"]
                assert ADMIN_KEY not in str(failed)
                await assert_status_shared(other, api.services.ingestion)


async def assert_status_shared(other: Api, ingestion: Ingestion) -> None:
    """A replica reports the status of another replica's ingestion."""
    assert ingestion.latest is not None
    path = f"/ingest/status?task_id={ingestion.latest.task_id}"
    while (response := await other.get(path)).status == 404:
        await health(other)
    assert response.json()["status"] == "completed"
    assert (await other.get("/ingest/status?task_id=unknown")).status == 404
    assert (await other.get("/ingest/status")).json()["status"] == "failed"  # its own is newer
