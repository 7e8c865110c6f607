"""Messages of the Model Context Protocol, sent to POST /mcp as its clients send them."""

import base64
from collections.abc import Mapping
from typing import Any

from mcp_types.methods import validate_server_result

from tests.api import Api, Response

MODERN = "2026-07-28"
LEGACY = ("2025-06-18", "2025-11-25")
PREFIX = "io.modelcontextprotocol/"
CALL = {"name": "search_docs", "arguments": {"query": "When does the tide turn?"}}
NAMED = {"tools/call": "name", "resources/read": "uri", "prompts/get": "name"}
"""The parameter that the header `Mcp-Name` repeats, by method."""


def modern(
    method: str,
    params: Mapping[str, Any] | None = None,
    *,
    request_id: object = 1,
    meta: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A request of the current version."""
    own = {f"{PREFIX}protocolVersion": MODERN, f"{PREFIX}clientCapabilities": {}}
    body = {**(params or {}), "_meta": {**own, **(meta or {})}}
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": body}


def legacy(
    method: str, params: Mapping[str, Any] | None = None, *, request_id: object = 1
) -> dict[str, Any]:
    """A request of an earlier version, which says so in a header."""
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": dict(params or {})}


def initialize(version: str) -> dict[str, Any]:
    client = {"name": "test", "version": "1"}
    asked = {"protocolVersion": version, "capabilities": {}, "clientInfo": client}
    return legacy("initialize", asked)


def encoded(value: str) -> str:
    """The value of a header that cannot be sent as it is."""
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def headers_of(message: Mapping[str, Any]) -> dict[str, str]:
    """The headers that the current version wants beside a request."""
    headers = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": MODERN,
        "Mcp-Method": str(message["method"]),
    }
    name = message["params"].get(NAMED.get(str(message["method"]), ""))
    if isinstance(name, str):
        plain = name.isascii() and name.isprintable() and name == name.strip()
        headers["Mcp-Name"] = name if plain else encoded(name)
    return headers


async def send(
    api: Api,
    message: Mapping[str, Any],
    headers: Mapping[str, str | None] | None = None,
    version: str = MODERN,
    **kwargs: Any,
) -> Response:
    """Send a message with the headers of its version. `None` leaves one out."""
    own = headers_of(message) if version == MODERN else {"MCP-Protocol-Version": version}
    own.setdefault("Accept", "application/json, text/event-stream")
    chosen = {
        name: value for name, value in {**own, **(headers or {})}.items() if value is not None
    }
    return await api.post("/mcp", message, headers=chosen, **kwargs)


def reply_of(response: Response) -> dict[str, Any]:
    """The JSON-RPC response, whether alone or as the last event of a stream."""
    if response.headers["Content-Type"].startswith("text/event-stream"):
        return response.events()[-1]
    reply: dict[str, Any] = response.json()
    return reply


async def result_of(
    api: Api, method: str, params: Mapping[str, Any] | None = None, *, version: str = MODERN
) -> dict[str, Any]:
    """Send a request that succeeds. Its result follows the schema of the version."""
    message = modern(method, params) if version == MODERN else legacy(method, params)
    response = await send(api, message, version=version)
    assert response.status == 200, response.text
    reply = reply_of(response)
    assert reply["jsonrpc"] == "2.0"
    assert reply["id"] == 1
    validate_server_result(method, version, reply["result"])
    result: dict[str, Any] = reply["result"]
    return result


def error_of(response: Response, status: int, code: int) -> dict[str, Any]:
    """Check a JSON-RPC error and return it."""
    assert response.status == status, response.text
    body = response.json()
    assert set(body) <= {"jsonrpc", "id", "error"}
    assert body["jsonrpc"] == "2.0"
    error: dict[str, Any] = body["error"]
    assert set(error) <= {"code", "message", "data"}
    assert error["code"] == code, error
    assert isinstance(error["message"], str)
    assert error["message"]
    return error
