"""How many answers are written at once, and who is next."""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from lib.errors import Busy

QUEUE: Final = 256
PATIENCE: Final = 5.0
"""Seconds; a reader who sees nothing for longer asks again, which helps nobody."""


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """A place in the queue."""

    reader: str
    admitted: asyncio.Future[None]


class Admission:
    """`limit` places, and a queue of at most `queue` readers who wait `patience` seconds.

    Fair among readers, not requests: a free place goes to the reader who holds the fewest, and
    equals take turns. Where the queue is full, whoever waits most often makes room.
    One reader may thus hold all places as long as nobody else wants one.
    """

    def __init__(self, limit: int, *, queue: int = QUEUE, patience: float = PATIENCE) -> None:
        self.limit = limit
        self.refused = 0
        """How many were told to come back later."""
        self._queue = queue
        self._patience = patience
        self._held: Counter[str] = Counter()
        """Places, by reader."""
        self._running = 0
        self._lines: dict[str, deque[Waiting]] = {}
        """Who waits, by reader, oldest first. Whose turn it is stands first."""
        self._waiting = 0

    @property
    def running(self) -> int:
        return self._running

    @property
    def waiting(self) -> int:
        return self._waiting

    def enter(self, reader: str = "") -> "Place":
        """Hold a place for `reader`, after waiting for one if need be. Raises `lib.errors.Busy`."""
        return Place(self, reader)

    async def take(self, reader: str) -> None:
        """As `enter`, until `give_back`."""
        if self._running < self.limit:  # then nobody waits
            self._hold(reader)
            return
        if self._waiting >= self._queue and not self._make_room(reader):
            raise self._busy()
        place = Waiting(reader, asyncio.get_running_loop().create_future())
        self._lines.setdefault(reader, deque()).append(place)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                await place.admitted
        except TimeoutError:
            if not was_admitted(place):  # else both happened in the same moment
                self._leave(place)
                raise self._busy() from None
        except asyncio.CancelledError:
            if was_admitted(place):
                self.give_back(reader)
            else:
                self._leave(place)
            raise

    def _hold(self, reader: str) -> None:
        self._running += 1
        self._held[reader] += 1

    def give_back(self, reader: str) -> None:
        self._running -= 1
        self._held[reader] -= 1
        if not self._held[reader]:
            del self._held[reader]
        self._admit_next()

    def _admit_next(self) -> None:
        while self._lines:
            reader = min(self._lines, key=self._held.__getitem__)
            place = self._lines[reader][0]
            self._leave(place)
            if reader in self._lines:  # who waits for more comes last
                self._lines[reader] = self._lines.pop(reader)
            if not place.admitted.done():  # one whose reader has just gone is cancelled
                self._hold(reader)
                place.admitted.set_result(None)
                return

    def _make_room(self, reader: str) -> bool:
        """Send away the last of the longest line, if it is longer than the reader's would be."""
        longest = max(self._lines.values(), key=len, default=None)
        if longest is None or len(longest) <= len(self._lines.get(reader, ())) + 1:
            return False
        last = longest[-1]
        self._leave(last)
        if not last.admitted.done():
            last.admitted.set_exception(self._busy())
        return True

    def _leave(self, place: Waiting) -> None:
        """Out of the queue, if it still stands there."""
        line = self._lines.get(place.reader)
        if line is None or place not in line:
            return
        line.remove(place)
        self._waiting -= 1
        if not line:
            del self._lines[place.reader]

    def _busy(self) -> Busy:
        self.refused += 1
        return Busy(
            "Too many answers are being written right now; please try again in a moment.",
            retry_after=self._patience,
        )


class Place:
    """One of an `Admission`'s; a context, held for as long as an answer is written."""

    __slots__ = ("_admission", "_reader")

    def __init__(self, admission: Admission, reader: str) -> None:
        self._admission = admission
        self._reader = reader

    async def __aenter__(self) -> None:
        await self._admission.take(self._reader)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._admission.give_back(self._reader)


def was_admitted(place: Waiting) -> bool:
    admitted = place.admitted
    return admitted.done() and not admitted.cancelled() and admitted.exception() is None
