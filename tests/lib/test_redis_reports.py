"""What a replica tells of another's ingestion."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import lib.redis_reports
from lib.errors import NotFound
from lib.ingest import Ingestion, IngestRequest
from lib.redis_reports import KEEP_SECONDS, LATEST, LIVE_SECONDS, Reports, place
from lib.replicas.client import RedisClient
from lib.services import make_embedder
from lib.settings import Settings
from lib.store_edge import EdgeStore
from tests.conftest import ended
from tests.redis_server import running_redis
from tests.tiny_book import BOOK, write_book

TIME_LEFT = "return redis.call('TTL', KEYS[1])"


@pytest.fixture
async def ingestions(tmp_path: Path) -> AsyncIterator[tuple[Ingestion, Ingestion]]:
    """Of two replicas."""
    folder = write_book(tmp_path / "book", BOOK)
    made = []
    for name in ("here", "there"):
        settings = Settings(book_content_path=folder, qdrant_path=tmp_path / name)
        store = EdgeStore(settings.qdrant_path)
        made.append((Ingestion(settings, make_embedder(settings), store), store))
    yield made[0][0], made[1][0]
    for ingestion, store in made:
        await ingestion.close()
        await store.close()


async def test_either_tells_of_both(
    ingestions: tuple[Ingestion, Ingestion], redis: RedisClient
) -> None:
    here, there = ingestions
    reports = [Reports(each, redis) for each in ingestions]
    with pytest.raises(NotFound, match="No ingestion has run"):
        await reports[1].status(None)
    first = await here.start(IngestRequest())
    await reports[0].tell()
    for asked in (None, first.task_id):
        assert (await reports[1].status(asked)).status == "processing"
        assert (await reports[0].status(asked)).task_id == first.task_id
    assert 0 < await redis.run(TIME_LEFT, [place(first.task_id)]) <= LIVE_SECONDS
    await ended(here)
    await reports[0].tell()
    told = await reports[1].status(first.task_id)
    assert told == await reports[0].status(None) == here.status(None)
    assert told.status == "completed"
    assert LIVE_SECONDS < await redis.run(TIME_LEFT, [LATEST]) <= KEEP_SECONDS
    second = await there.start(IngestRequest())
    await reports[1].tell()
    assert (await reports[0].status(None)).task_id == second.task_id
    assert (await reports[1].status(None)).task_id == second.task_id
    with pytest.raises(NotFound, match="no such"):
        await reports[0].status("unknown")
    await there.cancel(None)
    for each in reports:
        await each.close()
    client = Reports(here, redis)
    assert (await client.status(second.task_id)).status == "failed"  # told at the end
    await client.close()


async def test_it_goes_on_telling(
    ingestions: tuple[Ingestion, Ingestion],
    redis: RedisClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lib.redis_reports, "TELL_SECONDS", 0.0)
    here = ingestions[0]
    reports = [Reports(each, redis) for each in ingestions]
    started = await here.start(IngestRequest())
    async with asyncio.timeout(10):
        while True:
            try:
                told = await reports[1].status(started.task_id)
            except NotFound:
                continue
            if told.finished_at:
                break
    assert told == here.status(None)
    for each in reports:
        await each.close()


async def test_without_redis_each_tells_of_its_own(
    ingestions: tuple[Ingestion, Ingestion], tmp_path: Path
) -> None:
    with running_redis(tmp_path) as server:
        client = RedisClient(server.url, "book")
        reports = [Reports(each, client) for each in ingestions]
        server.kill()
        started = await ingestions[0].start(IngestRequest())
        await reports[0].tell()
        assert (await reports[0].status(None)).task_id == started.task_id
        with pytest.raises(NotFound):
            await reports[1].status(None)
        for each in reports:
            await each.close()
        await client.close()
