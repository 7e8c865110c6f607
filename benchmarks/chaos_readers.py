"""The clients of the chaos test, well-behaved and hostile.

A violated invariant is a problem of the run; everything else is only counted.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from benchmarks.chaos_crowd import Crowd
from benchmarks.chaos_garbage import GARBAGE
from benchmarks.chaos_upstream import AT_LENGTH, SECRET
from benchmarks.chaos_wire import BROKEN, any_address, connected, request

PATIENCE: Final = 90.0
"""Seconds after which an open request counts as hung."""
FOLLOW_UPS: Final = ("And when does the tide fall?", "And at the quay?", "Tell me more about it.")


async def asked(crowd: Crowd, secret: str, question: str, *, stream: bool) -> bool:
    """Ask in the session of `secret`; return whether the exchange is remembered."""
    data = crowd.chat(question=question, session_id=f"s-{secret}", stream=stream)
    async with connected(crowd.port, data) as wire:
        status = await wire.head()
        body = await wire.body()
    kind = "stream" if stream else "whole"
    crowd.saw(kind, status, body)
    if status != 200:
        return False
    end, text = (ended if stream else read_whole)(crowd, body)
    found = set(SECRET.findall(text))
    for foreign in found - {secret}:
        crowd.problem(f"{foreign} in the session of {secret}: {text[:200]}")
    if end.get("session_id", f"s-{secret}") != f"s-{secret}":
        crowd.problem(f"{end['session_id']} in the session of {secret}")
    if wire.headers.get("x-session-id") != f"s-{secret}":
        crowd.problem(f"X-Session-Id {wire.headers.get('x-session-id')} for {secret}")
    if end.get("mode") == "generated":
        if secret not in found:
            crowd.problem(f"a generated answer without its secret {secret}: {text[:300]}")
        crowd.remembered += secret not in question
    return end.get("type") != "error"


def ended(crowd: Crowd, body: bytes) -> tuple[dict[str, Any], str]:
    """Return the last event of a stream and its text. There must be exactly one last event."""
    lines = body.decode().split("\n\n")
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    last = [each for each in events if each["type"] in ("done", "error")]
    if len(last) != 1 or events[-1] is not last[0]:
        crowd.problem(f"a stream with {len(last)} last events: {body[-300:]!r}")
        return {"type": "error"}, ""
    how = last[0].get("mode") or last[0].get("code")
    crowd.ends[f"{last[0]['type']} {how}"] += 1
    return last[0], "".join(each["content"] for each in events if each["type"] == "chunk")


def read_whole(crowd: Crowd, body: bytes) -> tuple[dict[str, Any], str]:
    answer = json.loads(body)
    crowd.ends[f"whole {answer['mode']}"] += 1
    return answer, answer["answer"]


async def converse(crowd: Crowd) -> None:
    """Ask several questions in one session. Only the first contains the secret."""
    secret = await crowd.sessions.get()
    try:
        kept = await asked(crowd, secret, f"{crowd.topic()}, {secret}?", stream=True)
        for _ in range(crowd.draw.randrange(3) if kept else 0):
            stream = crowd.draw.random() < 0.7
            await asked(crowd, secret, crowd.draw.choice(FOLLOW_UPS), stream=stream)
    finally:
        crowd.sessions.put_nowait(secret)


async def twins(crowd: Crowd) -> None:
    """Ask two questions concurrently in one session."""
    secret = await crowd.sessions.get()
    try:
        both = (f"{crowd.topic()}, {secret}?", f"{crowd.topic()} for {secret}?")
        async with asyncio.TaskGroup() as group:
            for question in both:
                group.create_task(asked(crowd, secret, question, stream=crowd.draw.random() < 0.5))
    finally:
        crowd.sessions.put_nowait(secret)


async def ask_as_all(crowd: Crowd) -> None:
    """Ask a common first question, which the answer cache can serve."""
    async with connected(crowd.port, crowd.chat(question=f"{crowd.topic()}?")) as wire:
        status = await wire.head()
        body = await wire.body()
    crowd.saw("common", status, body)
    if status == 200 and SECRET.search(ended(crowd, body)[1]):
        crowd.problem(f"a secret in an answer for all: {body[:300]!r}")


async def leave(crowd: Crowd) -> None:
    """Disconnect at a random moment, or close only the sending side."""
    data = crowd.chat(question=f"{crowd.topic()}, {crowd.secret()}?")
    async with connected(crowd.port, data) as wire:
        patience = crowd.draw.choice((0.0, 0.02, 0.2, 1.0))
        try:
            async with asyncio.timeout(patience * crowd.draw.random()):
                crowd.saw("leave", await wire.head())
                async for _ in wire.pieces():
                    pass
        except TimeoutError:
            if crowd.draw.random() < 0.2:
                wire.writer.write_eof()
                await asyncio.sleep(patience)


async def stall(crowd: Crowd) -> None:
    """Ask for a long answer and do not read it for a while."""
    question = f"{crowd.topic()}, {crowd.secret()}, {AT_LENGTH}?"
    async with connected(crowd.port, crowd.chat(question=question), buffer=4096) as wire:
        crowd.saw("stall", await wire.head())
        await asyncio.sleep(crowd.draw.choice((1, 3, 8, 35)) * crowd.draw.random())


async def flood(crowd: Crowd) -> None:
    """Exceed the rate limit of one address."""
    address = crowd.draw.choice(("198.51.100.7", "2001:db8:1:2::7"))

    async def one() -> None:
        data = crowd.chat(address, question=f"{crowd.topic()}?")
        async with connected(crowd.port, data) as wire:
            status = await wire.head()
            crowd.saw("flood", status, await wire.body())
            if status == 429 and not {"retry-after", "ratelimit-limit"} <= wire.headers.keys():
                crowd.problem(f"a 429 with {dict(wire.headers)}")

    async with asyncio.TaskGroup() as group:
        for _ in range(30):
            group.create_task(one())


async def search(crowd: Crowd) -> None:
    words = crowd.draw.choice(("tide", "how%20many%20fenders", '"the%20quay"', "page:tides%20when"))
    address = any_address(crowd.draw)
    data = request("GET", f"/search?q={words}&k={crowd.draw.randint(1, 50)}", address=address)
    async with connected(crowd.port, data) as wire:
        status = await wire.head()
        body = await wire.body()
    crowd.saw("search", status, body)
    if status == 200:
        json.loads(body)["passages"]


async def garbage(crowd: Crowd) -> None:
    """Send a malformed request. Any response but a server error is right."""
    name, data = crowd.draw.choice(GARBAGE)(crowd.draw)
    async with connected(crowd.port, data) as wire:
        try:
            async with asyncio.timeout(5):
                status = await wire.head()
                body = await wire.body()
        except TimeoutError:
            crowd.statuses[f"garbage ({name}) waited for"] += 1
            return
        except (*BROKEN, ValueError, IndexError):
            crowd.statuses[f"garbage ({name}) closed"] += 1
            return
    crowd.saw(f"garbage ({name})", status, body)


Kind = Callable[[Crowd], Awaitable[None]]
SPENDING: Final[Mapping[Kind, int]] = {
    converse: 40,
    twins: 10,
    leave: 20,
    stall: 3,
    flood: 2,
    ask_as_all: 15,
}
OTHERS: Final[Mapping[Kind, int]] = {search: 20, garbage: 25}


async def go_on(crowd: Crowd, may_spend: Callable[[], bool]) -> None:
    """Run one client after the other until cancelled; those that cost tokens only if allowed."""
    while True:
        kinds = {**OTHERS, **(SPENDING if may_spend() else {})}
        kind = crowd.draw.choices(list(kinds), list(kinds.values()))[0]
        await guarded(crowd, kind)
        await asyncio.sleep(0.2 * crowd.draw.random())


async def guarded(crowd: Crowd, kind: Kind) -> None:
    """Run one client. A hang, or a broken connection before the server stops, is a problem."""
    name = getattr(kind, "__name__", "a reader")
    try:
        async with asyncio.timeout(PATIENCE):
            await kind(crowd)
    except* TimeoutError:
        crowd.problem(f"{name}: no end after {PATIENCE:.0f} seconds")
    except* (*BROKEN, OSError) as broken:
        if not crowd.stopping:
            crowd.problem(f"{name}: the connection broke: {broken.exceptions[0]!r}")
    except* (ValueError, KeyError) as wrong:
        crowd.problem(f"{name}: {wrong.exceptions[0]!r}")
