"""The middleware: limits, deadlines, and applications that fail."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

import handlers.middleware
from handlers.failures import ErrorFormats
from handlers.middleware import Middleware
from lib.metrics import Metrics
from lib.settings import Settings
from tests.api import Api, listening, parse_events, serving
from tests.conftest import MakeSettings
from tests.tiny_book import SITE
from tests.upstream import Hang, Upstream, answer, delta

QUESTION = {"question": "When does the tide turn?"}
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream")],
}
PIECE = {"type": "http.response.body", "body": b": ping\n\n", "more_body": True}


class Caller:
    """The client side of the two ASGI channels."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = list(messages)
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> Any:
        return self.messages.pop(0) if self.messages else await asyncio.Event().wait()

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(each.get("body", b"") for each in self.sent)


App = Callable[[Any, Any, Any], Awaitable[None]]


def wrap(app: App, limit: int = 100) -> Middleware:
    return Middleware(
        app,
        Settings(site_url=SITE),
        Metrics(),
        origins=(SITE,),
        body_limit=lambda path: limit,
        slow_paths=(),
        error_formats=ErrorFormats({}),
    )


def scope(**changes: Any) -> Any:
    headers = [(b"origin", SITE.encode())]
    return {"type": "http", "method": "GET", "path": "/", "headers": headers} | changes


async def test_an_application_that_fails_is_a_500() -> None:
    async def fails(*_: Any) -> None:
        raise ZeroDivisionError("sk-secret")

    caller = Caller()
    await wrap(fails)(scope(), caller.receive, caller.send)
    headers = dict(caller.sent[0]["headers"])
    assert caller.sent[0]["status"] == 500
    assert json.loads(caller.body)["code"] == "INTERNAL"
    assert b"secret" not in caller.body
    assert headers[b"access-control-allow-origin"] == SITE.encode()
    assert headers[b"x-request-id"]


@pytest.mark.parametrize("error", [None, TimeoutError(), ZeroDivisionError()], ids=repr)
async def test_a_stream_that_is_left_unfinished_ends_with_an_event(error: Exception | None) -> None:
    """Otherwise its reader would wait, or take a part for the whole answer."""

    async def breaks(_: Any, __: Any, send: Any) -> None:
        await send(START)
        await send(PIECE)
        if error:
            raise error

    caller = Caller()
    await wrap(breaks)(scope(), caller.receive, caller.send)
    assert [each["code"] for each in parse_events(caller.body)] == ["INTERNAL"]
    assert caller.sent[-1]["more_body"] is False


async def test_nothing_is_said_to_a_reader_who_has_left() -> None:
    async def waits(_: Any, receive: Any, __: Any) -> None:
        assert (await receive())["type"] == "http.disconnect"

    caller = Caller({"type": "http.disconnect"})
    await wrap(waits)(scope(), caller.receive, caller.send)
    assert caller.sent == []


