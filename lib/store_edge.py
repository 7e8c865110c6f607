"""The embedded store: Qdrant's own engine inside this process, an index in a folder.

A shard is written without a write-ahead log, flushed after each batch, and never changed after it
was published; a published one may therefore be open in several processes at once. What lies where
is told in `lib.store_edge`.

The folder of the embedded store: which generation is published, and which others are kept.

::

    <folder>/current                      the name of the published generation
    <folder>/generations/<name>/manifest.json
    <folder>/generations/<name>/files.json  what each file gave, for the next ingestion
    <folder>/generations/<name>/model     the embedding model its vectors are of
    <folder>/generations/<name>/shard/    Qdrant's segments
    <folder>/building.lock                held by the process that builds

A server follows a generation that `python main.py ingest` published beside it: `current` is looked
at on every call.

A generation of the embedded store while it is written.
"""

import asyncio
import contextlib
import fcntl
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, ParamSpec, TypeVar

import msgspec
import numpy as np

from lib.embedding import Vectors
from lib.errors import Conflict, IndexUnreadable, StoreUnavailable
from lib.runtime import write_atomically
from lib.store import (
    DENSE,
    SPARSE,
    Candidates,
    GenerationBuilder,
    Ledger,
    Manifest,
    StoredChunk,
    check_dimension,
    parse_manifest,
)
from lib.store_edge_shard import (
    DAMAGED,
    ShardSearch,
    as_sparse,
    copy_shard,
    create_shard,
    has_shard,
    open_shard,
    payloads,
    read_through,
)
from lib.terms import SparseVector

if TYPE_CHECKING:
    from qdrant_edge import EdgeShard


KEPT_ATTEMPTS = 3
"""Unfinished generations that may lend their vectors; older ones go."""
LOCK_PATIENCE = 2.0
"""Seconds a build waits for the lock: a store that opens holds it for a moment to clean up."""


@dataclass(frozen=True, slots=True)
class Generation:
    """An open, published generation."""

    path: Path
    manifest: Manifest
    shard: "EdgeShard"
    searching: ShardSearch
    mtime_ns: int


