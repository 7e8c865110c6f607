"""The embedded store: Qdrant's engine inside this process, generations as folders.

::

    <folder>/current                      name of the published generation
    <folder>/generations/<name>/manifest.json
    <folder>/generations/<name>/files.json  `lib.store.Ledger`, for the next ingestion
    <folder>/generations/<name>/model     embedding model of its vectors
    <folder>/generations/<name>/shard/    Qdrant's segments (`lib.store_edge_shard`)
    <folder>/building.lock                held by the process that builds

Every call checks `current`, so a server notices what `python main.py ingest` publishes.
"""

import asyncio
import contextlib
import fcntl
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar
from uuid import UUID

import msgspec
from qdrant_edge import EdgeShard

from lib.embedding import Vectors
from lib.errors import Conflict, IndexUnreadable, StoreUnavailable
from lib.runtime import write_atomically
from lib.store import (
    PAYLOAD_BATCH,
    Candidates,
    GenerationBuilder,
    Ledger,
    Manifest,
    StoredChunk,
    chunks_in_order,
    parse_manifest,
)
from lib.store_edge_shard import (
    DAMAGED,
    ShardSearch,
    has_shard,
    open_shard,
    preload_files,
    read_payloads,
    scroll_payloads,
)
from lib.store_edge_writer import ShardWriter, WriterProcess
from lib.terms import SparseVector

_P = ParamSpec("_P")
_T = TypeVar("_T")

_LEDGER = "files.json"
_KEPT_ATTEMPTS = 3
"""Unfinished generations kept for their vectors."""
_LOCK_SECONDS = 2.0
"""Maximum wait of a build for the lock, which a store that opens holds for a moment."""
_INLINE_CHUNKS = 5_000
"""Up to so many chunks a search takes a millisecond, and the engine holds the interpreter lock
anyway: a thread would cost more than it saves."""


class _RecordedChunks(msgspec.Struct):
    """What `_FileChunks` needs of a `lib.store.FileRecord`."""

    chunks: dict[str, str] = {}


_decode_chunks = msgspec.json.Decoder(_RecordedChunks).decode


class _FileChunks:
    """The ids of each file's chunks, from the ledger. Thread-safe.

    The engine has no index of files. To find the chunks of one it reads all chunks, and holds the
    interpreter lock meanwhile: a second with 80,000 chunks.
    """

    def __init__(self, generation: Path) -> None:
        self._path = generation / _LEDGER
        self._reading = threading.Lock()
        self._ids: dict[str, bytes] | None = None
        """The ids of a file in 16 bytes each; None before the first use."""

    def of(self, file_path: str) -> list[UUID]:
        """Raises `IndexUnreadable`."""
        with self._reading:
            if self._ids is None:
                self._ids = dict(self._read())
        ids = self._ids.get(file_path, b"")
        return [UUID(bytes=ids[start : start + 16]) for start in range(0, len(ids), 16)]

    def _read(self) -> Iterator[tuple[str, bytes]]:
        # File by file: decoding all at once would hold the interpreter lock for 0.1 s.
        for path, record in _read_ledger(self._path, dict[str, msgspec.Raw]).items():
            try:
                chunks = _decode_chunks(record).chunks
            except msgspec.MsgspecError:
                raise IndexUnreadable(DAMAGED) from None
            if chunks:
                yield path, b"".join(UUID(each).bytes for each in chunks)


