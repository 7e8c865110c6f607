import time
from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.api import decode_body, decode_query, trimmed
from lib.errors import InvalidRequest


class Inner(msgspec.Struct, kw_only=True):
    text: str


class Form(msgspec.Struct, kw_only=True):
    name: str = "nobody"
    count: Annotated[int, msgspec.Meta(ge=1, le=5)] = 1
    flag: bool = False
    inner: Inner | None = None


class Kind(msgspec.Struct):
    kind: Literal["a", "b"]


class Strict(msgspec.Struct, kw_only=True):
    name: str


def test_a_body_is_read_and_unknown_fields_are_ignored() -> None:
    body = b'{"name": "a", "count": 5, "inner": {"text": "b", "x": 1}, "other": [{}]}'
    assert decode_body(body, Form) == Form(name="a", count=5, inner=Inner(text="b"))


class Closed(msgspec.Struct, forbid_unknown_fields=True):
    count: int = 1
    inner: Inner | None = None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"other": 1}', "other"),
        (b'{"other": 1, "count": 5.0}', "other"),
        (b'{"a b": 1}', "a b"),
    ],
)
def test_a_form_can_refuse_unknown_fields(body: bytes, field: str) -> None:
    with pytest.raises(InvalidRequest, match=f"The field {field} is unknown") as raised:
        decode_body(body, Closed)
    assert raised.value.details == {"field": field}
    assert decode_body(b'{"count": 5.0}', Closed) == Closed(count=5)


def test_a_number_without_a_fraction_is_an_integer() -> None:
    """As in JSON Schema, and so in the OpenAPI document."""
    assert decode_body(b'{"count": 5.0}', Form).count == 5


def test_an_empty_body_is_an_empty_object() -> None:
    assert decode_body(b"", Form) == Form()


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        (b'{"count": 0}', "count", ">= 1"),
        (b'{"count": 6}', "count", "<= 5"),
        (b'{"count": "1"}', "count", "int"),
        (b'{"count": 1.5}', "count", "int"),
        (b'{"count": 1e400}', "count", ""),
        (b'{"name": null}', "name", "str"),
        (b'{"inner": {}}', "inner.text", "missing"),
        (b'{"inner": {"text": 5}}', "inner.text", "str"),
        (b'{"inner": 5}', "inner", "object"),
        (b'{"name": "a\\u0000"}', "name", "NUL"),
        (b'{"inner": {"text": "\\u0000"}}', "inner.text", "NUL"),
        (b'{"flag": 1}', "flag", "bool"),
    ],
)
def test_what_is_wrong_is_said_by_name(body: bytes, field: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_body(body, Form)
    assert caught.value.details == {"field": field}
    assert field in caught.value.message
    assert words in caught.value.message
    assert "$" not in caught.value.message
    assert "`" not in caught.value.message
    assert caught.value.message.endswith(".")


def test_a_missing_field_is_named() -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_body(b"{}", Strict)
    assert caught.value.message == "The field name is missing."


@pytest.mark.parametrize("body", [b"[]", b"5", b'"a"', b"null", b"true"])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="The body is invalid"):
        decode_body(body, Form)


MANY = 20_000


@pytest.mark.parametrize(
    "rest",
    [
        b'"x": [' + b"1e308," * MANY + b"1]",
        b",".join(b'"k%d": 1e308' % n for n in range(MANY)),
        b'"x": [' + b"{}," * MANY + b"1]",
        b'"x": ' + b"9" * 100_000,
        b'"count": 1' + b"0" * 100_000 + b".0",
    ],
    ids=["array", "fields", "objects", "digits", "number"],
)
def test_a_wrong_body_takes_milliseconds(rest: bytes) -> None:
    began = time.process_time()
    with pytest.raises(InvalidRequest):
        decode_body(b'{"count": "x", ' + rest + b"}", Form)
    assert time.process_time() - began < 0.05  # 0.2 s if all numbers are converted


@pytest.mark.parametrize("value", ["x" * 100_000, " - at `$" * 10_000])
def test_a_message_does_not_repeat_long_values(value: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_body(msgspec.json.encode({"kind": value}), Kind)
    assert caught.value.details == {"field": "kind"}
    assert len(caught.value.message) < 300


@given(st.binary())
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(InvalidRequest):
        assert isinstance(decode_body(body, Form), Form)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("name", "count", "inner", "x"), JSON)))
def test_any_json_is_read_or_refused(value: dict[str, Any]) -> None:
    try:
        body = msgspec.json.encode(value)
    except (UnicodeEncodeError, msgspec.MsgspecError):
        return
    with suppress(InvalidRequest):
        form = decode_body(body, Form)
        assert form.name == value.get("name", "nobody")
        assert "\0" not in form.name


def test_a_query_s_numbers_come_as_text() -> None:
    assert decode_query({"name": "5", "count": "3", "flag": "true"}, Form) == Form(
        name="5", count=3, flag=True
    )


@pytest.mark.parametrize("query", [{"count": "x"}, {"count": "6"}, {"count": ""}, {"name": "\0"}])
def test_a_wrong_query_is_refused_by_name(query: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_query(query, Form)
    assert caught.value.details["field"] in query


def test_trimming_comes_before_counting() -> None:
    assert trimmed(" " * 50 + "abc\n", "q", 3) == "abc"
    with pytest.raises(InvalidRequest, match=r"q has 4 characters.*at most 3"):
        trimmed("abcd", "q", 3)
    with pytest.raises(InvalidRequest, match="q is empty"):
        trimmed(" \u2003\n", "q", 3)
