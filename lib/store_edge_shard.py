"""Qdrant's embedded engine: the files of one generation (a shard), and searching them.

A shard is written without a write-ahead log and flushed after each batch. Once published it never
changes, so several processes may open it.
"""

import errno
import os
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, Final, cast
from uuid import UUID

import msgspec
import numpy as np
import qdrant_edge as edge
from cachetools import LRUCache

from lib.embedding import Vectors
from lib.errors import IndexUnreadable, StoreUnavailable
from lib.store import (
    DENSE,
    PAYLOAD_BATCH,
    SCROLL_LIMIT,
    SPARSE,
    Candidates,
    StoredChunk,
    make_candidates,
    payload_filter,
    sparse_vector,
    term_idf,
)
from lib.terms import SparseVector

DAMAGED: Final = (
    "The index cannot be read: its files are damaged, or another version of Quire made them. "
    "Ingest the book again."
)
_PACKED: Final = "shard.tar"
"""Packed form of a shard, which the image uses: `tar --sparse` leaves out the reserved zeros that a
layer would store."""
_BLOCK: Final = 65_536
_ZEROS: Final = bytes(_BLOCK)
_PRELOAD_LIMIT: Final = 1 << 29
_SHARED_MEMORY: Final = "/dev/shm"
"""Writable in a container even if the rest of the file system is read-only."""

_CACHED_CHUNKS: Final = 5_000
"""About 10 MB."""
_CACHED_IDFS: Final = 50_000
_CACHED_RESULTS: Final = 500
"""Readers ask the same questions. About 10 MB; 40 MB for a book of more than 5,000 chunks."""
_EXACT_LIMIT: Final = 10_000
"""Up to so many chunks, vectors are compared exactly. Above, quantised vectors select candidates,
which are then compared exactly: the same hits in a sixth of the time."""
_OVERSAMPLING: Final = 4.0
"""Candidates per requested hit. With 37,000 chunks and 60 questions, 3.0 loses no hit."""
_WARM_UP_HITS: Final = 30
_WARM_UP_TERMS: Final = 5


