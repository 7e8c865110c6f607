"""The store on a Qdrant server or Qdrant Cloud: generations are collections behind one alias.

::

    <collection>                    alias: the published generation
    <collection>--<generation>      its points; the manifest is the collection's metadata

Needs Qdrant 1.16 or later, the first release whose collections have metadata.
"""

import asyncio
import importlib
import logging
import math
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np

from lib.embedding import Vectors
from lib.errors import Conflict, IndexUnreadable, StoreUnavailable
from lib.languages import ENGLISH
from lib.runtime import SingleFlight
from lib.settings import Quantization
from lib.store import (
    DENSE,
    FILTERS,
    SCROLL_LIMIT,
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
    payload_filter,
    sparse_vector,
    term_idf,
)
from lib.store_server_errors import OLDEST_VERSION, TOO_OLD, translate_qdrant_errors
from lib.terms import SparseVector

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient, models

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_OVERSAMPLING = {"scalar": 2.0, "binary": 3.0}
"""Candidates compared exactly per requested hit."""
_UPSERT_LIMIT = 200
"""Points with vectors in one request: some megabytes, well below a server's limit."""
_SEPARATOR = "--"
_INDEXING_SECONDS = 600.0
"""Longest wait for the server's optimizer before publication."""
_FIRST_POLL_PAUSE = 0.1
_LONGEST_POLL_PAUSE = 5.0
_PROBE_SECONDS = 2.0
_MANIFEST_SECONDS = 5.0
"""Maximum delay before another process's new generation is noticed."""
_ABANDONED_AFTER = timedelta(days=7)
"""Age of an unpublished generation that a killed run must have left. A large book may take days."""
_OTHER_VERSION = (
    "The index on the Qdrant server was made by another version of Quire and cannot be read. "
    "Ingest the book again."
)
_OVERTAKEN = (
    "Another process published an index while this one was building; its index stays. Ingest again "
    "if the content has changed since."
)


@dataclass(frozen=True, slots=True)
class _Limits:
    """Sizes of requests that a collection's strict mode accepts."""

    points: int = SCROLL_LIMIT
    ids: int = SCROLL_LIMIT
    """Ids in one filter."""
    searches: int = SCROLL_LIMIT
    """Queries in one batch."""
    upsert: int = _UPSERT_LIMIT
    oversampling: float = math.inf


async def _read_limits(client: "AsyncQdrantClient", name: str) -> _Limits:
    strict = (await client.get_collection(name)).config.strict_mode_config
    if strict is None or not strict.enabled:
        return _Limits()
    return _Limits(
        points=min(SCROLL_LIMIT, strict.max_query_limit or SCROLL_LIMIT),
        ids=min(SCROLL_LIMIT, strict.condition_max_size or SCROLL_LIMIT),
        searches=min(SCROLL_LIMIT, strict.search_max_batchsize or SCROLL_LIMIT),
        upsert=min(_UPSERT_LIMIT, strict.upsert_max_batchsize or _UPSERT_LIMIT),
        oversampling=strict.search_max_oversampling or math.inf,
    )


@dataclass(frozen=True, slots=True)
class _Collections:
    """The client, with the limits of each collection once its strict mode has refused a request."""

    client: "AsyncQdrantClient"
    alias: str
    limits: dict[str, _Limits] = field(default_factory=dict)

    async def call(self, name: str, request: Callable[[_Limits], Awaitable[_T]]) -> _T:
        """Send `request`; again after reading the limits if it exceeds one. Raises as `Store`."""
        known = self.limits.get(name, _Limits())
        try:
            async with translate_qdrant_errors(self.client, self.alias):
                return await request(known)
        except StoreUnavailable as error:
            if "setting" not in error.details:
                raise
            async with translate_qdrant_errors(self.client, self.alias):
                found = self.limits[name] = await _read_limits(self.client, name)
            if found == known:
                raise
        async with translate_qdrant_errors(self.client, self.alias):
            return await request(found)


