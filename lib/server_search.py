"""One question to a Qdrant server: candidates by meaning and by words, scored by both.

Everything goes in one batch, so a question costs one way there and back.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from lib.embedding import Vectors
from lib.sparse import SparseVector
from lib.store import DENSE, SPARSE, Found, StoredChunk, as_found

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient, models


async def search_collection(
    client: "AsyncQdrantClient",
    collection: str,
    vector: Vectors | None,
    terms: SparseVector,
    n: int,
    only: Mapping[str, str],
    *,
    params: "models.SearchParams | None" = None,
) -> Found:
    """As `lib.store.Store.search`; `params` are for what is found by meaning.

    Raises what the client raises, and `msgspec.ValidationError` for points of another form.
    """
    from qdrant_client import models

    queries: list[tuple[str, Any]] = [(SPARSE, as_sparse(terms))]
    if vector is not None:
        queries.append((DENSE, vector.tolist()))
    where = condition(only)
    params_of = {DENSE: params}
    union = [
        models.Prefetch(
            limit=n, query=query, using=using, filter=where, params=params_of.get(using)
        )
        for using, query in queries
    ]
    requests = [
        models.QueryRequest(
            limit=n * len(queries),
            query=query,
            using=using,
            prefetch=union,
            params=params_of.get(using),
            # Both answers hold the same chunks, but for those without any of the terms.
            with_payload=using == queries[-1][0],
        )
        for using, query in queries
    ]
    answers = await client.query_batch_points(
        collection, requests + [best_with(term) for term in terms.indices]
    )
    scored = [answer.points for answer in answers[: len(queries)]]
    best = [answer.points for answer in answers[len(queries) :]]
    return as_found(
        {str(point.id): msgspec.convert(point.payload, StoredChunk) for point in scored[-1]},
        bm25={str(point.id): point.score for point in scored[0]},
        cosine={str(point.id): point.score for points in scored[1:] for point in points},
        rarity={
            term: point.score / weight_in(point, term)
            for term, points in zip(terms.indices, best, strict=True)
            for point in points
        },
    )


def best_with(term: int) -> "models.QueryRequest":
    """The chunk that one term alone finds: its score, over the term's weight in it, is the IDF."""
    from qdrant_client import models

    return models.QueryRequest(
        limit=1,
        query=as_sparse(SparseVector([term], [1.0])),
        using=SPARSE,
        with_vector=[SPARSE],
    )


def weight_in(point: "models.ScoredPoint", term: int) -> float:
    vectors: Any = point.vector
    weights = vectors[SPARSE]
    weight: float = weights.values[weights.indices.index(term)]
    return weight


def as_sparse(weights: SparseVector) -> "models.SparseVector":
    from qdrant_client import models

    return models.SparseVector(indices=weights.indices, values=weights.values)


def condition(only: Mapping[str, str]) -> "models.Filter | None":
    """The condition that payload fields have these values."""
    from qdrant_client import models

    if not only:
        return None
    return models.Filter(
        must=[
            models.FieldCondition(key=field, match=models.MatchValue(value=value))
            for field, value in only.items()
        ]
    )
