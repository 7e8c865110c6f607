"""A question to a dependency, asked now and then in the background, answered from memory."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Probe(Generic[T]):
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
