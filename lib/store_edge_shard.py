"""One question to the embedded engine: candidates by meaning and by words, scored by both.

The files of one generation of the embedded store: Qdrant's segments.
"""

import os
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import numpy as np
import qdrant_edge
from cachetools import LRUCache

from lib.embedding import Vectors
from lib.errors import IndexUnreadable, StoreUnavailable
from lib.store import DENSE, SPARSE, Candidates, StoredChunk, make_candidates
from lib.terms import SparseVector

if TYPE_CHECKING:
    from qdrant_edge import EdgeShard, Filter, QueryRequest, SearchParams


SCROLL_LIMIT = 5_000
DAMAGED = (
    "The index cannot be read: its files are damaged, or another version of Quire made them. "
    "Ingest the book again."
)
BLOCK = 65_536
ZEROS = bytes(BLOCK)
READ_AT_MOST = 1 << 29
SHARED_MEMORY = "/dev/shm"
"""Containers can write there even when everything else in them is read-only."""
PACKED = "shard.tar"
"""The file that may hold a shard instead of its folder.

The Dockerfile packs the prebuilt index with `tar --sparse`. A layer of an image stores the zeros
that the engine reserves, 135 MB of them for a small book.
"""


def create_shard(path: Path, dimension: int) -> "EdgeShard":
    from qdrant_edge import (
        Distance,
        EdgeConfig,
        EdgeShard,
        EdgeSparseVectorParams,
        EdgeVectorParams,
        Modifier,
        TurboQuantQuantizationConfig,
    )

    (path / "shard").mkdir()
    vectors = EdgeVectorParams(
        size=dimension,
        distance=Distance.Cosine,
        # Read as needed, and as fast: else 32 MB are taken at once, however few the vectors.
        on_disk=True,
        # Half a byte a number besides, which is what a search of a large book reads.
        quantization_config=TurboQuantQuantizationConfig(),
    )
    config = EdgeConfig(
        vectors={DENSE: vectors},
        sparse_vectors={SPARSE: EdgeSparseVectorParams(modifier=Modifier.Idf)},
        wal_enabled=False,
        # The one segment is searched by one thread anyway; more of them only wait for each other.
        max_search_threads=1,
    )
    return EdgeShard.create(str(path / "shard"), config)


def open_shard(path: Path) -> "EdgeShard":
    """Raises `StoreUnavailable` for one that the engine cannot read."""
    folder = path / "shard"
    if folder.exists() and all(os.access(each, os.W_OK) for each in folder.rglob("*")):
        return load(folder)
    # The engine opens each file for writing, even to read it. Of a copy it needs only the open
    # files, so nothing is left behind however the process ends.
    try:
        with tempfile.TemporaryDirectory(prefix="quire-", dir=temporary_folder()) as copy:
            copy_shard(path, Path(copy))
            return load(Path(copy))
    except OSError as error:
        raise StoreUnavailable(
            "The index lies where nothing can be written, and the copy that is read instead "
            f"cannot be made: {error.strerror or 'the disk refused'}. See QDRANT_PATH, or TMPDIR "
            "for the copy."
        ) from error


def load(folder: Path) -> "EdgeShard":
    from qdrant_edge import EdgeShard

    try:
        return EdgeShard.load(str(folder))
    except Exception as error:  # the engine raises nothing more specific
        raise IndexUnreadable(DAMAGED) from error


def read_through(folder: Path) -> None:
    """Have the system read the files below `folder` into its memory, half a gigabyte at the most.

    The engine reads a page when it needs it, and a disk takes a tenth of a millisecond for each:
    of a large book, hundreds of searches would wait for hundreds.
    """
    block, left = memoryview(bytearray(16 * BLOCK)), READ_AT_MOST
    for begin, end, file in written(folder):
        file.seek(begin)
        while begin < end and left > 0:
            read = file.readinto(block[: end - begin])
            begin += read or end
            left -= read


def written(folder: Path) -> Iterator[tuple[int, int, FileIO]]:
    """The parts of the files below `folder` that are on the disk, where the system tells them.

    Not the zeros that the engine reserves: read, they would take memory.
    """
    for each in folder.rglob("*"):
        # Where nothing follows, the system says that there is no such place.
        with suppress(OSError, AttributeError), FileIO(each) as file:
            end = 0
            while True:
                begin = file.seek(end, os.SEEK_DATA)
                end = file.seek(begin, os.SEEK_HOLE)
                yield begin, end, file


