"""Hostile input for POST /mcp: never a 500, always bounded, and nothing is spent on it."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.api import LOCAL_CLIENT, Api, Response, listening, serving
from tests.conftest import MakeSettings
from tests.mcp_messages import (
    CALL,
    LEGACY,
    MODERN,
    PREFIX,
    encoded,
    headers_of,
    initialize,
    legacy,
    modern,
    reply_of,
    send,
)
from tests.tiny_book import SITE
from tests.upstream import Hang, Upstream, delta

ASK = {"name": "ask", "arguments": {"question": "When does the tide turn?"}}
LARGEST_REFUSAL = 2_000
"""Bytes. What the client has sent is not repeated at length."""
SECONDS = 20
"""For hundreds of messages. Anything that grows faster than its input takes minutes."""


@pytest.fixture
async def metered(
    make_settings: MakeSettings, upstream: Upstream, tmp_path: Path, own_book: Path
) -> AsyncIterator[Api]:
    """The scripted upstream is the model and the embedder, so it sees whatever is spent."""
    settings = make_settings(
        openai_base_url=upstream.base_url,
        embedding_provider="openai",
        qdrant_path=tmp_path / "index",
        book_content_path=own_book,
        rate_limit_enabled=False,
    )
    async with serving(settings) as api:
        await api.ingest()
        upstream.requests.clear()
        yield api


def assert_refused(response: Response) -> None:
    """With a JSON-RPC error, or as a tool's error."""
    assert response.status < 500, response.text
    assert len(response.content) < LARGEST_REFUSAL
    reply = response.json()
    assert reply["jsonrpc"] == "2.0"
    if response.status == 200 and "result" in reply:
        assert reply["result"]["isError"] is True
    else:
        assert type(reply["error"]["code"]) is int
        assert reply["error"]["message"]


def text_of(message: Any) -> str:
    return json.dumps(message, separators=(",", ":"))


async def test_large_batches(metered: Api, upstream: Upstream) -> None:
    ping = legacy("ping")
    ask = modern("tools/call", ASK)
    async with asyncio.timeout(SECONDS):
        for batch, statuses in (
            ([{}] * 10_000, {400}),
            ([1] * 10_000, {400}),
            ([ping] * 10_000, {413}),
            ([ask] * 500, {400}),
        ):
            for headers in ({}, headers_of(ask), {"MCP-Protocol-Version": LEGACY[0]}):
                response = await metered.post("/mcp", data=text_of(batch), headers=headers)
                assert_refused(response)
                assert response.status in statuses
    assert upstream.requests == []


DEEP = 60_000
NESTED = (
    "[" * DEEP,
    "[" * DEEP + "]" * DEEP,
    '{"a":' * 40_000,
    '{"a":' * 40_000 + "1" + "}" * 40_000,
)


async def test_deep_nesting(metered: Api, upstream: Upstream) -> None:
    ask = modern("tools/call", ASK)
    holes = [
        *(
            {**ask, "params": place}
            for place in ("X", {**ASK, "arguments": "X"}, {**ASK, "x": "X"})
        ),
        *({**ask, member: "X"} for member in ask),
        modern("tools/call", {**ASK, "arguments": {"question": "X"}}),
        modern("tools/call", ASK, meta={"x": "X"}),
    ]
    async with asyncio.timeout(SECONDS):
        for nested in NESTED:
            for body in (nested, *(text_of(hole).replace('"X"', nested) for hole in holes)):
                for headers in (headers_of(ask), {"MCP-Protocol-Version": LEGACY[0]}):
                    assert_refused(await metered.post("/mcp", data=body, headers=headers))
    assert upstream.requests == []


WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    1.5,
    10**400,
    "",
    "\0",
    "\ud800",
    "x" * 3_000,
    [],
    [[]],
    {},
    {"": {"": None}},
)
MESSAGES: tuple[dict[str, Any], ...] = (
    modern("server/discover"),
    modern("tools/list", {"cursor": "x"}),
    modern(
        "tools/call",
        {
            "name": "search_docs",
            "arguments": {"query": "tide", "limit": 2, "filters": {"chapter": "x", "kind": "code"}},
        },
        meta={
            "progressToken": "p",
            f"{PREFIX}clientInfo": {"name": "x", "version": "1"},
            f"{PREFIX}logLevel": "info",
        },
    ),
    modern("tools/call", {"name": "read_page", "arguments": {"path": "index.md", "heading": "x"}}),
    modern("tools/call", ASK, meta={"progressToken": 1}),
    modern("resources/list", {"cursor": "x"}),
    modern("resources/templates/list"),
    modern("resources/read", {"uri": "book:///index.md"}),
    initialize(LEGACY[0]),
    legacy("tools/call", ASK),
    {
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": {"requestId": 1, "reason": "x"},
    },
)


