import asyncio
import json
import random

from benchmarks.chaos_crowd import Crowd
from benchmarks.chaos_readers import asked, ended, guarded


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
