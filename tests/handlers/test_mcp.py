"""POST /mcp: its tools and resources. test_mcp_specification.py has the rules of the protocol."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import handlers.mcp_resources
from lib.errors import InvalidRequest
from lib.settings import ToolText
from tests.api import Api, Response, listening, parse_events, serving
from tests.conftest import MakeSettings
from tests.mcp_messages import (
    LEGACY,
    MODERN,
    error_of,
    headers_of,
    legacy,
    modern,
    reply_of,
    result_of,
    send,
)
from tests.tiny_book import BOOK, BROAD_QUESTION, SITE
from tests.upstream import Drop, Hang, Upstream, answer, delta

QUESTION = "When does the tide turn?"
TIDES = "Tides \U0001f30a and déjà vu"


async def use(api: Api, tool: str, **arguments: Any) -> dict[str, Any]:
    """The result of a tool."""
    call = {"name": tool, "arguments": arguments}
    return await result_of(api, "tools/call", call)


async def refusal(api: Api, tool: str, **arguments: Any) -> str:
    """What a tool says about a call that it refuses."""
    result = await use(api, tool, **arguments)
    assert result["isError"] is True
    assert "structuredContent" not in result
    [content] = result["content"]
    return str(content["text"])


async def ask(api: Api, *, accept: str | None = None, **meta: Any) -> Response:
    message = modern("tools/call", {"name": "ask", "arguments": {"question": QUESTION}}, meta=meta)
    return await send(api, message, {"Accept": accept} if accept else {})


# --- The server ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [MODERN, *LEGACY])
async def test_the_server_has_the_title_and_opening_of_the_book(api: Api, version: str) -> None:
    if version == MODERN:
        found = await result_of(api, "server/discover")
        info = found["_meta"]["io.modelcontextprotocol/serverInfo"]
    else:
        asked = {"protocolVersion": version, "capabilities": {}, "clientInfo": {}}
        response = await send(api, legacy("initialize", asked), version=version)
        found = response.json()["result"]
        info = found["serverInfo"]
    assert info["name"] == "The harbour handbook"
    assert "“The harbour handbook”" in found["instructions"]
    assert "This handbook tells skippers what they need to know." in found["instructions"]


async def test_the_texts_for_models_are_settings(
    make_settings: MakeSettings, upstream: Upstream
) -> None:
    settings = make_settings(
        openai_base_url=upstream.base_url,
        mcp_name="Harbour",
        mcp_description="All about the harbour.",
        mcp_tools={"ask": ToolText("ask_harbour", "Ask the harbour master.")},
    )
    async with serving(settings) as api:
        found = await result_of(api, "server/discover")
        tools = (await result_of(api, "tools/list"))["tools"]
        asked = await use(api, "ask_harbour", question=QUESTION)
        unknown = await send(api, modern("tools/call", {"name": "ask"}))
    assert found["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "Harbour"
    assert found["instructions"] == "All about the harbour."
    assert [each["name"] for each in tools] == ["search_docs", "read_page", "ask_harbour"]
    assert "All about the harbour." in tools[0]["description"]
    assert tools[2]["description"] == "Ask the harbour master."
    assert asked["structuredContent"]["finish_reason"] == "stop"
    assert "'ask'" in error_of(unknown, 400, -32602)["message"]


async def test_without_an_index_the_tools_say_so(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    settings = make_settings(book_content_path=empty, qdrant_path=tmp_path / "index")
    async with serving(settings) as api:
        await api.services.index_checked.wait()
        found = await result_of(api, "server/discover")
        assert found["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "Quire"
        assert "this documentation" in found["instructions"]
        for tool, arguments in (("search_docs", {"query": "a"}), ("read_page", {"path": "a"})):
            assert "not indexed yet" in await refusal(api, tool, **arguments)
        listed = await send(api, modern("resources/list"))
        assert "not indexed yet" in error_of(listed, 503, 503)["message"]
        assert listed.headers["Retry-After"]


async def test_an_older_client_reads_errors_of_a_method_with_status_200(api: Api) -> None:
    for message, code in (
        (legacy("no/such"), -32601),
        (legacy("tools/call", {"name": "no_such"}), -32602),
        (legacy("resources/read", {"uri": "book:///none.md"}), -32002),
    ):
        error_of(await send(api, message, version=LEGACY[0]), 200, code)


async def test_a_fault_of_the_server_is_an_internal_error_with_the_id(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers.mcp_resources, "_LISTED", 0)  # a division by zero
    message = modern("resources/list", {"cursor": "5"}, request_id="mine")
    response = await send(api, message)
    error_of(response, 500, -32603)
    assert response.json()["id"] == "mine"


async def test_pages_that_quire_serves_have_whole_addresses(
    served_book: MakeSettings, upstream: Upstream
) -> None:
    async with serving(served_book(openai_base_url=upstream.base_url)) as api:
        await api.ingest()
        for headers, home in (({}, "http://"), ({"X-Forwarded-Proto": "https"}, "https://")):
            url = f"{home}localhost/book/guide/tides"
            for tool, arguments in (
                ("search_docs", {"query": QUESTION, "limit": 1}),
                ("read_page", {"path": "guide/tides.md"}),
                ("ask", {"question": QUESTION}),
            ):
                message = modern("tools/call", {"name": tool, "arguments": arguments})
                result = reply_of(await send(api, message, headers))["result"]
                assert url in str(result["structuredContent"])
                assert url in result["content"][0]["text"]


async def test_pages_of_a_site_without_a_known_address_have_a_path(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    """They are elsewhere, not at Quire's own address."""
    async with serving(make_settings(qdrant_path=tmp_path / "index", site_url="")) as api:
        await api.ingest()
        [found] = (await use(api, "search_docs", query=QUESTION, limit=1))["structuredContent"][
            "results"
        ]
    assert found["url"] == "/docs/guide/tides"


