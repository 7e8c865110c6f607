"""What the Model Context Protocol demands of a server over Streamable HTTP, and what shows it.

The tests are above, the table of all demands is below them.
"""

import re
from collections.abc import Callable
from typing import Any

import aiohttp
import jsonschema
import pytest
from mcp_types.methods import CACHEABLE_METHODS, validate_server_result

import handlers.mcp_resources
from handlers.limits import SEARCH_BURST
from tests.api import READER_KEY, Api, Response, listening
from tests.conftest import MakeSettings
from tests.handlers import test_mcp_clients as clients
from tests.handlers import test_mcp_hostile as hostile
from tests.mcp_messages import (
    CALL,
    LEGACY,
    MODERN,
    PREFIX,
    encoded,
    error_of,
    headers_of,
    initialize,
    legacy,
    modern,
    reply_of,
    result_of,
    send,
)
from tests.tiny_book import BOOK, SITE
from tests.upstream import Hang, Upstream, answer, delta

TIDES = "book:///guide/tides.md"
ASK = {"name": "ask", "arguments": {"question": "When does the tide turn?"}}
REQUESTS: dict[str, dict[str, Any]] = {
    "server/discover": {},
    "tools/list": {},
    "tools/call": CALL,
    "resources/list": {},
    "resources/templates/list": {},
    "resources/read": {"uri": TIDES},
}
"""One request of each method."""
CALLS: dict[str, dict[str, Any]] = {
    "search_docs": CALL,
    "read_page": {"name": "read_page", "arguments": {"path": "guide/tides.md"}},
    "ask": ASK,
}
ANSWER = answer("The tide turns ", "every six hours ", "and a quarter [1].")

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
HEADER_MISMATCH = -32020
UNSUPPORTED_VERSION = -32022
LEGACY_NOT_FOUND = -32002
DEFINED_CODES = {
    PARSE_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    INVALID_PARAMS,
    -32603,
    HEADER_MISMATCH,
    -32021,
    UNSUPPORTED_VERSION,
}


# Messages


async def test_a_result_follows_the_schema(api: Api) -> None:
    for method, params in REQUESTS.items():
        result = await result_of(api, method, params)
        assert result["resultType"] == "complete"
        assert set(result["_meta"]) == {f"{PREFIX}serverInfo"}
        server = result["_meta"][f"{PREFIX}serverInfo"]
        assert server["name"]
        assert server["version"]


async def test_a_result_of_an_earlier_version_follows_its_schema(api: Api) -> None:
    for version in LEGACY:
        for method, params in REQUESTS.items():
            if method != "server/discover":
                result = await result_of(api, method, params, version=version)
                assert not {"resultType", "ttlMs", "cacheScope"} & {*result}


async def test_a_response_has_the_id_of_its_request(api: Api) -> None:
    for version, make in ((MODERN, modern), (LEGACY[-1], legacy)):
        for request_id in (1, 0, -7, 2**53, "1", "", "é\n"):
            for method in ("tools/list", "no/such"):
                message = make(method, request_id=request_id)
                reply = reply_of(await send(api, message, version=version))
                assert reply["id"] == request_id
                assert type(reply["id"]) is type(request_id)
                assert ("result" in reply) != ("error" in reply)


async def test_a_message_that_is_no_request_is_refused(api: Api) -> None:
    message = modern("tools/list")
    wrong: dict[str, tuple[Any, ...]] = {
        "jsonrpc": (None, "1.0", 2.0),
        "id": (None, 1.5, True, {}, [1]),
        "method": (None, 7, ["tools/list"]),
        "params": ([], "query", 7),
    }
    for member, values in wrong.items():
        for value in values:
            changed = {**message, member: value}
            response = await api.post("/mcp", changed, headers=headers_of(message))
            assert response.status == 400, changed
            assert response.json()["error"]["code"] in (INVALID_REQUEST, INVALID_PARAMS), changed
            assert ("id" in response.json()) == (member != "id"), changed


async def test_a_message_without_a_member_is_refused(api: Api) -> None:
    message = modern("tools/list")
    for missing in ("jsonrpc", "method"):
        changed = {name: value for name, value in message.items() if name != missing}
        response = await api.post("/mcp", changed, headers=headers_of(message))
        error_of(response, 400, INVALID_REQUEST)
        assert response.json()["id"] == 1


async def test_a_body_that_is_no_json_is_refused(api: Api) -> None:
    for body in (b"", b"{", b"\xff\xfe", b'{"id": 1', b"[1", b"nonsense", b"{'id': 1}"):
        response = await api.post("/mcp", data=body, headers=headers_of(modern("tools/list")))
        error_of(response, 400, PARSE_ERROR)
        assert "id" not in response.json()


async def test_only_one_object_is_a_message(api: Api) -> None:
    for body in ("[]", "7", "null", '"text"', "true"):
        response = await api.post("/mcp", data=body, headers=headers_of(modern("tools/list")))
        error_of(response, 400, INVALID_REQUEST)
        assert "id" not in response.json()


async def test_a_batch_is_refused(api: Api) -> None:
    for batch in ([modern("tools/list")], [legacy("ping"), legacy("ping", request_id=2)]):
        error_of(await api.post("/mcp", batch), 400, INVALID_REQUEST)


async def test_error_codes_are_defined_or_unreserved(api: Api) -> None:
    refused = [
        await send(api, modern("no/such")),
        await send(api, modern("tools/call", {"name": "nothing"})),
        await send(api, modern("tools/call", {"name": 7})),
        await send(api, modern("resources/read", {"uri": "book:///nothing.md"})),
        await send(api, modern("resources/list", {"cursor": "nonsense"})),
        await send(api, modern("tools/list"), {"MCP-Protocol-Version": "1900-01-01"}),
        await send(api, modern("tools/list"), {"Mcp-Method": "tools/call"}),
        await send(api, modern("tools/list"), {"Origin": "https://evil.example"}),
        await api.post("/mcp", data="{"),
        await api.post("/mcp", data="x" * 300_000),
        await api.post("/mcp", data="{}", headers={"Content-Type": "text/plain"}),
        await api.get("/mcp"),
    ]
    for response in refused:
        assert response.status >= 400
        error = response.json()["error"]
        assert type(error["code"]) is int
        assert error["message"]
        assert error["code"] in DEFINED_CODES or not -32768 <= error["code"] <= -32000, error


async def test_requests_do_not_depend_on_earlier_ones(make_settings: MakeSettings) -> None:
    """On one connection, in any order, without initialization, and with different versions."""
    async with listening(make_settings()) as address, aiohttp.ClientSession() as session:

        async def post(message: dict[str, Any], headers: dict[str, str]) -> Any:
            async with session.post(f"{address}/mcp", json=message, headers=headers) as response:
                return (await response.json())["result"]

        listed = modern("tools/list")
        first = await post(listed, headers_of(listed))
        await post(initialize(LEGACY[0]), {})
        old = await post(legacy("tools/list"), {"MCP-Protocol-Version": LEGACY[1]})
        search = modern("tools/call", CALL)
        assert await post(search, headers_of(search))
        again = await post(listed, headers_of(listed))
    assert first == again
    assert old["tools"] == first["tools"]


