"""Redis, where replicas keep what they share: connection, rate limits, conversations, votes.

Steps that belong together are Lua scripts (`*.lua`), which Redis runs atomically. The keys of a
book begin with `quire:<QDRANT_COLLECTION>:`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
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

_log = logging.getLogger(__name__)

_TIMEOUT: Final = 0.25
_TIMEOUT_STEPS: Final = 10
"""Turns of the event loop that a timeout spans at least."""
_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 5.0
_CONNECTIONS: Final = 32
"""Further calls wait, so that a burst of readers opens no burst of connections."""
_UNREACHABLE: Final = "Redis cannot be reached. Check REDIS_URL, and that Redis is running."
_REFUSED: Final = "Redis refuses the name or the password in REDIS_URL."
_FAILED: Final = "Redis answered with an error. See its log and this server's."
_MAX_SESSIONS: Final = 30_000
"""About 100 MB. The least recently used goes first: invented sessions must not fill the Redis that
holds the budget."""
_SESSION_KEY: Final = "session:"
_SESSIONS_KEY: Final = "sessions"
"""Sorted set of conversations by last use."""

_Exchange = tuple[str, tuple[Message, Message]]
"""A unique name, question and answer."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Exchange).decode


def load_script(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


_RATE_LIMIT: Final = load_script("rate_limit.lua")
_SESSION_APPEND: Final = load_script("session_append.lua")
_VOTE: Final = load_script("vote.lua")


class RedisClient:
    """Redis at `url`; the client library is imported and connected on first use.

    Every call raises `lib.errors.RedisUnavailable` if Redis is unreachable, hangs or refuses. A
    circuit breaker makes calls fail fast meanwhile.
    """

    def __init__(self, url: str, collection: str) -> None:
        self._url = url
        self._prefix = f"quire:{collection}:"
        self._client = SingleFlight(self._connect)
        self._scripts: dict[str, AsyncScript] = {}
        self._room = asyncio.Semaphore(_CONNECTIONS)
        self.breaker = Breaker(
            RedisUnavailable(_UNREACHABLE), failures=3, pause=_PAUSE, longest_pause=_LONGEST_PAUSE
        )

    async def items(self, key: str) -> list[bytes]:
        """Return the list at `key`."""
        found: list[bytes] = await self._ask(
            lambda client: client.execute_command("LRANGE", self._prefix + key, 0, -1)
        )
        return found

    async def run(self, script: str, keys: Sequence[str], *arguments: bytes | str | float) -> Any:
        """Run a Lua script and return its result."""
        return await self._ask(lambda client: self._script(client, script, keys, arguments))

    async def run_unguarded(
        self, script: str, keys: Sequence[str], *arguments: bytes | str | float
    ) -> Any:
        """As `run`, without the circuit breaker, for callers that would rather wait than fail."""
        return await self._ask(
            lambda client: self._script(client, script, keys, arguments), guarded=False
        )

    async def check(self) -> None:
        """Raises `lib.errors.RedisUnavailable` if Redis does not answer."""
        await self._ask(lambda client: client.execute_command("PING"), guarded=False)

    async def reachable(self) -> bool:
        """Whether Redis answers. Never raises."""
        try:
            await self.check()
        except RedisUnavailable:
            return False
        return True

    async def close(self) -> None:
        if self._client.value is not None:
            await self._client.value.aclose()

    async def _ask(self, call: Callable[[Any], Awaitable[Any]], *, guarded: bool = True) -> Any:
        client = self._client.value or await self._client.get()
        # The breaker comes second: it may open while a call waits for a connection.
        async with self._room:
            with (
                self.breaker.call() if guarded else nullcontext(),
                _translate_redis_errors(),
                _LoopTimeout(_TIMEOUT),
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
        # The import takes 50 ms, too long for the event loop.
        await asyncio.to_thread(__import__, "redis.asyncio")
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import ExponentialWithJitterBackoff

        return Redis.from_url(
            self._url,
            max_connections=_CONNECTIONS,
            # `_LoopTimeout` replaces them.
            socket_timeout=None,
            socket_connect_timeout=None,
            socket_keepalive=True,
            health_check_interval=15,  # seconds without use
            retry=Retry(ExponentialWithJitterBackoff(base=0.01, cap=0.1), retries=1),
        )


class _LoopTimeout:
    """Timeout in seconds that does not count time during which the event loop was blocked.

    Under hundreds of concurrent questions, a reply that came in a millisecond is processed seconds
    later. A wall-clock timeout would take Redis for down. Raises TimeoutError.
    """

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._step = seconds / _TIMEOUT_STEPS
        self._left = _TIMEOUT_STEPS

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
def _translate_redis_errors() -> Iterator[None]:
    """Translate the client's exceptions, whose texts may quote what was sent."""
    from redis.exceptions import AuthenticationError, ConnectionError, RedisError, TimeoutError

    try:
        yield
    except AuthenticationError:
        raise RedisUnavailable(_REFUSED) from None
    except (ConnectionError, TimeoutError, OSError):
        raise RedisUnavailable(_UNREACHABLE) from None
    except RedisError as error:
        _log.warning("Redis answered with %s", type(error).__name__)
        raise RedisUnavailable(_FAILED) from None


async def take_allowance(
    redis: RedisClient, key: str, each: float, period: float
) -> tuple[bool, float]:
    """Take one request from the rate limit `key`; all replicas share it.

    A request comes back in `each` seconds, and the allowance must be full again within `period`.
    Returns whether the request is allowed and the seconds until the allowance is full. Raises
    `lib.errors.RedisUnavailable`.
    """
    taken, left = await redis.run(
        _RATE_LIMIT, [f"limit:{key}"], round(each * 1e6), round(period * 1e6)
    )
    return bool(taken), left / 1e6


async def take_vote(redis: RedisClient, answer_id: str, seconds: int, most: int) -> bool:
    """Take the only vote on an answer; all replicas share it. Returns whether it was free.

    At most `most` votes are kept, for `seconds`. Raises `lib.errors.RedisUnavailable`.
    """
    now = f"{time.time():.6f}"
    return bool(await redis.run(_VOTE, ["votes"], answer_id, now, seconds, most))


class RedisSessions:
    """Conversations shared by replicas, as lists of exchanges; empty while Redis is unreachable."""

    def __init__(self, redis: RedisClient, *, seconds: float = SESSION_SECONDS) -> None:
        self._redis = redis
        self._milliseconds = round(1000 * seconds)

    def __len__(self) -> int:
        return 0

    async def history(self, key: str) -> tuple[Message, ...]:
        try:
            exchanges = await self._redis.items(_SESSION_KEY + key)
            return tuple(message for each in exchanges for message in _decode(each)[1])
        except (RedisUnavailable, msgspec.MsgspecError):
            return ()  # the question can be answered without a history

    async def remember(self, key: str, question: str, answer: str) -> None:
        exchange = _encode((uuid4().hex, exchange_of(question, answer)))
        try:
            await self._redis.run(
                _SESSION_APPEND,
                [_SESSION_KEY + key, _SESSIONS_KEY],
                exchange,
                MAX_EXCHANGES,
                self._milliseconds,
                _MAX_SESSIONS,
            )
        except RedisUnavailable:
            return  # the answer is complete anyway