# --- search_docs --------------------------------------------------------------------------------


async def test_search_finds_passages_with_their_headings_and_addresses(api: Api) -> None:
    result = await use(api, "search_docs", query="on which channel do I call by radio?", limit=2)
    [best, *_] = found = result["structuredContent"]["results"]
    assert len(found) <= 2
    assert best["headings"] == "Mooring > Radio"
    assert best["url"] == f"{SITE}/docs/guide/mooring#radio"
    assert best["path"] == "guide/mooring.md"
    assert "channel nine" in best["text"]
    assert 0 <= best["score"] <= 1
    [content] = result["content"]
    for shown in (best["headings"], best["url"], best["path"], best["text"]):
        assert shown in content["text"]


@pytest.mark.parametrize("page", ["guide/tides.md", f"{SITE}/docs/guide/tides#currents"])
async def test_a_search_can_be_kept_inside_a_page(api: Api, page: str) -> None:
    result = await use(api, "search_docs", query=BROAD_QUESTION, filters={"path": page})
    found = result["structuredContent"]["results"]
    assert {each["path"] for each in found} == {"guide/tides.md"}


async def test_a_search_can_be_restricted(api: Api) -> None:
    async def pages(**filters: str) -> set[str]:
        result = await use(api, "search_docs", query=BROAD_QUESTION, limit=20, filters=filters)
        return {each["path"] for each in result["structuredContent"]["results"]}

    assert await pages() == set(BOOK)
    assert await pages(chapter="Mooring") == {"guide/mooring.md"}
    assert await pages(kind="code") == {"guide/mooring.md"}
    assert await pages(version="9") == set()
    empty = await use(api, "search_docs", query=BROAD_QUESTION, filters={"version": "9"})
    assert empty["content"][0]["text"] == "Nothing in the book matches this query."


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "query is missing"),
        ({"query": " "}, "query is empty"),
        ({"query": "x" * 1_001}, "query has 1001 characters"),
        ({"query": "a", "limit": 21}, "limit is invalid"),
        ({"query": "a", "k": 5}, "k is unknown"),
        ({"query": "a", "filters": {"kind": "image"}}, "filters.kind is invalid"),
        ({"query": "a", "filters": {"page": "a"}}, "filters.page is unknown"),
        ({"query": "a", "filters": {"path": "guide/tide.md"}}, "Similar pages: guide/tides.md."),
    ],
)
async def test_a_wrong_argument_is_told_to_the_model(
    api: Api, arguments: dict[str, Any], words: str
) -> None:
    assert words in await refusal(api, "search_docs", **arguments)


# --- read_page and resources --------------------------------------------------------------------


async def test_a_page_is_read_by_its_path_or_address(api: Api) -> None:
    address = f"{SITE}/docs/guide/tides"
    for named in (
        {"path": "guide/tides.md"},
        {"url": address},
        {"path": "/docs/guide/tides#currents"},
        {"path": "guide/tides.md", "url": f"{SITE}/docs/guide/mooring"},
    ):
        result = await use(api, "read_page", **named)
        read = result["structuredContent"]
        assert (read["path"], read["url"]) == ("guide/tides.md", f"{SITE}/docs/guide/tides")
        assert read["title"] == TIDES
        assert read["text"] == (await api.get("/book/guide/tides.md")).text
        assert read["next_offset"] is None
        [content] = result["content"]
        assert read["text"] in content["text"]
        assert read["url"] in content["text"]


