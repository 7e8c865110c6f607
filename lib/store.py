"""The vector store: one narrow interface over two engines of Qdrant.

An index is a *generation*: built beside the published one, then published in one step, so readers
never see half an index. `lib.store_edge` (embedded) keeps generations as folders,
`lib.store_server` as collections behind an alias.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from uuid import uuid4

import msgspec

from lib.errors import IndexUnreadable, StoreUnavailable, UpstreamError
from lib.languages import ENGLISH
from lib.markdown_page import Edit, apply_edits
from lib.source import InBuild
from lib.terms import SparseVector

if TYPE_CHECKING:  # the reading process needs neither, nor the memory that they take
    from lib.embedding import Vectors
    from lib.resilience import Breaker

_Key = TypeVar("_Key")
INDEX_FORMAT = 3  # of `Manifest` and `StoredChunk`; increasing it re-indexes the book
UPLOADED = "an uploaded archive"
DENSE = "dense"
SPARSE = "terms"
FILTERS = ("file_path", "paths", "chapter", "kind", "version", "locale")
"""The fields that a search can filter on."""
SCROLL_LIMIT = 2_000
"""Points read from an engine in one call, without vectors."""
PAYLOAD_BATCH = 200
"""Points in a batch of `Store.payloads`. Reading one takes a few milliseconds, in which nothing
else runs."""
_READER_SECONDS = 3.0
"""Longest wait of a reader for the server. An ingestion waits longer."""
_HANGS = "The Qdrant server takes too long to answer. Try again later."
_GENERATION_TIME = "%Y%m%dT%H%M%S"


class Section(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A heading, and the part of a chunk or passage whose text stands under it."""

    start_char: int
    """Offset in the file. The part ends where the next section starts."""
    heading: str
    section: str
    """The heading of the first level below the page title; may be empty."""
    url: str | None
    above: tuple[Section, ...] = ()
    """Headings without text that come directly before it."""


class StoredChunk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A chunk in the index. `text` equals the file's `[start_char:end_char]`.

    `lead`, `edits` and `tail` tell how the text that readers see differs from it.
    """

    chunk_id: str
    text: str
    file_path: str
    paths: list[str]
    """Names by which a reader may filter on the file or its folders (`lib.book.names`)."""
    ordinal: int
    """Position among the chunks of its file, from 0."""
    before: str | None
    """Text between the previous chunk and this one; None if the two cannot be joined. The index
    keeps all text of a page of HTML (`page_text`): there it is never None."""
    chapter: str
    sections: tuple[Section, ...]
    """In order; the first starts at `start_char`."""
    start_char: int
    end_char: int
    tokens: int
    kind: str
    language: str
    version: str
    locale: str
    content_hash: str
    """Hash of the embedded text: a chunk with a known hash reuses its vector."""
    file_hash: str
    """Hash of everything the file's chunks depend on: a file with a known hash is unchanged."""
    lead: str = ""
    """What a piece of a table, code or definition needs before it, if it begins the chunk."""
    edits: tuple[Edit, ...] = ()
    """Replacements in `text`."""
    tail: str = ""
    after: str = ""
    """Text behind the last chunk of a page of HTML."""

    @property
    def content(self) -> str:
        """Markdown of what readers see."""
        return f"{self.lead}{apply_edits(self.text, self.edits)}{self.tail}"


def page_text(chunks: Sequence[StoredChunk]) -> str:
    """The whole text of a page of HTML, from all its chunks in order."""
    parts: list[str] = []
    end = 0
    for chunk in chunks:
        # pieces of one long line may overlap
        parts += (chunk.before or "", chunk.text[max(0, end - chunk.start_char) :])
        end = max(end, chunk.end_char)
    return "".join((*parts, *(chunk.after for chunk in chunks[-1:])))


class FileRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a generation, as the next ingestion needs it."""

    file_hash: str
    chunks: dict[str, str] = {}
    """`chunk_id` to `content_hash`. Empty for a draft, an unpublished page and one left out."""
    language: str = ENGLISH
    """Language of its stems (`lib.languages.stemmed_languages`)."""
    includes: list[str] = []
    """Included files, relative to the content folder."""
    problems: list[str] = []
    until: float = 0.0
    """Unix time from which it is read again, because its site publishes or removes it; else 0."""
    in_build: InBuild | None = None
    left_out: str = ""
    """Why it has no chunks, as the end of a sentence about it; empty for a page with text."""


Ledger = dict[str, FileRecord]
"""The files of a generation, by path."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Metadata of a generation: sizes, model and hashes of the settings it depends on."""

    generation: str
    embedding_model: str
    dimension: int
    chunker: str
    site: str
    """Hash of the settings that determine URLs."""
    generator: str
    content: str
    """Hash of the content folder's path: another folder is another book."""
    documents: int
    chunks: int
    created_at: str
    languages: tuple[str, ...] = (ENGLISH,)
    """Languages of its pages (`lib.languages.stemmed_languages`): questions are stemmed in each."""
    configured: str = ""
    """Hash of the settings that determine its content (`settings`)."""
    settings: dict[str, str] = {}
    """These settings by name, to tell which differ."""
    origin: str = ""
    """Where its content is from, if not from BOOK_CONTENT_PATH: `UPLOADED`, the address of a site
    or sitemap on the web, or the absolute path of another folder."""
    title: str = ""
    """Title in the site's configuration."""
    site_url: str = ""
    """Scheme and host of the site, as configured; empty if unknown."""
    base_url: str = ""
    """Path that the site is served under, with a slash at both ends; empty if unknown."""
    folder: str = "."
    """The ingested folder, relative to the content folder."""
    reading_order: tuple[str, ...] = ()
    """Files in the order of the site's own navigation, as far as it is known."""
    refusal_shift: float = 0.0
    """Raises the threshold below which questions are refused (`lib.refusal`)."""
    index_format: int = INDEX_FORMAT

    @property
    def has_local_pages(self) -> bool:
        """Whether Quire itself serves the book's pages, at addresses relative to its own."""
        return self.generator == "quire" and not self.site_url


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk found by a query, with its score for both vectors."""

    chunk: StoredChunk
    cosine: float
    """Cosine of the dense vectors, -1 to 1; 0 for a query without one."""
    bm25: float
    """Sum over shared terms of IDF times the chunk's weight; 0 if no term is shared."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Candidate chunks for a query, and the IDF of its terms."""

    hits: Sequence[Hit]
    rarity: Mapping[int, float]
    """IDF by term id; terms that no chunk contains are missing."""


class Searchable(Protocol):
    """Raises `lib.errors.StoreUnavailable` if the engine cannot be reached."""

    async def search(
        self,
        vector: Vectors | None,
        terms: SparseVector,
        n: int,
        *,
        only: Mapping[str, str] | None = None,
    ) -> Candidates:
        """Find the `n` chunks nearest to `vector` `(dimension,)` and the `n` with the best BM25.

        Every hit gets both scores, whichever query found it. The order is stable but meaningless.
        Without a vector, only BM25 is used. `only` filters by values of `FILTERS`.
        """


class GenerationBuilder(Searchable, Protocol):
    """Writes one generation, until `publish` or `discard`.

    Added chunks are durable when `add` returns. Readers never see a discarded generation or one
    left by a killed process; its vectors can be reused until the next one is published.
    """

    @property
    def dimension(self) -> int:
        """Length of its vectors; 0 before the first."""

    async def reuse_vectors(self, content_hashes: Collection[str]) -> Mapping[str, Vectors]:
        """Return vectors `(dimension,)` by hash, as far as earlier generations of the same model
        have them."""

    async def copy_unchanged(self, without: Collection[str]) -> None:
        """Copy the published generation except the chunks of the files in `without`.

        Call it before the first `add`, and only for a generation of the same model.
        """

    async def add(
        self, chunks: Sequence[StoredChunk], vectors: Vectors, terms: Sequence[SparseVector]
    ) -> None:
        """Write chunks; `vectors` is `(len(chunks), dimension) float32`, L2-normalised.

        Raises `lib.errors.UpstreamError` if the dimension differs from earlier vectors.
        """

    async def publish(self, manifest: Manifest, ledger: Ledger) -> None:
        """Switch readers to this generation in one step, then delete those it replaces."""

    async def discard(self) -> None:
        """Stop writing; the vectors stay for the next attempt. Does nothing after `publish`."""


class Store(Searchable, Protocol):
    """Its search finds the published generation's chunks."""

    async def open(self) -> None:
        """Find the published generation, if any, and delete useless ones."""

    async def manifest(self) -> Manifest | None:
        """The published generation's manifest; None without one."""

    async def ledger(self) -> Ledger:
        """The published generation's files; empty without one."""

    async def chunks_of(self, file_path: str) -> Sequence[StoredChunk]:
        """The published generation's chunks of one file, in order; none without such a file."""

    def payloads(self, fields: Sequence[str]) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        """Yield batches of the published generation's chunks, reduced to these fields, in no order.

        All are of one generation, also if another one is published meanwhile.
        """

    async def build(self, generation: str, embedding_model: str) -> GenerationBuilder:
        """Start a generation. Raises `lib.errors.Conflict` while another process builds one."""

    async def reachable(self) -> bool:
        """Whether the engine answers within two seconds. Never raises."""

    async def close(self) -> None: ...


