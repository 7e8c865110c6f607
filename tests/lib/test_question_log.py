"""The question log on real files: full disks, damage, changed clocks, several writers."""

import asyncio
import logging
import os
import resource
import sqlite3
import stat
import threading
import time
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lib.question_log
import lib.question_log_writer
from lib.errors import LogUnavailable, NotFound, QuireError, Stopping, TimedOut
from lib.question_log import (
    FILE_NAME,
    LoggedPassage,
    LoggedQuestion,
    LogReader,
    QuestionLog,
    fold,
)
from tests.api import serving
from tests.clock import Clock
from tests.conftest import MakeSettings

DAY = 86_400
NOW = 1_796_000_000.0

Make = Callable[..., QuestionLog]


class Times:
    """The time of day, and the time since the start of the computer."""

    def __init__(self) -> None:
        self.day = Clock(NOW)
        self.elapsed = Clock(5_000.0)

    def pass_time(self, seconds: float) -> None:
        self.day.now += seconds
        self.elapsed.now += seconds


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index" / FILE_NAME


@pytest.fixture
async def make(path: Path, times: Times) -> AsyncIterator[Make]:
    made: list[QuestionLog] = []

    def make_log(path: Path = path, days: int = 30, max_bytes: int = 10**8) -> QuestionLog:
        made.append(
            QuestionLog(
                path, days=days, max_bytes=max_bytes, clock=times.day, elapsed=times.elapsed
            )
        )
        return made[-1]

    yield make_log
    for log in made:
        await log.close()


@pytest.fixture
def log(make: Make) -> QuestionLog:
    return make()


PASSAGE = LoggedPassage(
    file_path="guide/tides.md",
    heading="Tides > When they turn",
    url="https://book.example/tides#turn",
    start_char=10,
    end_char=250,
    score=0.75,
    cited=True,
)


def entry(number: int, **changes: Any) -> LoggedQuestion:
    fields: dict[str, Any] = {
        "asked_at": round(1e3 * NOW),
        "answer": number,
        "conversation": "c",
        "question": f"When does tide {number} turn?",
        "language": "english",
        "interface": "/chat",
        "outcome": "answered",
        "passages": (PASSAGE,),
    }
    return LoggedQuestion(**(fields | changes))


async def rows(log: LogReader, query: str) -> list[Any]:
    """The rows of a query: values, or tuples of several."""

    def read(connection: sqlite3.Connection) -> list[Any]:
        found = [tuple(row) for row in connection.execute(query)]
        return [row[0] if len(row) == 1 else row for row in found]

    return await log.read(read)


async def answers(log: LogReader) -> list[int]:
    return await rows(log, "SELECT answer FROM questions ORDER BY id")


def size(path: Path) -> int:
    return path.stat().st_size


def content(path: Path) -> bytes:
    return path.read_bytes()


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


async def until(happened: Callable[[], object]) -> None:
    """Wait for the thread that writes."""
    async with asyncio.timeout(10):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def settle(log: QuestionLog) -> None:
    """Write what is queued, and end maintenance. On a slow machine it goes on after a flush."""
    await log.flush()
    while log._writer._maintaining is not None:
        await log.flush()


def modes(folder: Path) -> dict[str, int]:
    return {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()}


# What is kept


async def test_an_entry_is_kept_with_all_its_fields(log: QuestionLog) -> None:
    given = entry(
        7,
        mode="generated",
        first_ms=120,
        total_ms=900,
        cost_usd=None,
        stands_alone=False,
        vector=b"\x01\xff",
        vector_model="m",
        passages=(
            PASSAGE,
            LoggedPassage(
                **{f: getattr(PASSAGE, f) for f in PASSAGE.__struct_fields__}
                | {"url": None, "cited": False}
            ),
        ),
    )
    log.add(given)
    log.vote(7, "down", "wrong", "It was Überflutet")
    log.vote(8, "up", None, None)  # an answer of another server
    await settle(log)
    (row,) = await rows(
        log,
        "SELECT question, first_ms, total_ms, cost_usd, stands_alone, vote, reason, note, folded"
        " FROM questions",
    )
    assert row == (
        given.question,
        120,
        900,
        None,
        0,
        "down",
        "wrong",
        "It was Überflutet",
        "when does tide 7 turn? it was uberflutet",
    )
    assert await rows(
        log,
        "SELECT position, file_path, url, score, cited FROM passages"
        " JOIN places ON places.id = place_id ORDER BY position",
    ) == [
        (1, "guide/tides.md", PASSAGE.url, 0.75, 1),
        (2, "guide/tides.md", "", 0.75, 0),
    ]
    assert await rows(log, "SELECT model, vector FROM vectors") == [("m", b"\x01\xff")]


