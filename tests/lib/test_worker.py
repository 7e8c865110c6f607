"""What is read from a folder with Markdown, HTML or both. `test_reader` runs the process."""

import os
from pathlib import Path

import pytest

from lib.documents import DocumentError, DocumentLimits
from lib.worker import Open, _Found, _open
from tests.tiny_book import write_book

PAGE = "<html><main><h1>Page</h1><p>It has some text to read.</p></main></html>"
BUILT = {"index.html": PAGE, "a.html": PAGE, "404.html": PAGE}
MARKDOWN = {"index.md": "# Home\n", "a.md": "# A\n"}


def opened(root: Path, files: dict[str, str], source: str = "auto") -> _Found:
    request = Open(
        root=os.fsencode(write_book(root, files)),
        site_url="",
        source=source,
        generator="auto",
        options={},
        limits=DocumentLimits(),
        chunk_tokens=270,
    )
    return _open(request)


@pytest.mark.parametrize(
    ("files", "paths", "note"),
    [
        (MARKDOWN, ["a.md", "index.md"], ""),
        (BUILT, ["404.html", "a.html", "index.html"], ""),
        # plugins copy the sources into the build
        (
            BUILT | MARKDOWN,
            ["404.html", "a.html", "index.html"],
            "The 3 HTML pages are read, because the folder looks like a built site, and not its 2 "
            "Markdown files. SITE_SOURCE=markdown reads those.",
        ),
        # a single page that shows Markdown in the browser
        (
            {"index.html": PAGE, ".nojekyll": "", "a.md": "# A\n", "b.md": "# B\n"},
            ["a.md", "b.md"],
            "The 2 Markdown files are read, not the 1 HTML pages beside them. SITE_SOURCE=html "
            "reads those.",
        ),
        ({"about/a.html": PAGE}, ["about/a.html"], ""),
        (
            MARKDOWN | {f"site/{name}": text for name, text in BUILT.items()},
            ["a.md", "index.md"],
            "The 2 Markdown files are read, not the built site in site. To read that, set "
            "BOOK_CONTENT_PATH to it; to use only its addresses, SITE_BUILD.",
        ),
    ],
    ids=["markdown", "build", "copies", "docsify", "only html", "build inside"],
)
def test_the_source_is_chosen_by_the_files(
    tmp_path: Path, files: dict[str, str], paths: list[str], note: str
) -> None:
    found = opened(tmp_path, files)
    assert [*found.book.paths] == paths
    assert [*found.notes] == ([note] if note else [])
    assert (found.book.built is not None) == paths[0].endswith(".html")


@pytest.mark.parametrize(("source", "suffix"), [("html", ".html"), ("markdown", ".md")])
def test_the_setting_decides(tmp_path: Path, source: str, suffix: str) -> None:
    found = opened(tmp_path, BUILT | MARKDOWN, source)
    assert {os.path.splitext(path)[1] for path in found.book.paths} == {suffix}
    assert not found.notes


@pytest.mark.parametrize(
    ("files", "source", "problem"),
    [
        ({"a.txt": "x"}, "auto", "has no Markdown or HTML files. Check BOOK_CONTENT_PATH"),
        (MARKDOWN, "html", "has no HTML files, but 2 of Markdown: SITE_SOURCE=markdown reads"),
        (BUILT, "markdown", "has no Markdown files, but 3 of HTML: SITE_SOURCE=html reads those"),
    ],
)
def test_a_folder_without_pages_says_what_to_do(
    tmp_path: Path, files: dict[str, str], source: str, problem: str
) -> None:
    with pytest.raises(DocumentError, match=problem):
        opened(tmp_path, files, source)


def test_what_a_static_host_serves_is_read(tmp_path: Path) -> None:
    served = ["_api/a.html", "a.htm", "build/index.html", "index.html", "x.xhtml"]
    others = ["_static/a.html", "_modules/b.html", ".well-known/c.html", "src/lib.rs.html"]
    found = opened(tmp_path, dict.fromkeys([*served, *others, "out.html"], PAGE), "html")
    assert [*found.book.paths] == sorted([*served, "out.html"])
    (tmp_path / ".quireignore").write_text("out.html\n")
    (tmp_path / "link.html").symlink_to(tmp_path / "index.html")
    found = opened(tmp_path, {}, "html")
    assert [*found.book.paths] == served
    assert "link.html: symbolic links are not followed" in found.errors[0]
