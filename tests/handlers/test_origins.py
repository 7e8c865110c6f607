"""CORS: exactly the configured origins are allowed."""

import io
import json
import logging
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from lib.settings import Settings
from tests.api import ADMIN_KEY, Api, listening, serving
from tests.conftest import MakeSettings
from tests.limits import use_up
from tests.qdrant_server import running_qdrant
from tests.stores import KEY
from tests.tiny_book import SITE, write_book
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


OWN = "https://own.example"
OTHER = "https://other.example"


def site_files(site_url: str) -> dict[str, str]:
    return {
        "mkdocs.yml": f"site_name: Harbour\nsite_url: {site_url}/book/\n",
        "docs/index.md": "# Harbour\n\nThe tide turns every six hours.\n",
    }


over_http = pytest.mark.filterwarnings("ignore:Api key is used with an insecure:UserWarning")


@pytest.fixture(params=["embedded", "server"])
async def settings(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Settings]:
    """A book whose configuration has the site's address, and no SITE_URL."""
    own = Settings(
        book_content_path=write_book(tmp_path / "book", site_files(OWN)),
        qdrant_path=tmp_path / "index",
        admin_api_key=ADMIN_KEY,
    )
    async with AsyncExitStack() as stack:
        if request.param == "server":
            running = running_qdrant(tmp_path / "server", api_key=KEY, strict=True)
            server = await stack.enter_async_context(running)
            own = replace(own, qdrant_url=server.url, qdrant_api_key=KEY)
        yield own


async def allows(api: Api, origin: str) -> bool:
    """Whether pages of `origin` can read, ask and read errors. All or nothing."""
    headers = {"Origin": origin}
    preflight = {**headers, "Access-Control-Request-Method": "POST"}
    answers = [
        await api.get("/health", headers=headers),
        await api.get("/nothing", headers=headers),
        await api.request("OPTIONS", "/chat", headers=preflight),
        await api.ask("When does the tide turn?", headers=headers),
    ]
    assert answers[-1].status in (200, 403)
    found = {readable(each.headers, origin) for each in answers}
    found.add(answers[-1].status == 200)
    assert len(found) == 1, [(each.status, each.headers) for each in answers]
    return found.pop()


@over_http
async def test_the_origin_in_the_site_s_configuration_is_allowed(settings: Settings) -> None:
    async with serving(settings) as api:
        await api.ingest()
        assert await allows(api, OWN)
        assert not await allows(api, OTHER)
        assert await allows(api, "http://localhost:3000")
    async with serving(settings) as api:  # from the index
        assert await allows(api, OWN)


@over_http
async def test_a_pushed_book_brings_its_own_origin(settings: Settings) -> None:
    async with serving(settings) as api:
        await api.ingest()
        assert await allows(api, OWN)
        answer = await api.as_admin("POST", "/ingest/archive", data=tar_of(site_files(OTHER)))
        assert answer.status == 200
        await api.ingest()
        assert await allows(api, OTHER)
        assert not await allows(api, OWN)


def tar_of(files: Mapping[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


@over_http
async def test_configured_origins_replace_that_of_the_site(settings: Settings) -> None:
    async with serving(replace(settings, allowed_origins=(OTHER,))) as api:
        await api.ingest()
        assert not await allows(api, OWN)
        assert await allows(api, OTHER)


async def test_without_an_index_only_configured_origins_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    settings = Settings(
        book_content_path=tmp_path / "empty", qdrant_path=tmp_path / "index", site_url=SITE
    )
    async with serving(settings) as api:
        for origin, allowed in ((SITE, True), (OWN, False)):
            answer = await api.get("/health", headers={"Origin": origin})
            assert readable(answer.headers, origin) is allowed


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in caplog.records if each.name == "lib.origins"]


async def test_a_refused_origin_is_logged_once_with_its_remedy(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    for path in ("/health", "/widget/config.json", "/nothing"):
        await api.get(path, headers={"Origin": OTHER})
    await api.get("/health", headers={"Origin": SITE})
    await api.get("/health", headers={"Origin": "http://localhost", "Host": "localhost"})
    assert refusals(caplog) == [
        f"Refused a page of {OTHER}. To allow it, set ALLOWED_ORIGINS={SITE},{OTHER}"
    ]
    levels = {each.levelno for each in caplog.records if "Refused" in each.getMessage()}
    assert levels == {logging.WARNING}


async def test_a_page_without_an_origin_is_explained(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    await api.get("/health", headers={"Origin": "null"})
    (message,) = refusals(caplog)
    assert "file" in message


@pytest.mark.parametrize(
    "origin",
    [
        "https://x.example ERROR forged",
        "https://x.example\x1b[2J",
        "https://user:secret@x.example",
        "https://x.example/path",
        "https://" + "x" * 10_000,
        "javascript:alert(1)",
        "https://ex\u00e4mple.org",
    ],
)
async def test_a_forged_origin_is_not_logged(
    api: Api, caplog: pytest.LogCaptureFixture, origin: str
) -> None:
    await api.get("/health", headers={"Origin": origin})
    assert refusals(caplog) == []


async def test_invented_origins_are_logged_up_to_a_limit(
    api: Api, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lib.origins._MAX_LOGGED", 3)
    for number in range(5):
        await api.get("/health", headers={"Origin": f"https://x{number}.example"})
    assert len(refusals(caplog)) == 3
