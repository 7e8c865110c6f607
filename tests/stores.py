"""Factories for the store tests: made-up chunks, vectors and manifests."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid5

import numpy as np

from lib.embedding import Vectors, l2_normalise
from lib.store import FileRecord, Hit, Ledger, Manifest, Section, Store, StoredChunk, new_generation
from lib.terms import SparseVector, document_vectors, query_vector

DIMENSION = 16
MODEL = "test/model"
KEY = "the-key"
NAMESPACE = UUID(int=7)


def chunk(
    number: int,
    file_path: str = "a.md",
    *,
    heading: str = "H",
    section: str = "S",
    url: str | None = "https://b.example/{}#{}",
    **changes: Any,
) -> StoredChunk:
    start = changes.get("start_char", number)
    only = Section(
        start_char=start,
        heading=heading,
        section=section,
        url=url and url.format(file_path, number),
    )
    values: dict[str, Any] = {
        "chunk_id": str(uuid5(NAMESPACE, f"{file_path}-{number}")),
        "text": f"Text {number} — 潮 \U0001f30a",
        "file_path": file_path,
        "paths": [file_path],
        "ordinal": number,
        "before": None,
        "chapter": "C",
        "sections": (only,),
        "start_char": start,
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
    **changes: Any,
) -> Manifest:
    generation = new_generation()
    builder = await store.build(generation, model)
    await builder.add(chunks, vectors, sparse_vectors(chunks) if terms is None else terms)
    manifest = make_manifest(generation, len(chunks), embedding_model=model, **changes)
    await builder.publish(manifest, make_ledger(chunks))
    await builder.discard()  # callers do this in `finally`; it has no effect after `publish`
    return manifest


async def nearest(
    store: Store, vector: Vectors, k: int, *, only: Mapping[str, str] | None = None
) -> list[Hit]:
    """Return the `k` hits with the highest cosine, best first."""
    found = await store.search(vector, query_vector("text"), k, only=only)
    return sorted(found.hits, key=lambda hit: (-hit.cosine, hit.chunk.chunk_id))[:k]
