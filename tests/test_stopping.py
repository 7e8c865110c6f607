"""SIGTERM to a real process while connections and streams are open that could delay its exit."""

import asyncio
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lib.settings import setting_names
from tests.api import parse_events
from tests.tiny_book import BOOK, SITE, write_book
from tests.upstream import Hang, Upstream, delta

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[1]
EXIT_SECONDS = 5.0
FLOOD = [delta("The tide turns. " * 600)] * 2_000


@dataclass
class Server:
    process: asyncio.subprocess.Process
    port: int
    log: list[str] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self, data: bytes, *, buffer: int = 0) -> asyncio.StreamReader:
        """Open a connection and send `data`. `buffer` is the receive buffer in bytes."""
        plain = socket.socket()
        if buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        plain.connect(("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=plain)
        self.writers.append(writer)
        writer.write(data)
        return reader

    async def stop(self) -> float:
        """Send SIGTERM. Returns the seconds until the exit."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(self.process.wait(), 20)
        return time.monotonic() - began


@asynccontextmanager
async def running_quire(
    book: Path, index: Path, program: Sequence[str] = ("main.py",), **environment: str
) -> AsyncIterator[Server]:
    named = dict.fromkeys(setting_names(), "") | {
        "BOOK_CONTENT_PATH": str(book),
        "QDRANT_PATH": str(index),
        "SITE_URL": SITE,
        "SITE_GENERATOR": "docusaurus",
        "CHUNK_TOKENS": "50",
        "API_HOST": "127.0.0.1",
        "API_PORT": "0",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *program,
        cwd=ROOT,
        env={**os.environ, **named, **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    server = Server(process, 0)
    port = asyncio.get_running_loop().create_future()

    async def read(lines: asyncio.StreamReader) -> None:
        async for line in lines:
            server.log.append(line.decode())
            found = re.search(r"Running on http://127\.0\.0\.1:(\d+)", server.log[-1])
            if found and not port.done():
                port.set_result(int(found[1]))

    reading = asyncio.create_task(read(process.stderr))
    try:
        server.port = await asyncio.wait_for(port, 20)
        yield server
    finally:
        for writer in server.writers:
            writer.close()
        if process.returncode is None:
            process.kill()
            await process.wait()
        await reading


def chat(**fields: object) -> bytes:
    return request("POST", "/chat", json.dumps({"question": "When does the tide turn?"} | fields))


def request(method: str, path: str, body: str = "", *more: str) -> bytes:
    lines = (
        f"{method} {path} HTTP/1.1",
        "Host: x",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *more,
    )
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


async def read_head(reader: asyncio.StreamReader) -> tuple[int, Mapping[str, str]]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    pairs = (line.partition(":") for line in lines[1:])
    return int(lines[0].split()[1]), {name.lower(): value.strip() for name, _, value in pairs}


async def exchange(server: Server, data: bytes) -> tuple[int, Mapping[str, str], bytes]:
    reader = await server.connect(data)
    status, headers = await read_head(reader)
    return status, headers, await reader.readexactly(int(headers["content-length"]))


async def read_events(reader: asyncio.StreamReader) -> list[dict[str, object]]:
    """Read the events of a chunked stream to its end."""
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return parse_events(body)


@pytest.mark.parametrize("ingesting", [False, True], ids=["serving", "ingesting"])
async def test_stops_in_time_with_open_connections(
    own_book: Path, own_index: Path, upstream: Upstream, ingesting: bool
) -> None:
    environment = {"OPENAI_BASE_URL": upstream.base_url, "ANSWER_CACHE_SIZE": "0"}
    if ingesting:  # the book has grown, so the start ingests the new pages
        pages = {f"page{n}.md": f"# Page {n}\n\n" + BOOK["guide/tides.md"] * 20 for n in range(300)}
        write_book(own_book, pages)
        environment["CHUNK_TOKENS"] = "60"
    async with running_quire(own_book, own_index, **environment) as server:
        idle = await server.connect(request("GET", "/"))
        status, headers = await read_head(idle)
        assert status == 200
        await idle.readexactly(int(headers["content-length"]))
        half_head = await server.connect(b"POST /chat HTTP/1.1\r\nHo")
        asks = request("POST", "/chat", '{"question"', "Expect: 100-continue")
        half_body = await server.connect(asks.replace(b"Length: ", b"Length: 1"))
        assert (await read_head(half_body))[0] == 100  # the head has arrived
        if not ingesting:
            upstream.replies.extend([[delta("The tide "), Hang()], FLOOD])
            stream = await server.connect(chat())
            await upstream.until(lambda u: len(u.chats()) == 1)
            status, _ = await read_head(stream)
            assert status == 200
            stalled = await server.connect(chat(session_id="stalled"), buffer=4096)
            await read_head(stalled)
            await upstream.until(lambda u: len(u.chats()) == 2)

        stopping = asyncio.create_task(server.stop())
        origin = f"Origin: {SITE}"
        while (health := await exchange(server, request("GET", "/health")))[0] != 503:
            pass
        report = json.loads(health[2])
        assert (report["draining"], report["ready"]) == (True, False)

        status, headers, body = await exchange(server, request("POST", "/search", "{}", origin))
        assert status == 503
        assert json.loads(body)["code"] == "STOPPING"
        assert int(headers["retry-after"]) > 0
        assert headers["x-request-id"]
        assert headers["access-control-allow-origin"] == SITE
        assert headers["access-control-allow-credentials"] == "true"
        assert "Retry-After" in headers["access-control-expose-headers"]
        assert headers["vary"] == "Origin"
        foreign = request("POST", "/chat", "{}", "Origin: https://evil.example")
        assert "access-control-allow-origin" not in (await exchange(server, foreign))[1]
        asks = request("OPTIONS", "/chat", "", origin, "Access-Control-Request-Method: POST")
        assert (await exchange(server, asks))[0] == 200  # otherwise a browser cannot read the 503

        if not ingesting:
            last = (await read_events(stream))[-1]
            assert (last["type"], last["code"]) == ("error", "STOPPING")
        assert (await read_head(half_body))[0] == 503
        assert await stopping < EXIT_SECONDS
        assert server.process.returncode == 0
        assert await idle.read() == b""
        assert await half_head.read() == b""
    assert "Traceback" not in "".join(server.log)


async def test_a_stream_completes_within_the_grace_period(
    own_book: Path, own_index: Path, upstream: Upstream
) -> None:
    resume = asyncio.Event()
    rest = [delta(" The tide turns [1]."), b'data: {"choices":[{"finish_reason":"stop"}]}\n\n']
    upstream.replies.append([delta("Well."), resume, *rest])
    async with running_quire(own_book, own_index, OPENAI_BASE_URL=upstream.base_url) as server:
        stream = await server.connect(chat())
        await upstream.until(lambda u: len(u.chats()) == 1)
        await read_head(stream)
        stopping = asyncio.create_task(server.stop())
        while (await exchange(server, request("GET", "/health")))[0] != 503:
            pass
        resume.set()
        assert (await read_events(stream))[-1]["type"] == "done"
        assert await stopping < EXIT_SECONDS


HANGING = """
import asyncio, sys, time
import main

app = main.create_app()

@app.before_serving
async def hang():
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)

import handlers.serving
from lib.logs import configure_logging
configure_logging(main.read_settings())
handlers.serving._EXIT_SECONDS = 1
handlers.serving.serve(main.read_settings(), app)
"""


async def test_a_hanging_thread_does_not_block_the_exit(own_book: Path, own_index: Path) -> None:
    async with running_quire(own_book, own_index, ("-c", HANGING)) as server:
        assert await server.stop() < EXIT_SECONDS
        assert server.process.returncode == 0
    assert "exiting anyway" in server.log[-1]
