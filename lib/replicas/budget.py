"""The budget that replicas spend together, in Redis.

Money is counted in billionths of a dollar, which add up without error. What a replica that was
killed had reserved lapses: it counts as spent, since the model may have billed it.
"""

import asyncio
import time
from collections.abc import Callable
from math import ceil
from typing import Final
from uuid import uuid4

from lib.budget import DAY, MAX_READERS, NEAR, Limits, Spending, midnight, share
from lib.errors import RedisUnavailable
from lib.redis_budget_scripts import KEYS, RESERVE, SETTLE, STATE
from lib.replicas.client import RedisClient

KEEP_SECONDS: Final = 2 * DAY
NANO: Final = 1e9
ASK_SECONDS: Final = 2.0
"""So old may be what is told of the other replicas."""
RETRY_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 1.0


class RedisReservation:
    __slots__ = ("_entry", "_nano", "_open", "_settle", "tokens")

    def __init__(
        self, entry: str, tokens: int, nano: int, settle: Callable[[str, int, int], None]
    ) -> None:
        self._entry = entry
        self._nano = nano
        self._settle = settle
        self._open = True
        self.tokens = tokens

    def settle(self, tokens: int, usd: float | None) -> None:
        if self._open:
            self._open = False
            self._settle(self._entry, tokens, self._nano if usd is None else round(usd * NANO))

    def release(self) -> None:
        self.settle(0, 0.0)


class RedisBudget:
    """Today's spending of all replicas. While Redis is away nothing is granted.

    An answer is settled in the background, and again and again until Redis has heard of it.
    """

    def __init__(
        self,
        limits: Limits,
        redis: RedisClient,
        *,
        lapse: float,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """`lapse` is after how many seconds an answer cannot be running any more.

        Without a `clock` days and lapses go by Redis's: those of replicas differ.
        """
        self.limits = limits
        self._redis = redis
        self._lapse = lapse
        self._clock = clock
        self._told = [1, self._today(), 0, 0, 0, 0, 0]
        self._asked_at = -ASK_SECONDS
        self._unsent: dict[str, tuple[int, int, str]] = {}
        """What Redis has not heard of: tokens, billionths and reader by entry."""
        self._sending: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def open(self) -> None:
        self._send()

    async def reserve(
        self, reader: str | None, tokens: int, usd: float | None
    ) -> RedisReservation | None:
        limits = self.limits
        nano, most = ceil((usd or 0.0) * NANO), round(limits.usd * NANO)
        if usd is None and most:
            nano = most + 1
        entry, name = f"{uuid4().hex} {tokens} {nano}", reader or ""
        try:
            granted = await self._run(
                RESERVE,
                entry,
                self._lapse,
                tokens,
                nano,
                name,
                limits.tokens,
                most,
                limits.reader_tokens if name else 0,
                MAX_READERS,
            )
        except (RedisUnavailable, asyncio.CancelledError) as error:
            # Redis may have heard of it nevertheless, unless it was spared.
            if not isinstance(error, RedisUnavailable) or error.retry_after is None:
                self._settle(name, entry, 0, 0)
            raise
        if not granted:
            return None

        def settle(entry: str, tokens: int, nano: int) -> None:
            self._settle(name, entry, tokens, nano)

        return RedisReservation(entry, tokens, nano, settle)

    def state(self) -> Spending:
        """As Redis told last; asks it anew in the background."""
        now = time.monotonic()
        if now - self._asked_at >= ASK_SECONDS:
            self._asked_at = now
            self._send()
        _, day, tokens, reserved_tokens, nano, reserved_nano, refused = self._of_today()
        limits = self.limits
        return Spending(
            tokens=tokens,
            tokens_reserved=reserved_tokens,
            tokens_limit=limits.tokens or None,
            usd=round(nano / NANO, 6),
            usd_reserved=round(reserved_nano / NANO, 6),
            usd_limit=limits.usd or None,
            share=round(self._share(), 4),
            refused=refused,
            resets_at=midnight(day),
        )

    def near(self) -> bool:
        return self._share() >= NEAR

    async def refresh(self) -> None:
        """Tell Redis what it has not heard of, and ask how things stand.

        Raises `lib.errors.RedisUnavailable`.
        """
        unsent = list(self._unsent.items())
        for entry, (tokens, nano, reader) in unsent:
            await self._run(SETTLE, entry, tokens, nano, reader)
            self._unsent.pop(entry, None)
        if not unsent:
            await self._run(STATE)

    async def close(self) -> None:
        self._closing.set()
        if self._sending is not None:
            await asyncio.wait((self._sending,), timeout=CLOSE_SECONDS)
            self._sending.cancel()

    def _settle(self, reader: str, entry: str, tokens: int, nano: int) -> None:
        self._unsent[entry] = (tokens, nano, reader)
        self._send()

    def _send(self) -> None:
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_until_heard())

    async def _send_until_heard(self) -> None:
        while True:
            heard = await self._ask()
            if not self._unsent or (self._closing.is_set() and not heard):
                return
            if heard:
                continue
            try:
                async with asyncio.timeout(RETRY_SECONDS):
                    await self._closing.wait()
            except TimeoutError:
                continue

    async def _ask(self) -> bool:
        try:
            await self.refresh()
        except RedisUnavailable:
            return False
        return True

    async def _run(self, script: str, *arguments: str | float) -> bool:
        """Whether it was granted; keeps what is told besides."""
        now = self._clock() if self._clock else ""
        known = self._of_today()[1:6]
        told = await self._redis.run(script, KEYS, now, KEEP_SECONDS, *known, *arguments)
        self._asked_at = time.monotonic()
        self._told = told
        return bool(told[0])

    def _today(self) -> int:
        return int((self._clock or time.time)() // DAY)

    def _of_today(self) -> list[int]:
        if (today := self._today()) > self._told[1]:
            self._told = [1, today, 0, 0, 0, 0, 0]
        return self._told

    def _share(self) -> float:
        _, _, tokens, reserved_tokens, nano, reserved_nano, _ = self._of_today()
        return share(self.limits, tokens + reserved_tokens, (nano + reserved_nano) / NANO)
