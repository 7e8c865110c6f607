"""GET /widget.js and GET /widget/<file>"""

import gzip
from pathlib import Path

import pytest

import handlers.widget
from tests.api import Api
from tests.tiny_book import SITE

SCRIPT = 'console.log("Grüße");\n' * 100


@pytest.fixture(autouse=True)
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of built files, so that the tests do not depend on the present build."""
    (tmp_path / "widget.js").write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "widget").mkdir()
    (tmp_path / "widget" / "app-1a2b3c.js").write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "widget" / "notes.txt").write_text("no part of the widget")
    (tmp_path / "secret.js").write_text("no part of the widget")
    monkeypatch.setattr(handlers.widget, "ASSETS", tmp_path)
    return tmp_path


FILES = {
    "/widget.js": "public, max-age=600, stale-while-revalidate=86400",
    "/widget/app-1a2b3c.js": "public, max-age=31536000, immutable",
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", FILES)
async def test_a_file_of_the_widget(api: Api, path: str, method: str) -> None:
    answer = await api.request(method, path)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer.headers["Cache-Control"] == FILES[path]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert int(answer.headers["Content-Length"]) == len(SCRIPT.encode())
    if method == "GET":
        assert answer.text == SCRIPT


@pytest.mark.parametrize("origin", [None, SITE, "https://any.example", "null"])
@pytest.mark.parametrize("path", FILES)
async def test_any_page_may_load_it_without_credentials(
    api: Api, path: str, origin: str | None
) -> None:
    """Browsers refuse `*` together with credentials."""
    answer = await api.get(path, headers={"Origin": origin} if origin else {})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "Origin" not in answer.headers["Vary"]


@pytest.mark.parametrize("path", FILES)
async def test_it_is_compressed_for_browsers(api: Api, path: str) -> None:
    answer = await api.get(path, headers={"Accept-Encoding": "gzip, deflate, br"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert len(answer.content) < len(SCRIPT) / 4
    assert gzip.decompress(answer.content).decode() == SCRIPT


@pytest.mark.parametrize("accepted", ["", "br", "gzip;q=0", "identity"])
async def test_it_is_not_compressed_for_others(api: Api, accepted: str) -> None:
    answer = await api.get("/widget.js", headers={"Accept-Encoding": accepted})
    assert "Content-Encoding" not in answer.headers
    assert answer.text == SCRIPT
    assert answer.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize("encoding", ["gzip", ""])
@pytest.mark.parametrize("path", FILES)
async def test_a_known_file_is_not_sent_again(api: Api, path: str, encoding: str) -> None:
    etag = (await api.get(path)).headers["ETag"]
    again = await api.get(path, headers={"If-None-Match": etag, "Accept-Encoding": encoding})
    assert again.status == 304
    assert again.content == b""
    assert again.headers["ETag"] == etag
    assert again.headers["Cache-Control"] == FILES[path]
    assert again.headers["Access-Control-Allow-Origin"] == "*"


async def test_a_new_build_is_served_at_once(api: Api, built: Path) -> None:
    before = await api.get("/widget.js")
    (built / "widget.js").write_text("new")
    after = await api.get("/widget.js", headers={"If-None-Match": before.headers["ETag"]})
    assert (after.status, after.text) == (200, "new")


async def test_the_loader_of_another_version_gets_the_present_app(api: Api) -> None:
    """Browsers use a loader for a day. Its app is gone after an update of Quire."""
    answer = await api.get("/widget/app-9z8y7x.js", headers={"Origin": "https://any.example"})
    assert (answer.status, answer.text) == (200, SCRIPT)
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_without_a_build_there_is_no_app(api: Api, built: Path) -> None:
    (built / "widget" / "app-1a2b3c.js").unlink()
    assert (await api.get("/widget/app-9z8y7x.js")).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/widget/",
        "/widget/app.js",
        "/widget/de-9z8y7x.js",
        "/widget/app-%2e%2e.js",
        "/widget/notes.txt",
        "/widget/../secret.js",
        "/widget/..%2fsecret.js",
        "/widget/%2e%2e%2fsecret.js",
        "/widget/..%5csecret.js",
        "/widget/%00.js",
        "/widget/.js",
        "/widget/x/app-1a2b3c.js",
        f"/widget/{'a' * 5000}.js",
        f"/widget/app-{'a' * 5000}.js",
    ],
)
async def test_there_is_nothing_else(api: Api, path: str) -> None:
    answer = await api.get(path)
    assert answer.status == 404
    assert answer.json()["code"] == "NOT_FOUND"


async def test_the_files_spend_no_quota(api: Api) -> None:
    for _ in range(130):
        assert (await api.get("/widget.js")).status == 200
    assert "RateLimit-Limit" not in (await api.get("/widget.js")).headers
