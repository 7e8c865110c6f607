"""From a folder of Markdown to a published index, as a task that runs in the background.

folder -> survey -> changed files -> chunks -> vectors -> a new generation -> published in one step

Readers search the old generation until the new one is whole. Files that did not change are taken
over as they are; of those that did, only chunks with new content are embedded. What was embedded
before a run failed or was killed is lent to the next. A file that cannot be read is one line
among the errors, never the end of the run.
"""

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal
from uuid import uuid4

import msgspec

from lib.book import Book, content_folder, digest
from lib.book_reader import read_book
from lib.changed_files import survey
from lib.documents import DocumentError, discover
from lib.embedding import Embedder
from lib.errors import (
    IndexUnreadable,
    InvalidRequest,
    NotFound,
    QuireError,
    StoreUnavailable,
)
from lib.index_writer import Counts, IndexWriter
from lib.link_check import unresolved_links
from lib.memory import give_back
from lib.settings import Settings
from lib.site_detection import detect_site
from lib.store import INDEX_FORMAT, Ledger, Manifest, Store, new_generation

log = logging.getLogger(__name__)

TaskStatus = Literal["pending", "processing", "completed", "failed"]
MAX_REMEMBERED_TASKS = 50
MAX_LINES = 1_000
"""Of errors, and of links that lead nowhere, in a report."""
SHRINK_LIMIT = 0.5
"""An index of less than this share of the old one's chunks is not published unless told."""
PUBLISH_UNDERSCORED = frozenset({"hugo", "jekyll", "mkdocs", "sphinx", "vitepress"})
"""Generators to which a leading underscore does not mean a partial: `_index.md`, `_posts/`."""
RARE_LANGUAGE = 0.02
"""Share of a book's pages below which a language does not count."""
SMALL_BOOK = 20
"""With fewer chunks than this a book may shrink as it likes."""

Timestamp = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class IngestRequest(msgspec.Struct, kw_only=True):
    """What to ingest. Everything has a default, an empty body works."""

    content_path: (
        Annotated[str, msgspec.Meta(description="The content folder, or a path inside it.")] | None
    ) = None
    force_reindex: Annotated[
        bool,
        msgspec.Meta(description="Build everything anew, and publish even a far smaller index."),
    ] = False
    batch_size: Annotated[
        int, msgspec.Meta(ge=1, le=1000, description="Texts in one call of the embedder.")
    ] = 100


