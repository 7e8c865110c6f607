"""Rate limits: ten questions a minute in bursts of twenty; six times as many searches; ten times
that with a key. Wrong admin keys are limited too.

quart-rate-limiter counts the requests of each route. Here routes can share an allowance: a question
counts the same through every interface. Its default client key is the leftmost `X-Forwarded-For`,
which anyone can forge, and its default store never evicts. This module replaces all three.
"""

import heapq
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import cast

import msgspec
from cachetools import TTLCache
from quart import Quart, current_app, g, request
from quart_rate_limiter import RateLimit, RateLimiter, RateLimitExceeded
from quart_rate_limiter.store import RateLimiterStoreABC

from handlers import api_key, services
from lib.auth import Keys, client_address, has_key, wider_network
from lib.errors import RedisUnavailable, TooManyRequests, Unauthorized
from lib.replicas.client import RedisClient, take_allowance
from lib.settings import Settings

_PERIOD = timedelta(minutes=2)
_BURST = 20
SEARCH_BURST = 120
QUESTIONS = "questions"
"""The allowance of every route that answers questions."""
MARKDOWN = "markdown"
"""The allowance for pages as Markdown."""
_KEY_FACTOR = 10
"""Factor for readers with a key."""
_NETWORK_FACTOR = 10
"""Factor for all readers of one IPv6 /48 together."""
_MAX_READERS = 50_000
_MAX_WRONG_KEYS = 10
_OPENAI_PATHS = "/v1/"
_WRONG_KEY_SECONDS = 60.0


class _ReaderLimit(RateLimit):
    """A burst of `burst` requests, then one per `_PERIOD / burst`; more with a reader's key."""

    def __init__(self, burst: int, allowance: str) -> None:
        super().__init__(burst, _PERIOD, reader, _is_free)
        self.allowance = allowance

    @property
    def count(self) -> int:
        return self._burst * (_KEY_FACTOR if g.get("has_key") else 1)

    @count.setter
    def count(self, value: int) -> None:
        self._burst = value


class _NetworkLimit(RateLimit):
    """A limit per IPv6 /48. Providers give whole /48s to customers: 65,536 networks of readers."""

    def __init__(self, burst: int, allowance: str) -> None:
        super().__init__(burst * _NETWORK_FACTOR, _PERIOD, _network, _has_no_network)
        self.allowance = allowance


def limits(burst: int = _BURST, allowance: str = "") -> list[RateLimit]:
    """The limits of one route. The `RateLimit-*` headers report the first.

    All routes with the same `allowance` and burst use it up together; without a name, the route has
    its own.
    """
    return [_ReaderLimit(burst, allowance), _NetworkLimit(burst, allowance)]


class _Limiter(RateLimiter):
    """Counts by allowance, which several routes may share."""

    async def count(self, allowance: str, burst: int) -> None:
        """Count a request for a route without limits. Raises `RateLimitExceeded`."""
        if not current_app.config["QUART_RATE_LIMITER_ENABLED"]:
            return
        counted = [each for each in limits(burst) if not await self._should_skip(each)]
        await self._raise_on_rejection(allowance, counted)
        await self._update_limits(allowance, counted)

    async def _create_key(self, endpoint: str, rate_limit: RateLimit) -> str:
        allowance = getattr(rate_limit, "allowance", "")
        return await super()._create_key(allowance or endpoint, rate_limit)


def limit_rates(app: Quart, settings: Settings) -> None:
    """Apply the limits of all routes."""
    app.extensions["limiter"] = _Limiter(
        app, store=_make_store(settings), enabled=settings.rate_limit_enabled
    )


async def count_question() -> None:
    """Count a question that is one of the things a route can do. Raises `TooManyRequests`."""
    await _count(QUESTIONS, _BURST)


async def count_markdown() -> None:
    """Count a page that is asked for as Markdown. Raises `TooManyRequests`."""
    await _count(MARKDOWN, SEARCH_BURST)


