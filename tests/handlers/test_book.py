"""GET /book/…: the pages that Quire serves itself, and their table of contents at /"""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit
from zlib import crc32

import numpy as np
import pytest

from handlers import limits
from lib import book_pages
from lib.book_pages import _PageLink, parts_of
from lib.embedding import Vectors
from lib.embedding_e5 import _E5, DIMENSION
from lib.ingest import IngestRequest
from lib.services import open_services
from lib.settings import Settings
from lib.store import all_urls
from tests.api import ADMIN_KEY, Api, Response, serving
from tests.conftest import wait_for_ingestion
from tests.handbook import CHAPTERS, ROOT
from tests.lib.test_rendering import check_safe
from tests.tiny_book import write_book

BOOK = {
    "quire.toml": 'title = "A <b>harbour</b>"\n',
    "index.md": "# Welcome\n\n[Tides](guide/tides.md), then [mooring](guide/mooring.md).\n",
    "about.md": "---\ntitle: About & more\n---\n\nNo heading here.\n",
    "guide/index.md": "# The guide\n\nStart here.\n\n## First steps\n\nLook at the water.\n",
    "guide/mooring.md": "# Mooring\n\nTwo lines. See [tides](tides.md#currents) or [home](../).\n",
    "guide/tides.md": "# Tides\n\nThe tide turns.\n\n## Currents\n\nThree knots.\n",
    "01-old_log/odd name?.md": "# Odd\n\n<script>alert(1)</script> A log entry.\n",
    "guide/draft.md": "---\ndraft: true\n---\n\n# Draft\n\nUnfinished.\n",
    ".hidden.md": "# Hidden\n\nSecret.\n",
    "_partial.md": "# Partial\n\nSecret.\n",
    "notes.txt": "Secret.",
}


def make(folder: Path, files: dict[str, str] = BOOK, **changes: Any) -> Settings:
    return Settings(
        book_content_path=write_book(folder / "book", files),
        qdrant_path=folder / "index",
        admin_api_key=ADMIN_KEY,
        **changes,
    )


def _any_vector(_: Any, text: str) -> Vectors:
    vector = np.random.default_rng(crc32(text.encode())).standard_normal(DIMENSION)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


