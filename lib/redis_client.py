"""The connection to Redis, where replicas keep what they share.

What takes several steps is a script: Redis runs it whole, and nothing that another replica does
falls between its steps. The keys of a book begin with `quire:<QDRANT_COLLECTION>:`.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from lib.breaker import Breaker
from lib.errors import RedisUnavailable
from lib.once import Once

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.commands.core import AsyncScript

log = logging.getLogger(__name__)

TIMEOUT: Final = 0.25  # seconds, for an answer and for a connection
RETRIES: Final = 1
PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 5.0
"""Between attempts while it is down."""
CONNECTIONS: Final = 32
"""At once; further calls wait for one, so that a burst of readers makes no burst of connections."""
CONNECTION_SECONDS: Final = 2.0
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
        self._client = Once(self._connect)
        self._scripts: dict[str, AsyncScript] = {}
        self.breaker = Breaker(
            RedisUnavailable(AWAY),
            failures=3,
            patience=2 * TIMEOUT,
            pause=PAUSE,
            longest_pause=LONGEST_PAUSE,
        )

    async def items(self, key: str) -> list[bytes]:
        """The list at `key`."""
        with self.breaker.call():
            found: list[bytes] = await self._command("LRANGE", self._prefix + key, 0, -1)
            return found

    async def run(self, script: str, keys: Sequence[str], *arguments: bytes | str | float) -> Any:
        """What `script`, in Lua, returns."""
        with self.breaker.call():
            return await self.run_anyway(script, keys, *arguments)

    async def run_anyway(
        self, script: str, keys: Sequence[str], *arguments: bytes | str | float
    ) -> Any:
        """The same for who would rather wait than be spared: it is tried though it may be down."""
        client = await self._client.get()
        known = self._scripts.get(script)
        if known is None:
            known = self._scripts[script] = client.register_script(script)
        with translated():
            return await known(keys=[self._prefix + key for key in keys], args=arguments)

    async def check(self) -> None:
        """Raises where it does not answer."""
        await self._command("PING")

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

    async def _command(self, *words: str | int) -> Any:
        client: Any = await self._client.get()
        with translated():
            return await client.execute_command(*words)

    async def _connect(self) -> "Redis":
        # The import takes some 50 ms: not on the event loop, and only for who uses it.
        await asyncio.to_thread(__import__, "redis.asyncio")
        from redis.asyncio import BlockingConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import ExponentialWithJitterBackoff

        pool = BlockingConnectionPool.from_url(
            self._url,
            max_connections=CONNECTIONS,
            timeout=CONNECTION_SECONDS,
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            socket_keepalive=True,
            health_check_interval=CHECK_SECONDS,
            retry=Retry(ExponentialWithJitterBackoff(base=0.01, cap=0.1), RETRIES),
        )
        return Redis.from_pool(pool)


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
