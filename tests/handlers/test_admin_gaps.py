"""GET /admin/gaps"""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lib.question_log import LoggedQuestion
from tests.api import Api, serving
from tests.conftest import MakeSettings


@pytest.fixture
async def logging(make_settings: MakeSettings, own_index: Path) -> AsyncIterator[Api]:
    """The application with a question log."""
    async with serving(make_settings(qdrant_path=own_index, question_log=30)) as running:
        yield running


async def log_questions(api: Api, *questions: dict[str, Any]) -> None:
    log = api.services.question_log
    assert log is not None
    for number, fields in enumerate(questions):
        defaults: dict[str, Any] = {
            "asked_at": round(1e3 * time.time()),
            "answer": number,
            "conversation": f"c{number}",
            "language": "english",
            "interface": "/chat",
            "outcome": "refused",
        }
        log.add(LoggedQuestion(**defaults | fields))
    await log.flush()


async def test_an_unanswered_question_is_a_gap(logging: Api) -> None:
    await log_questions(logging, {"question": "Can I rent a kayak?"})
    answer = await logging.as_admin("GET", "/admin/gaps")
    assert answer.headers["Cache-Control"] == "no-store"
    (gap,) = answer.json()["gaps"]
    assert gap["question"] == "Can I rent a kayak?"
    assert gap["questions"] == 1


async def test_without_a_log_there_are_no_gaps(api: Api) -> None:
    answer = await api.as_admin("GET", "/admin/gaps")
    assert answer.status == 404
    assert answer.json()["error"].startswith("There is no question log. Set QUESTION_LOG=30d")


async def test_gaps_need_the_admin_key(logging: Api) -> None:
    assert (await logging.get("/admin/gaps")).status == 401


@pytest.mark.parametrize("bad", ["since=yesterday", "limit=0", "limit=201"])
async def test_a_bad_parameter_is_refused(logging: Api, bad: str) -> None:
    assert (await logging.as_admin("GET", f"/admin/gaps?{bad}")).status == 400