async def index(settings: Settings) -> None:
    """Index a book with any vectors: nothing is searched for here, and the real ones take long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_E5, "document", _any_vector)
        async with open_services(settings) as services:
            await services.ingestion.start(IngestRequest())
            await wait_for_ingestion(services.ingestion)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make(tmp_path)


@pytest.fixture
async def own(settings: Settings) -> AsyncIterator[Api]:
    await index(settings)
    async with serving(settings) as api:
        yield api


def hrefs(html: str) -> list[str]:
    return re.findall(r'<a [^>]*?href="([^"]*)"', html)


def main_of(html: str) -> str:
    return html.partition("<main")[2].partition('<nav class="turn"')[0]


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("/book/", "Welcome"),
        ("/book/about", "About &amp; more"),
        ("/book/guide/", "The guide"),
        ("/book/guide/tides", "Tides"),
        ("/book/01-old_log/odd%20name%3F", "Odd"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_page_of_the_book(own: Api, path: str, title: str, method: str) -> None:
    answer = await own.request(method, path)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-cache"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'" in policy
    assert "unsafe" not in policy
    if method == "GET":
        assert f"<title>{title} · A &lt;b&gt;harbour&lt;/b&gt;</title>" in answer.text
        assert re.search(rf"<h1[^>]*>{title}</h1>", answer.text)
        assert '<html lang="en">' in answer.text
        assert re.search(r'<script src="(\.\./)+widget.js" defer></script>', answer.text)


@pytest.mark.parametrize(
    "path",
    [
        *("guide/draft", ".hidden", "_partial", "notes.txt", "notes", "quire.toml", "quire"),
        *("guide/draft.md", "index", "guide", "guide/tides/", "nothing", "guide/../about"),
        *("../main.py", "..%2fmain.py", "%2e%2e/%2e%2e/etc/passwd", "%00"),
        *("guide//tides", "a" * 5_000, "x/" * 500, "%ff", "\u202e", "guide%5ctides"),
    ],
)
async def test_nothing_else_is_served(own: Api, path: str) -> None:
    answer = await own.get(f"/book/{path}")
    assert answer.status == 404
    assert answer.json()["code"] == "NOT_FOUND"
    assert "Secret" not in answer.text


async def test_a_browser_gets_errors_as_a_page(own: Api) -> None:
    client = own.app.test_client()
    answer = await client.get("/book/a/b/c", headers={"Accept": "text/html,*/*;q=0.8"})
    text = await answer.get_data(as_text=True)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "ETag" not in answer.headers
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert "The book has no such page." in text
    assert hrefs(text) == ["../../../"]


@pytest.mark.parametrize("accepted", ["*/*", "application/json", "image/png", ""])
async def test_others_get_errors_as_json(own: Api, accepted: str) -> None:
    answer = await own.get("/book/nothing", headers={"Accept": accepted})
    assert (answer.status, answer.json()["code"]) == (404, "NOT_FOUND")


async def crawl(api: Api, prefix: str = "") -> dict[str, str]:
    """Follow all relative links from the page at /, as a browser behind a proxy's path does."""
    seen: dict[str, str] = {}
    waiting, fragments = [f"{prefix}/"], []
    while waiting:
        url = waiting.pop()
        if url in seen:
            continue
        assert url.startswith(f"{prefix}/"), url
        answer = await api.get(url.removeprefix(prefix))
        assert answer.status == 200, url
        seen[url] = answer.text
        if not answer.headers["Content-Type"].startswith("text/html"):
            continue
        for link in [
            *hrefs(answer.text),
            *re.findall(r'(?:src|<link [^>]*href)="([^"]+)"', answer.text),
        ]:
            if not urlsplit(link).scheme:
                target, _, fragment = urljoin(url, link).partition("#")
                waiting.append(target)
                fragments.append((target, fragment))
    for target, fragment in fragments:
        assert not fragment or f'id="{unquote(fragment)}"' in seen[target], (target, fragment)
    return seen


@pytest.mark.parametrize("prefix", ["", "/tools/quire"])
async def test_all_links_lead_somewhere_also_below_a_path(own: Api, prefix: str) -> None:
    seen = await crawl(own, prefix)
    pages = {url.removeprefix(prefix) for url in seen if "/book/" in url}
    assert pages == {
        "/book/",
        "/book/about",
        "/book/guide/",
        "/book/guide/mooring",
        "/book/guide/tides",
        "/book/01-old_log/odd%20name%3F",
    }
    assert f"{prefix}/widget.js" in seen


async def test_pages_are_in_the_order_of_the_index_page(own: Api) -> None:
    tides = (await own.get("/book/guide/tides")).text
    turn = hrefs(tides.partition('<nav class="turn"')[2].partition("</nav>")[0])
    assert turn == ["../../book/", "../../book/guide/mooring"]
    assert 'rel="prev"' in tides
    home = (await own.get("/")).text
    assert [link for link in hrefs(home) if link.startswith("book/")][:1] == ["book/"]
    assert home.index("guide/tides") < home.index("guide/mooring")


async def test_the_navigation_shows_the_page_and_its_headings(own: Api) -> None:
    html = (await own.get("/book/guide/tides")).text
    navigation = html.partition('id="_contents"')[2]
    assert '<a href="../../book/guide/tides" aria-current="page">Tides</a>' in navigation
    assert '<a href="#currents">Currents</a>' in navigation
    assert navigation.count("aria-current") == 1


async def test_the_table_of_contents(own: Api) -> None:
    html = (await own.get("/")).text
    assert "<title>A &lt;b&gt;harbour&lt;/b&gt;</title>" in html
    assert '<h1 dir="auto">A &lt;b&gt;harbour&lt;/b&gt;</h1>' in html
    assert '<quire-ask mode="inline"></quire-ask>' in html
    assert "<noscript>" in html
    parts = re.findall(r"<summary[^>]*>([^<]+)", html)
    assert sorted(parts) == ["Old log", "The guide"]
    assert "Draft" not in html


