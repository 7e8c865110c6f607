"""The handbook's page about clients: its examples run, and its tables name what there is."""

import asyncio
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import aiohttp

from tests.api import Api, listening
from tests.conftest import MakeSettings
from tests.handbook import ROOT, block
from tests.mcp_messages import result_of
from tests.upstream import Upstream, answer

PAGE = "clients.md"
TEXT = (ROOT / "book_content" / PAGE).read_text(encoding="utf-8")
SERVER = "https://ask.example.org"
QUESTION = "How do I change the port?"


def section(heading: str) -> str:
    """The text under a heading; without one, the page's beginning."""
    if not heading:
        return TEXT.partition("\n## ")[0].partition("\nSet [")[0]
    return TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def rows(heading: str) -> dict[str, str]:
    """The first two columns of the table under a heading."""
    return dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|", section(heading), re.MULTILINE)[1:])


def names(text: str) -> set[str]:
    return set(re.findall(r"`([\w.]+)`", text))


def test_every_address_has_a_route(api: Api) -> None:
    routes = {rule.rule for rule in api.app.url_map.iter_rules()}
    named = set(re.findall(rf"{SERVER}(/[\w/]+)", TEXT))
    named |= set(re.findall(r"`(?:GET |POST )?(/[\w./-]+)", section("")))
    named |= set(re.findall(r"`(?:GET |POST )(/[\w./-]+)", TEXT))
    assert named >= {"/mcp", "/v1", "/ui/chat", "/ask", "/v1/chat/completions"}
    assert named - {"/v1", "/book/"} <= routes


async def test_openai_s_python_example(make_settings: MakeSettings, upstream: Upstream) -> None:
    upstream.replies.append(answer("Every six hours [1]."))
    code = block(PAGE, "OpenAI's SDKs", "python").replace(QUESTION, "When does the tide turn?")
    printed: list[tuple[Any, ...]] = []
    async with listening(make_settings(openai_base_url=upstream.base_url)) as address:
        names_in_it = {"print": lambda *values: printed.append(values)}
        await asyncio.to_thread(exec, code.replace(SERVER, address), names_in_it)
    (text,), source = printed
    assert text.startswith("Every six hours [1](https://")
    assert source[1].startswith("https://book.example/")


async def test_the_curl_example(make_settings: MakeSettings) -> None:
    command = block(PAGE, "curl", "sh").strip()
    assert command == f"curl -NG {SERVER}/ask --data-urlencode 'q={QUESTION}'"
    asked = f"/ask?q={quote_plus('When does the tide turn?')}"
    async with (
        listening(make_settings()) as address,
        aiohttp.ClientSession() as client,
        client.get(address + asked) as response,
    ):
        text = await response.text()
    assert re.search(r"\n## Sources\n\n1\. \[.+\]\(https://.+\)\n\Z", text)


async def test_the_table_of_tools(generating: Api) -> None:
    tools = (await result_of(generating, "tools/list"))["tools"]
    described = {name.strip("`"): names(cell) for name, cell in rows("MCP tools").items()}
    assert list(described) == [tool["name"] for tool in tools]
    for tool in tools:
        arguments = tool["inputSchema"]["properties"]
        inner = arguments.get("filters", {}).get("properties", {})
        kinds = inner.get("kind", {}).get("enum", [])
        assert described[tool["name"]] == {*arguments, *inner, *kinds}


async def test_the_table_of_openai_s_fields(api: Api) -> None:
    schemas = (await api.openapi())["components"]["schemas"]
    named = names(section("OpenAI's API"))
    assert schemas["CompletionRequest"]["properties"].keys() - {"function_call"} <= {
        each.partition(".")[0] for each in named
    }
    details = schemas["ChatCompletion"]["properties"]["quire"]["$ref"].rpartition("/")[2]
    assert schemas[details]["properties"].keys() <= named


def test_the_configurations_have_one_address() -> None:
    for heading in ("Claude Code", "Cursor", "VS Code"):
        assert f'"url": "{SERVER}/mcp"' in section(heading)
    assert Path(ROOT / "book_content" / PAGE).stat().st_size < 12_000
