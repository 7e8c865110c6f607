"""The real server, as a process of its own."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aiohttp

from lib.settings import setting_names

START_SECONDS: Final = 600.0
"""For the server to have opened, or made, its index."""


@dataclass(frozen=True, slots=True)
class Served:
    port: int
    pid: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def served(variables: Mapping[str, str]) -> AsyncIterator[Served]:
    """The server with these variables and none of the user's own, once it answers questions.

    It ingests its book by itself if there is no index. Exits where it does not start.
    """
    port = free_port()
    own = dict.fromkeys(setting_names(), "")
    listen = {"API_HOST": "127.0.0.1", "API_PORT": str(port), "LOG_LEVEL": "WARNING"}
    server = await asyncio.create_subprocess_exec(
        sys.executable, "main.py", env={**os.environ, **own, **listen, **variables}
    )
    running = Served(port, server.pid)
    try:
        await ready(running, server)
        yield running
    finally:
        if server.returncode is None:
            server.terminate()
        await server.wait()


async def ready(running: Served, server: asyncio.subprocess.Process) -> None:
    deadline = time.monotonic() + START_SECONDS
    async with aiohttp.ClientSession() as http:
        while server.returncode is None and time.monotonic() < deadline:
            try:
                # /health would do, but its word may be two seconds old.
                async with http.get(f"{running.address}/search", params={"q": "it"}) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.05)
    sys.exit("the server did not start")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
