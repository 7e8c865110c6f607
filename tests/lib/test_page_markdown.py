"""GET /book/<page>.md"""

from pathlib import Path
from typing import Any

import pytest

from lib.embedding_e5 import _E5
from lib.store import page_text
from tests.api import Api, serving
from tests.handlers.test_book import _any_vector, index, make

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
