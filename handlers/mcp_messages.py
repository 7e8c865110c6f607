"""The messages of MCP: read a request, check it for its era, and write results and errors.

A message is one JSON-RPC 2.0 object in the body of a POST. There are two eras, and no sessions:

- Modern (2026-07-28): each request has its protocol version in `params._meta`, and repeats it, the
  method and the name of what it asks for in headers, for proxies.
- Legacy (2025-11-25, 2025-06-18): a client begins with `initialize`, then sends its version in a
  header only.

Sections in comments are those of https://modelcontextprotocol.io/specification/2026-07-28.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeVar, cast

import msgspec
from quart import request

from handlers.failures import ErrorFormat, Failure
from handlers.mcp_book import Server
from lib.api import decode_body
from lib.errors import InvalidRequest, QuireError, UnsupportedMediaType
from lib.events import frame
from lib.logs import current_request

_F = TypeVar("_F", bound=msgspec.Struct)

_MODERN: Final = "2026-07-28"
LEGACY: Final = ("2025-11-25", "2025-06-18")
"""The newest first."""
SUPPORTED: Final = (_MODERN, *LEGACY)

_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
_SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"
_VERSION_HEADER: Final = "MCP-Protocol-Version"
_NAMED: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""The parameter that the header Mcp-Name repeats, by method."""
_BASE64: Final = "=?base64?", "?="
_CACHED: Final = {"ttlMs": 60_000, "cacheScope": "public"}
_MOST_SHOWN: Final = 100
"""Characters of the client's text in an error message."""
_LONGEST_TOKEN: Final = 200
"""Characters of a progress token, which each notification repeats. A longer one is ignored."""


class _ParseError(QuireError, status=400, code="PARSE_ERROR"):
    """The body is not JSON."""


class _HeaderMismatch(QuireError, status=400, code="HEADER_MISMATCH"):
    """A header is missing, malformed, or differs from the body."""


class _UnsupportedVersion(QuireError, status=400, code="UNSUPPORTED_VERSION"):
    """The client speaks another version of the protocol."""


class MethodNotFound(QuireError, status=404, code="METHOD_NOT_FOUND"):
    """The server has no such method."""


class InvalidParams(QuireError, status=400, code="INVALID_PARAMS"):
    """The parameters of a method are missing or invalid."""


class ResourceNotFound(QuireError, status=400, code="RESOURCE_NOT_FOUND"):
    """The book has no such page."""


_NUMBERS: Final = {
    "PARSE_ERROR": -32700,
    "INVALID_REQUEST": -32600,
    "METHOD_NOT_FOUND": -32601,
    "INVALID_PARAMS": -32602,
    "RESOURCE_NOT_FOUND": -32602,
    "INTERNAL": -32603,
    "HEADER_MISMATCH": -32020,
    "UNSUPPORTED_VERSION": -32022,
}
"""Error codes of JSON-RPC and MCP. An error that they do not know has its HTTP status."""
_LEGACY_NUMBERS: Final = {**_NUMBERS, "RESOURCE_NOT_FOUND": -32002}


def error_answer(failure: Failure, *, legacy: bool = False) -> dict[str, Any]:
    """The response of a call that failed. It lacks the id if that could not be read."""
    numbers = _LEGACY_NUMBERS if legacy else _NUMBERS
    answer: dict[str, Any] = {"jsonrpc": "2.0"}
    if (note := current_request.get()) and note.call_id is not None:
        answer["id"] = note.call_id
    answer["error"] = {
        "code": numbers.get(failure.code, failure.status),
        "message": failure.message,
        "data": {"code": failure.code, **failure.details},
    }
    return answer


MCP_ERRORS: Final = ErrorFormat(
    body=error_answer, end_stream=lambda failure: frame(error_answer(failure))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A message that gets no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request of a client, valid except for the parameters of its method."""

    id: int | str
    method: str
    params: Mapping[str, msgspec.Raw]
    modern: bool
    progress_token: int | str | None

    def decode(self, form: type[_F]) -> _F:
        """Decode the parameters. Raises `InvalidParams`."""
        try:
            return decode_body(msgspec.json.encode(self.params), form)
        except InvalidRequest as error:
            raise InvalidParams(error.message, details=error.details) from None

    def answer(
        self, result: Mapping[str, Any], server: Server, *, cached: bool = False
    ) -> dict[str, Any]:
        """The response. `cached`: whether the client may keep the result for a minute."""
        if self.modern:
            result = {
                "resultType": "complete",
                **result,
                **(_CACHED if cached else {}),
                "_meta": {_SERVER_INFO: server.info},
            }
        return {"jsonrpc": "2.0", "id": self.id, "result": result}


async def read_message() -> Call | Notification:
    """Read the request's message and check it as far as possible without its method.

    Raises `QuireError`s that `MCP_ERRORS` formats.
    """
    data = cast(bytes, await request.get_data(as_text=False))
    if not request.is_json:
        raise UnsupportedMediaType("The header Content-Type must be application/json.")
    fields = _parse(data)
    has_id = "id" in fields
    if has_id:
        call_id = _decode_id(fields["id"])
        if note := current_request.get():
            note.call_id = call_id
    envelope = decode_body(data, _Envelope)
    given = envelope.params.get("_meta")
    meta = {} if given is None else _decode_object(given, "params._meta")
    version = request.headers.get(_VERSION_HEADER)
    if not has_id:
        if version is not None and version not in SUPPORTED:
            raise _unsupported(version)
        return Notification()
    modern = _VERSION in meta or (version is not None and version not in LEGACY)
    if modern:
        _check_version(meta)
        _check_headers(envelope)
        _check_meta(meta)
    elif version is None and envelope.method != "initialize":
        raise _HeaderMismatch(
            f"The header {_VERSION_HEADER} is missing. Supported: {', '.join(SUPPORTED)}."
        )
    return Call(
        id=call_id,
        method=envelope.method,
        params=envelope.params,
        modern=modern,
        progress_token=_decode_token(meta.get("progressToken")),
    )


ToolResult = Mapping[str, Any]


def tool_result(text: str, structured: msgspec.Struct) -> ToolResult:
    return {"content": [{"type": "text", "text": text}], "structuredContent": structured}


def tool_error(message: str) -> ToolResult:
    return {"content": [{"type": "text", "text": message}], "isError": True}


def required_text(description: str, most: int) -> msgspec.Meta:
    """Describe an argument that its tool passes to `lib.api.trimmed`."""
    limits = {"minLength": 1, "maxLength": most}
    return msgspec.Meta(description=description, extra_json_schema=limits)


class _ListParams(msgspec.Struct):
    cursor: str | None = None


def read_cursor(call: Call) -> str | None:
    """The position in a list; None for its beginning. Raises `InvalidParams`."""
    return call.decode(_ListParams).cursor


def refuse_cursor(call: Call) -> None:
    """For lists of one page. Raises `InvalidParams`."""
    if read_cursor(call) is not None:
        raise InvalidParams("The field cursor is invalid: the list has one page.")


def shown(text: str) -> str:
    """The client's text for an error message."""
    return repr(text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "…")


# --- The body -----------------------------------------------------------------------------------

_decode_key: Final = msgspec.json.Decoder[int | str](
    Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)] | str
).decode
"""Decode an id or a progress token."""


