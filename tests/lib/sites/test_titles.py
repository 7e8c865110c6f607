"""The title of a site and the order of its pages, as its own configuration has them."""

from pathlib import Path

import pytest

from lib.book import Book
from lib.documents import DocumentLimits
from lib.sites.detection import detect_site
from tests.tiny_book import write_book

PAGE = "# Page\n\nText.\n"
SITES = {
    "docusaurus.config.js": (
        "docs",
        "export default {title: 'The  harbour', url: '', baseUrl: '/'};",
    ),
    ".vitepress/config.mts": (".", "export default defineConfig({title: 'The harbour'})"),
    "mkdocs.yml": ("docs", "site_name: The harbour\n"),
    "book.toml": ("src", '[book]\ntitle = "The harbour"\n'),
    "conf.py": (".", 'project = "The harbour"\nextensions = []\n'),
    "_toc.yml": (".", "root: index\n"),
    "myst.yml": (".", "version: 1\nproject:\n  title: The harbour\n"),
    "hugo.toml": ("content", 'baseURL = "/"\nTitle = "The harbour"\n'),
    "_config.yml": (".", "title: The harbour\n"),
}


@pytest.mark.parametrize("name", SITES)
def test_the_title_is_that_of_the_configuration(name: str, tmp_path: Path) -> None:
    folder, text = SITES[name]
    files = {name: text, f"{folder}/index.md": PAGE, f"{folder}/SUMMARY.md": "[Page](index.md)\n"}
    if name == "_toc.yml":
        files["_config.yml"] = "title: The harbour\n"
    write_book(tmp_path, files)
    assert detect_site(tmp_path / folder).title == "The harbour"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".vitepress/config.mts", "export default {locales: {root: {title: 'Hafen'}}}"),
        ("myst.yml", "site:\n  title: Hafen\nproject:\n  title: Handbuch\n"),
        ("hugo.toml", 'title = "Harbour"\n[languages.en]\ntitle = "Hafen"\n'),
    ],
)
def test_a_title_of_its_own_comes_first(name: str, text: str, tmp_path: Path) -> None:
    write_book(tmp_path, {name: text, "content/index.md": PAGE, "index.md": PAGE})
    assert detect_site(tmp_path).title == "Hafen"


@pytest.mark.parametrize(
    ("name", "text", "title"),
    [
        ("docusaurus.config.js", "export default {title: name(), url: '', baseUrl: '/'}", ""),
        ("mkdocs.yml", "site_name: [1, 2]\n", ""),
        ("mkdocs.yml", "site_name: !ENV [NAME, Harbour]\n", "Harbour"),
        ("mkdocs.yml", "docs_dir: docs\n", ""),
        ("mkdocs.yml", f"site_name: {'x' * 500}\n", "x" * 200),
        ("mkdocs.yml", "site_name: |\n  The\n  harbour\n", "The harbour"),
    ],
)
def test_a_title_is_one_short_line(name: str, text: str, title: str, tmp_path: Path) -> None:
    write_book(tmp_path, {name: text, "docs/index.md": PAGE})
    assert detect_site(tmp_path / "docs").title == title


def reading_order(folder: Path, paths: list[str]) -> list[str]:
    limits = DocumentLimits(max_files=10, max_file_bytes=1000, max_total_bytes=1000, max_depth=5)
    return Book(folder, detect_site(folder), paths, limits, 100).reading_order()


def test_the_order_is_that_of_the_navigation(tmp_path: Path) -> None:
    nav = "nav:\n- Home: index.md\n- Guide:\n  - guide/b.md\n  - A: guide/./a.md\n- x: https://x.org\n"
    pages = ["index.md", "guide/a.md", "guide/b.md", "other.md"]
    write_book(tmp_path, {"mkdocs.yml": nav, **{f"docs/{page}": PAGE for page in pages}})
    assert reading_order(tmp_path / "docs", pages) == ["index.md", "guide/b.md", "guide/a.md"]
    # The content folder may be above that of the pages.
    above = [f"docs/{page}" for page in pages]
    assert reading_order(tmp_path, above) == ["docs/index.md", "docs/guide/b.md", "docs/guide/a.md"]


def test_the_order_is_that_of_the_summary(tmp_path: Path) -> None:
    pages = ["a.md", "b.md", "c.md"]
    summary = "# Summary\n\n[C](c.md)\n\n- [A](./a.md)\n- [Gone](gone.md)\n"
    files = {"book.toml": "[book]\n", "src/SUMMARY.md": summary}
    write_book(tmp_path, files | {f"src/{page}": PAGE for page in pages})
    assert reading_order(tmp_path / "src", pages) == ["c.md", "a.md"]


def test_the_kept_order_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.book._MAX_ORDERED", 1)
    write_book(tmp_path, {"mkdocs.yml": "nav: [b.md, a.md]\n", "docs/a.md": PAGE})
    assert reading_order(tmp_path / "docs", ["a.md", "b.md"]) == ["b.md"]