async def test_requests_may_come_from_anywhere(api: Api) -> None:
    lists = [
        reply_of(await send(api, modern("tools/list"), caller=(f"203.0.113.{number}", 1)))["result"]
        for number in range(3)
    ]
    assert lists[0] == lists[1] == lists[2]


# Metadata


async def test_a_request_needs_its_metadata(api: Api) -> None:
    for missing in ("protocolVersion", "clientCapabilities"):
        message = modern("tools/list")
        del message["params"]["_meta"][f"{PREFIX}{missing}"]
        response = await api.post("/mcp", message, headers=headers_of(message))
        error_of(response, 400, INVALID_PARAMS)
        assert response.json()["id"] == 1
    message = modern("tools/list")
    del message["params"]
    headers = headers_of(modern("tools/list"))
    error_of(await api.post("/mcp", message, headers=headers), 400, INVALID_PARAMS)


async def test_metadata_of_another_type_is_refused(api: Api) -> None:
    for name, value in (
        ("protocolVersion", 7),
        ("protocolVersion", None),
        ("clientCapabilities", "all"),
        ("clientCapabilities", None),
        ("clientCapabilities", [1]),
    ):
        message = modern("tools/list", meta={f"{PREFIX}{name}": value})
        response = await api.post("/mcp", message, headers=headers_of(message))
        # A version that is no string differs from the header.
        code = HEADER_MISMATCH if name == "protocolVersion" else INVALID_PARAMS
        error_of(response, 400, code)


