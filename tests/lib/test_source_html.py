from pathlib import Path

import pytest

from lib.book import Book, BookReader, _Batch
from lib.documents import DocumentLimits
from lib.source_html import survey_site
from tests.tiny_book import write_book

TIDES = "<html><article><h1>Tides</h1><p>Twice.</p><h2 id='ebb'>Ebb</h2><p>Out.</p></article>"


def read(root: Path, files: dict[str, str], max_file_bytes: int = 100_000) -> _Batch:
    built = survey_site(write_book(root, files), sorted(files), "https://b.example/book")
    limits = DocumentLimits(max_file_bytes=max_file_bytes)
    book = Book(root, built.site, sorted(files), limits, 50, built)
    return BookReader(book).read(sorted(files))


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("index.html", "https://b.example/book/"),
        ("guide/index.html", "https://b.example/book/guide/"),
        ("guide/high tide.html", "https://b.example/book/guide/high%20tide.html"),
    ],
)
def test_a_page_has_the_address_of_its_file(tmp_path: Path, path: str, url: str) -> None:
    chunks = [each.chunk for each in read(tmp_path, {path: TIDES}).chunks]
    assert chunks[0].chapter == "Tides"
    sections = [each for chunk in chunks for each in chunk.sections]
    assert [each.url for each in sections] == [url, f"{url}#ebb"]


def test_a_page_whose_text_is_too_long_is_one_error(tmp_path: Path) -> None:
    files = {"a.html": f"<p>{'word ' * 300}</p>", "b.html": f"<p>b</p><!--{'x' * 4_000}-->"}
    batch = read(tmp_path, files, 1_000)
    assert [each.chunk.file_path for each in batch.chunks] == ["b.html"]
    assert batch.errors[0].startswith("a.html: its text has 14")


def test_the_sitemaps_of_an_index_are_read_in_their_folders(tmp_path: Path) -> None:
    index = "<sitemapindex>{}</sitemapindex>".format(
        "".join(
            f"<sitemap><loc>https://b.example/book/{name}</loc></sitemap>"
            for name in ("en/sitemap.xml", "de.xml", "lost/sitemap.xml")
        )
    )
    page = "<urlset><url><loc>https://b.example/book/{}</loc></url></urlset>"
    files = {"en/a.html": TIDES, "de/b.html": TIDES}
    write_book(tmp_path, files)
    write_book(tmp_path, {"sitemap.xml": index, "de.xml": page.format("de/b")})
    write_book(tmp_path, {"en/sitemap.xml": page.format("en/a")})
    site = survey_site(tmp_path, sorted(files), "")
    assert [site.address(path) for path in files] == [
        "https://b.example/book/en/a",
        "https://b.example/book/de/b",
    ]