def _read_ledger(path: Path, form: type[_T]) -> _T:
    """Raises `IndexUnreadable`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=form)
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        raise IndexUnreadable(DAMAGED) from None


@dataclass(frozen=True, slots=True)
class _Generation:
    """The published generation, open."""

    path: Path
    manifest: Manifest
    shard: EdgeShard
    search: ShardSearch
    mtime_ns: int
    files: _FileChunks


class _EdgeFolder:
    """The generations in a folder. Thread-safe and blocking. Raises OSError on disk errors."""

    def __init__(self, path: Path) -> None:
        self._root = path
        self._live: _Generation | None = None
        self._opening = threading.Lock()

    def known(self) -> _Generation | None:
        """The open generation if it is still the published one; costs one `stat`."""
        live = self._live
        with contextlib.suppress(OSError):
            if live and live.mtime_ns == (self._root / "current").stat().st_mtime_ns:
                return live
        return None

    def current(self) -> _Generation | None:
        """The published generation, opened if another process has published since."""
        with self._opening:  # opening a large one takes time and memory
            return self.known() or self._open()

    def readable(self) -> _Generation | None:
        """The published generation; None also if it is damaged or of another version."""
        try:
            return self.current()
        except IndexUnreadable:
            return None

    def other_sources(self, embedding_model: str) -> list[Path]:
        """Unpublished generations with vectors of this model, latest first.

        The replaced generation is included only if the live one is of another model.
        """
        live = self.readable()
        covered = live is not None and live.manifest.embedding_model == embedding_model
        found = []
        for path in self._generations():
            with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
                model = (path / "model").read_text(encoding="utf-8")
                replaced = (path / "manifest.json").exists()
                if model == embedding_model and not (replaced and covered):
                    found.append(path)
        return found

    def ledger(self) -> Ledger:
        live = self.current()
        return {} if live is None else _read_ledger(live.path / _LEDGER, Ledger)

    def publish(self, path: Path, manifest: Manifest, ledger: Ledger) -> set[Path]:
        """Switch readers to the generation in `path`; return the generations to keep.

        The caller holds the lock. Raises `lib.errors.IndexUnreadable`, without switching, if the
        generation cannot be searched.
        """
        previous, pointer = self._live, self._root / "current"
        write_atomically(path / _LEDGER, msgspec.json.encode(ledger))
        write_atomically(path / "manifest.json", msgspec.json.encode(manifest))
        # Readers keep the previous one until this one is open and warm.
        shard, search = _open_warm(path)
        with self._opening:
            write_atomically(pointer, manifest.generation.encode())
            mtime_ns = pointer.stat().st_mtime_ns
            self._live = _Generation(path, manifest, shard, search, mtime_ns, _FileChunks(path))
        # Another process may still read the previous one.
        return {path, previous.path} if previous else {path}

    def begin(self, generation: str, embedding_model: str) -> tuple[Path, IO[bytes]]:
        """Create a folder for a new generation; return it and the lock, for the caller to close.

        Raises `lib.errors.Conflict` while another process builds one.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        lock = _acquire_lock(self._root / "building.lock", _LOCK_SECONDS)
        if lock is None:
            raise Conflict("Another process is building the index. Wait until it is done.")
        try:
            path = self._path(generation)
            path.mkdir(parents=True)
            (path / "model").write_text(embedding_model, encoding="utf-8")
        except BaseException:  # always release the lock; re-raised below
            lock.close()
            raise
        return path, lock

    def clean(self) -> None:
        """Delete useless generations, unless another process is building one."""
        self._root.mkdir(parents=True, exist_ok=True)
        try:
            lock = _acquire_lock(self._root / "building.lock")
        except OSError:
            return  # a read-only index can still be searched
        if lock is None:
            return
        with lock:
            live = self.readable()  # damage is reported by the calls that read the index
            keep = set(self._generations()[:_KEPT_ATTEMPTS])
            self.remove_others(keep | {live.path} if live else keep)

    def remove_others(self, keep: set[Path]) -> None:
        for path in self._generations():
            if path not in keep:
                shutil.rmtree(path, ignore_errors=True)

    def close(self) -> None:
        self._live = None

    def _open(self) -> _Generation | None:
        pointer, live = self._root / "current", self._live
        try:
            mtime_ns = pointer.stat().st_mtime_ns
            path = self._path(pointer.read_text(encoding="utf-8").strip())
            manifest = _read_manifest(path)
        except FileNotFoundError:
            return None
        except ValueError:  # not UTF-8, or not a valid path
            raise IndexUnreadable(DAMAGED) from None
        if live is not None and live.path == path:
            shard, search = live.shard, live.search
        else:
            shard, search = _open_warm(path)
        # The previous shard closes when the last search releases it.
        self._live = _Generation(path, manifest, shard, search, mtime_ns, _FileChunks(path))
        return self._live

    def _path(self, generation: str) -> Path:
        return self._root / "generations" / generation

    def _generations(self) -> list[Path]:
        try:
            return sorted((self._root / "generations").iterdir(), reverse=True)
        except FileNotFoundError:
            return []


def _open_warm(path: Path) -> tuple[EdgeShard, ShardSearch]:
    """Open a generation's shard and warm it up. Raises `lib.errors.IndexUnreadable`."""
    shard = open_shard(path)
    search = ShardSearch(shard)
    preload_files(path)
    try:
        search.warm_up()
    except Exception as error:  # the engine raises no more specific exception
        raise IndexUnreadable(DAMAGED) from error
    return shard, search