class _Envelope(msgspec.Struct):
    jsonrpc: Literal["2.0"]
    method: str
    params: dict[str, msgspec.Raw] = {}


def _parse(data: bytes) -> dict[str, msgspec.Raw]:
    try:
        data.decode("utf-8")
        msgspec.json.decode(data, type=msgspec.Raw)  # finds out whether another value is complete
        return msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        raise InvalidRequest("The body must be one JSON-RPC message: a JSON object.") from None
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        raise _ParseError("The body is not valid JSON.") from None


def _decode_id(raw: msgspec.Raw) -> int | str:
    try:
        decoded: int | str = _decode_key(raw)
    except msgspec.DecodeError:
        raise InvalidRequest("The field id must be a string or an integer.") from None
    return decoded


def _decode_object(raw: msgspec.Raw, field: str) -> dict[str, msgspec.Raw]:
    try:
        return msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        raise InvalidParams(f"The field {field} must be an object.") from None


def _decode_token(raw: msgspec.Raw | None) -> int | str | None:
    """The progress token; None without one, or for one that is too long to repeat it."""
    if raw is None or len(raw) > _LONGEST_TOKEN:
        return None
    try:
        decoded: int | str = _decode_key(raw)
    except msgspec.DecodeError:
        raise InvalidParams(
            "The field params._meta.progressToken must be a string or an integer."
        ) from None
    return decoded


def _decode_string(raw: msgspec.Raw | None) -> str | None:
    """None if there is no value, or another one than a string."""
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        return None


# --- Modern requests ----------------------------------------------------------------------------


def _check_version(meta: Mapping[str, msgspec.Raw]) -> None:
    """Section "Protocol Version Header" of Streamable HTTP."""
    version = _header(_VERSION_HEADER)
    if _VERSION in meta and _decode_string(meta[_VERSION]) != version:
        raise _HeaderMismatch(
            f"The header {_VERSION_HEADER} must equal params._meta[{_VERSION!r}]."
        )
    if version != _MODERN:
        raise _unsupported(version)


def _check_headers(envelope: _Envelope) -> None:
    """Section "Server Validation" of Streamable HTTP."""
    if _header("Mcp-Method") != envelope.method:
        raise _HeaderMismatch("The header Mcp-Method must equal the field method.")
    if envelope.method not in _NAMED:
        return
    parameter = _NAMED[envelope.method]
    name = _decode_string(envelope.params.get(parameter))
    if name is not None and _decode_header(_header("Mcp-Name")) != name:
        raise _HeaderMismatch(f"The header Mcp-Name must equal the field params.{parameter}.")


def _check_meta(meta: Mapping[str, msgspec.Raw]) -> None:
    """Section "Per-request protocol fields" of the overview."""
    for key in (_VERSION, _CAPABILITIES):
        if key not in meta:
            raise InvalidParams(f"The field params._meta[{key!r}] is missing.")
    _decode_object(meta[_CAPABILITIES], f"params._meta[{_CAPABILITIES!r}]")


def _unsupported(version: str) -> _UnsupportedVersion:
    return _UnsupportedVersion(
        f"The protocol version {shown(version)} is not supported. "
        f"Supported: {', '.join(SUPPORTED)}.",
        details={"supported": SUPPORTED, "requested": version},
    )


def _header(name: str) -> str:
    """The value of a required header. Raises `_HeaderMismatch` unless it is sent exactly once."""
    values = request.headers.getlist(name)
    if len(values) != 1:
        problem = "more than once" if values else "missing"
        raise _HeaderMismatch(f"The header {name} is {problem}.")
    if not (values[0].isascii() and values[0].isprintable()):
        raise _HeaderMismatch(f"The header {name} contains invalid characters.")
    return values[0]


def _decode_header(value: str) -> str:
    """Section "Value Encoding" of Streamable HTTP. Raises `_HeaderMismatch`."""
    prefix, suffix = _BASE64
    if not (value.startswith(prefix) and value.endswith(suffix)):
        return value
    try:
        encoded = value[len(prefix) : -len(suffix)]
        return base64.b64decode(encoded, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise _HeaderMismatch("A header's base64 value cannot be decoded.") from None
