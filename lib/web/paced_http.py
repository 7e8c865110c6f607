"""Requests to one site that are spaced, and repeated when it is busy."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from multidict import CIMultiDictProxy
from yarl import URL

from lib.errors import QuireError
from lib.web.safe_http import Fetched, FetchError, SiteClient

_INTERVAL: Final = 0.1
"""Seconds between two requests, if the site asks for no more."""
_MAX_INTERVAL: Final = 10.0
_ATTEMPTS: Final = 3
_PAUSE: Final = 2.0
"""Seconds before the second attempt; doubled before the third."""
_MAX_PAUSE: Final = 120.0
"""Longest pause that a site may ask for."""
_BUSY: Final = frozenset({429, 500, 502, 503, 504})


class PacedClient:
    """Shared by all who read the site: each waits for its turn."""

    def __init__(
        self,
        client: SiteClient,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._clock = clock
        self._sleep = sleep
        self._interval = _INTERVAL
        self._next = clock()

    def slow_down(self, interval: float) -> None:
        """Leave `interval` seconds between requests, if that is more than now."""
        self._interval = max(self._interval, min(interval, _MAX_INTERVAL))

    async def get(
        self, url: URL, *, max_bytes: int, headers: Mapping[str, str] | None = None
    ) -> Fetched:
        """Get an address, again if the site is busy.

        Raises `FetchError`, and `QuireError` if the site asks for a long pause.
        """
        for attempt in range(_ATTEMPTS):
            await self._turn()
            last = attempt == _ATTEMPTS - 1
            pause = _PAUSE * 2**attempt
            try:
                found = await self._client.get(url, max_bytes=max_bytes, headers=headers)
            except FetchError as error:
                if not error.temporary or last:
                    raise
            else:
                if found.status not in _BUSY:
                    return found
                if found.status == 429:
                    self.slow_down(2 * self._interval)
                pause = max(pause, _retry_after(found.headers))
                if pause > _MAX_PAUSE:
                    raise QuireError(
                        f"{url} asks to wait {pause:.0f} seconds. Start the ingestion again then: "
                        "it goes on where it stopped."
                    )
                if last:
                    return found
            self._next = max(self._next, self._clock() + pause)
        raise AssertionError("the last attempt returns or raises")

    async def _turn(self) -> None:
        """Wait until the next request may begin."""
        while (wait := self._next - self._clock()) > 0:
            await self._sleep(wait)
        self._next = self._clock() + self._interval


def _retry_after(headers: CIMultiDictProxy[str]) -> float:
    """Seconds to wait, from a number or a date; 0 without one."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # TypeError: a date without a zone
        return 0.0
