"""One ingestion at a time among replicas that share a Qdrant server, with its status on each.

The lease expires if its holder is killed. A holder that cannot renew it in time stops writing
before Redis gives it to another.

Why not redis-py's `Lock`: after a lost reply it sends its token again and is refused, so the lease
would block its own holder until it expires.
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
from lib.replicas.client import RedisClient, load_script
from lib.store import Candidates, GenerationBuilder, Ledger, Manifest, Store, StoredChunk
from lib.terms import SparseVector

_LEASE: Final = load_script("lease.lua")
_LEASE_KEY: Final = "ingest"
_LEASE_SECONDS: Final = 30.0
_RENEW_SECONDS: Final = 5.0
_TRUSTED_SHARE: Final = 0.8
"""Share of the lease's time for which its holder trusts it: clocks differ, and requests sent before
are still running."""
_LEASE_HELD: Final = "Another process is building the index. Wait until it is done."
_LEASE_LOST: Final = (
    "The ingestion was stopped: another process took over, or Redis lost the ingestion's lease."
)

_REPORT_FIND: Final = load_script("report_find.lua")
_REPORT_STORE: Final = load_script("report_store.lua")
_LATEST_TASK: Final = "ingest:latest"
_REPORT_KEY: Final = "ingest:task:"
_PUBLISH_SECONDS: Final = 1.0
_RUNNING_REPORT_SECONDS: Final = 30
"""A report of a running ingestion expires if its replica was killed."""
_FINISHED_REPORT_SECONDS: Final = 86_400


class _Lease:
    """The right to build an index, held from `take` to `release`."""

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
        """Raises `lib.errors.Conflict` while another process holds it, and `RedisUnavailable`."""
        if not await self._hold("take"):
            raise Conflict(_LEASE_HELD)
        self._renewing = asyncio.create_task(self._renew())

    def check(self) -> None:
        """Raises `lib.errors.Conflict` if the lease may have expired, without asking Redis."""
        if not self.held:
            raise Conflict(_LEASE_LOST)

    async def confirm(self) -> None:
        """Renew the lease. Raises `lib.errors.Conflict` if it was lost."""
        self.check()
        if not await self._hold("renew"):
            raise Conflict(_LEASE_LOST)

    @asynccontextmanager
    async def confirmed(self) -> AsyncIterator[None]:
        """Renew the lease; cancel the body if it expires. Raises `lib.errors.Conflict`."""
        await self.confirm()
        try:
            async with asyncio.timeout(self._left()) as self._end:
                yield
        except TimeoutError:
            raise Conflict(_LEASE_LOST) from None
        finally:
            self._end = None

    async def release(self) -> None:
        """Release the lease, if it was taken. Without Redis it expires."""
        if self._renewing is not None:
            self._renewing.cancel()
        self._until = 0.0
        with suppress(RedisUnavailable):
            await self._redis.run_unguarded(_LEASE, [_LEASE_KEY], "release", self._token)

    async def _hold(self, operation: str) -> bool:
        began = self._clock()
        milliseconds = round(1000 * _LEASE_SECONDS)
        held = await self._redis.run_unguarded(
            _LEASE, [_LEASE_KEY], operation, self._token, milliseconds
        )
        self._until = began + _TRUSTED_SHARE * _LEASE_SECONDS if held else 0.0
        if self._end is not None and not self._end.expired():
            self._end.reschedule(asyncio.get_running_loop().time() + self._left())
        return bool(held)

    def _left(self) -> float:
        return max(0.0, self._until - self._clock())

    async def _renew(self) -> None:
        while self.held:
            await asyncio.sleep(_RENEW_SECONDS)
            with suppress(RedisUnavailable):
                await self._hold("renew")


class LeasedStore:
    """A store on which only one replica builds at a time."""

    def __init__(self, store: Store, redis: RedisClient) -> None:
        self._store = store
        self._redis = redis
        self.check = redis.check
        self.open, self.close, self.reachable = store.open, store.close, store.reachable
        self.manifest, self.search = store.manifest, store.search
        self.ledger, self.payloads = store.ledger, store.payloads
        self.chunks_of = store.chunks_of

    async def build(self, generation: str, embedding_model: str) -> GenerationBuilder:
        """Also raises `lib.errors.RedisUnavailable`."""
        lease = _Lease(self._redis)
        try:
            await lease.take()
            return _LeasedBuilder(await self._store.build(generation, embedding_model), lease)
        except BaseException:  # always release the lease; re-raised below
            await lease.release()
            raise


class _LeasedBuilder:
    """Writes while it trusts the lease; publishes only after renewing it."""

    def __init__(self, builder: GenerationBuilder, lease: _Lease) -> None:
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

    async def search(
        self,
        vector: Vectors | None,
        terms: SparseVector,
        n: int,
        *,
        only: Mapping[str, str] | None = None,
    ) -> Candidates:
        self._lease.check()
        return await self._builder.search(vector, terms, n, only=only)

    async def publish(self, manifest: Manifest, ledger: Ledger) -> None:
        # Publishing may wait for a busy server until another replica has the lease.
        async with self._lease.confirmed():
            await self._builder.publish(manifest, ledger)

    async def discard(self) -> None:
        try:
            await self._builder.discard()
        finally:
            await self._lease.release()


class Reports:
    """Ingestion reports shared by replicas through Redis."""

    def __init__(self, ingestion: Ingestion, redis: RedisClient) -> None:
        self._ingestion = ingestion
        self._redis = redis
        self._published = ""
        """Id of the finished task whose report Redis has."""
        self._publishing = asyncio.create_task(self._publish_regularly())

    async def status(self, task_id: str | None) -> IngestStatus:
        """Status of a task, or of the latest one. Raises `lib.errors.NotFound`."""
        try:
            own = self._ingestion.status(task_id)
        except NotFound:
            own = None
        other = None if own and task_id else await self._find(task_id or "")
        known = [status for status in (own, other) if status]
        if not known:
            return self._ingestion.status(task_id)
        # `max` prefers the own report of the same task, which is newer.
        return max(known, key=lambda status: status.started_at)

    async def publish(self) -> None:
        """Publish the report of this replica's latest task. Never raises."""
        task = self._ingestion.latest
        if task is None or task.task_id == self._published:
            return
        report = task.report()
        keep = _FINISHED_REPORT_SECONDS if task.finished_at else _RUNNING_REPORT_SECONDS
        keys = [_LATEST_TASK, _REPORT_KEY + task.task_id]
        with suppress(RedisUnavailable):
            await self._redis.run(
                _REPORT_STORE, keys, task.task_id, msgspec.json.encode(report), keep
            )
            self._published = task.task_id if report.finished_at else ""

    async def close(self) -> None:
        """Publish the last report and stop."""
        self._publishing.cancel()
        await asyncio.wait((self._publishing,))
        await self.publish()

    async def _find(self, task_id: str) -> IngestStatus | None:
        try:
            found = await self._redis.run(_REPORT_FIND, [_LATEST_TASK, _REPORT_KEY], task_id)
            return msgspec.json.decode(found, type=IngestStatus) if found else None
        except (RedisUnavailable, msgspec.MsgspecError):
            return None

    async def _publish_regularly(self) -> None:
        while True:
            await self.publish()
            await asyncio.sleep(_PUBLISH_SECONDS)
