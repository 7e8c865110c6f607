"""GET /book/<page>.md"""

import asyncio
import time
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any

import pytest

from lib.contents import PublishedContents
from lib.embedding_e5 import _E5
from lib.errors import IndexNotReady, NotFound
from lib.page_markdown import PageMarkdown
from lib.page_names import PageNames
from lib.store import page_text
from tests.api import Api, serving
from tests.handlers.test_book import _any_vector, index, make
from tests.qdrant_server import running_qdrant

FIELDS = ["file_path", "text", "start_char", "end_char"]
CODE = "\n".join(f"line_{n} = {n}" for n in range(300))
ROWS = "".join(f"<tr><td>{n}</td><td>{'word ' * 9}</td></tr>" for n in range(60))
BUILT = {
    "index.html": "<html><main><h1>Welcome</h1><p>Look at <a href='guide/'>it</a>.</p></main>",
    "404.html": "<html><main><h1>Not found</h1><p>There is nothing at this address.</p></main>",
    "guide/index.html": "<html><main><h1>Guide</h1><p>Lead.</p><h2 id=a>Empty</h2><h2>More</h2>"
    f"<pre><code class=language-py>{CODE}</code></pre><h2>Then</h2><table>{ROWS}</table>"
    f"<p>{'A sentence with é and 🌊. ' * 90}</p><hr><ul><li>One<ul><li>Two</li></ul></li></ul>"
    "<img alt='The end' src=x.png></main>",
    "guide/long.htm": f"<html><main><h1>Long</h1><p>{'x' * 7_000}</p><p><b>End</b></p></main>",
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_E5, "document", _any_vector)


async def serve(folder: Path, files: dict[str, str], **changes: Any) -> Any:
    settings = make(folder, files, **changes)
    await index(settings)
    return serving(settings)


async def all_chunks(api: Api) -> list[Any]:
    return [each async for batch in api.services.store.payloads(FIELDS) for each in batch]


async def test_offsets_of_html_pages_count_in_the_markdown_that_is_served(tmp_path: Path) -> None:
    async with await serve(tmp_path, BUILT, chunk_tokens=60) as api:
        pages: dict[str, str] = {}
        chunks = await all_chunks(api)
        assert len(chunks) > 20
        for chunk in chunks:
            path = chunk["file_path"]
            if path not in pages:
                answer = await api.get(f"/book/{path.rpartition('.')[0]}.md")
                assert answer.status == 200
                pages[path] = answer.text
            assert pages[path][chunk["start_char"] : chunk["end_char"]] == chunk["text"]
        for query in ("line_7", "Welcome", "sentence", "End"):
            found = (await api.get(f"/search?q={query}&k=10")).json()["passages"]
            for each in found:
                text = pages[each["file_path"]]
                assert text[each["start_char"] : each["end_char"]] == each["text"]
        assert pages["guide/index.html"].startswith("# Guide\n\nLead.")
        assert "The end" in pages["guide/index.html"].splitlines()[-1]
        assert "x" * 7_000 in pages["guide/long.htm"]
        assert await api.services.store.chunks_of("guide/none.html") == []
        assert page_text([]) == ""


