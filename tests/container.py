"""Run a container of the image with a real engine and send it HTTP requests.

QUIRE_IMAGE is the image. CONTAINER_ENGINE is docker (the default) or podman.
"""

import asyncio
import json
import os
import shlex
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aiohttp

IMAGE = os.environ.get("QUIRE_IMAGE", "")
ENGINE = os.environ.get("CONTAINER_ENGINE", "docker")
BUILD = shlex.split(os.environ.get("IMAGE_BUILD", f"{ENGINE} build --network host"))
"""Command that builds the image; options can be appended."""

MEMORY = 512 << 20
LIMITED = ("--memory", str(MEMORY), "--memory-swap", str(MEMORY))
READ_ONLY = ("--read-only", "--tmpfs", "/tmp")
READY_SECONDS = 20.0

REQUEST = """
import http.client, json, sys
port, method, path, body = json.load(sys.stdin)
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
headers = {"Content-Type": "application/json", "Authorization": "Bearer the-admin-key"}
connection.request(method, path, body, headers)
answer = connection.getresponse()
print(json.dumps([answer.status, json.loads(answer.read())]))
"""
"""Runs in the container, because a container without a network is not reachable from outside."""


@dataclass(frozen=True)
class Completed:
    code: int
    output: str
    errors: str


async def run(*command: str, given: str = "", check: bool = True) -> Completed:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate(given.encode())
    assert process.returncode is not None
    done = Completed(process.returncode, output.decode(), errors.decode())
    assert not check or done.code == 0, f"{shlex.join(command)}\n{done.output}\n{done.errors}"
    return done


async def engine(*arguments: str, given: str = "", check: bool = True) -> Completed:
    return await run(ENGINE, *arguments, given=given, check=check)


async def inspected(image: str = IMAGE) -> dict[str, Any]:
    """Return the image's configuration: `User`, `Env`, `Cmd` and so on."""
    (found,) = json.loads((await engine("image", "inspect", image)).output)
    return {"Healthcheck": found.get("Healthcheck"), **found["Config"]}  # podman, docker


@dataclass
class Container:
    name: str
    port: int
    began: float

    async def python(self, code: str, *arguments: str, check: bool = True) -> Completed:
        return await self.inside("python", "-c", code, *arguments, check=check)

    async def inside(
        self, *command: str, given: str = "", user: str = "", check: bool = True
    ) -> Completed:
        options = ("exec", "--interactive", f"--user={user}")[: 3 if user else 2]
        return await engine(*options, self.name, *command, given=given, check=check)

    async def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        given = json.dumps([self.port, method, path, json.dumps(body) if body else None])
        completed = await self.inside("python", "-c", REQUEST, given=given)
        status, response = json.loads(completed.output)
        return int(status), response

    async def chat(self, question: str) -> dict[str, Any]:
        status, answer = await self.request(
            "POST", "/chat", {"question": question, "stream": False}
        )
        assert status == 200, answer
        return dict(answer)

    async def health(self) -> dict[str, Any]:
        return dict((await self.request("GET", "/health"))[1])

    async def ingest(self) -> dict[str, Any]:
        """Run an ingestion to completion. Returns its status."""
        status, started = await self.request("POST", "/ingest", {})
        assert status in (200, 202), started
        path = f"/ingest/status?task_id={started['task_id']}"
        async with asyncio.timeout(60):
            while not (task := (await self.request("GET", path))[1])["finished_at"]:
                pass
        return dict(task)

    async def until_ready(self) -> float:
        """Wait until the image's health check passes. Returns the seconds since the start."""
        _, *command = (await inspected())["Healthcheck"]["Test"]
        while (await self.inside(*command, check=False)).code != 0:
            running = await engine("inspect", "--format", "{{.State.Running}}", self.name)
            assert running.output.strip() == "true", await self.log()
            assert time.monotonic() < self.began + READY_SECONDS, await self.log()
        return time.monotonic() - self.began

    async def until_indexed(self) -> dict[str, Any]:
        """Wait until the first ingestion has finished. Returns the health report."""
        async with asyncio.timeout(120):
            while True:
                health = await self.health()
                if health["ready"] and not health["ingesting"]:
                    return health
                await asyncio.sleep(0.2)

    async def stop(self) -> tuple[float, int]:
        """Send SIGTERM. Returns the seconds until the exit, and the exit code."""
        began = time.monotonic()
        await engine("stop", "--time", "20", self.name)
        seconds = time.monotonic() - began
        code = await engine("inspect", "--format", "{{.State.ExitCode}}", self.name)
        return seconds, int(code.output)

    async def log(self) -> str:
        done = await engine("logs", self.name)
        return done.output + done.errors


@asynccontextmanager
async def container(
    *options: str, network: str = "none", image: str = IMAGE, **environment: str
) -> AsyncIterator[Container]:
    """Run a container. `network="host"` gives it access to the tests' servers."""
    name = f"quire-test-{uuid4().hex[:8]}"
    port = 7860
    environment = {"ADMIN_API_KEY": "the-admin-key", **environment}
    if network == "host":
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        environment |= {"API_HOST": "127.0.0.1", "PORT": str(port)}
    variables = [f"--env={key}={value}" for key, value in environment.items()]
    began = time.monotonic()
    try:
        command = ("run", "--detach", "--name", name, "--network", network)
        await engine(*command, *options, *variables, image)
        yield Container(name, port, began)
    finally:
        await engine("kill", name, check=False)
        await engine("rm", "--force", name, check=False)


@asynccontextmanager
async def streaming(port: int, question: str) -> AsyncIterator[aiohttp.StreamReader]:
    """Yield the open answer stream of a container on the host network."""
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"http://127.0.0.1:{port}/chat", json={"question": question}) as response,
    ):
        assert response.status == 200
        yield response.content
