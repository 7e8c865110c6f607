"""Build an index from a folder of Markdown and publish it.

folder -> survey -> changed files -> chunks -> vectors -> new generation -> publish in one step

Searches use the old generation until the new one is complete. Unchanged files are copied, and of
changed files only chunks with new content are embedded. Vectors from a failed or killed run are
reused by the next. An unreadable file is one line in the errors and never stops the run.
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from heapq import nsmallest
from pathlib import Path
from typing import Annotated, Literal
from uuid import uuid4

import msgspec
import numpy as np

from lib.book import PreparedChunk, digest
from lib.embedding import Embedder, Vectors
from lib.errors import IndexUnreadable, InvalidRequest, QuireError, StoreUnavailable
from lib.reader import Reader
from lib.refusal import (
    answerability_margin,
    answerability_signals,
    questions_of_chunk,
    refusal_shift,
)
from lib.search import CANDIDATES, look_up
from lib.settings import Settings
from lib.sites.sitemap import SitemapError
from lib.store import (
    INDEX_FORMAT,
    UPLOADED,
    GenerationBuilder,
    Ledger,
    Manifest,
    Store,
    StoredChunk,
    all_urls,
    new_generation,
)
from lib.worker import Opened

_log = logging.getLogger(__name__)

_GRACE_SECONDS = 3.0
_TaskStatus = Literal["pending", "processing", "completed", "failed"]
_MAX_LINES = 1_000
"""Limit of the errors, and of the unresolved links, in a report."""

_Timestamp = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class _Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Progress of a task. `errors` are lines of the form "file: problem"."""

    pages_fetched: Annotated[
        int, msgspec.Meta(description="Pages read from the web so far, of total_files.")
    ]
    files_processed: int
    total_files: int
    files_unchanged: int
    files_removed: int
    chunks_created: Annotated[int, msgspec.Meta(description="Chunks in the new index so far.")]
    chunks_embedded: Annotated[int, msgspec.Meta(description="Chunks with a new vector.")]
    chunks_reused: int
    tokens_embedded: Annotated[int, msgspec.Meta(description="Estimated.")]
    errors: list[str]
    notes: Annotated[list[str], msgspec.Meta(description="What was read, if there was a choice.")]
    left_out: Annotated[
        list[str], msgspec.Meta(description="Pages without text of their own, by reason.")
    ]
    links_unresolved: Annotated[
        list[str], msgspec.Meta(description="Addresses missing from SITE_CHECK_PATH.")
    ]


class IngestStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Status of an ingestion task."""

    task_id: str
    status: _TaskStatus
    progress: _Progress
    started_at: _Timestamp
    estimated_completion: _Timestamp | None = None
    finished_at: _Timestamp | None = None
    error: Annotated[
        str | None, msgspec.Meta(description="Why it failed; the old index stays in use.")
    ] = None


@dataclass(slots=True)
class IngestTask:
    """One run of the ingestion. The fields of `_Progress` have the same names here."""

    task_id: str = field(default_factory=lambda: str(uuid4()))
    origin: str = ""
    """`Manifest.origin`"""
    status: _TaskStatus = "pending"
    pages_fetched: int = 0
    files_processed: int = 0
    total_files: int = 0
    files_unchanged: int = 0
    files_removed: int = 0
    chunks_created: int = 0
    chunks_embedded: int = 0
    chunks_reused: int = 0
    tokens_embedded: int = 0
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    links_unresolved: list[str] = field(default_factory=list)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    finished_at: datetime | None = None
    error: str | None = None
    run: "asyncio.Task[None] | None" = field(default=None, repr=False)

    @property
    def running(self) -> bool:
        return self.run is not None and not self.run.done()

    def add_errors(self, lines: Sequence[str]) -> None:
        """Add lines to the errors, up to `_MAX_LINES`."""
        self.errors.extend(lines[: max(0, _MAX_LINES - len(self.errors))])

    def report(self) -> IngestStatus:
        return IngestStatus(
            task_id=self.task_id,
            status=self.status,
            progress=_Progress(
                **{name: getattr(self, name) for name in _Progress.__struct_fields__}
            ),
            started_at=self.started_at.isoformat(),
            estimated_completion=self._estimate(),
            finished_at=self.finished_at.isoformat() if self.finished_at else None,
            error=self.error,
        )

    def _estimate(self) -> str | None:
        """Extrapolate the time of completion from the share of chunks done."""
        if self.finished_at:
            return self.finished_at.isoformat()
        done = self.chunks_embedded + self.chunks_reused
        if not done or not self.files_processed:
            return None
        # chunks, not files: embedding takes most of the time, and files are read ahead
        total = self.chunks_created * self.total_files / self.files_processed
        elapsed = (datetime.now(UTC) - self.started_at).total_seconds()
        return (self.started_at + timedelta(seconds=elapsed * total / done)).isoformat()


class _IndexWriter:
    """Embeds chunks in concurrent batches and adds them to a generation.

    With `reuse_vectors`, known content takes its vector from an earlier generation.
    """

    def __init__(
        self,
        embedder: Embedder,
        builder: GenerationBuilder,
        task: IngestTask,
        *,
        batch_size: int,
        reuse_vectors: bool,
    ) -> None:
        self._embedder = embedder
        self._builder = builder
        self._task = task
        self._batch_size = batch_size
        self._reuse_vectors = reuse_vectors
        self._waiting: list[PreparedChunk] = []
        self._running: set[asyncio.Task[None]] = set()

    async def write(self, chunks: Sequence[PreparedChunk]) -> None:
        """Queue chunks; waits while all slots are busy. Raises the error of an earlier batch."""
        self._waiting.extend(chunks)
        while len(self._waiting) >= self._batch_size:
            batch = self._waiting[: self._batch_size]
            del self._waiting[: self._batch_size]
            await self._begin(batch)

    async def finish(self) -> None:
        """Write the queued chunks and wait for all batches."""
        if self._waiting:
            await self._begin(self._waiting)
        while self._running:
            await self._settle()

    async def stop(self) -> None:
        """Stop running batches after a failure.

        They get `_GRACE_SECONDS` to finish and be stored, because they are already paid for; none
        if the call is cancelled.
        """
        try:
            if self._running:
                await asyncio.wait(self._running, timeout=_GRACE_SECONDS)
        finally:
            for task in self._running:
                task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _begin(self, batch: Sequence[PreparedChunk]) -> None:
        if len(self._running) >= self._embedder.concurrency:
            await self._settle()
        task = asyncio.create_task(self._write(batch))
        # retrieved here, because asyncio logs other exceptions, and only the first is raised
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        self._running.add(task)

    async def _settle(self) -> None:
        """Wait for one batch to finish."""
        finished, self._running = await asyncio.wait(
            self._running, return_when=asyncio.FIRST_COMPLETED
        )
        failures = [error for task in finished if (error := task.exception())]
        if failures:
            raise failures[0]

    async def _write(self, batch: Sequence[PreparedChunk]) -> None:
        # embed equal texts once
        texts = {each.chunk.content_hash: each.embed_text for each in batch}
        vectors = dict(await self._builder.reuse_vectors(texts)) if self._reuse_vectors else {}
        reused = sum(each.chunk.content_hash in vectors for each in batch)
        fresh = [content_hash for content_hash in texts if content_hash not in vectors]
        if fresh:
            rows = await self._embedder.embed_documents([texts[key] for key in fresh])
            vectors.update(zip(fresh, rows, strict=True))
        await self._builder.add(
            [each.chunk for each in batch],
            np.stack([vectors[each.chunk.content_hash] for each in batch]),
            [each.terms for each in batch],
        )
        self._task.chunks_reused += reused
        self._task.chunks_embedded += len(batch) - reused
        tokens = {each.chunk.content_hash: each.chunk.tokens for each in batch}
        self._task.tokens_embedded += sum(tokens[key] for key in fresh)


_SHRINK_LIMIT = 0.5
"""An index below this share of the old one's chunks is published only with `force`."""
_SMALL_BOOK = 20
"""Below this number of chunks, there is no shrink limit and no calibration."""
_SAMPLED = 20
"""Chunks that the refusal threshold is calibrated with; each makes two questions."""
_SMALL_BOOK_SHIFT = -1.0
"""A small book has few of a question's words even if it answers. Measured on twelve books."""
_RARE_LANGUAGE = 0.02
"""Languages below this share of the pages are ignored."""


