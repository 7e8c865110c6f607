"""What the server of the chaos run tells of itself, held against what its upstream knows."""

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
    """Asks the server how it does."""

    def __init__(self, upstream: Upstream, crowd: Crowd, limit: int) -> None:
        """`limit` is the budget in tokens."""
        self.upstream, self.crowd, self.limit = upstream, crowd, limit
        self.health_seconds: list[float] = []
        self.most_running = 0
        self.most_spent = 0
        """Tokens, as the server has it."""
        self._share = 0.0
        self._asked = 0
        """How often the model was asked when `_share` was."""

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

    async def go_on(self, pause: float) -> None:
        """For ever, every `pause` seconds."""
        while True:
            with suppress(*BROKEN, OSError):
                asked = self.upstream.asked
                self._share, self._asked = (await self.figures())["quire_budget_share"], asked
                await self.budget()
            await asyncio.sleep(pause)

    def spent(self) -> float:
        """Tokens of the budget, at the most: as told, and for what was asked since."""
        since = (self.upstream.asked - self._asked) * self.upstream.largest
        return self._share * self.limit + since

    async def still_open(self) -> Mapping[str, float]:
        figures = await self.figures()
        names = ("open_streams", "answers_running", "answers_waiting", "ingest_running")
        told = {name: figures[f"quire_{name}"] for name in names}
        told["upstream"] = self.upstream.open
        return {name: value for name, value in told.items() if value}