def places(value: Any) -> Iterator[tuple[str, ...]]:
    """The path to each value in a JSON object."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield (name,)
            for rest in places(each):
                yield name, *rest


def with_value(message: dict[str, Any], place: tuple[str, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(message)
    parent = changed
    for name in place[:-1]:
        parent = parent[name]
    parent[place[-1]] = value
    return changed


async def test_wrong_types_everywhere(metered: Api, upstream: Upstream) -> None:
    for message in MESSAGES:
        is_modern = "_meta" in message["params"]
        headers = headers_of(message) if is_modern else {"MCP-Protocol-Version": LEGACY[0]}
        for place in places(message):
            for wrong in WRONG:
                body = text_of(with_value(message, place, wrong))
                response = await metered.post("/mcp", data=body, headers=headers)
                what = f"{message['method']} {place} {str(wrong)[:20]!r}: {response.text[:500]}"
                assert response.status < 500, what
                if response.status == 202:
                    assert response.content == b"", what
                    assert "id" not in message, what
                    continue
                reply = reply_of(response)
                if "error" in reply or reply["result"].get("isError"):
                    assert upstream.requests == [], what
                    assert len(response.content) < LARGEST_REFUSAL + len(str(reply.get("id"))), what
                upstream.requests.clear()


async def test_long_names(metered: Api, upstream: Upstream) -> None:
    for name, status in (("x" * 2**20, 413), ("x" * 200_000, None), ("é" * 50_000, None)):
        for method, params in (
            ("tools/call", {"name": name}),
            ("resources/read", {"uri": name}),
            ("resources/list", {"cursor": name}),
            ("x" + name, {}),
        ):
            for message, version in (
                (modern(method, params), MODERN),
                (legacy(method, params), LEGACY[0]),
            ):
                for headers in ({}, {"Mcp-Name": "x"}):
                    response = await send(metered, message, headers, version)
                    assert_refused(response)
                    assert status is None or response.status == status
    assert upstream.requests == []


async def test_arguments_out_of_bounds(metered: Api, upstream: Upstream) -> None:
    numbers = {str(number): "x" for number in range(5_000)}
    wrong: list[dict[str, Any]] = [
        {"query": "x" * 1_001},
        {"query": "tide", "limit": 10**9},
        {"query": "tide", "limit": -1},
        {"query": "tide", "filters": {"chapter": "x" * 100_000}},
        {"query": "tide", "filters": numbers},
        numbers,
        {"query": " \n\t "},
        {"query": "a\0b"},
    ]
    for arguments in wrong:
        call = {"name": "search_docs", "arguments": arguments}
        assert_refused(await send(metered, modern("tools/call", call)))
        assert_refused(await send(metered, legacy("tools/call", call), version=LEGACY[0]))
    assert upstream.requests == []


async def test_bodies_that_are_no_message(metered: Api, upstream: Upstream) -> None:
    for body in (
        b"\xef\xbb\xbf{}",
        json.dumps(legacy("ping")).encode("utf-16"),
        b'{"jsonrpc":"2.0","id":1,"method":"\xff"}',
        b'{"jsonrpc":"2.0","id":"\\ud800","method":"ping"}',
        b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":1e999,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":1' + b"0" * 5_000 + b',"method":"ping"}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping"} {}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping",}',
        b"\x1f\x8b\x08\x00",
        b"\0" * 1_000,
        b'"' + b"\\" * 100_001,
    ):
        for headers in ({"MCP-Protocol-Version": LEGACY[0]}, headers_of(modern("tools/list")), {}):
            response = await metered.post("/mcp", data=body, headers=headers)
            assert_refused(response)
            assert response.status == 400
    assert upstream.requests == []


async def test_a_page_cannot_post_without_a_preflight(metered: Api, upstream: Upstream) -> None:
    """A form of any site can send these types."""
    message = modern("tools/call", ASK)
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        headers = headers_of(message) | {"Content-Type": content_type}
        response = await metered.post("/mcp", data=text_of(message), headers=headers)
        assert_refused(response)
        assert response.status == 415
    assert upstream.requests == []


ODD_HEADERS = (
    ("Mcp-Name", "x" * 100_000),
    ("Mcp-Name", encoded("x" * 100_000)),
    ("Mcp-Name", "=?base64?" * 1_000),
    ("Mcp-Name", "=?base64?=?base64?YXNr?=?="),
    ("Mcp-Name", encoded(encoded("ask"))),
    ("Mcp-Name", "=?base64?YXN r?="),
    ("Mcp-Name", "=?base64?_-__?="),
    ("Mcp-Name", "=?BASE64?YXNr?="),
    ("Mcp-Name", "=?utf-8?B?YXNr?="),
    ("Mcp-Name", "ask, ask"),
    ("Mcp-Name", "\u00ff\u00fe"),
    ("Mcp-Name", "ask\t"),
    ("Mcp-Name", "as\tk"),
    ("Mcp-Method", "tools/call" * 10_000),
    ("Mcp-Method", "TOOLS/CALL"),
    ("Mcp-Method", "tools/call?"),
    ("MCP-Protocol-Version", "2026-07-28" * 10_000),
    ("MCP-Protocol-Version", "2026-07-28, 2025-11-25"),
    ("MCP-Protocol-Version", "２０２６-07-28"),
    ("MCP-Protocol-Version", LEGACY[0]),
)


async def test_odd_headers(metered: Api, upstream: Upstream) -> None:
    for name, value in ODD_HEADERS:
        raw = value.encode().decode("latin-1")
        response = await send(metered, modern("tools/call", ASK), {name: raw})
        assert_refused(response)
        assert response.status == 400, (name, value[:50])
        assert response.json()["id"] == 1
    assert upstream.requests == []


async def test_headers_that_come_twice(make_settings: MakeSettings, upstream: Upstream) -> None:
    """A proxy may look at the other one."""
    message = modern("tools/call", ASK)
    async with (
        listening(make_settings(openai_base_url=upstream.base_url)) as address,
        aiohttp.ClientSession() as session,
    ):
        for name in ("MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"):
            for values in (("other", None), (None, "other"), (None, None)):
                own = headers_of(message)
                pairs = [*own.items()]
                at = pairs.index((name, own[name]))
                pairs[at : at + 1] = [(name, value or own[name]) for value in values]
                async with session.post(f"{address}/mcp", json=message, headers=pairs) as response:
                    assert response.status == 400
                    assert "error" in await response.json()
    assert upstream.requests == []


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": f"{SITE}.evil.example"},
    {"Origin": SITE.replace("https", "http")},
    {"Origin": "http://127.0.0.1:9"},
    {"Sec-Fetch-Site": "cross-site"},
]


async def test_pages_of_other_origins(metered: Api, upstream: Upstream) -> None:
    for headers in FOREIGN:
        for message, version in (
            (modern("tools/call", ASK), MODERN),
            (modern("tools/call", CALL), MODERN),
            (legacy("tools/call", ASK), LEGACY[0]),
            (initialize(LEGACY[0]), LEGACY[0]),
        ):
            response = await send(metered, message, headers, version)
            assert_refused(response)
            assert response.status == 403
            assert "Access-Control-Allow-Origin" not in response.headers
        preflight = {**headers, "Access-Control-Request-Method": "POST"}
        allowed = await metered.request("OPTIONS", "/mcp", headers=preflight)
        assert "Access-Control-Allow-Origin" not in allowed.headers
    assert upstream.requests == []


async def test_a_rebound_host(metered: Api, upstream: Upstream) -> None:
    """A page whose host's name leads to this machine: its origin is that of the request."""
    for host in ("evil.example", "evil.example:7860", "127.0.0.1.evil.example"):
        for headers in ({}, {"Origin": f"http://{host}"}, {"Sec-Fetch-Site": "same-origin"}):
            for message in (modern("tools/call", ASK), modern("tools/call", CALL)):
                headers = {"Host": host, **headers}
                response = await send(metered, message, headers, caller=LOCAL_CLIENT)
                assert_refused(response)
                assert response.status == 403
    assert upstream.requests == []


