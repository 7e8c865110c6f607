"""HTTP requests to one site on the internet, never to a machine inside the server's network.

The address of every connection is checked when its socket is made, so a name that resolves to
another address after a check gains nothing (DNS rebinding). Redirects are followed here, one by
one. Proxies and credentials of the environment are not used: a proxy would connect unchecked.

They are spaced, and repeated when the site is busy.
"""

import asyncio
import socket
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from types import TracebackType
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDictProxy
from yarl import URL

from lib import __version__
from lib.errors import QuireError

PRODUCT: Final = "Quire"
"""Name in robots.txt."""
CONNECTIONS: Final = 4
MAX_URL_LENGTH: Final = 2_000
_MAX_REDIRECTS: Final = 5
_CONNECT_SECONDS: Final = 10.0
_TOTAL_SECONDS: Final = 60.0
"""Limit for one response."""
_INTERVAL: Final = 0.1
"""Seconds between two requests, if the site asks for no more."""
_MAX_INTERVAL: Final = 10.0
_ATTEMPTS: Final = 3
_PAUSE: Final = 2.0
"""Seconds before the second attempt; doubled before the third."""
_MAX_PAUSE: Final = 120.0
"""Longest pause that a site may ask for."""
_BUSY: Final = frozenset({429, 500, 502, 503, 504})

IpAddress = IPv4Address | IPv6Address

_IPV6_INTERNET: Final = ip_network("2000::/3")
_NAT64: Final = ip_network("64:ff9b::/96")
_SPECIAL: Final = tuple(
    map(
        ip_network,
        (
            "192.0.0.0/24",  # protocol assignments, and the metadata of a cloud
            "192.88.99.0/24",  # relays to IPv6
            "168.63.129.16/32",  # services of Azure to its virtual machines
        ),
    )
)
"""Not on the internet, although older versions of Python call them global."""


class FetchError(Exception):
    """An address cannot be read. The message continues a sentence about it."""

    def __init__(self, problem: str, *, temporary: bool = False) -> None:
        super().__init__(problem)
        self.temporary = temporary
        """Whether another attempt may succeed."""


class InsideNetwork(FetchError):
    """The address leads into the server's own network."""


class _RefusedAddress(OSError):
    """Raised instead of making a socket."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A response. The body is read and decompressed only for status 200."""

    url: URL
    """Address after redirects."""
    status: int
    headers: CIMultiDictProxy[str]
    content_type: str
    charset: str
    """In lower case; empty if the header names none."""
    body: bytes


def is_outside(address: IpAddress) -> bool:
    """Whether an address is on the internet and not one of this machine."""
    return _is_public(address) and not _is_own(address)


def _is_public(address: IpAddress) -> bool:
    if isinstance(address, IPv4Address):
        special = any(address in network for network in _SPECIAL)
        return address.is_global and not address.is_multicast and not special
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address in _NAT64:
        inner = IPv4Address(int(address) & 0xFFFFFFFF)
    if inner is not None:
        return _is_public(inner)
    return address in _IPV6_INTERNET and address.is_global