class EdgeFolder:
    """Blocks, and is for several threads. Raises OSError where the disk fails it."""

    def __init__(self, path: Path) -> None:
        self._root = path
        self._live: Generation | None = None
        self._opening = threading.Lock()

    def known(self) -> Generation | None:
        """The open generation if it is still the published one; costs a look at one file."""
        live = self._live
        with contextlib.suppress(OSError):
            if live and live.mtime_ns == (self._root / "current").stat().st_mtime_ns:
                return live
        return None

    def current(self) -> Generation | None:
        """The published generation, opened anew when another process has published since."""
        # To open a large one takes a while, and memory: once is enough.
        with self._opening:
            return self.known() or self._open()

    def readable(self) -> Generation | None:
        """The published generation; None also for one that another version made, or is damaged."""
        try:
            return self.current()
        except IndexUnreadable:
            return None

    def other_lenders(self, embedding_model: str) -> list[Path]:
        """Generations that are not the live one but may hold more vectors of this model, latest
        first."""
        live = self.readable()
        # The one that was replaced is still there. Where the live one has the same model's
        # vectors, it has all that are of use.
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
        if live is None:
            return {}
        try:
            return msgspec.json.decode((live.path / "files.json").read_bytes(), type=Ledger)
        except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
            raise IndexUnreadable(DAMAGED) from None

    def publish(self, path: Path, manifest: Manifest, ledger: Ledger) -> set[Path]:
        """Point readers to the generation in `path`; which generations are still of use.

        For the builder, which holds the lock. Raises `lib.errors.IndexUnreadable`, and leaves the
        pointer, for one that cannot be searched.
        """
        previous, pointer = self._live, self._root / "current"
        write_atomically(path / "files.json", msgspec.json.encode(ledger))
        write_atomically(path / "manifest.json", msgspec.json.encode(manifest))
        # Readers go on with the other one until this one is open and warm.
        shard, searching = open_warm(path)
        with self._opening:
            write_atomically(pointer, manifest.generation.encode())
            mtime_ns = pointer.stat().st_mtime_ns
            self._live = Generation(path, manifest, shard, searching, mtime_ns)
        # The one that was replaced stays until the next: another process may still read it.
        return {path, previous.path} if previous else {path}

    def urls(self) -> set[str]:
        """Every address in the published generation."""
        live = self.current()
        rows = payloads(live.shard, "url") if live else ()
        return {url for _, url in rows if url}

    def begin(self, generation: str, embedding_model: str) -> tuple[Path, IO[bytes]]:
        """A folder for a new generation, and the lock, which whoever builds it has to close.

        Raises `lib.errors.Conflict` while another process builds one.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        lock = take_lock(self._root / "building.lock", LOCK_PATIENCE)
        if lock is None:
            raise Conflict("Another process is building the index; wait until it is done.")
        try:
            path = self._path(generation)
            path.mkdir(parents=True)
            (path / "model").write_text(embedding_model, encoding="utf-8")
        except BaseException:  # raised again: whatever it is, the lock must not stay
            lock.close()
            raise
        return path, lock

    def clean(self) -> None:
        """Remove generations that nobody needs any more, unless another process builds one."""
        self._root.mkdir(parents=True, exist_ok=True)
        try:
            lock = take_lock(self._root / "building.lock")
        except OSError:
            return  # an index that came with a read-only disk is read all the same
        if lock is None:
            return
        with lock:
            live = self.readable()  # of one that is damaged, whoever asks for it is told
            keep = set(self._generations()[:KEPT_ATTEMPTS])
            self.remove_others(keep | {live.path} if live else keep)

    def remove_others(self, keep: set[Path]) -> None:
        for path in self._generations():
            if path not in keep:
                shutil.rmtree(path, ignore_errors=True)

    def close(self) -> None:
        self._live = None

    def _open(self) -> Generation | None:
        pointer, live = self._root / "current", self._live
        try:
            mtime_ns = pointer.stat().st_mtime_ns
            path = self._path(pointer.read_text(encoding="utf-8").strip())
            manifest = read_manifest(path)
        except FileNotFoundError:
            return None
        except ValueError:  # no text, or no path
            raise IndexUnreadable(DAMAGED) from None
        if live is not None and live.path == path:
            shard, searching = live.shard, live.searching
        else:
            shard, searching = open_warm(path)
        # The shard that is left is closed when the last search on it has let go of it.
        self._live = Generation(path, manifest, shard, searching, mtime_ns)
        return self._live

    def _path(self, generation: str) -> Path:
        return self._root / "generations" / generation

    def _generations(self) -> list[Path]:
        try:
            return sorted((self._root / "generations").iterdir(), reverse=True)
        except FileNotFoundError:
            return []


def open_warm(path: Path) -> "tuple[EdgeShard, ShardSearch]":
    """A generation's shard, opened so that its first search takes no longer than others.

    Raises `lib.errors.IndexUnreadable`.
    """
    shard = open_shard(path)
    searching = ShardSearch(shard)
    read_through(path)
    try:
        searching.warm()
    except Exception as error:  # the engine raises nothing more specific
        raise IndexUnreadable(DAMAGED) from error
    return shard, searching


def read_manifest(path: Path) -> Manifest:
    """Raises FileNotFoundError where there is none, IndexUnreadable where it cannot be read."""
    try:
        kept = msgspec.json.decode((path / "manifest.json").read_bytes())
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise IndexUnreadable(DAMAGED) from None
    return parse_manifest(kept, DAMAGED)


def take_lock(path: Path, patience: float = 0.0) -> IO[bytes] | None:
    """An exclusive lock that ends with the process, whatever kills it.

    None if another holds it, still after `patience` seconds.
    """
    file = path.open("ab")
    until = time.monotonic() + patience
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


class EdgeBuilder:
    """Writes one generation and holds the lock meanwhile."""

    def __init__(
        self,
        store: "EdgeStore",
        folder: EdgeFolder,
        path: Path,
        embedding_model: str,
        lock: IO[bytes],
    ) -> None:
        self._store = store
        self._folder = folder
        self._path = path
        self._embedding_model = embedding_model
        self._lock = lock
        self._shard: EdgeShard | None = None
        self.dimension = 0
        self._lenders: list[tuple[EdgeShard, dict[str, str]]] | None = None
        # An awaiting task may be cancelled while its thread goes on; the lock keeps the next
        # call from meeting it half-way.
        self._busy = threading.Lock()
        self._ended = False

    async def reuse_vectors(self, content_hashes: Collection[str]) -> Mapping[str, Vectors]:
        return await self._store.in_builder_thread(self._reuse_vectors, content_hashes)

    async def copy_unchanged(self, without: Collection[str]) -> None:
        await self._store.in_builder_thread(self._copy_unchanged, without)

    async def add(
        self, chunks: Sequence[StoredChunk], vectors: Vectors, terms: Sequence[SparseVector]
    ) -> None:
        await self._store.in_builder_thread(self._add, chunks, vectors, terms)

    async def publish(self, manifest: Manifest, ledger: Ledger) -> None:
        await self._store.in_builder_thread(self._publish, manifest, ledger)

    async def discard(self) -> None:
        ending = asyncio.ensure_future(self._store.in_builder_thread(self._discard))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            # Taken out of the thread's queue, it would never let the lock go.
            await ending
            raise

    def _reuse_vectors(self, content_hashes: Collection[str]) -> Mapping[str, Vectors]:
        with self._busy:
            if self._lenders is None:
                self._lenders = list(self._open_lenders())
        lent: dict[str, Vectors] = {}
        for shard, known in self._lenders:
            ids = {known[h]: h for h in content_hashes if h in known and h not in lent}
            for record in shard.retrieve(list(ids), with_payload=False, with_vector=[DENSE]):
                if isinstance(record.vector, dict):
                    vector = np.array(record.vector[DENSE], dtype=np.float32)
                    lent[ids[str(record.id)]] = vector
        return lent

    def _open_lenders(self) -> "Iterator[tuple[EdgeShard, dict[str, str]]]":
        live = self._folder.readable()
        if live is not None and live.manifest.embedding_model == self._embedding_model:
            yield live.shard, self._hashes_of(live)
        for path in self._folder.other_lenders(self._embedding_model):
            # One that was killed before its first flush, or is damaged, has nothing to lend.
            with contextlib.suppress(StoreUnavailable):
                if path != self._path and has_shard(path):
                    shard = open_shard(path)
                    yield shard, {h: chunk for chunk, h in payloads(shard, "content_hash")}

    def _hashes_of(self, live: Generation) -> dict[str, str]:
        """By content hash, the id of a chunk."""
        try:
            records = self._folder.ledger().values()
        except IndexUnreadable:
            return {h: chunk for chunk, h in payloads(live.shard, "content_hash")}
        return {h: chunk for record in records for chunk, h in record.chunks.items()}

    def _copy_unchanged(self, without: Collection[str]) -> None:
        from qdrant_edge import FieldCondition, Filter, MatchAny, UpdateOperation

        live = self._folder.current()
        if live is None:
            return
        with self._busy:
            # A published shard is never written again, so its files can be copied as they are.
            copy_shard(live.path, self._path / "shard")
            self._shard = open_shard(self._path)
            self.dimension = live.manifest.dimension
            if without:
                gone = Filter(must=[FieldCondition("file_path", match=MatchAny(list(without)))])
                self._shard.update(UpdateOperation.delete_points_by_filter(gone))
                self._shard.flush()

    def _add(
        self, chunks: Sequence[StoredChunk], vectors: Vectors, terms: Sequence[SparseVector]
    ) -> None:
        from qdrant_edge import Point, UpdateOperation

        points = [
            Point(
                chunk.chunk_id,
                {DENSE: vector.tolist(), SPARSE: as_sparse(weights)},
                msgspec.to_builtins(chunk),
            )
            for chunk, vector, weights in zip(chunks, vectors, terms, strict=True)
        ]
        with self._busy:
            if self._ended:
                return
            if self._shard is None:
                self.dimension = vectors.shape[1]
                self._shard = create_shard(self._path, self.dimension)
            check_dimension(vectors.shape[1], self.dimension)
            self._shard.update(UpdateOperation.upsert_points(points))
            self._shard.flush()

    def _publish(self, manifest: Manifest, ledger: Ledger) -> None:
        with contextlib.ExitStack() as ending:
            ending.callback(self._lock.close)
            with self._busy:
                self._ended = True
                self._let_go()
                keep = self._folder.publish(self._path, manifest, ledger)
            # Old generations may be hundreds of megabytes: nobody has to wait until they are gone.
            self._store.afterwards(self._tidy, keep)
            ending.pop_all()

    def _tidy(self, keep: set[Path]) -> None:
        with self._lock:
            self._folder.remove_others(keep)

    def _discard(self) -> None:
        with self._busy:
            if not self._ended:
                self._ended = True
                empty = self._shard is None
                self._let_go()
                if empty:
                    shutil.rmtree(self._path, ignore_errors=True)
                self._lock.close()

    def _let_go(self) -> None:
        self._lenders = []
        if self._shard is not None:
            self._shard.close()
            self._shard = None


P = ParamSpec("P")
T = TypeVar("T")
FEW_CHUNKS = 5_000
"""So many are searched in a millisecond, where the engine holds the interpreter anyway: the way
into a thread and back would cost readers more than it saves them."""


class EdgeStore:
    """Keeps generations below `folder`; every call into the engine runs in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = EdgeFolder(folder)
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
        if live and live.manifest.chunks <= FEW_CHUNKS:
            return or_unavailable(partial(live.searching.search, vector, terms, n, only or {}))
        return await self.in_thread(self._search, vector, terms, n, only or {})

    async def ledger(self) -> Ledger:
        return await self.in_thread(self._folder.ledger)

    async def urls(self) -> set[str]:
        return await self.in_thread(self._folder.urls)

    async def build(self, generation: str, embedding_model: str) -> GenerationBuilder:
        building = asyncio.ensure_future(
            self.in_builder_thread(self._build, generation, embedding_model)
        )
        try:
            return await asyncio.shield(building)
        except asyncio.CancelledError:
            # The thread goes on and takes the lock, which nobody would ever let go.
            await (await building).discard()
            raise

    async def reachable(self) -> bool:
        return True

    async def close(self) -> None:
        self._folder.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        # What it has begun it brings to an end: it may hold the lock.
        self._builder_thread.shutdown(wait=False)

    async def in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `call` in a thread of the readers'."""
        return await run_in(self._threads, partial(call, *args, **kwargs))

    async def in_builder_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `call` in the builder's own thread: readers do not stand in line behind it."""
        return await run_in(self._builder_thread, partial(call, *args, **kwargs))

    def afterwards(self, call: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Have the builder's thread do `call` when it has nothing before it."""
        self._builder_thread.submit(call, *args, **kwargs)

    def _build(self, generation: str, embedding_model: str) -> EdgeBuilder:
        path, lock = self._folder.begin(generation, embedding_model)
        return EdgeBuilder(self, self._folder, path, embedding_model, lock)

    def _search(
        self, vector: Vectors | None, terms: SparseVector, n: int, only: Mapping[str, str]
    ) -> Candidates:
        live = self._folder.current()
        if live is None:
            return Candidates((), {})
        return live.searching.search(vector, terms, n, only)


async def run_in(threads: ThreadPoolExecutor, call: Callable[[], T]) -> T:
    """Await `call` in one of `threads`, a disk's errors put into a sentence."""
    return await asyncio.get_running_loop().run_in_executor(threads, or_unavailable, call)


def or_unavailable(call: Callable[[], T]) -> T:
    """What `call` returns. Raises `StoreUnavailable` where the disk fails it."""
    try:
        return call()
    except OSError as error:
        raise StoreUnavailable(
            "The folder of the index cannot be used: "
            f"{error.strerror or 'the disk refused'}. See QDRANT_PATH."
        ) from error
