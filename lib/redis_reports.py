"""What any replica can tell of an ingestion, whichever runs it."""

import asyncio
from contextlib import suppress
from typing import Final

import msgspec

from lib.errors import NotFound, RedisUnavailable
from lib.ingest import Ingestion
from lib.ingest_task import IngestStatus
from lib.replicas.client import RedisClient

LATEST: Final = "ingest:latest"
TELL_SECONDS: Final = 1.0
LIVE_SECONDS: Final = 30
"""For so long a report is kept that is not renewed: its replica was killed."""
KEEP_SECONDS: Final = 86_400

TELL: Final = """
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
"""
FIND: Final = """
local name = ARGV[1]
if name == '' then name = redis.call('GET', KEYS[1]) end
return name and redis.call('GET', KEYS[2] .. name)
"""


class Reports:
    """The reports of all replicas' ingestions, as far as Redis can be reached."""

    def __init__(self, ingestion: Ingestion, redis: RedisClient) -> None:
        self._ingestion = ingestion
        self._redis = redis
        self._told = ""
        """The task of whose end Redis has heard."""
        self._telling = asyncio.create_task(self._keep_telling())

    async def status(self, task_id: str | None) -> IngestStatus:
        """Of one task, or of the one that began last. Raises `lib.errors.NotFound`."""
        try:
            own = self._ingestion.status(task_id)
        except NotFound:
            own = None
        other = None if own and task_id else await self._find(task_id or "")
        known = [status for status in (own, other) if status]
        if not known:
            return self._ingestion.status(task_id)
        # The own one if it is the same: it is told of with a delay.
        return max(known, key=lambda status: status.started_at)

    async def tell(self) -> None:
        """How this replica's latest stands; otherwise that is told once a second. Never raises."""
        task = self._ingestion.latest
        if task is None or task.task_id == self._told:
            return
        report, keep = task.report(), KEEP_SECONDS if task.finished_at else LIVE_SECONDS
        keys = [LATEST, place(task.task_id)]
        with suppress(RedisUnavailable):
            await self._redis.run(TELL, keys, task.task_id, msgspec.json.encode(report), keep)
            self._told = task.task_id if report.finished_at else ""

    async def close(self) -> None:
        """Tell how the last one ended."""
        self._telling.cancel()
        await asyncio.wait((self._telling,))
        await self.tell()

    async def _find(self, task_id: str) -> IngestStatus | None:
        try:
            found = await self._redis.run(FIND, [LATEST, place("")], task_id)
            return msgspec.json.decode(found, type=IngestStatus) if found else None
        except (RedisUnavailable, msgspec.MsgspecError):
            return None

    async def _keep_telling(self) -> None:
        while True:
            await self.tell()
            await asyncio.sleep(TELL_SECONDS)


def place(task_id: str) -> str:
    return f"ingest:task:{task_id}"
