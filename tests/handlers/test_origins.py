"""CORS: exactly the configured origins are allowed."""

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.api import Api, listening, serving
from tests.conftest import MakeSettings
from tests.limits import use_up
from tests.tiny_book import SITE
from tests.upstream import Drop, Hang, Upstream, delta

FOREIGN = "https://evil.example"
WANTED_HEADERS = (
    "Content-Type",
    "Accept",
    "Authorization",
    "X-API-Key",
    "X-Anonymous-Session-ID",
    "X-Request-Id",
)


def readable(headers: object, origin: str = SITE) -> bool:
    get = headers.get  # type: ignore[attr-defined]
    return bool(
        get("Access-Control-Allow-Origin") == origin
        and get("Access-Control-Allow-Credentials") == "true"
    )


async def test_an_allowed_origin_can_read_every_status(
    generating: Api, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Origin": SITE}
    answers = {
        200: await generating.ask("tide", headers=headers),
        400: await generating.ask("", headers=headers),
        404: await generating.get("/nothing", headers=headers),
        405: await generating.get("/chat", headers=headers),
        401: await generating.post("/ingest", headers=headers),
        413: await generating.post("/chat", data=b"x" * 300_000, headers=headers),
        415: await generating.post(
            "/chat", data=b"x", headers={**headers, "Content-Type": "text/plain"}
        ),
    }
    monkeypatch.setattr(generating.services.store, "manifest", None)
    answers[500] = await generating.ask("tide", headers=headers)
    await use_up(generating, 16)
    answers[429] = await generating.ask("tide", headers=headers)
    for status, answer in answers.items():
        assert answer.status == status
        assert readable(answer.headers), status


async def test_an_allowed_origin_can_read_a_stream_and_its_headers(api: Api) -> None:
    answer = await api.ask("tide", stream=True, headers={"Origin": SITE})
    assert readable(answer.headers)
    exposed = {name.strip() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
    assert exposed >= {
        "Retry-After",
        "RateLimit-Limit",
        "RateLimit-Remaining",
        "RateLimit-Reset",
        "X-Session-Id",
        "X-Request-Id",
    }
    assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize("path", ["/chat", "/search", "/ingest", "/ingest/status", "/health"])
async def test_a_preflight_is_answered(api: Api, path: str) -> None:
    answer = await api.request(
        "OPTIONS",
        path,
        headers={
            "Origin": SITE,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": ", ".join(WANTED_HEADERS).lower(),
        },
    )
    assert answer.status in (200, 204)
    assert readable(answer.headers)
    allowed = {n.strip().lower() for n in answer.headers["Access-Control-Allow-Headers"].split(",")}
    assert allowed >= {name.lower() for name in WANTED_HEADERS}
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]


@pytest.mark.parametrize(
    "origin",
    [
        FOREIGN,
        "null",
        "",
        "*",
        "http://book.example",
        "https://book.example:8443",
        "https://book.example.evil.example",
        "https://evil-book.example",
        "https://evil.example/https://book.example",
        "https://bookXexample",
        f"{SITE}/",
        f"{SITE} {FOREIGN}",
    ],
)
@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
async def test_a_foreign_origin_gets_no_header(api: Api, origin: str, method: str) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    answer = await api.request(
        method, "/chat", headers=headers, json={"question": "tide", "stream": False}
    )
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_a_foreign_page_spends_nothing(generating: Api, upstream: Upstream) -> None:
    """The browser would block the answer, but the tokens would have been spent."""
    answer = await generating.ask("tide", headers={"Origin": FOREIGN})
    assert answer.status == 403
    assert answer.json()["code"] == "FORBIDDEN"
    assert upstream.chats() == []


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site"])
async def test_an_image_or_a_link_of_another_page_spends_nothing(
    generating: Api, upstream: Upstream, site: str
) -> None:
    """Browsers send no Origin with them."""
    for origin in ({}, {"Origin": ""}):
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors", **origin}
        for answer in (
            await generating.get("/search?q=tide", headers=headers),
            await generating.post("/search", {"query": "tide"}, headers=headers),
            await generating.ask("tide", headers=headers),
        ):
            assert answer.status == 403
            assert answer.json()["code"] == "FORBIDDEN"
    assert upstream.chats() == []
    for headers in ({"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": site, "Origin": SITE}):
        assert (await generating.get("/search?q=tide", headers=headers)).status == 200


async def test_the_api_s_own_page_may_ask(api: Api) -> None:
    answer = await api.ask("tide", headers={"Origin": "http://localhost", "Host": "localhost"})
    assert answer.status == 200


async def test_a_caller_that_is_no_browser_needs_no_origin(api: Api) -> None:
    answer = await api.ask("tide")
    assert answer.status == 200
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_an_origin_can_be_demanded(make_settings: MakeSettings) -> None:
    async with serving(make_settings(require_origin=True)) as api:
        for named in ({"Origin": SITE}, {"Sec-Fetch-Site": "same-origin"}):
            assert (await api.ask("tide", headers=named)).status == 200
            assert (await api.get("/search?q=tide", headers=named)).status == 200
        for unnamed in ({}, {"Origin": ""}, {"Sec-Fetch-Site": "cross-site"}):
            answer = await api.ask("tide", headers=unnamed)
            assert answer.status == 403
            assert "REQUIRE_ORIGIN" in answer.json()["error"]
            assert (await api.get("/search?q=tide", headers=unnamed)).status == 403
        assert (await api.ask("tide", headers={"Origin": FOREIGN})).status == 403
        assert (await api.get("/health")).status == 200


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1:8000"])
async def test_local_development_is_allowed_unless_configured(
    make_settings: MakeSettings, origin: str
) -> None:
    async with serving(make_settings()) as api:
        assert readable((await api.get("/health", headers={"Origin": origin})).headers, origin)
    async with serving(make_settings(allowed_origins=("https://other.example",))) as api:
        for refused in (origin, SITE):
            answer = await api.get("/health", headers={"Origin": refused})
            assert not readable(answer.headers, refused)
        answer = await api.get("/health", headers={"Origin": "https://other.example"})
        assert readable(answer.headers, "https://other.example")


async def test_no_cookie_is_ever_set(api: Api) -> None:
    for answer in (
        await api.ask("tide", headers={"Origin": SITE, "Cookie": "session=abc"}),
        await api.get("/"),
        await api.get("/health"),
    ):
        assert "Set-Cookie" not in answer.headers
        if answer.headers["Content-Type"] == "application/json":
            assert json.loads(answer.content)


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(8):
        yield b" " * 65_536


@pytest.mark.parametrize("origin", [SITE, FOREIGN])
async def test_what_a_browser_may_read(
    make_settings: MakeSettings, upstream: Upstream, origin: str
) -> None:
    """Every response to an allowed page has CORS headers, and none to other pages."""
    upstream.replies.extend([[delta("The tide "), Drop()], [Hang()]])
    settings = make_settings(openai_base_url=upstream.base_url, stream_timeout=0.3)
    body = {"question": "When does the tide turn?"}
    headers = {"Origin": origin, "Content-Type": "application/json"}
    seen = []
    async with (
        listening(settings) as address,
        aiohttp.ClientSession(address, headers=headers) as http,
    ):

        async def ask(method: str, path: str, **fields: object) -> int:
            async with http.request(method, path, **fields) as answer:  # type: ignore[arg-type]
                await answer.read()
                allowed = readable(answer.headers)
                assert allowed is (origin == SITE), (path, answer.status, answer.headers)
                assert "Origin" in answer.headers["Vary"]
                assert answer.headers["X-Request-Id"]
                if allowed:
                    exposed = answer.headers["Access-Control-Expose-Headers"]
                    assert {"Retry-After", "X-Request-Id"} <= {*exposed.split(", ")}
                return answer.status

        seen.append(await ask("GET", "/nothing"))
        seen.append(await ask("PUT", "/chat"))
        seen.append(await ask("POST", "/chat", data=pieces()))
        seen.append(await ask("POST", "/chat", data=b"{}"))
        seen.append(await ask("POST", "/ingest"))
        seen.append(await ask("POST", "/chat", json=body))
        seen.append(await ask("POST", "/chat", json=body | {"stream": False}))
        while (status := await ask("POST", "/chat", data=b"{}")) != 429:
            assert status in (400, 403)
    asked = [200, 504] if origin == SITE else [403, 403]
    refused = 400 if origin == SITE else 403
    assert seen == [404, 405, 413, refused, 401, *asked]
    assert bool(upstream.chats()) is (origin == SITE)
