"""The daily budget, with answers that overlap, break off or never settle.

In memory and in Redis alike; what is particular to each has tests of its own.

The budget of one process, and what is kept of it on the disk.
"""

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lib.budget
from lib.budget import DAY, MAX_TRACKED_READERS, Budget, BudgetLimits, MemoryBudget
from lib.replicas.budget import RedisBudget
from lib.replicas.client import RedisClient
from lib.runtime import write_atomically
from tests.budgets import LAPSE_SECONDS, clock_at_noon, current_spending, reserve, run_steps
from tests.clock import Clock
from tests.redis_server import RedisServer

Make = Callable[..., Budget]


@pytest.fixture
def clock() -> Clock:
    return clock_at_noon()


@pytest.fixture(params=["memory", "redis"])
async def make(clock: Clock, request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """A budget with these limits."""
    if request.param == "memory":
        yield lambda **limits: MemoryBudget(BudgetLimits(**limits), clock=clock)
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    client = RedisClient(server.url, uuid4().hex)
    made: list[RedisBudget] = []

    def shared(**limits: Any) -> Budget:
        made.append(RedisBudget(BudgetLimits(**limits), client, lapse=LAPSE_SECONDS, clock=clock))
        return made[-1]

    yield shared
    for budget in made:
        await budget.close()
    await client.close()


async def test_without_limits_there_is_always_room(make: Make) -> None:
    budget = make()
    for _ in range(100):
        (await reserve(budget, 10**9, 10.0)).settle(10**9, 10.0)
    state = await current_spending(budget)
    assert (state.tokens, state.usd) == (10**11, 1_000.0)
    assert (state.tokens_limit, state.usd_limit, state.share) == (None, None, 0.0)


async def test_what_is_reserved_counts_and_what_is_settled_replaces_it(make: Make) -> None:
    budget = make(tokens=100)
    first = await reserve(budget, 60)
    assert await budget.reserve("b", 41, 0.0) is None
    second = await reserve(budget, 40)
    state = await current_spending(budget)
    assert (state.tokens, state.tokens_reserved, state.share, state.refused) == (0, 100, 1.0, 1)
    first.settle(10, 0.0)
    second.release()
    state = await current_spending(budget)
    assert (state.tokens, state.tokens_reserved, state.share) == (10, 0, 0.1)
    await reserve(budget, 90)
    assert await budget.reserve("a", 1, 0.0) is None


async def test_a_reservation_is_settled_once(make: Make) -> None:
    budget = make(tokens=100)
    reservation = await reserve(budget, 60)
    reservation.settle(10, 0.0)
    reservation.settle(50, 1.0)
    reservation.release()
    state = await current_spending(budget)
    assert (state.tokens, state.tokens_reserved, state.usd) == (10, 0, 0.0)


async def test_one_that_is_never_settled_counts_whole(make: Make, clock: Clock) -> None:
    budget = make(tokens=100)
    await reserve(budget, 60)
    clock.now += DAY / 2 - 1
    assert await budget.reserve("a", 41, 0.0) is None


async def test_money(make: Make) -> None:
    budget = make(usd=1.0)
    await reserve(budget, 10**9, 0.75)
    assert await budget.reserve("a", 1, 0.5) is None
    (await reserve(budget, 1, 0.25)).settle(1, None)
    state = await current_spending(budget)
    assert (state.usd, state.usd_reserved, state.usd_limit) == (0.25, 0.75, 1.0)


async def test_what_has_no_price_has_no_room_in_a_budget_of_money(make: Make) -> None:
    assert await make(usd=1.0).reserve("a", 1, None) is None
    assert await make(tokens=1).reserve("a", 1, None) is not None


async def test_a_reader_s_own_share(make: Make) -> None:
    budget = make(tokens=100, reader_tokens=30)
    (await reserve(budget, 30, reader="a")).settle(20, 0.0)
    assert (await current_spending(budget)).tokens == 20
    assert await budget.reserve("a", 11, 0.0) is None
    await reserve(budget, 10, reader="a")
    await reserve(budget, 30, reader="b")
    await reserve(budget, 30, reader="c")
    assert await budget.reserve("d", 30, 0.0) is None
    assert (await current_spending(budget)).tokens + (
        await current_spending(budget)
    ).tokens_reserved == 90


async def test_a_day_ends_at_midnight_utc(make: Make, clock: Clock) -> None:
    budget = make(tokens=100, reader_tokens=100)
    assert (await current_spending(budget)).resets_at == "2024-10-05T00:00:00+00:00"
    running = await reserve(budget, 100)
    clock.now += DAY / 2 - 1
    assert await budget.reserve("a", 1, 0.0) is None
    clock.now += 1
    assert (await current_spending(budget)).resets_at == "2024-10-06T00:00:00+00:00"
    (await reserve(budget, 100)).settle(40, 0.0)
    running.settle(1_000, 5.0)  # of yesterday
    state = await current_spending(budget)
    assert (state.tokens, state.tokens_reserved, state.usd) == (40, 0, 0.0)
    assert await budget.reserve("a", 61, 0.0) is None


async def test_a_clock_that_is_set_back_gives_no_second_budget(make: Make, clock: Clock) -> None:
    budget = make(tokens=100)
    clock.now += DAY
    await reserve(budget, 100)
    for _ in range(3):
        clock.now -= DAY
        assert await budget.reserve("a", 1, 0.0) is None
        clock.now += DAY
        assert await budget.reserve("a", 1, 0.0) is None


async def test_many_steps_stay_within_the_budget(make: Make) -> None:
    draw = random.Random(1)
    steps = [(draw.randrange(4), draw.randrange(60), draw.randrange(10)) for _ in range(300)]
    await run_steps(make(tokens=100, usd=0.5, reader_tokens=70), steps)


async def test_many_answers_at_once_stay_within_it(make: Make) -> None:
    """Finish, cancel or lose answers; charged is what the provider would bill."""
    chance = random.Random(1)
    budgets = [make(tokens=5_000) for _ in range(2)]
    if isinstance(budgets[0], MemoryBudget):
        budgets[1] = budgets[0]
    billed = 0

    async def answer(budget: Budget) -> None:
        nonlocal billed
        reservation = await budget.reserve("a", 100, 0.0)
        if reservation is None:
            return
        try:
            for _ in range(chance.randrange(10)):
                await asyncio.sleep(0)
                billed += 10
        finally:
            if chance.random() < 0.9:
                reservation.settle(chance.choice([60, 90, 100]), 0.0)

    tasks = [asyncio.create_task(answer(budgets[number % 2])) for number in range(300)]
    for task in tasks[::3]:
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert 0 < billed <= 5_000
    for budget in budgets:
        state = await current_spending(budget)
        assert state.tokens > 0
        assert state.tokens + state.tokens_reserved <= 5_000


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60), st.integers(0, 9))))
async def test_all_steps_stay_within_the_budget(steps: list[tuple[int, int, int]]) -> None:
    limits = BudgetLimits(tokens=100, usd=0.5, reader_tokens=70)
    await run_steps(MemoryBudget(limits, clock=clock_at_noon()), steps)


