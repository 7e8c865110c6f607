"""The budget shared by replicas, with outages of Redis or of a replica."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import lib.replicas.budget
import lib.replicas.client
from lib.budget import DAY, BudgetLimits, Spending
from lib.errors import RedisUnavailable
from lib.replicas.budget import _KEYS, RedisBudget
from lib.replicas.client import RedisClient
from tests.budgets import LAPSE_SECONDS, clock_at_noon, current_spending, reserve
from tests.clock import Clock
from tests.redis_server import running_redis


@pytest.fixture
def clock() -> Clock:
    return clock_at_noon()


Make = Callable[..., RedisBudget]


@pytest.fixture
async def make(redis: RedisClient, clock: Clock) -> AsyncIterator[Make]:
    """A replica's budget with these limits."""
    made: list[RedisBudget] = []

    def make_one(
        client: RedisClient = redis, clock: Clock | None = clock, **limits: int
    ) -> RedisBudget:
        made.append(RedisBudget(BudgetLimits(**limits), client, lapse=LAPSE_SECONDS, clock=clock))
        return made[-1]

    yield make_one
    for each in made:
        await each.close()


FORGET = "for _, key in ipairs(KEYS) do redis.call('DEL', key) end"


async def settled(budget: RedisBudget) -> None:
    """Wait until Redis has received all settlements."""
    await budget.refresh()
    while budget._sending and not budget._sending.done():
        await budget.refresh()


async def test_replicas_have_one_budget(make: Make) -> None:
    here = make(tokens=100, reader_tokens=80)
    there = make(tokens=100, reader_tokens=80)
    first = await reserve(here, 60, 0.5)
    assert await there.reserve("a", 21, 0.0) is None
    assert await there.reserve("b", 41, 0.0) is None
    first.settle(30, 0.25)
    await here.refresh()
    second = await reserve(there, 50)
    await here.refresh()
    assert here.state() == there.state()
    state = here.state()
    assert (state.tokens, state.tokens_reserved, state.usd, state.refused) == (30, 50, 0.25, 2)
    second.release()


async def test_what_a_killed_replica_had_reserved_is_spent(clock: Clock, make: Make) -> None:
    killed, budget = make(tokens=100), make(tokens=100)
    lost = await reserve(killed, 60, 0.5)
    clock.now += LAPSE_SECONDS - 1
    assert (await current_spending(budget)).tokens_reserved == 60
    clock.now += 1
    state = await current_spending(budget)
    assert (state.tokens, state.tokens_reserved, state.usd, state.usd_reserved) == (60, 0, 0.5, 0)
    assert await budget.reserve("a", 41, 0.0) is None
    lost.settle(10, 0.0)  # the replica was late, not killed
    await killed.refresh()
    assert (await current_spending(budget)).tokens == 60


async def test_redis_keeps_as_many_readers_as_there_is_room_for(
    redis: RedisClient, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.replicas.budget, "MAX_TRACKED_READERS", 10)
    budget = make(tokens=200, reader_tokens=3)
    served = [await budget.reserve(str(n), 1, 0.0) is not None for n in range(300)]
    assert sum(served) == 200
    assert await redis.run("return redis.call('HLEN', KEYS[1])", ["budget:readers"]) == 10


async def test_what_counts_for_no_reader_counts_for_all(make: Make) -> None:
    budget = make(tokens=100, reader_tokens=10)
    nobodys = await budget.reserve(None, 60, 0.0)
    assert nobodys is not None
    nobodys.settle(50, 0.0)
    assert (await current_spending(budget)).tokens == 50
    assert await budget.reserve(None, 51, 0.0) is None
    assert await budget.reserve("a", 11, 0.0) is None


async def test_a_reader_whom_redis_forgot_is_owed_nothing(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.replicas.budget, "MAX_TRACKED_READERS", 1)
    budget = make(tokens=100, reader_tokens=30)
    first = await reserve(budget, 30, reader="a")
    (await reserve(budget, 30, reader="b")).release()
    first.settle(25, 0.0)
    assert (await current_spending(budget)).tokens == 25
    assert await budget.reserve("a", 31, 0.0) is None
    await reserve(budget, 30, reader="a")