async def test_hostile_markup_of_a_page_is_text(own: Api) -> None:
    html = (await own.get("/book/01-old_log/odd%20name%3F")).text
    assert "alert(1)" not in html.replace("&lt;", "<") or "<script>alert" not in html
    body = main_of(html).partition(">")[2]
    check_safe(body)


async def test_the_folder_of_the_pages_may_be_asked_for_without_a_slash(own: Api) -> None:
    answer = await own.get("/book")
    assert (answer.status, answer.headers["Location"]) == (308, "book/")


async def test_a_page_is_sent_once(own: Api) -> None:
    first = await own.get("/book/about")
    again = await own.get("/book/about", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.content) == (304, b"")


async def test_a_page_is_as_the_index_knows_it(own: Api) -> None:
    """A changed page, or a new one, appears with its index."""
    folder = own.services.settings.book_content_path
    await own.get("/book/about")
    write_book(folder, {"about.md": "# Changed\n\nOther words.\n", "new.md": "# New\n\nWords.\n"})
    assert "No heading here" in (await own.get("/book/about")).text
    assert (await own.get("/book/new")).status == 404
    await own.ingest()
    assert "Other words" in (await own.get("/book/about")).text
    assert (await own.get("/book/new")).status == 200
    (folder / "about.md").unlink()
    await own.ingest()
    assert (await own.get("/book/about")).status == 404


