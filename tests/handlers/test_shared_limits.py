"""Rate limits shared by several replicas."""

import asyncio
from pathlib import Path

import pytest

import lib.replicas.client
from lib.replicas.client import RedisClient, take_allowance
from tests.api import serving
from tests.conftest import MakeSettings
from tests.limits import BURST, ask, use_up
from tests.redis_server import RedisServer, running_redis


async def test_replicas_count_together(
    make_settings: MakeSettings, redis_server: RedisServer
) -> None:
    redis_server.flush()
    shared = make_settings(redis_url=redis_server.url)
    async with serving(shared) as here, serving(shared) as there:
        for _ in range(BURST // 2):
            assert (await ask(here)).status == 400
            assert (await ask(there)).status == 400
        while (refused := await ask(here)).status != 429:
            continue
        assert 1 <= int(refused.headers["Retry-After"]) <= 6
        assert refused.headers["RateLimit-Remaining"] == "0"
        while (refused := await ask(there)).status != 429:
            continue
        assert refused.headers["RateLimit-Remaining"] == "0"
        assert (await ask(there, "203.0.113.10")).status == 400


async def test_requests_at_the_same_moment_are_all_counted(
    make_settings: MakeSettings, redis_server: RedisServer
) -> None:
    """Reading and writing the count is atomic."""
    redis_server.flush()
    shared = make_settings(redis_url=redis_server.url)
    async with serving(shared) as here, serving(shared) as there:
        answers = await asyncio.gather(*(ask(each) for each in (here, there) * BURST))
    served = sum(answer.status == 400 for answer in answers)
    assert BURST <= served <= BURST + 1  # a slow machine may regain one


async def test_who_is_known_to_ask_too_much_costs_redis_nothing(
    make_settings: MakeSettings, redis_server: RedisServer
) -> None:
    redis_server.flush()
    async with serving(make_settings(redis_url=redis_server.url)) as api:
        while (await ask(api)).status != 429:
            continue
        shared = api.services.redis
        assert shared is not None
        count = "return redis.call('INFO', 'commandstats'):match('cmdstat_evalsha:calls=(%d+)')"
        before = int(await shared.run(count, ["x"]))
        for _ in range(5):
            await ask(api)
        assert int(await shared.run(count, ["x"])) - before <= 2


async def test_an_allowance_comes_back_in_time(redis: RedisClient) -> None:
    assert [(await take_allowance(redis, "a", 1, 3))[0] for _ in range(4)] == [True] * 3 + [False]
    # After half a second and two seconds; then with a clock that was set back by a minute.
    for ago, more in [(0.5, 0), (2.0, 2), (-60, 3)]:
        script = "redis.call('SET', KEYS[1], redis.call('GET', KEYS[1]) - ARGV[1])"
        await redis.run(script, ["limit:a"], round(ago * 1e6))
        taken = [(await take_allowance(redis, "a", 1, 3))[0] for _ in range(3)]
        assert taken == [True] * more + [False] * (3 - more)


async def test_redis_forgets_whose_allowance_is_whole(redis: RedisClient) -> None:
    for number in (1, 2):
        await take_allowance(redis, "a", 10, 30)
        left = await redis.run("return redis.call('PTTL', KEYS[1])", ["limit:a"])
        assert 10_000 * (number - 0.5) < left <= 10_000 * number


async def test_without_redis_each_replica_counts_on_with_what_it_knows(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    with running_redis(tmp_path) as server:
        async with serving(make_settings(redis_url=server.url)) as api:
            await use_up(api, 10)
            server.kill()
            await use_up(api, 10)
            while (answer := await ask(api)).status != 429:
                continue
            assert answer.headers["RateLimit-Limit"] == "20"
            assert (await ask(api, "203.0.113.10")).status == 400


async def test_while_redis_hangs_requests_at_the_same_moment_are_all_counted(
    make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.replicas.client, "_TIMEOUT", 0.1)
    with running_redis(tmp_path) as server:
        async with serving(make_settings(redis_url=server.url)) as api:
            assert api.services.redis is not None
            await api.services.redis.check()
            with server.paused():
                answers = await asyncio.gather(*(ask(api) for _ in range(2 * BURST)))
    served = sum(answer.status == 400 for answer in answers)
    assert BURST <= served <= BURST + 1  # a slow machine may regain one
