"""The OpenAPI 3.1 document, made from the typed requests and responses of the handlers.

What strangers send, turned into typed requests: the one parser of bodies and query strings.

Every failure is an `InvalidRequest` whose sentence names the field. Unknown fields are ignored.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from lib import __version__
from lib.errors import InvalidRequest

R = TypeVar("R", bound=msgspec.Struct)

_PLACE = re.compile(r" - at `(?:key in )?\$\.?(.*)`$")
_MISSING = re.compile(r"Object missing required field `(\w+)`")


def decode_body(body: bytes, form: type[R]) -> R:
    """The JSON `body` as `form`. An empty body stands for an empty object."""
    try:
        # The decoder itself passes over the bytes of fields it does not know.
        body.decode("utf-8")
        request = decode_json(body or b"{}", form)
    except UnicodeDecodeError:
        raise InvalidRequest("The body is not valid UTF-8.") from None
    except msgspec.ValidationError as error:
        raise wrong_field(str(error)) from None
    except (msgspec.DecodeError, RecursionError):
        raise InvalidRequest("The body is not valid JSON.") from None
    refuse_nul(request)
    return request


def decode_json(body: bytes, form: type[R]) -> R:
    """As the decoder does, but for numbers such as 5.0, which JSON Schema counts as integers."""
    try:
        return msgspec.json.decode(body, type=form)
    except msgspec.ValidationError as error:
        try:
            plain = msgspec.json.decode(body)
        except msgspec.ValidationError:
            raise error from None
        # Encoded again, since only the decoder of JSON names the field that is wrong.
        return msgspec.json.decode(msgspec.json.encode(with_integers(plain)), type=form)


def with_integers(value: Any) -> Any:
    """`value` with every number that has no fraction as an integer; the first level is enough."""
    if not isinstance(value, dict):
        return value
    return {
        key: int(each) if isinstance(each, float) and each.is_integer() else each
        for key, each in value.items()
    }


def decode_query(query: Mapping[str, str], form: type[R]) -> R:
    """The query string as `form`; its numbers and booleans come as text."""
    try:
        request = msgspec.convert(query, form, strict=False)
    except msgspec.ValidationError as error:
        raise wrong_field(str(error)) from None
    refuse_nul(request)
    return request


def trimmed(text: str, field: str, longest: int) -> str:
    """`text` without surrounding white space, 1 to `longest` characters of it."""
    text = text.strip()
    if not text:
        raise InvalidRequest(f"The field {field} is empty.", details={"field": field})
    if len(text) > longest:
        raise InvalidRequest(
            f"The field {field} has {len(text)} characters; at most {longest} are allowed.",
            details={"field": field},
        )
    return text


def wrong_field(message: str) -> InvalidRequest:
    """From the decoder's "Expected `int` <= 20 - at `$.k`" to a sentence."""
    place = _PLACE.search(message)
    field = place[1] if place else ""
    what = message[: place.start()] if place else message
    if missing := _MISSING.search(what):
        field = f"{field}.{missing[1]}" if field else missing[1]
        return InvalidRequest(f"The field {field} is missing.", details={"field": field})
    what = what.replace("`", "")
    what = what[:1].lower() + what[1:]
    if not field:
        return InvalidRequest(f"The body is not what was expected: {what}.")
    return InvalidRequest(f"The field {field} is not valid: {what}.", details={"field": field})


def refuse_nul(value: Any, field: str = "") -> None:
    """NUL ends strings in much of what the text passes through; nobody means it."""
    if isinstance(value, str):
        if "\0" in value:
            raise InvalidRequest(
                f"The field {field} contains a NUL character.", details={"field": field}
            )
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            refuse_nul(getattr(value, name), f"{field}.{name}" if field else name)


JSON = "application/json"
EVENT_STREAM = "text/event-stream"
OCTETS = "application/octet-stream"


class ErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What every failure is answered with."""

    error: str
    """A sentence for a person."""
    code: str
    """Stable, for programs."""
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """What a route takes and gives. `body` and `query` are the typed requests, if any."""

    summary: str
    answer: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = None
    events: Sequence[type[msgspec.Struct]] = ()
    """The events of a streamed answer."""
    html: bool = False
    text: bool = False
    binary: bool = False
    """Whether the body is a file as it is."""
    statuses: Mapping[int, str] = field(default_factory=dict)
    """Failures beside those that every route has."""
    same_answer: Sequence[int] = ()
    """Statuses besides 200 that carry the same answer."""
    admin: bool = False


COMMON_FAILURES = {
    405: "The method is not allowed here.",
    408: "The request did not arrive in time.",
    413: "The body is too large.",
    429: "Too many requests; `Retry-After` tells when to come back.",
    500: "An error of the program.",
    503: "The server is being stopped.",
    504: "The answer was not ready in time.",
}
BODY_FAILURES = {
    400: "The body or one of its fields is not valid; `details.field` names it.",
    415: "The body is not JSON.",
}


def document(routes: Sequence[tuple[str, str, Operation]]) -> dict[str, Any]:
    """The document for `(method, path, operation)` of every route."""
    forms = {
        form
        for _, _, operation in routes
        for form in (operation.answer, operation.body, operation.query, *operation.events)
        if form is not None
    }
    ordered = [ErrorAnswer, *sorted(forms, key=lambda form: form.__name__)]
    _, components = msgspec.json.schema_components(
        ordered, ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for method, path, operation in routes:
        paths.setdefault(path, {})[method.lower()] = describe(method, path, operation, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Quire",
            "version": __version__,
            "description": "Ask a book; every claim links to the heading it stands under.",
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


def describe(
    method: str, path: str, operation: Operation, components: Mapping[str, Any]
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": f"{method.lower()}{path.replace('/', '_').replace('.', '_').rstrip('_')}",
        "responses": responses(operation),
    }
    if operation.body:
        described["requestBody"] = {
            "required": bool(components[operation.body.__name__].get("required")),
            "content": {JSON: {"schema": reference(operation.body)}},
        }
    if operation.binary:
        schema = {"schema": {"type": "string", "format": "binary"}}
        described["requestBody"] = {"required": True, "content": {OCTETS: schema}}
    if operation.query:
        described["parameters"] = parameters(components[operation.query.__name__])
    if operation.admin:
        described["security"] = [{"admin": []}, {"reader": []}, {}]
    return described


def responses(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if operation.answer:
        content[JSON] = {"schema": reference(operation.answer)}
    if operation.html:
        content["text/html"] = {"schema": {"type": "string"}}
    if operation.text:
        content["text/plain"] = {"schema": {"type": "string"}}
    if operation.events:
        kinds = [reference(event) for event in operation.events]
        # The schema of one event, as OpenAPI 3.2 has it for streams.
        data = {
            "type": "string",
            "contentMediaType": JSON,
            "contentSchema": {"oneOf": kinds},
        }
        schema = {"type": "object", "properties": {"data": data}, "required": ["data"]}
        content[EVENT_STREAM] = {"schema": schema}
    failures = dict(COMMON_FAILURES)
    if operation.body:
        failures |= BODY_FAILURES
    failures |= operation.statuses
    answered = {"200": {"description": "Done.", "content": content}}
    for status in operation.same_answer:
        answered[str(status)] = {"description": failures.pop(status), "content": content}
    error = {JSON: {"schema": reference(ErrorAnswer)}}
    return answered | {
        str(status): {"description": failures[status], "content": error}
        for status in sorted(failures)
    }


def parameters(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    required = set(schema.get("required", ()))
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": without_null(field_schema),
        }
        for name, field_schema in schema["properties"].items()
    ]


def without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A query string has no null: the form of a value that is given."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    return dict(kinds[0]) if len(kinds) == 1 else dict(schema)


def reference(form: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{form.__name__}"}