@dataclass(frozen=True, slots=True)
class Layout:
    """Storage options of a collection, for large books.

    `quantization` adds 1 byte (scalar) or 1 bit (binary) per number to the vectors' 4 bytes. The
    quantised vectors stay in memory and select candidates; the full vectors then score them, so
    scores do not depend on it. With `on_disk`, vectors, graph, terms and payloads are read from
    disk and cached instead of kept in memory.
    """

    quantization: Quantization = "none"
    on_disk: bool = False

    def collection(self, dimension: int) -> dict[str, Any]:
        """The arguments of `create_collection`."""
        from qdrant_client import models

        dense = models.VectorParams(size=dimension, distance=models.Distance.COSINE)
        terms = models.SparseVectorParams(modifier=models.Modifier.IDF)
        others: dict[str, Any] = {}
        if self.on_disk:
            # Renamed to `memory` after 1.18; newer servers still accept this name.
            dense.on_disk = True
            terms.index = models.SparseIndexParams(on_disk=True)
            others = {"hnsw_config": models.HnswConfigDiff(on_disk=True), "on_disk_payload": True}
        if self.quantization == "binary":
            others["quantization_config"] = models.BinaryQuantization(
                binary=models.BinaryQuantizationConfig(always_ram=True)
            )
        elif self.quantization == "scalar":
            others["quantization_config"] = models.ScalarQuantization(
                scalar=models.ScalarQuantizationConfig(
                    type=models.ScalarType.INT8, quantile=0.99, always_ram=True
                )
            )
        return {
            "vectors_config": {DENSE: dense},
            "sparse_vectors_config": {SPARSE: terms},
            **others,
        }

    def search_params(self, most: float) -> "models.SearchParams | None":
        """Parameters of a dense query; a collection without quantisation ignores them.

        `most` limits the oversampling.
        """
        from qdrant_client import models

        if self.quantization == "none":
            return None
        oversampling = min(_OVERSAMPLING[self.quantization], most)
        rescored = models.QuantizationSearchParams(rescore=True, oversampling=oversampling)
        return models.SearchParams(quantization=rescored)


async def _collections_by_alias(client: "AsyncQdrantClient") -> dict[str, str]:
    aliases = (await client.get_aliases()).aliases
    return {each.alias_name: each.collection_name for each in aliases}


async def _generations(client: "AsyncQdrantClient", alias: str) -> list[str]:
    """The collections that are generations of `alias`, published or not."""
    names = (collection.name for collection in (await client.get_collections()).collections)
    return [name for name in names if _is_generation(name, alias)]


def _is_generation(name: str, alias: str) -> bool:
    """Whether a collection's name is one that Quire gives."""
    prefix = alias + _SEPARATOR
    return name.startswith(prefix) and generation_time(name.removeprefix(prefix)) is not None


async def _scroll(
    collections: _Collections, name: str, payload: list[str] | bool, *, with_vectors: bool = False
) -> "AsyncIterator[models.Record]":
    """All points of a collection."""
    offset: Any = None

    async def page(limits: _Limits) -> "tuple[list[models.Record], Any]":
        return await collections.client.scroll(
            name,
            limit=min(limits.points, _UPSERT_LIMIT if with_vectors else SCROLL_LIMIT),
            offset=offset,
            with_payload=payload,
            with_vectors=with_vectors,
        )

    while True:
        records, offset = await collections.call(name, page)
        for record in records:
            yield record
        if offset is None:
            return


async def _delete_others(
    client: "AsyncQdrantClient", alias: str, *, older_than: timedelta = timedelta(0)
) -> None:
    """Delete the unpublished generations of `alias`: those of at least this age, and replaced ones.

    A process killed during this clean-up leaves replaced ones. Generations behind another alias
    stay.
    """
    by_alias = await _collections_by_alias(client)
    live = by_alias.get(alias)
    for name in await _generations(client, alias):
        started = generation_time(name.removeprefix(alias + _SEPARATOR))
        old = started is not None and datetime.now(UTC) - started >= older_than
        if name not in by_alias.values() and (old or (live and name < live)):
            await client.delete_collection(name)


def _needs_metadata(record: FileRecord) -> bool:
    """Whether a file's record cannot be restored from its points alone."""
    usual = record.chunks and record.language == ENGLISH
    return bool(record.includes or record.problems or not usual)


