"""The collections of a Qdrant server that are generations of an index.

::

    <collection>                    alias: the published generation
    <collection>--<generation>      its points; the manifest is the collection's metadata
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.embedding import Vectors
from lib.sparse import SparseVector
from lib.store import DENSE, SPARSE, FileRecord, generation_time
from lib.store_server_errors import translated
from lib.terms import ENGLISH

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient
    from qdrant_client.models import Record

SCROLL_LIMIT = 2_000
UPSERT_LIMIT = 200
"""Points with vectors in one request: some megabytes, well under a server's limit."""
SEPARATOR = "--"


async def published(client: "AsyncQdrantClient", alias: str) -> str | None:
    """The collection behind the alias."""
    return (await aliases(client)).get(alias)


async def aliases(client: "AsyncQdrantClient") -> dict[str, str]:
    """The collection behind each alias of the server."""
    found = (await client.get_aliases()).aliases
    return {each.alias_name: each.collection_name for each in found}


async def generations(client: "AsyncQdrantClient", alias: str) -> list[str]:
    """The collections that are generations of `alias`, published or not."""
    names = (collection.name for collection in (await client.get_collections()).collections)
    return [name for name in names if is_generation(name, alias)]


def is_generation(name: str, alias: str) -> bool:
    """Whether Quire gave a collection its name."""
    prefix = alias + SEPARATOR
    return name.startswith(prefix) and generation_time(name.removeprefix(prefix)) is not None


async def scroll(
    client: "AsyncQdrantClient",
    name: str,
    payload: list[str] | bool,
    *,
    with_vectors: bool = False,
) -> "AsyncIterator[Record]":
    """Every point of a collection."""
    offset: Any = None
    while True:
        async with translated(client):
            records, offset = await client.scroll(
                name,
                limit=UPSERT_LIMIT if with_vectors else SCROLL_LIMIT,
                offset=offset,
                with_payload=payload,
                with_vectors=with_vectors,
            )
        for record in records:
            yield record
        if offset is None:
            return


async def remove_others(
    client: "AsyncQdrantClient", alias: str, *, older_than: timedelta = timedelta(0)
) -> None:
    """Delete the generations of `alias` that are not published: those of before, and so old ones.

    Those of before the published one are left where its process was killed while it cleaned up.
    What somebody has given another alias stays.
    """
    led_to = await aliases(client)
    live = led_to.get(alias)
    for name in await generations(client, alias):
        began = generation_time(name.removeprefix(alias + SEPARATOR))
        old = began is not None and datetime.now(UTC) - began >= older_than
        if name not in led_to.values() and (old or (live and name < live)):
            await client.delete_collection(name)


def worth_telling(record: FileRecord) -> bool:
    """Whether the points of a file do not tell all of its record."""
    return bool(record.includes or record.problems or not record.chunks) or (
        record.language != ENGLISH
    )


def vectors_of(record: "Record") -> tuple[Vectors, SparseVector]:
    vectors: Any = record.vector
    terms = vectors[SPARSE]
    return np.array(vectors[DENSE], dtype=np.float32), SparseVector(terms.indices, terms.values)
