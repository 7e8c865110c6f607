"""The writing process: builds the shard of a generation, and its client in the server.

While the engine writes, it holds the interpreter lock, for up to 0.15 s: readers' answers would
wait for it. The process ends when the server closes the channel or dies.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import IO, Any, Concatenate, ParamSpec, TypeVar

import msgspec
import numpy as np
import qdrant_edge
from qdrant_edge import EdgeShard, FieldCondition, Filter, MatchAny, Point, UpdateOperation

from lib.embedding import Vectors
from lib.errors import QuireError, StoreUnavailable
from lib.runtime import PROGRAM_FOLDER, become_child, child_command, child_environment
from lib.store import (
    DENSE,
    SPARSE,
    Candidates,
    StoredChunk,
    check_dimension,
    sparse_vector,
)
from lib.store_edge_shard import (
    ShardSearch,
    copy_shard,
    create_shard,
    open_shard,
    scroll_payloads,
)
from lib.terms import SparseVector

_P = ParamSpec("_P")
_T = TypeVar("_T")


class ShardWriter:
    """Writes the shard of the generation in `path`; a batch is on the disk when `add` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shard: EdgeShard | None = None
        self._dimension = 0
        self._sources: list[tuple[EdgeShard, Mapping[str, str]]] = []

    def open_sources(self, sources: Iterable[tuple[Path, Mapping[str, str] | None]]) -> None:
        """Open generations whose vectors can be reused, with their chunk ids by content hash."""
        for path, known in sources:
            try:
                shard = open_shard(path)
            except StoreUnavailable:  # damaged, or killed before its first flush
                continue
            if known is None:
                known = {
                    payload["content_hash"]: chunk_id
                    for batch in scroll_payloads(shard, ["content_hash"])
                    for chunk_id, payload in batch
                    if "content_hash" in payload
                }
            self._sources.append((shard, known))

    def reuse_vectors(self, content_hashes: Collection[str]) -> dict[str, Vectors]:
        """The known vectors by content hash."""
        reused: dict[str, Vectors] = {}
        for shard, known in self._sources:
            ids = {known[h]: h for h in content_hashes if h in known and h not in reused}
            for record in shard.retrieve(list(ids), with_payload=False, with_vector=[DENSE]):
                if isinstance(record.vector, dict):
                    vector = np.array(record.vector[DENSE], dtype=np.float32)
                    reused[ids[str(record.id)]] = vector
        return reused

    def copy(self, source: Path, dimension: int, without: Sequence[str]) -> None:
        """Copy the shard of a published generation except for the chunks of some files."""
        # A published shard never changes, so copying its files is safe.
        copy_shard(source, self._path / "shard")
        self._shard, self._dimension = open_shard(self._path), dimension
        if without:
            gone = Filter(must=[FieldCondition("file_path", match=MatchAny(list(without)))])
            self._shard.update(UpdateOperation.delete_points_by_filter(gone))
            self._shard.flush()

    def add(
        self, chunks: Sequence[StoredChunk], vectors: Vectors, terms: Sequence[SparseVector]
    ) -> None:
        points = [
            Point(
                chunk.chunk_id,
                {DENSE: vector.tolist(), SPARSE: sparse_vector(qdrant_edge, weights)},
                msgspec.to_builtins(chunk),
            )
            for chunk, vector, weights in zip(chunks, vectors, terms, strict=True)
        ]
        if self._shard is None:
            self._dimension = vectors.shape[1]
            self._shard = create_shard(self._path, self._dimension)
        check_dimension(vectors.shape[1], self._dimension)
        self._shard.update(UpdateOperation.upsert_points(points))
        self._shard.flush()

    def search(
        self, vector: Vectors | None, terms: SparseVector, n: int, only: Mapping[str, str]
    ) -> Candidates:
        """As `lib.store.Store.search`, among the chunks written so far."""
        if self._shard is None:
            return Candidates((), {})
        return ShardSearch(self._shard).search(vector, terms, n, only)

    def close(self) -> int:
        """Close the shard and return its dimension; 0 if nothing was written."""
        self._sources = []
        if self._shard is not None:
            self._shard.close()
            self._shard = None
        return self._dimension


class WriterProcess:
    """Calls the methods of a `ShardWriter` in a process of its own. Blocking.

    The process shares `lock`: while it runs, no other process begins to build.
    """

    def __init__(self, path: Path, lock: IO[bytes]) -> None:
        self._channel, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [*child_command(__name__), os.fspath(path.absolute())],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                cwd=PROGRAM_FOLDER,
                env=child_environment(),
                pass_fds=[lock.fileno()],
            )

    def call(
        self,
        method: Callable[Concatenate[ShardWriter, _P], _T],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """Call `method` and return its result. Raises its error, or `StoreUnavailable`."""
        try:
            self._channel.send((method, args, kwargs))
            result: _T | Exception = self._channel.recv()
        except (EOFError, ConnectionError):
            code = self._process.wait()
            raise StoreUnavailable(
                f"The process that writes the index ended with exit code {code}. See the server "
                "log, and ingest again."
            ) from None
        if isinstance(result, Exception):
            raise result
        return result

    def close(self) -> None:
        """End the process."""
        self._channel.close()
        self._process.wait()


def _main() -> None:
    become_child()
    writer = ShardWriter(Path(sys.argv[1]))
    # The server closes the channel, or dies.
    with Connection(sys.stdin.fileno()) as channel, suppress(EOFError, ConnectionError):
        while True:
            method, args, kwargs = channel.recv()
            result: Any
            try:
                result = method(writer, *args, **kwargs)
            except (QuireError, OSError) as error:
                result = error
            channel.send(result)


if __name__ == "__main__":
    _main()
