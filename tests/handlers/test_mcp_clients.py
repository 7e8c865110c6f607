"""The official Python client against POST /mcp, behind a real server, in both eras."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp_types import CallToolResult, EmptyResult, PingRequest, TextContent

from tests.api import listening
from tests.conftest import MakeSettings
from tests.mcp_messages import LEGACY, MODERN
from tests.tiny_book import BOOK, SITE
from tests.upstream import Drop, Hang, Status, Upstream, answer, delta

QUESTION = "When does the tide turn?"
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
LEGACY_NOT_FOUND = -32002

both_eras = pytest.mark.parametrize("mode", ["auto", "legacy"])


@pytest.fixture
async def address(make_settings: MakeSettings, upstream: Upstream) -> AsyncIterator[str]:
    """Of the endpoint; the scripted upstream is the model."""
    async with listening(make_settings(openai_base_url=upstream.base_url)) as origin:
        yield f"{origin}/mcp"


@pytest.fixture
async def without_model(make_settings: MakeSettings) -> AsyncIterator[str]:
    async with listening(make_settings()) as origin:
        yield f"{origin}/mcp"


@asynccontextmanager
async def connected(address: str, mode: str) -> AsyncIterator[Client]:
    async with Client(address, mode=mode, read_timeout_seconds=10) as client:
        yield client


def text_of(result: CallToolResult) -> str:
    return "\n".join(part.text for part in result.content if isinstance(part, TextContent))


@both_eras
async def test_connecting(address: str, mode: str) -> None:
    async with connected(address, mode) as client:
        assert client.protocol_version == (MODERN if mode == "auto" else LEGACY[-1])
        assert client.server_info is not None
        assert client.server_info.name == "The harbour handbook"
        assert client.instructions
        assert client.server_capabilities.tools is not None
        assert client.server_capabilities.resources is not None
        assert client.server_capabilities.prompts is None


async def test_a_pinned_version_needs_no_discovery(address: str) -> None:
    async with connected(address, MODERN) as client:
        assert [tool.name for tool in (await client.list_tools()).tools]


@both_eras
async def test_tools_are_listed(address: str, mode: str) -> None:
    async with connected(address, mode) as client:
        tools = (await client.list_tools()).tools
    assert [tool.name for tool in tools] == ["search_docs", "read_page", "ask"]
    for tool in tools:
        assert tool.title
        assert tool.description
        assert "The harbour handbook" in tool.description
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is True
        assert tool.annotations.open_world_hint is False


@both_eras
async def test_without_a_model_there_is_no_ask(without_model: str, mode: str) -> None:
    async with connected(without_model, mode) as client:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == ["search_docs", "read_page"]
        with pytest.raises(MCPError) as raised:
            await client.call_tool("ask", {"question": QUESTION})
    assert raised.value.code == INVALID_PARAMS


@both_eras
async def test_searching(address: str, mode: str) -> None:
    async with connected(address, mode) as client:
        result = await client.call_tool("search_docs", {"query": QUESTION, "limit": 2})
    assert not result.is_error
    assert result.structured_content is not None
    [best, *others] = result.structured_content["results"]
    assert len(others) <= 1
    assert best["path"] == "guide/tides.md"
    assert best["url"].startswith(f"{SITE}/docs/guide/tides")
    assert "every six hours" in best["text"]
    assert 0 < best["score"] <= 1
    assert best["url"] in text_of(result)


@both_eras
@pytest.mark.parametrize(
    "place", ["guide/tides.md", f"{SITE}/docs/guide/tides", "book:///guide/tides.md"]
)
async def test_reading_a_page(address: str, mode: str, place: str) -> None:
    async with connected(address, mode) as client:
        result = await client.call_tool("read_page", {"path": place})
        section = await client.call_tool("read_page", {"path": place, "heading": "Currents"})
    assert not result.is_error
    assert "The tide turns every six hours" in text_of(result)
    assert "runs at three knots" in text_of(result)
    assert "runs at three knots" in text_of(section)
    assert "The tide turns every six hours" not in text_of(section)


@both_eras
async def test_asking(address: str, mode: str, upstream: Upstream) -> None:
    upstream.replies.append(answer("The tide turns ", "every six hours ", "[1]."))
    async with connected(address, mode) as client:
        result = await client.call_tool("ask", {"question": QUESTION})
    assert not result.is_error
    assert result.structured_content is not None
    assert "every six hours" in result.structured_content["answer"]
    [source] = result.structured_content["sources"]
    assert source["url"].startswith(SITE)
    assert source["url"] in text_of(result)


@both_eras
async def test_progress_tells_the_answer(address: str, mode: str, upstream: Upstream) -> None:
    seen = asyncio.Event()
    upstream.replies.append(
        [*answer("The tide turns ")[:2], seen, *answer("every six hours [1].")[1:]]
    )
    told: list[tuple[float, str]] = []

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message or ""))
        seen.set()  # the rest is sent once the beginning has arrived

    async with connected(address, mode) as client:
        result = await client.call_tool("ask", {"question": QUESTION}, progress_callback=tell)
    assert len(told) > 1
    assert [value for value, _ in told] == sorted({value for value, _ in told})
    assert result.structured_content is not None
    assert "".join(text for _, text in told).strip() == result.structured_content["answer"]


@both_eras
async def test_resources(address: str, mode: str) -> None:
    async with connected(address, mode) as client:
        resources = (await client.list_resources()).resources
        templates = (await client.list_resource_templates()).resource_templates
        texts = {}
        for each in resources:
            [content] = (await client.read_resource(str(each.uri))).contents
            texts[str(each.uri)] = content.model_dump()["text"]
    assert set(texts) == {f"book:///{path}" for path in BOOK}
    assert "runs at three knots" in texts["book:///guide/tides.md"]
    assert all(each.name and each.title for each in resources)
    assert [each.uri_template for each in templates] == ["book:///{+path}"]


@both_eras
async def test_a_resource_is_read_by_its_public_address(address: str, mode: str) -> None:
    async with connected(address, mode) as client:
        [content] = (await client.read_resource(f"{SITE}/docs/guide/tides")).contents
    assert "runs at three knots" in content.model_dump()["text"]


@both_eras
async def test_errors_of_the_protocol(address: str, mode: str) -> None:
    async with connected(address, mode) as client:
        with pytest.raises(MCPError) as unknown_tool:
            await client.call_tool("no_such_tool", {})
        with pytest.raises(MCPError) as unknown_resource:
            await client.read_resource("book:///nothing.md")
        with pytest.raises(MCPError) as bad_cursor:
            await client.list_resources(cursor="nonsense")
        with pytest.raises(MCPError) as no_prompts:
            await client.list_prompts()
        assert (await client.list_tools()).tools  # the connection goes on
    assert unknown_tool.value.code == INVALID_PARAMS
    not_found = INVALID_PARAMS if mode == "auto" else LEGACY_NOT_FOUND
    assert unknown_resource.value.code == not_found
    assert bad_cursor.value.code == INVALID_PARAMS
    assert no_prompts.value.code == METHOD_NOT_FOUND


@both_eras
@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("search_docs", {}, "query"),
        ("search_docs", {"query": QUESTION, "limit": "many"}, "limit"),
        ("read_page", {"path": "guide/tide.md"}, "guide/tides.md"),
        ("read_page", {"path": "guide/tides.md", "heading": "Waves"}, "Currents"),
        ("ask", {"question": " "}, "question"),
    ],
    ids=str,
)
async def test_errors_of_a_tool_say_what_to_do(
    address: str, mode: str, name: str, arguments: dict[str, Any], says: str, upstream: Upstream
) -> None:
    async with connected(address, mode) as client:
        result = await client.call_tool(name, arguments)
    assert result.is_error
    assert says in text_of(result)
    assert upstream.requests == []


@both_eras
@pytest.mark.parametrize("reply", [Status(500), Status(429), [delta("The tide "), Drop()]], ids=str)
async def test_a_model_that_fails_is_an_answer_or_an_error_of_the_tool(
    address: str, mode: str, reply: Any, upstream: Upstream
) -> None:
    upstream.replies.extend([reply] * 4)
    async with connected(address, mode) as client:
        result = await client.call_tool("ask", {"question": QUESTION})
    assert text_of(result).strip()
    assert "sk-secret" not in text_of(result)


async def test_a_cancelled_call_is_noticed(address: str, upstream: Upstream) -> None:
    upstream.replies.append([delta("The tide "), Hang()])
    async with connected(address, "auto") as client:
        call = asyncio.create_task(client.call_tool("ask", {"question": QUESTION}))
        await upstream.until(lambda u: len(u.chats()) == 1)
        call.cancel()
        await upstream.until(lambda u: u.disconnects == 1)
        assert (await client.list_tools()).tools  # the client goes on
        with pytest.raises(asyncio.CancelledError):
            await call


@both_eras
async def test_a_client_that_leaves_is_noticed(address: str, mode: str, upstream: Upstream) -> None:
    upstream.replies.append([delta("The tide "), Hang()])
    async with connected(address, mode) as client:
        call = asyncio.create_task(client.call_tool("ask", {"question": QUESTION}))
        await upstream.until(lambda u: len(u.chats()) == 1)
    await upstream.until(lambda u: u.disconnects == 1)
    with pytest.raises((MCPError, asyncio.CancelledError)):
        await call


async def test_a_ping_of_the_earlier_era(address: str) -> None:
    async with connected(address, "legacy") as client:
        assert await client.session.send_request(PingRequest(), EmptyResult) == EmptyResult()


@both_eras
async def test_a_conversation_with_sources(address: str, mode: str, upstream: Upstream) -> None:
    """An agent searches, reads on, asks, and opens every source that is cited."""
    upstream.replies.append(answer("It turns every six hours and a quarter [1]."))
    upstream.replies.append(answer("Three knots [1]."))
    async with connected(address, mode) as client:
        assert (await client.list_tools()).tools
        found = await client.call_tool("search_docs", {"query": "tide"})
        assert found.structured_content is not None
        best = found.structured_content["results"][0]
        page = await client.call_tool("read_page", {"url": best["url"]})
        assert best["text"].strip() in text_of(page)

        for question in (QUESTION, "How fast is the current in the entrance?"):
            asked = await client.call_tool("ask", {"question": question})
            assert asked.structured_content is not None
            sources = asked.structured_content["sources"]
            assert sources
            for source in sources:
                assert source["url"] in asked.structured_content["answer"]
                [content] = (await client.read_resource(source["url"])).contents
                assert content.model_dump()["text"]
                read = await client.call_tool("read_page", {"path": source["path"]})
                assert not read.is_error
    assert len(upstream.chats()) == 2


@both_eras
async def test_calls_of_one_client_run_at_the_same_time(
    address: str, mode: str, upstream: Upstream
) -> None:
    """A slow answer does not hold up a search."""
    gate = asyncio.Event()
    upstream.replies.append([gate, *answer("Every six hours [1].")])
    async with connected(address, mode) as client:
        slow = asyncio.create_task(client.call_tool("ask", {"question": QUESTION}))
        await upstream.until(lambda u: len(u.chats()) == 1)
        found = await client.call_tool("search_docs", {"query": "radio"})
        assert not found.is_error
        assert not slow.done()
        gate.set()
        assert "Every six hours" in text_of(await slow)
