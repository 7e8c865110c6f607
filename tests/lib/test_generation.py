"""The client of the language model, against a scripted server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

import pytest

import lib.generation
from lib.errors import UpstreamError
from lib.generation import (
    _FEW_STREAMS,
    _MANY_STREAMS,
    _MAX_PAUSE,
    _PAUSE,
    _TICK,
    ChatModel,
    Delta,
    Finish,
    Idle,
    PromptMessage,
    _nearest_tick,
    _Pacer,
    _pause_seconds,
    make_model,
)
from lib.settings import Settings
from tests.upstream import (
    DONE,
    Body,
    Drop,
    Hang,
    Status,
    Step,
    Upstream,
    answer,
    cut,
    delta,
    event,
    finish,
    usage,
)

ASKED = [PromptMessage("system", "Rules."), PromptMessage("user", "Tide?")]


@pytest.fixture(params=[0, _MANY_STREAMS], ids=["alone", "crowded"])
async def model(request: pytest.FixtureRequest, upstream: Upstream) -> AsyncIterator[ChatModel]:
    made = make_model(
        Settings(openai_base_url=upstream.base_url, openai_model="m", openai_api_key="sk-test")
    )
    assert made is not None
    made.pacer.streams = request.param
    yield made
    assert made.pacer.streams == request.param
    await made.close()


async def run(model: ChatModel) -> tuple[str, Finish, int]:
    """The text, its end, and the number of `Idle`."""
    pieces = [piece async for piece in model.generate(ASKED)]
    end = pieces.pop()
    assert isinstance(end, Finish)
    assert not any(isinstance(piece, Finish) for piece in pieces)
    text = "".join(piece.text for piece in pieces if isinstance(piece, Delta))
    return text, end, sum(isinstance(piece, Idle) for piece in pieces)


async def until_it_fails(
    model: ChatModel,
) -> tuple[list[Delta | Idle | Finish], UpstreamError | None]:
    """The pieces, and the error that ended the stream."""
    pieces: list[Delta | Idle | Finish] = []
    try:
        async for piece in model.generate(ASKED):
            pieces.append(piece)  # noqa: PERF401
    except UpstreamError as error:
        return pieces, error
    return pieces, None


async def test_an_answer(model: ChatModel, upstream: Upstream) -> None:
    upstream.replies.append(answer("The tide ", "turns."))
    assert await run(model) == ("The tide turns.", Finish("stop", 100, 20), 0)


async def test_the_request(model: ChatModel, upstream: Upstream) -> None:
    await run(model)
    [request] = upstream.requests
    assert request.headers["authorization"] == "Bearer sk-test"
    assert request.headers["content-type"] == "application/json"
    assert request.body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Rules."},
            {"role": "user", "content": "Tide?"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 800,
    }


async def test_the_name_of_the_token_limit_can_be_set(upstream: Upstream) -> None:
    made = make_model(
        Settings(
            openai_base_url=upstream.base_url,
            openai_token_limit_field="max_completion_tokens",
            max_output_tokens=50,
        )
    )
    assert made is not None
    await run(made)
    await made.close()
    assert upstream.chats()[0]["max_completion_tokens"] == 50
    assert "max_tokens" not in upstream.chats()[0]


def test_without_a_key_or_a_server_there_is_no_generator() -> None:
    assert make_model(Settings()) is None


WHOLE = answer("Das Wasser ", "steigt: 水 \U0001f30a.")


@pytest.mark.parametrize("size", range(1, 40))
async def test_bytes_may_be_cut_anywhere(model: ChatModel, upstream: Upstream, size: int) -> None:
    upstream.replies.append(cut(WHOLE, size))
    assert await run(model) == ("Das Wasser steigt: 水 \U0001f30a.", Finish("stop", 100, 20), 0)


def crlf(reply: list[Step]) -> list[Step]:
    return [step.replace(b"\n", b"\r\n") if isinstance(step, bytes) else step for step in reply]


ODD: dict[str, list[Step]] = {
    "carriage returns": crlf(answer("a", "b")),
    "comments": [b": ping\n\n", *answer("a", "b"), b": bye\n\n"],
    "no space behind data": [
        s.replace(b"data: ", b"data:") for s in answer("a", "b") if isinstance(s, bytes)
    ],
    "a line that is no JSON": [delta("a"), b"data: {]\n\n", delta("b"), finish(), DONE],
    "a line that is no UTF-8": [delta("a"), b"data: \xff\n\n", delta("b"), finish(), DONE],
    "other fields": [b"event: x\nid: 5\nretry: 3\n", *answer("a", "b")],
    "null as content": [event({"choices": [{"delta": {"content": None}}]}), *answer("a", "b")],
    "no delta": [event({"choices": [{"index": 0}]}), *answer("a", "b")],
    "a null usage": [event({"choices": [], "usage": None}), *answer("a", "b")],
    "several choices": [
        event({"choices": [{"delta": {"content": "a"}}, {"delta": {"content": "x"}}]}),
        *answer("b"),
    ],
    "the reason with the last word": [
        delta("a"),
        event({"choices": [{"delta": {"content": "b"}, "finish_reason": "stop"}]}),
        DONE,
    ],
    "nothing behind the reason": [delta("a"), delta("b"), finish()],
    "two events in one write": [delta("a") + delta("b") + finish() + DONE],
    "a tool call beside it": [
        event({"choices": [{"delta": {"tool_calls": [{"index": 0}]}}]}),
        *answer("a", "b"),
    ],
}


@pytest.mark.parametrize("reply", ODD.values(), ids=ODD)
async def test_odd_streams_are_read(
    model: ChatModel, upstream: Upstream, reply: list[Step]
) -> None:
    upstream.replies.append(reply)
    text, end, _ = await run(model)
    assert (text, end.reason) == ("ab", "stop")


@pytest.mark.parametrize("sent", [[], [usage(7, 0)], [usage(7, 3)]], ids=str)
async def test_usage_may_be_missing(
    model: ChatModel, upstream: Upstream, sent: list[bytes]
) -> None:
    upstream.replies.append([delta("a"), finish(), *sent, DONE])
    _, end, _ = await run(model)
    assert (end.prompt_tokens is not None) == bool(sent)


@pytest.mark.parametrize("wrong", [-1, 10**12])
async def test_implausible_usage_is_ignored(
    model: ChatModel, upstream: Upstream, wrong: int
) -> None:
    for told in (usage(wrong, 3), usage(7, wrong)):
        upstream.replies.append([delta("a"), finish(), told, DONE])
        _, end, _ = await run(model)
        assert (end.prompt_tokens, end.completion_tokens) == (None, None)


FAULTS: dict[str, Any] = {
    "a wrong key": (Status(401), "rejected the configured key"),
    "a forbidden key": (Status(403), "rejected the configured key"),
    "an unknown model": (Status(404), "does not know"),
    "a bad request": (Status(400), "rejected the request"),
    "a rate limit": (Status(429, {"Retry-After": "60"}), "rate limit or quota"),
    "a timeout": (Status(504), "took too long"),
    "a failure": (Status(500), "internal error"),
    "a redirect to nowhere": (Status(307), "rejected the request"),
    "nothing": ([], "cannot be reached"),
    "a drop": ([delta("a"), Drop()], "cannot be reached"),
    "a drop before the head": ([Drop()], "cannot be reached"),
    "no reason": ([delta("a"), DONE], "cannot be reached"),
    "an error event": ([delta("a"), event({"error": {"message": "sk-x"}})], "internal error"),
    "a JSON answer": (Body(b'{"choices": [{"message": {"content": "a"}}]}'), "cannot be reached"),
    "a web page": (Body(b"<html>\n</html>\n", "text/html"), "cannot be reached"),
}


@pytest.mark.parametrize(("reply", "words"), FAULTS.values(), ids=FAULTS)
async def test_errors_never_repeat_the_server_s_words(
    model: ChatModel, upstream: Upstream, reply: Any, words: str
) -> None:
    upstream.replies.append(reply)
    with pytest.raises(UpstreamError, match=words) as caught:
        await run(model)
    assert caught.value.message.startswith("The language model ")
    assert "sk-" not in str(caught.value)
    assert len(upstream.requests) == 1  # the reader decides whether to ask again


async def test_what_came_before_a_fault_is_passed_on(model: ChatModel, upstream: Upstream) -> None:
    upstream.replies.append([delta("a") + delta("b") + event({"error": {}})])
    pieces, error = await until_it_fails(model)
    assert isinstance(error, UpstreamError)
    assert "".join(piece.text for piece in pieces if isinstance(piece, Delta)) == "ab"


async def test_a_line_without_end_is_cut(
    model: ChatModel, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.generation, "_MAX_LINE_BYTES", 1_000)
    upstream.replies.append([delta("a"), b"data: " + b"x" * 5_000, Hang()])
    with pytest.raises(UpstreamError):
        await run(model)
    await upstream.until(lambda u: u.disconnects == 1)


async def test_a_server_that_is_not_there() -> None:
    made = make_model(Settings(openai_base_url="http://127.0.0.1:9/v1"))
    assert made is not None
    with pytest.raises(UpstreamError, match="cannot be reached"):
        await run(made)
    assert not await made.reachable()
    await made.close()


def make_impatient(upstream: Upstream, timeout: float) -> ChatModel:
    return ChatModel(
        api_key="",
        base_url=upstream.base_url,
        name="m",
        token_limit_field="max_tokens",
        max_tokens=16,
        timeout=timeout,
    )


@pytest.mark.parametrize("words", [[], [delta("a")]], ids=["before", "between"])
async def test_silence_is_told_and_then_ended(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, words: list[Step]
) -> None:
    monkeypatch.setattr(lib.generation, "_IDLE_SECONDS", 0.02)
    made = make_impatient(upstream, 0.2)
    upstream.replies.append([*words, Hang()])
    pieces, error = await until_it_fails(made)
    assert isinstance(error, UpstreamError)
    assert Idle() in pieces
    await upstream.until(lambda u: u.disconnects == 1)
    await made.close()


async def test_silence_that_ends_does_no_harm(
    model: ChatModel, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.generation, "_IDLE_SECONDS", 0.01)
    before, between = asyncio.Event(), asyncio.Event()
    upstream.replies.append([before, delta("a"), between, delta("b"), finish(), DONE])
    texts: list[str] = []
    async for piece in model.generate(ASKED):
        if isinstance(piece, Idle):
            (between if before.is_set() and texts else before).set()
        elif isinstance(piece, Delta):
            texts.append(piece.text)
    assert texts == ["a", "b"]
    assert before.is_set()
    assert between.is_set()


async def test_silences_do_not_add_up(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are three; any two together would exceed the timeout."""
    monkeypatch.setattr(lib.generation, "_IDLE_SECONDS", 0.2)
    made = make_impatient(upstream, 0.39)
    gates = [asyncio.Event() for _ in range(3)]
    script = [step for gate in gates for step in (gate, delta("a"))]
    upstream.replies.append([*script, finish(), DONE])
    silences = iter(gates)
    pieces = []
    async for piece in made.generate(ASKED):
        pieces.append(type(piece))
        if isinstance(piece, Idle):
            next(silences).set()
    assert pieces == [Idle, Delta] * 3 + [Finish]
    await made.close()