async def _count(allowance: str, burst: int) -> None:
    try:
        await cast(_Limiter, current_app.extensions["limiter"]).count(allowance, burst)
    except RateLimitExceeded as error:
        raise too_many_requests(cast(int, error.retry_after)) from None


def too_many_requests(seconds: int) -> TooManyRequests:
    return TooManyRequests(
        f"Too many requests. Please try again in {seconds} seconds.",
        details={"retry_after": seconds},
        retry_after=seconds,
    )


class _KeyInBody(msgspec.Struct):
    api_key: str = ""


class _BoundedStore(RateLimiterStoreABC):
    """For each reader, the time at which their allowance will be full again (GCRA's TAT).

    Entries of readers with a full allowance are dropped. With more than `max_readers`, those who
    asked least are dropped first. So a flood of forged addresses takes nothing from other readers,
    and does not evict readers who asked a lot.
    """

    def __init__(self, max_readers: int = _MAX_READERS) -> None:
        self._max_readers = max_readers
        self._full_at: dict[str, datetime] = {}
        self._order: list[tuple[datetime, str]] = []
        """A heap of all values that were set. Replaced ones are skipped."""

    def __len__(self) -> int:
        return len(self._full_at)

    async def get(self, key: str, default: datetime) -> datetime:
        full_at = self._full_at.get(key, default)
        # A later time means that the clock was set back.
        return full_at if full_at <= datetime.now(UTC) + 2 * _PERIOD else default

    async def set(self, key: str, tat: datetime) -> None:
        self._full_at[key] = tat
        heapq.heappush(self._order, (tat, key))
        now = datetime.now(UTC)
        while (
            len(self._full_at) > self._max_readers
            or len(self._order) > 4 * self._max_readers
            or (self._order and self._order[0][0] < now)
        ):
            full_at, reader = heapq.heappop(self._order)
            if self._full_at.get(reader) == full_at:
                del self._full_at[reader]

    async def before_serving(self) -> None: ...

    async def after_serving(self) -> None: ...


class _SharedStore(_BoundedStore):
    """Limits shared by all replicas; without Redis, each replica counts for itself.

    Memory never counts more than Redis. A reader who exceeds the limit in memory is refused without
    asking Redis; all others are counted in Redis, atomically.
    """

    def __init__(self, redis: Callable[[], RedisClient]) -> None:
        super().__init__()
        self._redis = redis

    async def set(self, key: str, tat: datetime) -> None:
        """Raises `RateLimitExceeded` if other replicas have used up the reader's allowance."""
        # The difference to the value that the limiter has just read, so before any real wait.
        each = (tat - await self._current(key)).total_seconds()
        period = _PERIOD.total_seconds()
        try:
            taken, left = await take_allowance(self._redis(), key, each, period)
        except RedisUnavailable:
            # Other requests may have been counted during the wait.
            left = (await self._current(key) - datetime.now(UTC)).total_seconds()
            taken = left <= period - each
            left += each if taken else 0
        await super().set(key, datetime.now(UTC) + timedelta(seconds=left))
        if not taken:
            raise RateLimitExceeded(math.ceil(left - (period - each)))

    async def _current(self, key: str) -> datetime:
        now = datetime.now(UTC)
        return max(await self.get(key, now), now)


