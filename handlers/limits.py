"""How many questions a reader may ask: ten a minute in bursts of twenty, ten times that with a key.

quart-rate-limiter counts; what it counts by, and where, is decided here: its own key is the
leftmost X-Forwarded-For, which anyone can invent, and its own store never forgets a reader.
"""

import math
from datetime import datetime, timedelta
from typing import cast

import msgspec
from cachetools import TTLCache
from quart import g, request
from quart_rate_limiter import RateLimit
from quart_rate_limiter.store import RateLimiterStoreABC

from handlers import given_key, services
from lib.access import client_address, has_key

PERIOD = timedelta(minutes=2)
BURST = 20
BURST_WITH_KEY = 200
MAX_READERS = 50_000


class ReaderLimit(RateLimit):
    """`count` requests at once, and one more each `PERIOD / count`; more for a reader's key."""

    def __init__(self) -> None:
        super().__init__(BURST, PERIOD, reader, is_free)

    @property
    def count(self) -> int:
        return BURST_WITH_KEY if reader_key() else BURST

    @count.setter
    def count(self, value: int) -> None:
        """The base class sets what it was made with; the request decides instead."""


class KeyInBody(msgspec.Struct):
    api_key: str = ""


class BoundedStore(RateLimiterStoreABC):
    """Arrival times of the last `MAX_READERS` readers, each kept no longer than it can matter."""

    def __init__(self) -> None:
        self._arrivals: TTLCache[str, datetime] = TTLCache(
            MAX_READERS, math.ceil(PERIOD.total_seconds())
        )

    async def get(self, key: str, default: datetime) -> datetime:
        return self._arrivals.get(key, default)

    async def set(self, key: str, tat: datetime) -> None:
        self._arrivals[key] = tat

    async def before_serving(self) -> None: ...

    async def after_serving(self) -> None: ...


async def reader() -> str:
    """Whom a request is counted for: a key, or an address."""
    if reader_key():
        return f"key:{reader_key()}"
    hops = services().settings.trusted_proxy_hops
    forwarded = ",".join(request.headers.getlist("X-Forwarded-For"))
    return client_address(request.remote_addr or "", forwarded, hops)


async def is_free() -> bool:
    """A browser's preflight is no question. Asked first, so it finds out whose key there is."""
    if request.method == "OPTIONS":
        return True
    settings = services().settings
    keys = (*settings.api_keys, settings.admin_api_key)
    given = given_key() or key_in_body(cast(bytes, await request.get_data(as_text=False)))
    g.reader_key = given if has_key(given, keys) else ""
    return False


def key_in_body(data: bytes) -> str:
    """The key as older clients send it, in the body; empty where there is none."""
    try:
        return msgspec.json.decode(data, type=KeyInBody).api_key
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return ""  # the handler says what is wrong with the body


def reader_key() -> str:
    """The valid key of the request: a reader's, or the author's. Empty without one."""
    return str(g.get("reader_key", ""))
