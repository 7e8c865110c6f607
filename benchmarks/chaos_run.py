"""One chaos run: what happens to the server, and what must hold whenever it is quiet."""

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
"""Of the budget, which is to last until the end."""
EXIT_SECONDS: Final = 5.0
QUIET_SECONDS: Final = 60.0
"""For all that was begun to be over."""
LINGERS: Final = 7.0
"""Seconds; so long the server keeps a connection that was idle when its reader closed it."""


class Run:
    """One run against one server."""

    def __init__(self, server: Server, watch: Watch, book: Path, seconds: float) -> None:
        self.server, self.watch, self.book, self.seconds = server, watch, book, seconds
        self.upstream, self.crowd = watch.upstream, watch.crowd
        self.samples: list[Sample] = []
        self.ingestions = 0
        self.exit_seconds = 0.0
        self.told = 0
        """Streams that ended with an event when the server stopped."""
        self._chaos = 0.0
        """Seconds of chaos so far."""
        self._began = self._phase = time.monotonic()

    def may_spend(self) -> bool:
        """Not faster than planned."""
        planned = TOKENS_A_SECOND * (self._chaos + time.monotonic() - self._phase)
        return self.watch.spent() < planned

    async def change_the_book(self) -> None:
        """Pages come, change and go, and the book is ingested all the while."""
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
        """While it lasts; then all leave in the same moment."""
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
                    self.crowd.problem(f"the run itself: {ended!r}")
            self._chaos += time.monotonic() - self._phase

    async def quiet(self) -> None:
        """Wait until all is over and the model is asked again, and measure."""
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
            self.crowd.problem("the model was not asked again once it was well")
        self.crowd.sessions.put_nowait(secret)

    async def ingested(self) -> None:
        """Once more, with nothing in its way. One that was in the way is waited for."""
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
        """Wait until the budget has no room for another answer, as long as it gets less."""
        most, deadline = self.watch.most_spent, time.monotonic() + QUIET_SECONDS
        while not (await self.watch.budget())["refused"]:
            if self.watch.most_spent > most:
                most, deadline = self.watch.most_spent, time.monotonic() + QUIET_SECONDS
            if time.monotonic() > deadline:
                self.crowd.problem("the budget was not used up")
                break
            await asyncio.sleep(0.1)

    async def stop(self, slow: list[Wire]) -> None:
        """Tell it to, while all goes on."""
        self.crowd.stopping = True
        began = time.monotonic()
        self.server.process.send_signal(signal.SIGTERM)
        ends = [asyncio.create_task(wire.body()) for wire in slow]
        try:
            async with asyncio.timeout(4 * EXIT_SECONDS):
                code = await self.server.process.wait()
        except TimeoutError:
            self.crowd.problem("SIGTERM does not end it")
            return
        self.exit_seconds = time.monotonic() - began
        if code or self.exit_seconds > EXIT_SECONDS:
            self.crowd.problem(f"exit with {code} after {self.exit_seconds:.1f} seconds")
        for body in await asyncio.gather(*ends, return_exceptions=True):
            self.told += isinstance(body, bytes) and body.count(b'"code":"STOPPING"') == 1
