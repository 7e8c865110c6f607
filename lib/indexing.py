"""From a folder of Markdown to a published index.

folder -> survey -> changed files -> chunks -> vectors -> a new generation -> published in one step

Readers search the old generation until the new one is whole. Files that did not change are taken
over as they are; of those that did, only chunks with new content are embedded. What was embedded
before a run failed or was killed is lent to the next. A file that cannot be read is one line
among the errors, never the end of the run.
"""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lib.book import Book, digest
from lib.book_reader import read_book
from lib.changed_files import survey
from lib.documents import DocumentError, discover
from lib.embedding import Embedder
from lib.errors import IndexUnreadable, InvalidRequest, StoreUnavailable
from lib.index_writer import IndexWriter
from lib.ingest_task import MAX_LINES, Task
from lib.link_check import unresolved_links
from lib.settings import Settings
from lib.site_detection import detect_site
from lib.store import INDEX_FORMAT, Ledger, Manifest, Store, new_generation

SHRINK_LIMIT = 0.5
"""An index of less than this share of the old one's chunks is not published unless told."""
SMALL_BOOK = 20
"""With fewer chunks than this a book may shrink as it likes."""
PUBLISH_UNDERSCORED = frozenset({"hugo", "jekyll", "mkdocs", "sphinx", "vitepress"})
"""Generators to which a leading underscore does not mean a partial: `_index.md`, `_posts/`."""
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
            underscored=site.generator in PUBLISH_UNDERSCORED,
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
            await builder.inherit(without=[*plan.removed, *plan.changed])
            task.chunks_created = sum(len(record.chunks) for record in ledger.values())
            task.counts.reused = task.chunks_created
        writer = IndexWriter(embedder, builder, task.counts, batch_size=batch_size, lend=not force)
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
                generator=book.site.generator,
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
        await builder.abandon()


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