def create_shard(path: Path, dimension: int) -> edge.EdgeShard:
    """Create the shard of the generation in `path`."""
    (path / "shard").mkdir()
    vectors = edge.EdgeVectorParams(
        size=dimension,
        distance=edge.Distance.Cosine,
        # Equally fast; in memory, even the smallest index would take 32 MB.
        on_disk=True,
        # Another half byte per number: all that a search of a large book reads.
        quantization_config=edge.TurboQuantQuantizationConfig(),
    )
    config = edge.EdgeConfig(
        vectors={DENSE: vectors},
        sparse_vectors={SPARSE: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
        wal_enabled=False,
        # One segment is searched by one thread; others would only wait.
        max_search_threads=1,
    )
    return edge.EdgeShard.create(str(path / "shard"), config)


def open_shard(path: Path) -> edge.EdgeShard:
    """Open the shard of the generation in `path`, or a copy if its files cannot be written.

    Raises `StoreUnavailable`.
    """
    folder = path / "shard"
    if folder.exists() and all(os.access(each, os.W_OK) for each in _files_below(folder)):
        return _load(folder)
    # The engine opens every file for writing. The copy's folder is removed right away: the engine
    # needs only the open files, so nothing is left behind even if the process is killed.
    try:
        with tempfile.TemporaryDirectory(prefix="quire-", dir=_temporary_folder()) as copy:
            copy_shard(path, Path(copy))
            return _load(Path(copy))
    except OSError as error:
        raise StoreUnavailable(
            "The index is on a read-only disk, and a temporary copy cannot be written: "
            f"{error.strerror or 'disk error'}. See QDRANT_PATH, or TMPDIR for the copy."
        ) from error


def _load(folder: Path) -> edge.EdgeShard:
    try:
        return edge.EdgeShard.load(str(folder))
    except Exception as error:  # the engine raises no more specific exception
        raise IndexUnreadable(DAMAGED) from error


def preload_files(folder: Path) -> None:
    """Read the files below `folder` into the page cache, at most half a gigabyte.

    The engine reads single pages at 0.1 ms each: after a start, the first hundreds of searches in a
    large book would each wait for hundreds of pages.
    """
    block, left = memoryview(bytearray(16 * _BLOCK)), _PRELOAD_LIMIT
    for path in _files_below(folder):
        with suppress(OSError), FileIO(path) as file:
            for begin, end in _data_ranges(file):
                file.seek(begin)
                while begin < end and left > 0:
                    read = file.readinto(block[: end - begin])
                    begin += read or end
                    left -= read


def _files_below(folder: Path) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        for name in names:
            yield os.path.join(parent, name)


def _data_ranges(file: FileIO) -> Iterator[tuple[int, int]]:
    """The allocated parts of a file; all of it if the system does not report them."""
    end, size = 0, os.fstat(file.fileno()).st_size
    try:
        while end < size:
            begin = file.seek(end, os.SEEK_DATA)
            end = file.seek(begin, os.SEEK_HOLE)
            yield begin, end
    except AttributeError:
        yield 0, size
    except OSError as error:
        if error.errno != errno.ENXIO:  # no data after `end`
            yield 0, size


def _temporary_folder() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:  # no candidate is writable
        return _SHARED_MEMORY


def has_shard(path: Path) -> bool:
    """Whether the generation in `path` has a shard, packed or not."""
    return (path / "shard").exists() or (path / _PACKED).exists()


def copy_shard(path: Path, target: Path) -> None:
    """Copy or unpack the shard of the generation in `path` into the folder `target`."""
    folder = path / "shard"
    if folder.exists() or not (path / _PACKED).exists():
        _copy_files(folder, target)
        return
    with tarfile.open(path / _PACKED) as archive:
        # Python before 3.11.4 has no filter and ignores this attribute.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(target)


def _copy_files(source: Path, target: Path) -> None:
    """Copy the files below `source` as sparse files, without their permissions.

    The engine reserves 100 MB even for the smallest index. A plain copy would take that on disk, or
    in memory if the temporary folder is there.
    """
    for parent, _, names in os.walk(source):
        folder = target / Path(parent).relative_to(source)
        folder.mkdir(exist_ok=True)
        for name in names:
            with FileIO(os.path.join(parent, name)) as old, (folder / name).open("wb") as new:
                for begin, end in _data_ranges(old):
                    _copy_range(old, new, begin, end)
                new.truncate(os.fstat(old.fileno()).st_size)


def _copy_range(old: FileIO, new: BinaryIO, begin: int, end: int) -> None:
    """Copy a part of a file, without blocks of zeros: a file system may have stored them."""
    old.seek(begin)
    while begin < end and (block := old.read(min(_BLOCK, end - begin))):
        if block != _ZEROS[: len(block)]:
            new.seek(begin)
            new.write(block)
        begin += len(block)


def scroll_payloads(
    shard: edge.EdgeShard,
    fields: Sequence[str] | None = None,
    batch: int = SCROLL_LIMIT,
) -> Iterator[list[tuple[str, Mapping[str, Any]]]]:
    """Yield batches of points: the id of each, and fields of its payload."""
    offset = None
    payload = True if fields is None else list(fields)
    while True:
        request = edge.ScrollRequest(offset=offset, limit=batch, with_payload=payload)
        records, offset = shard.scroll(request)
        yield [(str(record.id), record.payload or {}) for record in records]
        if offset is None:
            return


def read_payloads(shard: edge.EdgeShard, ids: Sequence[UUID]) -> Iterator[Mapping[str, Any]]:
    """Yield the payloads of these points, in no order."""
    for start in range(0, len(ids), PAYLOAD_BATCH):
        batch: list[int | UUID | str] = [*ids[start : start + PAYLOAD_BATCH]]
        for record in shard.retrieve(batch, with_payload=True, with_vector=False):
            yield record.payload or {}


class ShardSearch:
    """Search one published shard, with caches that never expire because it never changes.

    Thread-safe. Blocks a millisecond or two, during which the engine holds the interpreter lock.
    """

    def __init__(self, shard: edge.EdgeShard, exact_limit: int = _EXACT_LIMIT) -> None:
        self._shard = shard
        self._dense_params = _dense_search_params(shard, exact_limit)
        # Reading a chunk costs more than finding it.
        self._chunks: LRUCache[Any, StoredChunk] = LRUCache(_CACHED_CHUNKS)
        self._idfs: LRUCache[int, float | None] = LRUCache(_CACHED_IDFS)
        self._results: LRUCache[tuple[object, ...], Candidates] = LRUCache(_CACHED_RESULTS)
        self._lock = threading.Lock()

    def search(
        self, vector: Vectors | None, terms: SparseVector, n: int, only: Mapping[str, str]
    ) -> Candidates:
        """As `lib.store.Store.search`."""
        key = (
            None if vector is None else vector.tobytes(),
            tuple(terms.indices),
            tuple(terms.values),
            n,
            tuple(sorted(only.items())),
        )
        with self._lock:
            result = self._results.get(key)
        if result is None:
            result = self._search(vector, terms, n, only)
            with self._lock:
                self._results[key] = result
        return result

    def warm_up(self) -> None:
        """Search for one stored chunk, so that the first reader does not pay for lazy set-up."""
        records, _ = self._shard.scroll(edge.ScrollRequest(limit=1, with_vector=True))
        for vector in (cast("Mapping[str, Any]", each.vector) for each in records):
            weights = vector[SPARSE]
            terms = SparseVector(weights.indices[:_WARM_UP_TERMS], weights.values[:_WARM_UP_TERMS])
            self._search(np.asarray(vector[DENSE], dtype=np.float32), terms, _WARM_UP_HITS, {})

    def _search(
        self, vector: Vectors | None, terms: SparseVector, n: int, only: Mapping[str, str]
    ) -> Candidates:
        queries = [edge.Query.Nearest(sparse_vector(edge, terms), using=SPARSE)]
        params: list[edge.SearchParams | None] = [None]
        exact: list[edge.SearchParams | None] = [None]
        if vector is not None:
            queries.append(edge.Query.Nearest(vector.tolist(), using=DENSE))
            params.append(self._dense_params)
            exact.append(edge.SearchParams(exact=True))
        where = payload_filter(edge, only)
        requests = [
            edge.QueryRequest(limit=n, query=query, filter=where, params=each)
            for query, each in zip(queries, params, strict=True)
        ]
        answers = self._shard.query_batch(edge.QueryBatchRequest(requests))
        scores = [{point.id: point.score for point in points} for points in answers]
        ids = set[Any]().union(*scores)
        if vector is not None:
            # Each query also scores the few points that only the other found.
            for query, each, own in zip(queries, exact, scores, strict=True):
                if missing := ids - own.keys():
                    own.update(_score_points(self._shard, query, each, missing))
        return make_candidates(
            self._read_chunks(ids),
            bm25=scores[0],
            cosine=scores[1] if vector is not None else {},
            rarity=self._term_idfs(terms.indices),
        )

    def _read_chunks(self, ids: set[Any]) -> dict[Any, StoredChunk]:
        with self._lock:
            chunks = {key: chunk for key in ids if (chunk := self._chunks.get(key)) is not None}
        if missing := list(ids - chunks.keys()):
            read = {
                record.id: msgspec.convert(record.payload, StoredChunk)
                for record in self._shard.retrieve(missing, with_payload=True, with_vector=False)
            }
            chunks.update(read)
            with self._lock:
                self._chunks.update(read)
        return chunks

    def _term_idfs(self, terms: Sequence[int]) -> dict[int, float]:
        """The IDF of each term that some chunk contains."""
        with self._lock:
            idfs = {term: self._idfs[term] for term in terms if term in self._idfs}
        if unknown := [term for term in terms if term not in idfs]:
            queries = [
                edge.Query.Nearest(sparse_vector(edge, SparseVector([term], [1.0])), using=SPARSE)
                for term in unknown
            ]
            requests = [
                edge.QueryRequest(limit=1, query=query, with_vector=[SPARSE]) for query in queries
            ]
            answers = self._shard.query_batch(edge.QueryBatchRequest(requests))
            for term, points in zip(unknown, answers, strict=True):
                idfs[term] = term_idf(term, points)
            with self._lock:
                self._idfs.update(idfs)
        return {term: idf for term, idf in idfs.items() if idf is not None}


def _dense_search_params(shard: edge.EdgeShard, exact_limit: int) -> edge.SearchParams:
    if shard.count(edge.CountRequest(exact=True)) <= exact_limit:
        return edge.SearchParams(exact=True)
    rescored = edge.QuantizationSearchParams(rescore=True, oversampling=_OVERSAMPLING)
    return edge.SearchParams(quantization=rescored)


def _score_points(
    shard: edge.EdgeShard, query: Any, params: edge.SearchParams | None, ids: set[Any]
) -> dict[Any, float]:
    """Score these points; those that `query` does not match are missing."""
    where = edge.Filter(must=[edge.HasIdCondition(ids)])
    request = edge.QueryRequest(limit=len(ids), query=query, filter=where, params=params)
    points = shard.query(request)
    return {point.id: point.score for point in points}
