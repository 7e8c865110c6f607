"""Run ingestion as a background task: start, preview, status, cancel, wait."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from lib.book import content_folder
from lib.embedding import Embedder
from lib.errors import NotFound, QuireError
from lib.indexing import (
    IngestStatus,
    IngestTask,
    check_links,
    index_book,
    left_out_pages,
    published_index,
)
from lib.reader import open_reader
from lib.runtime import trim_heap
from lib.settings import Settings
from lib.store import Store

_log = logging.getLogger(__name__)

_MAX_REMEMBERED_TASKS = 50


class IngestRequest(msgspec.Struct, kw_only=True):
    """What to ingest. All fields have defaults; an empty body is valid."""

    content_path: (
        Annotated[str, msgspec.Meta(description="The content folder, or a path inside it.")] | None
    ) = None
    force_reindex: Annotated[
        bool,
        msgspec.Meta(description="Rebuild everything, and publish even a much smaller index."),
    ] = False
    batch_size: Annotated[
        int, msgspec.Meta(ge=1, le=1000, description="Texts per call of the embedder.")
    ] = 100


class IngestStarted(msgspec.Struct, frozen=True, kw_only=True):
    """The running task: new, or already running."""

    status: Literal["started", "in_progress"]
    message: str
    task_id: str
    estimated_files: int


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a dry run."""

    files_unchanged: int
    files_changed: list[str]
    files_removed: list[str]
    chunks: Annotated[int, msgspec.Meta(description="Of the changed files.")]
    tokens: Annotated[
        int, msgspec.Meta(description="Upper limit of the tokens to embed, estimated.")
    ]
    errors: list[str]
    notes: list[str]
    left_out: list[str]


class Ingestion:
    """Runs one ingestion at a time and remembers the last `_MAX_REMEMBERED_TASKS`."""

    def __init__(
        self,
        settings: Settings,
        embedder: Embedder,
        store: Store,
        may_begin: Callable[[], Awaitable[None]] | None = None,
        when_published: Callable[[], None] | None = None,
    ) -> None:
        """`may_begin` raises if a run is known to fail."""
        self._settings = settings
        self._may_begin = may_begin
        self._when_published = when_published
        self._embedder = embedder
        self._store = store
        self._tasks: dict[str, IngestTask] = {}

    @property
    def latest(self) -> IngestTask | None:
        return next(reversed(self._tasks.values()), None)

    async def start(self, request: IngestRequest, *, root: Path | None = None) -> IngestStarted:
        """Start a task in the background, or return the running one.

        `root` replaces the content folder by one that the server created. Raises `InvalidRequest`
        for a path that is not a folder inside the content folder, and the errors of `may_begin`.
        """
        folder = root or content_folder(self._settings.book_content_path, request.content_path)
        if self._may_begin and not (self.latest and self.latest.running):
            await self._may_begin()
        running = self.latest
        if running and running.running:
            return IngestStarted(
                status="in_progress",
                message="An ingestion is already running. Follow it with this task_id.",
                task_id=running.task_id,
                estimated_files=running.total_files,
            )
        task = IngestTask()
        self._tasks[task.task_id] = task
        while len(self._tasks) > _MAX_REMEMBERED_TASKS:
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
        """Compute what `start` would do, without doing it. Raises `QuireError`."""
        task = IngestTask()
        folder = content_folder(self._settings.book_content_path, request.content_path)
        async with open_reader(self._settings, folder) as reader:
            before = await published_index(
                self._settings,
                self._store,
                self._embedder,
                reader.book,
                force=request.force_reindex,
            )
            plan = await reader.survey(before.ledger)
            task.add_errors([*reader.book.errors, *plan.errors])
            ledger = {path: before.ledger[path] for path in plan.unchanged}
            chunks = tokens = 0
            async for page in reader.read(plan.changed):
                if page.record:
                    ledger[page.path] = page.record
                chunks += len(page.chunks)
                tokens += sum(prepared.chunk.tokens for prepared in page.chunks)
                task.add_errors(page.errors)
        return Preview(
            files_unchanged=len(plan.unchanged),
            files_changed=plan.changed,
            files_removed=plan.removed,
            chunks=chunks,
            tokens=tokens,
            errors=task.errors,
            notes=[*reader.book.notes],
            left_out=left_out_pages(ledger),
        )

    def status(self, task_id: str | None) -> IngestStatus:
        """Return the status of a task, by default the latest. Raises `NotFound`."""
        return self._task(task_id).report()

    async def cancel(self, task_id: str | None) -> IngestStatus:
        """Stop a task; the old index stays in use. Raises `NotFound`."""
        task = self._task(task_id)
        if task.run is not None and task.running:
            task.run.cancel()
            await asyncio.wait((task.run,))
        return task.report()

    async def wait(self) -> None:
        """Wait for the latest task to end."""
        if self.latest and self.latest.run:
            await asyncio.wait((self.latest.run,))

    async def close(self) -> None:
        """Stop the running task."""
        if self.latest:
            await self.cancel(None)

    def _task(self, task_id: str | None) -> IngestTask:
        task = self._tasks.get(task_id) if task_id else self.latest
        if task is None:
            raise NotFound(
                f"There is no such ingestion task. The last {_MAX_REMEMBERED_TASKS} are kept."
                if task_id
                else "No ingestion has run since the server started."
            )
        return task

    async def _run(
        self, task: IngestTask, folder: Path, request: IngestRequest, found: "asyncio.Future[int]"
    ) -> None:
        task.status = "processing"
        began = time.monotonic()
        try:
            async with open_reader(self._settings, folder) as reader:
                book = reader.book
                task.add_errors(book.errors)
                task.notes = [*book.notes]
                task.total_files = len(book.paths)
                found.set_result(task.total_files)
                await index_book(
                    self._settings,
                    self._store,
                    self._embedder,
                    reader,
                    task,
                    force=request.force_reindex,
                    batch_size=request.batch_size,
                )
                if self._when_published:
                    self._when_published()
                task.links_unresolved = await check_links(
                    self._store, reader, self._settings.site_check_path
                )
            task.status = "completed"
            await asyncio.to_thread(trim_heap)
        except QuireError as error:
            task.error = error.message
        except asyncio.CancelledError:
            task.error = "The ingestion was stopped. The old index stays in use."
            raise
        except Exception:
            # top of a task: nothing else would report the error
            _log.exception("the ingestion failed")
            task.error = "Internal error during ingestion. See the server log."
        finally:
            if task.error:
                task.status = "failed"
                task.errors.append(task.error)
                _log.warning("the ingestion failed: %s", task.error)
            task.finished_at = datetime.now(UTC)
            if not found.done():
                found.set_result(task.total_files)
            _log.info(
                "ingestion %s after %.1f s: %d files, %d chunks, %d embedded, %d errors",
                task.status,
                time.monotonic() - began,
                task.files_processed,
                task.chunks_created,
                task.chunks_embedded,
                len(task.errors),
            )
