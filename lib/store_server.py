"""The store on a Qdrant server or Qdrant Cloud: generations are collections behind one alias.

::

    <collection>                    alias: the published generation
    <collection>--<generation>      its points; the manifest is the collection's metadata

Needs Qdrant 1.16 or later, the first whose collections carry metadata.

How a collection on a Qdrant server keeps its vectors: the options for large books.

Quantised vectors stay in memory and choose the candidates; the vectors as they were sent then score
them, so a score means the same with and without.

The collections of a Qdrant server that are generations of an index.

::

    <collection>                    alias: the published generation
    <collection>--<generation>      its points; the manifest is the collection's metadata

One question to a Qdrant server: candidates by meaning and by words, scored by both.

Everything goes in one batch, so a question costs one way there and back.

A generation of the store on a Qdrant server while it is written.
"""

import asyncio
import importlib
import logging
import math
import re
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from lib.embedding import Vectors
from lib.errors import Conflict, IndexUnreadable, StoreUnavailable
from lib.languages import ENGLISH
from lib.runtime import SingleFlight
from lib.store import (
    DENSE,
    FILTERS,
    SPARSE,
    Candidates,
    FileRecord,
    GenerationBuilder,
    Ledger,
    Manifest,
    StoredChunk,
    check_dimension,
    generation_time,
    make_candidates,
    parse_manifest,
)
from lib.store_server_errors import OLDEST, TOO_OLD, translated
from lib.terms import SparseVector

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient, models
    from qdrant_client.models import Record, SearchParams


Quantization = Literal["none", "scalar", "binary"]
OVERSAMPLING = {"scalar": 2.0, "binary": 3.0}
"""So many times as many candidates are scored again as are asked for."""


@dataclass(frozen=True, slots=True)
class Layout:
    """`quantization`: 1 byte (scalar) or 1 bit (binary) a number beside the vectors' 4 bytes.

    `on_disk`: vectors, their graph, terms and payloads are read from the disk and cached, not held.
    """

    quantization: Quantization = "none"
    on_disk: bool = False

    def collection(self, dimension: int) -> dict[str, Any]:
        """The arguments of `create_collection` for vectors of so many numbers."""
        from qdrant_client.models import (
            Distance,
            HnswConfigDiff,
            Modifier,
            SparseIndexParams,
            SparseVectorParams,
            VectorParams,
        )

        dense = VectorParams(size=dimension, distance=Distance.COSINE)
        terms = SparseVectorParams(modifier=Modifier.IDF)
        others: dict[str, Any] = {}
        if self.on_disk:
            # Servers after 1.18 call this `memory`, but still take the name that all know.
            dense.on_disk = True
            terms.index = SparseIndexParams(on_disk=True)
            others = {"hnsw_config": HnswConfigDiff(on_disk=True), "on_disk_payload": True}
        if self.quantization != "none":
            others["quantization_config"] = self._quantization_config()
        return {
            "vectors_config": {DENSE: dense},
            "sparse_vectors_config": {SPARSE: terms},
            **others,
        }

    def search_params(self) -> "SearchParams | None":
        """For a query by meaning. A collection that was made without quantisation ignores them."""
        from qdrant_client.models import QuantizationSearchParams, SearchParams

        if self.quantization == "none":
            return None
        return SearchParams(
            quantization=QuantizationSearchParams(
                rescore=True, oversampling=OVERSAMPLING[self.quantization]
            )
        )

    def _quantization_config(self) -> Any:
        from qdrant_client.models import (
            BinaryQuantization,
            BinaryQuantizationConfig,
            ScalarQuantization,
            ScalarQuantizationConfig,
            ScalarType,
        )

        if self.quantization == "binary":
            return BinaryQuantization(binary=BinaryQuantizationConfig(always_ram=True))
        return ScalarQuantization(
            scalar=ScalarQuantizationConfig(type=ScalarType.INT8, quantile=0.99, always_ram=True)
        )


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


