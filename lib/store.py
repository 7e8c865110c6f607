"""Where the chunks and their vectors live: one narrow interface over two engines of Qdrant.

An index is a *generation*: built beside the one that readers use, then published in one step.
Readers never see half of it. `lib.store_edge` keeps generations as folders, `lib.store_server` as
collections behind an alias.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import uuid4

import msgspec

from lib.embedding import Vectors
from lib.settings import Settings

INDEX_FORMAT = 1  # of the manifest and of `StoredChunk`; a change asks for a new index
DENSE = "dense"
GENERATION_TIME = "%Y%m%dT%H%M%S"


class StoredChunk(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk as the index keeps it. `text` is the file's own `[start_char:end_char]`."""

    chunk_id: str
    text: str
    file_path: str
    chapter: str
    section: str
    heading: str
    url: str | None
    start_char: int
    end_char: int
    tokens: int
    kind: str
    language: str
    content_hash: str
    """Of what was embedded: a chunk whose hash is known needs no new vector."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a generation was made of, and with what."""

    generation: str
    embedding_model: str
    dimension: int
    chunker: str
    generator: str
    documents: int
    chunks: int
    created_at: str
    index_format: int = INDEX_FORMAT


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that a query found; `score` is the cosine of the two vectors, -1 to 1."""

    chunk: StoredChunk
    score: float


class GenerationBuilder(Protocol):
    """A generation that is being written. Ends with `publish` or `discard`."""

    async def add(self, chunks: Sequence[StoredChunk], vectors: Vectors) -> None:
        """Write chunks; `vectors` is `(len(chunks), dimension) float32`, L2-normalised."""

    async def publish(self, manifest: Manifest) -> None:
        """Make it durable, let readers see it from now on, and drop what it replaces."""

    async def discard(self) -> None:
        """Remove it; readers never knew of it."""


class Store(Protocol):
    """Raises `lib.errors.StoreUnavailable` wherever the engine cannot be reached."""

    async def open(self) -> None:
        """Find the published generation, if any, and clear what a killed run left behind."""

    async def manifest(self) -> Manifest | None:
        """Of the published generation; None when there is none."""

    async def search(self, vector: Vectors, k: int, *, file_path: str | None = None) -> list[Hit]:
        """The `k` chunks nearest to `vector` `(dimension,)`, best first; ties in a stable order."""

    async def known_vectors(self) -> Mapping[str, str]:
        """`content_hash` to `chunk_id` of the published generation, one chunk for each hash."""

    async def vectors(self, chunk_ids: Sequence[str]) -> Mapping[str, Vectors]:
        """The stored vectors of the published generation, by chunk id."""

    async def build(self, generation: str, dimension: int) -> GenerationBuilder:
        """Begin a generation. Raises `lib.errors.QuireError` while another process builds one."""

    async def reachable(self) -> bool:
        """Whether the engine answers, within two seconds. Never raises."""

    async def close(self) -> None: ...


def new_generation() -> str:
    """A name for a generation; later ones sort after earlier ones."""
    return f"{datetime.now(UTC):{GENERATION_TIME}}-{uuid4().hex[:6]}"


def generation_time(generation: str) -> datetime | None:
    """When the generation was begun; None for what is no generation's name."""
    try:
        return datetime.strptime(generation[:-7], GENERATION_TIME).replace(tzinfo=UTC)
    except ValueError:
        return None


def make_store(settings: Settings) -> Store:
    """The store that the settings ask for, not opened yet; only its own engine is imported."""
    if settings.qdrant_url:
        from lib.store_server import ServerStore

        return ServerStore(settings.qdrant_url, settings.qdrant_api_key, settings.qdrant_collection)
    from lib.store_edge import EdgeStore

    return EdgeStore(settings.qdrant_path / settings.qdrant_collection)
