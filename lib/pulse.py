"""How long the event loop is held up, and what has to be looked at a few times a second."""

import asyncio
from collections import deque
from collections.abc import Callable

BEAT_SECONDS = 0.25
REMEMBERED_SECONDS = 60.0


class Pulse:
    """Wakes every quarter of a second. How late it wakes is how late everything else does."""

    def __init__(self) -> None:
        self._late: deque[float] = deque([0.0], int(REMEMBERED_SECONDS / BEAT_SECONDS))

    @property
    def lag(self) -> float:
        """Seconds, at the last beat."""
        return self._late[-1]

    @property
    def worst(self) -> float:
        """Seconds, in the last minute."""
        return max(self._late)

    async def beat(self, *each: Callable[[], None]) -> None:
        """Go on until cancelled, calling `each` at every beat."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + BEAT_SECONDS
            await asyncio.sleep(BEAT_SECONDS)
            self._late.append(max(0.0, loop.time() - due))
            for call in each:
                call()
