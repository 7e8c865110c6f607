"""From a folder of Markdown to a published index.

folder -> survey -> changed files -> chunks -> vectors -> a new generation -> published in one step

Readers search the old generation until the new one is whole. Files that did not change are taken
over as they are; of those that did, only chunks with new content are embedded. What was embedded
before a run failed or was killed is lent to the next. A file that cannot be read is one line
among the errors, never the end of the run.

The writing of a new index: chunks embedded in batches, several at once.

One run of the ingestion, and what is told of it.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal
from uuid import uuid4

import msgspec
import numpy as np

from lib.book import Book, Piece, digest, read_book, survey
from lib.documents import DocumentError, discover
from lib.embedding import Embedder
from lib.errors import IndexUnreadable, InvalidRequest, StoreUnavailable
from lib.settings import Settings
from lib.sites.detection import detect_site
from lib.sites.link_check import unresolved_links
from lib.store import INDEX_FORMAT, GenerationBuilder, Ledger, Manifest, Store, new_generation

GRACE_SECONDS = 3.0


@dataclass(slots=True)
class Counts:
    """Chunks written so far, by where their vectors came from."""

    embedded: int = 0
    reused: int = 0
    tokens: int = 0
    """Estimated, of the texts that were embedded."""


class IndexWriter:
    """Embeds pieces in batches and adds them to a generation.

    With `reuse_vectors`, content that an earlier generation holds takes its vector from there.
    """

    def __init__(
        self,
        embedder: Embedder,
        builder: GenerationBuilder,
        counts: Counts,
        *,
        batch_size: int,
        reuse_vectors: bool,
    ) -> None:
        self._embedder = embedder
        self._builder = builder
        self._counts = counts
        self._batch_size = batch_size
        self._reuse_vectors = reuse_vectors
        self._waiting: list[Piece] = []
        self._running: set[asyncio.Task[None]] = set()

    async def write(self, pieces: Sequence[Piece]) -> None:
        """Take pieces; returns when there is room for more. Raises what an earlier batch raised."""
        self._waiting.extend(pieces)
        while len(self._waiting) >= self._batch_size:
            batch = self._waiting[: self._batch_size]
            del self._waiting[: self._batch_size]
            await self._begin(batch)

    async def finish(self) -> None:
        """Write what waits."""
        if self._waiting:
            await self._begin(self._waiting)
        while self._running:
            await self._settle()

    async def stop(self) -> None:
        """End what still runs after a failure.

        It is given a moment to arrive and be kept, since it is paid for already; none if this is
        cancelled.
        """
        try:
            if self._running:
                await asyncio.wait(self._running, timeout=GRACE_SECONDS)
        finally:
            for task in self._running:
                task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _begin(self, batch: Sequence[Piece]) -> None:
        if len(self._running) >= self._embedder.concurrency:
            await self._settle()
        task = asyncio.create_task(self._write(batch))
        task.add_done_callback(see)
        self._running.add(task)

    async def _settle(self) -> None:
        """Until one batch is done."""
        finished, self._running = await asyncio.wait(
            self._running, return_when=asyncio.FIRST_COMPLETED
        )
        failures = [error for task in finished if (error := task.exception())]
        if failures:
            raise failures[0]

    async def _write(self, batch: Sequence[Piece]) -> None:
        # A text that stands twice in the batch is embedded once.
        texts = {piece.chunk.content_hash: piece.embed_text for piece in batch}
        vectors = dict(await self._builder.reuse_vectors(texts)) if self._reuse_vectors else {}
        reused = sum(piece.chunk.content_hash in vectors for piece in batch)
        fresh = [content_hash for content_hash in texts if content_hash not in vectors]
        if fresh:
            rows = await self._embedder.embed_documents([texts[key] for key in fresh])
            vectors.update(zip(fresh, rows, strict=True))
        await self._builder.add(
            [piece.chunk for piece in batch],
            np.stack([vectors[piece.chunk.content_hash] for piece in batch]),
            [piece.terms for piece in batch],
        )
        self._counts.reused += reused
        self._counts.embedded += len(batch) - reused
        self._counts.tokens += sum(
            {p.chunk.content_hash: p.chunk.tokens for p in batch}[key] for key in fresh
        )


def see(task: asyncio.Task[None]) -> None:
    """The first failure is raised; nobody may be left to look at the others."""
    if not task.cancelled():
        task.exception()


TaskStatus = Literal["pending", "processing", "completed", "failed"]
MAX_LINES = 1_000
"""Of errors, and of links that lead nowhere, in a report."""

Timestamp = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a task has come. `errors` are lines of the form "file: what is wrong with it"."""

    files_processed: int
    total_files: int
    files_unchanged: int
    files_removed: int
    chunks_created: Annotated[int, msgspec.Meta(description="Chunks of the new index so far.")]
    chunks_embedded: Annotated[int, msgspec.Meta(description="Those that needed a new vector.")]
    chunks_reused: int
    tokens_embedded: Annotated[int, msgspec.Meta(description="Estimated.")]
    errors: list[str]
    links_unresolved: Annotated[
        list[str], msgspec.Meta(description="Addresses that SITE_CHECK_PATH does not have.")
    ]


class IngestStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where a task stands."""

    task_id: str
    status: TaskStatus
    progress: Progress
    started_at: Timestamp
    estimated_completion: Timestamp | None = None
    finished_at: Timestamp | None = None
    error: Annotated[
        str | None, msgspec.Meta(description="Why it failed; readers still have the old index.")
    ] = None


@dataclass(slots=True)
class Task:
    """A run of the ingestion."""

    task_id: str = field(default_factory=lambda: str(uuid4()))
    status: TaskStatus = "pending"
    files_processed: int = 0
    total_files: int = 0
    files_unchanged: int = 0
    files_removed: int = 0
    chunks_created: int = 0
    counts: Counts = field(default_factory=Counts)
    errors: list[str] = field(default_factory=list)
    links_unresolved: list[str] = field(default_factory=list)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    finished_at: datetime | None = None
    error: str | None = None
    run: "asyncio.Task[None] | None" = field(default=None, repr=False)

    @property
    def running(self) -> bool:
        return self.run is not None and not self.run.done()

    def complain(self, lines: list[str]) -> None:
        """Add to the errors as far as there is room."""
        self.errors.extend(lines[: max(0, MAX_LINES - len(self.errors))])

    def report(self) -> IngestStatus:
        return IngestStatus(
            task_id=self.task_id,
            status=self.status,
            progress=Progress(
                files_processed=self.files_processed,
                total_files=self.total_files,
                files_unchanged=self.files_unchanged,
                files_removed=self.files_removed,
                chunks_created=self.chunks_created,
                chunks_embedded=self.counts.embedded,
                chunks_reused=self.counts.reused,
                tokens_embedded=self.counts.tokens,
                errors=self.errors,
                links_unresolved=self.links_unresolved,
            ),
            started_at=self.started_at.isoformat(),
            estimated_completion=self._estimate(),
            finished_at=self.finished_at.isoformat() if self.finished_at else None,
            error=self.error,
        )

    def _estimate(self) -> str | None:
        """When it will be done if the rest goes as fast as what was done."""
        if self.finished_at:
            return self.finished_at.isoformat()
        done = self.counts.embedded + self.counts.reused
        if not done or not self.files_processed:
            return None
        # Embedding takes the time; files are only read ahead of it.
        total = self.chunks_created * self.total_files / self.files_processed
        elapsed = (datetime.now(UTC) - self.started_at).total_seconds()
        return (self.started_at + timedelta(seconds=elapsed * total / done)).isoformat()


SHRINK_LIMIT = 0.5
"""An index of less than this share of the old one's chunks is not published unless told."""
SMALL_BOOK = 20
"""With fewer chunks than this a book may shrink as it likes."""
RARE_LANGUAGE = 0.02
"""Share of a book's pages below which a language does not count."""


@dataclass(frozen=True, slots=True)
class Before:
    """The published index, as far as the next one can build upon it."""

    manifest: Manifest | None = None
    usable: bool = False
    """Whether unchanged files may be taken over: same book, chunker, addresses, model, layout."""
    ledger: Ledger = field(default_factory=dict)


async def open_book(settings: Settings, folder: Path, task: Task) -> Book:
    """Find the book in its folder. Raises `InvalidRequest` for one that cannot be listed."""
    site = await asyncio.to_thread(
        detect_site,
        folder,
        site_url=settings.site_url,
        generator=settings.site_generator,
        options=settings.site_options,
    )
    try:
        discovery = await asyncio.to_thread(
            discover,
            folder,
            settings.limits,
            underscored=site.generator.underscored_pages,
        )
    except DocumentError as error:
        raise InvalidRequest(f"The book cannot be read: {error}.") from None
    task.complain(list(discovery.errors))
    task.total_files = len(discovery.paths)
    return Book(folder, site, discovery.paths, settings.limits, settings.chunk_tokens)


async def published(
    store: Store, embedder: Embedder, settings: Settings, book: Book, *, force: bool
) -> Before:
    """What there is to build upon; nothing of it is usable with `force`. Raises `QuireError`."""
    try:
        manifest = await store.manifest()
    except IndexUnreadable:
        return Before()  # the vectors of it that can be read are lent all the same
    except StoreUnavailable:
        if force:  # told to build anew, it does not need the old one to be readable
            return Before()
        raise
    usable = (
        manifest is not None
        and not force
        and manifest.index_format == INDEX_FORMAT
        and manifest.embedding_model == embedder.model_id
        and manifest.configured == configured(settings)
        and (manifest.chunker, manifest.site, manifest.content)
        == (book.chunker, book.site_hash(), book.content)
    )
    if not usable:
        return Before(manifest)
    try:
        return Before(manifest, True, await store.ledger())
    except IndexUnreadable:
        return Before(manifest)