async def test_a_part_of_a_page_is_read_by_its_heading(api: Api) -> None:
    result = await use(api, "read_page", path="guide/tides.md", heading="Currents")
    read = result["structuredContent"]
    assert read["text"].startswith("## Currents")
    assert "spring tide" not in read["text"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "page is missing"),
        ({"path": ""}, "page is missing"),
        ({"path": "guide/tide.md"}, "Similar pages: guide/tides.md."),
        ({"path": "guide/tides.md", "heading": "Storms"}, "no such heading"),
        ({"path": "guide/tides.md", "offset": -1}, "offset is invalid"),
        ({"path": "guide/tides.md", "offset": 9_000}, "offset is 9,000, but the text has "),
    ],
)
async def test_a_page_that_cannot_be_read(api: Api, arguments: dict[str, Any], words: str) -> None:
    assert words in await refusal(api, "read_page", **arguments)


async def test_a_long_page_is_read_in_parts(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers.mcp_resources, "_PART", 60)
    whole = (await api.get("/book/guide/tides.md")).text
    parts, offset = [], 0
    while offset is not None:
        result = await use(api, "read_page", path="guide/tides.md", offset=offset)
        parts.append(result["structuredContent"]["text"])
        offset = result["structuredContent"]["next_offset"]
        if offset is not None:
            assert f"offset {offset}" in result["content"][0]["text"]
    assert "".join(parts) == whole
    assert all(len(part) <= 60 for part in parts)

    uri, read = "book:///guide/tides.md", []
    while uri:
        [content] = (await result_of(api, "resources/read", {"uri": uri}))["contents"]
        text, _, note = content["text"].partition("\n\n[The page goes on: ")
        read.append(text)
        uri = note.removesuffix("]")
    assert "".join(read) == whole