class _WrongKeys:
    """Limit of wrong keys per sender: ten, and after them one a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        seconds = _MAX_WRONG_KEYS * _WRONG_KEY_SECONDS
        self._forgotten_at: TTLCache[str, float] = TTLCache(_MAX_READERS, seconds, timer=clock)

    def wait(self, sender: str) -> float:
        """Seconds until `sender` may try another key; 0 if now."""
        allowed_at = (
            self._forgotten_at.get(sender, 0.0) - (_MAX_WRONG_KEYS - 1) * _WRONG_KEY_SECONDS
        )
        return max(0.0, allowed_at - self._clock())

    def count(self, sender: str) -> None:
        since = max(self._clock(), self._forgotten_at.get(sender, 0.0))
        self._forgotten_at[sender] = since + _WRONG_KEY_SECONDS


def _make_store(settings: Settings) -> _BoundedStore:
    """Make the store of this process, or of all replicas if Redis is configured."""
    return _SharedStore(_shared_redis) if settings.redis_url else _BoundedStore()


def _shared_redis() -> RedisClient:
    return cast(RedisClient, services().redis)


async def reader() -> str:
    """The identity that the request is counted for: `key:<name>`, `admin`, or an address."""
    if "reader" not in g:
        # Set before the body is read, which may end the request.
        g.reader = _address()
        g.reader = await _key_holder() or g.reader
    return cast(str, g.reader)


async def _key_holder() -> str:
    """The name behind the request's key; empty without a valid one. Sets `g.has_key`."""
    given = api_key(request) or _key_in_body(cast(bytes, await request.get_data(as_text=False)))
    name = _keys().name(given)
    # Clients of OpenAI's API must send a key. An invented one is no attempt to guess the admin's.
    admin = not request.path.startswith(_OPENAI_PATHS) and _is_admin_key(given)
    g.has_key = admin or bool(name)
    return "admin" if admin else name and f"key:{name}"


def require_admin() -> None:
    """Raises `Unauthorized` without the admin key, `TooManyRequests` after many wrong ones."""
    seconds = math.ceil(_wrong_keys().wait(_guesser())) if api_key(request) else 0
    if is_admin():
        return
    if seconds:
        raise TooManyRequests(
            f"Too many wrong keys. Please try again in {seconds} seconds.", retry_after=seconds
        )
    if services().settings.admin_api_key:
        if api_key(request):
            raise Unauthorized("This is not the admin key.")
        raise Unauthorized("The admin key is required, as `Authorization: Bearer <key>`.")
    raise Unauthorized("There is no admin key. Set ADMIN_API_KEY and restart.")


def is_admin() -> bool:
    """Whether the request has the admin key, and its sender has not guessed too often."""
    return _is_admin_key(api_key(request))


def _is_admin_key(given: str) -> bool:
    # After too many guesses the right key is refused as well, or guessing could go on.
    if not given or _wrong_keys().wait(_guesser()):
        return False
    if has_key(given, (services().settings.admin_api_key,)):
        return True
    if not _keys().name(given):
        _wrong_keys().count(_guesser())
    return False


def _guesser() -> str:
    address = _address()
    return wider_network(address) or address


def _wrong_keys() -> _WrongKeys:
    extensions = current_app.extensions
    if "wrong_keys" not in extensions:
        extensions["wrong_keys"] = _WrongKeys()
    return cast(_WrongKeys, extensions["wrong_keys"])


async def _network() -> str:
    return f"network:{wider_network(await reader())}"


async def _has_no_network() -> bool:
    return await _is_free() or not wider_network(await reader())


async def _is_free() -> bool:
    """CORS preflights are not counted. The limiter calls this first, so it also sets the reader."""
    if request.method == "OPTIONS":
        return True
    await reader()
    return False


def _address() -> str:
    hops = services().settings.trusted_proxy_hops
    forwarded = ",".join(request.headers.getlist("X-Forwarded-For"))
    return client_address(request.remote_addr or "", forwarded, hops)


def _keys() -> Keys:
    extensions, settings = current_app.extensions, services().settings
    if "reader_keys" not in extensions:
        extensions["reader_keys"] = Keys(settings.api_keys, settings.api_keys_file)
    return cast(Keys, extensions["reader_keys"])


def _key_in_body(data: bytes) -> str:
    """The `api_key` field that older clients send; empty without one."""
    try:
        return msgspec.json.decode(data, type=_KeyInBody).api_key
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return ""  # the handler reports the invalid body