@dataclass(frozen=True, slots=True)
class _PublishedIndex:
    """The published index, as far as the next one can reuse it."""

    manifest: Manifest | None = None
    usable: bool = False
    """Whether unchanged files can be copied: same book, chunker, addresses, model and layout."""
    ledger: Ledger = field(default_factory=dict)


async def published_index(
    settings: Settings, store: Store, embedder: Embedder, book: Opened, *, force: bool
) -> _PublishedIndex:
    """Return the published index; nothing is usable with `force`. Raises `QuireError`."""
    try:
        manifest = await store.manifest()
    except IndexUnreadable:
        return _PublishedIndex()  # its readable vectors are still reused
    except StoreUnavailable:
        if force:  # a forced build does not need the old index
            return _PublishedIndex()
        raise
    usable = (
        manifest is not None
        and not force
        and manifest.index_format == INDEX_FORMAT
        and manifest.embedding_model == embedder.model_id
        and manifest.configured == digest(_settings_of_index(settings).values())
        and (manifest.chunker, manifest.site, manifest.content)
        == (book.chunker, book.site, book.content)
    )
    if not usable:
        return _PublishedIndex(manifest)
    try:
        return _PublishedIndex(manifest, True, await store.ledger())
    except IndexUnreadable:
        return _PublishedIndex(manifest)


async def index_book(
    settings: Settings,
    store: Store,
    embedder: Embedder,
    reader: Reader,
    task: IngestTask,
    *,
    force: bool,
    batch_size: int,
) -> None:
    """Publish a new generation, unless nothing has changed. Raises `QuireError`.

    `force` embeds everything again and publishes even a much smaller index. `batch_size` is the
    number of texts per call of the embedder.
    """
    book, generation, wanted = reader.book, new_generation(), _settings_of_index(settings)
    builder = await store.build(generation, embedder.model_id)
    try:
        before = await published_index(settings, store, embedder, book, force=force)
        plan = await reader.survey(before.ledger)
        task.add_errors(plan.errors)
        task.files_unchanged, task.files_removed = len(plan.unchanged), len(plan.removed)
        # unreadable files count as processed
        task.files_processed = task.total_files - len(plan.changed)
        if (
            before.manifest
            and before.usable
            and not (plan.changed or plan.removed)
            and _describes(before.manifest, book)
        ):
            task.chunks_created = task.chunks_reused = before.manifest.chunks
            task.left_out = left_out_pages(before.ledger)
            return
        ledger = {path: before.ledger[path] for path in plan.unchanged}
        if ledger:
            await builder.copy_unchanged(without=[*plan.removed, *plan.changed])
            task.chunks_created = sum(len(record.chunks) for record in ledger.values())
            task.chunks_reused = task.chunks_created
        writer = _IndexWriter(
            embedder, builder, task, batch_size=batch_size, reuse_vectors=not force
        )
        copied, sample = task.chunks_created, _Sample()
        try:
            async for page in reader.read(plan.changed):
                task.files_processed += 1
                task.chunks_created += len(page.chunks)
                task.add_errors(page.errors)
                if page.record:
                    ledger[page.path] = page.record
                    sample.add(page.chunks, page.record.language)
                await writer.write(page.chunks)
            await writer.finish()
        finally:
            await writer.stop()
        task.left_out = left_out_pages(ledger)
        _check_size(task.chunks_created, before.manifest, book, force=force)
        manifest = Manifest(
            generation=generation,
            embedding_model=embedder.model_id,
            dimension=builder.dimension,
            chunker=book.chunker,
            site=book.site,
            generator=book.generator,
            content=book.content,
            configured=digest(wanted.values()),
            settings=wanted,
            origin=task.origin,
            languages=_languages_of(ledger),
            title=book.title,
            site_url=book.site_url,
            base_url=book.base_url,
            folder=_folder_in(settings, reader.root),
            reading_order=tuple(book.reading_order),
            documents=sum(bool(record.chunks) for record in ledger.values()),
            chunks=task.chunks_created,
            created_at=datetime.now(UTC).isoformat(),
        )
        if before.manifest and 2 * copied > manifest.chunks >= _SMALL_BOOK:
            shift = before.manifest.refusal_shift  # of nearly the same book
        else:
            shift = await _measure_shift(embedder, builder, manifest, sample.questions())
        await builder.publish(msgspec.structs.replace(manifest, refusal_shift=shift), ledger)
    finally:
        await builder.discard()


