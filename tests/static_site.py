"""A scripted web site on a free local port, under a name that only its resolver knows."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from lib.crawl import _Network
from lib.crawl_http import IpAddress
from tests.clock import Clock

HOST: Final = "book.example"
LOOPBACK: Final = ip_address("127.0.0.1")


@dataclass(frozen=True)
class Reply:
    body: bytes = b""
    status: int = 200
    content_type: str = "text/html; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    endless: bool = False
    """Whether the body is repeated for ever."""
    hangs: bool = False
    """Whether nothing follows the body, of which more was announced."""
    cut: bool = False
    """Whether the connection is dropped after the body, of which more was announced."""


@dataclass(frozen=True)
class Asked:
    """A request."""

    path: str
    headers: Mapping[str, str]
    """Names are in lower case."""


def page(text: str, **headers: str) -> Reply:
    html = f"<!doctype html><title>{text}</title><main><h1>{text}</h1><p>About {text}.</p></main>"
    return Reply(html.encode(), headers={n.replace("_", "-"): v for n, v in headers.items()})


def redirect(location: str) -> Reply:
    return Reply(status=302, headers={"Location": location})


class StaticSite:
    """Answers a path with a reply, or with what a function of the request returns."""

    def __init__(self, port: int) -> None:
        self.origin = f"http://{HOST}:{port}"
        self.replies: dict[str, Reply | Callable[[Asked], Reply]] = {}
        self.requests: list[Asked] = []

    def list(self, *paths: str, at: str = "/sitemap.xml") -> None:
        """Write a sitemap of paths or whole addresses."""
        urls = [path if "://" in path else self.origin + path for path in paths]
        lines = "".join(f"<url><loc>{url.replace('&', '&amp;')}</loc></url>" for url in urls)
        self.replies[at] = Reply(f"<urlset>{lines}</urlset>".encode(), content_type="text/xml")

    def asked(self) -> Sequence[str]:
        """The pages that were asked for, sorted."""
        paths = (request.path for request in self.requests)
        return sorted(path for path in paths if not path.endswith((".xml", ".txt")))

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[:-1]
        headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
        request = Asked(first.split()[1], headers)
        self.requests.append(request)
        found = self.replies.get(request.path, Reply(b"not found", 404))
        reply = found if isinstance(found, Reply) else found(request)
        sent = {"Content-Type": reply.content_type, "Connection": "close", **reply.headers}
        if not reply.endless:
            sent["Content-Length"] = str(len(reply.body) + (reply.cut or reply.hangs))
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items() if value)
        body = b"" if reply.status == 304 else reply.body
        writer.write(f"HTTP/1.1 {reply.status} Scripted\r\n{head}\r\n".encode() + body)
        await writer.drain()
        if reply.hangs:
            await asyncio.Event().wait()
        while reply.endless:
            writer.write(body)
            await writer.drain()


class Resolver(AbstractResolver):
    """Resolves every name to the first of its addresses; each but the last is used once."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = [*addresses]

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]
        found = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [
            ResolveResult(hostname=host, host=address, port=port, family=found, proto=0, flags=0)
        ]

    async def close(self) -> None:
        pass


def local_network(
    resolver: Resolver | None = None,
    is_allowed: Callable[[IpAddress], bool] = lambda address: address == LOOPBACK,
    slept: list[float] | None = None,
) -> _Network:
    """A network in which only this machine may be reached, and time passes by waiting."""
    clock = Clock()

    async def sleep(seconds: float) -> None:
        if slept is not None:
            slept.append(seconds)
        clock.now += seconds
        await asyncio.sleep(0)

    return _Network(is_allowed, resolver or Resolver("127.0.0.1"), clock, sleep)


@asynccontextmanager
async def running_site() -> AsyncIterator[StaticSite]:
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await site.handle(reader, writer)
        finally:
            tasks.discard(task)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    site = StaticSite(server.sockets[0].getsockname()[1])
    try:
        yield site
    finally:
        server.close()
        for task in [*tasks]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