def _is_own(address: IpAddress) -> bool:
    """Whether this machine itself has the address."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), 9))  # chooses the source address, and sends nothing
        except OSError:
            return False
        return ip_address(probe.getsockname()[0]) == address


def is_same_site(url: URL, site: URL) -> bool:
    """Whether `url` belongs to the site of the address `site`.

    The host is the same, with or without `www.`, and so is the port, unless it is that of the
    scheme.
    """
    return (
        url.scheme in ("http", "https")
        and bool(url.host)
        and _bare(url) == _bare(site)
        and (url.is_default_port() or url.port == site.port)
        and not (url.user or url.password)
        and len(str(url)) <= MAX_URL_LENGTH
    )


def _bare(url: URL) -> str:
    return (url.raw_host or "").removeprefix("www.").rstrip(".")


class SiteClient:
    """A client for one site; an async context manager."""

    def __init__(
        self,
        site: URL,
        *,
        is_allowed: Callable[[IpAddress], bool] = is_outside,
        resolver: AbstractResolver | None = None,
        may_follow: Callable[[URL], str] = lambda _: "",
    ) -> None:
        """`may_follow` returns why a redirect within the site must not be followed."""
        self._site = site
        self._is_allowed = is_allowed
        self._may_follow = may_follow
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=CONNECTIONS, resolver=resolver, socket_factory=self._open_socket
            ),
            timeout=aiohttp.ClientTimeout(total=_TOTAL_SECONDS, sock_connect=_CONNECT_SECONDS),
            headers={"User-Agent": f"{PRODUCT}/{__version__}", "Accept-Encoding": "gzip"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )

    async def __aenter__(self) -> "SiteClient":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def get(
        self, url: URL, *, max_bytes: int, headers: Mapping[str, str] | None = None
    ) -> Fetched:
        """Get an address of the site, following its redirects. Raises `FetchError`."""
        for _ in range(_MAX_REDIRECTS + 1):
            try:
                async with self._session.get(url, headers=headers, allow_redirects=False) as found:
                    location = found.headers.get("Location")
                    if found.status not in (301, 302, 303, 307, 308) or not location:
                        body = await _read(found, max_bytes) if found.status == 200 else b""
                        return Fetched(
                            url,
                            found.status,
                            found.headers,
                            found.content_type,
                            (found.charset or "").lower(),
                            body,
                        )
                    found.close()  # its body may be long
            except TimeoutError:
                raise FetchError("does not answer in time", temporary=True) from None
            except aiohttp.ClientConnectorError as error:
                raise _connection_problem(error) from None
            except (aiohttp.InvalidURL, UnicodeError):
                raise FetchError("is not a valid address") from None
            except (aiohttp.ClientError, OSError):
                raise FetchError("cannot be read: the connection failed", temporary=True) from None
            url = self._next(url, location)
        raise FetchError(f"redirects more than {_MAX_REDIRECTS} times")

    def _next(self, url: URL, location: str) -> URL:
        try:
            target = url.join(URL(location)).with_fragment(None)
        except ValueError:
            raise FetchError("redirects to an invalid address") from None
        if not is_same_site(target, self._site):
            raise FetchError("redirects to another site")
        if (url.scheme, target.scheme) == ("https", "http"):
            raise FetchError("redirects from https to http")
        if problem := self._may_follow(target):
            raise FetchError(f"redirects to an address that {problem}")
        return target

    def _open_socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        try:
            allowed = self._is_allowed(ip_address(address[0]))
        except ValueError:
            allowed = False
        if not allowed:
            raise _RefusedAddress("refused")
        return socket.socket(family, kind, protocol)


def _connection_problem(error: aiohttp.ClientConnectorError) -> FetchError:
    if isinstance(error.os_error, _RefusedAddress):
        return InsideNetwork("is inside the server's network")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return FetchError("has a host that is not known", temporary=True)
    if isinstance(error, aiohttp.ClientSSLError):
        return FetchError("cannot be read: the connection is not secure", temporary=True)
    return FetchError("cannot be reached", temporary=True)


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Read and decompress a body of at most `max_bytes`. Raises `FetchError`."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise FetchError("is compressed in a way that was not asked for")
    stream = None if encoding == "identity" else _Gunzip(max_bytes)
    body = bytearray()
    async for data in response.content.iter_any():
        body += stream.feed(data) if stream else data
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
    if stream:
        stream.finish()
    return bytes(body)


class _Gunzip:
    """Decompresses gzip, at most `limit` bytes in all."""

    def __init__(self, limit: int) -> None:
        self._stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._limit = self._left = limit

    def feed(self, data: bytes) -> bytes:
        """Raises `FetchError`."""
        try:
            if self._stream.eof:  # a second part, which browsers ignore
                raise zlib.error
            found = self._stream.decompress(data, self._left + 1)
        except zlib.error:
            raise FetchError("is damaged: its gzip cannot be decompressed") from None
        self._left -= len(found)
        if self._left < 0:
            raise _too_large(self._limit)
        return found

    def finish(self) -> None:
        """Raises `FetchError` if the end is missing."""
        if not self._stream.eof:
            raise FetchError("is damaged: the end of its gzip is missing", temporary=True)


def gunzip(data: bytes, limit: int) -> bytes:
    """Decompress gzip. Raises `FetchError`, also above `limit` bytes."""
    stream = _Gunzip(limit)
    found = stream.feed(data)
    stream.finish()
    return found


def _too_large(limit: int) -> FetchError:
    return FetchError(f"has more than {limit} bytes")


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