def left_out_pages(ledger: Ledger) -> list[str]:
    """Why pages have no chunks: a line for each reason, most common first."""
    pages: dict[str, list[str]] = {}
    for path, record in sorted(ledger.items()):
        if record.left_out:
            pages.setdefault(record.left_out, []).append(path)
    by_number = sorted(pages.items(), key=lambda each: -len(each[1]))
    return [
        f"{first}: {reason}" if not more else f"{1 + len(more)} pages, such as {first}: {reason}"
        for reason, (first, *more) in by_number
    ]


def origin_folder(settings: Settings, origin: str) -> Path:
    """The folder of a book that is not in the content folder (`Manifest.origin`)."""
    return settings.pushed_content if origin == UPLOADED else Path(origin)


def _folder_in(settings: Settings, root: Path) -> str:
    content = settings.book_content_path.resolve()
    return root.relative_to(content).as_posix() if root.is_relative_to(content) else "."


def _describes(manifest: Manifest, book: Opened) -> bool:
    """Whether an index has the book's title, address and order."""
    return (manifest.title, manifest.site_url, manifest.reading_order) == (
        book.title,
        book.site_url,
        tuple(book.reading_order),
    )


class _Sample:
    """Chunks to calibrate the refusal threshold with: those with the lowest hashes, so that equal
    books get equal ones."""

    def __init__(self) -> None:
        self._chunks: list[tuple[StoredChunk, str]] = []

    def add(self, chunks: Sequence[PreparedChunk], language: str) -> None:
        found = [*self._chunks, *((each.chunk, language) for each in chunks)]
        self._chunks = nsmallest(_SAMPLED, found, key=lambda each: each[0].content_hash)

    def questions(self) -> list[str]:
        made = (each for pair in self._chunks for each in questions_of_chunk(*pair))
        return list(dict.fromkeys(made))


async def _measure_shift(
    embedder: Embedder, builder: GenerationBuilder, manifest: Manifest, questions: Sequence[str]
) -> float:
    """Return `Manifest.refusal_shift`; 0 if it cannot be measured."""
    if manifest.chunks < _SMALL_BOOK:
        return _SMALL_BOOK_SHIFT
    if not questions:
        return 0.0
    margins = []
    try:
        for question, vector in zip(
            questions, await embedder.embed_documents(questions), strict=True
        ):
            embedded = partial(_as_is, vector)
            found = await look_up(builder, manifest, question, CANDIDATES, embedded)
            signals = answerability_signals(
                found.query, found.asked, found.found, manifest, embedder.similarity
            )
            margins.append(answerability_margin(signals))
    except QuireError as error:
        _log.warning("the refusal threshold was not calibrated: %s", error.message)
        return 0.0
    return refusal_shift(margins)


async def _as_is(vector: Vectors, _text: str) -> Vectors:
    return vector


