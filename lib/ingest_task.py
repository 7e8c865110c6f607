"""One run of the ingestion, and what is told of it."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from uuid import uuid4

import msgspec

from lib.index_writer import Counts

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
