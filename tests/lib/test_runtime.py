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
    CONCURRENT_JOBS,
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


async def test_others_have_a_turn_between_two_slices() -> None:
    seen: list[str] = []

    async def other() -> None:
        for number in range(3):
            seen.append(f"other{number}")
            await asyncio.sleep(0)

    found, _ = await asyncio.gather(run_cooperatively(steps(seen, "a"), 0), other())
    assert found == "a"
    assert seen == ["a0", "other0", "a1", "other1", "a2", "other2"]


async def test_only_so_many_pieces_of_work_go_on_at_once() -> None:
    seen: list[str] = []
    names = "abcd"[: CONCURRENT_JOBS + 1]
    works = (run_cooperatively(steps(seen, name), 0) for name in names)
    assert await asyncio.gather(*works) == list(names)
    assert seen.index(f"{names[-1]}0") > seen.index("a2")
    assert {step[0] for step in seen[:CONCURRENT_JOBS]} == set(names[:-1])


async def test_what_is_short_is_one_slice() -> None:
    seen: list[str] = []
    both = (run_cooperatively(steps(seen, name), 60) for name in "ab")
    assert await asyncio.gather(*both) == ["a", "b"]
    assert seen == ["a0", "a1", "a2", "b0", "b1", "b2"]


async def test_work_ends_with_who_asked_for_it() -> None:
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
    """Counts its beginnings; waits for `go`; fails while `fault` is set."""

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


async def test_it_is_done_once_for_all() -> None:
    work = Work()
    once = SingleFlight(work)
    assert once.value is None
    assert not once.done
    waiting = [asyncio.create_task(once.get()) for _ in range(5)]
    await asyncio.sleep(0)
    work.go.set()
    assert await asyncio.gather(*waiting) == ["result 1"] * 5
    assert await once.get() == "result 1"
    assert once.done
    assert once.value == "result 1"
    assert work.begun == 1


async def test_who_goes_does_not_stop_it_for_the_others() -> None:
    work = Work()
    once = SingleFlight(work)
    first, second = asyncio.create_task(once.get()), asyncio.create_task(once.get())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    work.go.set()
    assert await second == "result 1"


async def test_a_failure_is_for_all_who_waited_and_the_next_begins_anew() -> None:
    work = Work()
    work.fault = OSError("no")
    once = SingleFlight(work)
    waiting = [asyncio.create_task(once.get()) for _ in range(3)]
    await asyncio.sleep(0)
    work.go.set()
    assert [type(r) for r in await asyncio.gather(*waiting, return_exceptions=True)] == [
        OSError
    ] * 3
    assert once.value is None
    work.fault = None
    assert await once.get() == "result 2"


async def test_it_tells_how_long_the_loop_was_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lib.runtime, "BEAT_SECONDS", 0.01)
    loop_monitor, beats = LoopMonitor(), asyncio.Queue[None]()
    assert loop_monitor.lag == loop_monitor.worst == 0
    beating = asyncio.create_task(loop_monitor.beat(lambda: beats.put_nowait(None)))
    await beats.get()
    time.sleep(0.2)  # noqa: ASYNC251  # what it is there to notice
    await beats.get()
    assert loop_monitor.lag > 0.15
    await beats.get()
    assert loop_monitor.lag < loop_monitor.worst
    assert loop_monitor.worst > 0.15
    beating.cancel()


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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="told by /proc")
def test_what_was_freed_is_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FREED_AND_GIVEN_BACK],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) > 20_000_000


def test_what_stays_is_not_looked_through_again() -> None:
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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="told by /proc")
def test_a_forgotten_file_takes_no_memory_and_can_be_read_again(tmp_path: Path) -> None:
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
    """How many bytes of a mapped file are in the memory of this process."""
    maps = Path("/proc/self/smaps").read_text(encoding="utf-8")
    found = re.search(rf" {re.escape(str(path))}\n(?:.*\n)*?Rss: +(\d+) kB", maps)
    assert found
    return 1024 * int(found[1])
