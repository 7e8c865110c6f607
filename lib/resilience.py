"""A service that is down is told so at once, instead of letting each reader wait for it anew.

Closed, a breaker lets every call through. After some failures in a row it opens: calls fail at
once with what the service failed with. After a pause it lets one call through as a probe; an
answer closes it, a failure doubles the pause. Nothing runs in the background: calls move it.

The circuit breaker of M. Nygard, "Release It!". Libraries for it let all calls through while
half-open, and count a reader who leaves as a success or as a failure.

How many answers are written at once, and who is next.

A question to a dependency, asked now and then in the background, answered from memory.
"""

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Final, Generic, Literal, TypeVar

from lib.errors import Busy, QuireError, RedisUnavailable, StoreUnavailable, UpstreamError

State = Literal["closed", "open", "half-open"]

FAILURES: Final = (UpstreamError, StoreUnavailable, RedisUnavailable)
TELLING: Final = frozenset({401, 403, 404, 408, 429})
"""Statuses below 500 that say something of the service and not of the one request."""


class Breaker:
    """Guards one service for all readers. For one event loop; no call waits for another."""

    def __init__(
        self,
        late: QuireError,
        *,
        failures: int = 5,
        window: float = 30.0,
        patience: float | None = None,
        pause: float = 1.0,
        longest_pause: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`failures` in a row within `window` seconds open it.

        With `patience`, so many calls that wait longer than it (seconds), while nothing was
        answered, open it as well: the first readers of a service that hangs then keep later ones
        from waiting. `late` is what is raised in that case. Pauses are drawn by `jitter` (0 to 1)
        from the upper half of `pause` seconds, doubled up to `longest_pause`.
        """
        self.opened = 0
        """How often it has opened."""
        self.refused = 0
        """How many calls it has spared."""
        self.failed = 0
        """How many calls the service has failed."""
        self._late = self._error = late
        self._window = window
        self._patience = patience
        self._first_pause = self._pause = pause
        self._longest_pause = longest_pause
        self._clock = clock
        self._jitter = jitter
        self._failures: deque[float] = deque(maxlen=failures)
        self._waiting: dict[Call, float] = {}
        """Calls without an answer so far, oldest first, and when they began."""
        self._last_answer = -float("inf")
        self._retry_at: float | None = None
        """When a probe may go; None while closed."""
        self._probe: Call | None = None

    @property
    def state(self) -> State:
        if self._retry_at is None:
            return "closed"
        return "half-open" if self._clock() >= self._retry_at else "open"

    def call(self, *, from_memory: bool = False) -> "Call":
        """A context for one call: what it raises is judged, a reader's leaving is not.

        Entering raises what the service last failed with while the breaker is open. An answer that
        may come `from_memory` says nothing of the service, only a failure does.
        """
        return Call(self, from_memory)

    def enter(self, call: "Call") -> None:
        now = self._clock()
        if self._retry_at is None and self._hangs(now):
            self._open(now, self._late)
        if self._retry_at is not None:
            if self._probe is not None or now < self._retry_at:
                self.refused += 1
                raise self._refusal(now)
            self._probe = call
        call.epoch = self.opened
        self._waiting[call] = now

    def answer(self, call: "Call") -> None:
        """The service began to answer: a probe closes the breaker, on probation until it ends."""
        now = self._clock()
        self._waiting.pop(call, None)
        self._last_answer = now
        if call is self._probe:
            self._probe = self._retry_at = None
            self._failures.extend([now] * ((self._failures.maxlen or 1) - 1))

    def succeed(self, call: "Call") -> None:
        self.answer(call)
        if self._counts(call):
            self._failures.clear()
            self._pause = self._first_pause

    def fail(self, call: "Call", error: QuireError) -> None:
        now = self._clock()
        self.failed += 1
        self._waiting.pop(call, None)
        if call is self._probe:
            self._open(now, error)
        elif self._counts(call):
            self._failures.append(now)
            full = len(self._failures) == self._failures.maxlen
            if full and now - self._failures[0] <= self._window:
                self._open(now, error)

    def leave(self, call: "Call") -> None:
        """The call ended before it told anything; where it was the probe, the next one is."""
        self._waiting.pop(call, None)
        if call is self._probe:
            self._probe = None

    def _counts(self, call: "Call") -> bool:
        """Not for calls that began before it opened: they tell what is known already."""
        return self._retry_at is None and call.epoch == self.opened

    def _hangs(self, now: float) -> bool:
        if self._patience is None or now - self._last_answer <= self._patience:
            return False
        nth = (self._failures.maxlen or 1) - 1
        return any(
            now - began > self._patience for began in islice(self._waiting.values(), nth, nth + 1)
        )

    def _open(self, now: float, error: QuireError) -> None:
        self.opened += 1
        self._error = error
        self._probe = None
        self._failures.clear()
        self._retry_at = now + self._pause * (1 + self._jitter()) / 2
        self._pause = min(2 * self._pause, self._longest_pause)

    def _refusal(self, now: float) -> QuireError:
        """An error of its own for each reader: one that is raised again grows its traceback."""
        error, retry_after = self._error, max(1.0, (self._retry_at or now) - now)
        return type(error)(error.message, details=error.details, retry_after=retry_after)


class Call:
    """One call through a breaker; see `Breaker.call`."""

    __slots__ = ("_answered", "_breaker", "_from_memory", "epoch")

    def __init__(self, breaker: Breaker, from_memory: bool) -> None:
        self._breaker = breaker
        self._from_memory = from_memory
        self._answered = False
        self.epoch = 0

    def answered(self) -> None:
        """Say that the first of a long answer has come. Safe to call for each of its pieces."""
        if not self._answered:
            self._answered = True
            self._breaker.answer(self)

    def __enter__(self) -> "Call":
        self._breaker.enter(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, FAILURES) and not blames_request(error):
            self._breaker.fail(self, error)
        elif (error is None or isinstance(error, FAILURES)) and not self._from_memory:
            self._breaker.succeed(self)
        else:
            self._breaker.leave(self)


def blames_request(error: QuireError) -> bool:
    """Whether the service works and refused this one request, which others must not pay for."""
    status = error.details.get("upstream_status")
    return status is not None and status < 500 and status not in TELLING


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

    def slot(self, reader: str = "") -> "Place":
        """Hold a place for `reader`, after waiting for one if need be. Raises `lib.errors.Busy`."""
        return Place(self, reader)

    async def take(self, reader: str) -> None:
        """As `slot`, until `give_back`."""
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


T = TypeVar("T")


class CachedProbe(Generic[T]):
    """The last answer of `check()`, asked again once it is older than `seconds`.

    `check` must end by itself and must not raise.
    """

    def __init__(
        self,
        check: Callable[[], Awaitable[T]],
        *,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._check = check
        self._seconds = seconds
        self._clock = clock
        self._answer: T | None = None
        self._asked_at: float | None = None
        self._asking: asyncio.Task[None] | None = None

    async def answer(self, patience: float) -> T | None:
        """The answer as far as it is known `patience` seconds after it was asked for; None while
        there is none."""
        now = self._clock()
        stale = self._asked_at is None or now - self._asked_at >= self._seconds
        if stale and (self._asking is None or self._asking.done()):
            self._asked_at = now
            self._asking = asyncio.create_task(self._ask())
        if self._asking is not None and not self._asking.done() and self._asked_at is not None:
            # What hangs is waited for once, not by everyone who looks meanwhile.
            left = self._asked_at + patience - now
            if left > 0:
                await asyncio.wait((self._asking,), timeout=left)
        return self._answer

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait((self._asking,))

    async def _ask(self) -> None:
        self._answer = await self._check()