def _vectors_of(record: "models.Record") -> tuple[Vectors, SparseVector]:
    vectors: Any = record.vector
    terms = vectors[SPARSE]
    return np.array(vectors[DENSE], dtype=np.float32), SparseVector(terms.indices, terms.values)


async def _search_collection(
    client: "AsyncQdrantClient",
    collection: str,
    vector: Vectors | None,
    terms: SparseVector,
    n: int,
    only: Mapping[str, str],
    *,
    limits: _Limits,
    params: "models.SearchParams | None",
) -> Candidates:
    """As `lib.store.Store.search`, in one batch request; `params` are for the dense query.

    If the union of both queries exceeds `limits`, page through each query and then score the found
    ids, because a prefetch has no offset.

    Raises the client's errors, and `msgspec.ValidationError` for payloads of another version.
    """
    from qdrant_client import models

    queries: dict[str, Any] = {SPARSE: sparse_vector(models, terms)}
    if vector is not None:
        queries[DENSE] = vector.tolist()
    where = payload_filter(models, only)

    def common(using: str) -> dict[str, Any]:
        chosen = params if using == DENSE else None
        return {"query": queries[using], "using": using, "params": chosen}

    async def run(batch: "list[models.QueryRequest]") -> "list[list[models.ScoredPoint]]":
        parts = [batch[at : at + limits.searches] for at in range(0, len(batch), limits.searches)]
        answers = [await client.query_batch_points(collection, part) for part in parts]
        return [answer.points for part in answers for answer in part]

    def scoring(limit: int, **restricted: Any) -> "list[models.QueryRequest]":
        # The dense answer holds all chunks; the sparse one lacks those without any term.
        return [
            models.QueryRequest(
                limit=limit, with_payload=using == [*queries][-1], **common(using), **restricted
            )
            for using in queries
        ]

    for_idf = [
        models.QueryRequest(
            limit=1,
            query=sparse_vector(models, SparseVector([term], [1.0])),
            using=SPARSE,
            with_vector=[SPARSE],
        )
        for term in terms.indices
    ]
    if n * len(queries) <= limits.points:
        union = [models.Prefetch(limit=n, filter=where, **common(using)) for using in queries]
        first = scoring(n * len(queries), prefetch=union)
        answers = await run(first + for_idf)
        scored, best = answers[: len(first)], answers[len(first) :]
    else:
        pages = [
            models.QueryRequest(
                limit=min(limits.points, n - at), offset=at, filter=where, **common(using)
            )
            for using in queries
            for at in range(0, n, limits.points)
        ]
        answers = await run(pages + for_idf)
        best = answers[len(pages) :]
        ids = list({point.id: None for points in answers[: len(pages)] for point in points})
        size = min(limits.points, limits.ids)
        scored = await run(
            [
                request
                for at in range(0, len(ids), size)
                for request in scoring(
                    size,
                    filter=models.Filter(must=[models.HasIdCondition(has_id=ids[at : at + size])]),
                )
            ]
        )
    of_kind = {
        using: [point for points in scored[place :: len(queries)] for point in points]
        for place, using in enumerate(queries)
    }
    idfs = {term: term_idf(term, points) for term, points in zip(terms.indices, best, strict=True)}
    return make_candidates(
        {
            str(point.id): msgspec.convert(point.payload, StoredChunk)
            for point in of_kind[[*queries][-1]]
        },
        bm25={str(point.id): point.score for point in of_kind[SPARSE]},
        cosine={str(point.id): point.score for point in of_kind.get(DENSE, [])},
        rarity={term: idf for term, idf in idfs.items() if idf is not None},
    )


