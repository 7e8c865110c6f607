"""Read the question log: lists with filters, conversations, activity, pages and exports."""

import json
import re
import sqlite3
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Annotated, Final, Literal

import msgspec

from lib.errors import InvalidRequest
from lib.question_log import LogReader, Outcome, fold

_AGE: Final = re.compile(r"([0-9]{1,5})([hdw])", re.ASCII)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_HOURS: Final = {"h": 1, "d": 24, "w": 7 * 24}
_MAX_ID: Final = 2**63 - 1
_MAX_NAME: Final = 100
_MAX_PATH: Final = 1_000
_MAX_WORDS: Final = 200
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Period(msgspec.Struct, kw_only=True):
    """A part of the log."""

    since: Annotated[
        str,
        msgspec.Meta(description="An age such as 24h, 7d or 2w, or a date such as 2026-11-30."),
    ] = "30d"
    until: Annotated[str, msgspec.Meta(description="As `since`. A date includes its day.")] = ""

    def bounds(self) -> tuple[int, int]:
        """Its start, and its end, which is not part of it, in milliseconds since 1970.

        Raises `InvalidRequest`.
        """
        start = parse_time(self.since, "since") if self.since else 0
        return start, parse_time(self.until, "until", ends=True) if self.until else _MAX_ID


class QuestionFilter(Period, kw_only=True):
    """Selects questions."""

    outcome: Outcome | None = None
    unanswered: Annotated[
        bool, msgspec.Meta(description="Only refused, declined and failed questions.")
    ] = False
    vote: Literal["up", "down"] | None = None
    language: Annotated[str, msgspec.Meta(max_length=_MAX_NAME)] = ""
    interface: Annotated[str, msgspec.Meta(max_length=_MAX_NAME, description="A route.")] = ""
    path: Annotated[str, msgspec.Meta(max_length=_MAX_PATH, description="A cited file.")] = ""
    q: Annotated[
        str,
        msgspec.Meta(
            max_length=_MAX_WORDS,
            description="Words or parts of words, all of which the question or its note has.",
        ),
    ] = ""


class QuestionsQuery(QuestionFilter, kw_only=True):
    """Selects a page of questions."""

    before: Annotated[
        int, msgspec.Meta(ge=1, le=_MAX_ID, description="The `next` of the previous page.")
    ] = _MAX_ID
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50


class PassageRow(msgspec.Struct, frozen=True, kw_only=True):
    """A passage that an answer cites, or that was nearest to a question without an answer."""

    file_path: str
    heading: str
    url: str | None
    start_char: int
    end_char: int
    score: float
    cited: bool


class QuestionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A logged question and how it was answered. See `lib.question_log.SCHEMA`."""

    id: int
    asked_at: datetime
    conversation: str
    question: str
    language: str
    interface: str
    outcome: str
    mode: str
    fallback: str
    code: str
    stands_alone: bool
    supported: int
    unsupported: int
    unknown: int
    first_seconds: float | None
    total_seconds: float
    prompt_tokens: int
    completion_tokens: int
    embedding_tokens: int
    cost_usd: float | None
    vote: str | None
    reason: str | None
    note: str | None
    passages: list[PassageRow]


class QuestionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Questions, newest first."""

    questions: list[QuestionRow]
    next: int | None
    """`before` of the following page; null on the last."""
    total: int
    """Of all pages."""


def parse_time(text: str, field: str, *, ends: bool = False) -> int:
    """Parse an age (`24h`, `7d`, `2w`) or a UTC date to milliseconds since 1970.

    A date means its start, or its end if `ends`. Raises `InvalidRequest` with the field's name.
    """
    if age := _AGE.fullmatch(text):
        hours = int(age[1]) * _HOURS[age[2]]
        return max(0, int((time.time() - hours * 3600) * 1000))
    if _DATE.fullmatch(text):
        try:
            day = date.fromisoformat(text).toordinal() - _EPOCH.toordinal() + ends
        except ValueError:
            pass
        else:
            return max(0, day * 24 * 3600 * 1000)
    raise InvalidRequest(
        f"The field {field} is neither an age such as 24h, 7d or 2w, "
        "nor a date such as 2026-11-30.",
        details={"field": field},
    )


async def list_questions(log: LogReader, wanted: QuestionsQuery) -> QuestionPage:
    """One page of the questions that the filter selects, newest first. Raises `InvalidRequest`."""
    return await log.read(partial(_list, wanted))


def _list(wanted: QuestionsQuery, connection: sqlite3.Connection) -> QuestionPage:
    where, values = _condition(wanted)
    (total,) = connection.execute(
        f"SELECT count(*) FROM questions WHERE {where}", values
    ).fetchone()
    found = connection.execute(
        f"SELECT * FROM questions WHERE {where} AND id < ? ORDER BY id DESC LIMIT ?",
        (*values, wanted.before, wanted.limit + 1),
    ).fetchall()
    shown = found[: wanted.limit]
    return QuestionPage(
        questions=_rows(connection, shown),
        next=shown[-1]["id"] if len(found) > len(shown) else None,
        total=total,
    )


def _condition(wanted: QuestionFilter) -> tuple[str, list[object]]:
    """The SQL condition of a filter, and its parameters."""
    start, end = wanted.bounds()
    terms = ["asked_at >= ?", "asked_at < ?"]
    values: list[object] = [start, end]
    for column in ("outcome", "vote", "language", "interface"):
        if value := getattr(wanted, column):
            terms.append(f"{column} = ?")
            values.append(value)
    if wanted.unanswered:
        terms.append("outcome IN ('refused', 'declined', 'failed')")
    if wanted.path:
        terms.append(
            "id IN (SELECT question_id FROM passages WHERE cited AND place_id IN"
            " (SELECT id FROM places WHERE file_path = ?))"
        )
        values.append(wanted.path)
    for word in dict.fromkeys(fold(wanted.q).split()):
        terms.append("instr(folded, ?)")
        values.append(word)
    return " AND ".join(terms), values


def _rows(connection: sqlite3.Connection, found: Sequence[sqlite3.Row]) -> list[QuestionRow]:
    """The questions with their passages."""
    passages: defaultdict[int, list[PassageRow]] = defaultdict(list)
    ids = json.dumps([each["id"] for each in found])
    for each in connection.execute(
        "SELECT question_id, file_path, heading, url, start_char, end_char, score, cited"
        " FROM passages JOIN places ON places.id = place_id"
        " WHERE question_id IN (SELECT value FROM json_each(?)) ORDER BY question_id, position",
        (ids,),
    ):
        passages[each["question_id"]].append(
            PassageRow(
                file_path=each["file_path"],
                heading=each["heading"],
                url=each["url"] or None,
                start_char=each["start_char"],
                end_char=each["end_char"],
                score=each["score"],
                cited=bool(each["cited"]),
            )
        )
    return [_row(each, passages[each["id"]]) for each in found]


def _row(found: sqlite3.Row, passages: list[PassageRow]) -> QuestionRow:
    first = found["first_ms"]
    return QuestionRow(
        asked_at=_EPOCH + timedelta(milliseconds=found["asked_at"]),
        stands_alone=bool(found["stands_alone"]),
        first_seconds=None if first is None else first / 1000,
        total_seconds=found["total_ms"] / 1000,
        passages=passages,
        **{name: found[name] for name in _SAME},
    )


_SAME: Final = tuple(
    name
    for name in QuestionRow.__struct_fields__
    if name not in ("asked_at", "stands_alone", "first_seconds", "total_seconds", "passages")
)
"""Fields that are columns."""
