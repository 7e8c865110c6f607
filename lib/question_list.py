"""Read the question log: lists with filters, single questions, conversations, activity by day."""

import json
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Annotated, Any, Final, Literal, get_args

import msgspec

from lib.errors import InvalidRequest, NotFound
from lib.question_log import LoggedPassage, LogReader, Outcome, QuestionLog, fold

_AGE: Final = re.compile(r"([0-9]{1,5})([hdw])", re.ASCII)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_HOURS: Final = {"h": 1, "d": 24, "w": 7 * 24}
_DAY: Final = 24 * 3600 * 1000
"""Milliseconds."""
_MAX_DAYS: Final = 3_660
_MAX_CONVERSATION: Final = 1_000
MAX_ID: Final = 2**63 - 1
_MAX_NAME: Final = 100
_MAX_PATH: Final = 1_000
_MAX_WORDS: Final = 200
_NO_QUESTION: Final = "The log has no such question."
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


PastTime = Annotated[
    str, msgspec.Meta(description="An age such as 24h, 7d or 2w, or a date such as 2026-11-30.")
]
"""Text for `parse_time`."""


class Period(msgspec.Struct, kw_only=True):
    """A period of the log."""

    since: PastTime = "30d"
    until: Annotated[str, msgspec.Meta(description="As `since`. A date includes its day.")] = ""

    def bounds(self) -> tuple[int, int]:
        """Start (inclusive) and end (exclusive) in milliseconds since 1970.

        Raises `InvalidRequest`.
        """
        start = parse_time(self.since, "since") if self.since else 0
        return start, parse_time(self.until, "until", ends=True) if self.until else MAX_ID


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
    ids: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^([0-9]{1,18}(,[0-9]{1,18}){0,199})?$",
            description="Up to 200 ids with commas, such as those of a gap.",
        ),
    ] = ""
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
        int, msgspec.Meta(ge=1, le=MAX_ID, description="The `next` of the previous page.")
    ] = MAX_ID
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50


class QuestionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A logged question and how it was answered."""

    id: int
    asked_at: datetime
    conversation: Annotated[str, msgspec.Meta(description="Random id, valid for one conversation.")]
    question: Annotated[str, msgspec.Meta(description="Masked.")]
    language: str
    interface: Annotated[str, msgspec.Meta(description="The route, such as /chat.")]
    outcome: Annotated[str, msgspec.Meta(description=f"{', '.join(get_args(Outcome))}.")]
    mode: Annotated[str, msgspec.Meta(description="generated, extractive, cached or none.")]
    fallback: Annotated[
        str,
        msgspec.Meta(description="Why an extractive answer replaces a generated one; else empty."),
    ]
    code: Annotated[
        str, msgspec.Meta(description="Code of the error; empty unless the answer failed.")
    ]
    stands_alone: Annotated[
        bool, msgspec.Meta(description="false for a follow-up that depends on earlier questions.")
    ]
    supported: Annotated[int, msgspec.Meta(description="Sentences that their source supports.")]
    unsupported: int
    unknown: int
    first_seconds: Annotated[
        float | None,
        msgspec.Meta(description="Time to the first token; null if it was not streamed."),
    ]
    total_seconds: float
    prompt_tokens: int
    completion_tokens: int
    embedding_tokens: int
    cost_usd: Annotated[
        float | None, msgspec.Meta(description="Estimated; null where the price is not known.")
    ]
    vote: str | None
    reason: str | None
    note: Annotated[str | None, msgspec.Meta(description="Masked.")]
    passages: Annotated[
        list[LoggedPassage],
        msgspec.Meta(description="Those that the answer cites, in order; else the nearest."),
    ]


class QuestionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Questions, newest first."""

    questions: list[QuestionRow]
    next: Annotated[
        int | None, msgspec.Meta(description="`before` of the following page; null on the last.")
    ]
    total: Annotated[int, msgspec.Meta(description="Number of questions on all pages.")]


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """The questions of one conversation, oldest first."""

    questions: list[QuestionRow]


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """The question is no longer in the log."""

    deleted: Literal[True] = True


class DayActivity(msgspec.Struct, frozen=True, kw_only=True):
    """Questions of a day in UTC."""

    date: str
    questions: int = 0
    answered: int = 0
    refused: int = 0
    declined: int = 0
    failed: int = 0
    left: int = 0
    small_talk: int = 0
    up: int = 0
    down: int = 0
    unsupported: Annotated[
        int, msgspec.Meta(description="Questions whose answer has an unsupported sentence.")
    ] = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    embedding_tokens: int = 0
    cost_usd: Annotated[
        float | None,
        msgspec.Meta(description="Of the questions with a known price; null without one."),
    ] = 0.0
    first_p50: Annotated[
        float | None,
        msgspec.Meta(description="Median seconds to the first token; null without one."),
    ] = None
    first_p95: float | None = None


