"""POST /mcp"""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.api import Api, Response
from tests.tiny_book import SITE

MODERN = "2026-07-28"
LEGACY = ["2025-11-25", "2025-06-18"]
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
ACCEPT = "application/json, text/event-stream"


def message(method: str, params: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A modern request."""
    whole = {"_meta": META, **(params or {})}
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": whole} | fields


def headers_of(sent: Mapping[str, Any], **changes: str | None) -> dict[str, str]:
    """The headers that a modern request needs; a change to None leaves one out."""
    params = sent["params"]
    headers: dict[str, str | None] = {
        "Accept": ACCEPT,
        "MCP-Protocol-Version": MODERN,
        "Mcp-Method": sent["method"],
        "Mcp-Name": params.get("name", params.get("uri")),
    }
    return {name: value for name, value in (headers | changes).items() if value is not None}


async def call(
    api: Api, method: str, params: Mapping[str, Any] | None = None, **changes: str | None
) -> Response:
    sent = message(method, params)
    return await api.post("/mcp", sent, headers=headers_of(sent, **changes))


async def result_of(api: Api, method: str, params: Mapping[str, Any] | None = None) -> Any:
    answered = await call(api, method, params)
    assert answered.status == 200, answered.text
    body = answered.json()
    assert (body["jsonrpc"], body["id"]) == ("2.0", 7)
    return body["result"]


async def use(api: Api, tool: str, **arguments: Any) -> Any:
    return await result_of(api, "tools/call", {"name": tool, "arguments": arguments})


async def call_legacy(
    api: Api, method: str, params: Any = None, version: str | None = LEGACY[0]
) -> Response:
    sent = {"jsonrpc": "2.0", "id": "a", "method": method, "params": params or {}}
    headers = {"Accept": ACCEPT} | ({"MCP-Protocol-Version": version} if version else {})
    return await api.post("/mcp", sent, headers=headers)


# --- Both eras ----------------------------------------------------------------------------------


async def test_the_server_can_be_discovered(api: Api) -> None:
    found = await result_of(api, "server/discover")
    assert found["supportedVersions"] == [MODERN, *LEGACY]
    assert found["capabilities"] == {"tools": {}, "resources": {}}
    assert "The harbour handbook" in found["instructions"]
    assert found["resultType"] == "complete"
    assert (found["ttlMs"], found["cacheScope"]) == (60_000, "public")
    info = found["_meta"]["io.modelcontextprotocol/serverInfo"]
    assert info["name"] == "The harbour handbook"


@pytest.mark.parametrize("version", LEGACY)
async def test_older_clients_initialize(api: Api, version: str) -> None:
    asked = {"protocolVersion": version, "capabilities": {}, "clientInfo": {}}
    answered = await call_legacy(api, "initialize", asked, version=None)
    assert answered.status == 200
    result = answered.json()["result"]
    assert result["protocolVersion"] == version
    assert result["serverInfo"]["name"] == "The harbour handbook"
    assert result["capabilities"] == {"tools": {}, "resources": {}}
    assert "Mcp-Session-Id" not in answered.headers
    assert not {"resultType", "_meta", "ttlMs", "cacheScope"} & result.keys()


async def test_search_finds_passages_with_their_headings_and_addresses(api: Api) -> None:
    result = await use(api, "search_docs", query="on which channel do I call by radio?", limit=2)
    [best, *_] = found = result["structuredContent"]["results"]
    assert len(found) <= 2
    assert best["headings"] == "Mooring > Radio"
    assert best["url"] == f"{SITE}/docs/guide/mooring#radio"
    assert best["page"] == "guide/mooring.md"
    assert "channel nine" in best["text"]
    assert 0 <= best["score"] <= 1
    [content] = result["content"]
    assert content["type"] == "text"
    assert best["url"] in content["text"]
    assert best["text"] in content["text"]
    assert "isError" not in result


async def test_a_page_is_read_by_its_path_or_address(api: Api) -> None:
    for page in ("guide/tides.md", f"{SITE}/docs/guide/tides", "/docs/guide/tides#currents"):
        result = await use(api, "read_page", page=page)
        read = result["structuredContent"]
        assert (read["page"], read["url"]) == ("guide/tides.md", f"{SITE}/docs/guide/tides")
        assert read["title"] == "Tides \U0001f30a and déjà vu"
        assert read["text"].startswith("# Tides")
        assert "three knots" in read["text"]
        assert read["next_offset"] is None
        [content] = result["content"]
        assert read["text"] in content["text"]
        assert read["url"] in content["text"]


async def test_a_part_of_a_page_is_read_by_its_heading(api: Api) -> None:
    read = (await use(api, "read_page", page="guide/tides.md", heading="Currents"))[
        "structuredContent"
    ]
    assert read["text"].startswith("## Currents")
    assert "spring tide" not in read["text"]


async def test_the_pages_are_resources_in_reading_order(api: Api) -> None:
    listed = await result_of(api, "resources/list")
    assert [each["uri"] for each in listed["resources"]] == [
        "book:///index.md",
        "book:///guide/mooring.md",
        "book:///guide/odd.md",
        "book:///guide/tides.md",
    ]
    assert listed["resources"][1] == {
        "uri": "book:///guide/mooring.md",
        "name": "guide/mooring.md",
        "title": "Mooring",
        "mimeType": "text/markdown",
    }
    assert "nextCursor" not in listed
    for uri in ("book:///guide/tides.md", f"{SITE}/docs/guide/tides"):
        [content] = (await result_of(api, "resources/read", {"uri": uri}))["contents"]
        assert content["uri"] == uri
        assert content["mimeType"] == "text/markdown"
        assert content["text"] == (await api.get("/book/guide/tides.md")).text
    [template] = (await result_of(api, "resources/templates/list"))["resourceTemplates"]
    assert template["uriTemplate"] == "book:///{+path}"
