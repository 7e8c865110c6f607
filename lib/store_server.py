"""The store on a Qdrant server or Qdrant Cloud: generations are collections behind one alias.

::

    <collection>                    alias: the published generation
    <collection>--<generation>      its points; the manifest is the collection's metadata

Needs Qdrant 1.16 or later, the first whose collections carry metadata.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import numpy as np

from lib.embedding import Vectors
from lib.errors import StoreUnavailable
from lib.once import Once
from lib.store import DENSE, GenerationBuilder, Hit, Manifest, StoredChunk, generation_time

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient

TIMEOUT = 10  # seconds a request may take
PROBE_TIMEOUT = 2.0
SCROLL_LIMIT = 1_000
SEPARATOR = "--"
ABANDONED = timedelta(hours=6)
"""A generation that is neither published nor finished after so long was left by a killed run."""
DEFAULT_PORTS = {"http": 6333, "https": 6333}


class ServerStore:
    """Keeps generations on the server at `url`; the client is made, and imported, on first use."""

    def __init__(
        self, url: str, api_key: str, collection: str, *, client: "AsyncQdrantClient | None" = None
    ) -> None:
        self._url = url
        self._api_key = api_key
        self._alias = collection
        self._given = client
        self._client = Once(self._connect)

    async def open(self) -> None:
        client = await self._client.get()
        async with translated():
            await remove_others(client, self._alias, older_than=ABANDONED)

    async def manifest(self) -> Manifest | None:
        client = await self._client.get()
        live = await self._live(client)
        if live is None:
            return None
        async with translated():
            metadata = (await client.get_collection(live)).config.metadata or {}
        try:
            return msgspec.convert(metadata.get("manifest"), Manifest)
        except msgspec.ValidationError:
            raise StoreUnavailable(
                f"The collection {self._alias} on the Qdrant server was not made by this version. "
                "Choose another QDRANT_COLLECTION, or ingest with force_reindex."
            ) from None

    async def search(self, vector: Vectors, k: int, *, file_path: str | None = None) -> list[Hit]:
        from qdrant_client.models import FieldCondition, Filter, MatchValue

        client = await self._client.get()
        only = FieldCondition(key="file_path", match=MatchValue(value=file_path or ""))
        async with translated():
            found = await client.query_points(
                self._alias,
                query=vector.tolist(),
                using=DENSE,
                limit=k,
                query_filter=None if file_path is None else Filter(must=[only]),
                with_payload=True,
            )
        hits = [Hit(msgspec.convert(p.payload, StoredChunk), p.score) for p in found.points]
        return sorted(hits, key=lambda hit: (-hit.score, hit.chunk.chunk_id))

    async def known_vectors(self) -> Mapping[str, str]:
        client = await self._client.get()
        known: dict[str, str] = {}
        if await self._live(client) is None:
            return known
        offset: Any = None
        async with translated():
            while True:
                records, offset = await client.scroll(
                    self._alias,
                    limit=SCROLL_LIMIT,
                    offset=offset,
                    with_payload=["content_hash"],
                )
                known.update((r.payload["content_hash"], str(r.id)) for r in records if r.payload)
                if offset is None:
                    return known

    async def vectors(self, chunk_ids: Sequence[str]) -> Mapping[str, Vectors]:
        client = await self._client.get()
        async with translated():
            records = await client.retrieve(
                self._alias, list(chunk_ids), with_payload=False, with_vectors=True
            )
        return {
            str(r.id): np.array(r.vector[DENSE], dtype=np.float32)
            for r in records
            if isinstance(r.vector, dict)
        }

    async def build(self, generation: str, dimension: int) -> GenerationBuilder:
        from qdrant_client.models import Distance, PayloadSchemaType, VectorParams

        client = await self._client.get()
        name = f"{self._alias}{SEPARATOR}{generation}"
        async with translated():
            await client.create_collection(
                name,
                vectors_config={DENSE: VectorParams(size=dimension, distance=Distance.COSINE)},
            )
            # Before the data: strict mode refuses to filter on a field without an index.
            await client.create_payload_index(name, "file_path", PayloadSchemaType.KEYWORD)
        return ServerBuilder(client, self._alias, name)

    async def reachable(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT), translated():
                await (await self._client.get()).get_aliases()
        except (TimeoutError, StoreUnavailable):
            return False
        return True

    async def close(self) -> None:
        if self._client.value is not None:
            await self._client.value.close()

    async def _live(self, client: "AsyncQdrantClient") -> str | None:
        async with translated():
            aliases = (await client.get_aliases()).aliases
        return next((a.collection_name for a in aliases if a.alias_name == self._alias), None)

    async def _connect(self) -> "AsyncQdrantClient":
        if self._given is not None:
            return self._given
        # The import takes most of a second: not on the event loop.
        await asyncio.to_thread(__import__, "qdrant_client")
        from qdrant_client import AsyncQdrantClient

        parts = urlsplit(self._url)
        return AsyncQdrantClient(
            url=self._url,
            # The client would turn an explicit 443 into its own default.
            port=parts.port or DEFAULT_PORTS[parts.scheme],
            api_key=self._api_key or None,
            timeout=TIMEOUT,
            check_compatibility=False,  # it would ask, blocking, before the server is up
        )


class ServerBuilder:
    """Writes one generation into a collection of its own."""

    def __init__(self, client: "AsyncQdrantClient", alias: str, name: str) -> None:
        self._client = client
        self._alias = alias
        self._name = name

    async def add(self, chunks: Sequence[StoredChunk], vectors: Vectors) -> None:
        from qdrant_client.models import PointStruct

        async with translated():
            await self._client.upsert(
                self._name,
                [
                    PointStruct(
                        id=chunk.chunk_id,
                        vector={DENSE: vector.tolist()},
                        payload=msgspec.to_builtins(chunk),
                    )
                    for chunk, vector in zip(chunks, vectors, strict=True)
                ],
                wait=True,
            )

    async def publish(self, manifest: Manifest) -> None:
        from qdrant_client.models import (
            CreateAlias,
            CreateAliasOperation,
            DeleteAlias,
            DeleteAliasOperation,
        )

        client = self._client
        async with translated():
            await client.update_collection(
                self._name, metadata={"manifest": msgspec.to_builtins(manifest)}
            )
            aliases = (await client.get_aliases()).aliases
            old = [a.collection_name for a in aliases if a.alias_name == self._alias]
            create = CreateAlias(collection_name=self._name, alias_name=self._alias)
            delete = DeleteAlias(alias_name=self._alias)
            # One request, so one step for every reader.
            await client.update_collection_aliases(
                [DeleteAliasOperation(delete_alias=delete)] * bool(old)
                + [CreateAliasOperation(create_alias=create)]
            )
            await remove_others(client, self._alias)

    async def discard(self) -> None:
        async with translated():
            await self._client.delete_collection(self._name)


async def remove_others(
    client: "AsyncQdrantClient", alias: str, *, older_than: timedelta = timedelta(0)
) -> None:
    """Delete the generations of `alias` that are not published and `older_than` that."""
    live = {a.collection_name for a in (await client.get_aliases()).aliases}
    for collection in (await client.get_collections()).collections:
        name = collection.name
        began = generation_time(name.removeprefix(alias + SEPARATOR))
        if name not in live and began and datetime.now(UTC) - began >= older_than:
            await client.delete_collection(name)


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Turn whatever the client raises into `StoreUnavailable` with a sentence of our own."""
    import httpx
    from qdrant_client.common.client_exceptions import QdrantException
    from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

    try:
        yield
    except UnexpectedResponse as error:
        raise StoreUnavailable(sentence(error.status_code)) from None
    except (ApiException, QdrantException, httpx.HTTPError, ValueError, OSError):
        # ValueError: an answer that is no JSON, from a proxy or a wrong port.
        raise StoreUnavailable(sentence(None)) from None


def sentence(status: int | None) -> str:
    """What an HTTP status of the Qdrant server (None: no answer) means to the author."""
    match status:
        case None:
            return "The Qdrant server cannot be reached: check QDRANT_URL, its port included."
        case 401 | 403:
            return "The Qdrant server refuses the key: check QDRANT_API_KEY."
        case 404:
            return "The Qdrant server has no such collection; ingest to build it anew."
        case _:
            return f"The Qdrant server answered with the status {status}."
