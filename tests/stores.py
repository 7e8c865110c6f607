"""Helpers for the store tests: made-up chunks, and one factory per kind of store.

`ServerStore` is tested twice: over HTTP against `tests.qdrant_server` in strict mode, and on
qdrant-client's local mode, a separate implementation without network and strict mode. With
QDRANT_TEST_URL (and QDRANT_TEST_API_KEY) it is also tested against that server, in collections
named `quire-test-…` that are removed after each test.
"""

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.local import sparse_distances

import lib.store_server_client
from lib.embedding import Vectors, l2_normalise
from lib.store import FileRecord, Hit, Ledger, Manifest, Store, StoredChunk, new_generation
from lib.store_edge import EdgeStore
from lib.store_server import ServerStore
from lib.store_server_client import connect
from lib.terms import SparseVector, document_vectors, query_vector
from tests.qdrant_server import running_qdrant

DIMENSION = 16
MODEL = "test/model"
KEY = "the-key"
NAMESPACE = UUID(int=7)


def chunk(number: int, file_path: str = "a.md", **changes: Any) -> StoredChunk:
    values: dict[str, Any] = {
        "chunk_id": str(uuid5(NAMESPACE, f"{file_path}-{number}")),
        "text": f"Text {number} — 潮 \U0001f30a",
        "file_path": file_path,
        "paths": [file_path],
        "ordinal": number,
        "before": None,
        "chapter": "C",
        "section": "S",
        "heading": "H",
        "url": f"https://b.example/{file_path}#{number}",
        "start_char": number,
        "end_char": number + 5,
        "tokens": 3,
        "kind": "prose",
        "language": "",
        "version": "",
        "locale": "",
        "content_hash": f"content-{file_path}-{number}",
        "file_hash": f"file-{file_path}",
    }
    return StoredChunk(**(values | changes))


def make_ledger(chunks: list[StoredChunk]) -> Ledger:
    ledger: Ledger = {}
    for each in chunks:
        record = ledger.setdefault(each.file_path, FileRecord(file_hash=each.file_hash, chunks={}))
        record.chunks[each.chunk_id] = each.content_hash
    return ledger


def make_manifest(generation: str, chunks: int, **changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "generation": generation,
        "embedding_model": MODEL,
        "dimension": DIMENSION,
        "chunker": "1/220",
        "site": "site",
        "generator": "mkdocs",
        "content": "content",
        "documents": 1,
        "chunks": chunks,
        "created_at": "2026-01-01T00:00:00+00:00",
    }
    return Manifest(**(values | changes))


def random_vectors(count: int, seed: int = 1) -> Vectors:
    return l2_normalise(
        np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)
    )


def sparse_vectors(chunks: Sequence[StoredChunk]) -> list[SparseVector]:
    """Return the sparse vector of each chunk, as if it were the only one."""
    return [document_vectors([each.text])[0] for each in chunks]


async def publish(
    store: Store,
    chunks: list[StoredChunk],
    vectors: Vectors,
    terms: Sequence[SparseVector] | None = None,
    *,
    model: str = MODEL,
) -> Manifest:
    generation = new_generation()
    builder = await store.build(generation, model)
    await builder.add(chunks, vectors, sparse_vectors(chunks) if terms is None else terms)
    manifest = make_manifest(generation, len(chunks), embedding_model=model)
    await builder.publish(manifest, make_ledger(chunks))
    await builder.discard()  # callers do this in `finally`; it has no effect after `publish`
    return manifest


async def nearest(
    store: Store, vector: Vectors, k: int, *, only: Mapping[str, str] | None = None
) -> list[Hit]:
    """Return the `k` hits with the highest cosine, best first."""
    found = await store.search(vector, query_vector("text"), k, only=only)
    return sorted(found.hits, key=lambda hit: (-hit.cosine, hit.chunk.chunk_id))[:k]


def change_retry_policies(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Change fields of every retry policy of `lib.store_server_client`."""
    client = lib.store_server_client
    changed = [(pattern, replace(each, **changes)) for pattern, each in client._POLICIES]
    monkeypatch.setattr(client, "_POLICIES", changed)


def sparse_dot_product(query: models.SparseVector, stored: models.SparseVector) -> Any:
    """The same product as local mode's own function, which takes half of the tests' time."""
    weights = dict(zip(stored.indices, stored.values, strict=True))
    products = [
        value * weights[index]
        for index, value in zip(query.indices, query.values, strict=True)
        if index in weights
    ]
    return np.float32(sum(products)) if products else None


MakeStore = Callable[[], Store]
REAL_URL = os.environ.get("QDRANT_TEST_URL", "")
REAL_KEY = os.environ.get("QDRANT_TEST_API_KEY", "")
STORE_KINDS = ["edge", "server", "wire", *(["real"] if REAL_URL else [])]


@asynccontextmanager
async def open_stores(kind: str, folder: Path) -> AsyncIterator[MakeStore]:
    """Yield a factory of stores on the same index, as separate processes would open them."""
    made: list[Store] = []
    async with AsyncExitStack() as stack:
        if kind == "server":
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setattr(sparse_distances, "sparse_dot_product", sparse_dot_product)
            client = AsyncQdrantClient(":memory:")
            stack.push_async_callback(client.close)
        elif kind == "wire":
            running = running_qdrant(folder / "server", api_key=KEY, strict=True)
            server = await stack.enter_async_context(running)
        collection = f"quire-test-{uuid4().hex}"
        if kind == "real":
            stack.push_async_callback(delete_collections, collection)

        def make_one() -> Store:
            match kind:
                case "edge":
                    made.append(EdgeStore(folder / "index"))
                case "server":
                    made.append(ServerStore("", "", "book", client=client))
                case "wire":
                    made.append(ServerStore(server.url, KEY, "book"))
                case "real":
                    made.append(ServerStore(REAL_URL, REAL_KEY, collection))
            return made[-1]

        yield make_one
        for store in made:
            await store.close()


async def delete_collections(prefix: str) -> None:
    """Delete the collections with this prefix, and so their aliases, on the real server."""
    client = connect(REAL_URL, REAL_KEY)
    for collection in (await client.get_collections()).collections:
        if collection.name.startswith(prefix):
            await client.delete_collection(collection.name)
    await client.close()
