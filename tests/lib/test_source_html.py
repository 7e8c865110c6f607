from pathlib import Path

import pytest

from lib.book import Book, BookReader, _Batch, survey
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


HOST = "https://b.example/book"
PAGE = '<html lang=de><link rel=canonical href="{0}"><main><h1>{1}</h1><p>Wörter genug.</p>'


def book_of(root: Path) -> Book:
    paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.html"))
    built = survey_site(root, paths, "")
    return Book(root, built.site, paths, DocumentLimits(), 50, built)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pages = {
        "index.html": PAGE.format(f"{HOST}/", "Home"),
        "tides.html": PAGE.format(f"{HOST}/tides", "Tides"),
        "old.html": PAGE.format(f"{HOST}/tides", "Tides"),
        "deep/page.html": PAGE.format("https://evil.example/deep/page.html", "Deep"),
    }
    return write_book(tmp_path, pages)


def test_pages_have_the_site_s_own_addresses(folder: Path) -> None:
    book = book_of(folder)
    read = BookReader(book).read(book.paths)
    found = {each.chunk.file_path: each.chunk for each in read.chunks}
    assert {path: chunk.sections[0].url for path, chunk in found.items()} == {
        "index.html": f"{HOST}/",
        "tides.html": f"{HOST}/tides",
        "deep/page.html": f"{HOST}/deep/page",  # as the site's other pages
    }
    assert {chunk.locale for chunk in found.values()} == {"de"}
    assert read.ledger["tides.html"].language == "german"
    assert read.ledger["old.html"].left_out == (
        "repeats another page, which its canonical link names"
    )


def test_only_changed_pages_are_read_again(folder: Path) -> None:
    before = BookReader(book_of(folder)).read(book_of(folder).paths).ledger
    assert survey(book_of(folder), before).changed == []
    write_book(folder, {"new.html": PAGE.format("", "New")})
    (folder / "tides.html").unlink()
    found = survey(book_of(folder), before)
    # without the page that it repeats, a page is read again
    assert (found.changed, found.removed) == (["new.html", "old.html"], ["tides.html"])


def test_an_address_in_the_sitemap_is_part_of_a_page(folder: Path) -> None:
    before = BookReader(book_of(folder)).read(book_of(folder).paths).ledger
    (folder / "sitemap.xml").write_text(
        "<urlset xmlns='http://www.sitemaps.org/schemas/sitemap/0.9'>"
        f"<url><loc>{HOST}/deep/page.html</loc></url><url><loc>{HOST}/</loc></url></urlset>"
    )
    book = book_of(folder)
    assert survey(book, before).changed == ["deep/page.html", "index.html"]
    (chunk,) = BookReader(book).read(["deep/page.html"]).chunks
    assert chunk.chunk.sections[0].url == f"{HOST}/deep/page.html"


def test_a_changed_site_is_another_site(folder: Path) -> None:
    before = book_of(folder).site_hash()
    assert book_of(folder).site_hash() == before
    write_book(folder, {"index.html": PAGE.format("https://new.example/", "Home")})
    write_book(folder, {"tides.html": PAGE.format("https://new.example/tides", "Tides")})
    write_book(folder, {"old.html": PAGE.format("https://new.example/tides", "Tides")})
    assert book_of(folder).site_hash() != before


def test_pages_without_marks_for_pagefind_are_none_where_others_have_them(tmp_path: Path) -> None:
    marked = TIDES.replace("<article>", "<article data-pagefind-body>")
    batch = read(tmp_path, {"a.html": marked, "b.html": TIDES})
    assert {each.chunk.file_path for each in batch.chunks} == {"a.html"}
    assert "data-pagefind-body" in batch.ledger["b.html"].left_out
