"""The store on a Qdrant server or Qdrant Cloud: generations are collections behind one alias.

::

    <collection>                    alias: the published generation
    <collection>--<generation>      its points; the manifest is the collection's metadata

Needs Qdrant 1.16 or later, the first whose collections carry metadata.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import numpy as np

from lib.embedding import Vectors
from lib.errors import Conflict, StoreUnavailable
from lib.once import Once
from lib.server_search import as_sparse, search_collection
from lib.sparse import SparseVector
from lib.store import (
    DENSE,
    FILTERS,
    SPARSE,
    FileRecord,
    Found,
    GenerationBuilder,
    Ledger,
    Manifest,
    StoredChunk,
    check_dimension,
    generation_time,
)
from lib.terms import ENGLISH

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient
    from qdrant_client.models import Record

log = logging.getLogger(__name__)

TIMEOUT = 10  # seconds a request may take
PROBE_TIMEOUT = 2.0
SCROLL_LIMIT = 2_000
UPSERT_LIMIT = 200
"""Points with vectors in one request: some megabytes, well under a server's limit."""
MANIFEST_SECONDS = 5.0
"""For so long another process's new generation may go unnoticed."""
SEPARATOR = "--"
ABANDONED = timedelta(hours=6)
"""A generation that is neither published nor finished after so long was left by a killed run."""
DEFAULT_PORT = 6333


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
        self._live: tuple[str, Manifest] | None = None
        self._asked_at = -math.inf

    async def open(self) -> None:
        client = await self._client.get()
        async with translated():
            await remove_others(client, self._alias, older_than=ABANDONED)

    async def manifest(self) -> Manifest | None:
        live = await self._current()
        return live[1] if live else None

    async def search(
        self,
        vector: Vectors | None,
        terms: SparseVector,
        n: int,
        *,
        only: Mapping[str, str] | None = None,
    ) -> Found:
        client = await self._client.get()
        async with translated():
            return await search_collection(client, self._alias, vector, terms, n, only or {})

    async def ledger(self) -> Ledger:
        live = await self._current()
        if live is None:
            return {}
        client = await self._client.get()
        async with translated():
            metadata = (await client.get_collection(live[0])).config.metadata or {}
        ledger = msgspec.convert(metadata.get("files") or {}, Ledger)
        async for record in scroll(client, live[0], ["file_path", "file_hash", "content_hash"]):
            payload = record.payload or {}
            path = payload["file_path"]
            found = ledger.setdefault(path, FileRecord(file_hash=payload["file_hash"], chunks={}))
            found.chunks[str(record.id)] = payload["content_hash"]
        return ledger

    async def urls(self) -> set[str]:
        if await self._current() is None:
            return set()
        client = await self._client.get()
        urls = {
            (record.payload or {}).get("url")
            async for record in scroll(client, self._alias, ["url"])
        }
        return {url for url in urls if url}

    async def build(self, generation: str, embedding_model: str) -> GenerationBuilder:
        client = await self._client.get()
        async with translated():
            collections = (await client.get_collections()).collections
        # No alias can have its name: known now, not when all has been embedded.
        if any(collection.name == self._alias for collection in collections):
            raise Conflict(
                f"The Qdrant server has a collection {self._alias} that Quire did not make. "
                "Choose another QDRANT_COLLECTION."
            )
        return ServerBuilder(self, client, self._alias, generation, embedding_model)

    async def reachable(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                client = await self._client.get()
                async with translated():
                    await client.get_aliases()
        except (TimeoutError, StoreUnavailable):
            return False
        return True

    async def close(self) -> None:
        if self._client.value is not None:
            await self._client.value.close()

    def forget(self) -> None:
        """Ask the server anew which generation is published."""
        self._asked_at = -math.inf

    async def _current(self) -> tuple[str, Manifest] | None:
        """The published collection and its manifest, asked for once in `MANIFEST_SECONDS`."""
        if time.monotonic() - self._asked_at < MANIFEST_SECONDS:
            return self._live
        client = await self._client.get()
        async with translated():
            name = await published(client, self._alias)
            info = await client.get_collection(name) if name else None
        if name is None or info is None:
            self._live = None
        else:
            metadata = info.config.metadata or {}
            try:
                self._live = (name, msgspec.convert(metadata.get("manifest"), Manifest))
            except msgspec.ValidationError:
                raise StoreUnavailable(
                    f"The collection {self._alias} on the Qdrant server was not made by this "
                    "version of Quire. Ingest with force_reindex (--force in the shell), or "
                    "choose another QDRANT_COLLECTION."
                ) from None
        self._asked_at = time.monotonic()
        return self._live

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
            port=parts.port or DEFAULT_PORT,
            api_key=self._api_key or None,
            timeout=TIMEOUT,
            check_compatibility=False,  # it would ask, blocking, before the server is up
        )


