"""Run the real server in a separate process."""

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
"""Timeout for the start, including the first ingestion."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    port: int
    pid: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def running_server(variables: Mapping[str, str]) -> AsyncIterator[RunningServer]:
    """Start the server with only these settings and yield it when it answers searches.

    Without an index, the server ingests its book first. Exits if the server does not start.
    """
    port = free_port()
    own = dict.fromkeys(setting_names(), "")
    listen = {"API_HOST": "127.0.0.1", "API_PORT": str(port), "LOG_LEVEL": "WARNING"}
    server = await asyncio.create_subprocess_exec(
        sys.executable, "main.py", env={**os.environ, **own, **listen, **variables}
    )
    running = RunningServer(port, server.pid)
    try:
        await ready(running, server)
        yield running
    finally:
        if server.returncode is None:
            server.terminate()
        await server.wait()


async def ready(running: RunningServer, server: asyncio.subprocess.Process) -> None:
    deadline = time.monotonic() + START_SECONDS
    async with aiohttp.ClientSession() as http:
        while server.returncode is None and time.monotonic() < deadline:
            try:
                # Not /health, which may be cached for two seconds.
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