@dataclass(eq=False)
class _ServerBuilder:
    """Writes one generation into its own collection, which is created with the first vectors."""

    _store: "ServerStore"
    _collections: _Collections
    _alias: str
    _name: str
    _embedding_model: str
    _layout: Layout
    _replaced: str | None
    """The collection that was published when the build began."""
    dimension: int = 0
    _creating: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self._client = self._collections.client
        self._sources = SingleFlight(self._find_sources)

    async def reuse_vectors(self, content_hashes: Collection[str]) -> Mapping[str, Vectors]:
        reused: dict[str, Vectors] = {}
        for name, known in (await self._sources.get()).items():
            ids = {known[h]: h for h in content_hashes if h in known and h not in reused}
            if not ids:
                continue
            async with self._building():
                records = await self._client.retrieve(
                    name, list(ids), with_payload=False, with_vectors=[DENSE]
                )
            for record in records:
                if isinstance(record.vector, dict) and DENSE in record.vector:
                    vector = np.array(record.vector[DENSE], dtype=np.float32)
                    reused[ids[str(record.id)]] = vector
        return reused

    async def copy_unchanged(self, without: Collection[str]) -> None:
        """The points pass through this process, because a server cannot copy a collection."""
        left_out = frozenset(without)
        async with self._building():
            name = (await _collections_by_alias(self._client)).get(self._alias)
            if name is None:
                return
            rows: list[tuple[StoredChunk, Vectors, SparseVector]] = []
            async for record in _scroll(self._collections, name, True, with_vectors=True):
                chunk = msgspec.convert(record.payload, StoredChunk)
                if chunk.file_path not in left_out:
                    rows.append((chunk, *_vectors_of(record)))
                if len(rows) == _UPSERT_LIMIT:
                    await self._add(rows)
                    rows = []
            if rows:
                await self._add(rows)

    async def add(
        self, chunks: Sequence[StoredChunk], vectors: Vectors, terms: Sequence[SparseVector]
    ) -> None:
        await self._add(list(zip(chunks, vectors, terms, strict=True)))

    async def _add(self, rows: Sequence[tuple[StoredChunk, Vectors, SparseVector]]) -> None:
        from qdrant_client import models

        dimension = len(rows[0][1])
        # The first batches may overlap.
        async with self._creating, self._building():
            if not self.dimension:
                await self._create(dimension)
        check_dimension(dimension, self.dimension)
        points = [
            models.PointStruct(
                id=chunk.chunk_id,
                vector={DENSE: vector.tolist(), SPARSE: sparse_vector(models, terms)},
                payload=msgspec.to_builtins(chunk),
            )
            for chunk, vector, terms in rows
        ]

        async def upsert(limits: _Limits) -> None:
            for start in range(0, len(points), limits.upsert):
                batch = points[start : start + limits.upsert]
                await self._client.upsert(self._name, batch, wait=True)

        async with self._building():
            await self._collections.call(self._name, upsert)

    async def publish(self, manifest: Manifest, ledger: Ledger) -> None:
        from qdrant_client import models

        client = self._client
        async with self._building():
            await self._wait_for_optimizer()
            # The other records are restored from the points.
            files = {
                path: msgspec.to_builtins(msgspec.structs.replace(record, chunks={}))
                for path, record in ledger.items()
                if _needs_metadata(record)
            }
            metadata = {"manifest": msgspec.to_builtins(manifest), "files": files}
            await client.update_collection(self._name, metadata=metadata)
            create = models.CreateAlias(collection_name=self._name, alias_name=self._alias)
            switch: list[Any] = [models.CreateAliasOperation(create_alias=create)]
            live = (await _collections_by_alias(client)).get(self._alias)
            if live not in (None, self._replaced):
                raise Conflict(_OVERTAKEN)
            if live:
                delete = models.DeleteAlias(alias_name=self._alias)
                switch.insert(0, models.DeleteAliasOperation(delete_alias=delete))
            # One request, so that readers see one step.
            await client.update_collection_aliases(switch)
        self._store.forget()
        try:
            async with translate_qdrant_errors(self._client, self._alias):
                await _delete_others(client, self._alias)
        except StoreUnavailable as error:
            # Readers have the new index; the next start deletes the old one.
            _log.warning("the replaced index was not deleted: %s", error.message)

    async def discard(self) -> None:
        """Do nothing: the vectors can be reused until the next generation is published."""

    @asynccontextmanager
    async def _building(self) -> AsyncIterator[None]:
        """Translate errors. Raises `Conflict` if another process's publication deleted a collection
        that this build needs."""
        try:
            async with translate_qdrant_errors(self._client, self._alias):
                yield
        except StoreUnavailable as error:
            if error.details.get("upstream_status") == 404:
                async with translate_qdrant_errors(self._client, self._alias):
                    live = (await _collections_by_alias(self._client)).get(self._alias)
                if live not in (None, self._replaced):
                    raise Conflict(_OVERTAKEN) from None
            raise

    async def _wait_for_optimizer(self) -> None:
        """Wait until the server has built the vector index: searches are slow before.

        A grey collection is not waited for: its optimizer starts with the next write.
        """
        pause, until = _FIRST_POLL_PAUSE, time.monotonic() + _INDEXING_SECONDS
        while (await self._client.get_collection(self._name)).status == "yellow":
            if time.monotonic() + pause > until:
                _log.warning(
                    "the Qdrant server has not finished indexing after %.0f s; publishing anyway",
                    _INDEXING_SECONDS,
                )
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_POLL_PAUSE)

    async def _create(self, dimension: int) -> None:
        from qdrant_client.models import PayloadSchemaType

        await self._client.create_collection(
            self._name,
            metadata={"embedding_model": self._embedding_model},
            **self._layout.collection(dimension),
        )
        for key in FILTERS:
            # Before the data: strict mode refuses filters on a field without an index.
            await self._client.create_payload_index(self._name, key, PayloadSchemaType.KEYWORD)
        self.dimension = dimension

    async def _find_sources(self) -> dict[str, dict[str, str]]:
        """Chunk ids by content hash, by collection of the same model."""
        sources = {}
        async with self._building():
            for name in sorted(await _generations(self._client, self._alias), reverse=True):
                metadata = (await self._client.get_collection(name)).config.metadata or {}
                if name != self._name and metadata.get("embedding_model") == self._embedding_model:
                    sources[name] = {
                        record.payload["content_hash"]: str(record.id)
                        async for record in _scroll(self._collections, name, ["content_hash"])
                        # An older version may have stored other payloads.
                        if record.payload and "content_hash" in record.payload
                    }
        return sources


