"""Every interface that answers questions: same answer, same limits, nothing for strangers."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from tests.api import Api, Response, answer_text, listening, serving
from tests.conftest import MakeSettings
from tests.limits import BURST, use_up
from tests.tiny_book import BROAD_QUESTION, SITE
from tests.upstream import Drop, Hang, Upstream, answer, delta

QUESTION = "When does the tide turn?"
FOREIGN = "https://evil.example"


@dataclass(frozen=True)
class Interface:
    """How a question is sent, and where the answer is in a response."""

    method: str
    path: Callable[[str], str]
    body: Callable[[str], Any]
    """None for a GET."""
    text: Callable[[Response], str]
    sources: Callable[[Response], list[str]]
    """The addresses of the cited headings, in order."""
    problem: Callable[[Response], str]
    """Why the answer is incomplete."""

    async def ask(self, api: Api, question: str = QUESTION, **kwargs: Any) -> Response:
        path, body = self.path(question), self.body(question)
        if body is not None:
            kwargs["json"] = body
        return await api.request(self.method, path, **kwargs)


def chat_sources(response: Response) -> list[str]:
    return [e["citation"]["source"]["url"] for e in response.events() if e["type"] == "citation"]


def completion_deltas(response: Response) -> list[dict[str, Any]]:
    return [choice["delta"] for e in response.events() for choice in e.get("choices", ())]


def completion_sources(response: Response) -> list[str]:
    return [
        annotation["url_citation"]["url"]
        for each in completion_deltas(response)
        for annotation in each.get("annotations", ())
    ]


INTERFACES = {
    "chat": Interface(
        method="POST",
        path=lambda _: "/chat",
        body=lambda question: {"question": question},
        text=lambda response: answer_text(response.events()),
        sources=chat_sources,
        problem=lambda response: str(response.events()[-1]["error"]),
    ),
    "completions": Interface(
        method="POST",
        path=lambda _: "/v1/chat/completions",
        body=lambda question: {
            "messages": [{"role": "user", "content": question}],
            "stream": True,
        },
        text=lambda response: "".join(e.get("content", "") for e in completion_deltas(response)),
        sources=completion_sources,
        problem=lambda response: str(response.events()[-1]["error"]["message"]),
    ),
    "ui": Interface(
        method="POST",
        path=lambda _: "/ui/chat",
        body=lambda question: {
            "messages": [{"role": "user", "parts": [{"type": "text", "text": question}]}]
        },
        text=lambda response: "".join(e.get("delta", "") for e in response.events()),
        sources=lambda response: [e["url"] for e in response.events() if e["type"] == "source-url"],
        problem=lambda response: str(response.events()[-1]["errorText"]),
    ),
    "ask": Interface(
        method="GET",
        path=lambda question: "/ask?" + urlencode({"q": question}),
        body=lambda _: None,
        text=lambda response: response.text.partition("## Sources\n")[0],
        sources=lambda response: re.findall(
            r"^\d+\. .*\((\S+)\)$", response.text.partition("## Sources\n")[2], re.MULTILINE
        ),
        problem=lambda response: response.text.splitlines()[-1].strip("*"),
    ),
}


async def call_tool(api: Api, question: str = QUESTION) -> Response:
    """Ask with MCP, which reports most errors in a result."""
    params = {"name": "ask", "arguments": {"question": question}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    return await api.post("/mcp", body, headers={"MCP-Protocol-Version": "2025-11-25"})


each_interface = pytest.mark.parametrize("interface", INTERFACES.values(), ids=INTERFACES)
each_new_interface = pytest.mark.parametrize(
    "interface",
    [each for name, each in INTERFACES.items() if name != "chat"],
    ids=[name for name in INTERFACES if name != "chat"],
)


@pytest.mark.parametrize(
    "question",
    [QUESTION, "tide, current and fenders?", "What is the capital of France?", "Danke!"],
)
async def test_the_answer_is_the_same(api: Api, question: str) -> None:
    replies = {name: await each.ask(api, question) for name, each in INTERFACES.items()}
    assert {reply.status for reply in replies.values()} == {200}
    texts = {name: INTERFACES[name].text(reply).strip() for name, reply in replies.items()}
    assert texts == dict.fromkeys(INTERFACES, texts["chat"])
    sources = {name: INTERFACES[name].sources(reply) for name, reply in replies.items()}
    assert sources == dict.fromkeys(INTERFACES, sources["chat"])
    assert bool(sources["chat"]) == (question in (QUESTION, "tide, current and fenders?"))


async def test_links_to_pages_that_quire_serves_are_whole(
    served_book: MakeSettings, upstream: Upstream
) -> None:
    """They are read elsewhere, unlike the answers of /chat, and nobody gets another's host."""
    async with serving(served_book(openai_base_url=upstream.base_url)) as api:
        await api.ingest()
        for name, interface in INTERFACES.items():
            for host in ("ask.example", "192.0.2.7:7860", "ask.example"):
                upstream.replies.append(answer("It turns every six hours [1]."))
                response = await interface.ask(api, headers={"Host": host})
                home = "" if name == "chat" else f"http://{host}"
                [source] = interface.sources(response)
                assert source.startswith(f"{home}/book/guide/tides#")
                assert (f"[1]({home}/book/" in interface.text(response)) == bool(home)
        # One answer for /chat and one for each host: the others were cached.
        assert len(upstream.chats()) == 3