class IngestStarted(msgspec.Struct, frozen=True, kw_only=True):
    """The task that runs now: a new one, or the one that was running already."""

    status: Literal["started", "in_progress"]
    message: str
    task_id: str
    estimated_files: int


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


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What an ingestion would do."""

    files_unchanged: int
    files_changed: list[str]
    files_removed: list[str]
    chunks: Annotated[int, msgspec.Meta(description="Of the changed files.")]
    tokens: Annotated[int, msgspec.Meta(description="To embed at the most, estimated.")]
    errors: list[str]


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


@dataclass(frozen=True, slots=True)
class Before:
    """The published index, as far as the next one can build upon it."""

    manifest: Manifest | None = None
    usable: bool = False
    """Whether unchanged files may be taken over: same book, chunker, addresses, model, layout."""
    ledger: Ledger = field(default_factory=dict)


class Ingestion:
    """Runs one ingestion at a time and remembers the last ones."""

    def __init__(
        self,
        settings: Settings,
        embedder: Embedder,
        store: Store,
        may_begin: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`may_begin` raises where it is known before that a run would come to nothing."""
        self._settings = settings
        self._may_begin = may_begin
        self._embedder = embedder
        self._store = store
        self._tasks: dict[str, Task] = {}

    @property
    def latest(self) -> Task | None:
        return next(reversed(self._tasks.values()), None)

    async def start(self, request: IngestRequest, *, root: Path | None = None) -> IngestStarted:
        """Begin in the background. While one runs, say so and name it.

        `root` is a folder outside the content folder that the program itself has made. Raises
        `InvalidRequest` for a path that is not a folder inside the content folder, and what
        `may_begin` raises.
        """
        folder = root or content_folder(self._settings.book_content_path, request.content_path)
        if self._may_begin and not (self.latest and self.latest.running):
            await self._may_begin()
        running = self.latest
        if running and running.running:
            return IngestStarted(
                status="in_progress",
                message="An ingestion is running already; this is its task.",
                task_id=running.task_id,
                estimated_files=running.total_files,
            )
        task = Task()
        self._tasks[task.task_id] = task
        while len(self._tasks) > MAX_REMEMBERED_TASKS:
            del self._tasks[next(iter(self._tasks))]
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        task.run = asyncio.create_task(self._run(task, folder, request, found))
        total = await asyncio.shield(found)
        return IngestStarted(
            status="started",
            message=f"Ingesting {total} files.",
            task_id=task.task_id,
            estimated_files=total,
        )

    async def preview(self, request: IngestRequest) -> Preview:
        """What `start` would do, without doing it. Raises `QuireError`."""
        task = Task()
        folder = content_folder(self._settings.book_content_path, request.content_path)
        book = await self._book(folder, task)
        before = await self._before(book, force=request.force_reindex)
        plan = await asyncio.to_thread(survey, book, before.ledger)
        task.complain(plan.errors)
        chunks = tokens = 0
        async for batch in read_book(book, plan.changed):
            chunks += len(batch.pieces)
            tokens += sum(piece.chunk.tokens for piece in batch.pieces)
            task.complain(batch.errors)
        return Preview(
            files_unchanged=len(plan.unchanged),
            files_changed=plan.changed,
            files_removed=plan.removed,
            chunks=chunks,
            tokens=tokens,
            errors=task.errors,
        )

    def status(self, task_id: str | None) -> IngestStatus:
        """Of one task, or of the latest. Raises `NotFound`."""
        return self._task(task_id).report()

    async def cancel(self, task_id: str | None) -> IngestStatus:
        """Stop a task; readers keep the index they have. Raises `NotFound`."""
        task = self._task(task_id)
        if task.run is not None and task.running:
            task.run.cancel()
            await asyncio.wait((task.run,))
        return task.report()

    async def wait(self) -> None:
        """Until the latest task is over."""
        if self.latest and self.latest.run:
            await asyncio.wait((self.latest.run,))

    async def close(self) -> None:
        """Stop what runs."""
        if self.latest:
            await self.cancel(None)

    def _task(self, task_id: str | None) -> Task:
        task = self._tasks.get(task_id) if task_id else self.latest
        if task is None:
            raise NotFound(
                "There is no such ingestion task."
                if task_id
                else "No ingestion has run since the start."
            )
        return task

    async def _run(
        self, task: Task, folder: Path, request: IngestRequest, found: "asyncio.Future[int]"
    ) -> None:
        task.status = "processing"
        began = time.monotonic()
        try:
            await self._ingest(task, folder, request, found)
            task.status = "completed"
            await asyncio.to_thread(give_back)
        except QuireError as error:
            task.error = error.message
        except asyncio.CancelledError:
            task.error = "The ingestion was stopped; readers have the index they had before."
            raise
        except Exception:
            # A task of its own: whatever happens in it would else be seen by nobody.
            log.exception("the ingestion failed")
            task.error = "The ingestion failed through an error of the program; see its log."
        finally:
            if task.error:
                task.status = "failed"
                task.errors.append(task.error)
                log.warning("the ingestion failed: %s", task.error)
            task.finished_at = datetime.now(UTC)
            if not found.done():
                found.set_result(task.total_files)
            log.info(
                "ingestion %s after %.1f s: %d files, %d chunks, %d embedded, %d errors",
                task.status,
                time.monotonic() - began,
                task.files_processed,
                task.chunks_created,
                task.counts.embedded,
                len(task.errors),
            )

    async def _ingest(
        self, task: Task, folder: Path, request: IngestRequest, found: "asyncio.Future[int]"
    ) -> None:
        book = await self._book(folder, task)
        found.set_result(task.total_files)
        generation = new_generation()
        builder = await self._store.build(generation, self._embedder.model_id)
        try:
            before = await self._before(book, force=request.force_reindex)
            plan = await asyncio.to_thread(survey, book, before.ledger)
            task.complain(plan.errors)
            task.files_unchanged, task.files_removed = len(plan.unchanged), len(plan.removed)
            # Files that cannot be read count as seen to.
            task.files_processed = task.total_files - len(plan.changed)
            if before.manifest and before.usable and not plan.changed and not plan.removed:
                task.chunks_created = task.counts.reused = before.manifest.chunks
                await self._check_links(task, book)
                return
            ledger = {path: before.ledger[path] for path in plan.unchanged}
            if ledger:
                await builder.inherit(without=[*plan.removed, *plan.changed])
                task.chunks_created = sum(len(record.chunks) for record in ledger.values())
                task.counts.reused = task.chunks_created
            writer = IndexWriter(
                self._embedder,
                builder,
                task.counts,
                batch_size=request.batch_size,
                lend=not request.force_reindex,
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
            check_size(task.chunks_created, before.manifest, book, force=request.force_reindex)
            await builder.publish(
                Manifest(
                    generation=generation,
                    embedding_model=self._embedder.model_id,
                    dimension=builder.dimension,
                    chunker=book.chunker,
                    site=book.site_hash(),
                    generator=book.site.generator,
                    content=book.content,
                    configured=configured(self._settings),
                    languages=languages_of(ledger),
                    documents=sum(bool(record.chunks) for record in ledger.values()),
                    chunks=task.chunks_created,
                    created_at=datetime.now(UTC).isoformat(),
                ),
                ledger,
            )
        finally:
            await builder.abandon()
        await self._check_links(task, book)

    async def _book(self, folder: Path, task: Task) -> Book:
        settings = self._settings
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
                underscored=site.generator in PUBLISH_UNDERSCORED,
            )
        except DocumentError as error:
            raise InvalidRequest(f"The book cannot be read: {error}.") from None
        task.complain(list(discovery.errors))
        task.total_files = len(discovery.paths)
        return Book(folder, site, discovery.paths, settings.limits, settings.chunk_tokens)

    async def _before(self, book: Book, *, force: bool) -> Before:
        try:
            manifest = await self._store.manifest()
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
            and manifest.embedding_model == self._embedder.model_id
            and manifest.configured == configured(self._settings)
            and (manifest.chunker, manifest.site, manifest.content)
            == (book.chunker, book.site_hash(), book.content)
        )
        if not usable:
            return Before(manifest)
        try:
            return Before(manifest, True, await self._store.ledger())
        except IndexUnreadable:
            return Before(manifest)

    async def _check_links(self, task: Task, book: Book) -> None:
        place = self._settings.site_check_path
        if place is None:
            return
        urls = await self._store.urls()
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
