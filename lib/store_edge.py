"""The embedded store: Qdrant's own engine inside this process, an index in a folder.

::

    <folder>/current                      the name of the published generation
    <folder>/generations/<name>/manifest.json
    <folder>/generations/<name>/shard/    Qdrant's segments
    <folder>/building.lock                held by the process that builds

A shard is written once, without a write-ahead log, flushed, and never changed after it was
published; a published one may therefore be open in several processes at once. A server follows a
generation that `python main.py ingest` published beside it: `current` is looked at on every call.
"""

import asyncio
import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, ParamSpec, TypeVar

import msgspec
import numpy as np
import portalocker

from lib.embedding import Vectors
from lib.errors import Conflict, StoreUnavailable
from lib.store import DENSE, GenerationBuilder, Hit, Manifest, StoredChunk

if TYPE_CHECKING:
    from qdrant_edge import EdgeShard, Filter

P = ParamSpec("P")
T = TypeVar("T")
SCROLL_LIMIT = 2_000


@dataclass(frozen=True, slots=True)
class Generation:
    """An open, published generation."""

    manifest: Manifest
    shard: "EdgeShard"
    mtime_ns: int


class EdgeStore:
    """Keeps generations below `folder`; every call into the engine runs in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._live: Generation | None = None
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="store")

    async def open(self) -> None:
        await self.in_thread(self._clean)

    async def manifest(self) -> Manifest | None:
        live = await self.in_thread(self._current)
        return live.manifest if live else None

    async def search(self, vector: Vectors, k: int, *, file_path: str | None = None) -> list[Hit]:
        return await self.in_thread(self._search, vector, k, file_path)

    async def known_vectors(self) -> Mapping[str, str]:
        return await self.in_thread(self._known_vectors)

    async def vectors(self, chunk_ids: Sequence[str]) -> Mapping[str, Vectors]:
        return await self.in_thread(self._vectors, chunk_ids)

    async def build(self, generation: str, dimension: int) -> GenerationBuilder:
        return await self.in_thread(self._build, generation, dimension)

    async def reachable(self) -> bool:
        return True

    async def close(self) -> None:
        self._live = None
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `call` in a thread of the store's own, a disk's errors put into a sentence."""

        def guarded() -> T:
            try:
                return call(*args, **kwargs)
            except OSError as error:
                raise StoreUnavailable(
                    "The folder of the index cannot be used: "
                    f"{error.strerror or 'the disk refused'}. See QDRANT_PATH."
                ) from error

        return await asyncio.get_running_loop().run_in_executor(self._threads, guarded)

    # Everything below runs in a thread.

    def _path(self, generation: str) -> Path:
        return self._folder / "generations" / generation

    def _current(self) -> Generation | None:
        """The published generation, opened anew when another process has published since."""
        pointer, live = self._folder / "current", self._live
        try:
            mtime_ns = pointer.stat().st_mtime_ns
            if live is not None and live.mtime_ns == mtime_ns:
                return live
            path = self._path(pointer.read_text(encoding="utf-8").strip())
            manifest = read_manifest(path)
        except FileNotFoundError:
            return None
        if live is not None and live.manifest.generation == manifest.generation:
            self._live = Generation(manifest, live.shard, mtime_ns)
        else:
            from qdrant_edge import EdgeShard

            # The shard that is left is closed when the last search on it has let go of it.
            self._live = Generation(manifest, EdgeShard.load(str(path / "shard")), mtime_ns)
        return self._live

    def _search(self, vector: Vectors, k: int, file_path: str | None) -> list[Hit]:
        from qdrant_edge import Query, QueryRequest

        live = self._current()
        if live is None:
            return []
        points = live.shard.query(
            QueryRequest(
                query=Query.Nearest(vector.tolist(), using=DENSE),
                limit=k,
                filter=only_file(file_path),
                with_payload=True,
            )
        )
        hits = [Hit(msgspec.convert(p.payload, StoredChunk), float(p.score)) for p in points]
        return sorted(hits, key=lambda hit: (-hit.score, hit.chunk.chunk_id))

    def _known_vectors(self) -> Mapping[str, str]:
        from qdrant_edge import ScrollRequest

        live, offset = self._current(), None
        known: dict[str, str] = {}
        while live is not None:
            records, offset = live.shard.scroll(
                ScrollRequest(offset=offset, limit=SCROLL_LIMIT, with_payload=["content_hash"])
            )
            known.update((r.payload["content_hash"], str(r.id)) for r in records if r.payload)
            if offset is None:
                break
        return known

    def _vectors(self, chunk_ids: Sequence[str]) -> Mapping[str, Vectors]:
        live = self._current()
        if live is None:
            return {}
        records = live.shard.retrieve(list(chunk_ids), with_payload=False, with_vector=True)
        return {
            str(record.id): np.array(record.vector[DENSE], dtype=np.float32)
            for record in records
            if isinstance(record.vector, dict)
        }

    def _build(self, generation: str, dimension: int) -> "EdgeBuilder":
        from qdrant_edge import Distance, EdgeConfig, EdgeShard, EdgeVectorParams

        self._folder.mkdir(parents=True, exist_ok=True)
        lock = take_lock(self._folder / "building.lock")
        if lock is None:
            raise Conflict("Another process is building the index; wait until it is done.")
        path = self._path(generation)
        try:
            (path / "shard").mkdir(parents=True)
            shard = EdgeShard.create(
                str(path / "shard"),
                EdgeConfig(
                    vectors={DENSE: EdgeVectorParams(size=dimension, distance=Distance.Cosine)},
                    # A generation that was not published is thrown away: nothing to recover.
                    wal_enabled=False,
                ),
            )
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            lock.close()
            raise
        return EdgeBuilder(self, path, shard, lock)

    def publish(self, path: Path, manifest: Manifest) -> None:
        """Point readers to the generation in `path`. For the builder, which holds the lock."""
        previous = self._current()
        write_durably(path / "manifest.json", msgspec.json.encode(manifest))
        write_durably(self._folder / "current", manifest.generation.encode())
        self._current()
        # The one that was replaced stays until the next: another process may still read it.
        keep = {manifest.generation} | ({previous.manifest.generation} if previous else set())
        self._remove_others(keep)

    def _clean(self) -> None:
        """Remove generations that are neither published nor being built by anyone."""
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = take_lock(self._folder / "building.lock")
        if lock is None:  # another process builds: it cleans up when it publishes
            return
        with lock:
            live = self._current()
            self._remove_others(keep={live.manifest.generation} if live else set())

    def _remove_others(self, keep: set[str]) -> None:
        with contextlib.suppress(FileNotFoundError):
            for path in (self._folder / "generations").iterdir():
                if path.name not in keep:
                    shutil.rmtree(path, ignore_errors=True)


