"""Opening, warming up and closing everything that lives as long as the application."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

import lib.services
import lib.store
import lib.store_server
from lib.budget import MemoryBudget
from lib.embedding import GuardedEmbedder
from lib.errors import StoreUnavailable
from lib.generation import ChatModel
from lib.ingest import Ingestion
from lib.replicas.client import RedisClient
from lib.replicas.ingest import Reports
from lib.resilience import CachedProbe
from lib.services import open_services, warm_up
from lib.settings import Settings
from lib.store_server import ServerStore
from tests.conftest import MakeSettings, wait_for_ingestion
from tests.qdrant_server import running_qdrant
from tests.store_kinds import change_retry_policies
from tests.tiny_book import write_book
from tests.upstream import Hang, Upstream


async def test_warming_up_ingests_where_there_is_no_index(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    async with open_services(make_settings(qdrant_path=tmp_path / "index")) as services:
        await warm_up(services)
        await wait_for_ingestion(services.ingestion)
        assert await services.store.manifest() is not None


async def test_warming_up_follows_the_configured_folder(
    make_settings: MakeSettings, own_index: Path, tmp_path: Path
) -> None:
    other = write_book(tmp_path / "other", {"other.md": "# Other\n\nAnother book altogether.\n"})
    settings = make_settings(qdrant_path=own_index, book_content_path=other)
    async with open_services(settings) as services:
        await warm_up(services)
        await wait_for_ingestion(services.ingestion)
        assert set(await services.store.ledger()) == {"other.md"}


async def test_warming_up_leaves_an_index_alone(make_settings: MakeSettings) -> None:
    async with open_services(make_settings()) as services:
        before = await services.store.manifest()
        await warm_up(services)
        assert services.ingestion.latest is None
        assert await services.store.manifest() == before


async def test_the_callback_runs_when_everything_is_loaded(
    make_settings: MakeSettings, upstream: Upstream
) -> None:
    settings = make_settings(openai_base_url=upstream.base_url)
    async with open_services(settings) as services:
        loaded = []
        load = services.chat.model.load if services.chat.model else None
        assert load

        async def loading() -> None:
            await load()
            loaded.append("model")

        services.chat.model.load = loading  # type: ignore[union-attr, method-assign]
        await warm_up(services, lambda: loaded.append("all"))
        assert loaded == ["model", "all"]


async def test_a_store_that_is_down_does_not_stop_the_start(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_retry_policies(monkeypatch, first_pause=0.0, longest_pause=0.0)
    async with open_services(Settings(qdrant_url="http://127.0.0.1:9")) as services:
        warming = asyncio.create_task(warm_up(services))
        await asyncio.sleep(0)
        await services.index_checked.wait()
        assert "cannot be reached" in caplog.text
        state = await services.store_probe.answer(10)
        assert state
        assert not state.connected
        assert state.problem
        warming.cancel()


async def test_a_store_that_was_down_is_looked_for_again(
    make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.services, "_RETRY_SECONDS", 0.01)
    change_retry_policies(monkeypatch, first_pause=0.0, longest_pause=0.0)
    async with running_qdrant(tmp_path / "qdrant") as server:
        settings = make_settings(qdrant_url=server.url, qdrant_path=tmp_path / "unused")
        await server.stop()
        async with open_services(settings) as services:
            warming = asyncio.create_task(warm_up(services))
            await asyncio.sleep(0)
            await services.index_checked.wait()
            assert services.ingestion.latest is None
            await server.start()
            await asyncio.wait_for(warming, 30)
            await wait_for_ingestion(services.ingestion)
            assert await services.store.manifest() is not None


async def test_a_question_waits_once_for_a_server_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking for the index and the search would each wait for three seconds."""
    async with running_qdrant(tmp_path / "qdrant") as server:
        settings = Settings(qdrant_url=server.url, qdrant_path=tmp_path / "unused")
        async with open_services(settings) as services:
            await services.store.manifest()  # imports the client
            monkeypatch.setattr(lib.store, "_READER_SECONDS", 0.05)
            monkeypatch.setattr(lib.store_server, "_MANIFEST_SECONDS", 0)
            with server.failing(Hang()), pytest.raises(StoreUnavailable, match="too long"):
                await services.chat.until_indexed()


async def test_a_problem_of_the_store_is_part_of_the_probe_s_answer(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> None:
        raise StoreUnavailable("Damaged.")

    monkeypatch.setattr(lib.services, "_STORE_PROBE_SECONDS", 0)
    async with open_services(make_settings()) as services:
        state = await services.store_probe.answer(10)
        assert state
        assert (state.connected, state.problem) == (True, None)
        monkeypatch.setattr(services.store, "manifest", broken)
        state = await services.store_probe.answer(10)
        assert state
        assert (state.connected, state.problem) == (True, "Damaged.")


async def test_closing_cancels_a_probe_that_hangs(
    make_settings: MakeSettings, upstream: Upstream
) -> None:
    """No task is left running."""
    upstream.models_reply = [Hang()]
    async with open_services(make_settings(openai_base_url=upstream.base_url)) as services:
        assert services.model_probe is not None
        await services.model_probe.answer(0)
        await upstream.until(lambda u: bool(u.requests))
    await upstream.until(lambda u: u.disconnects == 1)
    left = [repr(task) for task in asyncio.all_tasks()]
    assert not [task for task in left if "Probe" in task or "ChatModel" in task]


@pytest.mark.parametrize(
    "failing", [Ingestion, Reports, CachedProbe, ChatModel, GuardedEmbedder, MemoryBudget]
)
async def test_everything_is_closed_although_one_fails_to_close(
    failing: type, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every resource is closed once, in an order in which none is closed before its users."""
    closed: list[type] = []

    def record(kind: type) -> None:
        close = kind.close  # type: ignore[attr-defined]

        async def closing(self: Any) -> None:
            closed.append(kind)
            await close(self)
            if kind is failing:
                raise OSError(f"{kind.__name__} does not close")

        monkeypatch.setattr(kind, "close", closing)

    order = [Ingestion, Reports, CachedProbe, ChatModel, GuardedEmbedder, ServerStore, MemoryBudget]
    for kind in (*order, RedisClient):
        record(kind)
    settings = Settings(
        openai_base_url="http://127.0.0.1:9/v1",
        qdrant_url="http://127.0.0.1:9",
        redis_url="redis://127.0.0.1:9",
        qdrant_path=tmp_path,
    )
    with pytest.raises(OSError, match=f"{failing.__name__} does not close"):
        async with open_services(settings):
            pass
    assert list(dict.fromkeys(closed)) == [*order, RedisClient]
    assert closed.count(CachedProbe) == 3
    assert len(closed) == 10


async def test_opening_loads_nothing_and_writes_nothing(tmp_path: Path) -> None:
    settings = Settings(qdrant_path=tmp_path / "index", book_content_path=tmp_path / "book")
    async with open_services(settings):
        assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240


async def test_an_unexpected_exception_at_startup_does_not_block_questions(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    async with open_services(make_settings()) as services:
        monkeypatch.setattr(services.store, "open", broken)
        with pytest.raises(ZeroDivisionError):
            await warm_up(services)
        assert services.index_checked.is_set()
