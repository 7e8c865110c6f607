import asyncio
from pathlib import Path

import pytest

import lib.services
from lib.errors import StoreUnavailable
from lib.services import ask_store, open_services, warm_up
from lib.settings import Settings
from tests.conftest import MakeSettings, ended
from tests.qdrant_server import running_qdrant
from tests.stores import change_policies
from tests.tiny_book import write_book
from tests.upstream import Hang, Upstream


async def test_warming_up_ingests_where_there_is_no_index(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    async with open_services(make_settings(qdrant_path=tmp_path / "index")) as services:
        await warm_up(services)
        await ended(services.ingestion)
        assert await services.store.manifest() is not None


async def test_warming_up_follows_the_configured_folder(
    make_settings: MakeSettings, own_index: Path, tmp_path: Path
) -> None:
    other = write_book(tmp_path / "other", {"other.md": "# Other\n\nAnother book altogether.\n"})
    settings = make_settings(qdrant_path=own_index, book_content_path=other)
    async with open_services(settings) as services:
        await warm_up(services)
        await ended(services.ingestion)
        assert set(await services.store.ledger()) == {"other.md"}


async def test_warming_up_leaves_an_index_alone(make_settings: MakeSettings) -> None:
    async with open_services(make_settings()) as services:
        before = await services.store.manifest()
        await warm_up(services)
        assert services.ingestion.latest is None
        assert await services.store.manifest() == before


async def test_who_waits_is_told_when_all_is_loaded(
    make_settings: MakeSettings, upstream: Upstream
) -> None:
    settings = make_settings(openai_base_url=upstream.base_url)
    async with open_services(settings) as services:
        loaded = []
        load = services.generator.load if services.generator else None
        assert load

        async def loading() -> None:
            await load()
            loaded.append("generator")

        services.generator.load = loading  # type: ignore[union-attr, method-assign]
        await warm_up(services, lambda: loaded.append("all"))
        assert loaded == ["generator", "all"]


async def test_a_store_that_is_down_does_not_stop_the_start(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_policies(monkeypatch, first_pause=0.0, longest_pause=0.0)
    async with open_services(Settings(qdrant_url="http://127.0.0.1:9")) as services:
        warming = asyncio.create_task(warm_up(services))
        await asyncio.sleep(0)
        await services.opened.wait()
        assert "cannot be reached" in caplog.text
        state = await ask_store(services.store)
        assert not state.connected
        assert state.problem
        warming.cancel()


async def test_a_store_that_was_down_is_looked_for_again(
    make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.services, "AWAY_SECONDS", 0.01)
    change_policies(monkeypatch, first_pause=0.0, longest_pause=0.0)
    async with running_qdrant(tmp_path / "qdrant") as server:
        settings = make_settings(qdrant_url=server.url, qdrant_path=tmp_path / "unused")
        await server.stop()
        async with open_services(settings) as services:
            warming = asyncio.create_task(warm_up(services))
            await asyncio.sleep(0)
            await services.opened.wait()
            assert services.ingestion.latest is None
            await server.start()
            await asyncio.wait_for(warming, 30)
            await ended(services.ingestion)
            assert await services.store.manifest() is not None


async def test_what_is_wrong_with_the_store_is_part_of_the_answer(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> None:
        raise StoreUnavailable("Damaged.")

    async with open_services(make_settings()) as services:
        assert (await ask_store(services.store)).problem is None
        monkeypatch.setattr(services.store, "manifest", broken)
        state = await ask_store(services.store)
        assert (state.connected, state.problem) == (True, "Damaged.")


async def test_closing_waits_for_nobody(make_settings: MakeSettings, upstream: Upstream) -> None:
    """A probe that hangs ends with the services; nothing of them is left running."""
    upstream.models_reply = [Hang()]
    async with open_services(make_settings(openai_base_url=upstream.base_url)) as services:
        assert services.model_probe is not None
        await services.model_probe.answer(0)
        await upstream.until(lambda u: bool(u.requests))
    await upstream.until(lambda u: u.left_early == 1)
    left = [repr(task) for task in asyncio.all_tasks()]
    assert not [task for task in left if "Probe" in task or "Generator" in task]


async def test_opening_loads_nothing_and_writes_nothing(tmp_path: Path) -> None:
    settings = Settings(qdrant_path=tmp_path / "index", book_content_path=tmp_path / "book")
    async with open_services(settings):
        assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240


async def test_an_error_of_the_program_at_the_start_lets_nobody_wait(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    async with open_services(make_settings()) as services:
        monkeypatch.setattr(services.store, "open", broken)
        with pytest.raises(ZeroDivisionError):
            await warm_up(services)
        assert services.opened.is_set()