class LanguageActivity(msgspec.Struct, frozen=True, kw_only=True):
    """Questions in one language."""

    language: str
    questions: int


class InterfaceActivity(msgspec.Struct, frozen=True, kw_only=True):
    """Questions through one route."""

    interface: str
    questions: int


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """Every day of the period, and its questions by language and by route."""

    days: list[DayActivity]
    languages: list[LanguageActivity]
    interfaces: list[InterfaceActivity]


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
            return max(0, day * _DAY)
    raise InvalidRequest(
        f"The field {field} is neither an age such as 24h, 7d or 2w, "
        "nor a date such as 2026-11-30.",
        details={"field": field},
    )


async def list_questions(log: LogReader, wanted: QuestionsQuery) -> QuestionPage:
    """One page of the questions that the filter selects, newest first. Raises `InvalidRequest`."""
    where, values = sql_condition(wanted)

    def read(connection: sqlite3.Connection) -> QuestionPage:
        counted = f"SELECT count(*) FROM questions WHERE {where}"
        (total,) = connection.execute(counted, values).fetchone()
        found = newest(connection, where, values, wanted.before, wanted.limit + 1)
        shown = found[: wanted.limit]
        return QuestionPage(
            questions=shown,
            next=shown[-1].id if len(found) > len(shown) else None,
            total=total,
        )

    return await log.read(read)


async def find_question(log: LogReader, question: int) -> QuestionRow:
    """Find a question by its id. Raises `NotFound`."""
    found = await log.read(
        lambda connection: newest(connection, "id = ?", [min(question, MAX_ID)], MAX_ID, 1)
    )
    if not found:
        raise NotFound(_NO_QUESTION)
    return found[0]


async def read_conversation(log: LogReader, conversation: str) -> Conversation:
    """The newest `_MAX_CONVERSATION` questions of a conversation. Raises `NotFound`."""
    found = await log.read(
        lambda connection: newest(
            connection, "conversation = ?", [conversation], MAX_ID, _MAX_CONVERSATION
        )
    )
    if not found:
        raise NotFound("The log has no such conversation.")
    return Conversation(questions=found[::-1])


async def delete_question(log: QuestionLog, question: int) -> Deleted:
    """Delete a question with its passages and vector. Raises `NotFound`."""
    if not await log.delete(min(question, MAX_ID)):
        raise NotFound(_NO_QUESTION)
    return Deleted()


