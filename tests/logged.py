"""Entries of the question log for tests."""

import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

from lib.question_log import FILE_NAME, LoggedPassage, LoggedQuestion, QuestionLog
from tests.api import Api

DAY = 24 * 3600 * 1000
_NUMBERS = count(1)


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


def asked(question: str, *, days_ago: float = 1, **changes: Any) -> LoggedQuestion:
    """A question in a conversation of its own, whose answer can be voted on."""
    number = next(_NUMBERS)
    values = {
        "asked_at": int(time.time() * 1000 - days_ago * DAY),
        "answer": number,
        "conversation": f"c{number}",
        "first_ms": 250,
    }
    return logged(question, **(values | changes))


async def write_log(folder: Path, *entries: LoggedQuestion, **votes: str) -> Path:
    """Write the entries to the log in `folder`, in order, and return its file.

    `votes`: `up` or `down` by question.
    """
    log = QuestionLog(folder / FILE_NAME, days=3_650, max_bytes=10**9)
    for each in entries:
        log.add(each)
        if each.answer and (vote := votes.get(each.question)):
            log.vote(each.answer, vote, None, None)
    await log.close()
    return log.path


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


def rows_in(path: Path) -> list[dict[str, Any]]:
    """The stored questions, each with its `passages` and, if there is one, its `vector`."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute("SELECT * FROM questions ORDER BY id")]
        for row in rows:
            passages = connection.execute(
                "SELECT file_path, heading, url, start_char, end_char, score, cited FROM passages"
                " JOIN places ON places.id = place_id WHERE question_id = ? ORDER BY position",
                (row["id"],),
            )
            row["passages"] = [dict(each) for each in passages]
            row["vector"] = connection.execute(
                "SELECT model, vector FROM vectors WHERE question_id = ?", (row["id"],)
            ).fetchone()
    return rows


async def rows_of(api: Api) -> list[dict[str, Any]]:
    """Everything stored so far; nothing if there is no file."""
    log = log_of(api)
    await log.flush()
    return rows_in(log.path) if log.path.exists() else []
