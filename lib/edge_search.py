"""One question to the embedded engine: candidates by meaning and by words, scored by both."""

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import numpy as np
from cachetools import LRUCache

from lib.embedding import Vectors
from lib.sparse import SparseVector
from lib.store import DENSE, SPARSE, Found, StoredChunk, as_found

if TYPE_CHECKING:
    import qdrant_edge
    from qdrant_edge import EdgeShard, Filter, QueryRequest

MAX_CHUNKS: Final = 5_000
"""That were read last; some 10 MB."""
MAX_TERMS: Final = 50_000
MAX_ANSWERS: Final = 500
"""Readers ask the same things. Some 10 MB."""
WARM_AT_ONCE: Final = 50
"""Chunks, in a millisecond: the engine holds the interpreter meanwhile."""
WARM_TERMS: Final = 5


class ShardSearch:
    """Searches one published shard, which never changes: what was read of it stays true.

    Blocks, and the engine holds the interpreter meanwhile: for a millisecond or so up to 20,000
    chunks, since it compares the vector with each of them. To be called from several threads.
    """

    def __init__(self, shard: "EdgeShard") -> None:
        self._shard = shard
        # To read a chunk from the engine costs more than to find it, and readers of one book ask
        # for the same places.
        self._chunks: LRUCache[Any, StoredChunk] = LRUCache(MAX_CHUNKS)
        self._rarity: LRUCache[int, float | None] = LRUCache(MAX_TERMS)
        self._answers: LRUCache[tuple[object, ...], Found] = LRUCache(MAX_ANSWERS)
        self._lock = threading.Lock()

    def search(
        self, vector: Vectors | None, terms: SparseVector, n: int, only: Mapping[str, str]
    ) -> Found:
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
        """Do once what the first readers would wait for: some milliseconds of a question's ten.

        Chunks are read, as many as are kept, and the vectors brought into memory by a search.
        """
        from qdrant_edge import ScrollRequest

        offset = None
        for _ in range(0, MAX_CHUNKS, WARM_AT_ONCE):
            records, offset = self._shard.scroll(
                ScrollRequest(offset=offset, limit=WARM_AT_ONCE, with_payload=True)
            )
            read = {each.id: msgspec.convert(each.payload, StoredChunk) for each in records}
            with self._lock:
                self._chunks.update(read)
            if offset is None:
                break
        records, _ = self._shard.scroll(ScrollRequest(limit=1, with_vector=True))
        for vector in (cast("Mapping[str, Any]", each.vector) for each in records):
            weights = vector[SPARSE]
            asked = SparseVector(weights.indices[:WARM_TERMS], weights.values[:WARM_TERMS])
            self._search(np.asarray(vector[DENSE], dtype=np.float32), asked, WARM_AT_ONCE, {})

    def _search(
        self, vector: Vectors | None, terms: SparseVector, n: int, only: Mapping[str, str]
    ) -> Found:
        from qdrant_edge import Query, QueryBatchRequest, QueryRequest

        queries = [Query.Nearest(as_sparse(terms), using=SPARSE)]
        if vector is not None:
            queries.append(Query.Nearest(vector.tolist(), using=DENSE))
        where = condition(only)
        answers = self._shard.query_batch(
            QueryBatchRequest(
                [QueryRequest(limit=n, query=query, filter=where) for query in queries]
            )
        )
        scores = [{point.id: point.score for point in points} for points in answers]
        ids = set[Any]().union(*scores)
        if vector is not None:
            # Each query also scores what only the other has found: a few points, by their ids.
            for query, own in zip(queries, scores, strict=True):
                if missing := ids - own.keys():
                    own.update(score_of(self._shard, query, missing))
        return as_found(
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


def score_of(shard: "EdgeShard", query: Any, ids: set[Any]) -> dict[Any, float]:
    """What `query` gives to these points; those that it does not match are missing."""
    from qdrant_edge import Filter, HasIdCondition, QueryRequest

    where = Filter(must=[HasIdCondition(ids)])
    points = shard.query(QueryRequest(limit=len(ids), query=query, filter=where))
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