async def test_the_model_s_answer_is_the_same_and_paid_once(
    generating: Api, upstream: Upstream
) -> None:
    said = (
        "The tide turns ev",
        "ery six hours [1].",
        " The current runs at three ",
        "knots [2] [9].",
    )
    upstream.replies.append(answer(*said))
    replies = {name: await each.ask(generating) for name, each in INTERFACES.items()}
    texts = {name: INTERFACES[name].text(reply).strip() for name, reply in replies.items()}
    assert texts["chat"].startswith("The tide turns every six hours [1](https://book.")
    assert texts == dict.fromkeys(INTERFACES, texts["chat"])
    sources = {name: INTERFACES[name].sources(reply) for name, reply in replies.items()}
    assert len(sources["chat"]) == 2
    assert sources == dict.fromkeys(INTERFACES, sources["chat"])
    result = (await call_tool(generating)).json()["result"]["structuredContent"]
    assert result["answer"] == texts["chat"]
    assert [source["url"] for source in result["sources"]] == sources["chat"]
    assert len(upstream.chats()) == 1


@pytest.mark.parametrize("name", ["chat", "ui", "ask"])
async def test_the_page_of_the_reader_is_preferred(api: Api, name: str) -> None:
    interface = INTERFACES[name]
    path, body = interface.path(BROAD_QUESTION), interface.body(BROAD_QUESTION)
    cited = []
    for page in ("", "guide/tides.md"):
        if body is None:
            reply = await api.get(f"{path}&page={page}")
        else:
            reply = await api.post(path, body | {"page": page})
        cited.append(interface.sources(reply))
    before, preferred = cited
    assert before.index(f"{SITE}/docs/guide/mooring") == 1
    assert preferred.index(f"{SITE}/docs/guide/tides") == 1


async def test_all_interfaces_share_one_allowance(generating: Api, upstream: Upstream) -> None:
    invalid: list[tuple[str, str, Any]] = [
        ("POST", "/chat", {}),
        ("POST", "/ui/chat", {}),
        ("GET", "/ask", None),
        ("POST", "/v1/chat/completions", {}),
    ]
    for asked in range(1, BURST + 1):
        method, path, body = invalid[asked % len(invalid)]
        reply = await generating.request(method, path, json=body)
        assert reply.status == 400
        # The allowance regains one question every six seconds, which a slow machine may take.
        assert int(reply.headers["RateLimit-Remaining"]) >= BURST - asked
    for method, path, body in invalid:
        reply = await generating.request(method, path, json=body)
        assert (reply.status, reply.headers["RateLimit-Remaining"]) == (429, "0"), path
        assert 1 <= int(reply.headers["Retry-After"]) <= 6
    result = (await call_tool(generating)).json()["result"]
    assert result["isError"]
    assert result["content"][0]["text"].startswith("Too many requests.")
    assert upstream.chats() == []


@each_interface
async def test_a_refused_question_spends_nothing(
    generating: Api, upstream: Upstream, interface: Interface
) -> None:
    await use_up(generating)
    assert (await interface.ask(generating)).status == 429
    assert upstream.chats() == []


STRANGERS = {
    "a foreign page": {"Origin": FOREIGN},
    "a file": {"Origin": "null"},
    "an image": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    "an image of a neighbour": {"Sec-Fetch-Site": "same-site", "Origin": ""},
}


@each_interface
@pytest.mark.parametrize("headers", STRANGERS.values(), ids=STRANGERS)
async def test_a_foreign_page_spends_nothing(
    generating: Api, upstream: Upstream, interface: Interface, headers: dict[str, str]
) -> None:
    reply = await interface.ask(generating, headers=headers)
    assert reply.status == 403
    assert "Access-Control-Allow-Origin" not in reply.headers
    assert upstream.chats() == []


