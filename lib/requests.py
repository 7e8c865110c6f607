"""What strangers send, turned into typed requests: the one parser of bodies and query strings.

Every failure is an `InvalidRequest` whose sentence names the field. Unknown fields are ignored.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

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
