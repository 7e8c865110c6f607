"""How much a reader may ask: ten questions a minute in bursts of twenty, and six times as many
searches; ten times that with a key.

quart-rate-limiter counts; what it counts by, and where, is decided here: its own key is the
leftmost X-Forwarded-For, which anyone can invent, and its own store never forgets a reader.
"""

import heapq
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import cast

import msgspec
from quart import current_app, g, request
from quart_rate_limiter import RateLimit, RateLimitExceeded
from quart_rate_limiter.store import RateLimiterStoreABC

from handlers import given_key, services
from lib.auth import Keys, client_address, has_key, wider_network
from lib.errors import RedisUnavailable
from lib.replicas.client import RedisClient, take_allowance
from lib.settings import Settings

PERIOD = timedelta(minutes=2)
BURST = 20
SEARCH_BURST = 120
WITH_KEY = 10
"""So much more, with a key."""
NETWORK = 10
"""So much more, for all readers of one IPv6 /48 together."""
MAX_READERS = 50_000
ADMIN = "admin"


class ReaderLimit(RateLimit):
    """`burst` requests at once, and one more each `PERIOD / burst`; more for a reader's key."""

    def __init__(self, burst: int = BURST) -> None:
        super().__init__(burst, PERIOD, reader, is_free)

    @property
    def count(self) -> int:
        return self._burst * (WITH_KEY if g.get("has_key") else 1)

    @count.setter
    def count(self, value: int) -> None:
        self._burst = value


class NetworkLimit(RateLimit):
    """Whoever is given an IPv6 /48, as customers may be, has 65,536 addresses to be counted by."""

    def __init__(self, burst: int = BURST) -> None:
        super().__init__(burst * NETWORK, PERIOD, network, has_no_network)


def limits(burst: int = BURST) -> list[RateLimit]:
    """The limits of one route. The first is what the headers tell of."""
    return [ReaderLimit(burst), NetworkLimit(burst)]


class KeyInBody(msgspec.Struct):
    api_key: str = ""


class BoundedStore(RateLimiterStoreABC):
    """When each reader's allowance will be whole again, for those whose is not.

    Who has asked little is soon forgotten. When more than `max_readers` ask at once, those who have
    asked least go first, and get the little back: a flood of invented addresses takes nothing from
    other readers, and does not make the store forget whoever has asked a lot.
    """

    def __init__(self, max_readers: int = MAX_READERS) -> None:
        self._max_readers = max_readers
        self._whole: dict[str, datetime] = {}
        self._order: list[tuple[datetime, str]] = []
        """A heap of all that was set; what was replaced since is passed over."""

    def __len__(self) -> int:
        return len(self._whole)

    async def get(self, key: str, default: datetime) -> datetime:
        whole = self._whole.get(key, default)
        # No allowance takes so long: the clock was set back, and nobody is to wait for that.
        return whole if whole <= datetime.now(UTC) + 2 * PERIOD else default

    async def set(self, key: str, tat: datetime) -> None:
        self._whole[key] = tat
        heapq.heappush(self._order, (tat, key))
        now = datetime.now(UTC)
        while (
            len(self._whole) > self._max_readers
            or len(self._order) > 4 * self._max_readers
            or (self._order and self._order[0][0] < now)
        ):
            when, who = heapq.heappop(self._order)
            if self._whole.get(who) == when:
                del self._whole[who]

    async def before_serving(self) -> None: ...

    async def after_serving(self) -> None: ...


class SharedStore(BoundedStore):
    """The same for all replicas together, as far as Redis can be reached.

    What is in memory here can only be less than what Redis knows of a reader, so whoever asks too
    much by it is refused without asking Redis. Who does not is counted there, in one step.
    """

    def __init__(self, redis: Callable[[], RedisClient]) -> None:
        super().__init__()
        self._redis = redis

    async def set(self, key: str, tat: datetime) -> None:
        """Raises `RateLimitExceeded` for who has asked too much of other replicas."""
        # Before anything is awaited: it is the difference to what the limiter has just read.
        each = (tat - await self._whole_at(key)).total_seconds()
        period = PERIOD.total_seconds()
        try:
            taken, left = await take_allowance(self._redis(), key, each, period)
        except RedisUnavailable:
            # Others may have been counted while it was waited for.
            left = (await self._whole_at(key) - datetime.now(UTC)).total_seconds()
            taken = left <= period - each
            left += each if taken else 0
        await super().set(key, datetime.now(UTC) + timedelta(seconds=left))
        if not taken:
            raise RateLimitExceeded(math.ceil(left - (period - each)))

    async def _whole_at(self, key: str) -> datetime:
        now = datetime.now(UTC)
        return max(await self.get(key, now), now)


def make_limit_store(settings: Settings) -> BoundedStore:
    """Of this process, or of all that share the Redis of the settings."""
    return SharedStore(shared_redis) if settings.redis_url else BoundedStore()


def shared_redis() -> RedisClient:
    return cast(RedisClient, services().redis)


async def reader() -> str:
    """Whom a request is counted for: `key:<name>`, `admin`, or an address."""
    if "reader" not in g:
        # First without a key: what reads the body may end the request.
        g.reader = address()
        g.reader = await key_holder() or g.reader
    return cast(str, g.reader)


async def key_holder() -> str:
    """Whose valid key the request has; empty without one. Sets `g.has_key`."""
    given = given_key() or key_in_body(cast(bytes, await request.get_data(as_text=False)))
    name = keys().name(given)
    admin = has_key(given, (services().settings.admin_api_key,))
    g.has_key = admin or bool(name)
    return ADMIN if admin else name and f"key:{name}"


async def network() -> str:
    return f"network:{wider_network(await reader())}"


async def has_no_network() -> bool:
    return await is_free() or not wider_network(await reader())


async def is_free() -> bool:
    """A browser's preflight is no question. Asked first, so it finds out whose key there is."""
    if request.method == "OPTIONS":
        return True
    await reader()
    return False


def address() -> str:
    hops = services().settings.trusted_proxy_hops
    forwarded = ",".join(request.headers.getlist("X-Forwarded-For"))
    return client_address(request.remote_addr or "", forwarded, hops)


def keys() -> Keys:
    """The keys of this application's readers."""
    extensions, settings = current_app.extensions, services().settings
    if "reader_keys" not in extensions:
        extensions["reader_keys"] = Keys(settings.api_keys, settings.api_keys_file)
    return cast(Keys, extensions["reader_keys"])


def key_in_body(data: bytes) -> str:
    """The key as older clients send it, in the body; empty where there is none."""
    try:
        return msgspec.json.decode(data, type=KeyInBody).api_key
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return ""  # the handler says what is wrong with the body
