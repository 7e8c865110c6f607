"""Lists of the question log, compared with filters in Python."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from lib.errors import InvalidRequest, NotFound
from lib.question_list import (
    Period,
    QuestionPage,
    QuestionRow,
    QuestionsQuery,
    count_activity,
    find_question,
    list_questions,
    parse_time,
    read_conversation,
)
from lib.question_log import LoggedQuestion, LogReader, QuestionLog, fold
from tests.logged import DAY, logged, passage

WORDS = (
    "Tide tides STRASSE Straße flut été ete 潮汐 прилив ﬁsh fish ١٢ 100% a_b it's مَدّ मछली".split()
)
PATHS = ("guide/tides.md", "guide/odd.md", "100%.md", "Guide/Tides.md")
OUTCOMES = ("answered", "refused", "declined", "failed", "left", "small_talk")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LANGUAGES = ("english", "german")
INTERFACES = ("/chat", "/mcp")


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[QuestionLog]:
    log = QuestionLog(folder / "questions.sqlite3", days=30, max_bytes=100_000_000)
    try:
        yield log
    finally:
        await log.close()


def entry(chosen: random.Random, number: int) -> LoggedQuestion:
    return logged(
        " ".join(chosen.choices(WORDS, k=chosen.randint(1, 4))) + "?",
        asked_at=int(time.time() * 1000) - chosen.randrange(20 * DAY),
        answer=number,
        outcome=chosen.choice(OUTCOMES),
        language=chosen.choice(LANGUAGES),
        interface=chosen.choice(INTERFACES),
        passages=tuple(
            passage(path, cited=chosen.random() < 0.6)
            for path in chosen.sample(PATHS, chosen.randint(0, 3))
        ),
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[LogReader, list[QuestionRow]]:
    """A log of 150 random entries, a third with a vote, and all of them, newest first."""
    folder = tmp_path_factory.mktemp("log")
    chosen = random.Random(22)

    async def write() -> list[QuestionRow]:
        entries = [entry(chosen, number) for number in range(150)]
        async with opened(folder) as log:
            for each in entries:
                log.add(each)
            for number in chosen.sample(range(150), 50):
                note = chosen.choice((None, "", "Straße ＦＬＵＴ"))
                log.vote(number, chosen.choice(("up", "down")), None, note)
            await log.flush()
            everything = await list_questions(log, QuestionsQuery(since="", limit=200))
            assert everything.next is None
            for row, each in zip(reversed(everything.questions), entries, strict=True):
                assert row.asked_at == EPOCH + timedelta(milliseconds=each.asked_at)
                assert row.question == each.question
                assert [place.file_path for place in row.passages] == [
                    place.file_path for place in each.passages
                ]
            return everything.questions

    rows = asyncio.run(write())
    assert len(rows) == 150
    return LogReader(folder / "questions.sqlite3"), rows


def matches(row: QuestionRow, wanted: QuestionsQuery) -> bool:
    asked_at = row.asked_at.timestamp() * 1000
    start, end = wanted.bounds()
    text = fold(f"{row.question} {row.note or ''}")
    return (
        start <= asked_at < end
        and wanted.outcome in (None, row.outcome)
        and (not wanted.unanswered or row.outcome in ("refused", "declined", "failed"))
        and wanted.vote in (None, row.vote)
        and wanted.language in ("", row.language)
        and wanted.interface in ("", row.interface)
        and (not wanted.path or any(p.cited and p.file_path == wanted.path for p in row.passages))
        and all(word in text for word in fold(wanted.q).split())
    )


FILTERS = st.builds(
    QuestionsQuery,
    since=st.sampled_from(["", "30d", "10d", "240h", "1w", "0h"]),
    until=st.sampled_from(["", "3d", "10d", "1h"]),
    outcome=st.sampled_from([None, *OUTCOMES]),
    unanswered=st.booleans(),
    vote=st.sampled_from([None, "up", "down"]),
    language=st.sampled_from(["", *LANGUAGES, "ger"]),
    interface=st.sampled_from(["", *INTERFACES]),
    path=st.sampled_from(["", *PATHS, "guide"]),
    q=st.lists(
        st.sampled_from([*WORDS, "tid", "strasse", "ЛИВ", "汐", "%", "_", "'", "fi", "e"]),
        max_size=2,
    ).map(" ".join),
    limit=st.sampled_from([1, 7, 200]),
)


async def all_pages(log: LogReader, wanted: QuestionsQuery) -> list[QuestionPage]:
    pages = [await list_questions(log, wanted)]
    while before := pages[-1].next:
        pages.append(await list_questions(log, msgspec.structs.replace(wanted, before=before)))
    return pages


@given(wanted=FILTERS)
@examples(max_examples=80)
def test_a_filter_selects_what_it_says(
    written: tuple[LogReader, list[QuestionRow]], wanted: QuestionsQuery
) -> None:
    log, rows = written
    expected = [each for each in rows if matches(each, wanted)]
    pages = asyncio.run(all_pages(log, wanted))
    assert [each for page in pages for each in page.questions] == expected
    assert {page.total for page in pages} == {len(expected)}
    assert all(len(page.questions) == wanted.limit for page in pages[:-1])


@pytest.mark.parametrize(
    ("text", "ends", "expected"),
    [
        ("2026-11-30", False, datetime(2026, 11, 30, tzinfo=UTC)),
        ("2026-11-30", True, datetime(2026, 12, 1, tzinfo=UTC)),
        ("1969-12-31", False, datetime(1970, 1, 1, tzinfo=UTC)),
        ("99999w", False, datetime(1970, 1, 1, tzinfo=UTC)),
        ("9999-12-31", True, datetime(9999, 12, 31, tzinfo=UTC) + timedelta(hours=24, seconds=-1)),
    ],
)
def test_times(text: str, ends: bool, expected: datetime) -> None:
    found = parse_time(text, "since", ends=ends) / 1000
    assert found == pytest.approx(expected.timestamp(), abs=1.5)


@pytest.mark.parametrize(("age", "hours"), [("24h", 24), ("0h", 0), ("7d", 168), ("2w", 336)])
def test_ages(age: str, hours: int) -> None:
    assert parse_time(age, "since") / 1000 == pytest.approx(time.time() - hours * 3600, abs=5)


@pytest.mark.parametrize("text", ["", "7", "d", "7 d", "7D", "1.5d", "7d\n", "٧d", "2026-1-1", "x"])
def test_other_times_are_invalid(text: str) -> None:
    with pytest.raises(InvalidRequest, match="The field until is neither an age such as 24h"):
        parse_time(text, "until")


@pytest.mark.parametrize("since", ["30d", "2w", "24h", "0h"])
async def test_activity_counts_every_question_once(
    written: tuple[LogReader, list[QuestionRow]], since: str
) -> None:
    log, rows = written
    activity = await count_activity(log, Period(since=since))
    first = activity.days[0].date
    within = [row for row in rows if row.asked_at.date().isoformat() >= first]
    assert first == datetime.fromtimestamp(parse_time(since, "") / 1000, UTC).date().isoformat()
    assert within
    for day in activity.days:
        asked = [row for row in within if row.asked_at.date().isoformat() == day.date]
        assert day.questions == len(asked)
        for outcome in OUTCOMES:
            count = sum(row.outcome == outcome for row in asked)
            assert getattr(day, outcome) == count
        assert (day.up, day.down) == tuple(
            sum(row.vote == vote for row in asked) for vote in ("up", "down")
        )
    assert {each.language: each.questions for each in activity.languages} == count_by(
        row.language for row in within
    )
    assert {each.interface: each.questions for each in activity.interfaces} == count_by(
        row.interface for row in within
    )


def count_by(values: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for each in values:
        counts[each] = counts.get(each, 0) + 1
    return counts


@pytest.mark.parametrize("count", [1, 2, 3, 19, 20, 21, 100])
async def test_percentiles_are_of_the_nearest_rank(tmp_path: Path, count: int) -> None:
    chosen = random.Random(count)
    times = [chosen.choice((7, 100, chosen.randrange(5_000))) for _ in range(count)]
    async with opened(tmp_path) as log:
        for each in times:
            log.add(logged(first_ms=each))
        log.add(logged(first_ms=None))
        await log.flush()
        *_, today = (await count_activity(log, Period(since="0h"))).days
    ordered = sorted(times)
    for found, share in ((today.first_p50, 50), (today.first_p95, 95)):
        assert found == ordered[-(-count * share // 100) - 1] / 1000


async def test_activity_is_bounded(written: tuple[LogReader, list[QuestionRow]]) -> None:
    log, _ = written
    assert len((await count_activity(log, Period(since="1970-01-01"))).days) == 3_660
    assert (await count_activity(log, Period(since="9999-12-31"))).days == []
    assert (await count_activity(log, Period(since="7d", until="2020-01-01"))).days == []


async def test_a_conversation_has_a_last_thousand_questions(tmp_path: Path) -> None:
    async with opened(tmp_path) as log:
        for each in range(1_005):
            log.add(logged(f"Question {each}?"))
        await log.flush()
        found = (await read_conversation(log, "c1")).questions
    assert [each.id for each in found] == [*range(6, 1_006)]


async def test_no_log(tmp_path: Path) -> None:
    log = LogReader(tmp_path / "questions.sqlite3")
    calls: list[Any] = [
        list_questions(log, QuestionsQuery()),
        find_question(log, 1),
        count_activity(log, Period()),
    ]
    for each in calls:
        with pytest.raises(NotFound, match="There is no question log"):
            await each
