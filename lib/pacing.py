"""How often each of many streams is passed on.

With more of them, each is read a little less often, so that one read, one event and one write serve
several tokens. And those that are read next wait for the same moment: a hundred of them, each with
a timer of its own, would wake the event loop thousands of times a second.
"""

import asyncio
from typing import Final

FEW_STREAMS: Final = 20
"""So many at once are passed on as they come. The first token never waits."""
PAUSE: Final = 0.04
"""Seconds, up to `MANY_STREAMS`: text that grows 25 times a second grows steadily to the eye."""
MANY_STREAMS: Final = 100
PAUSE_PER_STREAM: Final = 0.0004
LONGEST_PAUSE: Final = 0.25
"""Readers see text grow four times a second at the least."""
TICK: Final = 0.01
"""Seconds between two moments; with longer ones, more streams at once would keep others waiting."""


class Pacer:
    """Lets the streams of one server wait together."""

    def __init__(self) -> None:
        self.streams = 0
        """That are open; whoever opens one counts it here."""
        self._moments: dict[int, asyncio.Event] = {}

    @property
    def crowded(self) -> bool:
        """Whether pauses are so long that several tokens come in one."""
        return self.streams > MANY_STREAMS

    async def wait(self) -> None:
        """Let the time pass that is to lie between two pieces of a stream, if any."""
        pause = pause_among(self.streams)
        if not pause:
            return
        loop = asyncio.get_running_loop()
        number = moment(loop.time(), pause)
        come = self._moments.get(number)
        if come is None:
            come = self._moments[number] = asyncio.Event()
            loop.call_at(number * TICK, self._wake, number)
        await come.wait()

    def _wake(self, number: int) -> None:
        self._moments.pop(number).set()


def moment(now: float, seconds: float) -> int:
    """The number of the moment that is nearest to `seconds` from `now`."""
    return round((now + seconds) / TICK)


def pause_among(streams: int) -> float:
    """Seconds between two pieces of one of so many streams."""
    if streams <= FEW_STREAMS:
        return 0.0
    more = PAUSE_PER_STREAM * max(0, streams - MANY_STREAMS)
    return min(LONGEST_PAUSE, PAUSE + more)
