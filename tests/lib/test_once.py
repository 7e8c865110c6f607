import asyncio

import pytest

from lib.once import Once


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
    once = Once(work)
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
    once = Once(work)
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
    once = Once(work)
    waiting = [asyncio.create_task(once.get()) for _ in range(3)]
    await asyncio.sleep(0)
    work.go.set()
    assert [type(r) for r in await asyncio.gather(*waiting, return_exceptions=True)] == [
        OSError
    ] * 3
    assert once.value is None
    work.fault = None
    assert await once.get() == "result 2"
