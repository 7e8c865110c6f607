"""The budget that replicas spend together, in Redis.

Money is counted in billionths of a dollar, which add up without error. What a replica that was
killed had reserved lapses: it counts as spent, since the model may have billed it.

What Redis does to the budget in one step, as scripts in Lua.

::

    budget            the day, what it has cost and what is reserved (hash)
    budget:readers    what each reader has taken of it, reserved or spent (hash)
    budget:open       reservations that nobody has settled, by when they lapse (sorted set)

Each is given the time (empty: Redis's own), for how many seconds the keys are kept, and what this
replica was told last: the day, tokens, reserved tokens, billionths, reserved billionths; then what
is its own. Each answers whether it was granted, then those five as they are now, and how many were
refused.
"""

import asyncio
import time
from collections.abc import Callable
from math import ceil
from typing import Final
from uuid import uuid4

from lib.budget import (
    DAY,
    MAX_TRACKED_READERS,
    NEARLY_EXHAUSTED,
    BudgetLimits,
    Spending,
    next_reset,
    share,
)
from lib.errors import RedisUnavailable
from lib.replicas.client import RedisClient

KEYS: Final = ("budget", "budget:readers", "budget:open")

BEGIN: Final = """
local total, readers, open = KEYS[1], KEYS[2], KEYS[3]
local now, keep = tonumber(ARGV[1]) or tonumber(redis.call('TIME')[1]), ARGV[2]
local today = math.floor(now / 86400)
local day = tonumber(redis.call('HGET', total, 'day') or 0)
local function minus(amount) return string.format('%.0f', 0 - amount) end
local function of(name) return tonumber(redis.call('HGET', total, name) or 0) end
-- Not on a clock that is set back: each time would be a budget more.
local begun = today > day
if begun then
  day = today
  redis.call('DEL', total, readers, open)
  redis.call('HSET', total, 'day', day)
end
if tonumber(ARGV[3]) == day then
  for n, name in ipairs({'tokens', 'nano'}) do
    local spent, reserved = tonumber(ARGV[2 + 2 * n]), tonumber(ARGV[3 + 2 * n])
    -- Within a day this only grows: who was told of more was told what Redis has lost. What was
    -- reserved besides is taken for spent.
    local lost = spent + reserved - of(name) - of('reserved_' .. name)
    if (begun or spent > of(name)) and lost > 0 then
      redis.call('HINCRBY', total, name, string.format('%.0f', lost))
    end
  end
end
local lapsed = redis.call('ZRANGE', open, '-inf', now, 'BYSCORE', 'LIMIT', 0, 100)
for _, each in ipairs(lapsed) do
  local tokens, nano = string.match(each, ' (%d+) (%d+)$')
  redis.call('ZREM', open, each)
  redis.call('HINCRBY', total, 'tokens', tokens)
  redis.call('HINCRBY', total, 'reserved_tokens', minus(tokens))
  redis.call('HINCRBY', total, 'nano', nano)
  redis.call('HINCRBY', total, 'reserved_nano', minus(nano))
end
local function told(granted)
  for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, keep) end
  local state = redis.call('HMGET', total,
    'day', 'tokens', 'reserved_tokens', 'nano', 'reserved_nano', 'refused')
  for n, value in ipairs(state) do state[n] = tonumber(value or 0) end
  table.insert(state, 1, granted)
  return state
end
"""
STATE: Final = BEGIN + "return told(1)"
RESERVE: Final = (
    BEGIN
    + """
local entry, lapse, tokens, nano, reader = ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12]
local limits = {tonumber(ARGV[13]), tonumber(ARGV[14]), tonumber(ARGV[15])}
-- Asked again after a lost answer, it has it already.
if redis.call('ZSCORE', open, entry) then return told(1) end
local function exceeds(limit, more, ...)
  local sum = tonumber(more)
  for _, name in ipairs({...}) do sum = sum + of(name) end
  return limit > 0 and sum > limit
end
local taken = limits[3] > 0 and redis.call('HGET', readers, reader)
if exceeds(limits[1], tokens, 'tokens', 'reserved_tokens')
  or exceeds(limits[2], nano, 'nano', 'reserved_nano')
  or exceeds(limits[3], tokens + tonumber(taken or 0))
then
  redis.call('HINCRBY', total, 'refused', 1)
  return told(0)
end
redis.call('HINCRBY', total, 'reserved_tokens', tokens)
redis.call('HINCRBY', total, 'reserved_nano', nano)
redis.call('ZADD', open, now + lapse, entry)
if limits[3] > 0 then
  if not taken and redis.call('HLEN', readers) >= tonumber(ARGV[16]) then
    redis.call('HDEL', readers, redis.call('HRANDFIELD', readers))
  end
  redis.call('HINCRBY', readers, reader, tokens)
end
return told(1)
"""
)
SETTLE: Final = (
    BEGIN
    + """
local entry, tokens, nano, reader = ARGV[8], ARGV[9], ARGV[10], ARGV[11]
-- Of yesterday, lapsed, or told again after a lost answer: it is counted already.
if redis.call('ZREM', open, entry) == 1 then
  local held_tokens, held_nano = string.match(entry, ' (%d+) (%d+)$')
  redis.call('HINCRBY', total, 'tokens', tokens)
  redis.call('HINCRBY', total, 'reserved_tokens', minus(held_tokens))
  redis.call('HINCRBY', total, 'nano', nano)
  redis.call('HINCRBY', total, 'reserved_nano', minus(held_nano))
  if redis.call('HEXISTS', readers, reader) == 1 then
    redis.call('HINCRBY', readers, reader, string.format('%.0f', tokens - held_tokens))
  end
end
return told(1)
"""
)

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
        limits: BudgetLimits,
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
                MAX_TRACKED_READERS,
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
            resets_at=next_reset(day),
        )

    def is_nearly_exhausted(self) -> bool:
        return self._share() >= NEARLY_EXHAUSTED

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
