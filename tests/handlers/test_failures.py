"""What strangers send: every failure is the contract's JSON, on every route, and never a 500."""

import asyncio
import json
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from werkzeug.datastructures import Headers

from tests.api import ADMIN_KEY, Api, Response, assert_failure, listening
from tests.conftest import MakeSettings
from tests.tiny_book import SITE

ROUTES = ["/chat", "/search", "/ingest"]
NAMED = {"/chat": "question", "/search": "query", "/ingest": "content_path"}
DEEP = b"[" * 60_000

# Body, and the statuses that may answer it. `%s` is a required field of the route.
BAD_BODIES = {
    "no JSON": b"hello",
    "cut off": b'{"%s": "a"',
    "two values": b'{"%s": "a"} {}',
    "trailing comma": b'{"%s": "a",}',
    "single quotes": b"{'%s': 'a'}",
    "an array": b'["%s"]',
    "a string": b'"%s"',
    "a number": b"5",
    "null": b"null",
    "true": b"true",
    "NaN": b"NaN",
    "NaN in a field": b'{"%s": NaN}',
    "NaN in an unknown field": b'{"%s": "a", "other": NaN}',
    "infinity": b'{"%s": "a", "other": -Infinity}',
    "invalid UTF-8": b'{"%s": "\xff\xfe"}',
    "invalid UTF-8 in an unknown field": b'{"%s": "a", "other": "\xc3("}',
    "UTF-16": '{"question": "a"}'.encode("utf-16"),
    "a lone surrogate": b'{"%s": "\\ud800"}',
    "a lone surrogate, encoded": b'{"%s": "\xed\xa0\x80"}',
    "a lone surrogate in an unknown field": b'{"%s": "a", "other": "\\udfff"}',
    "NUL": b'{"%s": "a\\u0000b"}',
    "a raw NUL": b'{"%s": "a\0b"}',
    "a raw line break": b'{"%s": "a\nb"}',
    "wrong type": b'{"%s": 5}',
    "an object": b'{"%s": {"a": 1}}',
    "a list": b'{"%s": ["a"]}',
    "60,000 brackets": DEEP,
    "60,000 brackets in the field": b'{"%s": ' + DEEP,
    "60,000 brackets in an unknown field": b'{"%s": "a", "other": ' + DEEP + b"]" * 60_000 + b"}",
    "60,000 braces": b'{"a":' * 40_000,
    "many bytes of nothing": b" " * 200_000,
}


def filled(body: bytes, route: str) -> bytes:
    return body.replace(b"%s", NAMED[route].encode())


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
async def test_a_bad_body_is_a_400(api: Api, route: str, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/json"}
    answer = await api.post(route, data=filled(body, route), headers=headers)
    assert answer.status == 400, answer.text
    assert answer.json()["code"] == "INVALID_REQUEST"
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("route", ["/chat", "/search"])
@pytest.mark.parametrize("body", [b"", b"{}"])
async def test_an_empty_body_names_what_is_missing(api: Api, route: str, body: bytes) -> None:
    answer = await api.post(route, data=body)
    assert answer.status == 400
    assert answer.json()["details"] == {"field": NAMED[route]}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x"],
)
async def test_another_content_type_is_a_415(api: Api, route: str, content_type: str) -> None:
    """This also blocks forms of other sites, which need no preflight."""
    headers = {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": content_type}
    answer = await api.post(route, data=b'{"question": "a"}', headers=headers)
    assert answer.status == 415
    assert answer.json()["code"] == "UNSUPPORTED_MEDIA_TYPE"


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "application/ld+json", "APPLICATION/JSON"]
)
async def test_json_by_another_name_is_json(api: Api, content_type: str) -> None:
    answer = await api.post(
        "/search", data=b'{"query": "tide"}', headers={"Content-Type": content_type}
    )
    assert answer.status == 200


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("size", [300_000, 2_000_000])
async def test_a_large_body_is_a_413(api: Api, route: str, size: int) -> None:
    body = json.dumps({"question": "a", "query": "a", "other": "x" * size}).encode()
    headers = {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/json"}
    answer = await api.post(route, data=body, headers=headers)
    assert answer.status == 413
    assert answer.json()["code"] == "BODY_TOO_LARGE"


@pytest.mark.parametrize(
    "path", ["/nothing", "/chat/", "/CHAT", "/ingest/status/5", "/%00", "/..."]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_address_is_a_404(api: Api, path: str, method: str) -> None:
    answer = await api.request(method, path)
    assert answer.status == 404
    assert answer.json()["code"] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/chat"),
        ("HEAD", "/chat"),
        ("PUT", "/chat"),
        ("DELETE", "/chat"),
        ("GET", "/ingest"),
        ("POST", "/ingest/status"),
        ("PATCH", "/search"),
        ("POST", "/health"),
        ("POST", "/"),
        ("POST", "/openapi.json"),
    ],
)
async def test_a_wrong_method_is_a_405(api: Api, method: str, path: str) -> None:
    answer = await api.request(method, path)
    assert answer.status == 405
    assert answer.headers["Allow"]
    if method != "HEAD":
        assert answer.json()["code"] == "METHOD_NOT_ALLOWED"