def temporary_folder() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:  # it has tried them all
        return SHARED_MEMORY


def has_shard(path: Path) -> bool:
    """Whether the generation at `path` has a shard, packed or not."""
    return (path / "shard").exists() or (path / PACKED).exists()


def copy_shard(path: Path, target: Path) -> None:
    """Copy the files of the shard of the generation at `path` into the folder `target`."""
    folder = path / "shard"
    if folder.exists() or not (path / PACKED).exists():
        copy_files(folder, target)
        return
    with tarfile.open(path / PACKED) as archive:
        # Before Python 3.11.4 there is no filter, and this attribute is not read.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(target)


def copy_files(source: Path, target: Path) -> None:
    """The files below `source` without their permissions, and without what holds only zeros.

    The engine reserves a hundred megabytes for the smallest index, which would be on the disk then,
    or in memory where the temporary folder is.
    """
    target.mkdir(exist_ok=True)
    for each in source.rglob("*"):
        there = target / each.relative_to(source)
        if each.is_dir():
            there.mkdir(parents=True, exist_ok=True)
            continue
        with each.open("rb", buffering=0) as old, there.open("wb") as new:
            while block := old.read(BLOCK):
                if block == ZEROS[: len(block)]:
                    new.seek(len(block), os.SEEK_CUR)
                else:
                    new.write(block)
            new.truncate()


def payloads(shard: "EdgeShard", field: str) -> "Iterator[tuple[str, Any]]":
    """The id of every point, and one field of its payload."""
    from qdrant_edge import ScrollRequest

    offset = None
    while True:
        records, offset = shard.scroll(
            ScrollRequest(offset=offset, limit=SCROLL_LIMIT, with_payload=[field])
        )
        for record in records:
            yield str(record.id), (record.payload or {}).get(field)
        if offset is None:
            return


MAX_CHUNKS: Final = 5_000
"""That were read last; some 10 MB."""
MAX_TERMS: Final = 50_000
MAX_ANSWERS: Final = 500
"""Readers ask the same things. Some 10 MB; 40 for a book of far more than `MAX_CHUNKS`."""
COMPARED_ALL: Final = 10_000
"""Chunks up to which a vector is compared with each of theirs. Of more, the engine compares it with
the short form of each, and the vectors of the nearest by that: the same hits in a sixth of the
time."""
OVERSAMPLING: Final = 4.0
"""So many times the hits that are wanted are compared again. At 37,000 chunks and 60 questions 3.0
loses none."""
WARM_HITS: Final = 30
WARM_TERMS: Final = 5


