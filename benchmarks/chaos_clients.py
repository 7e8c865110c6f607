"""Behaviours of the chaos test's clients, good and bad.

Responses are counted. Violations of an invariant are reported as problems.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from benchmarks.chaos_http import BROKEN, connected, new_address, request
from benchmarks.chaos_malformed import MALFORMED
from benchmarks.chaos_state import ChaosState
from benchmarks.chaos_upstream import AT_LENGTH, SECRET
from benchmarks.load_interfaces import read_answer

REQUEST_TIMEOUT: Final = 90.0
"""Seconds until an unfinished request counts as hung."""
FOLLOW_UPS: Final = ("And when does the tide fall?", "And at the quay?", "Tell me more about it.")


async def ask_in_session(
    state: ChaosState, secret: str, question: str, *, stream: bool, address: str = ""
) -> bool:
    """Ask in the session of `secret`. Returns whether the exchange is stored in the session."""
    data = state.chat(question=question, session_id=f"s-{secret}", stream=stream, address=address)
    async with connected(state.port, data) as connection:
        status = await connection.head()
        body = await connection.body()
    kind = "stream" if stream else "whole"
    state.record(kind, status, body)
    if status != 200:
        return False
    end, text = (parse_stream if stream else parse_answer)(state, body)
    found = set(SECRET.findall(text))
    for foreign in found - {secret}:
        state.report(f"{foreign} in the session of {secret}: {text[:200]}")
    if end.get("session_id", f"s-{secret}") != f"s-{secret}":
        state.report(f"{end['session_id']} in the session of {secret}")
    if connection.headers.get("x-session-id") != f"s-{secret}":
        state.report(f"X-Session-Id {connection.headers.get('x-session-id')} for {secret}")
    if end.get("mode") == "generated":
        if secret not in found:
            state.report(f"a generated answer without its secret {secret}: {text[:300]}")
        state.remembered += secret not in question
    return end.get("type") != "error"


def parse_stream(state: ChaosState, body: bytes) -> tuple[dict[str, Any], str]:
    """Return the last event of a stream and its text. Reports a missing or repeated last event."""
    lines = body.decode().split("\n\n")
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    last = [each for each in events if each["type"] in ("done", "error")]
    if len(last) != 1 or events[-1] is not last[0]:
        state.report(f"a stream with {len(last)} last events: {body[-300:]!r}")
        return {"type": "error"}, ""
    outcome = last[0].get("mode") or last[0].get("code")
    state.outcomes[f"{last[0]['type']} {outcome}"] += 1
    return last[0], "".join(each["content"] for each in events if each["type"] == "chunk")


def parse_answer(state: ChaosState, body: bytes) -> tuple[dict[str, Any], str]:
    answer = json.loads(body)
    state.outcomes[f"whole {answer['mode']}"] += 1
    return answer, answer["answer"]


async def converse(state: ChaosState) -> None:
    """Ask a question and a few follow-ups in one session. Only the first names the secret."""
    secret, address = await state.sessions.get(), new_address(state.rng)  # a session has one reader
    try:
        stored = await ask_in_session(
            state, secret, f"{state.topic()}, {secret}?", stream=True, address=address
        )
        for _ in range(state.rng.randrange(3) if stored else 0):
            stream = state.rng.random() < 0.7
            question = state.rng.choice(FOLLOW_UPS)
            await ask_in_session(state, secret, question, stream=stream, address=address)
    finally:
        state.sessions.put_nowait(secret)


async def ask_concurrently(state: ChaosState) -> None:
    """Ask two questions concurrently in one session."""
    secret, address = await state.sessions.get(), new_address(state.rng)
    try:
        questions = (f"{state.topic()}, {secret}?", f"{state.topic()} for {secret}?")
        async with asyncio.TaskGroup() as group:
            for question in questions:
                stream = state.rng.random() < 0.5
                asked = ask_in_session(state, secret, question, stream=stream, address=address)
                group.create_task(asked)
    finally:
        state.sessions.put_nowait(secret)


async def ask_cached(state: ChaosState) -> None:
    """Ask a first question that other clients share, so that the answer cache serves it."""
    async with connected(state.port, state.chat(question=f"{state.topic()}?")) as connection:
        status = await connection.head()
        body = await connection.body()
    state.record("common", status, body)
    if status == 200 and SECRET.search(parse_stream(state, body)[1]):
        state.report(f"a secret in a cached answer: {body[:300]!r}")


async def ask_anywhere(state: ChaosState) -> None:
    """Ask through one of the interfaces. The answer must end as its protocol says."""
    secret = state.new_secret()
    interface, data = state.ask(f"{state.topic()}, {secret}?")
    async with connected(state.port, data) as connection:
        status = await connection.head()
        body = await connection.body()
    state.record(interface, status, body)
    if status != 200:
        return
    kind = connection.headers["content-type"]
    text, problem = read_answer(kind, body)
    state.outcomes[f"{interface} {problem.split(' ')[0] or 'whole'}"] += 1
    # In Markdown, only an answer with sources has an end that can be recognised.
    if problem == "broken off" and "markdown" not in kind:
        state.report(f"{interface}: an answer without its end: {body[-300:]!r}")
    for foreign in set(SECRET.findall(text)) - {secret}:
        state.report(f"{foreign} in an answer at {interface} to {secret}: {text[:200]}")


async def disconnect(state: ChaosState) -> None:
    """Disconnect at a random time before or during the answer, sometimes after a half-close."""
    _, data = state.ask(f"{state.topic()}, {state.new_secret()}?")
    async with connected(state.port, data) as connection:
        longest = state.rng.choice((0.0, 0.02, 0.2, 1.0))
        try:
            async with asyncio.timeout(longest * state.rng.random()):
                state.record("disconnect", await connection.head())
                async for _ in connection.pieces():
                    pass
        except TimeoutError:
            if state.rng.random() < 0.2:
                connection.writer.write_eof()
                await asyncio.sleep(longest)


async def stall(state: ChaosState) -> None:
    """Request a long answer and read nothing for a while."""
    question = f"{state.topic()}, {state.new_secret()}, {AT_LENGTH}?"
    async with connected(state.port, state.ask(question)[1], buffer=4096) as connection:
        state.record("stall", await connection.head())
        await asyncio.sleep(state.rng.choice((1, 3, 8, 35)) * state.rng.random())


async def flood(state: ChaosState) -> None:
    """Exceed the rate limit of one address."""
    address = state.rng.choice(("198.51.100.7", "2001:db8:1:2::7"))

    async def one() -> None:
        data = state.chat(address, question=f"{state.topic()}?")
        async with connected(state.port, data) as connection:
            status = await connection.head()
            state.record("flood", status, await connection.body())
            if (
                status == 429
                and not {"retry-after", "ratelimit-limit"} <= connection.headers.keys()
            ):
                state.report(f"a 429 with {dict(connection.headers)}")

    async with asyncio.TaskGroup() as group:
        for _ in range(30):
            group.create_task(one())


async def search(state: ChaosState) -> None:
    words = state.rng.choice(("tide", "how%20many%20fenders", '"the%20quay"', "page:tides%20when"))
    address = new_address(state.rng)
    data = request("GET", f"/search?q={words}&k={state.rng.randint(1, 50)}", address=address)
    async with connected(state.port, data) as connection:
        status = await connection.head()
        body = await connection.body()
    state.record("search", status, body)
    if status == 200:
        json.loads(body)["passages"]


async def send_malformed(state: ChaosState) -> None:
    """Send a malformed request. Any response is accepted except a server error."""
    name, data = state.rng.choice(MALFORMED)(state.rng)
    async with connected(state.port, data) as connection:
        try:
            async with asyncio.timeout(5):
                status = await connection.head()
                body = await connection.body()
        except TimeoutError:
            state.statuses[f"malformed ({name}) timed out"] += 1
            return
        except (*BROKEN, ValueError, IndexError):
            state.statuses[f"malformed ({name}) closed"] += 1
            return
    state.record(f"malformed ({name})", status, body)


Behaviour = Callable[[ChaosState], Awaitable[None]]
SPENDING_BEHAVIOURS: Final[Mapping[Behaviour, int]] = {
    converse: 40,
    ask_anywhere: 20,
    ask_concurrently: 10,
    disconnect: 20,
    stall: 3,
    flood: 2,
    ask_cached: 15,
}
FREE_BEHAVIOURS: Final[Mapping[Behaviour, int]] = {search: 20, send_malformed: 25}


async def run_client(state: ChaosState, may_spend: Callable[[], bool]) -> None:
    """Run random behaviours until cancelled; those that cost tokens only if `may_spend`."""
    while True:
        weights = {**FREE_BEHAVIOURS, **(SPENDING_BEHAVIOURS if may_spend() else {})}
        behaviour = state.rng.choices(list(weights), list(weights.values()))[0]
        await run_guarded(state, behaviour)
        await asyncio.sleep(0.2 * state.rng.random())


async def run_guarded(state: ChaosState, behaviour: Behaviour) -> None:
    """Run a behaviour. Reports timeouts, and broken connections unless the server is stopping."""
    name = getattr(behaviour, "__name__", "a client")
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT):
            await behaviour(state)
    except* TimeoutError:
        state.report(f"{name}: not finished after {REQUEST_TIMEOUT:.0f} seconds")
    except* (*BROKEN, OSError) as broken:
        if not state.stopping:
            state.report(f"{name}: the connection broke: {broken.exceptions[0]!r}")
    except* (ValueError, KeyError) as wrong:
        state.report(f"{name}: {wrong.exceptions[0]!r}")