async def test_redis_forgets_it_after_the_day(redis: RedisClient, make: Make) -> None:
    budget = make(tokens=100, reader_tokens=50)
    await reserve(budget, 10)
    for key in _KEYS:
        assert DAY < await redis.run("return redis.call('TTL', KEYS[1])", [key]) <= 2 * DAY


async def test_what_is_asked_twice_after_a_lost_answer_counts_once(
    redis: RedisClient, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget, run = make(tokens=100), redis.run

    async def twice(*arguments: Any) -> Any:
        await run(*arguments)
        return await run(*arguments)

    monkeypatch.setattr(redis, "run", twice)
    reservation = await reserve(budget, 60)
    assert (await current_spending(budget)).tokens_reserved == 60
    reservation.settle(10, 0.0)
    state = await current_spending(budget)
    assert (state.tokens, state.tokens_reserved) == (10, 0)


async def state_of_anyway(budget: RedisBudget) -> Spending:
    with suppress(RedisUnavailable):
        await budget.refresh()
    return budget.state()


async def test_without_redis_nothing_is_granted_and_later_all_is_settled(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.replicas.budget, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(lib.replicas.client, "_TIMEOUT", 0.1)
    with running_redis(tmp_path) as server:
        client = RedisClient(server.url, "book")
        budget = make(client, tokens=100)
        await budget.open()
        first, second = await reserve(budget, 60), await reserve(budget, 40)
        with server.paused():
            first.settle(10, 0.0)
            with pytest.raises(RedisUnavailable):
                await budget.reserve("a", 1, 0.0)
        second.release()
        while (await state_of_anyway(budget)).tokens_reserved:
            await client.reachable()
        assert budget.state().tokens == 10
        server.kill()
        with pytest.raises(RedisUnavailable):
            await budget.reserve("a", 1, 0.0)
        assert budget.state().tokens == 10  # the last known state
        for _ in range(20):
            with pytest.raises(RedisUnavailable):
                await budget.reserve("a", 1, 0.0)
        assert len(budget._unsent) < 10  # calls that the breaker refused need no settlement
        server.start()
        while (await state_of_anyway(budget)).tokens != 10 or budget._unsent:
            await client.reachable()
        await client.close()


async def test_a_redis_that_forgot_is_told_what_was_spent(
    redis: RedisClient, clock: Clock, make: Make
) -> None:
    budget = make(tokens=100)
    (await reserve(budget, 60, 0.5)).settle(50, 0.25)
    running = await reserve(budget, 20)
    await settled(budget)
    await redis.run(FORGET, _KEYS)
    assert await budget.reserve("a", 31, 0.0) is None
    state = budget.state()
    assert (state.tokens, state.tokens_reserved, state.usd) == (70, 0, 0.25)
    running.settle(1, 0.0)  # too late: counted in full
    assert (await current_spending(budget)).tokens == 70
    clock.now += DAY
    await redis.run(FORGET, _KEYS)
    assert (await current_spending(budget)).tokens == 0


async def test_what_any_replica_was_told_of_the_day_is_not_forgotten(
    redis: RedisClient, make: Make
) -> None:
    """Even if a replica that knows less is the first to ask after Redis lost its data."""
    knows, knows_more = make(tokens=100), make(tokens=100)
    (await reserve(knows, 30)).settle(30, 0.0)
    await settled(knows)
    (await reserve(knows_more, 20, 0.5)).settle(20, 0.25)
    await settled(knows_more)
    await redis.run(FORGET, _KEYS)
    new = make(tokens=100)
    assert (await current_spending(new)).tokens == 0
    assert (await current_spending(knows)).tokens == 30
    state = await current_spending(knows_more)
    assert (state.tokens, state.usd) == (50, 0.25)
    for each in (new, knows, knows_more):
        assert (await current_spending(each)).tokens == 50
        assert await each.reserve("a", 51, 0.0) is None


async def test_what_was_spent_yesterday_is_told_of_no_other_day(clock: Clock, make: Make) -> None:
    """A replica that is still on the old day does not change this."""
    behind = make(clock=clock_at_noon(), tokens=100)
    (await reserve(behind, 60)).settle(60, 0.0)
    await settled(behind)
    clock.now += DAY
    budget = make(tokens=100)
    for each in (budget, behind, budget):
        assert (await current_spending(each)).tokens == 0


async def test_a_redis_that_comes_back_as_it_was_before_is_told_what_was_spent_since(
    redis: RedisClient, make: Make
) -> None:
    """Redis restarts from an old snapshot."""
    budget = make(tokens=100, reader_tokens=100)
    running = await reserve(budget, 20)
    dump = "return {redis.call('DUMP', KEYS[1]), redis.call('DUMP', KEYS[3])}"
    copies = await redis.run(dump, _KEYS)
    (await reserve(budget, 60)).settle(50, 0.25)
    await settled(budget)
    restore = (
        "redis.call('DEL', KEYS[2]) for n = 1, 2 do "
        "redis.call('RESTORE', KEYS[2 * n - 1], 0, ARGV[n], 'REPLACE') end"
    )
    await redis.run(restore, _KEYS, *copies)
    state = await current_spending(budget)
    assert (state.tokens, state.tokens_reserved, state.usd) == (50, 20, 0.25)
    running.settle(10, 0.0)
    state = await current_spending(budget)
    assert (state.tokens, state.tokens_reserved) == (60, 0)


async def test_what_redis_lost_of_the_budget_s_keys_leaves_no_debt(
    redis: RedisClient, make: Make
) -> None:
    """An eviction policy may delete one of the keys."""
    budget = make(tokens=100)
    running = await reserve(budget, 60)
    await settled(budget)
    await redis.run(FORGET, _KEYS[:1])
    running.settle(10, 0.0)
    state = await current_spending(budget)
    assert (state.tokens, state.tokens_reserved) == (60, 0)
    assert await make(tokens=100).reserve("a", 41, 0.0) is None


async def test_a_replica_with_a_wrong_clock_neither_ends_the_day_nor_lets_others_lapse(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, wrong = make(clock=None, tokens=100), make(clock=None, tokens=100)
    await reserve(right, 60)
    day = (await current_spending(right)).resets_at
    now = time.time() + 400 * DAY
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now)
        assert await wrong.reserve("a", 41, 0.0) is None
        await reserve(wrong, 40)
    state = await current_spending(right)
    assert (state.tokens, state.tokens_reserved, state.resets_at) == (0, 100, day)


@pytest.mark.parametrize("how", ["lost", "left"])
async def test_what_may_have_been_granted_unheard_is_given_back(
    redis: RedisClient, make: Make, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The reply of Redis is lost, or the reader leaves before it arrives."""
    budget, run, granted = make(tokens=100), redis.run, asyncio.Event()

    async def unheard(*arguments: Any) -> Any:
        await run(*arguments)
        if how == "left" and not granted.is_set():
            granted.set()
            await asyncio.Event().wait()
        granted.set()
        raise RedisUnavailable("Lost.")

    with monkeypatch.context() as patch:
        patch.setattr(redis, "run", unheard)
        asking = asyncio.create_task(budget.reserve("a", 60, 0.0))
        await granted.wait()
        if how == "left":
            asking.cancel()
        with pytest.raises((RedisUnavailable, asyncio.CancelledError)):
            await asking
    state = await current_spending(budget)
    assert (state.tokens, state.tokens_reserved) == (0, 0)


async def test_what_is_told_of_others_is_asked_for_anew(
    redis: RedisClient, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.replicas.budget, "_REFRESH_SECONDS", 0.0)
    here, there = make(tokens=100), make(tokens=100)
    (await reserve(there, 60)).settle(40, 0.0)
    while here.state().tokens != 40:
        await redis.reachable()