async def test_a_host_that_is_no_name(metered: Api, upstream: Upstream) -> None:
    for host in ("a..b", "a" * 64):
        response = await send(metered, modern("tools/call", ASK), {"Host": host})
        assert_refused(response)
        assert response.status == 400
    assert upstream.requests == []


async def test_a_local_program_or_page_may_call(metered: Api) -> None:
    message = modern("tools/list")
    for host in ("localhost:7860", "127.0.0.1:7860", "[::1]:7860"):
        for own in ({}, {"Origin": f"http://{host}"}):
            response = await send(metered, message, {"Host": host, **own}, caller=LOCAL_CLIENT)
            assert response.status == 200
        other = {"Host": host, "Origin": "http://localhost:9"}
        assert (await send(metered, message, other, caller=LOCAL_CLIENT)).status == 403


async def test_other_methods_start_nothing(metered: Api, upstream: Upstream) -> None:
    message = text_of(modern("tools/call", ASK))
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
        response = await metered.request(
            method, "/mcp?method=tools/call", data=message, headers=headers_of(json.loads(message))
        )
        assert response.status == 405
    assert upstream.requests == []


async def test_a_hundred_calls_at_the_same_time(
    make_settings: MakeSettings, upstream: Upstream
) -> None:
    """Of one reader: questions beyond the limit are refused, and everything else is answered."""
    messages = [
        modern(
            "tools/call",
            ({"name": "search_docs", "arguments": {"query": f"tide {number}"}}, ASK)[number % 2],
            request_id=number,
        )
        for number in range(100)
    ]
    async with (
        listening(make_settings(openai_base_url=upstream.base_url)) as address,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):

        async def post(message: dict[str, Any]) -> Any:
            headers = headers_of(message) | {"Accept": "application/json"}
            async with session.post(f"{address}/mcp", json=message, headers=headers) as response:
                assert response.status == 200, await response.text()
                return await response.json()

        replies = await asyncio.gather(*map(post, messages))
    assert [reply["id"] for reply in replies] == [message["id"] for message in messages]
    assert all("isError" not in reply["result"] for reply in replies[::2])
    refused = sum(bool(reply["result"].get("isError")) for reply in replies[1::2])
    assert 20 <= refused <= 30
    assert len(upstream.chats()) <= 50 - refused


