"""One question to the embedded engine: candidates by meaning and by words, scored by both."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lib.embedding import Vectors
from lib.sparse import SparseVector
from lib.store import DENSE, SPARSE, Found, as_found

if TYPE_CHECKING:
    import qdrant_edge
    from qdrant_edge import EdgeShard, Filter, QueryRequest


def search_shard(
    shard: "EdgeShard",
    vector: Vectors | None,
    terms: SparseVector,
    n: int,
    only: Mapping[str, str],
) -> Found:
    """As `lib.store.Store.search`. Blocks, and the engine holds the interpreter meanwhile: for a
    millisecond or so up to 20,000 chunks, since it compares the vector with each of them."""
    from qdrant_edge import Query, QueryBatchRequest, QueryRequest

    queries = [Query.Nearest(as_sparse(terms), using=SPARSE)]
    if vector is not None:
        queries.append(Query.Nearest(vector.tolist(), using=DENSE))
    where = condition(only)
    answers = shard.query_batch(
        QueryBatchRequest(
            [
                QueryRequest(limit=n, query=query, filter=where, with_payload=True)
                for query in queries
            ]
            + [best_with(term) for term in terms.indices]
        )
    )
    scored, best = answers[: len(queries)], answers[len(queries) :]
    payloads: dict[Any, Any] = {}
    scores: list[dict[Any, float]] = []
    for points in scored:
        payloads.update((point.id, point.payload) for point in points)
        scores.append({point.id: point.score for point in points})
    if vector is not None:
        # Each query also scores what only the other has found: a few points, looked up by id.
        for query, own in zip(queries, scores, strict=True):
            if missing := payloads.keys() - own.keys():
                own.update(score_of(shard, query, missing))
    return as_found(
        payloads,
        bm25=scores[0],
        cosine=scores[1] if vector is not None else {},
        rarity={
            term: point.score / weight_in(point, term)
            for term, points in zip(terms.indices, best, strict=True)
            for point in points
        },
    )


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
