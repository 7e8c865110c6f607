"""Decode requests into typed structs, and describe the API as an OpenAPI 3.1 document.

Every decoding error is an `InvalidRequest` whose message names the field. Unknown fields are
ignored.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from lib import __version__
from lib.errors import InvalidRequest

_R = TypeVar("_R", bound=msgspec.Struct)

_FIELD_PATH = re.compile(r" - at `(?:key in )?\$\.?([^`]*+)`\Z")
_MISSING = re.compile(r"Object missing required field `(\w++)`")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]*+)")
_MAX_PROBLEM_LENGTH = 200
"""Maximum characters of msgspec's message, which may repeat a value of any length."""
_MAX_NUMBER_LENGTH = 20


def decode_body(body: bytes, form: type[_R]) -> _R:
    """Decode a JSON body. An empty body counts as an empty object."""
    try:
        # The decoder does not validate the bytes of unknown fields.
        body.decode("utf-8")
        request = _decode_json(body or b"{}", form)
    except UnicodeDecodeError:
        raise InvalidRequest("The body is not valid UTF-8.") from None
    except msgspec.ValidationError as error:
        raise _field_error(str(error)) from None
    except (msgspec.DecodeError, RecursionError):
        raise InvalidRequest("The body is not valid JSON.") from None
    if b"\\u0000" in body:  # looking for it in thousands of objects takes longer
        _refuse_nul(request)
    return request


def _decode_json(body: bytes, form: type[_R]) -> _R:
    """Accept numbers such as 5.0 for integers, as JSON Schema does."""
    try:
        return msgspec.json.decode(body, type=form)
    except msgspec.ValidationError as error:
        try:
            # Only the values of known fields are decoded: an attacker sends thousands of others.
            plain = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        except msgspec.ValidationError:
            raise error from None
        if not form.__struct_config__.forbid_unknown_fields:
            names = form.__struct_encode_fields__
            plain = {name: plain[name] for name in names if name in plain}
        # Encoded again, because only the JSON decoder names the wrong field.
        whole = {name: _as_integer(bytes(value)) for name, value in plain.items()}
        return msgspec.json.decode(msgspec.json.encode(whole), type=form)


def _as_integer(value: bytes) -> msgspec.Raw:
    """Write a JSON number such as 5.0 as an integer; return any other value unchanged."""
    is_number = len(value) <= _MAX_NUMBER_LENGTH and value[-1:].isdigit()
    if is_number and not value.isdigit() and (number := float(value)).is_integer():
        return msgspec.Raw(b"%d" % number)
    return msgspec.Raw(value)


def decode_query(query: Mapping[str, str], form: type[_R]) -> _R:
    """Decode a query string, in which numbers and booleans are text."""
    try:
        request = msgspec.convert(query, form, strict=False)
    except msgspec.ValidationError as error:
        raise _field_error(str(error)) from None
    _refuse_nul(request)
    return request


def trimmed(text: str, field: str, max_length: int) -> str:
    """Strip white space. Raises `InvalidRequest` unless 1 to `max_length` characters are left."""
    text = text.strip()
    if not text:
        raise _invalid(field, "is empty")
    if len(text) > max_length:
        raise _invalid(field, f"has {len(text)} characters; at most {max_length} are allowed")
    return text


def _field_error(message: str) -> InvalidRequest:
    """Turn msgspec's "Expected `int` <= 20 - at `$.k`" into a sentence."""
    at = max(message.rfind(" - at `"), 0)
    path = _FIELD_PATH.match(message, at)
    field = path[1] if path else ""
    what = (message[:at] if path else message)[:_MAX_PROBLEM_LENGTH]
    if missing := _MISSING.search(what):
        field = f"{field}.{missing[1]}" if field else missing[1]
        return _invalid(field, "is missing")
    if unknown := _UNKNOWN.match(what):
        field = f"{field}.{unknown[1]}" if field else unknown[1]
        return _invalid(field, "is unknown")
    what = what.replace("`", "")
    what = what[:1].lower() + what[1:]
    if not field:
        return InvalidRequest(f"The body is invalid: {what}.")
    return _invalid(field, f"is invalid: {what}")


def _invalid(field: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"The field {field} {problem}.", details={"field": field})


def _refuse_nul(value: Any, field: str = "") -> None:
    """Raises `InvalidRequest` for NUL characters, which C libraries take for the end of a text."""
    if isinstance(value, str):
        if "\0" in value:
            raise _invalid(field, "contains a NUL character")
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            _refuse_nul(getattr(value, name), f"{field}.{name}" if field else name)
    elif isinstance(value, list):
        for each in value:
            _refuse_nul(each, field)


_JSON = "application/json"


class ErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every error response."""

    error: str
    """A sentence for people."""
    code: str
    """A stable code for programs."""
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """Description of a route. `body` and `query` are its typed requests, if any."""

    summary: str
    answer: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = None
    events: Sequence[type[msgspec.Struct]] = ()
    """The events of a streamed answer."""
    error: type[msgspec.Struct] = ErrorAnswer
    """The body of an error response."""
    content_type: str = ""
    """Of an answer in another format than JSON."""
    binary: bool = False
    """Whether the request body is a file."""
    statuses: Mapping[int, str] = field(default_factory=dict)
    """Error responses in addition to the common ones."""
    same_answer: Sequence[int] = ()
    """Statuses besides 200 with the same answer."""
    has_etag: bool = False
    """Whether `If-None-Match` is answered."""
    admin: bool = False


_RULE_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
_NO_BRACES = str.maketrans("", "", "{}")
_COMMON_ERRORS = {
    405: "The method is not allowed here.",
    408: "The request did not arrive in time.",
    413: "The body is too large.",
    429: "Too many requests. Retry after `Retry-After` seconds.",
    500: "Internal error.",
    503: "The server is shutting down.",
    504: "The answer was not ready in time.",
}
_BODY_ERRORS = {
    400: "The body or the field in `details.field` is invalid.",
    415: "The body is not JSON.",
}

_QUERY_ERRORS = {400: "A parameter is invalid."}


def openapi_document(routes: Sequence[tuple[str, str, Operation]]) -> dict[str, Any]:
    """Build the OpenAPI document from `(method, path, operation)` of each route."""
    forms = {
        form
        for _, _, operation in routes
        for form in (
            operation.answer,
            operation.body,
            operation.query,
            operation.error,
            *operation.events,
        )
        if form is not None
    }
    ordered = sorted(forms, key=lambda form: form.__name__)
    _, components = msgspec.json.schema_components(
        ordered, ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for method, rule, operation in routes:
        path = _RULE_PARAMETER.sub(r"{\1}", rule)
        paths.setdefault(path, {})[method.lower()] = _describe(method, path, operation, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Quire",
            "version": __version__,
            "description": "Ask a book; every claim links to its heading.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "admin": {"type": "http", "scheme": "bearer", "description": "ADMIN_API_KEY"},
                "reader": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _describe(
    method: str, path: str, operation: Operation, components: Mapping[str, Any]
) -> dict[str, Any]:
    name = re.sub(r"[/.]", "_", path).translate(_NO_BRACES).rstrip("_")
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": f"{method.lower()}{name}",
        "responses": _responses(operation),
    }
    if names := re.findall(r"{(\w+)}", path):
        string = {"type": "string"}
        described["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": string} for name in names
        ]
    if operation.body:
        described["requestBody"] = {
            "required": bool(components[operation.body.__name__].get("required")),
            "content": {_JSON: {"schema": _reference(operation.body)}},
        }
    if operation.binary:
        content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        described["requestBody"] = {"required": True, "content": content}
    if operation.query:
        described["parameters"] = _parameters(components[operation.query.__name__])
    if operation.admin:
        described["security"] = [{"admin": []}, {"reader": []}]
    return described


def _responses(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if operation.answer:
        content[_JSON] = {"schema": _reference(operation.answer)}
    if operation.content_type:
        content[operation.content_type] = {"schema": {"type": "string"}}
    if operation.events:
        kinds = [_reference(event) for event in operation.events]
        # The schema of one event, as OpenAPI 3.2 describes streams.
        data = {"type": "string", "contentMediaType": _JSON, "contentSchema": {"oneOf": kinds}}
        schema = {"type": "object", "properties": {"data": data}, "required": ["data"]}
        content["text/event-stream"] = {"schema": schema}
    errors = dict(_COMMON_ERRORS)
    if operation.body:
        errors |= _BODY_ERRORS
    if operation.query:
        errors |= _QUERY_ERRORS
    errors |= operation.statuses
    answered = {"200": {"description": "Success.", "content": content}}
    if operation.has_etag:
        answered["304"] = {"description": "Unchanged.", "content": {}}
    for status in operation.same_answer:
        answered[str(status)] = {"description": errors.pop(status), "content": content}
    error_content = {_JSON: {"schema": _reference(operation.error)}}
    return answered | {
        str(status): {"description": errors[status], "content": error_content}
        for status in sorted(errors)
    }


def _parameters(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    required = set(schema.get("required", ()))
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": _without_null(field_schema),
        }
        for name, field_schema in schema["properties"].items()
    ]


def _without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a value without null, which a query string cannot contain."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    return dict(kinds[0]) if len(kinds) == 1 else dict(schema)


def _reference(form: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{form.__name__}"}
