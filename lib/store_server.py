"""The store on a Qdrant server or Qdrant Cloud: generations are collections behind one alias.

::

    <collection>                    alias: the published generation
    <collection>--<generation>      its points; the manifest is the collection's metadata

Needs Qdrant 1.16 or later, the first whose collections carry metadata.
"""

import asyncio
import importlib
import math
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from lib.embedding import Vectors
from lib.errors import Conflict, IndexUnreadable, StoreUnavailable
from lib.once import Once
from lib.server_search import search_collection
from lib.sparse import SparseVector
from lib.store import FileRecord, Found, GenerationBuilder, Ledger, Manifest, as_manifest
from lib.store_server_builder import ServerBuilder
from lib.store_server_collections import is_generation, published, remove_others, scroll
from lib.store_server_errors import OLDEST, TOO_OLD, translated
from lib.store_server_layout import Layout

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient

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
        self._client = Once(self._connect)
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
    ) -> Found:
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
            return as_manifest(metadata.get("manifest"), OTHER_VERSION)
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
