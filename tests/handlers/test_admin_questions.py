"""GET /admin/questions and the other endpoints that read the question log."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lib.question_log import LoggedPassage, LoggedQuestion
from tests.api import Api, serving
from tests.conftest import MakeSettings


@pytest.fixture
async def logging(make_settings: MakeSettings, own_index: Path) -> AsyncIterator[Api]:
    """The application with a question log."""
    async with serving(make_settings(qdrant_path=own_index, question_log=30)) as running:
        yield running


async def test_a_log_without_entries_is_empty(logging: Api) -> None:
    answer = await logging.as_admin("GET", "/admin/questions")
    assert answer.json() == {"questions": [], "next": None, "total": 0}
    assert answer.headers["Cache-Control"] == "no-store"


async def test_without_a_log_there_are_no_questions(api: Api) -> None:
    answer = await api.as_admin("GET", "/admin/questions")
    assert answer.status == 404
    assert answer.json()["error"].startswith("There is no question log. Set QUESTION_LOG=30d")


async def test_a_row_has_all_fields(logging: Api) -> None:
    log = logging.services.question_log
    assert log is not None
    log.add(
        LoggedQuestion(
            asked_at=1_796_000_000_123,
            answer=7,
            conversation="c1",
            question="Wann kommt die Flut?",
            language="german",
            interface="/chat",
            outcome="answered",
            mode="generated",
            supported=2,
            first_ms=250,
            total_ms=1500,
            passages=(
                LoggedPassage(
                    file_path="tides.md",
                    heading="Tides > Ebb",
                    url=None,
                    start_char=1,
                    end_char=9,
                    score=0.5,
                    cited=True,
                ),
            ),
        )
    )
    await log.flush()
    answer = (await logging.as_admin("GET", "/admin/questions?since=2026-01-01")).json()
    (row,) = answer["questions"]
    assert row == {
        "id": 1,
        "asked_at": "2026-11-30T00:53:20.123000Z",
        "conversation": "c1",
        "question": "Wann kommt die Flut?",
        "language": "german",
        "interface": "/chat",
        "outcome": "answered",
        "mode": "generated",
        "fallback": "",
        "code": "",
        "stands_alone": True,
        "supported": 2,
        "unsupported": 0,
        "unknown": 0,
        "first_seconds": 0.25,
        "total_seconds": 1.5,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "embedding_tokens": 0,
        "cost_usd": 0.0,
        "vote": None,
        "reason": None,
        "note": None,
        "passages": [
            {
                "file_path": "tides.md",
                "heading": "Tides > Ebb",
                "url": None,
                "start_char": 1,
                "end_char": 9,
                "score": 0.5,
                "cited": True,
            }
        ],
    }
