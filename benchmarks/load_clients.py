"""Concurrent clients of the load test, in a separate process.

The clients share the processors with the measured server. So a client only records the time of
each read while answers arrive; their content is checked after all clients have finished.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from benchmarks.load_interfaces import HAS_TEXT, Exchange, find_problem
from benchmarks.upstream import content_length

ANSWER_SECONDS: Final = 60.0
"""Timeout for an answer."""
_END: Final = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Plan:
    """The questions of all clients.

    Client i asks questions i, i + `clients`, and so on, in sequence. Clients start evenly over
    `ramp` seconds.
    """

    port: int
    asked: Sequence[Exchange]
    clients: int
    ramp: float
    answer: str
    """The expected text. Of a marker with a link, only the marker is compared."""


@dataclass(frozen=True, slots=True)
class AnswerResult:
    """Timing and correctness of one answer. Times in seconds."""

    first: float
    """From before the connection was made to the first text."""
    gaps: list[float]
    """Between two reads with text."""
    problem: str
    """Why the answer does not count; empty for a complete and correct answer."""


def measure_answers(plan: Plan) -> list[AnswerResult]:
    """Ask all questions. Returns the answers in the order of the questions."""
    clients = asyncio.run(ask_all(plan))
    return [judge(client, plan.answer) for client in clients]


async def ask_all(plan: Plan) -> "list[Client]":
    clients = [Client(exchange) for exchange in plan.asked]

    async def ask(number: int) -> None:
        await asyncio.sleep(plan.ramp * number / plan.clients)
        for client in clients[number :: plan.clients]:
            await client.ask(plan.port)

    await asyncio.gather(*map(ask, range(plan.clients)))
    return clients


@dataclass(slots=True)
class Client(asyncio.Protocol):
    """One connection and its exchange."""

    exchange: Exchange
    started: float = 0.0
    times: list[float] = field(default_factory=list)
    """Times of the reads with text."""
    received: list[bytes] = field(default_factory=list)
    """Data of the last response."""
    problem: str = ""
    _answered: int = 0
    _transport: asyncio.Transport | None = None
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, port: int) -> None:
        self.started = time.perf_counter()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda: self, "127.0.0.1", port)
                await self._over.wait()
        except (OSError, TimeoutError) as error:
            self.problem = type(error).__name__
        if self._transport:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self.exchange[0])

    def data_received(self, data: bytes) -> None:
        self.received.append(data)
        if not self.received[0].startswith(b"HTTP/1.1 200"):
            self._over.set()
        elif self._answered + 1 < len(self.exchange):
            self._next()
        else:
            if HAS_TEXT.search(data):
                self.times.append(time.perf_counter())
            if data.endswith(_END):
                self._over.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._over.set()

    def _next(self) -> None:
        """Send the next request if this response is complete."""
        head, sep, body = b"".join(self.received).partition(b"\r\n\r\n")
        if sep and len(body) >= content_length(head) and self._transport:
            self._answered += 1
            self.received.clear()
            self._transport.write(self.exchange[self._answered])


def judge(client: Client, answer: str) -> AnswerResult:
    times = client.times or [client.started]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    problem = client.problem or find_problem(b"".join(client.received), answer)
    return AnswerResult(times[0] - client.started, gaps, problem)