async def search_collection(
    client: "AsyncQdrantClient",
    collection: str,
    vector: Vectors | None,
    terms: SparseVector,
    n: int,
    only: Mapping[str, str],
    *,
    params: "models.SearchParams | None" = None,
) -> Candidates:
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
    return make_candidates(
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
        self._lenders: SingleFlight[dict[str, dict[str, str]]] = SingleFlight(self._find_lenders)

    async def reuse_vectors(self, content_hashes: Collection[str]) -> Mapping[str, Vectors]:
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

    async def copy_unchanged(self, without: Collection[str]) -> None:
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

    async def discard(self) -> None:
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


PROBE_TIMEOUT = 2.0
MANIFEST_SECONDS = 5.0
"""For so long another process's new generation may go unnoticed."""
ABANDONED = timedelta(days=7)
"""A generation that is neither published nor finished after so long was left by a killed run. To
embed a large book may take days."""
OTHER_VERSION = (
    "The index on the Qdrant server was made by another version of Quire and cannot be read. "
    "Ingest the book again."
)


class ServerStore:
    """Keeps generations on the server at `url`; the client is made, and imported, on first use."""

    def __init__(
        self,
        url: str,
        api_key: str,
        collection: str,
        *,
        grpc_port: int = 0,
        layout: Layout | None = None,
        client: "AsyncQdrantClient | None" = None,
    ) -> None:
        """`grpc_port` 0: everything over HTTP. `layout` is that of generations yet to be built."""
        self._url = url
        self._api_key = api_key
        self._alias = collection
        self._grpc_port = grpc_port
        self._layout = layout or Layout()
        self._given = client
        self._client = SingleFlight(self._connect)
        self._live: tuple[str, Manifest] | None = None
        self._asked_at = -math.inf

    async def open(self) -> None:
        client = await self._client.get()
        async with translated(client):
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
    ) -> Candidates:
        client = await self._client.get()
        try:
            async with translated(client):
                return await search_collection(
                    client,
                    self._alias,
                    vector,
                    terms,
                    n,
                    only or {},
                    params=self._layout.search_params(),
                )
        except msgspec.ValidationError:  # another version has just published
            self.forget()
            raise IndexUnreadable(OTHER_VERSION) from None

    async def ledger(self) -> Ledger:
        live = await self._current()
        if live is None:
            return {}
        client = await self._client.get()
        async with translated(client):
            metadata = (await client.get_collection(live[0])).config.metadata or {}
        try:
            ledger = msgspec.convert(metadata.get("files") or {}, Ledger)
            async for record in scroll(client, live[0], ["file_path", "file_hash", "content_hash"]):
                payload = record.payload or {}
                path, file_hash = payload["file_path"], payload["file_hash"]
                found = ledger.setdefault(path, FileRecord(file_hash=file_hash, chunks={}))
                found.chunks[str(record.id)] = payload["content_hash"]
        except (msgspec.ValidationError, KeyError):
            raise IndexUnreadable(OTHER_VERSION) from None
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
        # What another process has published in the last seconds is what the new one builds upon.
        self.forget()
        await self._check_alias(client)
        await check_version(client)
        return ServerBuilder(self, client, self._alias, generation, embedding_model, self._layout)

    async def reachable(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                client = await self._client.get()
                async with translated(client):
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
        async with translated(client):
            name = await published(client, self._alias)
        if name is None:
            self._live = None
        # What is published stays as it is, and with it may come megabytes of metadata.
        elif self._live is None or name != self._live[0]:
            self._live = (name, await self._manifest_of(name))
        self._asked_at = time.monotonic()
        return self._live

    async def _manifest_of(self, name: str) -> Manifest:
        """Raises `IndexUnreadable`, and `StoreUnavailable` for a collection that is not ours."""
        client = await self._client.get()
        async with translated(client):
            metadata = (await client.get_collection(name)).config.metadata or {}
        try:
            return parse_manifest(metadata.get("manifest"), OTHER_VERSION)
        except IndexUnreadable as error:
            if is_generation(name, self._alias):
                # Kept beside the manifest, too.
                model = metadata.get("embedding_model")
                error.embedding_model = model if isinstance(model, str) else None
                raise
            raise StoreUnavailable(
                f"The alias {self._alias} on the Qdrant server leads to a collection that "
                "Quire did not make. Choose another QDRANT_COLLECTION."
            ) from None

    async def _check_alias(self, client: "AsyncQdrantClient") -> None:
        """Raises `Conflict` or `StoreUnavailable` where somebody else has the alias or its name.

        Asked before anything is embedded: to publish would then fail, or take it from them.
        """
        async with translated(client):
            collections = (await client.get_collections()).collections
            live = await published(client, self._alias)
        if any(collection.name == self._alias for collection in collections):
            raise Conflict(
                f"The Qdrant server has a collection {self._alias} that Quire did not make. "
                "Choose another QDRANT_COLLECTION."
            )
        if live and not is_generation(live, self._alias):
            await self._manifest_of(live)

    async def _connect(self) -> "AsyncQdrantClient":
        if self._given is not None:
            return self._given
        # The import takes most of a second: not on the event loop.
        module = await asyncio.to_thread(importlib.import_module, "lib.store_server_client")
        client: AsyncQdrantClient = module.connect(self._url, self._api_key, self._grpc_port)
        return client


async def check_version(client: "AsyncQdrantClient") -> None:
    """Raises `StoreUnavailable` for a server that is too old; one that does not tell passes.

    Asked before anything is embedded: such a server would drop the manifest without a word.
    """
    told = ""
    with suppress(StoreUnavailable):
        async with translated(client):
            told = (await client.info()).version
    found = re.match(r"v?(\d+)\.(\d+)", told)
    oldest = tuple(int(part) for part in OLDEST.split("."))
    if found and (int(found[1]), int(found[2])) < oldest:
        raise StoreUnavailable(TOO_OLD)
