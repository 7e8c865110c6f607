"""Where the chunks and their vectors live: one narrow interface over two engines of Qdrant.

An index is a *generation*: built beside the one that readers use, then published in one step.
Readers never see half of it. `lib.store_edge` keeps generations as folders, `lib.store_server` as
collections behind an alias.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import uuid4

import msgspec

from lib.embedding import Vectors
from lib.errors import UpstreamError

INDEX_FORMAT = 1  # of the manifest and of `StoredChunk`; a change asks for a new index
DENSE = "dense"
FILTERS = ("file_path", "version", "locale")
"""The fields that a search may be restricted by."""
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
    version: str
    locale: str
    content_hash: str
    """Of what was embedded: a chunk whose hash is known needs no new vector."""
    file_hash: str
    """Of all that the file's chunks were made from: a file whose hash is known stays as it is."""


class FileRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the next ingestion must know of a file."""

    file_hash: str
    chunks: dict[str, str] = {}
    """`chunk_id` to `content_hash`. None for a draft, or a page that the site does not publish."""
    includes: list[str] = []
    """Other files that the chunks were made from, relative to the content folder."""
    problems: list[str] = []


Ledger = dict[str, FileRecord]
"""Every file of a generation, by its path."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a generation was made of, and with what."""

    generation: str
    embedding_model: str
    dimension: int
    chunker: str
    site: str
    """A hash of what decides addresses."""
    generator: str
    content: str
    """A hash of the place of the folder that was ingested: another folder is another book."""
    documents: int
    chunks: int
    created_at: str
    configured: str = ""
    """A hash of the settings that decided what it holds (`lib.ingest.configured`)."""
    index_format: int = INDEX_FORMAT


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that a query found; `score` is the cosine of the two vectors, -1 to 1."""

    chunk: StoredChunk
    score: float


class GenerationBuilder(Protocol):
    """A generation that is being written. Ends with `publish` or `abandon`.

    What was added is durable when the call returns. A generation that was abandoned, or left by a
    killed process, is never seen by readers, but lends its vectors until the next one is published.
    """

    @property
    def dimension(self) -> int:
        """Of its vectors; 0 before there are any."""

    async def lend(self, content_hashes: Collection[str]) -> Mapping[str, Vectors]:
        """By hash, vectors `(dimension,)` that earlier generations of the same model hold."""

    async def inherit(self, without: Collection[str]) -> None:
        """Take over the published generation but for the chunks of the files in `without`.

        To be called before the first `add`, and only for a generation of the same model.
        """

    async def add(self, chunks: Sequence[StoredChunk], vectors: Vectors) -> None:
        """Write chunks; `vectors` is `(len(chunks), dimension) float32`, L2-normalised.

        Raises `lib.errors.UpstreamError` for vectors of another dimension than those before.
        """

    async def publish(self, manifest: Manifest, ledger: Ledger) -> None:
        """Let readers see it from now on, in one step, and drop what it replaces."""

    async def abandon(self) -> None:
        """Stop; what was paid for stays for the next attempt. Nothing happens after `publish`."""


class Store(Protocol):
    """Raises `lib.errors.StoreUnavailable` wherever the engine cannot be reached."""

    async def open(self) -> None:
        """Find the published generation, if any, and clear what is of no use to anyone."""

    async def manifest(self) -> Manifest | None:
        """Of the published generation; None when there is none."""

    async def search(
        self, vector: Vectors, k: int, *, only: Mapping[str, str] | None = None
    ) -> list[Hit]:
        """The `k` chunks nearest to `vector` `(dimension,)`, best first; ties in a stable order.

        `only` restricts to chunks with these values of `FILTERS`.
        """

    async def ledger(self) -> Ledger:
        """Of the published generation; empty when there is none."""

    async def urls(self) -> set[str]:
        """Every address in the published generation."""

    async def build(self, generation: str, embedding_model: str) -> GenerationBuilder:
        """Begin a generation. Raises `lib.errors.Conflict` while another process builds one."""

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


def check_dimension(found: int, expected: int) -> None:
    """Raises `UpstreamError` when an embedder changes the length of its vectors in mid-run."""
    if found != expected:
        raise UpstreamError(
            f"The embedder sent vectors of {found} numbers where the index has {expected}; the "
            "index stays as it was. Check the embedding model, or ingest with force_reindex."
        )
