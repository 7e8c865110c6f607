import asyncio
from contextlib import suppress
from typing import Any

import pytest

from lib.pacing import (
    FEW_STREAMS,
    LONGEST_PAUSE,
    MANY_STREAMS,
    PAUSE,
    TICK,
    Pacer,
    moment,
    pause_among,
)


def test_many_streams_are_read_less_often() -> None:
    pauses = [pause_among(streams) for streams in range(1_000)]
    assert pauses[FEW_STREAMS] == 0 < pauses[FEW_STREAMS + 1]
    # 50 ms between two pieces are not seen; the time to write them comes on top.
    assert pauses[MANY_STREAMS] + TICK / 2 <= 0.045
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE


def test_those_who_wait_at_about_the_same_time_wait_together() -> None:
    begun = [1_000.0 + second / 1_000 for second in range(100)]
    moments = [moment(now, PAUSE) for now in begun]
    assert moments == sorted(moments)
    assert len(set(moments)) <= len(begun) * 0.001 / TICK + 1
    for now, number in zip(begun, moments, strict=True):
        assert abs(number * TICK - now - PAUSE) <= TICK / 2 + 1e-9


async def test_few_do_not_wait() -> None:
    pacer = Pacer()
    pacer.streams = FEW_STREAMS
    with pytest.raises(StopIteration):  # it ends without asking the event loop for anything
        pacer.wait().send(None)


async def test_all_are_woken_but_those_who_left() -> None:
    pacer = Pacer()
    pacer.streams = FEW_STREAMS + 1
    waiting = [asyncio.create_task(pacer.wait()) for _ in range(50)]
    await asyncio.sleep(0)
    assert not any(each.done() for each in waiting)
    for each in waiting[::2]:
        each.cancel()
    async with asyncio.timeout(10):
        for each in waiting:
            with suppress(asyncio.CancelledError):
                await each
    assert [each.cancelled() for each in waiting] == [True, False] * 25


async def test_many_wait_with_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, pacer = asyncio.get_running_loop(), Pacer()
    pacer.streams = FEW_STREAMS + 1
    timers = []
    call_at = loop.call_at

    def counted(when: float, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        timers.append(when)
        return call_at(when, *args, **kwargs)

    monkeypatch.setattr(loop, "call_at", counted)
    await asyncio.gather(*(pacer.wait() for _ in range(50)))
    assert 1 <= len(timers) <= 5  # more only if it takes tens of milliseconds to begin to wait


async def test_whoever_waits_again_is_woken_again() -> None:
    pacer = Pacer()
    pacer.streams = FEW_STREAMS + 1
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(10):
        for _ in range(3):
            await asyncio.gather(pacer.wait(), pacer.wait())
    assert asyncio.get_running_loop().time() - began >= 3 * (PAUSE - TICK / 2) - 0.001
