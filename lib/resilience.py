"""Protect the process and its dependencies: circuit breaker, admission queue, cached probe."""

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, Literal, TypeVar

from lib.errors import Busy, QuireError, RedisUnavailable, StoreUnavailable, UpstreamError
from lib.runtime import SingleFlight

_T = TypeVar("_T")

_SERVICE_ERRORS: Final = (UpstreamError, StoreUnavailable, RedisUnavailable)
_SERVICE_STATUSES: Final = frozenset({401, 403, 404, 408, 429})
"""Statuses below 500 that concern the service rather than the single request."""


class Breaker:
    """Circuit breaker (M. Nygard, "Release It!"): fail fast while a service is down.

    States: closed (calls pass), open (calls raise the last error), half-open (one probe call).
    `failures` consecutive errors within `window` seconds open the breaker. After `pause` seconds
    one probe is allowed; success closes the breaker, failure doubles the pause up to
    `longest_pause`. Pauses are jittered to between half and all of their length. There is no
    background task: state changes on calls. For one event loop.

    With `hang_after`, the breaker also opens with `hang_error` when `failures` calls have waited
    longer than so many seconds and no call was answered meanwhile.

    Why not a library: purgatory and pybreaker allow unlimited calls while half-open and count a
    cancelled call as success or failure.
    """

    def __init__(
        self,
        hang_error: QuireError,
        *,
        failures: int = 5,
        window: float = 30.0,
        hang_after: float | None = None,
        pause: float = 1.0,
        longest_pause: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.opened = 0
        """Number of times it opened."""
        self.refused = 0
        """Number of calls that failed fast."""
        self.failed = 0
        """Number of calls that the service failed."""
        self._hang_error = self._error = hang_error
        self._window = window
        self._hang_after = hang_after
        self._first_pause = self._pause = pause
        self._longest_pause = longest_pause
        self._clock = clock
        self._jitter = jitter
        self._failures: deque[float] = deque(maxlen=failures)
        self._unanswered: dict[_BreakerCall, float] = {}
        """Start time by call, oldest first."""
        self._last_response = -float("inf")
        self._retry_at: float | None = None
        """When a probe is allowed; None while closed."""
        self._probe: _BreakerCall | None = None

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        if self._retry_at is None:
            return "closed"
        return "half-open" if self._clock() >= self._retry_at else "open"

    def call(self, *, from_memory: bool = False) -> "_BreakerCall":
        """Context manager around one call; an error of the service counts, a cancellation does not.

        Entering raises the service's last error while the breaker is open. With `from_memory`, the
        result may come from a cache: success then proves nothing, but failure counts.
        """
        return _BreakerCall(self, from_memory)

    def close(self) -> None:
        """Close the breaker, because other calls showed that the service works."""
        self._retry_at = self._probe = None
        self._failures.clear()
        self._pause = self._first_pause

    def _admit(self, call: "_BreakerCall") -> None:
        now = self._clock()
        if self._retry_at is None and self._hangs(now):
            self._open(now, self._hang_error)
        if self._retry_at is not None:
            if self._probe is not None or now < self._retry_at:
                self.refused += 1
                raise self._refusal(now)
            self._probe = call
        call.epoch = self.opened
        self._unanswered[call] = now

    def _record_response(self, call: "_BreakerCall") -> None:
        """A probe's first response closes the breaker; until success, one failure reopens it."""
        now = self._clock()
        self._unanswered.pop(call, None)
        self._last_response = now
        if call is self._probe:
            self._probe = self._retry_at = None
            self._failures.extend([now] * ((self._failures.maxlen or 1) - 1))

    def _record_success(self, call: "_BreakerCall") -> None:
        self._record_response(call)
        if self._is_current(call):
            self._failures.clear()
            self._pause = self._first_pause

    def _record_failure(self, call: "_BreakerCall", error: QuireError) -> None:
        now = self._clock()
        self.failed += 1
        self._unanswered.pop(call, None)
        if call is self._probe:
            self._open(now, error)
        elif self._is_current(call):
            self._failures.append(now)
            full = len(self._failures) == self._failures.maxlen
            if full and now - self._failures[0] <= self._window:
                self._open(now, error)

    def _record_abandoned(self, call: "_BreakerCall") -> None:
        self._unanswered.pop(call, None)
        if call is self._probe:
            self._probe = None

    def _is_current(self, call: "_BreakerCall") -> bool:
        """Whether the call began after the breaker last opened; earlier ones bring no news."""
        return self._retry_at is None and call.epoch == self.opened

    def _hangs(self, now: float) -> bool:
        if self._hang_after is None or now - self._last_response <= self._hang_after:
            return False
        nth = (self._failures.maxlen or 1) - 1
        started = islice(self._unanswered.values(), nth, nth + 1)
        return any(now - start > self._hang_after for start in started)

    def _open(self, now: float, error: QuireError) -> None:
        self.opened += 1
        self._error = error
        self._probe = None
        self._failures.clear()
        self._retry_at = now + self._pause * (1 + self._jitter()) / 2
        self._pause = min(2 * self._pause, self._longest_pause)

    def _refusal(self, now: float) -> QuireError:
        """A new error each time: raising one again would grow its traceback."""
        error, retry_after = self._error, max(1.0, (self._retry_at or now) - now)
        return type(error)(error.message, details=error.details, retry_after=retry_after)


class _BreakerCall:
    """One call through a breaker; see `Breaker.call`."""

    __slots__ = ("_answered", "_breaker", "_from_memory", "epoch")

    def __init__(self, breaker: Breaker, from_memory: bool) -> None:
        self._breaker = breaker
        self._from_memory = from_memory
        self._answered = False
        self.epoch = 0

    def answered(self) -> None:
        """Report the first part of a streamed response. Later calls do nothing."""
        if not self._answered:
            self._answered = True
            self._breaker._record_response(self)

    def __enter__(self) -> "_BreakerCall":
        self._breaker._admit(self)
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if isinstance(error, _SERVICE_ERRORS) and not _is_request_error(error):
            self._breaker._record_failure(self, error)
        elif (error is None or isinstance(error, _SERVICE_ERRORS)) and not self._from_memory:
            self._breaker._record_success(self)
        else:
            self._breaker._record_abandoned(self)


def _is_request_error(error: QuireError) -> bool:
    """Whether the service works and refused this request only."""
    status = error.details.get("upstream_status")
    return status is not None and status < 500 and status not in _SERVICE_STATUSES


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    """A queued request."""

    reader: str
    admitted: asyncio.Future[None]

    def was_admitted(self) -> bool:
        future = self.admitted
        return future.done() and not future.cancelled() and future.exception() is None


class Admission:
    """Admission queue: `limit` concurrent answers, `queue` waiting requests, each for `max_wait`.

    Fair among readers rather than requests: a free slot goes to the reader who holds the fewest,
    and equals take turns. When the queue is full, the reader with the most waiting requests loses
    one. A single reader may hold all slots while nobody else waits.

    `max_wait` is in seconds. Readers who see nothing for longer ask again, which adds load.
    """

    def __init__(self, limit: int, *, queue: int = 256, max_wait: float = 5.0) -> None:
        self.running = self.waiting = 0
        self.refused = 0
        """Number of requests told to come back later."""
        self._limit = limit
        self._queue_limit = queue
        self._max_wait = max_wait
        self._slots: Counter[str] = Counter()
        """Slots held, by reader."""
        self._queues: dict[str, deque[_Waiter]] = {}
        """Waiting requests by reader, oldest first. The reader whose turn it is comes first."""

    @asynccontextmanager
    async def slot(self, reader: str = "") -> AsyncIterator[None]:
        """Wait for a slot and hold it. Raises `lib.errors.Busy`."""
        await self._acquire(reader)
        try:
            yield
        finally:
            self._release(reader)

    async def _acquire(self, reader: str) -> None:
        if self.running < self._limit:  # the queue is empty then
            self._grant(reader)
            return
        if self.waiting >= self._queue_limit and not self._make_room(reader):
            raise self._busy()
        waiter = _Waiter(reader, asyncio.get_running_loop().create_future())
        self._queues.setdefault(reader, deque()).append(waiter)
        self.waiting += 1
        try:
            async with asyncio.timeout(self._max_wait):
                await waiter.admitted
        except TimeoutError:
            if not waiter.was_admitted():  # admission and timeout may coincide
                self._remove(waiter)
                raise self._busy() from None
        except asyncio.CancelledError:
            self._remove(waiter)
            if waiter.was_admitted():
                self._release(reader)
            raise

    def _grant(self, reader: str) -> None:
        self.running += 1
        self._slots[reader] += 1

    def _release(self, reader: str) -> None:
        self.running -= 1
        self._slots[reader] -= 1
        if not self._slots[reader]:
            del self._slots[reader]
        self._admit_next()

    def _admit_next(self) -> None:
        while self._queues:
            reader = min(self._queues, key=self._slots.__getitem__)
            waiter = self._queues[reader][0]
            self._remove(waiter)
            if reader in self._queues:  # move the reader to the end
                self._queues[reader] = self._queues.pop(reader)
            if not waiter.admitted.done():  # cancelled in this turn of the loop
                self._grant(reader)
                waiter.admitted.set_result(None)
                return

    def _make_room(self, reader: str) -> bool:
        """Refuse the last request of the longest queue, if longer than the reader's would be."""
        longest = max(self._queues.values(), key=len, default=None)
        if longest is None or len(longest) <= len(self._queues.get(reader, ())) + 1:
            return False
        last = longest[-1]
        self._remove(last)
        if not last.admitted.done():
            last.admitted.set_exception(self._busy())
        return True

    def _remove(self, waiter: _Waiter) -> None:
        """Take `waiter` out of its queue, if it is still there."""
        queue = self._queues.get(waiter.reader)
        if queue is None or waiter not in queue:
            return
        queue.remove(waiter)
        self.waiting -= 1
        if not queue:
            del self._queues[waiter.reader]

    def _busy(self) -> Busy:
        self.refused += 1
        return Busy(
            "Too many answers are being generated. Try again in a moment.",
            retry_after=self._max_wait,
        )


class CachedProbe(Generic[_T]):
    """Cached health probe: the last result of `check()`, refreshed when older than `seconds`.

    `check` must end by itself and must not raise.
    """

    def __init__(
        self,
        check: Callable[[], Awaitable[_T]],
        *,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._check = check
        self._seconds = seconds
        self._clock = clock
        self._answer: _T | None = None
        self._expired = True
        self._started_at = 0.0
        self._refresh = SingleFlight(self._ask)

    async def answer(self, max_wait: float) -> _T | None:
        """The result known `max_wait` seconds after the refresh began; None before the first.

        A check that hangs delays only the callers of its first `max_wait` seconds.
        """
        now = self._clock()
        old = self._expired or now - self._started_at >= self._seconds
        if old and not self._refresh.running:
            self._started_at = now
            self._refresh = SingleFlight(self._ask)
            self._refresh.start()
        left = self._started_at + max_wait - now
        if self._refresh.running and left > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._refresh.get()
        return self._answer

    def expire(self) -> None:
        """Check again before the next answer; a check that is running now is repeated."""
        self._expired = True

    async def close(self) -> None:
        await self._refresh.cancel()

    async def _ask(self) -> _T:
        while True:
            self._expired = False
            self._answer = answer = await self._check()
            if not self._expired:
                return answer
