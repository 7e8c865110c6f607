"""From a folder of Markdown to a published index, as a task that runs in the background.

folder -> documents -> chunks -> vectors -> a new generation -> published in one step

Readers search the old generation until the new one is whole. A chunk whose content is in the old
one keeps its vector: only what changed is embedded. A file that cannot be read is one line among
the errors, never the end of the run.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal
from uuid import uuid4

import msgspec

from lib.book import Book, content_folder, read_book
from lib.chunking import CHUNKER_VERSION
from lib.documents import discover
from lib.embedding import Embedder
from lib.errors import NotFound, QuireError
from lib.index_writer import Counts, IndexWriter
from lib.routing import detect_site
from lib.settings import Settings
from lib.store import Store

log = logging.getLogger(__name__)

TaskStatus = Literal["pending", "processing", "completed", "failed"]
MAX_REMEMBERED_TASKS = 50
MAX_ERRORS = 1_000


class IngestRequest(msgspec.Struct, kw_only=True):
    """What to ingest. Everything has a default, an empty body works."""

    content_path: (
        Annotated[str, msgspec.Meta(description="The content folder, or a path inside it.")] | None
    ) = None
    force_reindex: Annotated[
        bool, msgspec.Meta(description="Embed everything anew, unchanged chunks too.")
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
    chunks_created: int
    chunks_embedded: int
    chunks_reused: int
    errors: list[str]


class IngestStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where a task stands."""

    task_id: str
    status: TaskStatus
    progress: Progress
    started_at: Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
    estimated_completion: (
        Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})] | None
    ) = None
    finished_at: Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})] | None = (
        None
    )
    error: str | None = None


@dataclass(slots=True)
class Task:
    """A run of the ingestion."""

    task_id: str
    status: TaskStatus = "pending"
    files_processed: int = 0
    total_files: int = 0
    chunks_created: int = 0
    counts: Counts = field(default_factory=Counts)
    errors: list[str] = field(default_factory=list)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    finished_at: datetime | None = None
    error: str | None = None
    run: "asyncio.Task[None] | None" = field(default=None, repr=False)

    def report(self) -> IngestStatus:
        return IngestStatus(
            task_id=self.task_id,
            status=self.status,
            progress=Progress(
                files_processed=self.files_processed,
                total_files=self.total_files,
                chunks_created=self.chunks_created,
                chunks_embedded=self.counts.embedded,
                chunks_reused=self.counts.reused,
                errors=self.errors,
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


class Ingestion:
    """Runs one ingestion at a time and remembers the last ones."""

    def __init__(self, settings: Settings, embedder: Embedder, store: Store) -> None:
        self._settings = settings
        self._embedder = embedder
        self._store = store
        self._tasks: dict[str, Task] = {}

    @property
    def latest(self) -> Task | None:
        return next(reversed(self._tasks.values()), None)

    async def start(self, request: IngestRequest) -> IngestStarted:
        """Begin in the background. While one runs, say so and name it.

        Raises `InvalidRequest` for a path that is not a folder inside the content folder.
        """
        root = content_folder(self._settings.book_content_path, request.content_path)
        running = self.latest
        if running and running.run and not running.run.done():
            return IngestStarted(
                status="in_progress",
                message="An ingestion is running already; this is its task.",
                task_id=running.task_id,
                estimated_files=running.total_files,
            )
        task = Task(str(uuid4()))
        self._tasks[task.task_id] = task
        while len(self._tasks) > MAX_REMEMBERED_TASKS:
            del self._tasks[next(iter(self._tasks))]
        found = asyncio.get_running_loop().create_future()
        task.run = asyncio.create_task(self._run(task, root, request, found))
        total = await asyncio.shield(found)
        return IngestStarted(
            status="started",
            message=f"Ingesting {total} files.",
            task_id=task.task_id,
            estimated_files=total,
        )

    def status(self, task_id: str | None) -> IngestStatus:
        """Of one task, or of the latest. Raises `NotFound`."""
        task = self._tasks.get(task_id) if task_id else self.latest
        if task is None:
            raise NotFound(
                "There is no such ingestion task."
                if task_id
                else "No ingestion has run since the start."
            )
        return task.report()

    async def wait(self) -> None:
        """Until the latest task is over."""
        if self.latest and self.latest.run:
            await asyncio.wait((self.latest.run,))

    async def close(self) -> None:
        """Stop what runs; what readers see stays as it is."""
        if self.latest and self.latest.run:
            self.latest.run.cancel()
            await asyncio.wait((self.latest.run,))

    async def _run(
        self, task: Task, root: Path, request: IngestRequest, found: "asyncio.Future[int]"
    ) -> None:
        task.status = "processing"
        began = time.monotonic()
        try:
            await self._ingest(task, root, request, found)
            task.status = "completed"
        except QuireError as error:
            task.status, task.error = "failed", error.message
        except asyncio.CancelledError:
            task.status, task.error = "failed", "The ingestion was stopped."
            raise
        except Exception:
            # A task of its own: whatever happens in it would else be seen by nobody.
            log.exception("the ingestion failed")
            task.status = "failed"
            task.error = "The ingestion failed through an error of the program; see its log."
        finally:
            if not found.done():
                found.set_result(task.total_files)
            task.finished_at = datetime.now(UTC)
            if task.error:
                task.errors.append(task.error)
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
        self, task: Task, root: Path, request: IngestRequest, found: "asyncio.Future[int]"
    ) -> None:
        settings = self._settings
        discovery = await asyncio.to_thread(discover, root)
        task.errors.extend(discovery.errors[:MAX_ERRORS])
        task.total_files = len(discovery.paths)
        found.set_result(task.total_files)
        site = await asyncio.to_thread(
            detect_site,
            root,
            site_url=settings.site_url,
            generator=settings.site_generator,
            options=settings.site_options,
        )
        writer = IndexWriter(
            self._embedder,
            self._store,
            known={} if request.force_reindex else await self._known_vectors(),
            counts=task.counts,
            batch_size=request.batch_size,
        )
        documents: set[str] = set()
        try:
            async for batch in read_book(Book(root, site, discovery.paths, settings.chunk_tokens)):
                task.files_processed += batch.files
                task.chunks_created += len(batch.pieces)
                task.errors.extend(batch.errors[: MAX_ERRORS - len(task.errors)])
                documents.update(piece.chunk.file_path for piece in batch.pieces)
                await writer.write(batch.pieces)
            await writer.publish(
                chunker=f"{CHUNKER_VERSION}/{settings.chunk_tokens}",
                generator=site.generator,
                documents=len(documents),
            )
        except BaseException:
            await writer.discard()
            raise

    async def _known_vectors(self) -> Mapping[str, str]:
        """What the published generation can lend: nothing if its vectors are of another model."""
        manifest = await self._store.manifest()
        if manifest is None or manifest.embedding_model != self._embedder.model_id:
            return {}
        return await self._store.known_vectors()