async def test_nothing_exists_before_the_first_entry(log: QuestionLog, path: Path) -> None:
    threads = threading.active_count()
    log.start()
    await settle(log)
    assert await answers(log) == []
    state = await log.state()
    assert (state.bytes, state.questions, state.oldest, state.problem) == (0, 0, None, None)
    assert not path.parent.exists()
    assert not any(each.name == "question-log" for each in threading.enumerate()), threads
    with pytest.raises(NotFound):
        await answers(LogReader(path))
    assert not path.parent.exists()
    log.add(entry(1))
    await settle(log)
    assert await answers(log) == await answers(LogReader(path)) == [1]


async def test_only_the_owner_reads_the_files(log: QuestionLog, path: Path) -> None:
    before = os.umask(0)
    try:
        log.add(entry(1))
        await settle(log)
        await answers(LogReader(path))
    finally:
        os.umask(before)
    assert modes(path.parent) == dict.fromkeys(
        (FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"), 0o600
    )


async def test_closing_writes_what_is_queued(
    make: Make, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = make()
    for number in range(100):
        log.add(entry(number))
    await log.close()
    assert [each.name for each in path.parent.iterdir()] == [FILE_NAME]  # no WAL is left
    assert await answers(LogReader(path)) == list(range(100))
    log.add(entry(100))
    await settle(log)
    assert log.lost == 1
    assert warnings(caplog) == []
    with pytest.raises(Stopping):
        await log.write(lambda connection: None)
    with pytest.raises(Stopping):
        await answers(log)


async def test_entries_are_written_in_few_transactions(log: QuestionLog) -> None:
    statements: list[str] = []
    await log.write(lambda connection: connection.set_trace_callback(statements.append))
    for number in range(500):
        log.add(entry(number))
    await settle(log)
    assert await answers(log) == list(range(500))
    assert statements.count("COMMIT") <= 4
    statements.clear()
    for number in range(500, 520):
        log.add(entry(number))
        await asyncio.sleep(0.01)  # without a flush, they wait for each other
    await until(lambda: log.written == 520)
    assert await answers(log) == list(range(520))
    assert statements.count("COMMIT") <= 4


async def test_a_change_comes_after_the_entries_before_it(log: QuestionLog) -> None:
    log.add(entry(1))

    def delete(connection: sqlite3.Connection) -> int:
        return connection.execute("DELETE FROM questions WHERE answer = 1").rowcount

    assert await log.write(delete) == 1
    log.add(entry(2))
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await log.write(lambda connection: connection.execute("DELETE FROM notes"))

    def refuse(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM questions")
        raise NotFound("There is no such question.")

    with pytest.raises(NotFound):
        await log.write(refuse)
    await settle(log)
    assert await answers(log) == [2]
    assert (await log.state()).problem is None
    assert await rows(log, "SELECT count(*) FROM passages") == [1]


HOSTILE = [
    entry(1, question="\ud800 a lone surrogate and a \0 NUL", conversation="\udfff"),
    entry(2, asked_at=2**70, total_ms=-(2**70), first_ms=2**64),
    entry(3, cost_usd=float("nan"), passages=(PASSAGE,)),
    entry(
        4,
        passages=(
            LoggedPassage(
                file_path="\udc80.md",
                heading="\0",
                url="\ud900",
                start_char=2**64,
                end_char=0,
                score=float("nan"),
                cited=True,
            ),
        ),
    ),
    entry(5, cost_usd=float("inf")),
    entry(6, question=""),
    entry(7, question="ﷺ" * 5_000),
    entry(8, question="a" + "\u0301" * 5_000),
    entry(9, question="');DROP TABLE questions;--"),
]


async def test_hostile_values_are_stored(log: QuestionLog) -> None:
    for each in HOSTILE:
        log.add(each)
    log.vote(1, "down", "other", "\ud800\0")
    await settle(log)
    assert await answers(log) == list(range(1, 10))
    assert log.lost == 0
    question, note = (await rows(log, "SELECT question, note FROM questions WHERE answer = 1"))[0]
    assert question == "? a lone surrogate and a \ufffd NUL"
    assert note == "?\ufffd"
    assert await rows(log, "SELECT score, start_char FROM passages WHERE question_id = 4") == [
        (0.0, 2**63 - 1)
    ]


async def test_an_entry_that_fails_spoils_no_other(
    log: QuestionLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.add(entry(1))
    log.add(entry(2, conversation=None))  # a defect of ours
    log.add(entry(3, total_ms="a reader's words", passages=None))
    log.add(entry(4))
    log.vote(object(), "up", None, None)  # type: ignore[arg-type]
    log.vote(4, "up", None, None)
    await settle(log)
    assert await answers(log) == [1, 4]
    assert (log.lost, log.failing) == (3, False)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "reader" not in caplog.text
    assert await rows(log, "SELECT count(*) FROM passages") == [2]


async def test_an_answer_is_stored_once(log: QuestionLog) -> None:
    for number in (1, 2, 1, None, None):
        log.add(entry(1, answer=number))
    await settle(log)
    assert await answers(log) == [1, 2, None, None]
    assert await rows(log, "SELECT count(*) FROM passages") == [4]
    assert log.lost == 0


# Folding


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Straße", "strasse"),
        ("ÜBERFLUTET", "uberflutet"),
        ("Ｔｉｄｅ　１２", "tide 12"),
        ("ﬁsh", "fish"),
        ("İstanbul", "istanbul"),
        ("ΆΝΕΜΟΣ", "ανεμοσ"),
        ("ёлка", "елка"),
        ("مَدّ", "مد"),
        ("がき", "がき"),  # not かき
        ("हिन्दी", "हिन्दी"),
        ("물때", "물때"),
        ("ℌ", "h"),
    ],
)
def test_folding(text: str, folded: str) -> None:
    assert fold(text) == folded
    assert fold(unicodedata.normalize("NFD", text)) == folded


def test_folding_makes_no_long_text_of_a_short_one() -> None:
    assert len(fold("ﷺ" * 5_000)) == 20_000
    assert fold("Mohammed ﷺ").startswith("mohammed صلى الله")


@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


# Age


async def test_old_entries_expire_at_the_first_write_after_a_start(
    make: Make, times: Times, path: Path
) -> None:
    log = make()
    log.add(entry(1, asked_at=round(1e3 * (NOW - 31 * DAY)), vector=b"1", vector_model="m"))
    log.add(entry(2, asked_at=round(1e3 * (NOW - 29 * DAY)), passages=()))
    await log.close()
    log = make()
    log.add(entry(3, passages=()))
    await settle(log)
    assert await answers(log) == [2, 3]
    for table in ("passages", "places", "vectors"):
        assert await rows(log, f"SELECT count(*) FROM {table}") == [0], table
    words = b"tide 1 turn"
    await log.close()
    assert words not in content(path)


async def test_they_expire_every_hour(log: QuestionLog, times: Times) -> None:
    log.add(entry(1, asked_at=round(1e3 * (NOW - 30 * DAY + 1_800))))
    await settle(log)
    times.pass_time(3_599)
    await settle(log)
    assert await answers(log) == [1]
    times.pass_time(1)
    await settle(log)
    assert await answers(log) == []


async def test_they_expire_although_nobody_asks(
    make: Make, times: Times, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = make()
    log.add(entry(1, asked_at=round(1e3 * (NOW - 29 * DAY))))
    await log.close()
    monkeypatch.setattr(lib.question_log_writer, "MAINTENANCE_SECONDS", 0.01)
    reader = make()
    reader.start()
    times.pass_time(2 * DAY)
    async with asyncio.timeout(10):
        while await answers(reader):
            times.elapsed.now += 1.0
            times.day.now += 1.0
            await asyncio.sleep(0.01)


async def test_a_clock_set_forward_for_a_while_expires_nothing(
    log: QuestionLog, times: Times
) -> None:
    log.add(entry(1))
    await settle(log)
    times.pass_time(3_600)
    times.day.now += 400 * DAY
    await settle(log)
    assert await answers(log) == [1]
    times.pass_time(1_000)
    times.day.now -= 400 * DAY
    times.pass_time(2_600)
    await settle(log)
    assert await answers(log) == [1]
    times.pass_time(3_600)
    times.day.now += 31 * DAY  # this clock is right: the computer slept
    await settle(log)
    assert await answers(log) == [1]
    times.pass_time(3_600)
    await settle(log)
    assert await answers(log) == []


async def test_a_clock_set_back_for_a_while_ages_no_entries(log: QuestionLog, times: Times) -> None:
    log.add(entry(1))
    for wrong in (0, 0, 400 * DAY, 0, 0):
        times.day.now -= wrong
        await settle(log)
        times.day.now += wrong
        times.pass_time(3_600)
    assert await rows(log, "SELECT asked_at FROM questions") == [round(1e3 * NOW)]


async def test_entries_of_the_future_live_no_longer_than_others(
    log: QuestionLog, times: Times
) -> None:
    for number in range(250):
        log.add(entry(number, asked_at=round(1e3 * (NOW + 400 * DAY))))
    log.add(entry(250))
    await settle(log)
    times.pass_time(3_600)
    await settle(log)
    assert await answers(log) == list(range(251))
    newest = (await rows(log, "SELECT max(asked_at) FROM questions"))[0]
    assert newest == round(1e3 * times.day.now)
    times.pass_time(30 * DAY + 3_600)
    await settle(log)
    assert await answers(log) == []


async def test_a_clock_that_is_behind_at_the_start_ages_no_entries(
    make: Make, times: Times
) -> None:
    """A computer without a battery starts in 1970, until it asks the network for the time."""
    log = make()
    log.add(entry(1))
    await log.close()
    times.day.now = 100.0
    log = make()
    log.start()
    await settle(log)
    times.pass_time(60)
    times.day.now = NOW + 60
    times.pass_time(3_540)
    await settle(log)
    times.pass_time(3_600)
    await settle(log)
    assert await rows(log, "SELECT asked_at FROM questions") == [round(1e3 * NOW)]


# Size


async def test_the_file_stays_within_its_limit(make: Make, path: Path) -> None:
    log = make(max_bytes=1_000_000)
    words = "tide " * 100
    largest = 0
    for number in range(3_000):
        place = LoggedPassage(
            file_path=f"{number}.md",
            heading=words,
            url="",
            start_char=0,
            end_char=1,
            score=0.0,
            cited=True,
        )
        log.add(entry(number, question=f"{number} {words}", passages=(place,)))
        if number % 250 == 249:
            await settle(log)
            largest = max(largest, size(path))
    assert largest <= 1_400_000  # and the 250 since
    await settle(log)
    kept = await answers(log)
    assert 200 < len(kept) < 1_000
    assert kept == list(range(3_000 - len(kept), 3_000))
    assert len(kept) == (await rows(log, "SELECT count(*) FROM places"))[0]
    await log.close()
    assert 700_000 < size(path) <= 1_000_000
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_a_lower_limit_applies_at_the_start(make: Make, path: Path) -> None:
    log = make()
    for number in range(2_000):
        log.add(entry(number, question="tide " * 200))
    await settle(log)
    await log.close()
    assert size(path) > 2_000_000
    log = make(max_bytes=1_000_000)
    log.start()
    await settle(log)
    await log.close()
    assert size(path) <= 1_000_000


# Outages


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """Limit the size of the files of this process."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def use_no_more_pages(connection: sqlite3.Connection) -> None:
    """Make the disk full for SQLite until the next connection."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()


async def test_entries_wait_while_the_disk_is_full(
    log: QuestionLog, caplog: pytest.LogCaptureFixture, times: Times
) -> None:
    log.add(entry(0))
    await settle(log)
    await log.write(use_no_more_pages)
    for number in range(1, 1_000):
        log.add(entry(number))
    await settle(log)
    state = await log.state()
    assert (state.questions, state.lost, state.problem) == (1, 0, "The disk is full.")
    assert log.failing
    (warning,) = warnings(caplog)
    assert "The disk is full." in warning
    # The next connection has no limit. It is not tried before the end of the pause.
    times.pass_time(14)
    log.add(entry(1_000))
    await until(log._writer._queue.empty)
    assert await answers(log) == [0]
    times.pass_time(1)
    log.add(entry(1_001))
    await until(lambda: not log.failing)
    assert await answers(log) == list(range(1_002))
    assert warnings(caplog)[1:] == ["The question log can be written again. Entries lost: 0"]
    assert (await log.state()).problem is None


@pytest.fixture
def small_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """300 changes at most."""
    monkeypatch.setattr(lib.question_log_writer, "_MAX_QUEUED", 300)


@pytest.mark.usefixtures("small_queue")
async def test_what_the_memory_cannot_hold_is_lost(
    log: QuestionLog, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log.add(entry(0))
    await settle(log)
    with file_limit(size(path.with_name(f"{FILE_NAME}-wal"))):
        for number in range(1, 311):
            log.add(entry(number, question="tide " * 200))
        await settle(log)
        await settle(log)
        state = await log.state()
        assert (state.questions, state.lost) == (1, 10)
        assert state.problem in ("The disk is full.", "The disk reports an error.")
        with pytest.raises(LogUnavailable, match="disk"):
            await log.write(lambda connection: connection.execute("DELETE FROM vectors"))
    await settle(log)
    assert await answers(log) == list(range(301))
    assert len(warnings(caplog)) == 2
    assert warnings(caplog)[1] == "The question log can be written again. Entries lost: 10"


async def test_closing_on_a_full_disk(
    make: Make, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = make()
    log.add(entry(0))
    await settle(log)
    await log.write(use_no_more_pages)
    for number in range(1, 1_000):
        log.add(entry(number))
    await log.close()
    assert warnings(caplog)[-1] == "Entries of the question log that were not written: 999"
    assert await answers(LogReader(path)) == [0]


async def test_a_folder_that_cannot_be_used(
    log: QuestionLog, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.write_text("a file")
    log.add(entry(1))
    await settle(log)
    log.add(entry(2))
    await settle(log)
    assert (await log.state()).problem == "File exists."
    assert len(warnings(caplog)) == 1
    path.parent.unlink()
    await settle(log)
    assert await answers(log) == [1, 2]
    assert len(warnings(caplog)) == 2


async def test_a_locked_file(
    log: QuestionLog,
    path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lib.question_log_writer, "BUSY_SECONDS", 0.05)
    log.add(entry(1))
    await settle(log)
    for number in (2, 3):
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for _ in range(2):
                log.add(entry(number))
                await settle(log)
            assert (await log.state()).problem == "Another process keeps the file locked."
            assert await answers(log) == list(range(1, number))  # reading goes on
        await settle(log)
        assert await answers(log) == list(range(1, number + 1))
        assert len(warnings(caplog)) == 2 * (number - 1)


@pytest.mark.usefixtures("small_queue")
async def test_a_disk_that_hangs(
    make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.question_log_writer, "_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(lib.question_log_writer, "_CLOSE_SECONDS", 0.05)
    log = make()
    resume, hangs = threading.Event(), threading.Event()

    def hang(connection: sqlite3.Connection) -> None:
        hangs.set()
        resume.wait()

    log._writer.put(hang)
    with pytest.raises(TimedOut):
        await log.write(lambda connection: None)
    await until(hangs.is_set)
    for number in range(304):
        log.add(entry(number))
    await settle(log)
    assert log.lost == 5
    (warning,) = warnings(caplog)
    assert "The disk does not respond." in warning
    await log.close()
    assert warnings(caplog)[1:] == ["Entries of the question log that were not written: 300"]
    resume.set()
    await until(lambda: "question-log" not in {each.name for each in threading.enumerate()})


# Damage


def spoil(path: Path, start: int, end: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(os.urandom(end - start))


async def test_a_file_that_is_no_database(
    log: QuestionLog, path: Path, caplog: pytest.LogCaptureFixture, times: Times
) -> None:
    put(path, b"no database " * 1_000)
    damaged = path.with_name("questions.sqlite3.damaged")
    put(damaged, b"an older one")
    with pytest.raises(LogUnavailable, match="damaged"):
        await answers(log)
    assert (await log.state()).problem == "The question log cannot be used. The file is damaged."
    log.add(entry(1))
    await settle(log)
    assert await answers(log) == [1]
    assert content(damaged) == b"no database " * 1_000
    (warning,) = warnings(caplog)
    assert "questions.sqlite3.damaged" in warning
    assert (await log.state()).problem is None
    assert log.lost == 0
    os.utime(damaged, (NOW - 29 * DAY,) * 2)  # it expires too
    times.pass_time(2 * DAY)
    await settle(log)
    assert not damaged.exists()


async def test_a_file_that_is_damaged_while_it_is_open(
    log: QuestionLog, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(500):
        log.add(entry(number))
    await settle(log)
    await log.write(lambda c: None)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    spoil(path, 0, size(path))
    for number in range(500, 510):
        log.add(entry(number))
    await settle(log)
    assert await answers(log) == list(range(500, 510))
    assert len(warnings(caplog)) == 1


async def test_another_process_moves_a_damaged_file_first(log: QuestionLog, path: Path) -> None:
    log.add(entry(1))
    await settle(log)

    def fail_once(connection: sqlite3.Connection) -> None:
        if path.with_name("moved").exists():
            return
        path.rename(path.with_name("moved"))
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        path.touch()
        raise error

    log._writer.put(fail_once)
    log.add(entry(2))
    await settle(log)
    assert await answers(log) == [2]
    assert not path.with_name(f"{FILE_NAME}.damaged").exists()


async def test_a_disk_that_damages_every_file(
    make: Make, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The first damaged file is kept, and attempts pause."""
    put(path, b"the only copy " * 1_000)
    log = make()
    log.add(entry(1))
    await settle(log)
    await log.close()
    log = make()
    log._writer._moved_at = log._elapsed()
    put(path, b"again " * 1_000)
    log.add(entry(2))
    await settle(log)
    assert (await log.state()).problem == "The file is damaged."
    assert content(path.with_name("questions.sqlite3.damaged")).startswith(b"the only copy")
    assert len(warnings(caplog)) == 2


async def test_a_file_of_a_newer_version(
    log: QuestionLog, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other:
        other.executescript("CREATE TABLE questions (answer); PRAGMA user_version = 2;")
    before = content(path)
    log.start()
    for number in (1, 2):
        log.add(entry(number))
        await settle(log)
    problem = "The question log was written by a newer version of Quire."
    assert (await log.state()).problem == problem
    for reader in (log, LogReader(path)):
        with pytest.raises(LogUnavailable, match="newer version"):
            await answers(reader)
    await log.close()
    assert content(path) == before
    assert [each.name for each in path.parent.iterdir()] == [FILE_NAME]
    assert sum(problem in each for each in warnings(caplog)) == 1


async def test_a_file_that_is_deleted(log: QuestionLog, path: Path) -> None:
    for number in (1, 2):
        log.add(entry(number))
        await settle(log)
        assert await answers(log) == [number]
        os.unlink(path)
    assert await answers(log) == []
    log.add(entry(3))
    await settle(log)
    assert await answers(log) == [3]


# Several processes


async def test_several_servers_create_the_file(make: Make, tmp_path: Path) -> None:
    for turn in range(10):
        logs = [make(tmp_path / str(turn) / FILE_NAME) for _ in range(4)]
        for number, log in enumerate(logs):
            log.add(entry(number))
        await asyncio.gather(*(settle(log) for log in logs))
        assert sorted(await answers(logs[0])) == [0, 1, 2, 3]
        assert not any(log.failing for log in logs)


async def test_a_change_excludes_other_processes(log: QuestionLog, path: Path) -> None:
    """One that reads first and then writes would fail if another wrote in between."""

    def change(connection: sqlite3.Connection) -> str:
        connection.execute("SELECT * FROM questions").fetchall()
        with closing(sqlite3.connect(path, timeout=0)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                return str(error)
        return ""

    assert await log.write(change) == "database is locked"


async def test_two_servers_write_to_one_file(make: Make, path: Path, times: Times) -> None:
    logs = [make() for _ in range(4)]
    for number in range(400):
        logs[number % 4].add(entry(number))
    await asyncio.gather(*(settle(log) for log in logs))
    assert sorted(await answers(logs[0])) == list(range(400))
    assert len(await rows(logs[0], "SELECT id FROM places")) == 1
    times.pass_time(31 * DAY)
    await asyncio.gather(*(settle(log) for log in logs))
    assert await answers(logs[0]) == []
    assert [(log.lost, log.failing) for log in logs] == [(0, False)] * 4
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)


async def test_reading_goes_on_while_entries_are_written(log: QuestionLog, path: Path) -> None:
    log.add(entry(0))
    await settle(log)
    reader = LogReader(path)
    for number in range(1, 20):
        for _ in range(50):
            log.add(entry(number, answer=None))
        _, found, others = await asyncio.gather(
            log.flush(), rows(log, "SELECT count(*) FROM questions"), answers(reader)
        )
        assert found[0] % 50 == len(others) % 50 == 1  # a whole batch or nothing of it


async def test_a_question_is_listed_directly_after_its_answer(log: QuestionLog) -> None:
    for number in (1, 2, 3):
        log.add(entry(number))
        count = await log.read(
            lambda connection: connection.execute("SELECT count(*) FROM questions").fetchone()[0]
        )
        assert count == number


async def test_a_query_sees_one_state(log: QuestionLog, path: Path) -> None:
    log.add(entry(1))
    await settle(log)

    def count_twice(connection: sqlite3.Connection) -> list[int]:
        counts = [connection.execute("SELECT count(*) FROM questions").fetchone()[0]]
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("DELETE FROM questions")
        return [*counts, connection.execute("SELECT count(*) FROM questions").fetchone()[0]]

    assert await log.read(count_twice) == [1, 1]
    assert await answers(log) == []


# Reading

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"


async def test_a_long_query_is_ended(log: QuestionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lib.question_log, "_READ_SECONDS", 0.05)
    with pytest.raises(TimedOut, match="shorter period"):
        await rows(log, ENDLESS)
    assert await answers(log) == []


async def test_two_queries_run_at_a_time(log: QuestionLog) -> None:
    resume, running = threading.Event(), threading.Semaphore(0)

    def wait(connection: sqlite3.Connection) -> None:
        running.release()
        resume.wait()

    waiting = [asyncio.create_task(log.read(wait)) for _ in range(3)]
    for _ in range(2):
        assert await asyncio.to_thread(running.acquire, timeout=10)
    assert not running.acquire(timeout=0.05)
    resume.set()
    await asyncio.gather(*waiting)


async def test_closing_ends_queries(make: Make) -> None:
    log = make()
    running = threading.Event()

    def query(connection: sqlite3.Connection) -> None:
        running.set()
        connection.execute(ENDLESS).fetchall()

    reading = asyncio.create_task(log.read(query))
    await until(running.is_set)
    await log.close()
    with pytest.raises(TimedOut):
        await reading


async def test_a_reader_cannot_write(log: QuestionLog) -> None:
    log.add(entry(1))
    await settle(log)
    with pytest.raises(QuireError, match="read-only"):
        await rows(log, "DELETE FROM questions")
    assert await answers(log) == [1]


# In the application


async def test_answers_go_on_without_a_disk(
    make_settings: MakeSettings, own_index: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (own_index / FILE_NAME).mkdir()
    async with serving(make_settings(question_log=30, qdrant_path=own_index)) as api:
        log = api.services.question_log
        assert log
        for _ in range(3):
            assert (await api.ask()).status == 200
            await settle(log)
        answer = await api.as_admin("GET", "/admin/status")
        problem = "The file cannot be opened. Check the owner of the file and of its folder."
        assert answer.json()["log"]["problem"] == problem
        metrics = (await api.as_admin("GET", "/metrics")).text
        assert "quire_question_log_failing 1.0" in metrics
        (own_index / FILE_NAME).rmdir()
        await settle(log)
        assert await rows(log, "SELECT count(*) FROM questions") == [3]
        metrics = (await api.as_admin("GET", "/metrics")).text
        assert "quire_question_log_failing 0.0" in metrics
        assert "quire_question_log_written 3.0" in metrics
        assert f"quire_question_log_bytes {float(log.bytes)}" in metrics
        assert log.bytes > 10_000
    assert len([each for each in warnings(caplog) if "question log" in each]) == 2


async def test_a_log_that_is_off_creates_nothing(
    make_settings: MakeSettings, own_index: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(make_settings(qdrant_path=own_index)) as api:
        await api.ask()
        assert "quire_question_log_written 0.0" in (await api.as_admin("GET", "/metrics")).text
    assert not any(FILE_NAME in each for each in os.listdir(own_index))
    put(own_index / FILE_NAME, b"questions of last year")
    async with serving(make_settings(qdrant_path=own_index)) as api:
        await api.ask()
    assert content(own_index / FILE_NAME) == b"questions of last year"
    (warning,) = warnings(caplog)
    assert str(own_index / FILE_NAME) in warning


async def test_an_idle_server_expires_questions(
    make: Make, make_settings: MakeSettings, own_index: Path, times: Times
) -> None:
    times.day.now = time.time() - 100 * DAY
    log = make(own_index / FILE_NAME)
    log.add(entry(1, asked_at=round(1e3 * times.day.now)))
    log.add(entry(2, asked_at=round(1e3 * time.time())))
    await log.close()
    async with serving(make_settings(question_log=30, qdrant_path=own_index)) as api:
        served = api.services.question_log
        assert served
        await until(lambda: served.bytes)
        assert await answers(served) == [2]
