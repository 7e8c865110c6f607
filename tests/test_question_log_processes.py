"""The question log of real servers: killed while they write, and two on one file."""

import asyncio
import os
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from lib.question_log import FILE_NAME
from tests.test_stopping import (
    EXIT_SECONDS,
    ROOT,
    Server,
    chat,
    read_events,
    read_head,
    running_quire,
)
from tests.upstream import Hang, Upstream, delta

pytestmark = pytest.mark.processes


async def ask(server: Server, number: int) -> None:
    stream = await server.connect(chat(question=f"When does tide {number} turn?"))
    assert (await read_head(stream))[0] == 200
    assert (await read_events(stream))[-1]["type"] == "done"


async def keep_asking(server: Server, readers: int, answered: list[float]) -> None:
    """Ask without a pause until cancelled. Notes the time of each answer."""

    async def read(reader: int) -> None:
        for number in range(reader, 1_000_000, readers):
            await ask(server, number)
            answered.append(time.monotonic())

    await asyncio.gather(*map(read, range(readers)))


def logged(path: Path) -> int:
    """Number of entries of an undamaged file; 0 until a server has created its tables."""
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        if connection.execute("PRAGMA user_version").fetchone() == (0,):
            return 0
        (count,) = connection.execute("SELECT count(*) FROM questions").fetchone()
        (answers,) = connection.execute("SELECT count(DISTINCT answer) FROM questions").fetchone()
    assert count == answers
    return int(count)


async def test_a_killed_server_loses_less_than_a_second(own_book: Path, own_index: Path) -> None:
    environment = {"QUESTION_LOG": "30d", "RATE_LIMIT_ENABLED": "false"}
    path = own_index / FILE_NAME
    answered: list[float] = []
    for _ in range(2):  # the second server finds the file of the first
        before, known = len(answered), logged(path)
        async with running_quire(own_book, own_index, **environment) as server:
            asking = asyncio.create_task(keep_asking(server, 8, answered))
            while logged(path) < known + 20:
                await asyncio.wait((asking,), timeout=0.05)
                assert not asking.done(), asking.exception()
            server.process.kill()
            killed = time.monotonic()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await server.process.wait()
        early = sum(when < killed - 1.0 for when in answered[before:])
        assert logged(path) >= known + early
        assert logged(path) <= known + len(answered) - before + 8
    assert "Traceback" not in "".join(server.log)


async def test_an_answer_that_the_end_of_the_server_interrupts_is_logged(
    own_book: Path, own_index: Path, upstream: Upstream
) -> None:
    environment = {"OPENAI_BASE_URL": upstream.base_url, "QUESTION_LOG": "30d"}
    upstream.replies.append([delta("The tide "), Hang()])
    async with running_quire(own_book, own_index, **environment) as server:
        stream = await server.connect(chat())
        await upstream.until(lambda u: len(u.chats()) == 1)
        await read_head(stream)
        assert await server.stop() < EXIT_SECONDS
    with closing(sqlite3.connect(own_index / FILE_NAME)) as connection:
        found = connection.execute("SELECT outcome, code FROM questions").fetchall()
    assert found == [("failed", "STOPPING")]
    assert not any("question log" in line for line in server.log)


WRITER = """
import asyncio, sys, time
from pathlib import Path
from lib.question_log import LoggedQuestion, QuestionLog

async def write():
    log = QuestionLog(Path(sys.argv[1]), days=30, max_bytes=10**8)
    for number in range(2_000):
        log.add(LoggedQuestion(
            asked_at=round(1e3 * time.time()), answer=-1 - number, conversation="other",
            question="?", language="english", interface="/chat", outcome="failed",
        ))
        await asyncio.sleep(0.001)
    await log.close()
    assert not log.lost

asyncio.run(write())
"""


async def test_two_processes_write_to_one_file(own_book: Path, own_index: Path) -> None:
    environment = {"QUESTION_LOG": "30d", "RATE_LIMIT_ENABLED": "false"}
    path = own_index / FILE_NAME
    answered: list[float] = []
    async with running_quire(own_book, own_index, **environment) as server:
        command = (sys.executable, "-c", WRITER, str(path))
        other = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
        asking = asyncio.create_task(keep_asking(server, 4, answered))
        assert await asyncio.wait_for(other.wait(), 60) == 0
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert await server.stop() < EXIT_SECONDS
    assert 2_000 + len(answered) <= logged(path) <= 2_000 + len(answered) + 4
    assert "question log" not in "".join(server.log)
    assert [each for each in os.listdir(own_index) if FILE_NAME in each] == [FILE_NAME]
