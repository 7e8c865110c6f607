"""The embedded store: Qdrant's own engine inside this process, an index in a folder.

::

    <folder>/current                      the name of the published generation
    <folder>/generations/<name>/manifest.json
    <folder>/generations/<name>/files.json  what each file gave, for the next ingestion
    <folder>/generations/<name>/model     the embedding model its vectors are of
    <folder>/generations/<name>/shard/    Qdrant's segments
    <folder>/building.lock                held by the process that builds

A shard is written without a write-ahead log, flushed after each batch, and never changed after it
was published; a published one may therefore be open in several processes at once. A server follows
a generation that `python main.py ingest` published beside it: `current` is looked at on every call.
"""

import asyncio
import contextlib
import fcntl
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, ParamSpec, TypeVar

import msgspec

from lib.durable import write_durably
from lib.edge_builder import EdgeBuilder
from lib.edge_search import ShardSearch
from lib.edge_shard import DAMAGED, open_shard, payloads, read_through
from lib.embedding import Vectors
from lib.errors import Conflict, IndexUnreadable, StoreUnavailable
from lib.sparse import SparseVector
from lib.store import (
    Found,
    GenerationBuilder,
    Ledger,
    Manifest,
    as_manifest,
)

if TYPE_CHECKING:
    from qdrant_edge import EdgeShard

P = ParamSpec("P")
T = TypeVar("T")
FEW_CHUNKS = 5_000
"""So many are searched in a millisecond, where the engine holds the interpreter anyway: the way
into a thread and back would cost readers more than it saves them."""
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


class EdgeStore:
    """Keeps generations below `folder`; every call into the engine runs in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._live: Generation | None = None
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="store")
        self._builder_thread = ThreadPoolExecutor(1, thread_name_prefix="store-builder")

    async def open(self) -> None:
        await self.in_thread(self._clean)

    async def manifest(self) -> Manifest | None:
        live = self.known() or await self.in_thread(self.current)
        return live.manifest if live else None

    async def search(
        self,
        vector: Vectors | None,
        terms: SparseVector,
        n: int,
        *,
        only: Mapping[str, str] | None = None,
    ) -> Found:
        live = self.known()
        if live and live.manifest.chunks <= FEW_CHUNKS:
            return or_unavailable(partial(live.searching.search, vector, terms, n, only or {}))
        return await self.in_thread(self._search, vector, terms, n, only or {})

    async def ledger(self) -> Ledger:
        return await self.in_thread(self.read_ledger)

    async def urls(self) -> set[str]:
        return await self.in_thread(self._urls)

    async def build(self, generation: str, embedding_model: str) -> GenerationBuilder:
        building = asyncio.ensure_future(
            self.in_builder_thread(self._build, generation, embedding_model)
        )
        try:
            return await asyncio.shield(building)
        except asyncio.CancelledError:
            # The thread goes on and takes the lock, which nobody would ever let go.
            await (await building).abandon()
            raise

    async def reachable(self) -> bool:
        return True

    async def close(self) -> None:
        self._live = None
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

    def known(self) -> Generation | None:
        """The open generation if it is still the published one; costs a look at one file."""
        live = self._live
        with contextlib.suppress(OSError):
            if live and live.mtime_ns == (self._folder / "current").stat().st_mtime_ns:
                return live
        return None

    # Everything below runs in a thread.

    def current(self) -> Generation | None:
        """The published generation, opened anew when another process has published since."""
        pointer, live = self._folder / "current", self._live
        if known := self.known():
            return known
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
            shard = open_shard(path)
            searching = ShardSearch(shard)
            read_through(path)
            try:
                searching.warm()
            except Exception as error:  # the engine raises nothing more specific
                raise IndexUnreadable(DAMAGED) from error
        # The shard that is left is closed when the last search on it has let go of it.
        self._live = Generation(path, manifest, shard, searching, mtime_ns)
        return self._live

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

    def read_ledger(self) -> Ledger:
        live = self.current()
        if live is None:
            return {}
        try:
            return msgspec.json.decode((live.path / "files.json").read_bytes(), type=Ledger)
        except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
            raise IndexUnreadable(DAMAGED) from None

    def publish(self, path: Path, manifest: Manifest, ledger: Ledger) -> set[Path]:
        """Point readers to the generation in `path`; which generations are still of use.

        For the builder, which holds the lock.
        """
        previous = self._live
        write_durably(path / "files.json", msgspec.json.encode(ledger))
        write_durably(path / "manifest.json", msgspec.json.encode(manifest))
        write_durably(self._folder / "current", manifest.generation.encode())
        self.current()
        # The one that was replaced stays until the next: another process may still read it.
        return {path, previous.path} if previous else {path}

    def _path(self, generation: str) -> Path:
        return self._folder / "generations" / generation

    def _generations(self) -> list[Path]:
        try:
            return sorted((self._folder / "generations").iterdir(), reverse=True)
        except FileNotFoundError:
            return []

    def _search(
        self, vector: Vectors | None, terms: SparseVector, n: int, only: Mapping[str, str]
    ) -> Found:
        live = self.current()
        if live is None:
            return Found((), {})
        return live.searching.search(vector, terms, n, only)

    def _urls(self) -> set[str]:
        live = self.current()
        rows = payloads(live.shard, "url") if live else ()
        return {url for _, url in rows if url}

    def _build(self, generation: str, embedding_model: str) -> EdgeBuilder:
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = take_lock(self._folder / "building.lock", LOCK_PATIENCE)
        if lock is None:
            raise Conflict("Another process is building the index; wait until it is done.")
        try:
            path = self._path(generation)
            path.mkdir(parents=True)
            (path / "model").write_text(embedding_model, encoding="utf-8")
            return EdgeBuilder(self, path, embedding_model, lock)
        except BaseException:  # raised again: whatever it is, the lock must not stay
            lock.close()
            raise

    def _clean(self) -> None:
        """Remove generations that nobody needs any more, unless another process builds one."""
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = take_lock(self._folder / "building.lock")
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


def read_manifest(path: Path) -> Manifest:
    """Raises FileNotFoundError where there is none, IndexUnreadable where it cannot be read."""
    try:
        kept = msgspec.json.decode((path / "manifest.json").read_bytes())
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise IndexUnreadable(DAMAGED) from None
    return as_manifest(kept, DAMAGED)


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
