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
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
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
    PAYLOAD_BATCH,
    SCROLL_LIMIT,
    SPARSE,
    Candidates,
    FileRecord,
    GenerationBuilder,
    Ledger,
    Manifest,
    StoredChunk,
    check_dimension,
    chunks_in_order,
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
    """Sizes of requests; the settings of the same names in a strict mode may lower them."""

    max_query_limit: int = SCROLL_LIMIT
    condition_max_size: int = SCROLL_LIMIT
    search_max_batchsize: int = SCROLL_LIMIT
    upsert_max_batchsize: int = _UPSERT_LIMIT
    search_max_oversampling: float = math.inf


async def _read_limits(client: "AsyncQdrantClient", name: str) -> _Limits:
    strict = (await client.get_collection(name)).config.strict_mode_config
    if strict is None or not strict.enabled:
        return _Limits()
    usual = asdict(_Limits())
    return _Limits(**{key: min(size, getattr(strict, key) or size) for key, size in usual.items()})


@dataclass(frozen=True, slots=True)
class _Server:
    """The client, with the limits of each collection once its strict mode has refused a request."""

    client: "AsyncQdrantClient"
    alias: str
    limits: dict[str, _Limits]

    def errors(self) -> AbstractAsyncContextManager[None]:
        return translate_qdrant_errors(self.client, self.alias)

    async def call(self, name: str, request: Callable[[_Limits], Awaitable[_T]]) -> _T:
        """Send `request`; again after reading the limits if it exceeds one. Raises as `Store`."""
        known = self.limits.get(name, _Limits())
        try:
            async with self.errors():
                return await request(known)
        except StoreUnavailable as error:
            if "setting" not in error.details:
                raise
            async with self.errors():
                found = self.limits[name] = await _read_limits(self.client, name)
            if found == known:
                raise
        async with self.errors():
            return await request(found)

    async def aliases(self) -> dict[str, str]:
        """Collections by alias."""
        aliases = (await self.client.get_aliases()).aliases
        return {each.alias_name: each.collection_name for each in aliases}

    async def live(self) -> str | None:
        """The published collection."""
        return (await self.aliases()).get(self.alias)

    async def generations(self) -> list[str]:
        """The collections that are generations of the alias, published or not."""
        collections = (await self.client.get_collections()).collections
        return [each.name for each in collections if self.started(each.name)]

    def started(self, name: str) -> datetime | None:
        """When a generation of the alias was started; None for another collection."""
        prefix = self.alias + _SEPARATOR
        return generation_time(name.removeprefix(prefix)) if name.startswith(prefix) else None

    async def metadata(self, name: str) -> dict[str, Any]:
        return (await self.client.get_collection(name)).config.metadata or {}

    async def delete_others(self, *, older_than: timedelta = timedelta(0)) -> None:
        """Delete the unpublished generations: those of at least this age, and replaced ones.

        A process killed during this clean-up leaves replaced ones. Generations behind another alias
        stay.
        """
        aliases = await self.aliases()
        live, latest = aliases.get(self.alias), datetime.now(UTC) - older_than
        for name in await self.generations():
            started = self.started(name)
            old = started is not None and started <= latest
            if name not in aliases.values() and (old or (live and name < live)):
                await self.client.delete_collection(name)

    async def pages(
        self,
        name: str,
        payload: list[str] | bool,
        *,
        with_vectors: bool = False,
        most: int = SCROLL_LIMIT,
        where: "models.Filter | None" = None,
    ) -> "AsyncIterator[list[models.Record]]":
        """The points of a collection that `where` matches, at most `most` in a page."""
        offset: Any = None

        async def page(limits: _Limits) -> "tuple[list[models.Record], Any]":
            return await self.client.scroll(
                name,
                limit=min(limits.max_query_limit, most),
                offset=offset,
                with_payload=payload,
                with_vectors=with_vectors,
                scroll_filter=where,
            )

        while True:
            records, offset = await self.call(name, page)
            yield records
            if offset is None:
                return


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

        # Renamed to `memory` after 1.18; newer servers still accept this name.
        on_disk = True if self.on_disk else None
        quantization: Any = None
        if self.quantization == "binary":
            quantization = models.BinaryQuantization(
                binary=models.BinaryQuantizationConfig(always_ram=True)
            )
        elif self.quantization == "scalar":
            quantization = models.ScalarQuantization(
                scalar=models.ScalarQuantizationConfig(
                    type=models.ScalarType.INT8, quantile=0.99, always_ram=True
                )
            )
        dense = models.VectorParams(
            size=dimension, distance=models.Distance.COSINE, on_disk=on_disk
        )
        terms = models.SparseVectorParams(
            modifier=models.Modifier.IDF,
            index=models.SparseIndexParams(on_disk=True) if on_disk else None,
        )
        return {
            "vectors_config": {DENSE: dense},
            "sparse_vectors_config": {SPARSE: terms},
            "hnsw_config": models.HnswConfigDiff(on_disk=True) if on_disk else None,
            "on_disk_payload": on_disk,
            "quantization_config": quantization,
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
    name: str,
    vector: Vectors | None,
    terms: SparseVector,
    n: int,
    only: Mapping[str, str],
    limits: _Limits,
    layout: Layout,
) -> Candidates:
    """As `lib.store.Store.search`, in one batch request.

    If the union of both queries exceeds `limits`, page through each query and then score the found
    ids, because a prefetch has no offset.

    Raises the client's errors, and `msgspec.ValidationError` for payloads of another version.
    """
    from qdrant_client import models

    queries = {SPARSE: {"query": sparse_vector(models, terms), "using": SPARSE}}
    if vector is not None:
        params = layout.search_params(limits.search_max_oversampling)
        queries[DENSE] = {"query": vector.tolist(), "using": DENSE, "params": params}
    where, most = payload_filter(models, only), limits.max_query_limit

    async def run(batch: "list[models.QueryRequest]") -> "Iterator[list[models.ScoredPoint]]":
        size = limits.search_max_batchsize
        parts = [batch[at : at + size] for at in range(0, len(batch), size)]
        answers = [await client.query_batch_points(name, part) for part in parts]
        return (answer.points for part in answers for answer in part)

    found: list[dict[str, Any]]
    if n * len(queries) <= most:
        union = [models.Prefetch(limit=n, filter=where, **query) for query in queries.values()]
        found = [{"limit": n * len(queries), "prefetch": union}]
    else:
        pages = [
            models.QueryRequest(limit=min(most, n - at), offset=at, filter=where, **query)
            for query in queries.values()
            for at in range(0, n, most)
        ]
        ids = [*{point.id: None for points in await run(pages) for point in points}]
        size = min(most, limits.condition_max_size)
        conditions = [
            models.HasIdCondition(has_id=ids[at : at + size]) for at in range(0, len(ids), size)
        ]
        found = [{"limit": size, "filter": models.Filter(must=[each])} for each in conditions]
    for_idf = [
        models.QueryRequest(
            limit=1,
            query=sparse_vector(models, SparseVector([term], [1.0])),
            using=SPARSE,
            with_vector=[SPARSE],
        )
        for term in terms.indices
    ]
    # The dense answer holds all chunks; the sparse one lacks those without any term.
    complete = [*queries][-1]
    scoring = [
        models.QueryRequest(with_payload=using == complete, **query, **each)
        for using, query in queries.items()
        for each in found
    ]
    answers = await run(for_idf + scoring)
    idfs = {term: term_idf(term, next(answers)) for term in terms.indices}
    scored = {using: [*chain.from_iterable(islice(answers, len(found)))] for using in queries}
    return make_candidates(
        {str(each.id): msgspec.convert(each.payload, StoredChunk) for each in scored[complete]},
        bm25={str(point.id): point.score for point in scored[SPARSE]},
        cosine={str(point.id): point.score for point in scored.get(DENSE, [])},
        rarity={term: idf for term, idf in idfs.items() if idf is not None},
    )