class EdgeBuilder:
    """Writes one generation and holds the lock meanwhile."""

    def __init__(self, store: EdgeStore, path: Path, shard: "EdgeShard", lock: IO[bytes]) -> None:
        self._store = store
        self._path = path
        self._shard = shard
        self._lock = lock
        self._busy = threading.Lock()
        self._ended = False

    async def add(self, chunks: Sequence[StoredChunk], vectors: Vectors) -> None:
        await self._store.in_thread(self._add, chunks, vectors)

    async def publish(self, manifest: Manifest) -> None:
        await self._store.in_thread(self._publish, manifest)

    async def discard(self) -> None:
        await self._store.in_thread(self._discard)

    # An awaiting task may be cancelled while its thread goes on; the lock keeps the next call
    # from meeting it half-way.

    def _add(self, chunks: Sequence[StoredChunk], vectors: Vectors) -> None:
        from qdrant_edge import Point, UpdateOperation

        points = [
            Point(chunk.chunk_id, {DENSE: vector.tolist()}, msgspec.to_builtins(chunk))
            for chunk, vector in zip(chunks, vectors, strict=True)
        ]
        with self._busy:
            if not self._ended:
                self._shard.update(UpdateOperation.upsert_points(points))

    def _publish(self, manifest: Manifest) -> None:
        with self._busy, self._lock:
            self._ended = True
            self._shard.flush()
            self._shard.close()
            self._store.publish(self._path, manifest)

    def _discard(self) -> None:
        with self._busy:
            if not self._ended:
                self._ended = True
                self._shard.close()
                shutil.rmtree(self._path, ignore_errors=True)
                self._lock.close()


def only_file(file_path: str | None) -> "Filter | None":
    """The condition that keeps a search inside one file."""
    from qdrant_edge import FieldCondition, Filter, MatchValue

    if file_path is None:
        return None
    return Filter(must=[FieldCondition("file_path", match=MatchValue(file_path))])


def read_manifest(path: Path) -> Manifest:
    """Raises FileNotFoundError where there is none, StoreUnavailable where it cannot be read."""
    try:
        return msgspec.json.decode((path / "manifest.json").read_bytes(), type=Manifest)
    except msgspec.MsgspecError:
        raise StoreUnavailable(
            "The index cannot be read: its manifest is damaged. Ingest with force_reindex."
        ) from None


def take_lock(path: Path) -> IO[bytes] | None:
    """An exclusive lock that ends with the process, whatever kills it; None if another holds it."""
    file = path.open("ab")
    try:
        portalocker.lock(file, portalocker.LOCK_EX | portalocker.LOCK_NB)
    except portalocker.LockException:
        file.close()
        return None
    return file


def write_durably(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step that a crash cannot halve."""
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
