"""POST /mcp: the Model Context Protocol (https://modelcontextprotocol.io), for agents."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from quart import Blueprint, Response
from quart_rate_limiter import rate_limit

from handlers import require_trusted_origin, respond, services
from handlers.failures import as_failure
from handlers.limits import SEARCH_BURST, limits
from handlers.mcp_book import describe_server
from handlers.mcp_messages import (
    LEGACY,
    SUPPORTED,
    Call,
    MethodNotFound,
    Notification,
    error_answer,
    read_message,
    shown,
)
from handlers.mcp_resources import list_resources, list_templates, read_resource
from handlers.mcp_tools import call_tool, list_tools
from lib.errors import QuireError

blueprint = Blueprint("mcp", __name__)

_CAPABILITIES: Final[Mapping[str, Any]] = {"tools": {}, "resources": {}}


@blueprint.post("/mcp")
@rate_limit(limits=limits(SEARCH_BURST))
async def mcp() -> Response:
    require_trusted_origin()
    message = await read_message()
    if isinstance(message, Notification):
        return Response(status=202)
    try:
        return await _method(message)(message)
    except QuireError as error:
        if message.modern:
            raise
        # Legacy clients read a JSON-RPC error only if the status is 200.
        services().metrics.count_failure(error.code)
        return respond(error_answer(as_failure(error), legacy=True))


_Method = Callable[[Call], Awaitable[Response]]


def _method(call: Call) -> _Method:
    own = _MODERN_METHODS if call.modern else _LEGACY_METHODS
    method = own.get(call.method) or _METHODS.get(call.method)
    if method is None:
        raise MethodNotFound(f"There is no method {shown(call.method)}.")
    return method


async def _discover(call: Call) -> Response:
    server = await describe_server()
    result = {
        "supportedVersions": SUPPORTED,
        "capabilities": _CAPABILITIES,
        "instructions": server.instructions,
    }
    return respond(call.answer(result, server, cached=True))


class _InitializeParams(msgspec.Struct):
    protocolVersion: str


async def _initialize(call: Call) -> Response:
    asked = call.decode(_InitializeParams).protocolVersion
    server = await describe_server()
    result = {
        "protocolVersion": asked if asked in LEGACY else LEGACY[0],
        "capabilities": _CAPABILITIES,
        "serverInfo": server.info,
        "instructions": server.instructions,
    }
    return respond(call.answer(result, server))


async def _ping(call: Call) -> Response:
    return respond(call.answer({}, await describe_server()))


_METHODS: Final[Mapping[str, _Method]] = {
    "tools/list": list_tools,
    "tools/call": call_tool,
    "resources/list": list_resources,
    "resources/templates/list": list_templates,
    "resources/read": read_resource,
}
_MODERN_METHODS: Final[Mapping[str, _Method]] = {"server/discover": _discover}
_LEGACY_METHODS: Final[Mapping[str, _Method]] = {"initialize": _initialize, "ping": _ping}