async def test_a_flood_of_invented_readers(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invented addresses never get more than the total budget."""
    assert MAX_TRACKED_READERS <= 100_000
    monkeypatch.setattr(lib.budget, "MAX_TRACKED_READERS", 100)
    budget = MemoryBudget(BudgetLimits(tokens=50_000, reader_tokens=3), clock=clock)
    served = [await budget.reserve(str(n), 1, 0.0) is not None for n in range(100_000)]
    assert sum(served) == 50_000
    assert len(budget._readers) == 100


async def test_a_forgotten_reader_s_answer_is_settled_all_the_same(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.budget, "MAX_TRACKED_READERS", 1)
    budget = MemoryBudget(BudgetLimits(tokens=100, reader_tokens=30), clock=clock)
    first = await reserve(budget, 30, reader="a")
    (await reserve(budget, 30, reader="b")).release()
    first.settle(25, 0.0)
    assert budget.state().tokens == 25
    await reserve(budget, 30, reader="a")


# On disk


async def opened(path: Path, clock: Callable[[], float], **limits: int) -> MemoryBudget:
    budget = MemoryBudget(BudgetLimits(**limits), path, clock=clock)
    await budget.open()
    return budget


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)


def files(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index" / "spending.json"


async def test_a_restart_does_not_forget(path: Path, clock: Clock) -> None:
    before = await opened(path, clock)
    (await reserve(before, 60, 0.5)).settle(50, 0.25)
    await reserve(before, 30, 0.5)  # the process ends before settling
    await before.close()
    after = await opened(path, clock, tokens=100)
    state = after.state()
    assert (state.tokens, state.tokens_reserved, state.usd) == (80, 0, 0.75)
    assert await after.reserve("a", 21, 0.0) is None
    clock.now += DAY
    assert (await opened(path, clock)).state().tokens == 0
    assert files(path.parent) == ["spending.json"]


@pytest.fixture
async def written(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[int]:
    """Record the tokens of each write when it is done."""
    loop, told = asyncio.get_running_loop(), asyncio.Queue[int]()

    def telling(path: Path, content: bytes) -> None:
        write_atomically(path, content)
        loop.call_soon_threadsafe(told.put_nowait, json.loads(content)["tokens"])

    monkeypatch.setattr(lib.budget, "write_atomically", telling)
    return told


async def test_a_killed_process_has_kept_it(
    path: Path, clock: Clock, written: asyncio.Queue[int]
) -> None:
    """The first change is written immediately, those of the next second together."""
    budget = await opened(path, clock)
    await reserve(budget, 60)
    assert await written.get() == 60
    assert (await opened(path, clock)).state().tokens == 60
    await budget.close()


async def test_it_is_not_written_for_every_answer(
    path: Path, clock: Clock, written: asyncio.Queue[int]
) -> None:
    budget = await opened(path, clock)
    for _ in range(1_000):
        (await reserve(budget, 1)).settle(1, 0.0)
        await asyncio.sleep(0)
    await budget.close()
    await asyncio.sleep(0)
    all_written = [written.get_nowait() for _ in range(written.qsize())]
    assert len(all_written) <= 3
    assert all_written[-1] == 1_000


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"null",
        b'{"day": 20000, "tokens": "many", "usd": 0}',
        b'{"day": 20000, "tokens": -5, "usd": 0}',
        b'{"day": 20000, "tokens": 5, "usd": -1}',
        b'{"day": 20000, "tokens": 5, "usd": NaN}',
        b'{"day": 20000, "tokens": 5}',
    ],
)
async def test_a_damaged_file_is_begun_anew(
    path: Path, clock: Clock, damaged: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    put(path, damaged)
    budget = await opened(path, clock)
    assert budget.state().tokens == 0
    assert "cannot read" in caplog.text
    await reserve(budget, 5)
    await budget.close()
    assert (await opened(path, clock)).state().tokens == 5


async def test_no_file_is_no_damage(
    path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await opened(path, clock)).state().tokens == 0
    assert caplog.text == ""


async def test_a_disk_that_takes_nothing_breaks_nothing(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "index").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        budget = await opened(tmp_path / "index" / "spending.json", clock, tokens=100)
        (await reserve(budget, 60)).settle(50, 0.0)
        await asyncio.sleep(0)
        await reserve(budget, 10)
        await budget.close()
    assert await budget.reserve("a", 50, 0.0) is None
    assert caplog.text.count("cannot save") == 1
    assert str(tmp_path) not in caplog.text


async def test_without_a_path_nothing_is_written(tmp_path: Path, clock: Clock) -> None:
    budget = MemoryBudget(BudgetLimits(), None, clock=clock)
    await budget.open()
    await reserve(budget, 5)
    await budget.close()
    assert files(tmp_path) == []
