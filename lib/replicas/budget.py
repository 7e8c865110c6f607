"""The daily budget shared by replicas, in Redis (`budget.lua`).

Money is counted in billionths of a dollar, which add up without rounding errors. The reservations
of a killed replica lapse and count as spent, because the provider may have billed them.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Final
from uuid import uuid4

from lib.budget import DAY, MAX_TRACKED_READERS, BudgetLimits, Spending, summarise_spending
from lib.errors import RedisUnavailable
from lib.replicas.client import RedisClient, load_script

_KEYS: Final = ("budget", "budget:readers", "budget:open")
_SCRIPT: Final = load_script("budget.lua")
_KEY_SECONDS: Final = 2 * DAY
_NANO: Final = 1e9
_REFRESH_SECONDS: Final = 2.0
"""Maximum age of what is known about the other replicas."""
_RETRY_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 1.0


@dataclass(slots=True)
class _RedisReservation:
    tokens: int
    _nano: int
    _settle: Callable[[int, int], None]
    _open: bool = True

    def settle(self, tokens: int, usd: float | None) -> None:
        if self._open:
            self._open = False
            self._settle(tokens, self._nano if usd is None else round(usd * _NANO))

    def release(self) -> None:
        self.settle(0, 0.0)


class RedisBudget:
    """Today's spending of all replicas. Nothing is granted while Redis is unreachable.

    Settlements are sent in the background and retried until Redis has received them.
    """

    def __init__(
        self,
        limits: BudgetLimits,
        redis: RedisClient,
        *,
        lapse: float,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """`lapse` is the number of seconds after which an answer must have ended.

        Without a `clock`, days and lapses follow Redis's clock, because replicas' clocks differ.
        """
        self.limits = limits
        self._redis = redis
        self._lapse = lapse
        self._clock = clock
        self._state = [1, self._today(), 0, 0, 0, 0, 0]
        self._refreshed_at = -_REFRESH_SECONDS
        self._unsent: dict[str, tuple[int, int, str]] = {}
        """Settlements to send: tokens, nano-dollars and reader, by entry."""
        self._sending: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def open(self) -> None:
        self._send()

    async def reserve(
        self, reader: str | None, tokens: int, usd: float | None
    ) -> _RedisReservation | None:
        limits = self.limits
        nano, most = ceil((usd or 0.0) * _NANO), round(limits.usd * _NANO)
        if usd is None and most:
            nano = most + 1
        entry, name = f"{uuid4().hex} {tokens} {nano}", reader or ""
        try:
            granted = await self._run(
                "reserve",
                entry,
                self._lapse,
                tokens,
                nano,
                name,
                limits.tokens,
                most,
                limits.reader_tokens if name else 0,
                MAX_TRACKED_READERS,
            )
        except (RedisUnavailable, asyncio.CancelledError) as error:
            # Redis may have reserved it nevertheless, unless the breaker refused the call.
            if not isinstance(error, RedisUnavailable) or error.retry_after is None:
                self._settle(name, entry, 0, 0)
            raise
        if not granted:
            return None
        return _RedisReservation(tokens, nano, partial(self._settle, name, entry))

    def state(self) -> Spending:
        """The last known state; refreshed in the background."""
        now = time.monotonic()
        if now - self._refreshed_at >= _REFRESH_SECONDS:
            self._refreshed_at = now
            self._send()
        _, day, tokens, reserved_tokens, nano, reserved_nano, refused = self._today_state()
        return summarise_spending(
            self.limits,
            day,
            tokens=tokens,
            tokens_reserved=reserved_tokens,
            usd=nano / _NANO,
            usd_reserved=reserved_nano / _NANO,
            refused=refused,
        )

    async def refresh(self) -> None:
        """Send pending settlements and refresh the state. Raises `lib.errors.RedisUnavailable`."""
        unsent = list(self._unsent.items())
        for entry, (tokens, nano, reader) in unsent:
            await self._run("settle", entry, tokens, nano, reader)
            self._unsent.pop(entry, None)
        if not unsent:
            await self._run("state")

    async def close(self) -> None:
        self._closing.set()
        if self._sending is not None:
            await asyncio.wait((self._sending,), timeout=_CLOSE_SECONDS)
            self._sending.cancel()

    def _settle(self, reader: str, entry: str, tokens: int, nano: int) -> None:
        self._unsent[entry] = (tokens, nano, reader)
        self._send()

    def _send(self) -> None:
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_until_received())

    async def _send_until_received(self) -> None:
        while True:
            try:
                await self.refresh()
                received = True
            except RedisUnavailable:
                received = False
            if not self._unsent or (self._closing.is_set() and not received):
                return
            if received:
                continue
            try:
                async with asyncio.timeout(_RETRY_SECONDS):
                    await self._closing.wait()
            except TimeoutError:
                continue

    async def _run(self, operation: str, *arguments: str | float) -> bool:
        """Run the script, remember the state that it returns; whether the request was granted."""
        now = self._clock() if self._clock else ""
        known = self._today_state()[1:6]
        state = await self._redis.run(
            _SCRIPT, _KEYS, now, _KEY_SECONDS, *known, operation, *arguments
        )
        self._refreshed_at = time.monotonic()
        self._state = state
        return bool(state[0])

    def _today(self) -> int:
        return int((self._clock or time.time)() // DAY)

    def _today_state(self) -> list[int]:
        if (today := self._today()) > self._state[1]:
            self._state = [1, today, 0, 0, 0, 0, 0]
        return self._state