class ServerBuilder:
    """Writes one generation into a collection of its own, made with the first vectors."""

    def __init__(
        self,
        store: ServerStore,
        client: "AsyncQdrantClient",
        alias: str,
        generation: str,
        embedding_model: str,
    ) -> None:
        self._store = store
        self._client = client
        self._alias = alias
        self._name = f"{alias}{SEPARATOR}{generation}"
        self._embedding_model = embedding_model
        self.dimension = 0
        self._creating = asyncio.Lock()
        self._lenders: Once[dict[str, dict[str, str]]] = Once(self._find_lenders)

    async def lend(self, content_hashes: Collection[str]) -> Mapping[str, Vectors]:
        lent: dict[str, Vectors] = {}
        for name, known in (await self._lenders.get()).items():
            ids = {known[h]: h for h in content_hashes if h in known and h not in lent}
            if not ids:
                continue
            async with translated():
                records = await self._client.retrieve(
                    name, list(ids), with_payload=False, with_vectors=[DENSE]
                )
            for record in records:
                if isinstance(record.vector, dict):
                    vector = np.array(record.vector[DENSE], dtype=np.float32)
                    lent[ids[str(record.id)]] = vector
        return lent

    async def inherit(self, without: Collection[str]) -> None:
        """The points travel through this process: a server has no copy of a collection to offer."""
        left_out = frozenset(without)
        async with translated():
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
        async with self._creating, translated():  # the first batches may come at once
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
        async with translated():
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
        async with translated():
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
            async with translated():
                await remove_others(client, self._alias)
        except StoreUnavailable as error:
            # Readers have the new index; the next start removes what it replaced.
            log.warning("what the new index replaces was not removed: %s", error.message)

    async def abandon(self) -> None:
        """Nothing to do: the collection lends its vectors until the next one is published."""

    async def _create(self, dimension: int) -> None:
        from qdrant_client.models import (
            Distance,
            Modifier,
            PayloadSchemaType,
            SparseVectorParams,
            VectorParams,
        )

        await self._client.create_collection(
            self._name,
            vectors_config={DENSE: VectorParams(size=dimension, distance=Distance.COSINE)},
            sparse_vectors_config={SPARSE: SparseVectorParams(modifier=Modifier.IDF)},
            metadata={"embedding_model": self._embedding_model},
        )
        for field in FILTERS:
            # Before the data: strict mode refuses to filter on a field without an index.
            await self._client.create_payload_index(self._name, field, PayloadSchemaType.KEYWORD)
        self.dimension = dimension

    async def _find_lenders(self) -> dict[str, dict[str, str]]:
        """By collection of the same model, the chunk id of each content hash."""
        lenders = {}
        async with translated():
            for name in sorted(await generations(self._client, self._alias), reverse=True):
                metadata = (await self._client.get_collection(name)).config.metadata or {}
                if name != self._name and metadata.get("embedding_model") == self._embedding_model:
                    lenders[name] = {
                        record.payload["content_hash"]: str(record.id)
                        async for record in scroll(self._client, name, ["content_hash"])
                        if record.payload
                    }
        return lenders


async def published(client: "AsyncQdrantClient", alias: str) -> str | None:
    """The collection behind the alias."""
    aliases = (await client.get_aliases()).aliases
    return next((a.collection_name for a in aliases if a.alias_name == alias), None)


async def generations(client: "AsyncQdrantClient", alias: str) -> list[str]:
    """The collections that are generations of `alias`, published or not."""
    names = (collection.name for collection in (await client.get_collections()).collections)
    return [
        name
        for name in names
        if name.startswith(alias + SEPARATOR)
        and generation_time(name.removeprefix(alias + SEPARATOR))
    ]


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
        async with translated():
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
    """
    live = await published(client, alias)
    for name in await generations(client, alias):
        began = generation_time(name.removeprefix(alias + SEPARATOR))
        old = began is not None and datetime.now(UTC) - began >= older_than
        if name != live and (old or (live and name < live)):
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


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Turn whatever the client raises into `StoreUnavailable` with a sentence of our own.

    Only where there is a client: these imports, while a thread still imports the package, would
    make the two wait for each other.
    """
    import httpx
    from qdrant_client.common.client_exceptions import QdrantException
    from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

    try:
        yield
    except UnexpectedResponse as error:
        raise StoreUnavailable(sentence(error.status_code)) from None
    except QdrantException:  # the client's only one: a 429 with a Retry-After
        raise StoreUnavailable(sentence(429)) from None
    except (ApiException, httpx.HTTPError, ValueError, OSError, AssertionError):
        # ValueError and AssertionError: an answer that is none of Qdrant's, from a proxy or a
        # wrong port.
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
        case 429:
            return "The Qdrant server takes no more requests for now; try again later."
        case _:
            return f"The Qdrant server answered with the status {status}."
