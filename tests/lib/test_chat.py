"""`prepare`, `stream` and `collect`; tests/handlers/test_chat.py tests them through HTTP."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from lib.answer import collect, stream
from lib.chat import ChatRequest, Selection, prepare
from lib.errors import InvalidRequest, UpstreamError
from lib.events import Done, Event, Failed, Ping, TextDelta
from lib.services import Services, open_services
from lib.sessions import Message, conversation_key
from tests.api import SESSION
from tests.conftest import MakeSettings
from tests.tiny_book import BROAD_QUESTION
from tests.upstream import Drop, Hang, Upstream, answer, delta

CONVERSATION = conversation_key("", SESSION)
DONE = Done(session_id="s", response_time=1.0, tokens_used=0, finish_reason="stop", mode="m")


@pytest.fixture
async def services(make_settings: MakeSettings, upstream: Upstream) -> AsyncIterator[Services]:
    async with open_services(make_settings(openai_base_url=upstream.base_url)) as opened:
        yield opened


async def ask(services: Services, **fields: Any) -> list[Event]:
    turn = await prepare(
        services.chat, ChatRequest(**{"question": "tide?", "session_id": SESSION} | fields)
    )
    return [event async for event in stream(services.chat, turn)]


async def events_of(events: Sequence[Event]) -> AsyncGenerator[Event, None]:
    for event in events:
        yield event


async def test_all_that_can_fail_early_fails_before_the_first_byte(
    services: Services, upstream: Upstream
) -> None:
    with pytest.raises(InvalidRequest):
        await prepare(services.chat, ChatRequest(question="  "))
    assert upstream.requests == []


async def test_nothing_is_asked_before_the_stream_is_read(
    services: Services, upstream: Upstream
) -> None:
    turn = await prepare(services.chat, ChatRequest(question="tide?"))
    stream(services.chat, turn)
    assert upstream.requests == []


async def test_the_first_event_comes_before_the_model_is_asked(
    services: Services, upstream: Upstream
) -> None:
    turn = await prepare(services.chat, ChatRequest(question="tide?"))
    async with aclosing(stream(services.chat, turn)) as events:
        assert await anext(events) == Ping()
        assert upstream.requests == []


async def test_a_reader_who_leaves_is_not_remembered(
    services: Services, upstream: Upstream
) -> None:
    upstream.replies.append([delta("The tide "), Hang()])
    turn = await prepare(services.chat, ChatRequest(question="tide?", session_id=SESSION))
    async with aclosing(stream(services.chat, turn)) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    assert services.chat.model is not None
    assert services.chat.model.pacer.streams == 0  # the stream is already closed
    await upstream.until(lambda u: u.disconnects == 1)
    assert await services.chat.sessions.history(CONVERSATION) == ()


async def test_a_client_may_keep_the_conversation(services: Services, upstream: Upstream) -> None:
    """Then the server neither reads a session nor keeps one."""
    await services.chat.sessions.remember(CONVERSATION, "Why are fenders round?", "So it rolls.")
    told = [Message("user", "When does the tide turn?"), Message("assistant", "At six.")]
    request = ChatRequest(question="And how fast is it?", session_id=SESSION)
    turn = await prepare(services.chat, request, messages=told)
    async for _ in stream(services.chat, turn):
        pass
    [asked] = upstream.chats()
    assert [each["content"] for each in asked["messages"][1:-1]] == [each.content for each in told]
    assert len(await services.chat.sessions.history(CONVERSATION)) == 2
    assert turn.key is None


async def test_the_first_question_of_such_a_conversation_is_cached(services: Services) -> None:
    turn = await prepare(services.chat, ChatRequest(question="tide?"), messages=[])
    assert turn.key is not None


async def test_an_answer_waits_after_what_is_shown_and_not_for_what_is_held_back(
    services: Services, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert services.chat.model is not None
    shown: list[str] = []
    waits: list[str] = []

    async def wait() -> None:
        waits.append("".join(shown))

    monkeypatch.setattr(services.chat.model.pacer, "wait", wait)
    gates = [asyncio.Event() for _ in range(2)]
    upstream.replies.append([delta("The"), gates[0], delta(" ["), gates[1], *answer("x] tide")])
    turn = await prepare(services.chat, ChatRequest(question="tide?"))
    async for event in stream(services.chat, turn):
        if isinstance(event, TextDelta):
            shown.append(event.content)
            for gate in gates:
                gate.set()
    assert waits[0] == "The"
    assert len(waits) <= len(shown)
    assert all(waits)


async def test_a_failed_answer_is_not_remembered(services: Services, upstream: Upstream) -> None:
    upstream.replies.append([delta("The tide "), Drop()])
    events = await ask(services)
    assert isinstance(events[-1], Failed)
    assert await services.chat.sessions.history(CONVERSATION) == ()


async def test_an_extractive_answer_is_remembered(services: Services, upstream: Upstream) -> None:
    upstream.replies.append([Drop()])
    events = await ask(services)
    assert isinstance(events[-1], Done)
    assert events[-1].mode == "extractive"
    assert len(await services.chat.sessions.history(CONVERSATION)) == 2


@pytest.mark.parametrize("k", [1, 2, 20])
async def test_the_selection_comes_first_and_counts(services: Services, k: int) -> None:
    selection = Selection(selectedText="Marked.", source="x" * 9_000)
    turn = await prepare(services.chat, ChatRequest(question="tide?", k=k, context=selection))
    assert turn.passages[0].text == "Marked."
    assert len(turn.passages[0].file_path) <= 500
    assert turn.passages[0].url is None
    assert len(turn.passages) <= k


@pytest.mark.parametrize("text", ["", "  \n"])
async def test_an_empty_selection_is_none(services: Services, text: str) -> None:
    request = ChatRequest(question="tide?", context=Selection(selectedText=text))
    assert all(
        p.heading != "Selected text" for p in (await prepare(services.chat, request)).passages
    )


async def test_a_model_reads_more_than_is_quoted(services: Services) -> None:
    request = ChatRequest(question=BROAD_QUESTION)
    assert len((await prepare(replace(services.chat, model=None), request)).passages) == 5
    assert len((await prepare(services.chat, request)).passages) == 8


async def test_the_context_window_bounds_the_prompt(services: Services, upstream: Upstream) -> None:
    marked = Selection(selectedText="word " * 900)
    turn = await prepare(
        services.chat, ChatRequest(question="tide?", k=20, context_window=1000, context=marked)
    )
    wide = await prepare(
        services.chat, ChatRequest(question="tide?", k=20, context_window=8000, context=marked)
    )
    assert len(turn.passages) < len(wide.passages)


async def test_collecting_gives_the_same_answer() -> None:
    whole = await collect(
        events_of([Ping(), TextDelta(content=" a"), TextDelta(content="b\n"), DONE])
    )
    assert whole.answer == "ab"
    assert whole.session_id == "s"


@pytest.mark.parametrize(
    "events",
    [[TextDelta(content="a"), Failed(error="Broke.", code="X")], [TextDelta(content="a")], []],
)
async def test_collecting_what_broke_off_raises(events: list[Event]) -> None:
    with pytest.raises(UpstreamError):
        await collect(events_of(events))


async def test_the_model_s_markers_are_numbered_by_appearance(
    services: Services, upstream: Upstream
) -> None:
    upstream.replies.append(answer("A [3]. B [1]."))
    events = await ask(services, question=BROAD_QUESTION, k=3)
    text = "".join(event.content for event in events if isinstance(event, TextDelta))
    assert text.index("[1](") < text.index("[2](")
