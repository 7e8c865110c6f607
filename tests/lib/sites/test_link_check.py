"""Links checked against a sitemap and against built HTML."""

import time
from pathlib import Path

import pytest

from lib.sites.link_check import (
    SitemapError,
    Unresolved,
    missing_from_html,
    missing_from_sitemap,
    page_ids,
    sitemap_paths,
)

SITEMAP = b"""<?xml version="1.0" encoding="UTF-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"
        xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">
  <url><loc>https://x.org/docs/a/</loc>
    <image:image><image:loc>https://x.org/docs/picture</image:loc></image:image></url>
  <url><loc> https://x.org/docs/caf%C3%A9&amp;co </loc><lastmod>2024-01-01</lastmod></url>
  <url><loc>https://x.org</loc></url>
</urlset>"""


def test_paths_of_a_sitemap() -> None:
    assert sitemap_paths(SITEMAP) == {"/docs/a/", "/docs/café&co", "/"}


def test_missing_from_sitemap() -> None:
    urls = [
        "https://x.org/docs/a#b",
        "https://x.org/docs/a/index.html",
        "/docs/caf%C3%A9&co",
        "https://x.org/docs/picture",
        "https://x.org/docs/b",
        "https://x.org/docs/b",
    ]
    assert missing_from_sitemap(urls, SITEMAP) == (
        Unresolved("https://x.org/docs/picture", "page"),
        Unresolved("https://x.org/docs/b", "page"),
    )


BOMB = (
    b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(10))
    + b"]><urlset><url><loc>&k;</loc></url></urlset>"
)


@pytest.mark.parametrize(
    "xml",
    [
        BOMB,
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><urlset>&a;</urlset>',
        b'<!DOCTYPE x SYSTEM "http://localhost/x.dtd"><urlset/>',
        b"<urlset><url>",
        b"",
        b"<a>" * 100_000,
        b"<urlset>&undefined;</urlset>",
    ],
)
def test_hostile_sitemaps_are_refused_at_once(xml: bytes) -> None:
    started = time.perf_counter()
    with pytest.raises(SitemapError):
        sitemap_paths(xml)
    assert time.perf_counter() - started < 1


def test_ids_of_a_page() -> None:
    html = """<h2 id="a&amp;b">x</h2><a name=old></a><input name="no"><p ID='Up'><br id="b"/>
    <script>'<p id="script">'</script><!-- <p id="comment"> --><p id="" id=>"""
    assert page_ids(html) == {"a&b", "old", "Up", "b"}


@pytest.fixture
def built(tmp_path: Path) -> Path:
    folder = tmp_path / "build"
    (folder / "guide").mkdir(parents=True)
    (folder / "index.html").write_text("<h1 id=top>x</h1>")
    (folder / "guide" / "index.html").write_text('<h2 id="caf\u00e9">x</h2><h2 id="%E4">x</h2>')
    (folder / "plain.html").write_text("<h2 id=a>x</h2>")
    (tmp_path / "secret.html").write_text("<h2 id=a>x</h2>")
    return folder


def test_missing_from_html(built: Path) -> None:
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
    found = missing_from_html([*good, *(url for url, _ in bad)], built, "/b/")
    assert found == tuple(Unresolved(url, reason) for url, reason in bad)


def test_a_link_out_of_the_folder_is_not_followed(built: Path) -> None:
    (built / "out.html").symlink_to(built.parent / "secret.html")
    assert missing_from_html(["/out"], built) == (Unresolved("/out", "page"),)


def test_no_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(SitemapError):
        missing_from_html(["/a"], tmp_path / "none")
