"""The files of one generation of the embedded store: Qdrant's segments."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.errors import StoreUnavailable
from lib.store import DENSE, SPARSE

if TYPE_CHECKING:
    from qdrant_edge import EdgeShard

SCROLL_LIMIT = 5_000
DAMAGED = (
    "The index cannot be read: its files are damaged. Ingest with force_reindex "
    "(--force in the shell)."
)


def create_shard(path: Path, dimension: int) -> "EdgeShard":
    from qdrant_edge import (
        Distance,
        EdgeConfig,
        EdgeShard,
        EdgeSparseVectorParams,
        EdgeVectorParams,
        Modifier,
    )

    (path / "shard").mkdir()
    config = EdgeConfig(
        # Read as needed, and as fast: else 32 MB are taken at once, however few the vectors.
        vectors={DENSE: EdgeVectorParams(size=dimension, distance=Distance.Cosine, on_disk=True)},
        sparse_vectors={SPARSE: EdgeSparseVectorParams(modifier=Modifier.Idf)},
        wal_enabled=False,
        # The one segment is searched by one thread anyway; more of them only wait for each other.
        max_search_threads=1,
    )
    return EdgeShard.create(str(path / "shard"), config)


def open_shard(path: Path) -> "EdgeShard":
    """Raises `StoreUnavailable` for one that the engine cannot read."""
    from qdrant_edge import EdgeShard

    try:
        return EdgeShard.load(str(path / "shard"))
    except Exception as error:  # the engine raises nothing more specific
        raise StoreUnavailable(DAMAGED) from error


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
