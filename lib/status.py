"""State of the server for the admin page: index, latest ingestion, budget and question log."""

import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from lib import __version__
from lib.budget import Spending
from lib.contents import book_title
from lib.errors import NotFound
from lib.health import check_health
from lib.indexing import IngestStatus
from lib.services import Services

_PROBE_WAIT = 2.0
"""Seconds to wait for the index."""
_HINT = "Set QUESTION_LOG=30d and restart to keep readers' questions for 30 days."


class IndexFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The published index."""

    title: str
    files: int
    chunks: int
    embedding_model: str
    generation: str
    published_at: str
    origin: Annotated[
        str,
        msgspec.Meta(
            description="Source of the content: the address of a site, an uploaded archive or "
            "another folder. Empty: BOOK_CONTENT_PATH."
        ),
    ]
    folder: Annotated[
        str, msgspec.Meta(description="The ingested folder, relative to the content folder.")
    ]


class LogStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The question log."""

    enabled: bool
    days: Annotated[int, msgspec.Meta(description="Days after which entries are deleted.")] = 0
    max_mb: int = 0
    bytes: int = 0
    questions: int = 0
    oldest: Annotated[str | None, msgspec.Meta(description="Time of the oldest question.")] = None
    lost: Annotated[
        int, msgspec.Meta(description="Entries that could not be written since the start.")
    ] = 0
    problem: str | None = None
    hint: Annotated[str, msgspec.Meta(description="How to enable it; empty if it is.")] = ""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """State of the server for the admin page."""

    version: str
    uptime_seconds: float
    problem: Annotated[str | None, msgspec.Meta(description="The message of /health.")]
    index: Annotated[IndexFacts | None, msgspec.Meta(description="null without an index.")]
    ingestion: Annotated[
        IngestStatus | None, msgspec.Meta(description="null if none ran since the start.")
    ]
    budget: Spending
    log: LogStatus


async def read_status(services: Services, *, draining: bool) -> Status:
    """Read the state of all parts. Never raises. `draining`: the server is shutting down."""
    store = await services.store_probe.answer(_PROBE_WAIT)
    manifest = store.manifest if store else None
    health, _ = await check_health(services, draining=draining)
    index = None
    if manifest:
        index = IndexFacts(
            title=book_title(services.settings, manifest, services.contents.of(manifest)),
            files=manifest.documents,
            chunks=manifest.chunks,
            embedding_model=manifest.embedding_model,
            generation=manifest.generation,
            published_at=manifest.created_at,
            origin=manifest.origin,
            folder=manifest.folder,
        )
    return Status(
        version=__version__,
        uptime_seconds=round(time.monotonic() - services.started, 3),
        problem=health.message,
        index=index,
        ingestion=await _latest_ingestion(services),
        budget=services.chat.budget.state(),
        log=await _log_status(services),
    )


async def _latest_ingestion(services: Services) -> IngestStatus | None:
    with suppress(NotFound):
        if services.reports:
            return await services.reports.status(None)
        return services.ingestion.status(None)
    return None


async def _log_status(services: Services) -> LogStatus:
    log, settings = services.question_log, services.settings
    if log is None:
        return LogStatus(enabled=False, hint=_HINT)
    state = await log.state()
    oldest = state.oldest
    return LogStatus(
        enabled=True,
        days=settings.question_log,
        max_mb=settings.max_log_mb,
        bytes=state.bytes,
        questions=state.questions,
        oldest=None if oldest is None else datetime.fromtimestamp(oldest / 1000, UTC).isoformat(),
        lost=state.lost,
        problem=state.problem,
    )