@pytest.mark.parametrize("text", ["", "a", "a\n" * 40, "a" * 100, "\n" * 75, "ab\n" + "a" * 60])
def test_parts_end_after_a_line_and_are_the_whole(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(handlers.mcp_resources, "_PART", 25)
    parts: list[str] = []
    offset: int | None = 0
    while offset is not None:
        part = handlers.mcp_resources.part_of(text, offset)
        parts.append(part.text)
        offset = part.next_offset
    assert "".join(parts) == text
    assert max(map(len, parts)) <= 25
    with pytest.raises(InvalidRequest):
        handlers.mcp_resources.part_of(text, len(text) + 1)


async def test_the_pages_are_resources_in_reading_order(api: Api) -> None:
    listed = await result_of(api, "resources/list")
    assert [each["uri"] for each in listed["resources"]] == [
        "book:///index.md",
        "book:///guide/mooring.md",
        "book:///guide/odd.md",
        "book:///guide/tides.md",
    ]
    assert listed["resources"][3] == {
        "uri": "book:///guide/tides.md",
        "name": "guide/tides.md",
        "title": TIDES,
        "mimeType": "text/markdown",
    }
    for uri in ("book:///guide/tides.md", f"{SITE}/docs/guide/tides"):
        [content] = (await result_of(api, "resources/read", {"uri": uri}))["contents"]
        assert (content["uri"], content["mimeType"]) == (uri, "text/markdown")
        assert content["text"] == (await api.get("/book/guide/tides.md")).text


async def test_a_resource_that_is_not_there_names_similar_ones(api: Api) -> None:
    message = modern("resources/read", {"uri": "book:///guide/tide.md"})
    error = error_of(await send(api, message), 400, -32602)
    assert "Similar pages: guide/tides.md." in error["message"]
    assert error["data"] == {"code": "RESOURCE_NOT_FOUND", "uri": "book:///guide/tide.md"}


# --- ask ----------------------------------------------------------------------------------------


async def test_an_answer_has_its_sources(generating: Api, upstream: Upstream) -> None:
    upstream.replies.append(answer("Every six hours [1]."))
    result = await use(generating, "ask", question=QUESTION)
    asked = result["structuredContent"]
    url = f"{SITE}/docs/guide/tides"
    assert asked["answer"].startswith("Every six hours [1](")
    assert asked["sources"] == [
        {"marker": 1, "headings": TIDES, "url": url, "path": "guide/tides.md"}
    ]
    assert (asked["finish_reason"], asked["suggestions"]) == ("stop", [])
    text = result["content"][0]["text"]
    assert text == f"{asked['answer']}\n\n## Sources\n\n1. [{TIDES}]({url})"


async def test_a_client_that_reads_no_streams_gets_json(
    generating: Api, upstream: Upstream
) -> None:
    upstream.replies += [answer("Every six hours.")] * 3
    for accept, content_type in (
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("application/json, text/event-stream", "text/event-stream"),
    ):
        response = await ask(generating, accept=accept)
        assert response.headers["Content-Type"].partition(";")[0] == content_type
        asked = reply_of(response)["result"]["structuredContent"]
        assert asked["answer"] == "Every six hours."


async def test_a_question_that_the_book_does_not_answer(generating: Api) -> None:
    result = await use(generating, "ask", question="Who won the football championship?")
    assert result["structuredContent"]["finish_reason"] == "not_in_book"
    assert result["structuredContent"]["sources"] == []
    assert "isError" not in result


async def test_the_first_words_are_sent_without_delay(
    make_settings: MakeSettings, upstream: Upstream
) -> None:
    go_on = asyncio.Event()
    upstream.replies.append([delta("The tide "), go_on, *answer("turns ", "now.")])
    call = {"name": "ask", "arguments": {"question": QUESTION}}
    message = modern("tools/call", call, meta={"progressToken": "mine"})
    async with (
        listening(make_settings(openai_base_url=upstream.base_url)) as address,
        aiohttp.ClientSession() as http,
        http.post(f"{address}/mcp", json=message, headers=headers_of(message)) as response,
    ):
        assert await response.content.readuntil(b"\n\n") == b": ping\n\n"
        [first] = parse_events(await response.content.readuntil(b"\n\n"))
        go_on.set()
        *notices, last = parse_events(await response.read())
    assert first["params"] == {"progressToken": "mine", "progress": 8, "message": "The tide"}
    told = "".join(each["params"]["message"] for each in (first, *notices))
    assert told == last["result"]["structuredContent"]["answer"] == "The tide turns now."
    assert notices[-1]["params"]["progress"] == len(told)


async def test_a_token_that_would_be_repeated_at_length_is_ignored(generating: Api) -> None:
    [only] = (await ask(generating, progressToken="x" * 1_000)).events()
    assert only["result"]["structuredContent"]["answer"]


async def test_an_answer_that_breaks_is_an_error_of_the_tool(
    generating: Api, upstream: Upstream
) -> None:
    upstream.replies.append([delta("The tide "), delta("turns "), Drop()])
    *notices, last = (await ask(generating, progressToken=1)).events()
    assert "".join(each["params"]["message"] for each in notices).startswith("The tide")
    assert last["result"]["isError"] is True
    assert last["result"]["content"][0]["text"].endswith("Please ask again.")


async def test_an_answer_that_breaks_unseen_gives_way_to_the_book(
    generating: Api, upstream: Upstream
) -> None:
    """Without progress notifications, nothing of it was shown yet."""
    upstream.replies.append([delta("The tide "), delta("turns "), Drop()])
    [only] = (await ask(generating)).events()
    assert "isError" not in only["result"]
    asked = only["result"]["structuredContent"]
    assert asked["answer"].startswith("*The language model cannot answer right now.")
    assert asked["sources"]


async def test_a_server_that_stops_ends_the_stream_with_the_id(
    generating: Api, upstream: Upstream
) -> None:
    upstream.replies.append([delta("The tide "), Hang()])
    asking = asyncio.create_task(ask(generating))
    await upstream.until(lambda u: len(u.chats()) == 1)
    await generating.app.extensions["middleware"].drain(0)
    last = (await asking).events()[-1]
    assert (last["id"], last["error"]["code"]) == (1, 503)
    assert last["error"]["data"] == {"code": "STOPPING"}
    refused = await send(generating, modern("tools/list"))
    assert "id" not in refused.json()
    error_of(refused, 503, 503)


async def test_nothing_is_spent_on_a_wrong_question(generating: Api, upstream: Upstream) -> None:
    for arguments, words in (
        ({}, "question is missing"),
        ({"question": " "}, "question is empty"),
        ({"question": "x" * 1_001}, "question has 1001 characters"),
        ({"question": QUESTION, "stream": True}, "stream is unknown"),
    ):
        assert words in await refusal(generating, "ask", **arguments)
    assert upstream.requests == []
    # Refused calls do not count as questions.
    for _ in range(20):
        assert "isError" not in await use(generating, "ask", question="Hello")
    assert "Please try again in" in await refusal(generating, "ask", question="Hello")