async def test_an_application_that_goes_on_without_its_reader_is_cancelled(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`asyncio.wait_for` in Python 3.11 loses a cancellation that comes with its result."""
    monkeypatch.setattr(handlers.middleware, "_LEAVING_SECONDS", 0.01)

    async def goes_on(_: Any, receive: Any, __: Any) -> None:
        await receive()
        await asyncio.Event().wait()

    caller = Caller({"type": "http.disconnect"})
    async with asyncio.timeout(10):
        await wrap(goes_on)(scope(), caller.receive, caller.send)
    assert caller.sent == []
    assert caller.messages == []
    assert [each for each in caplog.records if each.exc_info] == []


def parts(sizes: list[int], *, ends: bool) -> list[dict[str, Any]]:
    messages = [{"type": "http.request", "body": b"x" * size, "more_body": True} for size in sizes]
    if ends:
        messages.append({"type": "http.request", "body": b"", "more_body": False})
    return messages


@given(st.lists(st.integers(0, 80), max_size=6), st.integers(0, 150))
async def test_a_body_is_cut_one_byte_behind_its_limit(sizes: list[int], limit: int) -> None:
    """With one byte too many, the application sees that the body is too large."""
    body, complete = b"", False

    async def reads(_: Any, receive: Any, __: Any) -> None:
        nonlocal body, complete
        while (event := await receive())["type"] == "http.request":
            body += event["body"]
            complete = not event["more_body"]

    caller = Caller(*parts(sizes, ends=True), {"type": "http.disconnect"})
    await wrap(reads, limit)(scope(), caller.receive, caller.send)
    assert len(body) == min(sum(sizes), limit + 1)
    assert complete
    assert caller.messages == []  # the rest was read, to notice when the reader leaves


async def test_a_closed_request_sees_a_disconnect_and_nothing_else() -> None:
    events = []

    async def waits(_: Any, receive: Any, __: Any) -> None:
        events.extend([await receive(), await receive()])

    caller = Caller()
    middleware = wrap(waits)
    waiting = asyncio.create_task(middleware(scope(), caller.receive, caller.send))
    await asyncio.sleep(0)
    await middleware.drain(0)
    await middleware.drain(0)
    await waiting
    assert [each["type"] for each in events] == ["http.disconnect"] * 2
    assert json.loads(caller.body)["code"] == "STOPPING"


async def test_a_token_needs_no_task_and_no_wait() -> None:
    """Passing an event on is one step of a coroutine: nothing is scheduled for it."""

    async def passes(_: Any, __: Any, send: Any) -> None:
        tasks = len(asyncio.all_tasks())
        with pytest.raises(StopIteration):
            send(PIECE).send(None)
        assert len(asyncio.all_tasks()) == tasks
        assert caller.sent == [PIECE]
        await send(PIECE | {"more_body": False})

    caller = Caller()
    await wrap(passes)(scope(), caller.receive, caller.send)
    assert caller.sent[0] == PIECE
    assert len(caller.sent) == 2  # not an answer to a failed assertion


async def test_an_answer_that_never_waits_lets_others_have_their_turn() -> None:
    told = asyncio.Event()

    async def endless(_: Any, __: Any, send: Any) -> None:
        await send(START)
        for _ in range(10_000):
            await send(PIECE)
            if told.is_set():
                return

    caller = Caller()
    streaming = asyncio.create_task(wrap(endless)(scope(), caller.receive, caller.send))
    await asyncio.sleep(0)
    told.set()
    await streaming
    assert len(caller.sent) < 200


async def test_the_framework_s_own_deadline_cuts_no_stream(
    generating: Api, upstream: Upstream
) -> None:
    generating.app.config["RESPONSE_TIMEOUT"] = 0.01
    goes_on = asyncio.Event()
    upstream.replies.append([delta("The tide "), goes_on, *answer("turns.")[1:]])
    asyncio.get_running_loop().call_later(0.2, goes_on.set)
    reply = await generating.post("/chat", QUESTION)
    assert reply.events()[-1]["type"] == "done"


async def test_a_stream_ends_at_its_deadline(
    make_settings: MakeSettings, upstream: Upstream
) -> None:
    upstream.replies.extend([[delta("The tide "), Hang()], [Hang()]])
    settings = make_settings(openai_base_url=upstream.base_url, stream_timeout=0.3)
    async with serving(settings) as api:
        streamed, whole = await asyncio.gather(
            api.post("/chat", QUESTION), api.ask(headers={"Origin": SITE})
        )
        await upstream.until(lambda u: u.disconnects == 2)
    assert streamed.events()[-1]["code"] == "TIMED_OUT"
    assert (whole.status, whole.json()["code"]) == (504, "TIMED_OUT")
    assert whole.headers["Access-Control-Allow-Origin"] == SITE


@pytest.fixture
async def address(make_settings: MakeSettings, upstream: Upstream) -> AsyncIterator[str]:
    async with listening(make_settings(openai_base_url=upstream.base_url)) as running:
        yield running


async def test_a_body_that_does_not_arrive_is_a_408(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers.middleware, "_REQUEST_SECONDS", 0.2)
    host = urlsplit(address)
    reader, writer = await asyncio.open_connection(host.hostname, host.port)
    head = b"POST /search HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    writer.write(head + b"Content-Length: 20\r\n\r\n{")
    received = await asyncio.wait_for(reader.read(), 10)  # to the end of the connection
    writer.close()
    assert b" 408 " in received.partition(b"\r\n")[0]
    assert b"REQUEST_TIMEOUT" in received


async def test_a_reader_who_does_not_read_loses_the_model_and_holds_up_nobody(
    address: str, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers.middleware, "STALLED_SECONDS", 0.5)
    upstream.replies.append([delta("The tide turns. " * 600)] * 2_000)
    host = urlsplit(address)
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect((host.hostname, host.port))
        body = json.dumps(QUESTION).encode()
        head = b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        stalled.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await upstream.until(lambda u: len(u.chats()) == 1)
        upstream.replies.append(answer("Every six hours."))
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{address}/chat", json=QUESTION) as other,
        ):
            assert parse_events(await other.read())[-1]["type"] == "done"
        await upstream.until(lambda u: u.disconnects == 1)


async def test_a_host_that_is_no_name_is_a_400(api: Api) -> None:
    for host in ("a..b", "a" * 64):
        for path in ("/nothing", "/search?q=tide"):
            answer = await api.get(path, headers={"Host": host})
            assert answer.status == 400
            assert answer.json()["code"] == "INVALID_REQUEST"


async def test_head_of_a_stream_does_not_start_it(generating: Api, upstream: Upstream) -> None:
    reply = await generating.request("HEAD", "/chat", json=QUESTION)
    assert reply.status == 405
    assert upstream.chats() == []
