import asyncio
import time

import pytest

import lib.pulse
from lib.pulse import Pulse


async def test_it_tells_how_long_the_loop_was_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lib.pulse, "BEAT_SECONDS", 0.01)
    pulse, beats = Pulse(), asyncio.Queue[None]()
    assert pulse.lag == pulse.worst == 0
    beating = asyncio.create_task(pulse.beat(lambda: beats.put_nowait(None)))
    await beats.get()
    time.sleep(0.2)  # noqa: ASYNC251  # what it is there to notice
    await beats.get()
    assert pulse.lag > 0.15
    await beats.get()
    assert pulse.lag < pulse.worst
    assert pulse.worst > 0.15
    beating.cancel()
