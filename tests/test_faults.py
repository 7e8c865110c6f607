"""Faults of the language model server at every position of an answer."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import aiohttp
import pytest

from tests.api import SESSION, Api, answer_text, listening, serving
from tests.conftest import MakeSettings
from tests.upstream import DONE, Drop, Hang, Step, Upstream, delta, event, finish, usage

QUESTION = "When does the tide turn?"
TOKENS = [
    "The tide",
    " turns",
    " [",
    "1",
    "]",
    ",",
    " see",
    " 【",
    "1",
    "】",
    " and",
    " `x[1]`",
    ".",
]
END: list[Step] = [finish(), usage(100, 20), DONE]

FAULTS: dict[str, Callable[[Sequence[Step]], list[Step]]] = {
    "dropped": lambda rest: [Drop()],
    "ended": lambda rest: [],
    "done without a reason": lambda rest: [DONE],
    "an error": lambda rest: [event({"error": {"message": "sk-vendor"}})],
    "an error, then silence": lambda rest: [event({"error": "sk-vendor"}), Hang()],
    "no JSON": lambda rest: [b"data: {broken\n\n", *rest, *END],
    "half a line": lambda rest: [b'data: {"choices": [{"delta": {"con', Drop()],
    "cut": lambda rest: [finish("length"), DONE],
    "filtered": lambda rest: [finish("content_filter"), DONE],
}
COMPLETE = {"no JSON": "stop", "cut": "length", "filtered": "content_filter"}
"""Faults after which the answer still counts as complete, with its finish reason."""


@pytest.fixture
async def short_timeout_api(make_settings: MakeSettings, upstream: Upstream) -> AsyncIterator[Api]:
    """The application with a short model timeout and without answer cache."""
    settings = make_settings(
        openai_base_url=upstream.base_url,
        openai_timeout=1.5,  # a full garbage collection may take half a second
        answer_cache_size=0,
        rate_limit_enabled=False,
    )
    async with serving(settings) as running:
        yield running


def faulty(at: int, fault: Callable[[Sequence[Step]], list[Step]]) -> list[Step]:
    steps = [delta(token) for token in TOKENS]
    return [*steps[:at], *fault(steps[at:])]


def check(events: list[dict[str, Any]], shown: bool, reason: str | None) -> None:
    """`shown`: whether the model sent text. `reason`: finish reason of a complete answer."""
    kinds = [each["type"] for each in events]
    assert kinds.count("done") + kinds.count("error") == 1
    text, last = answer_text(events), events[-1]
    if not shown:
        assert last["type"] == "done"
        assert text.startswith("*The language model cannot answer right now.")
    elif reason:
        assert (last["type"], last["finish_reason"]) == ("done", reason)
        assert text.startswith("The tide")
    else:
        assert (last["type"], last["code"]) == ("error", "UPSTREAM_ERROR")
        assert "ask again" in last["error"]
    prose = re.sub(r"\[\d+\]\([^)\s]+\)|`[^`]*`", "", text)
    assert not re.search(r"[\[\]【】]", prose), text
    assert "sk-" not in str(events)


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_at_any_position(
    short_timeout_api: Api, upstream: Upstream, name: str
) -> None:
    for at in range(len(TOKENS) + 1):
        upstream.replies.append(faulty(at, FAULTS[name]))
        session = f"{SESSION}-{at}"
        reply = await short_timeout_api.ask(QUESTION, stream=True, session_id=session)
        assert reply.status == 200
        shown = at > 0 or name == "no JSON"
        check(reply.events(), shown, COMPLETE.get(name))
        # A healthy answer in between keeps the circuit breaker closed.
        await short_timeout_api.ask(QUESTION)
        remembered = await short_timeout_api.history(session)
        assert bool(remembered) == (not shown or name in COMPLETE)


async def test_silence_at_any_position(short_timeout_api: Api, upstream: Upstream) -> None:
    """All requests run concurrently, because each waits for the timeout."""
    upstream.replies.extend(faulty(at, lambda rest: [Hang()]) for at in range(1, len(TOKENS) + 1))
    replies = await asyncio.gather(
        *(
            short_timeout_api.ask(QUESTION, stream=True, session_id=f"{SESSION}-{at}")
            for at in range(len(TOKENS))
        )
    )
    for at, reply in enumerate(replies):
        check(reply.events(), shown=True, reason=None)
        assert await short_timeout_api.history(f"{SESSION}-{at}") == ()
    await upstream.until(lambda u: u.disconnects == len(TOKENS))


async def test_a_disconnect_at_any_position(
    make_settings: MakeSettings, upstream: Upstream
) -> None:
    """The request to the model is closed, and the exchange is not stored in the session."""
    async with (
        listening(
            make_settings(openai_base_url=upstream.base_url, rate_limit_enabled=False)
        ) as address,
        aiohttp.ClientSession() as http,
    ):
        for at in range(1, len(TOKENS) + 1):
            upstream.replies.append(faulty(at, lambda rest: [Hang()]))
            body = {"question": QUESTION, "session_id": SESSION}
            async with http.post(f"{address}/chat", json=body) as response:
                while b'"chunk"' not in await response.content.readuntil(b"\n\n"):
                    pass
                response.close()
            await upstream.until(lambda u, n=at: u.disconnects == n)  # type: ignore[misc]
        # A stored exchange would appear in the next prompt.
        assert all(len(chat["messages"]) == 2 for chat in upstream.chats())