def _read_manifest(path: Path) -> Manifest:
    """Raises FileNotFoundError if it is missing, IndexUnreadable if it is damaged."""
    try:
        stored = msgspec.json.decode((path / "manifest.json").read_bytes())
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise IndexUnreadable(DAMAGED) from None
    return parse_manifest(stored, DAMAGED)


def _acquire_lock(path: Path, max_wait: float = 0.0) -> IO[bytes] | None:
    """Acquire an exclusive lock, which ends with the process even if it is killed.

    None if another process still holds it after `max_wait` seconds.
    """
    file = path.open("ab")
    until = time.monotonic() + max_wait
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                file.close()
                return None
            time.sleep(0.02)
        else:
            return file


@dataclass(eq=False)
class _EdgeBuilder:
    """Writes one generation while holding the lock."""

    _store: "EdgeStore"
    _folder: _EdgeFolder
    _path: Path
    _embedding_model: str
    _lock: IO[bytes]
    _writer: WriterProcess
    dimension: int = 0
    _knows_sources: bool = False
    _ended: bool = False

    async def reuse_vectors(self, content_hashes: Collection[str]) -> Mapping[str, Vectors]:
        return await self._store.in_builder_thread(self._reuse_vectors, list(content_hashes))

    async def copy_unchanged(self, without: Collection[str]) -> None:
        await self._store.in_builder_thread(self._copy_unchanged, list(without))

    async def add(
        self, chunks: Sequence[StoredChunk], vectors: Vectors, terms: Sequence[SparseVector]
    ) -> None:
        await self._store.in_builder_thread(self._add, chunks, vectors, terms)

    async def search(
        self,
        vector: Vectors | None,
        terms: SparseVector,
        n: int,
        *,
        only: Mapping[str, str] | None = None,
    ) -> Candidates:
        return await self._store.in_builder_thread(self._search, vector, terms, n, only or {})

    async def publish(self, manifest: Manifest, ledger: Ledger) -> None:
        await self._store.in_builder_thread(self._publish, manifest, ledger)

    async def discard(self) -> None:
        ending = asyncio.ensure_future(self._store.in_builder_thread(self._discard))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            # A call removed from the thread's queue would never release the lock.
            await ending
            raise

    def _reuse_vectors(self, content_hashes: Sequence[str]) -> Mapping[str, Vectors]:
        if not self._knows_sources:
            self._writer.call(ShardWriter.open_sources, list(self._sources()))
            self._knows_sources = True
        return self._writer.call(ShardWriter.reuse_vectors, content_hashes)

    def _sources(self) -> Iterator[tuple[Path, dict[str, str] | None]]:
        """Generations with vectors of this model, some with their chunk ids by content hash."""
        live = self._folder.readable()
        if live is not None and live.manifest.embedding_model == self._embedding_model:
            known = None
            with contextlib.suppress(IndexUnreadable):
                records = self._folder.ledger().values()
                known = {h: chunk for file in records for chunk, h in file.chunks.items()}
            yield live.path, known
        for path in self._folder.other_sources(self._embedding_model):
            if path != self._path and has_shard(path):
                yield path, None

    def _copy_unchanged(self, without: Sequence[str]) -> None:
        if live := self._folder.current():
            self.dimension = live.manifest.dimension
            self._writer.call(ShardWriter.copy, live.path, self.dimension, without)

    def _add(
        self, chunks: Sequence[StoredChunk], vectors: Vectors, terms: Sequence[SparseVector]
    ) -> None:
        if not self._ended:
            self._writer.call(ShardWriter.add, chunks, vectors, terms)
            self.dimension = vectors.shape[1]

    def _search(
        self, vector: Vectors | None, terms: SparseVector, n: int, only: Mapping[str, str]
    ) -> Candidates:
        return self._writer.call(ShardWriter.search, vector, terms, n, only)

    def _publish(self, manifest: Manifest, ledger: Ledger) -> None:
        with contextlib.ExitStack() as ending:
            ending.callback(self._lock.close)
            self._end()
            keep = self._folder.publish(self._path, manifest, ledger)
            # Deleting hundreds of megabytes takes a while; publication need not wait for it.
            self._store.in_background(self._delete_others, keep)
            ending.pop_all()

    def _delete_others(self, keep: set[Path]) -> None:
        with self._lock:
            self._folder.remove_others(keep)

    def _discard(self) -> None:
        if not self._ended:
            with self._lock:
                with contextlib.suppress(StoreUnavailable):  # the process ended before
                    self._end()
                if not has_shard(self._path):
                    shutil.rmtree(self._path, ignore_errors=True)

    def _end(self) -> None:
        self._ended = True
        try:
            self._writer.call(ShardWriter.close)
        finally:
            self._writer.close()