async def test_clients_that_leave(make_settings: MakeSettings, upstream: Upstream) -> None:
    """In the middle of the headers, of the body, and of the answer."""
    message = modern("tools/call", ASK)
    body = text_of(message).encode()
    lines = [f"{name}: {value}" for name, value in headers_of(message).items()]
    head = "\r\n".join(
        [
            "POST /mcp HTTP/1.1",
            "Host: 127.0.0.1",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *lines,
            "\r\n",
        ]
    ).encode()
    settings = make_settings(openai_base_url=upstream.base_url, rate_limit_enabled=False)
    upstream.replies.extend([[delta("The tide "), Hang()]] * 5)
    async with listening(settings) as address:
        port = int(address.rpartition(":")[2])

        async def leave(sent: bytes, *, answering: bool = False) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            await writer.drain()
            if answering:
                assert b" 200 " in await reader.readline()
                await reader.readuntil(b": ping")
            writer.transport.abort()

        cut = [head[: len(head) // 2], head, head + body[: len(body) // 2]]
        await asyncio.gather(*(leave(sent) for sent in cut * 5))
        await asyncio.gather(*(leave(head + body, answering=True) for _ in range(5)))
        await upstream.until(lambda u: u.disconnects == len(u.chats()))
        assert len(upstream.chats()) <= 5
        async with aiohttp.ClientSession() as session:
            listed = modern("tools/list")
            url = f"{address}/mcp"
            async with session.post(url, json=listed, headers=headers_of(listed)) as response:
                assert response.status == 200


async def test_headers_of_a_megabyte(make_settings: MakeSettings, upstream: Upstream) -> None:
    message = modern("tools/call", ASK)
    async with listening(make_settings(openai_base_url=upstream.base_url)) as address:
        port = int(address.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nMcp-Name: ")
        answer = b""
        try:
            writer.write(b"x" * 2**20 + b"\r\n\r\n" + text_of(message).encode())
            await writer.drain()
            answer = await asyncio.wait_for(reader.read(), 10)
        except ConnectionError:
            pass  # closed before all of it was read
        finally:
            writer.close()
        assert b" 200 " not in answer
        assert b" 500 " not in answer
    assert upstream.requests == []
