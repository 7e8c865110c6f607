"""Phases of the chaos test: disturb the server, then check it when it is idle."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from benchmarks.chaos_clients import run_client
from benchmarks.chaos_http import BROKEN, Connection, request
from benchmarks.chaos_leaks import Sample, take_sample
from benchmarks.chaos_monitor import Monitor
from benchmarks.chaos_server import Server
from benchmarks.chaos_state import TOPICS

TOKENS_PER_SECOND: Final = 5_000
"""Planned spending, so that the budget lasts until the end."""
EXIT_SECONDS: Final = 5.0
SETTLE_SECONDS: Final = 60.0
"""Timeout for all open work to finish."""
KEEP_ALIVE_SECONDS: Final = 7.0
"""Seconds until the server drops an idle connection that its client has closed."""


class ChaosRun:
    """A run of the chaos test against one server."""

    def __init__(self, server: Server, monitor: Monitor, book: Path, seconds: float) -> None:
        self.server, self.monitor, self.book, self.seconds = server, monitor, book, seconds
        self.upstream, self.state = monitor.upstream, monitor.state
        self.samples: list[Sample] = []
        self.ingestions = 0
        self.exit_seconds = 0.0
        self.notified = 0
        """Streams that ended with a STOPPING event."""
        self._chaos = 0.0
        """Duration of all finished phases in seconds."""
        self._began = self._phase = time.monotonic()

    def may_spend(self) -> bool:
        """Whether spending is below the plan."""
        planned = TOKENS_PER_SECOND * (self._chaos + time.monotonic() - self._phase)
        return self.monitor.spent() < planned

    async def change_the_book(self) -> None:
        """Add, change and delete pages, and ingest the book, until cancelled."""
        rng = self.state.rng
        while True:
            page = self.book / f"page{rng.randrange(12)}.md"
            if page.exists() and rng.random() < 0.3:
                page.unlink()
            else:
                text = " ".join(f"{topic} in the year {rng.randrange(2000)}." for topic in TOPICS)
                page.write_text(
                    f"# Page {rng.randrange(99)}\n\n" + f"{text}\n\n" * rng.randint(1, 9)
                )
            with suppress(*BROKEN, OSError):
                await self.monitor.call(request("POST", "/ingest", b'{"force_reindex": true}'))
                self.ingestions += 1
                if rng.random() < 0.1:
                    await self.monitor.call(request("DELETE", "/ingest"))
            await asyncio.sleep(3 * rng.random())

    async def inject_outages(self) -> None:
        """Let the upstream fail at random, with a complete outage from time to time."""
        rng = self.state.rng
        self.upstream.faulty = True
        try:
            while True:
                await asyncio.sleep(min(40, self.seconds / 4) * (0.5 + rng.random()))
                self.upstream.outage = True
                await asyncio.sleep(min(5, self.seconds / 20) * rng.random())
                self.upstream.outage = False
        finally:
            self.upstream.faulty = self.upstream.outage = False

    @asynccontextmanager
    async def running(self, clients: int, *, planned: bool) -> AsyncIterator[None]:
        """Run the clients and all disturbances. At the end, all clients disconnect together."""
        self._phase = time.monotonic()
        tasks = [
            asyncio.create_task(run_client(self.state, self.may_spend if planned else lambda: True))
            for _ in range(clients)
        ]
        watching = self.monitor.run(min(0.5, self.seconds / 50))
        others = (watching, self.change_the_book(), self.inject_outages())
        tasks += [asyncio.create_task(each) for each in others]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception):
                    self.state.report(f"error in the test itself: {result!r}")
            self._chaos += time.monotonic() - self._phase

    async def settle(self) -> None:
        """Wait until the model is used again and all work has finished, then take a sample."""
        await self.wait_for_recovery()
        await self.ingest()
        deadline = time.monotonic() + SETTLE_SECONDS
        while open_ := await self.monitor.open_work():
            if time.monotonic() > deadline:
                self.state.report(f"still open after {SETTLE_SECONDS:.0f} seconds: {open_}")
                break
            await asyncio.sleep(0.1)
        await asyncio.sleep(KEEP_ALIVE_SECONDS if self.state.keep_alive else 0.5)
        await self.monitor.budget()
        tasks = int((await self.monitor.figures())["quire_tasks"])
        seconds = time.monotonic() - self._began
        self.samples.append(take_sample(self.server.process.pid, seconds=seconds, tasks=tasks))
        print(self.samples[-1], flush=True)

    async def wait_for_recovery(self) -> None:
        deadline, secret = time.monotonic() + SETTLE_SECONDS, await self.state.sessions.get()
        while time.monotonic() < deadline:
            data = self.state.chat(question=f"{TOPICS[0]}, {secret}?", session_id=f"s-{secret}")
            if b'"mode":"generated"' in (await self.monitor.call(data))[1]:
                break
            await asyncio.sleep(0.5)
        else:
            self.state.report("the model was not used again after its recovery")
        self.state.sessions.put_nowait(secret)

    async def ingest(self) -> None:
        """Ingest the book. If an ingestion is already running, wait for it and start another."""
        for _ in range(2):
            _, body = await self.monitor.call(
                request("POST", "/ingest", b'{"force_reindex": true}')
            )
            started = json.loads(body)
            async with asyncio.timeout(SETTLE_SECONDS):
                while True:
                    task = json.loads(
                        await self.monitor.get(f"/ingest/status?task_id={started['task_id']}")
                    )
                    if task["status"] in ("completed", "failed"):
                        break
                    await asyncio.sleep(0.05)
            if started["status"] == "started":
                break
        if task["status"] != "completed":
            self.state.report(f"the ingestion failed: {task}")

    async def exhaust_budget(self) -> None:
        """Wait until the budget refuses an answer. The timeout restarts while spending grows."""
        peak, deadline = self.monitor.peak_spent, time.monotonic() + SETTLE_SECONDS
        while not (await self.monitor.budget())["refused"]:
            if self.monitor.peak_spent > peak:
                peak, deadline = self.monitor.peak_spent, time.monotonic() + SETTLE_SECONDS
            if time.monotonic() > deadline:
                self.state.report("the budget was not used up")
                break
            await asyncio.sleep(0.1)

    async def stop(self, slow: list[Connection]) -> None:
        """Send SIGTERM under full load and check the exit."""
        self.state.stopping = True
        began = time.monotonic()
        self.server.process.send_signal(signal.SIGTERM)
        ends = [asyncio.create_task(connection.body()) for connection in slow]
        try:
            async with asyncio.timeout(4 * EXIT_SECONDS):
                code = await self.server.process.wait()
        except TimeoutError:
            self.state.report("no exit after SIGTERM")
            return
        self.exit_seconds = time.monotonic() - began
        if code or self.exit_seconds > EXIT_SECONDS:
            self.state.report(f"exit code {code} after {self.exit_seconds:.1f} seconds")
        for body in await asyncio.gather(*ends, return_exceptions=True):
            self.notified += isinstance(body, bytes) and body.count(b'"code":"STOPPING"') == 1
