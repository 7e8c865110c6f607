from datetime import UTC, datetime, timedelta

import pytest

from lib.ingest_task import MAX_LINES, Task


def test_errors_are_bounded() -> None:
    task = Task()
    task.complain(["a.md: wrong"] * (MAX_LINES - 1))
    task.complain(["b.md: wrong", "c.md: wrong"])
    task.complain(["d.md: wrong"])
    assert task.report().progress.errors[-2:] == ["a.md: wrong", "b.md: wrong"]
    assert len(task.errors) == MAX_LINES


def test_the_estimate_is_none_before_there_is_anything_to_go_by() -> None:
    task = Task()
    assert task.report().estimated_completion is None
    task.total_files, task.files_processed, task.chunks_created = 10, 5, 100
    assert task.report().estimated_completion is None
    task.counts.embedded = 50
    assert task.report().estimated_completion is not None


def test_the_rest_is_thought_to_go_as_fast() -> None:
    began = datetime.now(UTC) - timedelta(seconds=60)
    task = Task(total_files=10, files_processed=5, chunks_created=100, started_at=began)
    task.counts.embedded, task.counts.reused = 20, 30  # a quarter of the 200 to come
    estimated = task.report().estimated_completion
    assert estimated is not None
    left = datetime.fromisoformat(estimated) - began
    assert left.total_seconds() == pytest.approx(240, abs=1)


def test_what_is_over_was_completed_then() -> None:
    task = Task(finished_at=datetime.now(UTC))
    report = task.report()
    assert report.estimated_completion == report.finished_at
    assert not task.running
