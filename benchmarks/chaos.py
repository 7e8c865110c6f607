"""Everything at once, for minutes: what the server must hold whatever readers and upstream do.

    python -m benchmarks.chaos [--seconds 600] [--readers 40] [--seed N]

Starts the real server with a scripted upstream that fails at random, and sends it readers who ask,
leave, stall, flood and send garbage, while its book changes and is ingested anew. In quiet moments
memory, files, threads and tasks are compared with those after the warm-up. At last the budget is
used up, and the server is told to stop with all that still open.

Every session has a secret, which the upstream repeats: a reader who sees another one has found a
mistake. Exits with 1 when anything was seen that must never be, and prints the seed.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks.chaos_readers import (
    ADMIN_KEY,
    BROKEN,
    TOPICS,
    Crowd,
    Wire,
    chat,
    connected,
    go_on,
    request,
)
from benchmarks.chaos_upstream import SLOWLY, Upstream, serving
from lib.settings import setting_names

ROOT: Final = Path(__file__).parents[1]
TOKENS_AT_END, TOKENS_A_SECOND = 100_000, 5_000
"""Of the budget: for its end, and for each second before."""
SLOW_STREAMS: Final = 12
EXIT_SECONDS: Final = 5.0
QUIET_SECONDS: Final = 60.0
"""For all that was begun to be over."""
LINGERS: Final = 7.0
"""Seconds; so long the server keeps a connection that was idle when its reader closed it."""
FILES, THREADS, TASKS = 8, 4, 4
"""So many more may there be at the end than after the warm-up."""
MEMORY: Final = 32.0
"""MB, likewise: caches and conversations fill up to their bounds."""
SAYS_MISTAKE: Final = re.compile(r"Traceback|never retrieved|never awaited|Unclosed|\bERROR\b")

PAGES: Final = {
    "index.md": """# The harbour

## Opening hours

The harbour office is open from eight to six, each day that the harbour is open.
""",
    "mooring.md": """# Mooring

A boat is moored in the harbour with two lines and a spring at the quay.

## Fenders

Three fenders hang at the side of the quay; two fenders are not enough.
""",
    "tides.md": """# Tides

The tide turns every six hours. At spring tide the water rises four metres.

## Currents

