"""Run ingestion as a background task: start, preview, status, cancel, wait."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from lib.book import content_folder
from lib.crawl_copy import remove_other_copies
from lib.embedding import Embedder
from lib.errors import InvalidRequest, NotFound, QuireError
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
from lib.store import UPLOADED, Store

if TYPE_CHECKING:
    from yarl import URL

_log = logging.getLogger(__name__)

_MAX_REMEMBERED_TASKS = 50


class IngestRequest(msgspec.Struct, kw_only=True):
    """What to ingest. All fields have defaults; an empty body is valid."""

    content_path: (
        Annotated[str, msgspec.Meta(description="The content folder, or a path inside it.")] | None
    ) = None
    url: (
        Annotated[
            str,
            msgspec.Meta(
                description="Address of a published site or of its sitemap.xml, to read from the "
                "web instead of the content folder."
            ),
        ]
        | None
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


@dataclass(frozen=True, slots=True)
class _Source:
    """What to read: a folder, or a site on the web."""

    origin: str
    """`lib.store.Manifest.origin`"""
    folder: Path | None
    url: "URL | None" = None
    fetch: bool = True
    """Whether to read the site, or only its stored copy."""


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

    async def start(
        self, request: IngestRequest, *, root: Path | None = None, fetch: bool = True
    ) -> IngestStarted:
        """Start a task in the background, or return the running one.

        `root` replaces the content folder by another one, which no request may choose: one that the
        server created, or that is named on the command line. Without `fetch`, the stored copy of a
        site on the web is indexed. Raises `InvalidRequest` for a path that is not
        a folder inside the content folder and for a text that is no address, and the errors of
        `may_begin`.
        """
        source = await self._source(request, root, fetch=fetch)
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
        task = IngestTask(origin=source.origin)
        self._tasks[task.task_id] = task
        while len(self._tasks) > _MAX_REMEMBERED_TASKS:
            del self._tasks[next(iter(self._tasks))]
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        task.run = asyncio.create_task(self._run(task, source, request, found))
        total = await asyncio.shield(found)
        return IngestStarted(
            status="started",
            message=f"Reading {source.url}." if source.url else f"Ingesting {total} files.",
            task_id=task.task_id,
            estimated_files=total,
        )

    async def preview(self, request: IngestRequest, *, root: Path | None = None) -> Preview:
        """Compute what `start` would do, without doing it. Raises `QuireError`."""
        task = IngestTask()
        source = await self._source(request, root)
        async with open_reader(*await self._book(source, task, request)) as reader:
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

    async def _source(
        self, request: IngestRequest, root: Path | None = None, *, fetch: bool = True
    ) -> _Source:
        if request.url is None:
            if root is None:
                content = self._settings.book_content_path
                return _Source("", content_folder(content, request.content_path))
            uploaded = root == self._settings.pushed_content
            return _Source(UPLOADED if uploaded else str(root), root)
        if request.content_path:
            raise InvalidRequest(
                "The fields url and content_path exclude each other.", details={"field": "url"}
            )
        await asyncio.to_thread(__import__, "lib.crawl")  # takes 0.1 s
        from lib.crawl import parse_address

        url = parse_address(request.url)
        return _Source(str(url), None, url, fetch)

    async def _book(
        self, source: _Source, task: IngestTask, request: IngestRequest
    ) -> tuple[Settings, Path]:
        """Read the site, if the source is one. Returns how to read a folder, and the folder."""
        if source.folder:
            return self._settings, source.folder
        assert source.url
        from lib.crawl import crawl, stored_copy

        def report(done: int, total: int) -> None:
            task.pages_fetched, task.total_files = done, total

        copies = self._settings.crawled_content
        if source.fetch:
            limits, force = self._settings.limits, request.force_reindex
            site = await crawl(source.url, copies, limits, force=force, report=report)
        elif found := await asyncio.to_thread(stored_copy, source.url, copies):
            site = found
        else:
            raise InvalidRequest(f"The stored copy of {source.url} is gone. Read the site again.")
        task.add_errors(site.errors)
        # The addresses of the copy are exact, whatever the settings say.
        settings = replace(
            self._settings,
            site_url=site.site_url,
            site_source="html",
            site_options={},
            site_build=None,
        )
        return settings, site.root

    async def _run(
        self,
        task: IngestTask,
        source: _Source,
        request: IngestRequest,
        found: "asyncio.Future[int]",
    ) -> None:
        task.status = "processing"
        began = time.monotonic()
        if source.url:
            found.set_result(0)  # reading a site may take hours
        try:
            async with open_reader(*await self._book(source, task, request)) as reader:
                book = reader.book
                task.add_errors(book.errors)
                task.notes = [*book.notes]
                task.total_files = len(book.paths)
                if not found.done():
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
                copies = self._settings.crawled_content
                await asyncio.to_thread(remove_other_copies, copies, reader.root)
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
