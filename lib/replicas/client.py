"""The connection to Redis, where replicas keep what they share.

What takes several steps is a script: Redis runs it whole, and nothing that another replica does
falls between its steps. The keys of a book begin with `quire:<QDRANT_COLLECTION>:`.

A reader's allowance in Redis, taken from by every replica.

The generic cell rate algorithm: kept is when the allowance will be whole again, by Redis's clock.

Conversations in Redis, where every replica finds them: `lib.sessions` for several processes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import msgspec

from lib.errors import RedisUnavailable
from lib.resilience import Breaker
from lib.runtime import SingleFlight
from lib.sessions import MAX_EXCHANGES, SESSION_SECONDS, Message, exchange_of

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.commands.core import AsyncScript


log = logging.getLogger(__name__)

TIMEOUT: Final = 0.25  # seconds
STEPS: Final = 10
"""Of the time: so often the loop has to have come round before it is over."""
RETRIES: Final = 1
PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 5.0
"""Between attempts while it is down."""
CONNECTIONS: Final = 32
"""At once; further calls wait for one, so that a burst of readers makes no burst of connections."""
CHECK_SECONDS: Final = 15
"""After which a connection that was not used is tried before it is."""
AWAY: Final = "Redis cannot be reached; check REDIS_URL, and that it runs."
REFUSED: Final = "Redis refuses the name or the password in REDIS_URL."
FAILED: Final = "Redis answered with an error; its log, and this server's, say more."


class RedisClient:
    """Redis at `url`; the client is made, and imported, on first use.

    Everything raises `lib.errors.RedisUnavailable` where Redis is away, hangs or refuses: at once
    while that is known.
    """

    def __init__(self, url: str, collection: str) -> None:
        self._url = url
        self._prefix = f"quire:{collection}:"
        self._client = SingleFlight(self._connect)
        self._scripts: dict[str, AsyncScript] = {}
        self._room = asyncio.Semaphore(CONNECTIONS)
        self.breaker = Breaker(
            RedisUnavailable(AWAY), failures=3, pause=PAUSE, longest_pause=LONGEST_PAUSE
        )

    async def items(self, key: str) -> list[bytes]:
        """The list at `key`."""
        found: list[bytes] = await self._ask(
            lambda client: client.execute_command("LRANGE", self._prefix + key, 0, -1)
        )
        return found

    async def run(self, script: str, keys: Sequence[str], *arguments: bytes | str | float) -> Any:
        """What `script`, in Lua, returns."""
        return await self._ask(lambda client: self._script(client, script, keys, arguments))

    async def run_anyway(
        self, script: str, keys: Sequence[str], *arguments: bytes | str | float
    ) -> Any:
        """The same for who would rather wait than be spared: it is tried though it may be down."""
        return await self._ask(
            lambda client: self._script(client, script, keys, arguments), spared=False
        )

    async def check(self) -> None:
        """Raises where it does not answer."""
        await self._ask(lambda client: client.execute_command("PING"), spared=False)

    async def reachable(self) -> bool:
        """Whether it answers. Never raises."""
        try:
            await self.check()
        except RedisUnavailable:
            return False
        return True

    async def close(self) -> None:
        if self._client.value is not None:
            await self._client.value.aclose()

    async def _ask(self, call: Callable[[Any], Awaitable[Any]], *, spared: bool = True) -> Any:
        client = self._client.value or await self._client.get()
        # Who waits for a connection learns meanwhile that it is down.
        async with self._room:
            with (
                self.breaker.call() if spared else nullcontext(),
                translated(),
                LoopTimeout(TIMEOUT),
            ):
                return await call(client)

    def _script(
        self,
        client: "Redis",
        script: str,
        keys: Sequence[str],
        arguments: Sequence[bytes | str | float],
    ) -> Awaitable[Any]:
        known = self._scripts.get(script)
        if known is None:
            known = self._scripts[script] = client.register_script(script)
        return known(keys=[self._prefix + key for key in keys], args=arguments)

    async def _connect(self) -> "Redis":
        # The import takes some 50 ms: not on the event loop, and only for who uses it.
        await asyncio.to_thread(__import__, "redis.asyncio")
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import ExponentialWithJitterBackoff

        return Redis.from_url(
            self._url,
            max_connections=CONNECTIONS,
            # Its own would be those of the clock: see `LoopTimeout`.
            socket_timeout=None,
            socket_connect_timeout=None,
            socket_keepalive=True,
            health_check_interval=CHECK_SECONDS,
            retry=Retry(ExponentialWithJitterBackoff(base=0.01, cap=0.1), RETRIES),
        )


class LoopTimeout:
    """Raises TimeoutError for what takes longer than so many seconds, not counting the time for
    which the loop itself was busy.

    Among hundreds of questions at once, an answer that came in a millisecond is looked at seconds
    later; by the clock it would be late, and Redis taken for down.
    """

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._step = seconds / STEPS
        self._left = STEPS

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        self._timer = self._loop.call_later(self._step, self._tick)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._timer.cancel()
        over = not self._left and self._task.uncancel() <= self._cancelling
        if over and kind is asyncio.CancelledError:
            raise TimeoutError from None

    def _tick(self) -> None:
        self._left -= 1
        if self._left:
            self._timer = self._loop.call_later(self._step, self._tick)
        else:
            self._task.cancel()


@contextmanager
def translated() -> Iterator[None]:
    """Turn the client's exceptions into sentences; they may quote what was sent."""
    from redis.exceptions import AuthenticationError, ConnectionError, RedisError, TimeoutError

    try:
        yield
    except AuthenticationError:
        raise RedisUnavailable(REFUSED) from None
    except (ConnectionError, TimeoutError, OSError):
        raise RedisUnavailable(AWAY) from None
    except RedisError as error:
        log.warning("Redis answered with %s", type(error).__name__)
        raise RedisUnavailable(FAILED) from None


TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1e6 + time[2]
local each, period = tonumber(ARGV[1]), tonumber(ARGV[2])
local whole = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
-- No allowance takes so long: the clock was set back, and nobody is to wait for that.
if whole - now > 2 * period then whole = now end
if whole - now > period - each then return {0, whole - now} end
whole = whole + each
redis.call('SET', KEYS[1], string.format('%.0f', whole), 'PX', math.ceil((whole - now) / 1000))
return {1, whole - now}
"""


async def take_allowance(
    redis: RedisClient, key: str, each: float, period: float
) -> tuple[bool, float]:
    """Take one request, whose allowance comes back in `each` seconds, where it leaves `key` whole
    again within `period`: whether it did, and in how many seconds it will be whole.

    Raises `lib.errors.RedisUnavailable`.
    """
    taken, left = await redis.run(TAKE, [f"limit:{key}"], round(each * 1e6), round(period * 1e6))
    return bool(taken), left / 1e6


MAX_SHARED_SESSIONS: Final = 30_000
"""Some 100 MB. The one used longest ago goes first: whoever invents sessions must not fill what
holds the budget, too."""
LATEST: Final = "sessions"
"""Their keys, by when they were used last (sorted set)."""

APPEND: Final = """
-- Sent again after a lost answer, it is there already.
if redis.call('LINDEX', KEYS[1], -1) ~= ARGV[1] then
  redis.call('RPUSH', KEYS[1], ARGV[1])
  redis.call('LTRIM', KEYS[1], -tonumber(ARGV[2]), -1)
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[2], now, KEYS[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[3])
local more = redis.call('ZCARD', KEYS[2]) - ARGV[4]
if more > 0 then
  for _, key in ipairs(redis.call('ZRANGE', KEYS[2], 0, more - 1)) do
    redis.call('DEL', key)
    redis.call('ZREM', KEYS[2], key)
  end
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[3]) end
"""

Exchange = tuple[str, tuple[Message, Message]]
"""A name of its own, question and answer."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Exchange).decode


class RedisSessions:
    """Each conversation is a list of its last exchanges. Without Redis, none is known."""

    def __init__(self, redis: RedisClient, *, seconds: float = SESSION_SECONDS) -> None:
        self._redis = redis
        self._milliseconds = round(1000 * seconds)

    def __len__(self) -> int:
        return 0

    async def history(self, session_id: str) -> tuple[Message, ...]:
        try:
            exchanges = await self._redis.items(place(session_id))
            return tuple(message for each in exchanges for message in _decode(each)[1])
        except (RedisUnavailable, msgspec.MsgspecError):
            return ()  # a question can be answered without

    async def remember(self, session_id: str, question: str, answer: str) -> None:
        exchange = _encode((uuid4().hex, exchange_of(question, answer)))
        try:
            await self._redis.run(
                APPEND,
                [place(session_id), LATEST],
                exchange,
                MAX_EXCHANGES,
                self._milliseconds,
                MAX_SHARED_SESSIONS,
            )
        except RedisUnavailable:
            return  # the answer is whole all the same


def place(session_id: str) -> str:
    return f"session:{session_id}"
