import asyncio
import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.chaos import Sample, judge
from benchmarks.chaos_readers import Crowd, asked, ended, guarded
from benchmarks.chaos_upstream import SECRET, Upstream, chunk

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif("CHAOS" not in os.environ, reason="takes half a minute; set CHAOS=1 to run it")
def test_a_short_run() -> None:
    """The real server and all kinds of readers, for some seconds."""
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.chaos", "--seconds", "3", "--seed", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    assert "passed, seed 1" in ran.stdout
    for happened in ("stream 200", "garbage", "done generated", "done extractive"):
        assert happened in ran.stdout


def test_what_has_leaked() -> None:
    first = Sample(seconds=90, memory=170, anonymous=100, files=8, threads=12, tasks=10)
    assert judge(first, replace(first, seconds=600, memory=180, files=10)) == []
    last = replace(first, memory=300, files=99, threads=40, tasks=500)
    assert [text.partition(":")[0] for text in judge(first, last)] == [
        "memory",
        "open files",
        "threads",
        "tasks",
    ]


def stream(*events: object) -> bytes:
    return b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in events)


def crowd() -> Crowd:
    return Crowd(port=0, draw=random.Random(1))


def test_a_stream_has_one_last_event() -> None:
    text, end = {"type": "chunk", "content": "The tide."}, {"type": "done", "mode": "generated"}
    good = crowd()
    assert ended(good, b": ping\n\n" + stream(text, text, end)) == (end, "The tide.The tide.")
    assert good.problems == []
    for events in ([text], [text, end, end], [end, text], [text, {"type": "error"}, end]):
        bad = crowd()
        ended(bad, stream(*events))
        assert "last events" in bad.problems[0]


def test_a_mistake_of_the_server_is_a_problem() -> None:
    readers = crowd()
    readers.saw("stream", 429)
    assert readers.problems == []
    readers.saw("stream", 500, b"a mistake")
    assert readers.problems == ["stream: status 500 b'a mistake'"]


async def served(events: bytes, secret: str) -> list[str]:
    """The problems of a reader in the session of `secret` who gets `events`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nX-Session-Id: s-{secret}\r\n"
        writer.write(f"{head}Content-Length: {len(events)}\r\n\r\n".encode() + events)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        readers = Crowd(server.sockets[0].getsockname()[1], random.Random(1))

        async def reader(readers: Crowd) -> None:
            await asked(readers, secret, f"When, {secret}?", stream=True)

        await guarded(readers, reader)
        return readers.problems


async def test_a_foreign_secret_is_a_problem() -> None:
    own, foreign = "secret0123456789ab", "secretba9876543210"
    end = {"type": "done", "mode": "generated", "session_id": f"s-{own}"}
    text = {"type": "chunk", "content": f"It is {own[:9]}"}, {"type": "chunk", "content": own[9:]}
    assert await served(stream(*text, end), own) == []
    (problem,) = await served(stream(*text, {"type": "chunk", "content": foreign}, end), own)
    assert problem.startswith(f"{foreign} in the session of {own}")
    (problem,) = await served(stream(end), own)
    assert problem.startswith("a generated answer without its secret")
    (problem,) = await served(stream(*text, end | {"session_id": "s-other"}), own)
    assert problem.startswith("s-other in the session")


def test_the_upstream_repeats_a_secret() -> None:
    upstream = Upstream(random.Random(1))
    for _ in range(50):
        words = upstream.answer(["secret0123456789ab"], "When?")
        assert SECRET.findall("".join(words)) == ["secret0123456789ab"]
    assert chunk({"delta": {}}).startswith(b'data: {"choices": [{"index": 0')