class EdgeStore:
    """Generations below `folder`. Except for fast searches, calls run in threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = _EdgeFolder(folder)
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="store")
        self._builder_thread = ThreadPoolExecutor(1, thread_name_prefix="store-builder")

    async def open(self) -> None:
        await self.in_thread(self._folder.clean)

    async def manifest(self) -> Manifest | None:
        live = self._folder.known() or await self.in_thread(self._folder.current)
        return live.manifest if live else None

    async def search(
        self,
        vector: Vectors | None,
        terms: SparseVector,
        n: int,
        *,
        only: Mapping[str, str] | None = None,
    ) -> Candidates:
        live = self._folder.known()
        if live and live.manifest.chunks <= _INLINE_CHUNKS:
            return _call_disk(partial(_search, live, vector, terms, n, only or {}))
        return await self.in_thread(self._search, vector, terms, n, only or {})

    async def ledger(self) -> Ledger:
        return await self.in_thread(self._folder.ledger)

    async def chunks_of(self, file_path: str) -> Sequence[StoredChunk]:
        return await self.in_thread(self._chunks_of, file_path)

    async def payloads(self, fields: Sequence[str]) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        if live := await self.in_thread(self._folder.current):
            batches = scroll_payloads(live.shard, fields, PAYLOAD_BATCH)
            while (batch := await self.in_thread(next, batches, None)) is not None:
                yield [payload for _, payload in batch]

    async def build(self, generation: str, embedding_model: str) -> GenerationBuilder:
        building = asyncio.ensure_future(
            self.in_builder_thread(self._build, generation, embedding_model)
        )
        try:
            return await asyncio.shield(building)
        except asyncio.CancelledError:
            # The thread goes on and takes the lock, which must be released.
            await (await building).discard()
            raise

    async def reachable(self) -> bool:
        return True

    async def close(self) -> None:
        self._folder.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        # Finish running calls: they may hold the lock.
        self._builder_thread.shutdown(wait=False)

    async def in_thread(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run `call` in a thread for readers."""
        return await _run_in(self._threads, partial(call, *args, **kwargs))

    async def in_builder_thread(
        self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Run `call` in the builder's thread, so that readers do not wait for it."""
        return await _run_in(self._builder_thread, partial(call, *args, **kwargs))

    def in_background(self, call: Callable[_P, None], *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Queue `call` for the builder's thread without waiting."""
        self._builder_thread.submit(call, *args, **kwargs)

    def _build(self, generation: str, embedding_model: str) -> _EdgeBuilder:
        path, lock = self._folder.begin(generation, embedding_model)
        try:
            writer = WriterProcess(path, lock)
        except BaseException:  # always release the lock; re-raised below
            lock.close()
            raise
        return _EdgeBuilder(self, self._folder, path, embedding_model, lock, writer)

    def _chunks_of(self, file_path: str) -> Sequence[StoredChunk]:
        if (live := self._folder.current()) is None:
            return []
        try:
            return chunks_in_order(read_payloads(live.shard, live.files.of(file_path)))
        except msgspec.ValidationError:
            raise IndexUnreadable(DAMAGED) from None

    def _search(
        self, vector: Vectors | None, terms: SparseVector, n: int, only: Mapping[str, str]
    ) -> Candidates:
        live = self._folder.current()
        return _search(live, vector, terms, n, only) if live else Candidates((), {})


def _search(
    live: _Generation,
    vector: Vectors | None,
    terms: SparseVector,
    n: int,
    only: Mapping[str, str],
) -> Candidates:
    if vector is not None and len(vector) != live.manifest.dimension:
        vector = None  # published after the question was embedded
    return live.search.search(vector, terms, n, only)


async def _run_in(threads: ThreadPoolExecutor, call: Callable[[], _T]) -> _T:
    return await asyncio.get_running_loop().run_in_executor(threads, _call_disk, call)


def _call_disk(call: Callable[[], _T]) -> _T:
    """Return `call()`, with disk errors translated to `StoreUnavailable`."""
    try:
        return call()
    except OSError as error:
        raise StoreUnavailable(
            f"The index folder cannot be used: {error.strerror or 'disk error'}. See QDRANT_PATH."
        ) from error