@pytest.mark.parametrize("words", [[], [delta("a")]], ids=["before", "between"])
async def test_closing_leaves_the_server(
    model: ChatModel,
    upstream: Upstream,
    words: list[Step],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A model goes on generating, at a cost, while the connection is open."""
    monkeypatch.setattr(lib.generation, "_IDLE_SECONDS", 0.01)
    upstream.replies.append([*words, Hang()])
    async with aclosing(model.generate(ASKED)) as pieces:
        async for _ in pieces:
            await upstream.until(lambda u: len(u.chats()) == 1)
            break
    await upstream.until(lambda u: u.disconnects == 1)


async def test_cancelling_leaves_the_server(model: ChatModel, upstream: Upstream) -> None:
    upstream.replies.append([delta("a"), Hang()])
    asking = asyncio.create_task(run(model))
    await upstream.until(lambda u: len(u.chats()) == 1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await upstream.until(lambda u: u.disconnects == 1)


async def test_cancelling_twice_leaves_the_server_too(model: ChatModel, upstream: Upstream) -> None:
    """A reader leaves just when the request times out."""
    first = asyncio.Event()

    async def ask() -> None:
        async for _ in model.generate(ASKED):
            first.set()

    upstream.replies.append([delta("a"), Hang()])
    asking = asyncio.create_task(ask())
    await first.wait()
    asking.cancel()
    await asyncio.sleep(0)
    asking.cancel()
    # While the exception is referenced, the objects in its traceback are not collected.
    with pytest.raises(asyncio.CancelledError) as failure:
        await asking
    await upstream.until(lambda u: u.disconnects == 1)
    del failure


async def test_one_after_the_other(model: ChatModel, upstream: Upstream) -> None:
    """All use one connection, so none may leave it paused."""
    upstream.replies.extend(answer(*str(number)) for number in range(100, 110))
    answers = [await run(model) for _ in range(10)]
    assert [text for text, _, _ in answers] == [str(number) for number in range(100, 110)]


async def test_many_at_once(model: ChatModel, upstream: Upstream) -> None:
    upstream.replies.extend(answer(str(number)) for number in range(30))
    answers = await asyncio.gather(*(run(model) for _ in range(30)))
    assert {text for text, _, _ in answers} == {str(number) for number in range(30)}


@pytest.mark.parametrize(
    ("reply", "reachable"),
    [
        (Body(b"{}"), True),
        (Status(404), True),
        (Status(401), False),
        (Status(403), False),
        (Status(500), False),
        ([Drop()], False),
        ([Hang()], False),
    ],
    ids=str,
)
async def test_whether_it_is_reachable(
    model: ChatModel,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
    reply: Any,
    reachable: bool,
) -> None:
    monkeypatch.setattr(lib.generation, "_PROBE_TIMEOUT", 0.5 if reachable else 0.1)
    upstream.models_reply = reply
    assert await model.reachable() is reachable
    assert upstream.chats() == []


def test_many_streams_are_read_less_often() -> None:
    pauses = [_pause_seconds(streams) for streams in range(1_000)]
    assert pauses[_FEW_STREAMS] == 0 < pauses[_FEW_STREAMS + 1]
    # 50 ms between two deltas are not visible; writing them takes time too.
    assert pauses[_MANY_STREAMS] + _TICK / 2 <= 0.045
    assert pauses == sorted(pauses)
    assert pauses[-1] == _MAX_PAUSE


def test_those_who_wait_at_about_the_same_time_wait_together() -> None:
    begun = [1_000.0 + second / 1_000 for second in range(100)]
    moments = [_nearest_tick(now + _PAUSE) for now in begun]
    assert moments == sorted(moments)
    assert len(set(moments)) <= len(begun) * 0.001 / _TICK + 1
    for now, number in zip(begun, moments, strict=True):
        assert abs(number * _TICK - now - _PAUSE) <= _TICK / 2 + 1e-9


async def test_few_do_not_wait() -> None:
    pacer = _Pacer()
    pacer.streams = _FEW_STREAMS
    with pytest.raises(StopIteration):  # it ends without waiting
        pacer.wait().send(None)


async def test_all_are_woken_but_those_who_left() -> None:
    pacer = _Pacer()
    pacer.streams = _FEW_STREAMS + 1
    waiting = [asyncio.create_task(pacer.wait()) for _ in range(50)]
    await asyncio.sleep(0)
    assert not any(each.done() for each in waiting)
    for each in waiting[::2]:
        each.cancel()
    async with asyncio.timeout(10):
        for each in waiting:
            with suppress(asyncio.CancelledError):
                await each
    assert [each.cancelled() for each in waiting] == [True, False] * 25


async def test_many_wait_with_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, pacer = asyncio.get_running_loop(), _Pacer()
    pacer.streams = _FEW_STREAMS + 1
    timers = []
    call_at = loop.call_at

    def counted(when: float, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        timers.append(when)
        return call_at(when, *args, **kwargs)

    monkeypatch.setattr(loop, "call_at", counted)
    await asyncio.gather(*(pacer.wait() for _ in range(50)))
    assert 1 <= len(timers) <= 5  # more only if starting to wait takes tens of milliseconds


async def test_whoever_waits_again_is_woken_again() -> None:
    pacer = _Pacer()
    pacer.streams = _FEW_STREAMS + 1
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(10):
        for _ in range(3):
            await asyncio.gather(pacer.wait(), pacer.wait())
    assert asyncio.get_running_loop().time() - began >= 3 * (_PAUSE - _TICK / 2) - 0.001


async def test_closing_while_it_loads_opens_no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may be stopped while the model's HTTP client is still being imported."""
    import aiohttp

    opened: list[str] = []
    original = aiohttp.ClientSession.__init__

    def init(self: aiohttp.ClientSession, *args: Any, **kwargs: Any) -> None:
        opened.append("session")
        original(self, *args, **kwargs)

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", init)
    made = make_model(Settings(openai_base_url="http://127.0.0.1:9/v1"))
    assert made is not None
    loading = asyncio.create_task(made.load())
    await asyncio.sleep(0)
    await made.close()
    with suppress(asyncio.CancelledError):
        await loading
    assert opened == []