async def index_book(
    store: Store,
    embedder: Embedder,
    settings: Settings,
    book: Book,
    task: Task,
    *,
    force: bool,
    batch_size: int,
) -> None:
    """Publish a new generation, unless nothing has changed. Raises `QuireError`.

    `force` embeds everything anew, and publishes even a far smaller index; `batch_size` is the
    number of texts in one call of the embedder.
    """
    generation = new_generation()
    builder = await store.build(generation, embedder.model_id)
    try:
        before = await published(store, embedder, settings, book, force=force)
        plan = await asyncio.to_thread(survey, book, before.ledger)
        task.complain(plan.errors)
        task.files_unchanged, task.files_removed = len(plan.unchanged), len(plan.removed)
        # Files that cannot be read count as seen to.
        task.files_processed = task.total_files - len(plan.changed)
        if before.manifest and before.usable and not plan.changed and not plan.removed:
            task.chunks_created = task.counts.reused = before.manifest.chunks
            return
        ledger = {path: before.ledger[path] for path in plan.unchanged}
        if ledger:
            await builder.copy_unchanged(without=[*plan.removed, *plan.changed])
            task.chunks_created = sum(len(record.chunks) for record in ledger.values())
            task.counts.reused = task.chunks_created
        writer = IndexWriter(
            embedder, builder, task.counts, batch_size=batch_size, reuse_vectors=not force
        )
        try:
            async for batch in read_book(book, plan.changed):
                task.files_processed += batch.files
                task.chunks_created += len(batch.pieces)
                task.complain(batch.errors)
                ledger.update(batch.ledger)
                await writer.write(batch.pieces)
            await writer.finish()
        finally:
            await writer.stop()
        check_size(task.chunks_created, before.manifest, book, force=force)
        await builder.publish(
            Manifest(
                generation=generation,
                embedding_model=embedder.model_id,
                dimension=builder.dimension,
                chunker=book.chunker,
                site=book.site_hash(),
                generator=book.site.generator.name,
                content=book.content,
                configured=configured(settings),
                languages=languages_of(ledger),
                documents=sum(bool(record.chunks) for record in ledger.values()),
                chunks=task.chunks_created,
                created_at=datetime.now(UTC).isoformat(),
            ),
            ledger,
        )
    finally:
        await builder.discard()


async def check_links(store: Store, settings: Settings, book: Book, task: Task) -> None:
    """Tell which addresses of the index lead nowhere, where there is a site to look at."""
    place = settings.site_check_path
    if place is None:
        return
    urls = await store.urls()
    lines = await asyncio.to_thread(unresolved_links, urls, place, book.site.base_url)
    task.links_unresolved.extend(lines[:MAX_LINES])


def configured(settings: Settings) -> str:
    """A hash of the settings that decide what an index of the configured book holds, and how."""
    parts = [
        str(settings.book_content_path.resolve()),
        settings.site_url,
        settings.site_generator,
        json.dumps(settings.site_options, sort_keys=True),
        str(settings.chunk_tokens),
    ]
    layout = (settings.qdrant_quantization, settings.qdrant_on_disk)
    if settings.qdrant_url and layout != ("none", False):
        # Only then, so that indexes from before there was a choice stay as good as they are.
        parts += map(str, layout)
    return digest(parts)


def languages_of(ledger: Ledger) -> tuple[str, ...]:
    """Those of a book's pages that a question should be stemmed in, the commonest first.

    A page among a hundred is as likely a mistaken one, and each language costs every question time.
    """
    pages = Counter(record.language for record in ledger.values() if record.chunks)
    enough = RARE_LANGUAGE * pages.total()
    return tuple(language for language, count in pages.most_common() if count >= enough)


def check_size(chunks: int, old: Manifest | None, book: Book, *, force: bool) -> None:
    """Raises `InvalidRequest` where publishing would most likely be a mistake."""
    if not chunks:
        raise InvalidRequest(
            "There is no readable text in the content folder; the index stays as it was."
        )
    if force or old is None or old.content != book.content or old.chunks < SMALL_BOOK:
        return
    if chunks < SHRINK_LIMIT * old.chunks:
        raise InvalidRequest(
            f"The new index would have {chunks} chunks where the old one has {old.chunks}, so it "
            "was not published. If that is meant, ingest with force_reindex (--force in the shell)."
        )
