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