class ShardSearch:
    """Searches one published shard, which never changes: what was read of it stays true.

    Blocks, and the engine holds the interpreter meanwhile: for a millisecond or two. To be called
    from several threads.
    """

    def __init__(self, shard: "EdgeShard", compared_all: int = COMPARED_ALL) -> None:
        self._shard = shard
        self._nearest = how_to_compare(shard, compared_all)
        # To read a chunk from the engine costs more than to find it, and readers of one book ask
        # for the same places.
        self._chunks: LRUCache[Any, StoredChunk] = LRUCache(MAX_CHUNKS)
        self._rarity: LRUCache[int, float | None] = LRUCache(MAX_TERMS)
        self._answers: LRUCache[tuple[object, ...], Candidates] = LRUCache(MAX_ANSWERS)
        self._lock = threading.Lock()

    def search(
        self, vector: Vectors | None, terms: SparseVector, n: int, only: Mapping[str, str]
    ) -> Candidates:
        """As `lib.store.Store.search`."""
        asked = (
            None if vector is None else vector.tobytes(),
            tuple(terms.indices),
            tuple(terms.values),
            n,
            tuple(sorted(only.items())),
        )
        with self._lock:
            known = self._answers.get(asked)
        if known is None:
            known = self._search(vector, terms, n, only)
            with self._lock:
                self._answers[asked] = known
        return known

    def warm(self) -> None:
        """Search once, for something: what is made on first use, the first reader has then."""
        from qdrant_edge import ScrollRequest

        records, _ = self._shard.scroll(ScrollRequest(limit=1, with_vector=True))
        for vector in (cast("Mapping[str, Any]", each.vector) for each in records):
            weights = vector[SPARSE]
            asked = SparseVector(weights.indices[:WARM_TERMS], weights.values[:WARM_TERMS])
            self._search(np.asarray(vector[DENSE], dtype=np.float32), asked, WARM_HITS, {})

    def _search(
        self, vector: Vectors | None, terms: SparseVector, n: int, only: Mapping[str, str]
    ) -> Candidates:
        from qdrant_edge import Query, QueryBatchRequest, QueryRequest, SearchParams

        queries = [Query.Nearest(as_sparse(terms), using=SPARSE)]
        among_all: list[SearchParams | None] = [None]
        among_few: list[SearchParams | None] = [None]
        if vector is not None:
            queries.append(Query.Nearest(vector.tolist(), using=DENSE))
            among_all.append(self._nearest)
            among_few.append(SearchParams(exact=True))
        where = condition(only)
        answers = self._shard.query_batch(
            QueryBatchRequest(
                [
                    QueryRequest(limit=n, query=query, filter=where, params=params)
                    for query, params in zip(queries, among_all, strict=True)
                ]
            )
        )
        scores = [{point.id: point.score for point in points} for points in answers]
        ids = set[Any]().union(*scores)
        if vector is not None:
            # Each query also scores what only the other has found: a few points, by their ids.
            for query, params, own in zip(queries, among_few, scores, strict=True):
                if missing := ids - own.keys():
                    own.update(score_of(self._shard, query, params, missing))
        return make_candidates(
            self._read(ids),
            bm25=scores[0],
            cosine=scores[1] if vector is not None else {},
            rarity=self._rarities(terms.indices),
        )

    def _read(self, ids: set[Any]) -> dict[Any, StoredChunk]:
        """The chunks with these ids."""
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

    def _rarities(self, terms: Sequence[int]) -> dict[int, float]:
        """The IDF of each term that some chunk has."""
        from qdrant_edge import QueryBatchRequest

        with self._lock:
            known = {term: self._rarity[term] for term in terms if term in self._rarity}
        if unknown := [term for term in terms if term not in known]:
            answers = self._shard.query_batch(
                QueryBatchRequest([best_with(term) for term in unknown])
            )
            for term, points in zip(unknown, answers, strict=True):
                known[term] = points[0].score / weight_in(points[0], term) if points else None
            with self._lock:
                self._rarity.update(known)
        return {term: rarity for term, rarity in known.items() if rarity is not None}


def how_to_compare(shard: "EdgeShard", compared_all: int) -> "SearchParams":
    from qdrant_edge import CountRequest, QuantizationSearchParams, SearchParams

    if shard.count(CountRequest(exact=True)) <= compared_all:
        return SearchParams(exact=True)
    again = QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING)
    return SearchParams(quantization=again)


def score_of(
    shard: "EdgeShard", query: Any, params: "SearchParams | None", ids: set[Any]
) -> dict[Any, float]:
    """What `query` gives to these points; those that it does not match are missing."""
    from qdrant_edge import Filter, HasIdCondition, QueryRequest

    where = Filter(must=[HasIdCondition(ids)])
    points = shard.query(QueryRequest(limit=len(ids), query=query, filter=where, params=params))
    return {point.id: point.score for point in points}


def best_with(term: int) -> "QueryRequest":
    """The chunk that one term alone finds: its score, over the term's weight in it, is the IDF."""
    from qdrant_edge import Query, QueryRequest

    return QueryRequest(
        limit=1,
        query=Query.Nearest(as_sparse(SparseVector([term], [1.0])), using=SPARSE),
        with_vector=[SPARSE],
    )


def weight_in(point: Any, term: int) -> float:
    weights = point.vector[SPARSE]
    weight: float = weights.values[weights.indices.index(term)]
    return weight


def as_sparse(weights: SparseVector) -> "qdrant_edge.SparseVector":
    from qdrant_edge import SparseVector

    return SparseVector(weights.indices, weights.values)


def condition(only: Mapping[str, str]) -> "Filter | None":
    """The condition that payload fields have these values."""
    from qdrant_edge import FieldCondition, Filter, MatchValue

    if not only:
        return None
    return Filter(
        must=[FieldCondition(field, match=MatchValue(value)) for field, value in only.items()]
    )
