"""A generation of the store on a Qdrant server while it is written."""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from lib.embedding import Vectors
from lib.errors import StoreUnavailable
from lib.once import Once
from lib.server_search import as_sparse
from lib.sparse import SparseVector
from lib.store import (
    DENSE,
    FILTERS,
    SPARSE,
    Ledger,
    Manifest,
    StoredChunk,
    check_dimension,
)
from lib.store_server_collections import (
    SEPARATOR,
    UPSERT_LIMIT,
    generations,
    published,
    remove_others,
    scroll,
    vectors_of,
    worth_telling,
)
from lib.store_server_errors import translated
from lib.store_server_layout import Layout

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient

    from lib.store_server import ServerStore

log = logging.getLogger(__name__)


class ServerBuilder:
    """Writes one generation into a collection of its own, made with the first vectors."""

    def __init__(
        self,
        store: "ServerStore",
        client: "AsyncQdrantClient",
        alias: str,
        generation: str,
        embedding_model: str,
        layout: Layout,
    ) -> None:
        self._store = store
        self._client = client
        self._alias = alias
        self._name = f"{alias}{SEPARATOR}{generation}"
        self._embedding_model = embedding_model
        self._layout = layout
        self.dimension = 0
        self._creating = asyncio.Lock()
        self._lenders: Once[dict[str, dict[str, str]]] = Once(self._find_lenders)

    async def lend(self, content_hashes: Collection[str]) -> Mapping[str, Vectors]:
        lent: dict[str, Vectors] = {}
        for name, known in (await self._lenders.get()).items():
            ids = {known[h]: h for h in content_hashes if h in known and h not in lent}
            if not ids:
                continue
            async with translated(self._client):
                records = await self._client.retrieve(
                    name, list(ids), with_payload=False, with_vectors=[DENSE]
                )
            for record in records:
                if isinstance(record.vector, dict) and DENSE in record.vector:
                    vector = np.array(record.vector[DENSE], dtype=np.float32)
                    lent[ids[str(record.id)]] = vector
        return lent

    async def inherit(self, without: Collection[str]) -> None:
        """The points travel through this process: a server has no copy of a collection to offer."""
        left_out = frozenset(without)
        async with translated(self._client):
            name = await published(self._client, self._alias)
        if name is None:
            return
        rows: list[tuple[StoredChunk, Vectors, SparseVector]] = []
        async for record in scroll(self._client, name, True, with_vectors=True):
            chunk = msgspec.convert(record.payload, StoredChunk)
            if chunk.file_path not in left_out:
                rows.append((chunk, *vectors_of(record)))
            if len(rows) == UPSERT_LIMIT:
                await self._add(rows)
                rows = []
        if rows:
            await self._add(rows)

    async def add(
        self, chunks: Sequence[StoredChunk], vectors: Vectors, terms: Sequence[SparseVector]
    ) -> None:
        await self._add(list(zip(chunks, vectors, terms, strict=True)))

    async def _add(self, rows: Sequence[tuple[StoredChunk, Vectors, SparseVector]]) -> None:
        from qdrant_client.models import PointStruct

        dimension = len(rows[0][1])
        async with self._creating, translated(self._client):  # the first batches may come at once
            if not self.dimension:
                await self._create(dimension)
        check_dimension(dimension, self.dimension)
        points = [
            PointStruct(
                id=chunk.chunk_id,
                vector={DENSE: vector.tolist(), SPARSE: as_sparse(terms)},
                payload=msgspec.to_builtins(chunk),
            )
            for chunk, vector, terms in rows
        ]
        async with translated(self._client):
            for start in range(0, len(points), UPSERT_LIMIT):
                await self._client.upsert(
                    self._name, points[start : start + UPSERT_LIMIT], wait=True
                )

    async def publish(self, manifest: Manifest, ledger: Ledger) -> None:
        from qdrant_client.models import (
            CreateAlias,
            CreateAliasOperation,
            DeleteAlias,
            DeleteAliasOperation,
        )

        client = self._client
        async with translated(self._client):
            await client.update_collection(
                self._name,
                metadata={
                    "manifest": msgspec.to_builtins(manifest),
                    # What the points themselves do not tell; the rest is read off them.
                    "files": {
                        path: msgspec.to_builtins(msgspec.structs.replace(record, chunks={}))
                        for path, record in ledger.items()
                        if worth_telling(record)
                    },
                },
            )
            create = CreateAlias(collection_name=self._name, alias_name=self._alias)
            switch: list[Any] = [CreateAliasOperation(create_alias=create)]
            if await published(client, self._alias):
                delete = DeleteAlias(alias_name=self._alias)
                switch.insert(0, DeleteAliasOperation(delete_alias=delete))
            # One request, so one step for every reader.
            await client.update_collection_aliases(switch)
        self._store.forget()
        try:
            async with translated(self._client):
                await remove_others(client, self._alias)
        except StoreUnavailable as error:
            # Readers have the new index; the next start removes what it replaced.
            log.warning("what the new index replaces was not removed: %s", error.message)

    async def abandon(self) -> None:
        """Nothing to do: the collection lends its vectors until the next one is published."""

    async def _create(self, dimension: int) -> None:
        from qdrant_client.models import PayloadSchemaType

        await self._client.create_collection(
            self._name,
            metadata={"embedding_model": self._embedding_model},
            **self._layout.collection(dimension),
        )
        for field in FILTERS:
            # Before the data: strict mode refuses to filter on a field without an index.
            await self._client.create_payload_index(self._name, field, PayloadSchemaType.KEYWORD)
        self.dimension = dimension

    async def _find_lenders(self) -> dict[str, dict[str, str]]:
        """By collection of the same model, the chunk id of each content hash."""
        lenders = {}
        async with translated(self._client):
            for name in sorted(await generations(self._client, self._alias), reverse=True):
                metadata = (await self._client.get_collection(name)).config.metadata or {}
                if name != self._name and metadata.get("embedding_model") == self._embedding_model:
                    lenders[name] = {
                        record.payload["content_hash"]: str(record.id)
                        async for record in scroll(self._client, name, ["content_hash"])
                        # An older version may have kept something else.
                        if record.payload and "content_hash" in record.payload
                    }
        return lenders
