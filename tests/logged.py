"""Entries of the question log for tests."""

import time
from collections.abc import Iterable
from typing import Any

from lib.question_log import LoggedPassage, LoggedQuestion, QuestionLog
from tests.api import Api

DAY = 24 * 3600 * 1000


def passage(file_path: str = "guide/tides.md", **changes: Any) -> LoggedPassage:
    values: dict[str, Any] = {
        "heading": "Tides \U0001f30a and déjà vu > Currents",
        "url": "https://book.example/docs/guide/tides#currents",
        "start_char": 120,
        "end_char": 190,
        "score": 0.75,
        "cited": True,
    }
    return LoggedPassage(file_path=file_path, **(values | changes))


def logged(question: str = "When does the tide turn?", **changes: Any) -> LoggedQuestion:
    """An answered question of this moment."""
    values = {
        "asked_at": int(time.time() * 1000),
        "answer": None,
        "conversation": "c1",
        "language": "english",
        "interface": "/chat",
        "outcome": "answered",
        "mode": "generated",
    }
    return LoggedQuestion(question=question, **(values | changes))


def log_of(api: Api) -> QuestionLog:
    log = api.services.question_log
    assert log is not None
    return log


async def write(api: Api, entries: Iterable[LoggedQuestion]) -> None:
    """Add entries to the log. Their ids count from 1."""
    log = log_of(api)
    for each in entries:
        log.add(each)
    await log.flush()