async def count_activity(log: LogReader, period: Period) -> Activity:
    """Count the questions of each day of the period. Raises `InvalidRequest`."""
    start, end = period.bounds()
    last = (min(end - 1, int(time.time() * 1000))) // _DAY
    first = max(start // _DAY, last - _MAX_DAYS + 1)
    return await log.read(partial(_count_activity, first, last))


def _count_activity(first: int, last: int, connection: sqlite3.Connection) -> Activity:
    within = (first * _DAY, (last + 1) * _DAY)
    days: dict[int, dict[str, Any]] = {day: {} for day in range(first, last + 1)}
    ranks: dict[tuple[int, str], int] = {}
    for each in connection.execute(_COUNTS_BY_DAY, within):
        day, timed, *counts = each
        days[day] = dict(zip(_COUNTS, counts, strict=True))
        for percent in (50, 95) if timed else ():  # the nearest rank
            ranks[day, f"first_p{percent}"] = day * _DAY - (-timed * percent // 100)
    found = dict(connection.execute(_RANKED, (*within, json.dumps([*ranks.values()]))).fetchall())
    for (day, name), rank in ranks.items():
        days[day][name] = found[rank] / 1000
    languages, interfaces = Counter[str](), Counter[str]()
    for language, interface, questions in connection.execute(_COUNTS_BY_ORIGIN, within):
        languages[language] += questions
        interfaces[interface] += questions
    return Activity(
        days=[
            DayActivity(date=(_EPOCH + timedelta(days=day)).date().isoformat(), **counted)
            for day, counted in days.items()
        ],
        languages=[
            LanguageActivity(language=name, questions=questions)
            for name, questions in languages.most_common()
        ],
        interfaces=[
            InterfaceActivity(interface=name, questions=questions)
            for name, questions in interfaces.most_common()
        ],
    )


_COUNTS: Final = {
    "questions": "count(*)",
    **{outcome: f"sum(outcome = '{outcome}')" for outcome in get_args(Outcome)},
    "up": "count(CASE WHEN vote = 'up' THEN 1 END)",
    "down": "count(CASE WHEN vote = 'down' THEN 1 END)",
    "unsupported": "sum(unsupported > 0)",
    "prompt_tokens": "sum(prompt_tokens)",
    "completion_tokens": "sum(completion_tokens)",
    "embedding_tokens": "sum(embedding_tokens)",
    "cost_usd": "sum(cost_usd)",
}
_WITHIN: Final = "FROM questions WHERE asked_at >= ? AND asked_at < ?"
_COUNTS_BY_DAY: Final = f"""
SELECT asked_at / {_DAY} AS day, count(first_ms), {", ".join(_COUNTS.values())}
{_WITHIN} GROUP BY day
"""
# The start of the day plus the rank is unique: a day has fewer questions than milliseconds.
_RANKED: Final = f"""
SELECT * FROM (
    SELECT asked_at / {_DAY} * {_DAY}
        + row_number() OVER (PARTITION BY asked_at / {_DAY} ORDER BY first_ms) AS rank, first_ms
    {_WITHIN} AND first_ms IS NOT NULL
) WHERE rank IN (SELECT value FROM json_each(?))
"""
_COUNTS_BY_ORIGIN: Final = f"""
SELECT language, interface, count(*) {_WITHIN} GROUP BY language, interface ORDER BY 1, 2
"""


def sql_condition(wanted: QuestionFilter) -> tuple[str, list[object]]:
    """The `WHERE` condition of a filter, and its parameters. Raises `InvalidRequest`."""
    terms = ["asked_at >= ?", "asked_at < ?"]
    values: list[object] = [*wanted.bounds()]
    for column in ("outcome", "vote", "language", "interface"):
        if value := getattr(wanted, column):
            terms.append(f"{column} = ?")
            values.append(value)
    if wanted.unanswered:
        terms.append("outcome IN ('refused', 'declined', 'failed')")
    if wanted.path:
        terms.append(
            "id IN (SELECT question_id FROM passages WHERE cited = 1 AND place_id IN"
            " (SELECT id FROM places WHERE file_path = ?))"
        )
        values.append(wanted.path)
    if wanted.ids:
        terms.append("id IN (SELECT value FROM json_each(?))")
        values.append(json.dumps([int(each) for each in wanted.ids.split(",")]))
    for word in dict.fromkeys(fold(wanted.q).split()):
        terms.append("instr(folded, ?)")
        values.append(word)
    return " AND ".join(terms), values


def newest(
    connection: sqlite3.Connection, where: str, values: Sequence[object], before: int, most: int
) -> list[QuestionRow]:
    """The `most` newest questions with an id below `before` that meet a `WHERE` condition."""
    return [*map(decode_row, newest_as_json(connection, where, values, before, most))]


def newest_as_json(
    connection: sqlite3.Connection, where: str, values: Sequence[object], before: int, most: int
) -> list[str]:
    """Like `newest`, each as JSON.

    SQLite writes it without the interpreter lock, which the answers of the server need.
    """
    # NOT INDEXED: with the index by time, SQLite would first sort all questions by id.
    found = connection.execute(
        f"SELECT {_ROW} FROM questions NOT INDEXED WHERE {where} AND id < ?"
        " ORDER BY id DESC LIMIT ?",
        (*values, before, most),
    )
    return [row for (row,) in found]


decode_row: Final = msgspec.json.Decoder(QuestionRow).decode

_COMPUTED: Final = {
    "asked_at": "strftime('%Y-%m-%dT%H:%M:%fZ', asked_at / 1000.0, 'unixepoch')",
    "stands_alone": "json(iif(stands_alone, 'true', 'false'))",
    "first_seconds": "first_ms / 1000.0",
    "total_seconds": "total_ms / 1000.0",
    "passages": """
        json((SELECT json_group_array(json_object(
            'file_path', file_path, 'heading', heading, 'url', nullif(url, ''),
            'start_char', start_char, 'end_char', end_char,
            'score', score, 'cited', json(iif(cited, 'true', 'false'))
        )) FROM passages CROSS JOIN places ON places.id = place_id
        WHERE question_id = questions.id))
    """,
}
_ROW: Final = "json_object({})".format(
    ", ".join(f"'{name}', {_COMPUTED.get(name, name)}" for name in QuestionRow.__struct_fields__)
)
"""A `QuestionRow`. SQLite reads the passages of a question in the order of their positions."""
