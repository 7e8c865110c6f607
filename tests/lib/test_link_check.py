"""Links checked against a sitemap and against built HTML."""

from pathlib import Path

import pytest

from lib.link_check import missing_links
from lib.sites.sitemap import SitemapError

SITEMAP = b"""<?xml version="1.0" encoding="UTF-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"
        xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">
  <url><loc>https://x.org/docs/a/</loc>
    <image:image><image:loc>https://x.org/docs/picture</image:loc></image:image></url>
  <url><loc> https://x.org/docs/caf%C3%A9&amp;co </loc><lastmod>2024-01-01</lastmod></url>
  <url><loc>https://x.org</loc></url>
</urlset>"""


def missing(urls: list[str], place: Path, base_url: str = "/") -> list[tuple[str, str]]:
    return [(each.url, each.reason) for each in missing_links(urls, place, base_url)]


@pytest.fixture
def sitemap(tmp_path: Path) -> Path:
    file = tmp_path / "sitemap.xml"
    file.write_bytes(SITEMAP)
    return file


def test_links_missing_from_a_sitemap(sitemap: Path) -> None:
    urls = [
        "https://x.org/docs/a#b",
        "https://x.org/docs/a/index.html",
        "https://x.org/",
        "/docs/caf%C3%A9&co",
        "https://x.org/docs/picture",
        "https://x.org/docs/b",
        "https://x.org/docs/b",
    ]
    assert missing(urls, sitemap) == [
        ("https://x.org/docs/b", "page"),
        ("https://x.org/docs/picture", "page"),
    ]


def test_ids_of_a_page(tmp_path: Path) -> None:
    html = """<h2 id="a&amp;b">x</h2><a name=old></a><input name="no"><p ID='Up'><br id="b"/>
    <script>'<p id="script">'</script><!-- <p id="comment"> --><p id="" id=>"""
    (tmp_path / "index.html").write_text(html)
    good = ["/#a&b", "/#old", "/#Up", "/#b"]
    bad = ["/#comment", "/#no", "/#script"]
    assert missing([*good, *bad], tmp_path) == [(url, "anchor") for url in bad]


@pytest.fixture
def built(tmp_path: Path) -> Path:
    folder = tmp_path / "build"
    (folder / "guide").mkdir(parents=True)
    (folder / "index.html").write_text("<h1 id=top>x</h1>")
    (folder / "guide" / "index.html").write_text('<h2 id="caf\u00e9">x</h2><h2 id="%E4">x</h2>')
    (folder / "plain.html").write_text("<h2 id=a>x</h2>")
    (tmp_path / "secret.html").write_text("<h2 id=a>x</h2>")
    return folder


def test_links_missing_from_built_html(built: Path) -> None:
    good = [
        "https://x.org/b/",
        "/b#top",
        "/b/guide",
        "/b/guide/#caf%C3%A9",
        "/b/guide/index.html#%E4",
        "/b/plain#a",
        "/b/plain.html",
    ]
    bad = [
        ("/b/guide/#cafe", "anchor"),
        ("/b/none", "page"),
        ("/other/plain", "page"),
        ("/b/../secret.html", "page"),
        ("/b/%2e%2e/secret.html", "page"),
        ("/b/x%00", "page"),
    ]
    found = missing([*good, *(url for url, _ in bad)], built, "/b/")
    assert found == sorted(bad)


def test_a_link_out_of_the_folder_is_not_followed(built: Path) -> None:
    (built / "out.html").symlink_to(built.parent / "secret.html")
    assert missing(["/out"], built) == [("/out", "page")]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SitemapError):
        missing(["/a"], tmp_path / "none")


def test_ids_are_those_that_a_browser_finds(tmp_path: Path) -> None:
    html = """<!-- --!><h2 id="after">x</h2><textarea><p id="text"></textarea>
    <template><p id="template"></template><title><p id="title"></title>"""
    (tmp_path / "index.html").write_text(html)
    bad = ["/#template", "/#text", "/#title"]
    assert missing(["/#after", *bad], tmp_path) == [(url, "anchor") for url in bad]