def compare_links(ledger: Ledger) -> str:
    """Tell how often the addresses in SITE_BUILD differ from those that the sources suggest."""
    found = [record.in_build for record in ledger.values() if record.in_build]
    links, unknown = sum(each.links for each in found), sum(each.unknown for each in found)
    pages, anchors = sum(each.pages for each in found), sum(each.anchors for each in found)
    line = f"{links:,} links: {pages + anchors:,} addresses differ from those that the sources "
    line += f"suggest ({pages:,} pages, {anchors:,} anchors)"
    if example := next((each.example for each in found if each.example), None):
        line += f", such as {example[1]} instead of {example[0]}"
    return f"{line}; for {unknown:,}, the sources suggest none." if unknown else f"{line}."


async def check_links(store: Store, reader: Reader, site_check_path: Path | None) -> list[str]:
    """List addresses of the index that the built site or sitemap lacks, if one is configured.

    Never fails: one line then says why the links were not checked.
    """
    if site_check_path is None:
        return []
    try:
        broken = await reader.check(await all_urls(store), site_check_path)
    except (SitemapError, QuireError) as error:
        reason = str(error).rstrip(".")
        return [f"The links were not checked against SITE_CHECK_PATH: {reason}."]
    return [f"{each.url}: no such {each.reason}" for each in broken[:_MAX_LINES]]


def _settings_of_index(settings: Settings) -> dict[str, str]:
    """The settings that decide the content and layout of the index."""
    values = {
        "BOOK_CONTENT_PATH": str(settings.book_content_path.resolve()),
        "SITE_URL": settings.site_url,
        "SITE_GENERATOR": settings.site_generator,
        "SITE_OPTIONS": json.dumps(settings.site_options, sort_keys=True),
        "CHUNK_TOKENS": str(settings.chunk_tokens),
    }
    # these only if they are set, to keep the hash of indexes made before the settings existed
    if settings.site_source != "auto":
        values["SITE_SOURCE"] = settings.site_source
    if settings.site_build:
        values["SITE_BUILD"] = str(settings.site_build.resolve())
    quantization, on_disk = settings.qdrant_quantization, settings.qdrant_on_disk
    if settings.qdrant_url and (quantization, on_disk) != ("none", False):
        values |= {"QDRANT_QUANTIZATION": quantization, "QDRANT_ON_DISK": str(on_disk)}
    return values


def index_differences(
    manifest: Manifest, settings: Settings, embedding_model: str
) -> dict[str, str]:
    """Compare the index with the current settings: what differs, and how."""
    found: dict[str, str] = {}
    if manifest.embedding_model != embedding_model:
        found["the embedding model"] = f"{manifest.embedding_model}, not {embedding_model}"
    wanted = _settings_of_index(settings)
    if manifest.configured == digest(wanted.values()):
        return found
    if not manifest.settings:  # built before they were stored
        return found | {"the settings of the book": "unknown"}
    for name in sorted(manifest.settings.keys() | wanted.keys()):
        old, new = (values.get(name, "")[:200] for values in (manifest.settings, wanted))
        if old != new:
            found[name] = f"{old or 'none'}, not {new or 'none'}"
    return found


def _languages_of(ledger: Ledger) -> tuple[str, ...]:
    """Languages in which to stem questions, most common first.

    A language of one page in a hundred is likely a detection error, and each costs time per
    question.
    """
    pages = Counter(record.language for record in ledger.values() if record.chunks)
    enough = _RARE_LANGUAGE * pages.total()
    return tuple(language for language, count in pages.most_common() if count >= enough)


def _check_size(chunks: int, old: Manifest | None, book: Opened, *, force: bool) -> None:
    """Raise `InvalidRequest` if publishing the new index is probably a mistake."""
    if not chunks:
        raise InvalidRequest(
            "There is no readable text in the content folder. The index is unchanged."
        )
    if force or old is None or old.content != book.content or old.chunks < _SMALL_BOOK:
        return
    if chunks < _SHRINK_LIMIT * old.chunks:
        raise InvalidRequest(
            f"The new index would have {chunks} chunks where the old one has {old.chunks}, so it "
            "was not published. To publish it, use force_reindex (command line: --force)."
        )