async def test_the_answer_is_cached_by_browsers(tmp_path: Path) -> None:
    async with await serve(tmp_path, BUILT) as api:
        answer = await api.get("/book/index.md")
        assert answer.headers["Content-Type"] == "text/markdown; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-cache"
        again = await api.get("/book/index.md", headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status == 304
        assert (await api.request("HEAD", "/book/index.md")).status == 200


@pytest.mark.parametrize("page", ["none", "index.html", "../index", "guide", "%00", "x" * 5_000])
async def test_no_other_page_has_markdown(tmp_path: Path, page: str) -> None:
    async with await serve(tmp_path, BUILT) as api:
        answer = await api.get(f"/book/{page}.md")
        assert answer.status == 404
        assert "path of its file" in answer.json()["error"]


async def test_markdown_pages_are_given_as_readers_see_them(tmp_path: Path) -> None:
    files = {
        "a.md": "---\ntitle: A\n---\n\n# Tides\n\nTwice.\n\n<!-- hidden -->\n\n## Ebb\n\nOut.\n",
        "b.mdx": f"# Code\n\n```py\n{CODE}\n```\n",
        "draft.md": "---\ndraft: true\n---\n\nSecret.\n",
    }
    async with await serve(tmp_path, files) as api:
        assert (await api.get("/book/a.md")).text == "# Tides\n\nTwice.\n\n## Ebb\n\nOut."
        assert (await api.get("/book/b.md")).text == f"# Code\n\n```py\n{CODE}\n```"
        assert (await api.get("/book/draft.md")).status == 404


SECTIONS = {
    "index.md": "# Harbour\n\nA book about *tides*. It is short.\n",
    "guide/index.md": "# Guide\n\nStart.\n",
    "guide/tides.md": "---\ntitle: Tides\n---\n\nBefore all.\n\n# Tides\n\nLead.\n\n## Use "
    "`ebb()`\n\n```py\n# Use `ebb()`\nebb()\n```\n\n### Options\n\nFirst.\n\n"
    "## The $x^2$ law\n\nText.\n\n### Options\n\nSecond.\n\nSetext\n------\n\n"
    "<!-- # hidden -->\n\nUnder it.\n\n## Empty {#own-id}\n\n### Below\n\nLast.\n",
    "odd name?.md": "# Odd\n\n> ## Quoted\n>\n> Inside.\n\n## After\n\nEnd.\n",
    "long.md": f"# Long\n\n## Code\n\n```py\n# Code\n{CODE}\n# Code\n```\n\n## Then\n\nEnd.\n",
    "plain.md": "No heading at all.\n",
}
SITE: dict[str, Any] = {"site_generator": "mkdocs", "site_url": "https://b.example/docs/"}


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[PageMarkdown]:
    """Of a book of Markdown."""
    async with await serve(tmp_path, SECTIONS, **SITE, chunk_tokens=60) as api:
        yield api.services.page_markdown


async def test_a_book_on_a_qdrant_server(tmp_path: Path) -> None:
    async with (
        running_qdrant(tmp_path / "qdrant") as qdrant,
        await serve(tmp_path, SECTIONS, **SITE, qdrant_url=qdrant.url) as api,
    ):
        source = api.services.page_markdown
        assert await source.find("https://b.example/docs/guide/tides/") == "guide/tides.md"
        assert await source.section("guide/tides.md", "setext") == "Setext\n------\n\nUnder it."
        assert await source.book_opening() == "A book about tides. It is short."


FOUND = [
    ("Use ebb()", "## Use `ebb()`\n\n```py\n# Use", "### Options\n\nFirst."),
    ("use `EBB()`", "## Use `ebb()`", "First."),
    ("options", "### Options", "First."),
    ("#options", "### Options", "First."),
    ("options_1", "### Options", "Second."),
    ("Tides > Use ebb() > Options", "### Options", "First."),
    ("Tides > The $x^2$ law > Options", "### Options", "Second."),
    ("Another title > Below", "### Below", "Last."),
    ("The x^2 law", "## The $x^2$ law\n\nText.", "Second."),
    ("the $x^2$ law", "## The $x^2$ law\n\nText.", "Second."),
    ("Setext", "Setext\n------\n\n", "Under it."),
    ("own-id", "## Empty", "### Below\n\nLast."),
    ("#own-id:~:text=Last", "## Empty", "Last."),
    ("Below", "### Below", "Last."),
    ("Tides", "Before all.", "Last."),
    ("#tides", "# Tides\n\nLead.", "Last."),
    ("", "Before all.", "Last."),
]


async def test_a_section_is_a_part_of_its_page(source: PageMarkdown) -> None:
    for heading, begins, ends in FOUND:
        text = await source.section("guide/tides.md", heading)
        assert text in await source.of_file("guide/tides.md")
        assert text.startswith(begins)
        assert text.endswith(ends)


async def test_sections_in_quotes_and_after_long_code(source: PageMarkdown) -> None:
    assert await source.section("odd name?.md", "Quoted") == "> ## Quoted\n>\n> Inside."
    long = await source.section("long.md", "Code")
    assert long.startswith("## Code\n\n```py\n# Code\nline_0")
    assert long.endswith("line_299 = 299\n# Code\n```")
    assert await source.section("long.md", "Then") == "## Then\n\nEnd."


async def test_sections_and_what_is_before_them_are_the_whole_page(tmp_path: Path) -> None:
    """Also in a page of HTML, where the offsets of its passages count."""
    for name, files in (("html", BUILT), ("md", SECTIONS)):
        async with await serve(tmp_path / name, files, chunk_tokens=60) as api:
            source = api.services.page_markdown
            for path in files:
                if path == "404.html":
                    continue
                text = await source.of_file(path)
                page = source._cache[(await api.services.store.manifest()).generation, path]
                starts = [each.start for each in page.headings]
                assert starts == sorted({*starts}), path
                for each in page.headings:
                    found = text[each.start : each.end]
                    assert found.lstrip("> ").startswith("#" * each.level) or "---" in found


async def test_a_section_of_a_page_of_html(tmp_path: Path) -> None:
    async with await serve(tmp_path, BUILT, chunk_tokens=60) as api:
        source = api.services.page_markdown
        more = await source.section("guide/index.html", "more")
        assert more.startswith("## More\n\n```py\nline_0 = 0")
        assert more.endswith("line_299 = 299\n```")
        assert (await source.section("guide/index.html", "a")) == "## Empty"
        assert (await source.section("guide/index.html", "Guide")).endswith("The end")


async def test_an_unknown_heading_lists_those_of_the_page(source: PageMarkdown) -> None:
    with pytest.raises(NotFound, match=r"Its headings are: Tides; Use ebb\(\); Options; The"):
        await source.section("guide/tides.md", "nothing")
    with pytest.raises(NotFound, match="no such page"):
        await source.section("guide/none.md", "Tides")


async def test_a_hostile_heading(source: PageMarkdown) -> None:
    began = time.process_time()
    for heading in ("x" * 1_000_000, "# " * 500_000, "\0", "\ud800", "%" * 1_000_000, "\u202e"):
        with pytest.raises(NotFound):
            await source.section("guide/tides.md", heading)
    assert time.process_time() - began < 1


PLACES = [
    ("guide/tides.md", "guide/tides.md"),
    ("guide/tides", "guide/tides.md"),
    ("./guide/tides.md", "guide/tides.md"),
    ("/guide/tides.md", "guide/tides.md"),
    ("guide/tides.html", "guide/tides.md"),
    ("guide/tides#setext", "guide/tides.md"),
    ("book:///guide/tides.md", "guide/tides.md"),
    ("book:///guide/tides", "guide/tides.md"),
    ("book:///odd%20name%3F.md", "odd name?.md"),
    ("odd name?.md", "odd name?.md"),
    ("guide", "guide/index.md"),
    ("guide/index", "guide/index.md"),
    ("https://b.example/docs/guide/tides/", "guide/tides.md"),
    ("HTTPS://B.example/docs/guide/tides", "guide/tides.md"),
    ("http://b.example/docs/guide/tides.html#setext", "guide/tides.md"),
    ("https://b.example/docs/guide/tides/index.html?x=1", "guide/tides.md"),
    ("https://b.example/docs/guide/tides/#setext:~:text=Under%20it", "guide/tides.md"),
    ("https://b.example/docs/odd%20name%3F/", "odd name?.md"),
    ("https://b.example/docs", "index.md"),
    ("/docs/guide/", "guide/index.md"),
    ("docs/guide/tides", "guide/tides.md"),
    ("/book/guide/tides.md", "guide/tides.md"),
    ("https://quire.example/book/guide/tides.md", "guide/tides.md"),
    ("https://quire.example/below/book/guide/tides.md", "guide/tides.md"),
    ("  guide/tides.md\n", "guide/tides.md"),
    ("/", "index.md"),
]


async def test_a_page_is_found_by_its_path_and_its_address(source: PageMarkdown) -> None:
    for place, path in PLACES:
        assert await source.find(place, "quire.example") == path
        assert await source.of_file(path)


NO_PLACES = [
    *("nothing", "../guide/tides.md", "guide/../../guide/tides.md", "%2e%2e/guide/tides.md"),
    *("/../guide/tides.md/..", "..%2f..%2fetc/passwd", "file:///etc/passwd", "/etc/passwd"),
    *("https://evil.example/docs/guide/tides/", "https://evil.example/book/guide/tides.md"),
    *("https://b.example@evil.example/docs/guide/tides/", "//evil.example/docs/guide/tides"),
    *("https://[b.example/docs/guide/tides", "http://", "https://b.example:1/docs/guide"),
    *("", " ", "\0", "guide/tides.md\0", "%00", "\ud800", "%ed%a0%80", "\u202e", "guide\\tides.md"),
    *("x" * 1_000_000, "x/" * 500_000, "../" * 300_000, "%" * 1_000_000, "book:///" * 9),
]


async def test_no_other_place_is_a_page(source: PageMarkdown) -> None:
    for place in NO_PLACES:
        began = time.process_time()
        with pytest.raises(NotFound, match="no such page") as raised:
            await source.find(place, "quire.example")
        assert time.process_time() - began < 0.5
        assert len(raised.value.message) < 500


async def test_an_unknown_page_names_similar_ones(source: PageMarkdown) -> None:
    with pytest.raises(NotFound, match=r"Similar pages: guide/tides\.md\."):
        await source.find("handbook/tide.md")
    with pytest.raises(NotFound, match=r"page\.$"):
        await source.find("quite-something-else")


async def test_pages_that_quire_serves_itself(tmp_path: Path) -> None:
    """They have no host: any may be Quire's own unless the caller knows it."""
    async with await serve(tmp_path, {"quire.toml": "", **SECTIONS}) as api:
        source = api.services.page_markdown
        for place in ("/book/guide/tides", "https://q.example/book/guide/tides#setext"):
            assert await source.find(place) == "guide/tides.md"
            assert await source.find(place, "q.example") == "guide/tides.md"
        with pytest.raises(NotFound):
            await source.find("https://evil.example/book/guide/tides", "q.example")
        assert await source.section("guide/tides.md", "options-1") == "### Options\n\nSecond."


async def test_pages_of_html_are_found_by_their_markdown_s_path(tmp_path: Path) -> None:
    async with await serve(tmp_path, BUILT, site_url="https://b.example") as api:
        source = api.services.page_markdown
        for place in ("guide/index.md", "book:///guide/index.md", "https://b.example/guide/"):
            assert await source.find(place) == "guide/index.html"
        assert await source.find("guide/long") == "guide/long.htm"


async def test_two_pages_with_almost_the_same_path(tmp_path: Path) -> None:
    files = {
        "a.md": "# One\n\nText.\n",
        "a/index.md": "# Two\n\nText.\n",
        "a.mdx": "# Three\n\nX.\n",
    }
    async with await serve(tmp_path, files) as api:
        for place, path in {"a": "a.md", "a.mdx": "a.mdx", "a/index": "a/index.md"}.items():
            assert await api.services.page_markdown.find(place) == path


async def test_while_the_contents_are_unknown_the_index_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(*_: object) -> None: ...

    async with await serve(tmp_path, SECTIONS, **SITE) as api:
        monkeypatch.setattr(PublishedContents, "get", unknown)
        source = api.services.page_markdown
        for place in ("guide/tides.md", "guide/tides", "book:///guide/tides.md"):
            assert await source.find(place) == "guide/tides.md"
        for place in ("https://b.example/docs/guide/tides/", "nothing", "\0", "x" * 1_000_000):
            with pytest.raises(IndexNotReady):
                await source.find(place)
        assert await source.book_opening() == ""


async def test_the_opening_of_the_book(source: PageMarkdown) -> None:
    for _ in range(2):
        assert await source.book_opening() == "A book about tides. It is short."


async def test_pages_in_memory_are_bounded(tmp_path: Path) -> None:
    many = "# Many\n\n" + "## A\n\nb\n\n" * 400
    async with await serve(tmp_path, {"many.md": many}) as api:
        source = api.services.page_markdown
        assert (await source.section("many.md", "a")) == "## A\n\nb"
        assert source._cache.currsize > len(many) + 400 * 100


async def test_the_names_of_a_book_are_read_once(
    source: PageMarkdown, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[PageNames] = []
    original = PageNames.read

    def counted(names: PageNames) -> Generator[None, None, PageNames]:
        read.append(names)
        return original(names)

    monkeypatch.setattr(PageNames, "read", counted)
    found = await asyncio.gather(*(source.find("guide/tides.md") for _ in range(20)))
    assert found == ["guide/tides.md"] * 20
    assert len(read) == 1
