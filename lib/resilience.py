"""A service that is down is told so at once, instead of letting each reader wait for it anew.

Closed, a breaker lets every call through. After some failures in a row it opens: calls fail at
once with what the service failed with. After a pause it lets one call through as a probe; an
answer closes it, a failure doubles the pause. Nothing runs in the background: calls move it.

The circuit breaker of M. Nygard, "Release It!". Libraries for it let all calls through while
half-open, and count a reader who leaves as a success or as a failure.
"""

import random
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from types import TracebackType
from typing import Final, Literal

from lib.errors import QuireError, RedisUnavailable, StoreUnavailable, UpstreamError

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
