"""Minimal HTTP client over a socket, which can also misbehave, for the chaos test."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

ADMIN_KEY: Final = "the-admin-key"
BROKEN: Final = (ConnectionError, asyncio.IncompleteReadError)


@dataclass
class Connection:
    """A client connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)

    async def head(self) -> int:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:])
        self.headers = {name.lower(): value.strip() for name, _, value in pairs}
        self.status = int(lines[0].split()[1])
        return self.status

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body. Raises `asyncio.IncompleteReadError` if it is cut off."""
        if self.headers.get("transfer-encoding") != "chunked":
            yield await self.reader.readexactly(int(self.headers.get("content-length", 0)))
            return
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            yield await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)

    async def body(self) -> bytes:
        return b"".join([piece async for piece in self.pieces()])


@asynccontextmanager
async def connected(port: int, data: bytes = b"", *, buffer: int = 0) -> AsyncIterator[Connection]:
    """Open a connection, send `data`, and abort the connection at the end."""
    plain = socket.socket()
    if buffer:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    plain.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", port))
    except OSError:
        plain.close()
        raise
    # A small limit stops asyncio from reading ahead of a stalled client.
    reader, writer = await asyncio.open_connection(sock=plain, limit=buffer or 1 << 20)
    writer.write(data)
    try:
        yield Connection(reader, writer)
    finally:
        writer.transport.abort()


def request(
    method: str, path: str, body: bytes = b"", *, address: str = "", kind: str = "application/json"
) -> bytes:
    """Encode a request from the client at `address`, or without one, from the admin."""
    lines = [f"{method} {path} HTTP/1.1", "Host: book", f"Content-Length: {len(body)}"]
    lines += ["Connection: close", *[f"Content-Type: {kind}"] * bool(body)]
    lines += [f"X-Forwarded-For: {address}"] * bool(address)
    lines += [f"Authorization: Bearer {ADMIN_KEY}"] * (not address)
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def new_address(rng: random.Random) -> str:
    """Return a random client address, which is unlikely to be rate-limited yet."""
    return ".".join(str(rng.randrange(1, 255)) for _ in range(4))
