"""The budget of one process, and what is kept of it on the disk."""

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lib.memory_budget
from lib.budget import DAY, MAX_READERS, Limits
from lib.durable import write_durably
from lib.memory_budget import MemoryBudget
from tests.budgets import at_noon, reserve, spend
from tests.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return at_noon()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60), st.integers(0, 9))))
async def test_all_steps_stay_within_the_budget(steps: list[tuple[int, int, int]]) -> None:
    limits = Limits(tokens=100, usd=0.5, reader_tokens=70)
    await spend(MemoryBudget(limits, clock=at_noon()), steps)


async def test_a_flood_of_invented_readers(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever invents addresses gets no more than all readers together may have."""
    assert MAX_READERS <= 100_000
    monkeypatch.setattr(lib.memory_budget, "MAX_READERS", 100)
    budget = MemoryBudget(Limits(tokens=50_000, reader_tokens=3), clock=clock)
    served = [await budget.reserve(str(n), 1, 0.0) is not None for n in range(100_000)]
    assert sum(served) == 50_000
    assert len(budget._readers) == 100


async def test_a_forgotten_reader_s_answer_is_settled_all_the_same(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.memory_budget, "MAX_READERS", 1)
    budget = MemoryBudget(Limits(tokens=100, reader_tokens=30), clock=clock)
    first = await reserve(budget, 30, reader="a")
    (await reserve(budget, 30, reader="b")).release()
    first.settle(25, 0.0)
    assert budget.state().tokens == 25
    await reserve(budget, 30, reader="a")


# On disk


async def opened(path: Path, clock: Callable[[], float], **limits: int) -> MemoryBudget:
    budget = MemoryBudget(Limits(**limits), path, clock=clock)
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
    await reserve(before, 30, 0.5)  # the process ends in the midst of it
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
    """The tokens of each writing, told when it is done."""
    loop, told = asyncio.get_running_loop(), asyncio.Queue[int]()

    def telling(path: Path, content: bytes) -> None:
        write_durably(path, content)
        loop.call_soon_threadsafe(told.put_nowait, json.loads(content)["tokens"])

    monkeypatch.setattr(lib.memory_budget, "write_durably", telling)
    return told


async def test_a_killed_process_has_kept_it(
    path: Path, clock: Clock, written: asyncio.Queue[int]
) -> None:
    """The first change is written at once, those of the next second together."""
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
    assert "cannot be read" in caplog.text
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
    assert caplog.text.count("cannot be kept") == 1
    assert str(tmp_path) not in caplog.text


async def test_without_a_path_nothing_is_written(tmp_path: Path, clock: Clock) -> None:
    budget = MemoryBudget(Limits(), None, clock=clock)
    await budget.open()
    await reserve(budget, 5)
    await budget.close()
    assert files(tmp_path) == []