class GuardedStore:
    """Readers' calls go through the circuit breaker; ingestion and probes use the store itself."""

    def __init__(self, store: Store, breaker: Breaker) -> None:
        self._store = store
        self._breaker = breaker
        self.open, self.build, self.close = store.open, store.build, store.close
        self.ledger, self.payloads = store.ledger, store.payloads
        self.reachable = store.reachable

    async def manifest(self) -> Manifest | None:
        with self._breaker.call(from_memory=True):
            async with _deadline():
                return await self._store.manifest()

    async def chunks_of(self, file_path: str) -> Sequence[StoredChunk]:
        with self._breaker.call():
            async with _deadline():
                return await self._store.chunks_of(file_path)

    async def search(
        self,
        vector: Vectors | None,
        terms: SparseVector,
        n: int,
        *,
        only: Mapping[str, str] | None = None,
    ) -> Candidates:
        with self._breaker.call():
            async with _deadline():
                return await self._store.search(vector, terms, n, only=only)


@asynccontextmanager
async def _deadline() -> AsyncIterator[None]:
    """Raises `StoreUnavailable` after `_READER_SECONDS`, which include retries."""
    try:
        async with asyncio.timeout(_READER_SECONDS):
            yield
    except TimeoutError:
        raise StoreUnavailable(_HANGS) from None


async def all_urls(store: Store) -> set[str]:
    """All URLs in the published generation."""
    return {
        section["url"]
        async for batch in store.payloads(["sections"])
        for payload in batch
        for section in payload["sections"]
        if section["url"]
    }


def store_breaker() -> Breaker:
    from lib.resilience import Breaker

    hang_error = StoreUnavailable(_HANGS)
    # A shorter pause than for other services, because every answer needs the index.
    return Breaker(hang_error, hang_after=3.0, longest_pause=10.0)


def sparse_vector(engine: Any, weights: SparseVector) -> Any:
    """Convert to an engine's type; `engine` is `qdrant_edge` or `qdrant_client.models`."""
    return engine.SparseVector(indices=weights.indices, values=weights.values)


def payload_filter(engine: Any, only: Mapping[str, str]) -> Any:
    """An engine's filter for payload fields with these values; None without any."""
    if not only:
        return None
    return engine.Filter(
        must=[
            engine.FieldCondition(key=field, match=engine.MatchValue(value=value))
            for field, value in only.items()
        ]
    )


def term_idf(term: int, best: Sequence[Any]) -> float | None:
    """IDF of a term: the score of the best chunk for it alone, over the term's weight there.

    `best` holds that point with its sparse vector; empty if no chunk contains the term.
    """
    if not best:
        return None
    weights = best[0].vector[SPARSE]
    return float(best[0].score / weights.values[weights.indices.index(term)])


def make_candidates(
    chunks: Mapping[_Key, StoredChunk],
    *,
    bm25: Mapping[_Key, float],
    cosine: Mapping[_Key, float],
    rarity: Mapping[int, float],
) -> Candidates:
    """Join chunks and scores by point id."""
    hits = [
        Hit(chunk, float(cosine.get(key, 0.0)), float(bm25.get(key, 0.0)))
        for key, chunk in chunks.items()
    ]
    return Candidates(sorted(hits, key=lambda hit: hit.chunk.chunk_id), rarity)


def chunks_in_order(payloads: Iterable[Any]) -> list[StoredChunk]:
    """Convert the payloads of one file. Raises `msgspec.ValidationError`."""
    chunks = (msgspec.convert(payload, StoredChunk) for payload in payloads)
    return sorted(chunks, key=lambda chunk: chunk.ordinal)


def parse_manifest(stored: Any, complaint: str) -> Manifest:
    """Convert a stored manifest; unknown fields are ignored.

    Raises `IndexUnreadable(complaint)` if a required field is missing or malformed.
    """
    if isinstance(stored, dict) and stored.get("pushed"):  # written before `origin`
        stored = {"origin": UPLOADED} | stored
    try:
        return msgspec.convert(stored, Manifest)
    except msgspec.ValidationError:
        error = IndexUnreadable(complaint)
        model = stored.get("embedding_model") if isinstance(stored, dict) else None
        error.embedding_model = model if isinstance(model, str) else None
        raise error from None


def new_generation() -> str:
    """A unique name; later generations sort after earlier ones."""
    return f"{datetime.now(UTC):{_GENERATION_TIME}}-{uuid4().hex[:6]}"


def generation_time(generation: str) -> datetime | None:
    """When a generation was started; None if this is not a generation's name."""
    try:
        return datetime.strptime(generation[:-7], _GENERATION_TIME).replace(tzinfo=UTC)
    except ValueError:
        return None


def check_dimension(found: int, expected: int) -> None:
    """Raises `UpstreamError` if an embedder changes its vectors' length during a run."""
    if found != expected:
        raise UpstreamError(
            f"The embedder returned vectors of dimension {found}, but the index has {expected}. "
            "The index was not changed. Check the embedding model, or ingest with force_reindex."
        )
