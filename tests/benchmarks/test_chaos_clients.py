import asyncio
import json
import random

from benchmarks.chaos_clients import (
    Behaviour,
    ask_anywhere,
    ask_in_session,
    parse_stream,
    run_guarded,
)
from benchmarks.chaos_state import ChaosState


def stream(*events: object) -> bytes:
    return b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in events)


def state() -> ChaosState:
    return ChaosState(port=0, rng=random.Random(1))


def test_a_stream_has_one_last_event() -> None:
    text, end = {"type": "chunk", "content": "The tide."}, {"type": "done", "mode": "generated"}
    good = state()
    assert parse_stream(good, b": ping\n\n" + stream(text, text, end)) == (
        end,
        "The tide.The tide.",
    )
    assert good.problems == []
    for events in ([text], [text, end, end], [end, text], [text, {"type": "error"}, end]):
        bad = state()
        parse_stream(bad, stream(*events))
        assert "last events" in bad.problems[0]


async def problems_with(events: bytes, secret: str, client: Behaviour | None = None) -> list[str]:
    """Return the problems that a client reports for `events`, by default that of a session."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nX-Session-Id: s-{secret}\r\nContent-Type: text/event-stream\r\n"
        writer.write(f"{head}Content-Length: {len(events)}\r\n\r\n".encode() + events)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        state = ChaosState(server.sockets[0].getsockname()[1], random.Random(1))

        async def in_session(state: ChaosState) -> None:
            await ask_in_session(state, secret, f"When, {secret}?", stream=True)

        await run_guarded(state, client or in_session)
        return state.problems


async def test_a_foreign_secret_is_a_problem() -> None:
    own, foreign = "secret0123456789ab", "secretba9876543210"
    end = {"type": "done", "mode": "generated", "session_id": f"s-{own}"}
    text = {"type": "chunk", "content": f"It is {own[:9]}"}, {"type": "chunk", "content": own[9:]}
    assert await problems_with(stream(*text, end), own) == []
    (problem,) = await problems_with(stream(*text, {"type": "chunk", "content": foreign}, end), own)
    assert problem.startswith(f"{foreign} in the session of {own}")
    (problem,) = await problems_with(stream(end), own)
    assert problem.startswith("a generated answer without its secret")
    (problem,) = await problems_with(stream(*text, end | {"session_id": "s-other"}), own)
    assert problem.startswith("s-other in the session")


async def test_an_answer_of_any_interface_has_an_end_and_no_foreign_secret() -> None:
    foreign = "secretba9876543210"
    text, end = {"type": "text-delta", "delta": "The tide."}, {"type": "finish"}
    assert await problems_with(stream(text, end), "", ask_anywhere) == []
    (problem,) = await problems_with(stream(text), "", ask_anywhere)
    assert "an answer without its end" in problem
    (problem,) = await problems_with(stream(text | {"delta": foreign}, end), "", ask_anywhere)
    assert problem.startswith(f"{foreign} in an answer")
