"""Compare the metrics of the server under test with its upstream's own counts."""

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from benchmarks.chaos_http import BROKEN, connected, request
from benchmarks.chaos_state import ChaosState
from benchmarks.chaos_upstream import Upstream


class Monitor:
    """Polls /health and /metrics as admin and checks the budget."""

    def __init__(self, upstream: Upstream, state: ChaosState, limit: int) -> None:
        """`limit` is the budget in tokens."""
        self.upstream, self.state, self.limit = upstream, state, limit
        self.health_seconds: list[float] = []
        self.peak_running = 0
        self.peak_spent = 0
        """Maximum of spent and reserved tokens, as reported by the server."""
        self._share = 0.0
        self._asked = 0
        """Number of chat requests when `_share` was read."""

    async def get(self, path: str) -> bytes:
        return (await self.call(request("GET", path)))[1]

    async def call(self, data: bytes) -> tuple[int, bytes]:
        async with connected(self.state.port, data) as connection:
            status, body = await connection.head(), await connection.body()
            self.state.record("watch", status, body)
            return status, body

    async def figures(self) -> dict[str, float]:
        lines = (
            line.rpartition(" ") for line in (await self.get("/metrics")).decode().splitlines()
        )
        return {name: float(value) for name, _, value in lines if not name.startswith("#")}

    async def budget(self) -> dict[str, Any]:
        """Return the budget from /health, after checking it against the upstream."""
        began = time.monotonic()
        inside = json.loads(await self.get("/health"))["inside"]
        self.health_seconds.append(time.monotonic() - began)
        spent = inside["budget"]["tokens"] + inside["budget"]["tokens_reserved"]
        self.peak_spent = max(self.peak_spent, spent)
        self.peak_running = max(self.peak_running, inside["answers"]["running"])
        over = max(spent, self.upstream.billed) - self.limit
        if over > self.peak_running * self.upstream.largest_answer:
            self.state.report(f"{over} tokens over the budget of {self.limit}")
        budget: dict[str, Any] = inside["budget"]
        return budget

    async def run(self, pause: float) -> None:
        """Poll every `pause` seconds until cancelled."""
        while True:
            with suppress(*BROKEN, OSError):
                asked = self.upstream.chat_requests
                self._share, self._asked = (await self.figures())["quire_budget_share"], asked
                await self.budget()
            await asyncio.sleep(pause)

    def spent(self) -> float:
        """Return an upper bound of the tokens spent, including requests since the last poll."""
        since = (self.upstream.chat_requests - self._asked) * self.upstream.largest_answer
        return self._share * self.limit + since

    async def open_work(self) -> Mapping[str, float]:
        figures = await self.figures()
        names = ("open_streams", "answers_running", "answers_waiting", "ingest_running")
        counts = {name: figures[f"quire_{name}"] for name in names}
        counts["upstream"] = self.upstream.open_connections
        return {name: value for name, value in counts.items() if value}