@each_new_interface
async def test_a_rebound_name_spends_nothing(
    generating: Api, upstream: Upstream, interface: Interface
) -> None:
    """A page made the name of its own host lead to this machine (DNS rebinding)."""
    local = ("127.0.0.1", 4321)
    rebound = {"Host": "evil.example", "Sec-Fetch-Site": "same-origin"}
    for headers in (rebound, {**rebound, "Origin": "http://evil.example"}):
        reply = await interface.ask(generating, headers=headers, caller=local)
        assert reply.status == 403
    assert upstream.chats() == []
    assert (await interface.ask(generating, caller=local)).status == 200


@each_interface
async def test_an_origin_can_be_demanded(make_settings: MakeSettings, interface: Interface) -> None:
    async with serving(make_settings(require_origin=True)) as api:
        refused = await interface.ask(api)
        assert refused.status == 403
        assert "REQUIRE_ORIGIN" in refused.text
        allowed = await interface.ask(api, headers={"Origin": SITE})
        assert allowed.status == 200
        assert allowed.headers["Access-Control-Allow-Origin"] == SITE


@each_interface
async def test_without_an_index_the_status_is_503(
    make_settings: MakeSettings, tmp_path: Path, interface: Interface
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    settings = make_settings(book_content_path=empty, qdrant_path=tmp_path / "none")
    async with serving(settings) as api:
        reply = await interface.ask(api)
    assert reply.status == 503
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Retry-After"]
    assert "The book is not indexed yet." in reply.text


@each_interface
async def test_a_spent_budget_leaves_quotes(
    make_settings: MakeSettings, upstream: Upstream, own_index: Path, interface: Interface
) -> None:
    settings = make_settings(
        openai_base_url=upstream.base_url, qdrant_path=own_index, daily_tokens=1
    )
    async with serving(settings) as api:
        reply = await interface.ask(api)
    text = interface.text(reply)
    assert text.startswith("*The daily budget for the language model is used up.")
    assert "The tide turns every six hours and a quarter." in text
    assert interface.sources(reply)
    assert upstream.chats() == []


@each_interface
async def test_a_model_that_fails_midway_is_reported_last(
    generating: Api, upstream: Upstream, interface: Interface
) -> None:
    upstream.replies.append([delta("The tide "), delta("turns "), Drop()])
    reply = await interface.ask(generating)
    assert reply.status == 200
    problem = interface.problem(reply)
    assert problem.startswith("The language model")
    assert problem.endswith("The answer is incomplete. Please ask again.")


@each_interface
async def test_a_stream_ends_at_its_deadline_in_its_own_format(
    make_settings: MakeSettings, upstream: Upstream, interface: Interface
) -> None:
    upstream.replies.append([delta("The tide "), delta("turns "), Hang()])
    settings = make_settings(openai_base_url=upstream.base_url, stream_timeout=0.3)
    async with serving(settings) as api:
        reply = await interface.ask(api)
        await upstream.until(lambda u: u.disconnects == 1)
    assert interface.problem(reply) == "The answer was not ready in time."


@each_interface
async def test_a_shutdown_ends_a_stream_in_its_own_format(
    generating: Api, upstream: Upstream, interface: Interface
) -> None:
    upstream.replies.append([delta("The tide "), delta("turns "), Hang()])
    middleware = generating.app.extensions["middleware"]
    asking = asyncio.create_task(interface.ask(generating))
    await upstream.until(lambda u: len(u.chats()) == 1)
    await middleware.drain(0)
    reply = await asking
    assert interface.problem(reply).startswith("The server is shutting down.")
    refused = await interface.ask(generating)
    assert refused.status == 503
    assert "The server is shutting down." in refused.text
    await upstream.until(lambda u: u.disconnects == 1)


@pytest.fixture
async def address(make_settings: MakeSettings, upstream: Upstream) -> AsyncIterator[str]:
    async with listening(make_settings(openai_base_url=upstream.base_url)) as running:
        yield running


@each_interface
@pytest.mark.parametrize("words", [[], [delta("The tide ")]], ids=["silent", "writing"])
async def test_the_model_is_left_when_the_reader_leaves(
    address: str, upstream: Upstream, interface: Interface, words: list[bytes]
) -> None:
    upstream.replies.append([*words, Hang()])
    async with (
        aiohttp.ClientSession() as http,
        http.request(
            interface.method, address + interface.path(QUESTION), json=interface.body(QUESTION)
        ) as response,
    ):
        assert response.status == 200
        await upstream.until(lambda u: len(u.chats()) == 1)
        response.close()
        await upstream.until(lambda u: u.disconnects == 1)
