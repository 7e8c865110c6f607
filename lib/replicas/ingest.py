"""One ingestion at a time among replicas that share a Qdrant server.

The lock lapses by itself when its holder is killed. A holder that could not renew it in time takes
it for lost, sooner than Redis gives it to another, and writes no more.

What any replica can tell of an ingestion, whichever runs it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import uuid4

import msgspec

from lib.embedding import Vectors
from lib.errors import Conflict, NotFound, RedisUnavailable
from lib.indexing import IngestStatus
from lib.ingest import Ingestion
from lib.replicas.client import RedisClient
from lib.store import GenerationBuilder, Ledger, Manifest, Store, StoredChunk, StoreWrapper
from lib.terms import SparseVector

KEY: Final = "ingest"
HOLD_SECONDS: Final = 30.0
RENEW_SECONDS: Final = 5.0
MARGIN: Final = 0.8
"""Of the time that it is held, after which a holder no longer trusts it: clocks differ, and what
was begun before is still under way."""
HELD: Final = "Another process is building the index; wait until it is done."
LOST: Final = "The ingestion was stopped: Redis gave its turn to another process, or forgot it."

# Sent again after a lost answer, each does no harm.
TAKE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
"""
RENEW: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
RELEASE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""


class Lease:
    """The right to build, held from `take` to `release`."""

    def __init__(self, redis: RedisClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._clock = clock
        self._token = uuid4().hex
        self._until = 0.0
        self._renewing: asyncio.Task[None] | None = None
        self._end: asyncio.Timeout | None = None

    @property
    def held(self) -> bool:
        return self._clock() < self._until

    async def take(self) -> None:
        """Raises `lib.errors.Conflict` while another has it, and `RedisUnavailable`."""
        if not await self._hold(TAKE):
            raise Conflict(HELD)
        self._renewing = asyncio.create_task(self._renew())

    def check(self) -> None:
        """Raises `lib.errors.Conflict` once it may be another's."""
        if not self.held:
            raise Conflict(LOST)

    async def confirm(self) -> None:
        """The same by Redis's own word, with the whole time before it again."""
        self.check()
        if not await self._hold(RENEW):
            raise Conflict(LOST)

    @asynccontextmanager
    async def confirmed(self) -> AsyncIterator[None]:
        """The same, and what is done within ends with the lease, however long it waits."""
        await self.confirm()
        try:
            async with asyncio.timeout(self._left()) as self._end:
                yield
        except TimeoutError:
            raise Conflict(LOST) from None
        finally:
            self._end = None

    async def release(self) -> None:
        """Let go, whether or not it was taken. Without Redis it lapses by itself."""
        if self._renewing is not None:
            self._renewing.cancel()
        self._until = 0.0
        with suppress(RedisUnavailable):
            await self._redis.run_anyway(RELEASE, [KEY], self._token)

    async def _hold(self, script: str) -> bool:
        began = self._clock()
        milliseconds = round(1000 * HOLD_SECONDS)
        held = await self._redis.run_anyway(script, [KEY], self._token, milliseconds)
        self._until = began + MARGIN * HOLD_SECONDS if held else 0.0
        if self._end is not None and not self._end.expired():
            self._end.reschedule(asyncio.get_running_loop().time() + self._left())
        return bool(held)

    def _left(self) -> float:
        return max(0.0, self._until - self._clock())

    async def _renew(self) -> None:
        while self.held:
            await asyncio.sleep(RENEW_SECONDS)
            with suppress(RedisUnavailable):
                await self._hold(RENEW)


class LeasedStore(StoreWrapper):
    """A store whose generations are built by one replica at a time."""

    def __init__(self, store: Store, redis: RedisClient) -> None:
        super().__init__(store)
        self._redis = redis

    async def check(self) -> None:
        """Raises `lib.errors.RedisUnavailable` where nobody can be given the lease."""
        await self._redis.check()

    async def build(self, generation: str, embedding_model: str) -> GenerationBuilder:
        """Raises `lib.errors.RedisUnavailable` besides what the store raises."""
        lease = Lease(self._redis)
        try:
            await lease.take()
            return LeasedBuilder(await super().build(generation, embedding_model), lease)
        except BaseException:  # raised again: whatever it is, the next shall not wait for it
            await lease.release()
            raise


class LeasedBuilder:
    """Writes as long as the lease is its own, and publishes only if Redis says that it still is."""

    def __init__(self, builder: GenerationBuilder, lease: Lease) -> None:
        self._builder = builder
        self._lease = lease

    @property
    def dimension(self) -> int:
        return self._builder.dimension

    async def reuse_vectors(self, content_hashes: Collection[str]) -> Mapping[str, Vectors]:
        self._lease.check()
        return await self._builder.reuse_vectors(content_hashes)

    async def copy_unchanged(self, without: Collection[str]) -> None:
        self._lease.check()
        await self._builder.copy_unchanged(without)

    async def add(
        self, chunks: Sequence[StoredChunk], vectors: Vectors, terms: Sequence[SparseVector]
    ) -> None:
        self._lease.check()
        await self._builder.add(chunks, vectors, terms)

    async def publish(self, manifest: Manifest, ledger: Ledger) -> None:
        # A busy server is waited for, and another replica may have the lease by then.
        async with self._lease.confirmed():
            await self._builder.publish(manifest, ledger)

    async def discard(self) -> None:
        try:
            await self._builder.discard()
        finally:
            await self._lease.release()


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
