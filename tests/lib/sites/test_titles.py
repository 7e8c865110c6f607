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
        ("myst.yml", "site:\n  title: Hafen\nproject:\n  title: Handbuch\n"),
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


SIDEBAR = """
import {defineConfig} from 'vitepress'
export default defineConfig({
  themeConfig: {
    nav: [{text: 'Other', link: '/other'}],
    sidebar: {
      '/guide/': [
        {text: 'Start', link: '/guide/b'},
        {text: 'More', items: [
          {text: 'A', link: "/guide/a.html#top"}, {text: 'X', link: 'https://x.org/'},
        ]},
      ],
      '/api/': [{text: 'API', link: '/api/', items: [{text: 'Gone', link: '/api/gone'}]}],
    },
  },
})
"""


def test_the_order_is_that_of_the_sidebar_of_vitepress(tmp_path: Path) -> None:
    pages = ["api/index.md", "guide/a.md", "guide/b.md", "other.md"]
    write_book(tmp_path, {".vitepress/config.mts": SIDEBAR, **dict.fromkeys(pages, PAGE)})
    assert reading_order(tmp_path, pages) == ["guide/b.md", "guide/a.md", "api/index.md"]


CONFIG = (
    "export default {title: 'x', url: 'https://x.org', baseUrl: '/', presets: [['classic', %s]]}"
)


def docusaurus(folder: Path, files: dict[str, str], options: str = "{}") -> list[str]:
    pages = sorted(path.removeprefix("docs/") for path in files if path.startswith("docs/"))
    pages = [path for path in pages if path.endswith(".md")]
    write_book(folder, {"docusaurus.config.js": CONFIG % options, **files})
    return reading_order(folder / "docs", pages)


def test_the_order_is_that_of_the_sidebars_of_docusaurus(tmp_path: Path) -> None:
    sidebars = """module.exports = {
      docs: ['intro', {type: 'category', label: 'Guide', link: {type: 'doc', id: 'guide/index'},
        items: ['guide/named', {type: 'autogenerated', dirName: 'more'}, {type: 'html'}]}],
      other: {Reference: ['api/first', 'api/gone']},
    };"""
    named = "---\nid: named\n---\n\n# Named\n"
    names = ["intro", "guide/index", "more/b", "more/a", "01-api/02-first", "unlisted"]
    files = {f"docs/{name}.md": PAGE for name in names}
    files |= {"sidebars.js": sidebars, "docs/guide/file.md": named}
    assert docusaurus(tmp_path, files) == [
        "intro.md",
        "guide/index.md",
        "guide/file.md",
        "more/a.md",
        "more/b.md",
        "01-api/02-first.md",
    ]


def test_a_generated_sidebar_follows_positions(tmp_path: Path) -> None:
    def at(position: str) -> str:
        return f"---\nsidebar_position: {position}\n---\n{PAGE}"

    files = {
        "docs/zero.md": at("1"),
        "docs/guide/index.md": PAGE,
        "docs/guide/10-late.md": PAGE,
        "docs/guide/2-early.md": PAGE,
        "docs/guide/first.md": at("0.5"),
        "docs/guide/any.md": at("no number"),
        "docs/api/a.md": PAGE,
        "docs/about.md": PAGE,
    }
    assert docusaurus(tmp_path, files) == [
        "zero.md",
        "about.md",
        "api/a.md",
        "guide/index.md",
        "guide/first.md",
        "guide/2-early.md",
        "guide/10-late.md",
        "guide/any.md",
    ]


def test_the_order_is_that_of_a_table_of_contents(tmp_path: Path) -> None:
    pages = ["a.md", "b.md", "c.md", "index.md"]
    book = "root: index\nparts:\n- chapters:\n  - file: c\n    sections:\n    - file: a\n"
    write_book(tmp_path / "book", {"_toc.yml": book, **dict.fromkeys(pages, PAGE)})
    assert reading_order(tmp_path / "book", pages) == ["index.md", "c.md", "a.md"]
    myst = "project:\n  toc:\n  - file: c.md\n  - title: More\n    children:\n    - file: a.md\n"
    write_book(tmp_path / "myst", {"myst.yml": myst, **dict.fromkeys(pages, PAGE)})
    assert reading_order(tmp_path / "myst", pages) == ["c.md", "a.md"]


def test_a_very_large_book_has_no_order_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lib.book._MAX_ORDERED", 1)
    write_book(tmp_path, {"mkdocs.yml": "nav: [b.md, a.md]\n", "docs/a.md": PAGE})
    assert reading_order(tmp_path / "docs", ["a.md", "b.md"]) == []