@dataclass(eq=False)
class _ServerBuilder:
    """Writes one generation into its own collection, which is created with the first vectors."""

    _store: "ServerStore"
    _server: _Server
    _name: str
    _embedding_model: str
    _layout: Layout
    _replaced: str | None
    """The collection that was published when the build began."""
    dimension: int = 0
    _creating: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self._client = self._server.client
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
            name = await self._server.live()
            if name is None:
                return
            async for records in self._server.pages(
                name, True, with_vectors=True, most=_UPSERT_LIMIT
            ):
                chunks = [msgspec.convert(record.payload, StoredChunk) for record in records]
                await self._add(
                    [
                        (chunk, *_vectors_of(record))
                        for chunk, record in zip(chunks, records, strict=True)
                        if chunk.file_path not in left_out
                    ]
                )

    async def add(
        self, chunks: Sequence[StoredChunk], vectors: Vectors, terms: Sequence[SparseVector]
    ) -> None:
        await self._add(list(zip(chunks, vectors, terms, strict=True)))

    async def _add(self, rows: Sequence[tuple[StoredChunk, Vectors, SparseVector]]) -> None:
        if not rows:
            return
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
            for start in range(0, len(points), limits.upsert_max_batchsize):
                batch = points[start : start + limits.upsert_max_batchsize]
                await self._client.upsert(self._name, batch, wait=True)

        async with self._building():
            await self._server.call(self._name, upsert)

    async def search(
        self,
        vector: Vectors | None,
        terms: SparseVector,
        n: int,
        *,
        only: Mapping[str, str] | None = None,
    ) -> Candidates:
        async def query(limits: _Limits) -> Candidates:
            return await _search_collection(
                self._client, self._name, vector, terms, n, only or {}, limits, self._layout
            )

        async with self._building():
            return await self._server.call(self._name, query)

    async def publish(self, manifest: Manifest, ledger: Ledger) -> None:
        from qdrant_client import models

        async with self._building():
            await self._wait_for_optimizer()
            # The other records are restored from the points.
            files = {
                path: msgspec.to_builtins(msgspec.structs.replace(record, chunks={}))
                for path, record in ledger.items()
                if _needs_metadata(record)
            }
            metadata = {"manifest": msgspec.to_builtins(manifest), "files": files}
            await self._client.update_collection(self._name, metadata=metadata)
            alias = self._server.alias
            create = models.CreateAlias(collection_name=self._name, alias_name=alias)
            switch: list[Any] = [models.CreateAliasOperation(create_alias=create)]
            live = await self._server.live()
            if live not in (None, self._replaced):
                raise Conflict(_OVERTAKEN)
            if live:
                delete = models.DeleteAlias(alias_name=alias)
                switch.insert(0, models.DeleteAliasOperation(delete_alias=delete))
            # One request, so that readers see one step.
            await self._client.update_collection_aliases(switch)
        self._store.forget()
        try:
            async with self._server.errors():
                await self._server.delete_others()
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
            async with self._server.errors():
                yield
        except StoreUnavailable as error:
            if error.details.get("upstream_status") == 404:
                async with self._server.errors():
                    live = await self._server.live()
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
            for name in sorted(await self._server.generations(), reverse=True):
                metadata = await self._server.metadata(name)
                if name != self._name and metadata.get("embedding_model") == self._embedding_model:
                    sources[name] = {
                        record.payload["content_hash"]: str(record.id)
                        async for page in self._server.pages(name, ["content_hash"])
                        for record in page
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
    ) -> None:
        """`grpc_port` 0: HTTP only. `layout` applies to new generations."""
        self._url = url
        self._api_key = api_key
        self._alias = collection
        self._grpc_port = grpc_port
        self._layout = layout or Layout()
        self._server = SingleFlight(self._connect)
        self._live: tuple[str, Manifest] | None = None
        self._asked_at = -math.inf

    async def open(self) -> None:
        server = await self._server.get()
        async with server.errors():
            await server.delete_others(older_than=_ABANDONED_AFTER)

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
        server = await self._server.get()

        async def query(limits: _Limits) -> Candidates:
            return await _search_collection(
                server.client, self._alias, vector, terms, n, only or {}, limits, self._layout
            )

        try:
            return await server.call(self._alias, query)
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
        server = await self._server.get()
        async with server.errors():
            metadata = await server.metadata(live[0])
        try:
            ledger = msgspec.convert(metadata.get("files") or {}, Ledger)
            fields = ["file_path", "file_hash", "content_hash"]
            async for page in server.pages(live[0], fields):
                for record in page:
                    payload = record.payload or {}
                    path, file_hash = payload["file_path"], payload["file_hash"]
                    found = ledger.setdefault(path, FileRecord(file_hash=file_hash, chunks={}))
                    found.chunks[str(record.id)] = payload["content_hash"]
        except (msgspec.ValidationError, KeyError):
            raise IndexUnreadable(_OTHER_VERSION) from None
        return ledger

    async def chunks_of(self, file_path: str) -> Sequence[StoredChunk]:
        if (live := await self._current()) is None:
            return []
        server = await self._server.get()
        from qdrant_client import models

        where = payload_filter(models, {"file_path": file_path})
        pages = server.pages(live[0], True, where=where)
        try:
            return chunks_in_order([each.payload async for page in pages for each in page])
        except msgspec.ValidationError:  # another version published meanwhile
            self.forget()
            raise IndexUnreadable(_OTHER_VERSION) from None

    async def payloads(self, fields: Sequence[str]) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        if live := await self._current():
            pages = (await self._server.get()).pages(live[0], list(fields), most=PAYLOAD_BATCH)
            async for page in pages:
                yield [record.payload or {} for record in page]

    async def build(self, generation: str, embedding_model: str) -> GenerationBuilder:
        server = await self._server.get()
        # The new generation builds on the latest, published perhaps seconds ago.
        self.forget()
        live = await self._check_alias(server)
        await _check_version(server)
        name = f"{self._alias}{_SEPARATOR}{generation}"
        return _ServerBuilder(self, server, name, embedding_model, self._layout, live)

    async def reachable(self) -> bool:
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                server = await self._server.get()
                async with server.errors():
                    await server.aliases()
        except (TimeoutError, StoreUnavailable):
            return False
        return True

    async def close(self) -> None:
        if self._server.value is not None:
            await self._server.value.client.close()

    def forget(self) -> None:
        """Ask the server again which generation is published."""
        self._asked_at = -math.inf

    async def _current(self) -> tuple[str, Manifest] | None:
        """The published collection and its manifest, cached for `_MANIFEST_SECONDS`."""
        if time.monotonic() - self._asked_at < _MANIFEST_SECONDS:
            return self._live
        server = await self._server.get()
        async with server.errors():
            name = await server.live()
        if name is None:
            self._live = None
        # A published generation never changes, and its metadata may be megabytes.
        elif self._live is None or name != self._live[0]:
            self._live = (name, await self._manifest_of(server, name))
            server.limits.clear()
        self._asked_at = time.monotonic()
        return self._live

    async def _manifest_of(self, server: _Server, name: str) -> Manifest:
        """Raises `IndexUnreadable`, or `StoreUnavailable` for a collection not made by Quire."""
        async with server.errors():
            metadata = await server.metadata(name)
        try:
            return parse_manifest(metadata.get("manifest"), _OTHER_VERSION)
        except IndexUnreadable as error:
            if server.started(name):
                # Also stored beside the manifest.
                model = metadata.get("embedding_model")
                error.embedding_model = model if isinstance(model, str) else None
                raise
            raise StoreUnavailable(
                f'The alias "{self._alias}" on the Qdrant server points to a collection that Quire '
                "did not create. Choose another QDRANT_COLLECTION."
            ) from None

    async def _check_alias(self, server: _Server) -> str | None:
        """Return the published collection.

        Raises `Conflict` or `StoreUnavailable` if the alias or its name belongs to others. Checked
        before anything is embedded: publishing would fail, or take the alias from them.
        """
        async with server.errors():
            collections = (await server.client.get_collections()).collections
            live = await server.live()
        if any(collection.name == self._alias for collection in collections):
            raise Conflict(
                f'The Qdrant server has a collection "{self._alias}" that Quire did not create. '
                "Choose another QDRANT_COLLECTION."
            )
        if live and not server.started(live):
            await self._manifest_of(server, live)
        return live

    async def _connect(self) -> _Server:
        # The import takes most of a second, too long for the event loop.
        await asyncio.to_thread(importlib.import_module, "lib.store_server_client")
        from lib.store_server_client import connect

        return _Server(connect(self._url, self._api_key, self._grpc_port), self._alias, {})


async def _check_version(server: _Server) -> None:
    """Raises `StoreUnavailable` if the server is too old; an unknown version passes.

    Checked before anything is embedded: an old server would silently drop the manifest.
    """
    version = ""
    with suppress(StoreUnavailable):
        async with server.errors():
            version = (await server.client.info()).version
    found = re.match(r"v?(\d+)\.(\d+)", version)
    oldest = tuple(int(part) for part in OLDEST_VERSION.split("."))
    if found and (int(found[1]), int(found[2])) < oldest:
        raise StoreUnavailable(TOO_OLD)