async def test_an_error_of_the_program_says_nothing_of_itself(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("sk-secret in /srv/place")

    monkeypatch.setattr(api.services.store, "manifest", broken)
    answer = await api.ask("tide", headers={"Origin": SITE})
    assert answer.status == 500
    assert answer.json()["code"] == "INTERNAL"
    assert "secret" not in answer.text
    assert answer.headers["Access-Control-Allow-Origin"] == SITE
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("given", ["my-id-1", "A" * 64])
async def test_a_request_id_is_given_back(api: Api, given: str) -> None:
    for path in ("/health", "/nothing"):
        answer = await api.get(path, headers={"X-Request-Id": given})
        assert answer.headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "a b", "A" * 65, "<x>", "ä", "a;b"])
async def test_a_request_id_that_is_none_is_replaced(api: Api, given: str) -> None:
    answer = await api.get("/health", headers={"X-Request-Id": given})
    assert answer.headers["X-Request-Id"] not in ("", given)
    assert answer.headers["X-Request-Id"].isalnum()


async def test_nothing_of_a_question_is_logged(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "lib")
    caplog.set_level("DEBUG", "handlers")
    await api.ask("zanzibar-question", session_id="zanzibar-session")
    await api.ask("zanzibar" * 200)
    await api.ask("tide", headers={"X-API-Key": "zanzibar-key"})
    assert "zanzibar" not in caplog.text


@pytest.fixture
async def address(make_settings: MakeSettings) -> AsyncIterator[str]:
    async with listening(make_settings()) as running:
        yield running


async def raw(address: str, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send raw bytes; return status, lower-case headers and body of the first response."""
    parts = urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(request)
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode("latin-1")
        lines = head.split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return int(lines[0].split()[1]), headers, body
    finally:
        writer.close()


CHUNK = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"


async def test_a_chunked_body_has_the_same_limit(address: str) -> None:
    head = (
        b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    status, headers, body = await raw(address, head + CHUNK * 32 + b"0\r\n\r\n")
    assert status == 413
    assert json.loads(body)["code"] == "BODY_TOO_LARGE"
    assert headers["x-request-id"]


async def test_a_declared_size_over_the_limit_is_refused_unread(address: str) -> None:
    head = (
        b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 2000000\r\n\r\n"
    )
    status, headers, body = await raw(address, head)
    assert status == 413
    assert json.loads(body)["code"] == "BODY_TOO_LARGE"
    assert headers["x-request-id"]


async def test_an_address_that_is_no_utf8_does_no_harm(address: str) -> None:
    status, headers, body = await raw(address, b"GET /%ff%c3 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status == 404
    assert json.loads(body)["code"] == "NOT_FOUND"
    assert headers["x-request-id"]


@pytest.mark.parametrize("header", [b"Authorization: Bearer \xff\xfe", b"X-API-Key: \xe4"])
async def test_a_key_of_any_bytes_is_only_wrong(address: str, header: bytes) -> None:
    head = b"POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n" + header + b"\r\n\r\n"
    status, _, body = await raw(address, head)
    assert status == 401
    assert json.loads(body)["code"] == "UNAUTHORIZED"


async def raw_head(address: str, path: str) -> tuple[int, dict[str, str], bytes]:
    parts = urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
    writer.close()
    lines = head.decode().split("\r\n")
    pairs = (line.partition(":") for line in lines[1:])
    return int(lines[0].split()[1]), {n.lower(): v.strip() for n, _, v in pairs}, body


async def test_head_of_a_page_has_no_body(address: str) -> None:
    status, headers, body = await raw_head(address, "/")
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert body == b""


def test_the_shape_of_failures_can_fail() -> None:
    body = {"error": "No.", "code": "NO", "details": {}}
    assert_failure(Response(400, Headers(), json.dumps(body).encode()))
    for wrong in ({"error": "No"}, {"code": "no"}, {"details": 5}, {"more": 1}):
        with pytest.raises(AssertionError):
            assert_failure(Response(400, Headers(), json.dumps(body | wrong).encode()))