class ServerStore:
    """Generations on the server at `url`; the client is imported and created on first use."""

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
        """`grpc_port` 0: HTTP only. `layout` applies to new generations."""
        self._url = url
        self._api_key = api_key
        self._alias = collection
        self._grpc_port = grpc_port
        self._layout = layout or Layout()
        self._given = client
        self._client = SingleFlight(self._connect)
        self._limits: dict[str, _Limits] = {}
        self._live: tuple[str, Manifest] | None = None
        self._asked_at = -math.inf

    async def open(self) -> None:
        client = await self._client.get()
        async with translate_qdrant_errors(client, self._alias):
            await _delete_others(client, self._alias, older_than=_ABANDONED_AFTER)

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
        collections = await self._collections()

        async def query(limits: _Limits) -> Candidates:
            params = self._layout.search_params(limits.oversampling)
            where = only or {}
            return await _search_collection(
                collections.client,
                self._alias,
                vector,
                terms,
                n,
                where,
                limits=limits,
                params=params,
            )

        try:
            return await collections.call(self._alias, query)
        except StoreUnavailable as error:
            if error.details.get("upstream_status") == 400:
                self.forget()  # another model published meanwhile
            raise
        except msgspec.ValidationError:  # another version published meanwhile
            self.forget()
            raise IndexUnreadable(_OTHER_VERSION) from None

    async def ledger(self) -> Ledger:
        live = await self._current()
        if live is None:
            return {}
        collections = await self._collections()
        client = collections.client
        async with translate_qdrant_errors(client, self._alias):
            metadata = (await client.get_collection(live[0])).config.metadata or {}
        try:
            ledger = msgspec.convert(metadata.get("files") or {}, Ledger)
            fields = ["file_path", "file_hash", "content_hash"]
            async for record in _scroll(collections, live[0], fields):
                payload = record.payload or {}
                path, file_hash = payload["file_path"], payload["file_hash"]
                found = ledger.setdefault(path, FileRecord(file_hash=file_hash, chunks={}))
                found.chunks[str(record.id)] = payload["content_hash"]
        except (msgspec.ValidationError, KeyError):
            raise IndexUnreadable(_OTHER_VERSION) from None
        return ledger

    async def urls(self) -> set[str]:
        if await self._current() is None:
            return set()
        records = _scroll(await self._collections(), self._alias, ["url"])
        urls = {(record.payload or {}).get("url") async for record in records}
        return {url for url in urls if url}

    async def build(self, generation: str, embedding_model: str) -> GenerationBuilder:
        collections = await self._collections()
        # The new generation builds on the latest, published perhaps seconds ago.
        self.forget()
        live = await self._check_alias(collections.client)
        await _check_version(collections.client, self._alias)
        name = f"{self._alias}{_SEPARATOR}{generation}"
        return _ServerBuilder(
            self, collections, self._alias, name, embedding_model, self._layout, live
        )

    async def reachable(self) -> bool:
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                client = await self._client.get()
                async with translate_qdrant_errors(client, self._alias):
                    await client.get_aliases()
        except (TimeoutError, StoreUnavailable):
            return False
        return True

    async def close(self) -> None:
        if self._client.value is not None:
            await self._client.value.close()

    def forget(self) -> None:
        """Ask the server again which generation is published."""
        self._asked_at = -math.inf

    async def _current(self) -> tuple[str, Manifest] | None:
        """The published collection and its manifest, cached for `_MANIFEST_SECONDS`."""
        if time.monotonic() - self._asked_at < _MANIFEST_SECONDS:
            return self._live
        client = await self._client.get()
        async with translate_qdrant_errors(client, self._alias):
            name = (await _collections_by_alias(client)).get(self._alias)
        if name is None:
            self._live = None
        # A published generation never changes, and its metadata may be megabytes.
        elif self._live is None or name != self._live[0]:
            self._live = (name, await self._manifest_of(name))
            self._limits.clear()
        self._asked_at = time.monotonic()
        return self._live

    async def _manifest_of(self, name: str) -> Manifest:
        """Raises `IndexUnreadable`, or `StoreUnavailable` for a collection not made by Quire."""
        client = await self._client.get()
        async with translate_qdrant_errors(client, self._alias):
            metadata = (await client.get_collection(name)).config.metadata or {}
        try:
            return parse_manifest(metadata.get("manifest"), _OTHER_VERSION)
        except IndexUnreadable as error:
            if _is_generation(name, self._alias):
                # Also stored beside the manifest.
                model = metadata.get("embedding_model")
                error.embedding_model = model if isinstance(model, str) else None
                raise
            raise StoreUnavailable(
                f'The alias "{self._alias}" on the Qdrant server points to a collection that Quire '
                "did not create. Choose another QDRANT_COLLECTION."
            ) from None

    async def _check_alias(self, client: "AsyncQdrantClient") -> str | None:
        """Return the published collection.

        Raises `Conflict` or `StoreUnavailable` if the alias or its name belongs to others. Checked
        before anything is embedded: publishing would fail, or take the alias from them.
        """
        async with translate_qdrant_errors(client, self._alias):
            collections = (await client.get_collections()).collections
            live = (await _collections_by_alias(client)).get(self._alias)
        if any(collection.name == self._alias for collection in collections):
            raise Conflict(
                f'The Qdrant server has a collection "{self._alias}" that Quire did not create. '
                "Choose another QDRANT_COLLECTION."
            )
        if live and not _is_generation(live, self._alias):
            await self._manifest_of(live)
        return live

    async def _collections(self) -> _Collections:
        return _Collections(await self._client.get(), self._alias, self._limits)

    async def _connect(self) -> "AsyncQdrantClient":
        if self._given is not None:
            return self._given
        # The import takes most of a second, too long for the event loop.
        await asyncio.to_thread(importlib.import_module, "lib.store_server_client")
        from lib.store_server_client import connect

        return connect(self._url, self._api_key, self._grpc_port)


async def _check_version(client: "AsyncQdrantClient", alias: str) -> None:
    """Raises `StoreUnavailable` if the server is too old; an unknown version passes.

    Checked before anything is embedded: an old server would silently drop the manifest.
    """
    version = ""
    with suppress(StoreUnavailable):
        async with translate_qdrant_errors(client, alias):
            version = (await client.info()).version
    found = re.match(r"v?(\d+)\.(\d+)", version)
    oldest = tuple(int(part) for part in OLDEST_VERSION.split("."))
    if found and (int(found[1]), int(found[2])) < oldest:
        raise StoreUnavailable(TOO_OLD)
