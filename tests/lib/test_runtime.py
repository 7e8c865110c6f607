import asyncio
import gc
import mmap
import re
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

import lib.runtime
from lib.runtime import (
    LoopMonitor,
    SingleFlight,
    freeze_heap,
    release_pages,
    run_cooperatively,
    run_to_end,
    trim_heap,
)


def steps(seen: list[str], name: str) -> Generator[None, None, str]:
    for number in range(3):
        seen.append(f"{name}{number}")
        yield
    return name


async def test_other_tasks_run_between_two_slices() -> None:
    seen: list[str] = []

    async def other() -> None:
        for number in range(3):
            seen.append(f"other{number}")
            await asyncio.sleep(0)

    found, _ = await asyncio.gather(run_cooperatively(steps(seen, "a"), 0), other())
    assert found == "a"
    assert seen == ["a0", "other0", "a1", "other1", "a2", "other2"]


async def test_one_piece_of_work_runs_at_a_time() -> None:
    seen: list[str] = []
    works = (run_cooperatively(steps(seen, name), 0) for name in "ab")
    assert await asyncio.gather(*works) == ["a", "b"]
    assert seen == ["a0", "a1", "a2", "b0", "b1", "b2"]


async def test_short_work_is_one_slice() -> None:
    seen: list[str] = []
    both = (run_cooperatively(steps(seen, name), 60) for name in "ab")
    assert await asyncio.gather(*both) == ["a", "b"]
    assert seen == ["a0", "a1", "a2", "b0", "b1", "b2"]


async def test_cancelling_the_caller_ends_the_work() -> None:
    seen: list[str] = []
    asked = asyncio.create_task(run_cooperatively(steps(seen, "a"), 0))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert seen == ["a0"]
    assert await run_cooperatively(steps(seen, "b")) == "b"


def test_without_an_event_loop() -> None:
    seen: list[str] = []
    assert run_to_end(steps(seen, "a")) == "a"
    assert seen == ["a0", "a1", "a2"]


class Work:
    """Counts its executions, waits for `go` and raises `fault` if set."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = asyncio.Event()
        self.fault: Exception | None = None

    async def __call__(self) -> str:
        self.begun += 1
        await self.go.wait()
        if self.fault:
            raise self.fault
        return f"result {self.begun}"


async def test_concurrent_callers_share_one_execution() -> None:
    work = Work()
    flight = SingleFlight(work)
    assert flight.value is None
    assert not flight.running
    waiting = [asyncio.create_task(flight.get()) for _ in range(5)]
    await asyncio.sleep(0)
    assert flight.running
    work.go.set()
    assert await asyncio.gather(*waiting) == ["result 1"] * 5
    assert await flight.get() == "result 1"
    assert not flight.running
    assert flight.value == "result 1"
    assert work.begun == 1


async def test_cancelling_one_caller_leaves_the_others() -> None:
    work = Work()
    flight = SingleFlight(work)
    first, second = asyncio.create_task(flight.get()), asyncio.create_task(flight.get())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    work.go.set()
    assert await second == "result 1"


async def test_a_failure_reaches_all_callers_and_the_next_starts_again() -> None:
    work = Work()
    work.fault = OSError("no")
    flight = SingleFlight(work)
    waiting = [asyncio.create_task(flight.get()) for _ in range(3)]
    await asyncio.sleep(0)
    work.go.set()
    assert [type(r) for r in await asyncio.gather(*waiting, return_exceptions=True)] == [
        OSError
    ] * 3
    assert flight.value is None
    work.fault = None
    assert await flight.get() == "result 2"


async def test_a_failure_without_a_caller_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    work = Work()
    work.fault = OSError("no")
    flight = SingleFlight(work)
    caller = asyncio.create_task(flight.get())
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait((caller,))
    work.go.set()
    while flight.running:  # noqa: ASYNC110
        await asyncio.sleep(0)
    del caller, flight, work
    gc.collect(1)  # younger objects only: the whole heap takes half a second
    assert not caplog.records


async def test_after_cancelling_it_starts_again() -> None:
    work = Work()
    flight = SingleFlight(work)
    await flight.cancel()
    waiting = asyncio.create_task(flight.get())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await flight.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    work.go.set()
    assert await flight.get() == "result 2"


async def test_the_monitor_measures_the_loop_s_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lib.runtime, "_TICK_SECONDS", 0.01)
    monitor, ticks = LoopMonitor(), asyncio.Queue[None]()
    assert monitor.lag == monitor.worst_lag == 0
    running = asyncio.create_task(monitor.run(lambda: ticks.put_nowait(None)))
    await ticks.get()
    time.sleep(0.2)  # noqa: ASYNC251  # blocks the loop on purpose
    await ticks.get()
    assert monitor.lag > 0.15
    await ticks.get()
    assert monitor.lag < monitor.worst_lag
    assert monitor.worst_lag > 0.15
    running.cancel()


FREED_AND_GIVEN_BACK = """
from pathlib import Path
from lib.runtime import trim_heap

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

blocks = [bytes(100_000) + b"x" for _ in range(500)]
kept = blocks[::50]
del blocks
before = resident()
trim_heap()
print(before - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_trimming_returns_freed_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FREED_AND_GIVEN_BACK],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) > 20_000_000


def test_frozen_objects_are_not_collected() -> None:
    class Stays:
        pass

    kept, before = Stays(), gc.get_freeze_count()
    try:
        freeze_heap()
        assert gc.get_freeze_count() > before
        assert not any(each is kept for each in gc.get_objects())
    finally:
        gc.unfreeze()
    assert any(each is kept for each in gc.get_objects())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_released_pages_take_no_memory_and_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"tide" * 100_000)
    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    view = memoryview(mapping)
    assert bytes(view) == b"tide" * 100_000
    assert resident(path) >= 400_000
    release_pages(mapping)
    assert resident(path) == 0
    assert bytes(view[-4:]) == b"tide"
    trim_heap()


def resident(path: Path) -> int:
    """Bytes of a mapped file that are in this process's memory."""
    maps = Path("/proc/self/smaps").read_text(encoding="utf-8")
    found = re.search(rf" {re.escape(str(path))}\n(?:.*\n)*?Rss: +(\d+) kB", maps)
    assert found
    return 1024 * int(found[1])
