"""One chaos run: its phases and the checks in quiet phases."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from benchmarks.chaos_crowd import TOPICS
from benchmarks.chaos_leaks import Sample, sample
from benchmarks.chaos_readers import go_on
from benchmarks.chaos_server import Server
from benchmarks.chaos_watch import Watch
from benchmarks.chaos_wire import BROKEN, Wire, request

TOKENS_A_SECOND: Final = 5_000
"""Planned spending, so that the budget lasts until the end."""
EXIT_SECONDS: Final = 5.0
QUIET_SECONDS: Final = 60.0
"""Maximum wait for open work to end."""
LINGERS: Final = 7.0
"""Seconds until the server notices that an idle connection was closed."""


class Run:
    """One run against one server."""

    def __init__(self, server: Server, watch: Watch, book: Path, seconds: float) -> None:
        self.server, self.watch, self.book, self.seconds = server, watch, book, seconds
        self.upstream, self.crowd = watch.upstream, watch.crowd
        self.samples: list[Sample] = []
        self.ingestions = 0
        self.exit_seconds = 0.0
        self.told = 0
        """Streams that ended with a STOPPING event."""
        self._chaos = 0.0
        """Seconds of chaos phases so far."""
        self._began = self._phase = time.monotonic()

    def may_spend(self) -> bool:
        """Whether spending is within the plan."""
        planned = TOKENS_A_SECOND * (self._chaos + time.monotonic() - self._phase)
        return self.watch.spent() < planned

    async def change_the_book(self) -> None:
        """Create, change and delete pages, and ingest, until cancelled."""
        draw = self.crowd.draw
        while True:
            page = self.book / f"page{draw.randrange(12)}.md"
            if page.exists() and draw.random() < 0.3:
                page.unlink()
            else:
                text = " ".join(f"{topic} in the year {draw.randrange(2000)}." for topic in TOPICS)
                page.write_text(
                    f"# Page {draw.randrange(99)}\n\n" + f"{text}\n\n" * draw.randint(1, 9)
                )
            with suppress(*BROKEN, OSError):
                await self.watch.call(request("POST", "/ingest", b'{"force_reindex": true}'))
                self.ingestions += 1
                if draw.random() < 0.1:
                    await self.watch.call(request("DELETE", "/ingest"))
            await asyncio.sleep(3 * draw.random())

    async def fail_at_times(self) -> None:
        draw = self.crowd.draw
        self.upstream.faulty = True
        try:
            while True:
                await asyncio.sleep(min(40, self.seconds / 4) * (0.5 + draw.random()))
                self.upstream.outage = True
                await asyncio.sleep(min(5, self.seconds / 20) * draw.random())
                self.upstream.outage = False
        finally:
            self.upstream.faulty = self.upstream.outage = False

    @asynccontextmanager
    async def chaos(self, readers: int, *, planned: bool) -> AsyncIterator[None]:
        """Run all clients in the context; at its end they disconnect together."""
        self._phase = time.monotonic()
        tasks = [
            asyncio.create_task(go_on(self.crowd, self.may_spend if planned else lambda: True))
            for _ in range(readers)
        ]
        watching = self.watch.go_on(min(0.5, self.seconds / 50))
        others = (watching, self.change_the_book(), self.fail_at_times())
        tasks += [asyncio.create_task(each) for each in others]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(ended, Exception):
                    self.crowd.problem(f"error in the test itself: {ended!r}")
            self._chaos += time.monotonic() - self._phase

    async def quiet(self) -> None:
        """Wait until nothing is open and the model is used again, then take a sample."""
        await self.recovered()
        await self.ingested()
        deadline = time.monotonic() + QUIET_SECONDS
        while open_ := await self.watch.still_open():
            if time.monotonic() > deadline:
                self.crowd.problem(f"still open after {QUIET_SECONDS:.0f} seconds: {open_}")
                break
            await asyncio.sleep(0.1)
        await asyncio.sleep(LINGERS if self.crowd.lingering else 0.5)
        await self.watch.budget()
        tasks = int((await self.watch.figures())["quire_tasks"])
        seconds = time.monotonic() - self._began
        self.samples.append(sample(self.server.process.pid, seconds=seconds, tasks=tasks))
        print(self.samples[-1], flush=True)

    async def recovered(self) -> None:
        deadline, secret = time.monotonic() + QUIET_SECONDS, await self.crowd.sessions.get()
        while time.monotonic() < deadline:
            data = self.crowd.chat(question=f"{TOPICS[0]}, {secret}?", session_id=f"s-{secret}")
            if b'"mode":"generated"' in (await self.watch.call(data))[1]:
                break
            await asyncio.sleep(0.5)
        else:
            self.crowd.problem("the model was not used again after it recovered")
        self.crowd.sessions.put_nowait(secret)

    async def ingested(self) -> None:
        """Run one undisturbed ingestion, after any that is still running."""
        for _ in range(2):
            _, body = await self.watch.call(request("POST", "/ingest", b'{"force_reindex": true}'))
            started = json.loads(body)
            async with asyncio.timeout(QUIET_SECONDS):
                while True:
                    task = json.loads(
                        await self.watch.get(f"/ingest/status?task_id={started['task_id']}")
                    )
                    if task["status"] in ("completed", "failed"):
                        break
                    await asyncio.sleep(0.05)
            if started["status"] == "started":
                break
        if task["status"] != "completed":
            self.crowd.problem(f"the ingestion failed: {task}")

    async def use_up(self) -> None:
        """Wait until the budget is used up, as long as spending goes on."""
        most, deadline = self.watch.most_spent, time.monotonic() + QUIET_SECONDS
        while not (await self.watch.budget())["refused"]:
            if self.watch.most_spent > most:
                most, deadline = self.watch.most_spent, time.monotonic() + QUIET_SECONDS
            if time.monotonic() > deadline:
                self.crowd.problem("the budget was not used up")
                break
            await asyncio.sleep(0.1)

    async def stop(self, slow: list[Wire]) -> None:
        """Send SIGTERM while streams are open, and check exit code, time and last events."""
        self.crowd.stopping = True
        began = time.monotonic()
        self.server.process.send_signal(signal.SIGTERM)
        ends = [asyncio.create_task(wire.body()) for wire in slow]
        try:
            async with asyncio.timeout(4 * EXIT_SECONDS):
                code = await self.server.process.wait()
        except TimeoutError:
            self.crowd.problem("the server does not exit after SIGTERM")
            return
        self.exit_seconds = time.monotonic() - began
        if code or self.exit_seconds > EXIT_SECONDS:
            self.crowd.problem(f"exit code {code} after {self.exit_seconds:.1f} seconds")
        for body in await asyncio.gather(*ends, return_exceptions=True):
            self.told += isinstance(body, bytes) and body.count(b'"code":"STOPPING"') == 1