async def test_other_metadata_changes_nothing(api: Api) -> None:
    plain = reply_of(await send(api, modern("tools/list")))
    others: list[dict[str, Any]] = [
        {f"{PREFIX}clientInfo": {"name": "curl", "version": "8"}},
        {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"},
        {"traceparent": "nonsense", "tracestate": "=", "baggage": "\n"},
        {"com.example/own": {"deep": [1, None]}},
        {f"{PREFIX}unknown": [1, 2]},
        {f"{PREFIX}clientCapabilities": {"sampling": {}, "extensions": {"com.example/x": {}}}},
    ]
    for meta in others:
        assert reply_of(await send(api, modern("tools/list", meta=meta))) == plain


# Versions


async def test_an_unknown_version_is_refused(api: Api) -> None:
    for version in ("1900-01-01", "2025-03-26", "2027-01-01", "x" * 1000):
        message = modern("tools/list", meta={f"{PREFIX}protocolVersion": version})
        headers = headers_of(message) | {"MCP-Protocol-Version": version}
        error = error_of(await api.post("/mcp", message, headers=headers), 400, UNSUPPORTED_VERSION)
        assert set(error["data"]["supported"]) == {MODERN, *LEGACY}
        assert error["data"]["requested"] == version


async def test_discover_names_the_versions_and_capabilities(api: Api) -> None:
    found = await result_of(api, "server/discover")
    assert set(found["supportedVersions"]) == {MODERN, *LEGACY}
    assert set(found["capabilities"]) == {"tools", "resources"}
    assert found["instructions"]


async def test_no_capability_is_declared_that_is_not_offered(api: Api) -> None:
    """No prompts, completions, logging, extensions, subscriptions or notices of changes."""
    found = await result_of(api, "server/discover")
    started = reply_of(await api.post("/mcp", initialize(LEGACY[-1])))["result"]
    for capabilities in (found["capabilities"], started["capabilities"]):
        assert capabilities == {"tools": {}, "resources": {}}


async def test_an_unknown_method_is_not_found(api: Api) -> None:
    """Clients of earlier versions read an error only if the status is 200."""
    for method in (
        "no/such",
        "prompts/list",
        "prompts/get",
        "completion/complete",
        "subscriptions/listen",
        "logging/setLevel",
        "resources/subscribe",
        "tasks/list",
        "Tools/List",
        "",
    ):
        params = {"name": "x"} if method == "prompts/get" else {}
        for response, status in (
            (await send(api, modern(method, params)), 404),
            (await send(api, legacy(method, params), version=LEGACY[-1]), 200),
        ):
            error_of(response, status, METHOD_NOT_FOUND)
            assert response.json()["id"] == 1


async def test_a_method_of_the_other_era_is_unknown(api: Api) -> None:
    for method in ("initialize", "ping"):
        error_of(await send(api, modern(method)), 404, METHOD_NOT_FOUND)
    discover = legacy("server/discover")
    error_of(await send(api, discover, version=LEGACY[-1]), 200, METHOD_NOT_FOUND)


async def test_a_server_answers_both_eras(api: Api) -> None:
    assert "resultType" in await result_of(api, "tools/list")
    assert "resultType" not in await result_of(api, "tools/list", version=LEGACY[-1])


# Streamable HTTP


async def test_only_post_is_allowed(api: Api) -> None:
    for method in ("GET", "DELETE", "PUT", "PATCH"):
        for headers in ({}, {"Accept": "text/event-stream", "Last-Event-ID": "1"}):
            response = await api.request(method, "/mcp", headers=headers)
            assert response.status == 405
            assert "POST" in response.headers["Allow"]


async def test_a_foreign_origin_is_refused(generating: Api, upstream: Upstream) -> None:
    for origin in ("https://evil.example", "null", "http://localhost:9"):
        for message, version in ((modern("tools/call", ASK), MODERN), (legacy("ping"), LEGACY[0])):
            response = await send(generating, message, {"Origin": origin}, version)
            assert response.status == 403
            assert response.json()["error"]["message"]
    assert upstream.requests == []


async def test_an_allowed_origin_may_call(api: Api) -> None:
    assert (await send(api, modern("tools/list"), {"Origin": SITE})).status == 200


async def test_a_notification_is_accepted_without_a_body(api: Api) -> None:
    """Also one that is unknown, comes too late, or makes no sense."""
    cancelled = modern("notifications/cancelled", {"requestId": 1})
    del cancelled["id"]
    notices: list[dict[str, Any]] = [
        {"method": "notifications/initialized"},
        {"method": "notifications/cancelled", "params": {"requestId": 9}},
        {"method": "notifications/cancelled", "params": {"requestId": []}},
        {"method": "notifications/cancelled"},
        {"method": "notifications/roots/list_changed", "params": {}},
        {"method": "notifications/unknown"},
    ]
    sent = [
        (cancelled, headers_of(cancelled)),
        *(
            ({"jsonrpc": "2.0", **notice}, headers)
            for notice in notices
            for headers in ({}, {"MCP-Protocol-Version": LEGACY[0]})
        ),
    ]
    for message, headers in sent:
        response = await api.post("/mcp", message, headers=headers)
        assert response.status == 202, message
        assert response.content == b""


async def test_a_malformed_notification_is_an_error(api: Api) -> None:
    changes: list[dict[str, Any]] = [
        {"jsonrpc": "1.0"},
        {"method": 7},
        {"method": None},
        {"params": [1]},
    ]
    for change in changes:
        message = {"jsonrpc": "2.0", "method": "notifications/initialized"} | change
        response = await api.post("/mcp", message, headers={"MCP-Protocol-Version": LEGACY[0]})
        assert response.status == 400
        assert "id" not in response.json()


async def test_a_missing_header_is_a_mismatch(api: Api) -> None:
    for name in ("MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"):
        for message in (modern("tools/call", CALL), modern("resources/read", {"uri": TIDES})):
            response = await send(api, message, {name: None})
            error_of(response, 400, HEADER_MISMATCH)
            assert response.json()["id"] == 1


async def test_a_header_that_differs_is_a_mismatch(api: Api) -> None:
    name = encoded("search_docs")
    for header, value in (
        ("MCP-Protocol-Version", LEGACY[-1]),
        ("MCP-Protocol-Version", ""),
        ("Mcp-Method", "tools/list"),
        ("Mcp-Method", "Tools/Call"),
        ("Mcp-Method", encoded("tools/call")),
        ("Mcp-Method", ""),
        ("Mcp-Name", "ask"),
        ("Mcp-Name", "Search_Docs"),
        ("Mcp-Name", ""),
        ("Mcp-Name", encoded("ask")),
        ("Mcp-Name", name.replace("base64", "BASE64")),
        ("Mcp-Name", name.removesuffix("?=")),
        ("Mcp-Name", name.replace("=?=", "?=")),
        ("Mcp-Name", "=?base64?$$$$?="),
        ("Mcp-Name", "=?base64?/w==?="),
        ("Mcp-Name", "=?base64??="),
        ("Mcp-Name", "=?base64?="),
        ("Mcp-Name", "search_docs\u00e9"),
    ):
        response = await send(api, modern("tools/call", CALL), {header: value})
        error_of(response, 400, HEADER_MISMATCH)
        assert response.json()["id"] == 1


async def test_an_encoded_name_is_decoded(api: Api) -> None:
    for message, name in (
        (modern("tools/call", CALL), "search_docs"),
        (modern("resources/read", {"uri": TIDES}), TIDES),
    ):
        assert (await send(api, message, {"Mcp-Name": encoded(name)})).status == 200


async def test_a_name_that_looks_encoded_is_sent_so(api: Api) -> None:
    """The name in the body is then found to be unknown, not different from the header."""
    name = "=?base64?literal?="
    response = await send(api, modern("tools/call", {"name": name}), {"Mcp-Name": encoded(name)})
    error_of(response, 400, INVALID_PARAMS)


async def test_the_names_of_headers_ignore_case(api: Api) -> None:
    message = modern("tools/call", CALL)
    for change in (str.lower, str.upper):
        headers = {change(name): value for name, value in headers_of(message).items()}
        assert (await api.post("/mcp", message, headers=headers)).status == 200


async def test_a_custom_parameter_header_is_ignored(api: Api) -> None:
    """No tool asks for one."""
    assert "x-mcp-header" not in str(await result_of(api, "tools/list"))
    headers = {"Mcp-Param-Query": "another", "Mcp-Param-Bad": "=?base64?$?="}
    assert (await send(api, modern("tools/call", CALL), headers)).status == 200


async def test_session_and_event_ids_are_ignored(api: Api) -> None:
    headers = {"Mcp-Session-Id": "abc", "Last-Event-ID": "7"}
    for response in (
        await send(api, modern("tools/list"), headers),
        await send(api, legacy("tools/list"), headers, LEGACY[-1]),
        await api.post("/mcp", initialize(LEGACY[-1]), headers=headers),
    ):
        assert response.status == 200
        assert "Mcp-Session-Id" not in response.headers


async def test_a_response_is_one_json_object(api: Api) -> None:
    for method, params in REQUESTS.items():
        response = await send(api, modern(method, params))
        assert response.headers["Content-Type"] == "application/json"
        assert isinstance(response.json(), dict)


async def ask(api: Api, **meta: Any) -> Response:
    return await send(api, modern("tools/call", ASK, meta=meta))


async def test_a_stream_ends_with_its_response(generating: Api, upstream: Upstream) -> None:
    upstream.replies.append(ANSWER)
    response = await ask(generating, progressToken="p")
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert response.headers["X-Accel-Buffering"] == "no"
    *notices, reply = response.events()
    assert reply["id"] == 1
    assert "result" in reply
    assert notices
    for notice in notices:
        assert "id" not in notice
        assert notice["method"] == "notifications/progress"
        assert notice["params"]["progressToken"] == "p"


async def test_progress_increases_and_says_the_answer(generating: Api, upstream: Upstream) -> None:
    for token in ("p", 7, 0, ""):
        upstream.replies.append(ANSWER)
        *notices, _reply = (await ask(generating, progressToken=token)).events()
        assert all(notice["params"]["progressToken"] == token for notice in notices)
        values = [notice["params"]["progress"] for notice in notices]
        assert values == sorted(set(values))
        told = "".join(notice["params"].get("message", "") for notice in notices)
        assert told.startswith("The tide turns every six hours and a quarter")


async def test_progress_is_not_sent_without_a_token(generating: Api, upstream: Upstream) -> None:
    upstream.replies.append(ANSWER)
    [reply] = (await ask(generating)).events()
    assert "result" in reply


async def test_progress_has_a_rate_limit(generating: Api, upstream: Upstream) -> None:
    """Many words that come at once are few notices."""
    upstream.replies.append(answer(*(f"word{number} " for number in range(500)), "[1]."))
    notices = (await ask(generating, progressToken=1)).events()[:-1]
    assert 1 <= len(notices) < 100


async def test_a_progress_token_has_a_type(generating: Api, upstream: Upstream) -> None:
    wrong: tuple[object, ...] = (None, 1.5, True, [], {})
    for token in wrong:
        error_of(await ask(generating, progressToken=token), 400, INVALID_PARAMS)
    assert upstream.requests == []


async def test_no_log_messages_are_sent(generating: Api, upstream: Upstream) -> None:
    for level in ("debug", "info", "emergency"):
        upstream.replies.append(ANSWER)
        [reply] = (await ask(generating, **{f"{PREFIX}logLevel": level})).events()
        assert "result" in reply


@pytest.mark.parametrize("version", [MODERN, LEGACY[-1]])
async def test_closing_the_stream_cancels_the_request(
    make_settings: MakeSettings, upstream: Upstream, version: str
) -> None:
    upstream.replies.append([delta("The tide "), Hang()])
    message = modern("tools/call", ASK) if version == MODERN else legacy("tools/call", ASK)
    headers = headers_of(message)
    if version != MODERN:
        headers = {"Accept": headers["Accept"], "MCP-Protocol-Version": version}
    settings = make_settings(openai_base_url=upstream.base_url)
    async with listening(settings) as address, aiohttp.ClientSession() as session:
        async with session.post(f"{address}/mcp", json=message, headers=headers) as response:
            assert response.status == 200
            await upstream.until(lambda u: len(u.chats()) == 1)
        await upstream.until(lambda u: u.disconnects == 1)


async def test_input_is_never_required(api: Api) -> None:
    """What answers such a request is ignored, whatever it says."""
    responses = {"x": {"action": "accept"}}
    extra: dict[str, Any] = {"requestState": "forged", "inputResponses": responses}
    plain = await result_of(api, "tools/call", CALL)
    assert plain["resultType"] == "complete"
    assert await result_of(api, "tools/call", {**CALL, **extra}) == plain


# Caching and pagination


async def test_a_cacheable_result_says_for_how_long(api: Api) -> None:
    methods = CACHEABLE_METHODS & {*REQUESTS}
    assert len(methods) == 5
    for method in sorted(methods):
        result = await result_of(api, method, REQUESTS[method])
        assert type(result["ttlMs"]) is int
        assert result["ttlMs"] >= 0
        assert result["cacheScope"] == "public"


async def test_what_may_be_shared_is_the_same_for_everyone(api: Api) -> None:
    for method in sorted(CACHEABLE_METHODS & {*REQUESTS}):
        message = modern(method, REQUESTS[method])
        own = {"Authorization": f"Bearer {READER_KEY}"}
        replies = [
            reply_of(await send(api, message)),
            reply_of(await send(api, message, own, caller=("203.0.113.7", 1))),
        ]
        assert replies[0] == replies[1], method


async def test_an_invalid_cursor_is_refused(api: Api) -> None:
    for method in ("resources/list", "resources/templates/list", "tools/list"):
        for cursor in ("nonsense", "", "-1", "9999999999", "MA==\n", "é"):
            error_of(await send(api, modern(method, {"cursor": cursor})), 400, INVALID_PARAMS)


async def test_a_short_list_has_one_page(api: Api) -> None:
    for method in ("resources/list", "resources/templates/list", "tools/list"):
        assert "nextCursor" not in await result_of(api, method)


async def test_pages_of_a_list(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """All resources come once, in the same order from any page on."""
    whole = (await result_of(api, "resources/list"))["resources"]
    monkeypatch.setattr(handlers.mcp_resources, "_LISTED", 3)
    first = await result_of(api, "resources/list")
    for _ in range(2):
        rest = await result_of(api, "resources/list", {"cursor": first["nextCursor"]})
        assert "nextCursor" not in rest
        assert first["resources"] + rest["resources"] == whole
    assert len(first["resources"]) == 3
    assert first["cacheScope"] == rest["cacheScope"]


# Tools


async def test_tools_have_a_fixed_order_and_plain_names(generating: Api) -> None:
    lists = [(await result_of(generating, "tools/list"))["tools"] for _ in range(2)]
    assert lists[0] == lists[1]
    names = [tool["name"] for tool in lists[0]]
    assert names == ["search_docs", "read_page", "ask"]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", name) for name in names)


async def test_schemas_of_tools_are_valid_and_local(generating: Api) -> None:
    for tool in (await result_of(generating, "tools/list"))["tools"]:
        for name in ("inputSchema", "outputSchema"):
            schema = tool[name]
            assert schema["type"] == "object"
            jsonschema.Draft202012Validator.check_schema(schema)
            references = re.findall(r"'\$ref': '([^']*)'", str(schema))
            assert all(reference.startswith("#/$defs/") for reference in references)
        assert tool["inputSchema"]["additionalProperties"] is False


async def test_structured_content_follows_its_schema(generating: Api, upstream: Upstream) -> None:
    upstream.replies.append(ANSWER)
    for tool in (await result_of(generating, "tools/list"))["tools"]:
        result = await result_of(generating, "tools/call", CALLS[tool["name"]])
        assert not result.get("isError")
        validator = jsonschema.Draft202012Validator(tool["outputSchema"])
        validator.validate(result["structuredContent"])
        assert result["content"][0]["type"] == "text"
        assert result["content"][0]["text"].strip()


async def test_invalid_arguments_are_told_to_the_model(generating: Api, upstream: Upstream) -> None:
    wrong: list[dict[str, Any]] = [{}, {"unknown": 1}, {"query": 7, "path": 7, "question": 7}]
    for name in CALLS:
        for arguments in wrong:
            call = {"name": name, "arguments": arguments}
            result = await result_of(generating, "tools/call", call)
            assert result["isError"] is True
            assert result["content"][0]["text"].strip()
    assert upstream.requests == []


async def test_an_unknown_tool_is_a_protocol_error(api: Api) -> None:
    for name in ("no_such_tool", "Search_Docs", "ask"):  # there is no model, so no `ask`
        error_of(await send(api, modern("tools/call", {"name": name})), 400, INVALID_PARAMS)


async def test_a_call_that_is_no_call_is_refused(api: Api) -> None:
    error_of(await send(api, modern("tools/call", {}), {"Mcp-Name": "x"}), 400, INVALID_PARAMS)
    listed = {"name": "search_docs", "arguments": []}
    error_of(await send(api, modern("tools/call", listed)), 400, INVALID_PARAMS)


async def test_calls_are_limited(api: Api) -> None:
    for _ in range(SEARCH_BURST):
        assert (await send(api, modern("tools/list"))).status == 200
    # The allowance regains a request each second, so a slow machine needs a few more.
    for _ in range(SEARCH_BURST):
        response = await send(api, modern("tools/list"))
        if response.status == 429:
            break
    assert response.json()["error"]["message"]
    assert int(response.headers["Retry-After"]) > 0


async def test_questions_are_limited(generating: Api, upstream: Upstream) -> None:
    """`ask` has the allowance of POST /chat, and the model learns that it is used up."""
    for _ in range(25):
        result = reply_of(await ask(generating))["result"]
        if result.get("isError"):
            break
    assert result["isError"] is True
    assert "second" in result["content"][0]["text"]
    assert len(upstream.chats()) < 25


async def test_keys_are_not_passed_on(generating: Api, upstream: Upstream) -> None:
    headers = {"Authorization": f"Bearer {READER_KEY}"}
    await send(generating, modern("tools/call", ASK), headers)
    assert len(upstream.chats()) == 1
    assert READER_KEY not in str(upstream.requests)


async def test_results_are_text(api: Api) -> None:
    """Pages are Markdown as their author wrote it; the client decides what it shows."""
    read = {"name": "read_page", "arguments": {"path": "guide/odd.md"}}
    for call in (CALL, read):
        result = await result_of(api, "tools/call", call)
        assert [part["type"] for part in result["content"]] == ["text"]


# Resources


async def test_resources_are_the_pages(api: Api) -> None:
    lists = [(await result_of(api, "resources/list"))["resources"] for _ in range(2)]
    assert lists[0] == lists[1]
    assert {each["uri"] for each in lists[0]} == {f"book:///{path}" for path in BOOK}
    for each in lists[0]:
        assert re.fullmatch(r"book:///[A-Za-z0-9._~/%-]+", each["uri"])
        assert each["mimeType"] == "text/markdown"
        [content] = (await result_of(api, "resources/read", {"uri": each["uri"]}))["contents"]
        assert content["uri"] == each["uri"]
        assert content["text"]


async def test_an_unknown_resource_is_an_error(api: Api) -> None:
    for uri in (
        "book:///nothing.md",
        "book:///../secret.md",
        "book:///guide/../../secret.md",
        "book:///%2e%2e/%2e%2e/etc/passwd",
        "book:////etc/passwd",
        "file:///etc/passwd",
        "https://evil.example/",
        "book:",
        "",
        "\u0000",
        "book:///" + "a/" * 3000,
    ):
        error_of(await send(api, modern("resources/read", {"uri": uri})), 400, INVALID_PARAMS)
        response = await send(api, legacy("resources/read", {"uri": uri}), version=LEGACY[0])
        assert response.json()["error"]["code"] in (LEGACY_NOT_FOUND, INVALID_PARAMS)


async def test_an_earlier_version_has_its_own_code(api: Api) -> None:
    for version in LEGACY:
        message = legacy("resources/read", {"uri": "book:///nothing.md"})
        error_of(await send(api, message, version=version), 200, LEGACY_NOT_FOUND)


# Earlier versions


async def test_initialize_answers_with_the_same_version(api: Api) -> None:
    for version in LEGACY:
        response = await api.post("/mcp", initialize(version))
        assert response.status == 200
        result = response.json()["result"]
        validate_server_result("initialize", version, result)
        assert result["protocolVersion"] == version
        assert result["serverInfo"]["name"]
        assert result["serverInfo"]["version"]
        assert result["capabilities"] == {"tools": {}, "resources": {}}


async def test_initialize_answers_an_unknown_version_with_the_latest(api: Api) -> None:
    for version in ("2024-11-05", "2025-03-26", "2030-01-01", "nonsense"):
        response = await api.post("/mcp", initialize(version))
        assert response.json()["result"]["protocolVersion"] == LEGACY[-1]


async def test_a_ping_is_answered_empty(api: Api) -> None:
    for version in LEGACY:
        assert await result_of(api, "ping", version=version) == {}


async def test_an_unsupported_version_in_the_header_is_refused(api: Api) -> None:
    for version in ("2024-11-05", "2025-03-26", "1", "nonsense"):
        response = await send(api, legacy("tools/list"), version=version)
        assert response.status == 400


async def test_an_earlier_request_without_a_version_is_refused(api: Api) -> None:
    error_of(await api.post("/mcp", legacy("tools/list")), 400, HEADER_MISMATCH)


async def test_a_response_of_a_client_is_refused(api: Api) -> None:
    """The server sends no requests, so nothing is there to respond to."""
    message = {"jsonrpc": "2.0", "id": 1, "result": {}}
    response = await api.post("/mcp", message, headers={"MCP-Protocol-Version": LEGACY[0]})
    assert response.status == 400


# All demands, by section: the level, the demand, and the test that shows it, or why it is unmet or
# does not apply. Sections that only speak to clients or authorization servers are left out.

NO_AUTHORIZATION = "does not apply: no authorization; the book is public, and keys raise limits"
NO_SUBSCRIPTIONS = (
    "does not apply: no subscriptions; the book changes seldom, and ttlMs is a minute"
)
NO_INPUT = "does not apply: no request needs further input from the client"
NO_PROMPTS = "does not apply: no prompts"
NO_COMPLETION = "does not apply: no completion"
NO_LOGGING = "does not apply: no log messages are sent; the capability is deprecated"
NO_SCHEMAS = "does not apply: the server receives no schemas"
NO_EXTENSIONS = "does not apply: no extensions"
NO_SESSIONS = "does not apply: no sessions"
NO_EVENT_IDS = "does not apply: events have no ids"
NO_REQUESTS = "does not apply: the server sends no requests"
NOT_STDIO = "does not apply: only Streamable HTTP"

Shown = Callable[..., Any] | str
DEMANDS: dict[str, list[tuple[str, str, Shown]]] = {
    "2026-07-28/index#implementation-guidelines": [
        ("SHOULD", "explain the security implications", "met: the handbook's page on security"),
        ("SHOULD", "control access and protect data", hostile.test_pages_of_other_origins),
    ],
    "2026-07-28/deprecated": [
        (
            "SHOULD NOT",
            "adopt deprecated features",
            test_no_capability_is_declared_that_is_not_offered,
        ),
    ],
    "2026-07-28/basic#overview": [
        ("MUST", "support the base protocol, versioning and patterns", clients.test_connecting),
    ],
    "2026-07-28/basic#messages": [
        ("MUST", "messages follow JSON-RPC 2.0", test_a_message_without_a_member_is_refused),
    ],
    "2026-07-28/basic#requests": [
        (
            "MUST",
            "a request has a string or integer id",
            test_a_message_that_is_no_request_is_refused,
        ),
        ("MUST NOT", "the id is null", test_a_message_that_is_no_request_is_refused),
    ],
    "2026-07-28/basic#result-responses": [
        ("MUST", "repeat the request's id", test_a_response_has_the_id_of_its_request),
        ("MUST", "have a result", test_a_result_follows_the_schema),
        ("MUST", "the result has a resultType", test_a_result_follows_the_schema),
        (
            "MUST",
            "resultType is one of the core or of an extension",
            test_a_result_follows_the_schema,
        ),
    ],
    "2026-07-28/basic#error-responses": [
        ("MUST", "repeat the request's id", test_a_response_has_the_id_of_its_request),
        ("MUST", "omit the id only if it is unreadable", test_a_body_that_is_no_json_is_refused),
        ("MUST", "have a code and a message", test_error_codes_are_defined_or_unreserved),
        ("MUST", "codes are integers", test_error_codes_are_defined_or_unreserved),
    ],
    "2026-07-28/basic#error-codes": [
        ("MUST NOT", "new codes in -32000 to -32019", test_error_codes_are_defined_or_unreserved),
        (
            "MUST NOT",
            "undefined codes in -32020 to -32099",
            test_error_codes_are_defined_or_unreserved,
        ),
        ("MUST", "defined codes only as defined", test_error_codes_are_defined_or_unreserved),
        ("MUST NOT", "use -32002 or -32042", test_an_unknown_resource_is_an_error),
        (
            "SHOULD",
            "own codes outside -32768 to -32000",
            test_error_codes_are_defined_or_unreserved,
        ),
    ],
    "2026-07-28/basic#notifications": [
        ("MUST NOT", "answer a notification", test_a_notification_is_accepted_without_a_body),
        ("MUST NOT", "a notification has an id", test_a_stream_ends_with_its_response),
    ],
    "2026-07-28/basic#statelessness": [
        ("MUST NOT", "rely on earlier requests", test_requests_do_not_depend_on_earlier_ones),
        ("SHOULD", "serve several conversations", test_requests_may_come_from_anywhere),
        ("SHOULD NOT", "require the same connection", test_requests_may_come_from_anywhere),
        ("MUST", "refer to state by an identifier", "does not apply: no state but in cursors"),
    ],
    "2026-07-28/basic#auth": [
        (
            "SHOULD",
            "conform to Authorization",
            "unmet: the book is public, so that no agent must log in",
        ),
    ],
    "2026-07-28/basic#json-schema-usage": [
        ("MUST", "support JSON Schema 2020-12", test_schemas_of_tools_are_valid_and_local),
        ("MUST", "schemas are valid in their dialect", test_schemas_of_tools_are_valid_and_local),
        ("SHOULD", "document the dialects", "does not apply: 2020-12 is the default"),
        ("MUST", "validate schemas and refuse other dialects", NO_SCHEMAS),
        ("MUST NOT", "fetch references to the network", NO_SCHEMAS),
        ("SHOULD", "bound validation", NO_SCHEMAS),
    ],
    "2026-07-28/basic#meta": [
        ("MUST NOT", "assume values of reserved keys", test_other_metadata_changes_nothing),
        ("MUST", "keys have a valid prefix", test_a_result_follows_the_schema),
        (
            "MUST",
            "refuse a request without the fields: 400, -32602",
            test_a_request_needs_its_metadata,
        ),
        ("MUST NOT", "rely on undeclared capabilities", test_a_result_follows_the_schema),
        ("MUST", "name missing capabilities: 400, -32021", "does not apply: none is needed"),
        ("SHOULD", "name the server in every result", test_a_result_follows_the_schema),
        ("SHOULD NOT", "act on clientInfo", test_other_metadata_changes_nothing),
        ("MUST", "subscriptionId in notices of a subscription", NO_SUBSCRIPTIONS),
        ("MUST", "trace context has the formats of W3C", "does not apply: none is sent"),
    ],
    "2026-07-28/basic/versioning#protocol-version-negotiation": [
        (
            "MUST",
            "refuse an unknown version and list one's own",
            test_an_unknown_version_is_refused,
        ),
        ("MUST", "implement server/discover", test_discover_names_the_versions_and_capabilities),
    ],
    "2026-07-28/basic/versioning#extension-negotiation": [
        ("MUST", "extension ids have a prefix", NO_EXTENSIONS),
        ("MUST", "fall back to the core protocol", test_other_metadata_changes_nothing),
    ],
    "2026-07-28/basic/versioning#backward-compatibility": [
        ("MAY", "serve both eras on one endpoint", test_a_server_answers_both_eras),
        ("MUST", "each era has its methods", test_a_method_of_the_other_era_is_unknown),
        (
            "SHOULD",
            "a modern-only server names its versions",
            "does not apply: both eras are served",
        ),
    ],
    "2026-07-28/basic/transports#messages": [
        ("MUST", "messages are UTF-8", test_a_body_that_is_no_json_is_refused),
        ("MUST", "deliver requests, responses and notifications", clients.test_asking),
    ],
    "2026-07-28/basic/transports/streamable-http": [
        ("MUST", "one endpoint that supports POST", clients.test_connecting),
    ],
    "2026-07-28/basic/transports/streamable-http#security-endpoint": [
        ("MUST", "validate Origin, against DNS rebinding", hostile.test_a_rebound_host),
        ("MUST", "a foreign Origin gets 403", test_a_foreign_origin_is_refused),
        (
            "SHOULD",
            "bind to localhost when local",
            "unmet: it serves a site; HOST=127.0.0.1 does it",
        ),
        ("SHOULD", "authenticate connections", "unmet: the book is public"),
    ],
    "2026-07-28/basic/transports/streamable-http#sending-messages": [
        ("MUST", "a body is one request or notification", test_only_one_object_is_a_message),
        ("MUST", "accept a notification with 202", test_a_notification_is_accepted_without_a_body),
        ("MUST", "refuse a notification with an error", test_a_malformed_notification_is_an_error),
        ("MUST", "answer with JSON or an event stream", test_a_response_is_one_json_object),
    ],
    "2026-07-28/basic/transports/streamable-http#receiving-messages": [
        ("MUST", "notifications relate to the request", test_a_stream_ends_with_its_response),
        ("MUST NOT", "send requests", test_a_stream_ends_with_its_response),
        ("SHOULD", "end the stream after the response", test_a_stream_ends_with_its_response),
        ("SHOULD", "send X-Accel-Buffering: no", test_a_stream_ends_with_its_response),
    ],
    "2026-07-28/basic/transports/streamable-http#cancellation": [
        ("MUST", "a closed stream cancels", test_closing_the_stream_cancels_the_request),
        ("SHOULD", "stop work soon", clients.test_a_cancelled_call_is_noticed),
        (
            "MUST NOT",
            "send more for a cancelled request",
            test_closing_the_stream_cancels_the_request,
        ),
    ],
    "2026-07-28/basic/transports/streamable-http#protocol-version-header": [
        ("MUST", "a header that differs: 400, -32020", test_a_header_that_differs_is_a_mismatch),
        ("MUST", "an unknown version: 400, -32022", test_an_unknown_version_is_refused),
        ("MUST", "an unknown method: 404, -32601", test_an_unknown_method_is_not_found),
        ("MUST", "refuse requests without the header", test_a_missing_header_is_a_mismatch),
    ],
    "2026-07-28/basic/transports/streamable-http#custom-headers": [
        ("MUST", "x-mcp-header is a unique token", "does not apply: no tool has one"),
        ("MUST", "refuse recognized Mcp-Param headers that are invalid", "does not apply: none is"),
        ("MUST", "ignore unknown Mcp-Param headers", test_a_custom_parameter_header_is_ignored),
        ("SHOULD", "compare integers as numbers", "does not apply: no tool has such a header"),
    ],
    "2026-07-28/basic/transports/streamable-http#value-encoding": [
        ("MUST", "decode Mcp-Name before comparing", test_an_encoded_name_is_decoded),
        ("MUST", "the markers are case-sensitive", test_a_header_that_differs_is_a_mismatch),
        (
            "MUST",
            "a name like the marker is sent encoded",
            test_a_name_that_looks_encoded_is_sent_so,
        ),
    ],
    "2026-07-28/basic/transports/streamable-http#case-sensitivity": [
        ("MUST", "ignore the case of header names", test_the_names_of_headers_ignore_case),
    ],
    "2026-07-28/basic/transports/streamable-http#server-validation": [
        ("MUST", "headers match the body", test_a_header_that_differs_is_a_mismatch),
        ("MUST", "failures are 400 with -32020", test_a_header_that_differs_is_a_mismatch),
        ("MUST", "a missing header is a failure", test_a_missing_header_is_a_mismatch),
        ("MUST", "invalid characters are a failure", hostile.test_odd_headers),
    ],
    "2026-07-28/basic/transports/streamable-http#earlier-revisions": [
        ("SHOULD", "GET and DELETE get 405", test_only_post_is_allowed),
        ("SHOULD", "ignore session ids and make none", test_session_and_event_ids_are_ignored),
        ("SHOULD", "ignore Last-Event-ID", test_session_and_event_ids_are_ignored),
        ("SHOULD NOT", "adopt HTTP+SSE", test_only_post_is_allowed),
    ],
    "2026-07-28/basic/patterns": [
        ("MUST NOT", "send requests", test_a_stream_ends_with_its_response),
    ],
    "2026-07-28/basic/patterns/cancellation": [
        ("MUST", "tell the end of a subscription", NO_SUBSCRIPTIONS),
        (
            "MUST NOT",
            "send notifications/cancelled otherwise",
            test_a_stream_ends_with_its_response,
        ),
        (
            "MUST",
            "a client that leaves has cancelled",
            clients.test_a_client_that_leaves_is_noticed,
        ),
        ("SHOULD", "timeouts for requests that are sent", NO_REQUESTS),
        ("SHOULD", "stop a request that is cancelled by a notice", NOT_STDIO),
        (
            "MUST",
            "a late cancellation does no harm",
            test_a_notification_is_accepted_without_a_body,
        ),
        ("SHOULD", "ignore invalid cancellations", test_a_notification_is_accepted_without_a_body),
        ("SHOULD", "log the reasons of cancellations", "unmet: logs have no text of clients"),
    ],
    "2026-07-28/basic/patterns/mrtr": [
        ("MUST", "ask the client only by InputRequiredResult", NO_INPUT),
        ("MUST NOT", "require input for other requests", test_input_is_never_required),
        ("MUST", "requestState is an attacker's input", test_input_is_never_required),
        ("MUST", "protect requestState and bind it to its request", NO_INPUT),
        ("MUST", "name inputRequests or requestState", NO_INPUT),
        ("MUST NOT", "ask for undeclared input", NO_INPUT),
        ("MUST NOT", "assume that the client goes on", NO_INPUT),
        ("SHOULD", "validate inputResponses", NO_INPUT),
        ("SHOULD", "ignore unexpected inputResponses", test_input_is_never_required),
        ("SHOULD", "ask again for missing input", NO_INPUT),
    ],
    "2026-07-28/basic/patterns/progress": [
        ("MUST", "a token is a string or an integer", test_a_progress_token_has_a_type),
        ("MUST", "progress increases", test_progress_increases_and_says_the_answer),
        ("SHOULD", "message is for people", test_progress_increases_and_says_the_answer),
        ("MUST", "only tokens of a request", test_progress_is_not_sent_without_a_token),
        ("SHOULD", "limit the rate", test_progress_has_a_rate_limit),
        ("MUST", "stop at the end", test_a_stream_ends_with_its_response),
    ],
    "2026-07-28/basic/patterns/subscriptions": [
        ("MUST NOT", "send notices that nobody asked for", NO_SUBSCRIPTIONS),
        ("MUST", "acknowledge first", NO_SUBSCRIPTIONS),
        ("SHOULD", "end with a result", NO_SUBSCRIPTIONS),
        ("MUST", "be unknown without the capability", test_an_unknown_method_is_not_found),
    ],
    "2026-07-28/basic/authorization": [
        ("MUST", "Protected Resource Metadata, and its discovery", NO_AUTHORIZATION),
        ("MUST", "validate access tokens and their audience", NO_AUTHORIZATION),
        ("MUST NOT", "accept or pass on other tokens", test_keys_are_not_passed_on),
        ("MUST", "401 and 403 with WWW-Authenticate", NO_AUTHORIZATION),
        ("SHOULD", "name scopes", NO_AUTHORIZATION),
    ],
    "2026-07-28/basic/authorization/security-considerations": [
        ("MUST", "OAuth 2.1, secure tokens, HTTPS", NO_AUTHORIZATION),
        ("MUST NOT", "pass a client's token on", test_keys_are_not_passed_on),
    ],
    "2026-07-28/client": [
        ("MUST", "what servers do for elicitation, sampling and roots", NO_INPUT),
    ],
    "2026-07-28/server/discover": [
        ("MUST", "implement it", test_discover_names_the_versions_and_capabilities),
        ("SHOULD", "include serverInfo", test_a_result_follows_the_schema),
    ],
    "2026-07-28/server/tools#capabilities": [
        ("MUST", "declare tools", test_discover_names_the_versions_and_capabilities),
        ("MUST", "answer tools/list", clients.test_tools_are_listed),
        ("MUST NOT", "vary by connection", test_requests_do_not_depend_on_earlier_ones),
        ("SHOULD", "a deterministic order", test_tools_have_a_fixed_order_and_plain_names),
        ("SHOULD", "tell changes if listChanged", NO_SUBSCRIPTIONS),
    ],
    "2026-07-28/server/tools#tool": [
        ("MUST", "inputSchema is a JSON Schema object", test_schemas_of_tools_are_valid_and_local),
        (
            "SHOULD",
            "names of 1 to 128 plain characters",
            test_tools_have_a_fixed_order_and_plain_names,
        ),
        ("SHOULD", "names are case-sensitive", test_an_unknown_tool_is_a_protocol_error),
        ("SHOULD", "names are unique", test_tools_have_a_fixed_order_and_plain_names),
        ("MUST", "x-mcp-header is valid", "does not apply: no tool has one"),
    ],
    "2026-07-28/server/tools#tool-result": [
        (
            "MUST",
            "structured content follows outputSchema",
            test_structured_content_follows_its_schema,
        ),
        (
            "SHOULD",
            "repeat structured content as JSON in the text",
            "unmet: models read the same as Markdown with links, in fewer tokens",
        ),
        ("SHOULD", "resources for embedded resources", "does not apply: none is embedded"),
    ],
    "2026-07-28/server/tools#error-handling": [
        ("MUST", "an unknown tool is a protocol error", test_an_unknown_tool_is_a_protocol_error),
        ("MUST", "a malformed call is a protocol error", test_a_call_that_is_no_call_is_refused),
        ("MUST", "invalid input is a tool's error", test_invalid_arguments_are_told_to_the_model),
    ],
    "2026-07-28/server/tools#security-considerations": [
        ("MUST", "validate inputs", hostile.test_wrong_types_everywhere),
        ("MUST", "control access", hostile.test_pages_of_other_origins),
        ("MUST", "limit the rate of calls", test_calls_are_limited),
        ("MUST", "limit the rate of questions", test_questions_are_limited),
        ("MUST", "sanitize outputs", test_results_are_text),
    ],
    "2026-07-28/server/resources#capabilities": [
        ("MUST", "declare resources", test_discover_names_the_versions_and_capabilities),
        ("MUST", "answer resources/list", clients.test_resources),
        ("MUST NOT", "vary by connection", test_what_may_be_shared_is_the_same_for_everyone),
        ("SHOULD", "tell changes if listChanged", NO_SUBSCRIPTIONS),
    ],
    "2026-07-28/server/resources#common-uri-schemes": [
        ("SHOULD", "https only for what clients can fetch", test_resources_are_the_pages),
        ("MUST", "own schemes follow RFC 3986", test_resources_are_the_pages),
    ],
    "2026-07-28/server/resources#error-handling": [
        ("MUST", "an unknown resource is -32602", test_an_unknown_resource_is_an_error),
        ("MUST NOT", "empty contents for it", test_an_unknown_resource_is_an_error),
        ("SHOULD", "-32603 for internal errors", "met: as every unexpected exception on this path"),
    ],
    "2026-07-28/server/resources#security-considerations": [
        ("MUST", "validate URIs", test_an_unknown_resource_is_an_error),
        ("SHOULD", "control access", "does not apply: pages are public"),
        ("MUST", "encode binary data", "does not apply: pages are text"),
        ("MUST", "no traversal of directories", test_an_unknown_resource_is_an_error),
    ],
    "2026-07-28/server/prompts": [
        ("MUST", "declare prompts, answer prompts/list, validate arguments", NO_PROMPTS),
        ("MUST", "be unknown without the capability", test_an_unknown_method_is_not_found),
    ],
    "2026-07-28/server/utilities/caching": [
        ("MUST", "hints on results of six methods", test_a_cacheable_result_says_for_how_long),
        ("MUST", "ttlMs is at least 0", test_a_cacheable_result_says_for_how_long),
        ("MUST", "one cacheScope for all pages of a list", test_pages_of_a_list),
        (
            "MUST",
            "public is the same for everyone",
            test_what_may_be_shared_is_the_same_for_everyone,
        ),
        ("MUST NOT", "rely on cacheScope for access", "does not apply: pages are public"),
    ],
    "2026-07-28/server/utilities/completion": [
        ("MUST", "declare, validate, limit and protect completions", NO_COMPLETION),
        ("SHOULD", "-32601 without the capability", test_an_unknown_method_is_not_found),
    ],
    "2026-07-28/server/utilities/logging": [
        ("MUST", "declare logging if messages are sent", NO_LOGGING),
        ("MUST NOT", "send log messages unasked", test_no_log_messages_are_sent),
        (
            "SHOULD",
            "an unknown level is -32602",
            "unmet: without log messages, the level has no use",
        ),
        ("SHOULD NOT", "adopt it newly", test_no_capability_is_declared_that_is_not_offered),
    ],
    "2026-07-28/server/utilities/pagination": [
        ("SHOULD", "stable cursors", test_pages_of_a_list),
        ("SHOULD", "an invalid cursor is -32602", test_an_invalid_cursor_is_refused),
    ],
    "2025-11-25/basic": [
        ("MUST", "repeat the request's id", test_a_response_has_the_id_of_its_request),
        (
            "MUST",
            "results follow the schema",
            test_a_result_of_an_earlier_version_follows_its_schema,
        ),
        ("MUST NOT", "answer a notification", test_a_notification_is_accepted_without_a_body),
    ],
    "2025-11-25/basic/lifecycle": [
        (
            "MUST",
            "answer initialize with capabilities",
            test_initialize_answers_with_the_same_version,
        ),
        (
            "MUST",
            "the requested version if supported",
            test_initialize_answers_with_the_same_version,
        ),
        ("MUST", "else another", test_initialize_answers_an_unknown_version_with_the_latest),
        ("SHOULD", "namely the latest", test_initialize_answers_an_unknown_version_with_the_latest),
        ("SHOULD NOT", "send requests before initialized", NO_REQUESTS),
        ("MUST", "keep to the negotiated version", clients.test_connecting),
        (
            "MUST",
            "use only declared capabilities",
            test_no_capability_is_declared_that_is_not_offered,
        ),
        ("SHOULD", "timeouts for requests that are sent", NO_REQUESTS),
        (
            "SHOULD",
            "handle a version mismatch",
            test_an_unsupported_version_in_the_header_is_refused,
        ),
    ],
    "2025-11-25/basic/transports#security-warning": [
        ("MUST", "validate Origin: 403", test_a_foreign_origin_is_refused),
    ],
    "2025-11-25/basic/transports#sending-messages-to-the-server": [
        ("MUST", "one endpoint with POST and GET", test_only_post_is_allowed),
        ("MUST", "accept a notification with 202", test_a_notification_is_accepted_without_a_body),
        ("MUST", "refuse a response with an error", test_a_response_of_a_client_is_refused),
        ("MUST", "answer with JSON or an event stream", clients.test_asking),
        ("SHOULD", "begin a stream with an event id", NO_EVENT_IDS),
        ("SHOULD", "send retry before closing early", NO_EVENT_IDS),
        ("SHOULD", "send the response on the stream", clients.test_asking),
        ("SHOULD", "end the stream after it", clients.test_asking),
        (
            "SHOULD NOT",
            "take a disconnection for a cancellation",
            "unmet: streams cannot be resumed, so the answer would be paid for and lost",
        ),
    ],
    "2025-11-25/basic/transports#listening-for-messages-from-the-server": [
        ("MUST", "a stream or 405 for GET", test_only_post_is_allowed),
        ("MUST NOT", "send a response on the stream of a GET", test_only_post_is_allowed),
    ],
    "2025-11-25/basic/transports#multiple-connections": [
        ("MUST NOT", "send a message on several streams", "does not apply: one stream a request"),
    ],
    "2025-11-25/basic/transports#resumability-and-redelivery": [
        ("MUST", "event ids are unique", NO_EVENT_IDS),
        ("MUST NOT", "replay messages of other streams", NO_EVENT_IDS),
    ],
    "2025-11-25/basic/transports#session-management": [
        ("MUST", "a session id is visible ASCII and secret", NO_SESSIONS),
        ("MUST", "404 for an ended session", NO_SESSIONS),
    ],
    "2025-11-25/basic/transports#protocol-version-header": [
        (
            "MUST",
            "400 for an unsupported one",
            test_an_unsupported_version_in_the_header_is_refused,
        ),
        (
            "SHOULD",
            "assume 2025-03-26 without one",
            "unmet: that version demands batches; see test_an_earlier_request_without_a_version",
        ),
    ],
    "2025-11-25/basic/utilities/ping": [
        ("MUST", "answer at once, with an empty result", test_a_ping_is_answered_empty),
        ("SHOULD", "ping the other side", NO_REQUESTS),
    ],
    "2025-11-25/basic/utilities/progress": [
        ("MUST", "only tokens of a request, increasing", clients.test_progress_tells_the_answer),
        ("MUST", "stop at the end", clients.test_progress_tells_the_answer),
        ("MUST", "keep a token during a task", "does not apply: no tasks"),
    ],
    "2025-11-25/basic/utilities/cancellation": [
        (
            "SHOULD",
            "stop a request that is cancelled by a notice",
            "unmet: no session connects the two; a client that closes the stream cancels",
        ),
        ("SHOULD", "ignore invalid cancellations", test_a_notification_is_accepted_without_a_body),
    ],
    "2025-11-25/basic/utilities/tasks": [
        ("MUST", "declare and keep tasks", "does not apply: no tasks"),
    ],
    "2025-11-25/basic/authorization": [
        ("MUST", "Protected Resource Metadata, and access tokens", NO_AUTHORIZATION),
    ],
    "2025-11-25/server/utilities": [
        ("MUST", "declare logging and completions", NO_LOGGING),
        ("SHOULD", "-32601 without the capability", test_an_unknown_method_is_not_found),
    ],
    "2025-11-25/server": [
        ("MUST", "declare tools and resources", test_initialize_answers_with_the_same_version),
        ("MUST", "structured content follows outputSchema", clients.test_searching),
        ("SHOULD", "an unknown resource is -32002", test_an_earlier_version_has_its_own_code),
        ("SHOULD", "an invalid cursor is -32602", clients.test_errors_of_the_protocol),
        ("MUST", "validate inputs and URIs", hostile.test_wrong_types_everywhere),
        ("MUST", "limit the rate of calls", test_calls_are_limited),
    ],
    "2025-06-18": [
        ("MUST", "as 2025-11-25", test_a_result_of_an_earlier_version_follows_its_schema),
        ("MUST", "no batches", test_a_batch_is_refused),
        ("SHOULD NOT", "close a stream before its response", clients.test_asking),
    ],
}


@pytest.mark.parametrize("section", DEMANDS)
def test_each_demand_has_a_test_or_a_reason(section: str) -> None:
    for level, demand, shown in DEMANDS[section]:
        assert level in ("MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY"), demand
        if isinstance(shown, str):
            assert shown.startswith(("met: ", "unmet: ", "does not apply: ")), demand
        else:
            assert shown.__name__.startswith("test_"), demand


def test_what_is_unmet_is_never_a_must() -> None:
    unmet = [
        (section, level, demand)
        for section, demands in DEMANDS.items()
        for level, demand, shown in demands
        if isinstance(shown, str) and shown.startswith("unmet: ")
    ]
    assert all(level in ("SHOULD", "SHOULD NOT") for _, level, _ in unmet), unmet
