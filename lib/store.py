"""Where the chunks and their vectors live: one narrow interface over two engines of Qdrant.

An index is a *generation*: built beside the one that readers use, then published in one step.
Readers never see half of it. `lib.store_edge` keeps generations as folders, `lib.store_server` as
collections behind an alias.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar
from uuid import uuid4

import msgspec

from lib.embedding import Vectors
from lib.errors import IndexUnreadable, StoreUnavailable, UpstreamError
from lib.languages import ENGLISH
from lib.resilience import Breaker
from lib.terms import SparseVector

Key = TypeVar("Key")
INDEX_FORMAT = 2  # of the manifest and of `StoredChunk`; a change asks for a new index
DENSE = "dense"
SPARSE = "terms"
FILTERS = ("file_path", "paths", "chapter", "kind", "version", "locale")
"""The fields that a search may be restricted by."""
GENERATION_TIME = "%Y%m%dT%H%M%S"


class StoredChunk(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk as the index keeps it. `text` is the file's own `[start_char:end_char]`."""

    chunk_id: str
    text: str
    file_path: str
    paths: list[str]
    """Other names that a reader may give the file or a folder it stands in
    (`lib.book.names`)."""
    ordinal: int
    """Its place among the chunks of its file, from 0."""
    before: str | None
    """What stands between the chunk before it and this one; None where the two cannot be joined."""
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
    language: str = ENGLISH
    """What its words were stemmed as (`lib.languages.stemmed_languages`)."""
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
    languages: tuple[str, ...] = (ENGLISH,)
    """Of its pages (`lib.languages.stemmed_languages`): a question is stemmed as each of them."""
    configured: str = ""
    """A hash of the settings that decided what it holds (`lib.indexing.configured`)."""
    index_format: int = INDEX_FORMAT


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that a query found, with all that both of its vectors say of it."""

    chunk: StoredChunk
    cosine: float
    """Of the dense vectors, -1 to 1; 0 for a query without one."""
    bm25: float
    """The sum over shared terms of rarity times the chunk's weight; 0 where none is shared."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """What an index knows of a query."""

    hits: Sequence[Hit]
    rarity: Mapping[int, float]
    """By number, how rare a term of the query is (its IDF); terms that no chunk has are missing."""


class GenerationBuilder(Protocol):
    """A generation that is being written. Ends with `publish` or `discard`.

    What was added is durable when the call returns. A generation that was abandoned, or left by a
    killed process, is never seen by readers, but lends its vectors until the next one is published.
    """

    @property
    def dimension(self) -> int:
        """Of its vectors; 0 before there are any."""

    async def reuse_vectors(self, content_hashes: Collection[str]) -> Mapping[str, Vectors]:
        """By hash, vectors `(dimension,)` that earlier generations of the same model hold."""

    async def copy_unchanged(self, without: Collection[str]) -> None:
        """Take over the published generation but for the chunks of the files in `without`.

        To be called before the first `add`, and only for a generation of the same model.
        """

    async def add(
        self, chunks: Sequence[StoredChunk], vectors: Vectors, terms: Sequence[SparseVector]
    ) -> None:
        """Write chunks; `vectors` is `(len(chunks), dimension) float32`, L2-normalised.

        Raises `lib.errors.UpstreamError` for vectors of another dimension than those before.
        """

    async def publish(self, manifest: Manifest, ledger: Ledger) -> None:
        """Let readers see it from now on, in one step, and drop what it replaces."""

    async def discard(self) -> None:
        """Stop; what was paid for stays for the next attempt. Nothing happens after `publish`."""


class Store(Protocol):
    """Raises `lib.errors.StoreUnavailable` wherever the engine cannot be reached."""

    async def open(self) -> None:
        """Find the published generation, if any, and clear what is of no use to anyone."""

    async def manifest(self) -> Manifest | None:
        """Of the published generation; None when there is none."""

    async def search(
        self,
        vector: Vectors | None,
        terms: SparseVector,
        n: int,
        *,
        only: Mapping[str, str] | None = None,
    ) -> Candidates:
        """The `n` chunks nearest to `vector` `(dimension,)` and the `n` with the best BM25.

        Each is scored by both, so that nothing depends on which of the two found it; the order
        means nothing, but is the same each time. Without a vector, terms alone decide. `only`
        restricts to chunks with these values of `FILTERS`.
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


class AroundStore:
    """A store that passes every call on to another; for those that change some of them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def open(self) -> None:
        await self._store.open()

    async def manifest(self) -> Manifest | None:
        return await self._store.manifest()

    async def search(
        self,
        vector: Vectors | None,
        terms: SparseVector,
        n: int,
        *,
        only: Mapping[str, str] | None = None,
    ) -> Candidates:
        return await self._store.search(vector, terms, n, only=only)

    async def ledger(self) -> Ledger:
        return await self._store.ledger()

    async def urls(self) -> set[str]:
        return await self._store.urls()

    async def build(self, generation: str, embedding_model: str) -> GenerationBuilder:
        return await self._store.build(generation, embedding_model)

    async def reachable(self) -> bool:
        return await self._store.reachable()

    async def close(self) -> None:
        await self._store.close()


def make_candidates(
    chunks: Mapping[Key, StoredChunk],
    *,
    bm25: Mapping[Key, float],
    cosine: Mapping[Key, float],
    rarity: Mapping[int, float],
) -> Candidates:
    """What an engine has found, chunks and scores by the points' ids."""
    hits = [
        Hit(chunk, float(cosine.get(key, 0.0)), float(bm25.get(key, 0.0)))
        for key, chunk in chunks.items()
    ]
    return Candidates(sorted(hits, key=lambda hit: hit.chunk.chunk_id), rarity)


def parse_manifest(kept: Any, complaint: str) -> Manifest:
    """The manifest from what was kept of it as JSON; fields that are not known are passed over.

    Raises `IndexUnreadable` with the sentence `complaint` for one that lacks what this version
    needs, or has it in another form.
    """
    try:
        return msgspec.convert(kept, Manifest)
    except msgspec.ValidationError:
        error = IndexUnreadable(complaint)
        model = kept.get("embedding_model") if isinstance(kept, dict) else None
        error.embedding_model = model if isinstance(model, str) else None
        raise error from None


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


STORE_PATIENCE = 3.0
STORE_LONGEST_PAUSE = 10.0
"""Seconds; shorter than the others', since without the index nothing can be answered."""


def store_breaker() -> Breaker:
    late = StoreUnavailable("The Qdrant server takes too long to answer; try again later.")
    return Breaker(late, hang_after=STORE_PATIENCE, longest_pause=STORE_LONGEST_PAUSE)


class GuardedStore(AroundStore):
    """What readers wait for goes through the breaker; ingestion and probes do not."""

    def __init__(self, store: Store, breaker: Breaker) -> None:
        super().__init__(store)
        self._breaker = breaker

    async def manifest(self) -> Manifest | None:
        with self._breaker.call(from_memory=True):
            return await super().manifest()

    async def search(
        self,
        vector: Vectors | None,
        terms: SparseVector,
        n: int,
        *,
        only: Mapping[str, str] | None = None,
    ) -> Candidates:
        with self._breaker.call():
            return await super().search(vector, terms, n, only=only)
