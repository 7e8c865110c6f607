"""One replica ingests at a time.

What a replica tells of another's ingestion.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest

import lib.replicas.ingest
from lib.errors import Conflict, NotFound, RedisUnavailable
from lib.ingest import Ingestion, IngestRequest
from lib.replicas.client import RedisClient
from lib.replicas.ingest import (
    _FINISHED_REPORT_SECONDS,
    _LATEST_TASK,
    _LEASE_KEY,
    _LEASE_SECONDS,
    _REPORT_KEY,
    _RUNNING_REPORT_SECONDS,
    _TRUSTED_SHARE,
    LeasedStore,
    Reports,
    _Lease,
    _LeasedBuilder,
)
from lib.services import make_local_embedder
from lib.settings import MULTILINGUAL, Settings
from lib.store import new_generation
from lib.store_edge import EdgeStore
from tests.clock import Clock
from tests.conftest import wait_for_ingestion
from tests.redis_server import running_redis
from tests.stores import MODEL, chunk, make_manifest, random_vectors, sparse_vectors
from tests.tiny_book import BOOK, write_book


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def forget(redis: RedisClient) -> None:
    """Delete the lease, as if it had expired."""
    await redis.run("return redis.call('DEL', KEYS[1])", [_LEASE_KEY])


async def test_one_has_it_until_it_lets_go(redis: RedisClient) -> None:
    first, second = _Lease(redis), _Lease(redis)
    await first.take()
    with pytest.raises(Conflict, match="Another process"):
        await second.take()
    await second.release()  # it never held the lease
    await first.confirm()
    await first.release()
    await second.take()
    await first.release()  # leaves the other's lease
    await second.confirm()
    await second.release()


async def test_of_many_at_once_one_gets_it(redis: RedisClient) -> None:
    leases = [_Lease(redis) for _ in range(20)]
    got = await asyncio.gather(*(lease.take() for lease in leases), return_exceptions=True)
    assert sum(each is None for each in got) == 1
    for lease in leases:
        await lease.release()


async def test_it_lapses_when_its_holder_is_killed(redis: RedisClient) -> None:
    killed = _Lease(redis)
    await killed.take()
    left = await redis.run("return redis.call('PTTL', KEYS[1])", [_LEASE_KEY])
    assert 0 < left <= 1000 * _LEASE_SECONDS
    await killed.release()


async def test_it_is_renewed_while_its_holder_works(
    redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.replicas.ingest, "_RENEW_SECONDS", 0.0)
    lease = _Lease(redis)
    await lease.take()
    await redis.run("return redis.call('PEXPIRE', KEYS[1], 5000)", [_LEASE_KEY])
    while await redis.run("return redis.call('PTTL', KEYS[1])", [_LEASE_KEY]) <= 5000:
        continue
    await lease.release()


async def test_who_lost_it_learns_of_it(
    redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = _Lease(redis)
    await late.take()
    await forget(redis)
    late.check()  # it cannot know yet
    other = _Lease(redis)
    await other.take()
    with pytest.raises(Conflict, match="took over"):
        await late.confirm()
    with pytest.raises(Conflict, match="took over"):
        late.check()
    await late.release()
    await other.confirm()
    await other.release()
    monkeypatch.setattr(lib.replicas.ingest, "_RENEW_SECONDS", 0.0)
    lease = _Lease(redis)
    await lease.take()
    await forget(redis)
    while lease.held:
        await redis.reachable()
    await lease.release()


async def test_who_cannot_renew_it_takes_it_for_lost_before_another_gets_it(
    redis: RedisClient, clock: Clock
) -> None:
    lease = _Lease(redis, clock=clock)
    await lease.take()
    clock.now += _TRUSTED_SHARE * _LEASE_SECONDS - 0.1
    lease.check()
    clock.now += 0.1
    with pytest.raises(Conflict):
        lease.check()
    with pytest.raises(Conflict):
        await lease.confirm()
    await lease.release()


async def test_what_waits_within_a_lease_ends_when_it_cannot_be_renewed(
    redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.replicas.ingest, "_LEASE_SECONDS", 0.1)
    lease = _Lease(redis)
    await lease.take()
    async with asyncio.timeout(2):
        with pytest.raises(Conflict, match="took over"):
            async with lease.confirmed():
                await asyncio.Event().wait()
    await lease.release()


async def test_without_redis_nobody_gets_it(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        client = RedisClient(server.url, "book")
        lease = _Lease(client)
        await lease.take()
        server.kill()
        with pytest.raises(RedisUnavailable):
            await lease.confirm()
        with pytest.raises(RedisUnavailable):
            await _Lease(client).take()
        await lease.release()
        await client.close()


async def test_who_lost_it_writes_no_more(
    redis: RedisClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.replicas.ingest, "_RENEW_SECONDS", 0.0)
    store = LeasedStore(EdgeStore(tmp_path), redis)
    builder = await store.build(new_generation(), MODEL)
    assert isinstance(builder, _LeasedBuilder)
    await forget(redis)
    while builder._lease.held:
        await redis.reachable()
    calls: list[Coroutine[Any, Any, object]] = [
        builder.reuse_vectors([]),
        builder.copy_unchanged([]),
        builder.add([chunk(1)], random_vectors(1), sparse_vectors([chunk(1)])),
        builder.publish(make_manifest("g", 1), {}),
    ]
    for call in calls:
        with pytest.raises(Conflict, match="took over"):
            await call
    await builder.discard()
    await store.close()


async def test_a_store_that_cannot_build_gives_it_back(
    redis: RedisClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lib.store_edge._LOCK_SECONDS", 0.0)
    other, store = EdgeStore(tmp_path), LeasedStore(EdgeStore(tmp_path), redis)
    builder = await other.build(new_generation(), MODEL)
    with pytest.raises(Conflict):
        await store.build(new_generation(), MODEL)
    lease = _Lease(redis)
    await lease.take()
    await lease.release()
    await builder.discard()
    for each in (other, store):
        await each.close()


# An ingestion under a lease


@pytest.fixture
async def ingestion(redis: RedisClient, tmp_path: Path) -> AsyncIterator[Ingestion]:
    settings = Settings(
        book_content_path=write_book(tmp_path / "book", {"index.md": BOOK["index.md"]}),
        qdrant_path=tmp_path / "index",
    )
    store = LeasedStore(EdgeStore(tmp_path / "index"), redis)
    running = Ingestion(settings, make_local_embedder(MULTILINGUAL), store, store.check)
    yield running
    await running.close()
    await store.close()


async def run(ingestion: Ingestion) -> str:
    started = await ingestion.start(IngestRequest(force_reindex=True))
    await wait_for_ingestion(ingestion)
    return ingestion.status(started.task_id).error or "published"


async def test_an_ingestion_takes_the_lease_and_passes_it_on(
    ingestion: Ingestion, redis: RedisClient
) -> None:
    assert await run(ingestion) == "published"
    other = _Lease(redis)
    await other.take()
    assert "Another process is building" in await run(ingestion)
    await other.release()
    assert await run(ingestion) == "published"


async def test_an_ingestion_that_lost_the_lease_publishes_nothing(
    ingestion: Ingestion, redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def publish(*arguments: object) -> None:
        raise AssertionError

    confirm, other = _Lease.confirm, _Lease(redis)

    async def late(lease: _Lease) -> None:
        await forget(redis)
        await other.take()
        await confirm(lease)

    monkeypatch.setattr(_Lease, "confirm", late)
    monkeypatch.setattr("lib.store_edge._EdgeBuilder.publish", publish)
    assert "took over" in await run(ingestion)
    await other.release()


async def test_a_publication_that_waits_for_its_server_ends_with_the_lease(
    ingestion: Ingestion, redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, other = asyncio.Event(), _Lease(redis)

    async def publish(*arguments: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(lib.replicas.ingest, "_RENEW_SECONDS", 0.0)
    monkeypatch.setattr("lib.store_edge._EdgeBuilder.publish", publish)
    running = asyncio.create_task(run(ingestion))
    await begun.wait()
    await forget(redis)
    await other.take()
    async with asyncio.timeout(5):
        assert "took over" in await running
    await other.release()


async def test_a_stopped_ingestion_lets_go(
    ingestion: Ingestion, redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def publish(*arguments: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("lib.store_edge._EdgeBuilder.publish", publish)
    await ingestion.start(IngestRequest())
    await begun.wait()
    taken = "return redis.call('EXISTS', KEYS[1])"
    assert await redis.run(taken, [_LEASE_KEY])
    await ingestion.cancel(None)
    assert not await redis.run(taken, [_LEASE_KEY])


TIME_LEFT = "return redis.call('TTL', KEYS[1])"


@pytest.fixture
async def ingestions(tmp_path: Path) -> AsyncIterator[tuple[Ingestion, Ingestion]]:
    """The ingestions of two replicas."""
    folder = write_book(tmp_path / "book", BOOK)
    made = []
    for name in ("here", "there"):
        settings = Settings(book_content_path=folder, qdrant_path=tmp_path / name)
        store = EdgeStore(settings.qdrant_path)
        made.append((Ingestion(settings, make_local_embedder(MULTILINGUAL), store), store))
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
    await reports[0].publish()
    for asked in (None, first.task_id):
        assert (await reports[1].status(asked)).status == "processing"
        assert (await reports[0].status(asked)).task_id == first.task_id
    assert 0 < await redis.run(TIME_LEFT, [_REPORT_KEY + first.task_id]) <= _RUNNING_REPORT_SECONDS
    await wait_for_ingestion(here)
    await reports[0].publish()
    told = await reports[1].status(first.task_id)
    assert told == await reports[0].status(None) == here.status(None)
    assert told.status == "completed"
    assert (
        _RUNNING_REPORT_SECONDS
        < await redis.run(TIME_LEFT, [_LATEST_TASK])
        <= _FINISHED_REPORT_SECONDS
    )
    second = await there.start(IngestRequest())
    await reports[1].publish()
    assert (await reports[0].status(None)).task_id == second.task_id
    assert (await reports[1].status(None)).task_id == second.task_id
    with pytest.raises(NotFound, match="no such"):
        await reports[0].status("unknown")
    ended = await there.cancel(None)
    assert ended.status != "processing"
    for each in reports:
        await each.close()
    client = Reports(here, redis)
    assert await client.status(second.task_id) == ended  # published on closing
    await client.close()


async def test_it_goes_on_telling(
    ingestions: tuple[Ingestion, Ingestion],
    redis: RedisClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lib.replicas.ingest, "_PUBLISH_SECONDS", 0.0)
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
        await reports[0].publish()
        assert (await reports[0].status(None)).task_id == started.task_id
        with pytest.raises(NotFound):
            await reports[1].status(None)
        for each in reports:
            await each.close()
        await client.close()