The current in the entrance runs at three knots when the tide falls.
""",
}


@dataclass
class Server:
    """The process under test."""

    process: asyncio.subprocess.Process
    port: int = 0
    mistakes: list[str] = field(default_factory=list)
    """Lines of its log that tell of one, each with what follows."""

    async def read(self, ready: asyncio.Future[int]) -> None:
        assert self.process.stderr is not None
        follows = 0
        async for raw in self.process.stderr:
            line = raw.decode(errors="replace")
            if found := re.search(r"Running on http://127\.0\.0\.1:(\d+)", line):
                ready.set_result(int(found[1]))
            follows = 25 if SAYS_MISTAKE.search(line) else follows - 1
            if follows > 0 and len(self.mistakes) < 200:
                self.mistakes.append(line.rstrip())


@asynccontextmanager
async def started(folder: Path, upstream: Upstream, tokens: int) -> AsyncIterator[Server]:
    variables = dict.fromkeys(setting_names(), "") | {
        "BOOK_CONTENT_PATH": str(folder / "book"),
        "QDRANT_PATH": str(folder / "index"),
        "SITE_URL": "https://book.example",
        "CHUNK_TOKENS": "50",
        "OPENAI_BASE_URL": upstream.base_url,
        "OPENAI_TIMEOUT": "2",
        "EMBEDDING_PROVIDER": "openai",
        "MAX_OUTPUT_TOKENS": "400",
        "MAX_CONCURRENT_ANSWERS": "24",
        "DAILY_TOKENS": str(tokens),
        "ADMIN_API_KEY": ADMIN_KEY,
        "TRUSTED_PROXY_HOPS": "1",
        "API_HOST": "127.0.0.1",
        "API_PORT": "0",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "main.py",
        cwd=ROOT,
        env={**os.environ, **variables},
        stderr=asyncio.subprocess.PIPE,
    )
    server, ready = Server(process), asyncio.get_running_loop().create_future()
    reading = asyncio.create_task(server.read(ready))
    try:
        async with asyncio.timeout(60):
            server.port = await ready
        yield server
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


@dataclass(frozen=True, slots=True)
class Sample:
    """The server in a quiet moment. Memory in MB."""

    seconds: float
    memory: float
    anonymous: float
    """The part of it that is no mapped file."""
    files: int
    threads: int
    tasks: int


def judge(first: Sample, last: Sample) -> list[str]:
    """What has leaked between two quiet moments."""
    return [
        f"{name}: {before:g} after the warm-up, {after:g} at the end"
        for name, before, after, margin in (
            ("memory", first.memory, last.memory, MEMORY),
            ("open files", first.files, last.files, FILES),
            ("threads", first.threads, last.threads, THREADS),
            ("tasks", first.tasks, last.tasks, TASKS),
        )
        if after > before + margin
    ]


class Run:
    """One run against one server."""

    def __init__(
        self,
        server: Server,
        upstream: Upstream,
        crowd: Crowd,
        book: Path,
        seconds: float,
        limit: int,
    ) -> None:
        self.server, self.upstream, self.crowd, self.book = server, upstream, crowd, book
        self.seconds, self.limit = seconds, limit
        self.samples: list[Sample] = []
        self.health_seconds: list[float] = []
        self.most_running = 0
        self.most_spent = 0
        """Tokens, as the server has it."""
        self.ingestions = 0
        self.share = 0.0
        self.exit_seconds = 0.0
        self.told = 0
        """Streams that ended with an event when the server stopped."""
        self._chaos = 0.0
        """Seconds of chaos so far."""
        self._asked = 0
        """How often the model was asked when `share` was."""
        self._began = self._phase = time.monotonic()

    # What is asked of the server besides.

    async def get(self, path: str) -> bytes:
        return (await self.call(request("GET", path)))[1]

    async def call(self, data: bytes) -> tuple[int, bytes]:
        async with connected(self.crowd, data) as wire:
            status, body = await wire.head(), await wire.body()
            self.crowd.saw("watch", status, body)
            return status, body

    async def figures(self) -> dict[str, float]:
        lines = (
            line.rpartition(" ") for line in (await self.get("/metrics")).decode().splitlines()
        )
        return {name: float(value) for name, _, value in lines if not name.startswith("#")}

    async def budget(self) -> dict[str, Any]:
        """As /health tells it, checked."""
        began = time.monotonic()
        inside = json.loads(await self.get("/health"))["inside"]
        self.health_seconds.append(time.monotonic() - began)
        spent = inside["budget"]["tokens"] + inside["budget"]["tokens_reserved"]
        self.most_spent = max(self.most_spent, spent)
        self.most_running = max(self.most_running, inside["answers"]["running"])
        over = max(spent, self.upstream.billed) - self.limit
        if over > self.most_running * self.upstream.largest:
            self.crowd.problem(f"{over} tokens over the budget of {self.limit}")
        budget: dict[str, Any] = inside["budget"]
        return budget

    async def watch(self) -> None:
        while True:
            with suppress(*BROKEN, OSError):
                asked = self.upstream.asked
                self.share, self._asked = (await self.figures())["quire_budget_share"], asked
                await self.budget()
            await asyncio.sleep(min(0.5, self.seconds / 50))

    def may_spend(self) -> bool:
        """Not faster than planned: the budget is to last until the end."""
        planned = TOKENS_A_SECOND * (self._chaos + time.monotonic() - self._phase)
        since = (self.upstream.asked - self._asked) * self.upstream.largest
        return self.share * self.limit + since < planned

    # What happens to it.

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
                await self.call(request("POST", "/ingest", b'{"force_reindex": true}'))
                self.ingestions += 1
                if draw.random() < 0.1:
                    await self.call(request("DELETE", "/ingest"))
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
        others = (self.watch, self.change_the_book, self.fail_at_times)
        tasks += [asyncio.create_task(each()) for each in others]
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
        while open_ := await self.still_open():
            if time.monotonic() > deadline:
                self.crowd.problem(f"still open after {QUIET_SECONDS:.0f} seconds: {open_}")
                break
            await asyncio.sleep(0.1)
        await asyncio.sleep(LINGERS if self.crowd.lingering else 0.5)
        await self.budget()
        each = await self.measured()
        self.samples.append(each)
        print(
            f"quiet at {each.seconds:.0f} s: {each.memory:.1f} MB, {each.anonymous:.1f} of them "
            f"own, {each.files} files, {each.threads} threads, {each.tasks} tasks",
            flush=True,
        )

    async def recovered(self) -> None:
        deadline, secret = time.monotonic() + QUIET_SECONDS, await self.crowd.sessions.get()
        while time.monotonic() < deadline:
            data = chat(self.crowd, question=f"{TOPICS[0]}, {secret}?", session_id=f"s-{secret}")
            if b'"mode":"generated"' in (await self.call(data))[1]:
                break
            await asyncio.sleep(0.5)
        else:
            self.crowd.problem("the model was not asked again once it was well")
        self.crowd.sessions.put_nowait(secret)

    async def ingested(self) -> None:
        """Once more, with nothing in its way. One that was in the way is waited for."""
        for _ in range(2):
            _, body = await self.call(request("POST", "/ingest", b'{"force_reindex": true}'))
            started = json.loads(body)
            async with asyncio.timeout(QUIET_SECONDS):
                while True:
                    task = json.loads(
                        await self.get(f"/ingest/status?task_id={started['task_id']}")
                    )
                    if task["status"] in ("completed", "failed"):
                        break
                    await asyncio.sleep(0.05)
            if started["status"] == "started":
                break
        if task["status"] != "completed":
            self.crowd.problem(f"the ingestion failed: {task}")

    async def still_open(self) -> Mapping[str, float]:
        figures = await self.figures()
        names = ("open_streams", "answers_running", "answers_waiting", "ingest_running")
        told = {name: figures[f"quire_{name}"] for name in names}
        told["upstream"] = self.upstream.open
        return {name: value for name, value in told.items() if value}

    async def measured(self) -> Sample:
        figures = await self.figures()
        proc = Path("/proc") / str(self.server.process.pid)
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        return Sample(
            seconds=time.monotonic() - self._began,
            memory=int(status["VmRSS"].split()[0]) / 1024,
            anonymous=int(status["RssAnon"].split()[0]) / 1024,
            files=len(list((proc / "fd").iterdir())),
            threads=int(status["Threads"]),
            tasks=int(figures["quire_tasks"]),
        )

    async def use_up(self) -> None:
        """Wait until the budget has no room for another answer, as long as it gets less."""
        most, deadline = self.most_spent, time.monotonic() + QUIET_SECONDS
        while not (await self.budget())["refused"]:
            if self.most_spent > most:
                most, deadline = self.most_spent, time.monotonic() + QUIET_SECONDS
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


async def run(seconds: float, readers: int, seed: int) -> int:
    """The exit code."""
    draw = random.Random(seed)
    upstream, limit = (
        Upstream(random.Random(seed)),
        round(TOKENS_AT_END + TOKENS_A_SECOND * seconds),
    )
    with TemporaryDirectory() as name:
        folder = Path(name)
        book = folder / "book"
        book.mkdir()
        for page, text in PAGES.items():
            (book / page).write_text(text)
        async with serving(upstream), started(folder, upstream, limit) as server:
            crowd = Crowd(server.port, draw, lingering=seconds >= 30)
            this = Run(server, upstream, crowd, book, seconds, limit)
            for share in (0.15, 0.25, 0.25, 0.25) if crowd.lingering else (0.5, 0.5):
                async with this.chaos(readers, planned=True):
                    await asyncio.sleep(share * seconds)
                await this.quiet()
            crowd.problems += judge(this.samples[0], this.samples[-1])
            async with AsyncExitStack() as stack:
                slow = []
                for place in range(SLOW_STREAMS):
                    question = f"{TOPICS[0]}, secret{place:012x}, {SLOWLY}?"
                    data = chat(crowd, question=question)
                    slow.append(await stack.enter_async_context(connected(crowd, data)))
                    await slow[-1].head()
                await stack.enter_async_context(this.chaos(readers, planned=False))
                await this.use_up()
                await asyncio.sleep(0.05 * seconds)
                await this.stop(slow)
        kept = json.loads((folder / "index" / "spending.json").read_bytes())["tokens"]
        if kept < upstream.billed:
            crowd.problem(f"{kept} tokens are kept as spent, {upstream.billed} were billed")
    for text in upstream.mixed:
        crowd.problem(f"one prompt with {text}")
    crowd.problems += server.mistakes
    report(this, kept)
    if crowd.problems:
        print(f"FAILED, seed {seed}:", *crowd.problems, sep="\n  ")
        return 1
    print(f"passed, seed {seed}")
    return 0


def report(this: Run, kept: int) -> None:
    crowd, upstream = this.crowd, this.upstream
    for name, counts in (
        ("answers", crowd.statuses),
        ("ends of answers", crowd.ends),
        ("faults", upstream.faults),
    ):
        print(f"{name}: " + ", ".join(f"{key} {n}" for key, n in sorted(counts.items())))
    late = sorted(this.health_seconds)
    print(
        f"requests {crowd.statuses.total()}, ingestions {this.ingestions}, model asked "
        f"{upstream.asked} times and left {upstream.left} times, follow-ups that knew their "
        f"session {crowd.remembered}\n"
        f"budget {this.limit}: spent and reserved at the most {this.most_spent}, billed "
        f"{upstream.billed}, kept {kept}, answers at once {this.most_running} of at the most "
        f"{upstream.largest} tokens\n"
        f"/health: median {1000 * late[len(late) // 2]:.0f} ms, p99 "
        f"{1000 * late[len(late) * 99 // 100]:.0f} ms\n"
        f"SIGTERM: exit after {this.exit_seconds:.1f} s, {this.told} of {SLOW_STREAMS} slow "
        "streams were told"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--readers", type=int, default=40)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    given = parser.parse_args(arguments)
    return asyncio.run(run(given.seconds, given.readers, given.seed))


if __name__ == "__main__":
    sys.exit(main())
