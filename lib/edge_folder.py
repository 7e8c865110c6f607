"""The folder of the embedded store: which generation is published, and which others are kept.

::

    <folder>/current                      the name of the published generation
    <folder>/generations/<name>/manifest.json
    <folder>/generations/<name>/files.json  what each file gave, for the next ingestion
    <folder>/generations/<name>/model     the embedding model its vectors are of
    <folder>/generations/<name>/shard/    Qdrant's segments
    <folder>/building.lock                held by the process that builds

A server follows a generation that `python main.py ingest` published beside it: `current` is looked
at on every call.
"""

import contextlib
import fcntl
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec

from lib.durable import write_durably
from lib.edge_shard import DAMAGED, open_shard, payloads, read_through
from lib.errors import Conflict, IndexUnreadable
from lib.store import Ledger, Manifest, as_manifest
from lib.store_edge_shard import ShardSearch

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
        write_durably(path / "files.json", msgspec.json.encode(ledger))
        write_durably(path / "manifest.json", msgspec.json.encode(manifest))
        # Readers go on with the other one until this one is open and warm.
        shard, searching = open_warm(path)
        with self._opening:
            write_durably(pointer, manifest.generation.encode())
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