async def test_while_new_contents_are_read_the_book_stays(
    own: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def being_read(_: float) -> None:
        return None

    monkeypatch.setattr(own.services.contents, "get", being_read)
    answer = await own.get("/book/about")
    assert (answer.status, answer.json()["code"]) == (503, "INDEX_NOT_READY")
    assert "are being read" in (await own.get("/")).text
    monkeypatch.undo()
    assert (await own.get("/book/about")).status == 200
    monkeypatch.setattr(own.services.contents, "get", being_read)
    assert (await own.get("/book/guide/tides")).status == 200
    assert "About &amp; more" in (await own.get("/")).text


async def test_a_page_that_became_a_draft_or_a_link_is_gone(own: Api, tmp_path: Path) -> None:
    folder = own.services.settings.book_content_path
    write_book(folder, {"about.md": "---\ndraft: true\n---\n\nSecret.\n"})
    assert (await own.get("/book/about")).status == 404
    (folder / "guide/tides.md").unlink()
    (folder / "guide/tides.md").symlink_to(folder / "notes.txt")
    assert (await own.get("/book/guide/tides")).status == 404


async def test_a_book_without_consent_is_not_served(tmp_path: Path) -> None:
    files = {path: text for path, text in BOOK.items() if path != "quire.toml"}
    settings = make(tmp_path, files)
    await index(settings)
    async with serving(settings) as api:
        assert (await api.get("/book/about")).status == 404
        home = (await api.get("/")).text
        assert "About &amp; more" in home
        assert not [link for link in hrefs(home) if "book" in link]


async def test_the_operator_may_serve_a_book_without_a_configuration(tmp_path: Path) -> None:
    files = {path: text for path, text in BOOK.items() if path != "quire.toml"}
    settings = make(tmp_path, files, site_generator="quire")
    await index(settings)
    async with serving(settings) as api:
        answer = await api.get("/book/about")
        assert answer.status == 200
        assert "<title>About &amp; more · Welcome</title>" in answer.text


async def test_a_book_with_a_site_links_to_it(api: Api) -> None:
    html = (await api.get("/")).text
    assert '<a href="https://book.example/docs/guide/mooring">Mooring</a>' in html
    assert (await api.get("/book/guide/mooring")).status == 404
    assert (await api.get("/book/")).status == 404


async def test_a_site_s_own_folder_of_that_name_is_not_served(tmp_path: Path) -> None:
    files = {"book/a.md": "# A\n\nText.\n", "index.md": "# Home\n\nText.\n"}
    settings = make(tmp_path, files, site_generator="mkdocs", site_url="https://x.example")
    await index(settings)
    async with serving(settings) as api:
        assert "https://x.example/book/a/#a" in await all_urls(api.services.store)
        for path in ("/book/", "/book/a", "/book/a/"):
            assert (await api.get(path)).status == 404


@pytest.mark.parametrize("path", ["", "/quire"])
async def test_with_an_address_citations_are_absolute_and_pages_are_the_same(
    tmp_path: Path, path: str
) -> None:
    settings = make(tmp_path, site_url=f"https://x.example{path}")
    await index(settings)
    async with serving(settings) as api:
        urls = await all_urls(api.services.store)
        assert f"https://x.example{path}/book/guide/tides#currents" in urls
        assert (await api.get("/book/guide/tides")).status == 200
        assert '<a href="book/guide/tides">' in (await api.get("/")).text


async def test_a_part_of_the_folder(tmp_path: Path) -> None:
    """An ingestion of a subfolder links to the pages as the whole book does."""
    settings = make(tmp_path)
    await index(settings)
    async with serving(settings) as api:
        assert (await api.ingest(content_path="guide", force_reindex=True))["status"] == "completed"
        assert (await api.get("/book/guide/tides")).status == 200
        assert (await api.get("/book/about")).status == 404


async def test_an_uploaded_book_is_served_from_its_own_folder(tmp_path: Path) -> None:
    settings = make(tmp_path)
    await index(settings)
    pushed = write_book(
        settings.pushed_content, {"quire.toml": "", "about.md": "# Uploaded\n\nOther words.\n"}
    )
    async with serving(settings) as api:
        services = api.services
        await services.ingestion.start(IngestRequest(force_reindex=True), root=pushed)
        await services.ingestion.wait()
        assert "Other words" in (await api.get("/book/about")).text
        assert (await api.get("/book/guide/tides")).status == 404


async def test_without_an_index_the_pages_say_so(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    settings = Settings(
        book_content_path=empty, qdrant_path=tmp_path / "index", book_title="Harbour"
    )
    async with serving(settings) as api:
        home = await api.get("/")
        assert home.status == 200
        assert "The book is not indexed yet." in home.text
        assert "or wait if one is running.</p>" in home.text
        assert '<h1 dir="auto">Harbour</h1>' in home.text
        answer = await api.get("/book/")
        assert answer.status == 503
        assert answer.json()["code"] == "INDEX_NOT_READY"


async def test_a_folder_that_is_gone(own: Api, tmp_path: Path) -> None:
    (tmp_path / "book").rename(tmp_path / "elsewhere")
    assert (await own.get("/book/about")).status == 404
    assert (await own.get("/")).status == 200


@pytest.mark.parametrize(
    ("paths", "parts"),
    [
        (["a.md", "b.md"], ["|a.md b.md"]),
        (["docs/x/a.md", "docs/y/b.md"], ["X|docs/x/a.md", "Y|docs/y/b.md"]),
        (["docs/x/a.md", "docs/x/b.md"], ["|docs/x/a.md docs/x/b.md"]),
        (["index.md", "x/a.md", "b.md"], ["|index.md b.md", "X|x/a.md"]),
        (["i.md", "02_the-end/a.md"], ["|i.md", "The end|02_the-end/a.md"]),
        (["i.md", "x/a.md", "x/README.md"], ["|i.md", "Title of x/README.md|x/a.md x/README.md"]),
        (["i.md", "x/y/index.md", "x/a.md"], ["|i.md", "X|x/y/index.md x/a.md"]),
        (["i.md", "2024/a.md", "-/b.md"], ["|i.md", "2024|2024/a.md", "-|-/b.md"]),
        ([], []),
    ],
)
def test_parts_are_folders(paths: list[str], parts: list[str]) -> None:
    pages = [_PageLink(f"Title of {path}", None, path) for path in paths]
    found = [
        f"{part.title}|{' '.join(page.file_path for page in part.pages)}"
        for part in parts_of(pages)
    ]
    assert found == parts


async def test_a_long_book_stays_usable(tmp_path: Path) -> None:
    pages = {f"part-{n % 7}/page-{n:03}.md": f"# Page {n}\n\nText.\n" for n in range(300)}
    settings = make(tmp_path, {"quire.toml": "", **pages})
    await index(settings)
    async with serving(settings) as api:
        home = (await api.get("/")).text
        assert len([link for link in hrefs(home) if link.startswith("book/")]) == 300
        assert home.count("<details>") == 7
        page = (await api.get("/book/part-3/page-150")).text
        navigation = page.partition('id="_contents"')[2]
        assert len(hrefs(navigation)) == 6 + len(range(3, 300, 7))
        assert len(page) < 20_000


async def test_a_large_page_is_rendered_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = "".join(f"## Part {n}\n\n{'*a* `b` ' * 40}\n\n" for n in range(400))
    assert len(large) > book_pages._LARGE
    settings = make(tmp_path, {"quire.toml": "", "large.md": large})
    await index(settings)
    async with serving(settings) as api:
        monkeypatch.setattr(book_pages, "render_page", None)
        reading = asyncio.create_task(api.get("/book/large"))
        while not reading.done():
            assert (await api.get("/health")).status == 200
        answer = reading.result()
        assert answer.status == 200
        assert 'id="part-399"' in answer.text
        monkeypatch.setattr(book_pages, "RENDERER", "no.such.program")
        assert (await api.get("/book/large")).status == 200  # from memory


async def test_a_page_beyond_the_limits_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make(tmp_path)
    await index(settings)
    monkeypatch.setattr(book_pages, "_LARGE", 0)
    async with serving(settings) as api:
        with monkeypatch.context() as patch:
            patch.setattr(book_pages, "RENDERER", "no.such.program")
            answer = await api.get("/book/about")
            assert (answer.status, answer.json()["code"]) == (504, "TIMED_OUT")
        assert (await api.get("/book/about")).status == 200


async def test_the_cache_is_bounded(own: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = own.services.book_pages._cache
    for path in ("/book/", "/book/about", "/book/guide/", "/book/guide/tides"):
        assert (await own.get(path)).status == 200
    assert cache.currsize == sum(len(page.html) for page in cache.values()) > 0
    assert cache.maxsize == 8_000_000


@pytest.fixture
async def handbook(tmp_path: Path) -> AsyncIterator[Api]:
    settings = Settings(book_content_path=ROOT / "book_content", qdrant_path=tmp_path / "index")
    await index(settings)
    async with serving(settings) as api:
        yield api


async def test_every_citation_of_the_handbook_opens(handbook: Api) -> None:
    urls = await all_urls(handbook.services.store)
    assert len(urls) > 150
    pages: dict[str, Response] = {}
    for url in urls:
        assert url.startswith("/book/")
        page, _, fragment = url.partition("#")
        if page not in pages:
            pages[page] = await handbook.get(page)
        assert pages[page].status == 200, url
        assert not fragment or f'id="{unquote(fragment)}"' in pages[page].text, url
    assert len(pages) == len(CHAPTERS)


async def test_every_link_of_the_handbook_leads_somewhere(handbook: Api) -> None:
    seen = await crawl(handbook)
    assert len([url for url in seen if "/book/" in url]) == len(CHAPTERS)


def links_of(answer: Response, base: str) -> list[tuple[str, str]]:
    """(relation, address) of the Link header."""
    return [
        (relation, urljoin(base, address))
        for address, relation in re.findall(r'<([^>]*)>; rel="([^"]*)"', answer.headers["Link"])
    ]


LLMS_LINKS = [
    ("describedby", "/llms.txt"),
    ("llms-txt", "/llms.txt"),
    ("llms-full-txt", "/llms-full.txt"),
]


@pytest.mark.parametrize(
    ("page", "markdown"),
    [
        ("/book/", "/book/index.md"),
        ("/book/about", "/book/about.md"),
        ("/book/guide/", "/book/guide/index.md"),
        ("/book/guide/tides", "/book/guide/tides.md"),
        ("/book/01-old_log/odd%20name%3F", "/book/01-old_log/odd%20name%3F.md"),
    ],
)
async def test_a_page_and_its_markdown_link_to_each_other(
    own: Api, page: str, markdown: str
) -> None:
    html = await own.get(page)
    assert links_of(html, page) == [("alternate", markdown), *LLMS_LINKS]
    assert '; rel="alternate"; type="text/markdown"' in html.headers["Link"]
    text = await own.get(markdown)
    assert links_of(text, markdown) == [("canonical", page), *LLMS_LINKS]
    asked = await own.get(page, headers={"Accept": "text/markdown"})
    assert asked.headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert asked.content == text.content
    assert asked.headers["ETag"] != html.headers["ETag"]
    assert links_of(asked, page) == [("canonical", page), *LLMS_LINKS]
    for answer in (html, asked):
        assert "Accept" in answer.headers["Vary"].split(", ")


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_other_pages_link_to_the_files_for_models(own: Api, path: str) -> None:
    assert links_of(await own.get(path), path) == LLMS_LINKS


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("text/markdown", "text/markdown"),
        ("text/markdown, text/html, */*", "text/markdown"),
        ("TEXT/Markdown; charset=utf-8", "text/markdown"),
        ("text/markdown;q=0.9, */*;q=0.1", "text/markdown"),
        ("text/markdown;q=0.5, text/html", "text/html"),
        ("text/markdown;q=0, */*", "text/html"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        ("*/*", "text/html"),
        ("text/*", "text/html"),
        ("image/png", "text/html"),
        ("", "text/html"),
        ("text/markdown;q=x" + ",;" * 2_000, "text/html"),
    ],
)
async def test_the_form_that_the_client_prefers(own: Api, accepted: str, chosen: str) -> None:
    answer = await own.get("/book/about", headers={"Accept": accepted})
    assert answer.status == 200
    assert answer.headers["Content-Type"] == f"{chosen}; charset=utf-8"


async def test_a_page_of_a_site_is_markdown_for_those_who_ask(api: Api) -> None:
    answer = await api.get("/book/guide/mooring", headers={"Accept": "text/markdown"})
    assert answer.status == 200
    assert answer.content == (await api.get("/book/guide/mooring.md")).content
    canonical = ("canonical", "https://book.example/docs/guide/mooring")
    assert links_of(answer, "/book/guide/mooring") == [canonical, *LLMS_LINKS]


@pytest.mark.parametrize("path", ["nothing", "guide/draft", "..%2fmain", "x/" * 500, ""])
async def test_no_other_page_is_markdown(api: Api, path: str) -> None:
    answer = await api.get(f"/book/{path}", headers={"Accept": "text/markdown"})
    assert (answer.status, answer.json()["code"]) == (404, "NOT_FOUND")
    assert "Accept" in answer.headers["Vary"].split(", ")


async def test_both_addresses_of_markdown_share_a_limit(own: Api) -> None:
    async def remaining() -> int:
        return int((await own.get("/book/about.md")).headers["RateLimit-Remaining"])

    before = await remaining()
    for _ in range(40):
        await own.get("/book/about", headers={"Accept": "text/markdown"})
    assert before - await remaining() > 20


async def test_too_many_pages_are_asked_for_as_markdown(
    own: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SEARCH_BURST", 2)
    accept = {"Accept": "text/markdown"}
    statuses = [(await own.get("/book/about", headers=accept)).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert (await own.get("/book/about")).status == 200


async def test_without_contents_the_markdown_has_no_canonical_address(
    own: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def being_read(_: float) -> None:
        return None

    monkeypatch.setattr(own.services.contents, "get", being_read)
    answer = await own.get("/book/about.md")
    assert answer.status == 200
    assert links_of(answer, "/book/about.md") == LLMS_LINKS
