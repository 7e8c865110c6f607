"""Compare the chaos server's metrics and budget with its upstream's counts."""

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from benchmarks.chaos_crowd import Crowd
from benchmarks.chaos_upstream import Upstream
from benchmarks.chaos_wire import BROKEN, connected, request


class Watch:
    """Polls the server's /health and /metrics."""

    def __init__(self, upstream: Upstream, crowd: Crowd, limit: int) -> None:
        """`limit` is the budget in tokens."""
        self.upstream, self.crowd, self.limit = upstream, crowd, limit
        self.health_seconds: list[float] = []
        self.most_running = 0
        self.most_spent = 0
        """Tokens, as reported by the server."""
        self._share = 0.0
        self._asked = 0
        """Requests to the model when `_share` was read."""

    async def get(self, path: str) -> bytes:
        return (await self.call(request("GET", path)))[1]

    async def call(self, data: bytes) -> tuple[int, bytes]:
        async with connected(self.crowd.port, data) as wire:
            status, body = await wire.head(), await wire.body()
            self.crowd.saw("watch", status, body)
            return status, body

    async def figures(self) -> dict[str, float]:
        lines = (
            line.rpartition(" ") for line in (await self.get("/metrics")).decode().splitlines()
        )
        return {name: float(value) for name, _, value in lines if not name.startswith("#")}

    async def budget(self) -> dict[str, Any]:
        """Read the budget from /health and check that it is not exceeded."""
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

    async def go_on(self, pause: float) -> None:
        """Poll every `pause` seconds until cancelled."""
        while True:
            with suppress(*BROKEN, OSError):
                asked = self.upstream.asked
                self._share, self._asked = (await self.figures())["quire_budget_share"], asked
                await self.budget()
            await asyncio.sleep(pause)

    def spent(self) -> float:
        """Upper bound of spent tokens: the reported ones plus requests since then."""
        since = (self.upstream.asked - self._asked) * self.upstream.largest
        return self._share * self.limit + since

    async def still_open(self) -> Mapping[str, float]:
        figures = await self.figures()
        names = ("open_streams", "answers_running", "answers_waiting", "ingest_running")
        told = {name: figures[f"quire_{name}"] for name in names}
        told["upstream"] = self.upstream.open
        return {name: value for name, value in told.items() if value}
