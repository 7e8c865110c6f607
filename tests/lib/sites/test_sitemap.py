"""Sitemaps and sitemap indexes, also hostile ones."""

import time

import pytest

from lib.sites.sitemap import SitemapError, read_sitemap


def test_addresses_of_pages_and_sitemaps() -> None:
    pages = """<s:urlset xmlns:s="http://www.sitemaps.org/schemas/sitemap/0.9"
        xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">
      <s:url><s:loc> https://x.org/caf%C3%A9&amp;co
        </s:loc><s:lastmod>2024-01-01</s:lastmod>
        <image:image><image:loc>https://x.org/picture</image:loc></image:image></s:url>
      <s:loc>https://x.org/stray</s:loc><s:url><s:loc>/b/<![CDATA[c&d]]></s:loc></s:url>
    </s:urlset>"""
    found = read_sitemap(f"<!-- -->{pages}".encode())
    assert (found.pages, found.sitemaps) == (["https://x.org/caf%C3%A9&co", "/b/c&d"], [])
    index = "<sitemapindex><sitemap><loc>https://x.org/a.xml</loc></sitemap></sitemapindex>"
    found = read_sitemap(index.encode("utf-16"))
    assert (found.pages, found.sitemaps) == ([], ["https://x.org/a.xml"])


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
        b'<?xml version="1.0" encoding="idna"?><urlset/>',
        b'<?xml version="1.0" encoding="punycode"?><urlset/>',
        b'<?xml version="1.0" encoding="zlib"?><urlset/>',
        b" " * 50_000_001,
    ],
)
def test_hostile_sitemaps_are_refused_fast(xml: bytes) -> None:
    started = time.process_time()
    with pytest.raises(SitemapError):
        read_sitemap(xml)
    assert time.process_time() - started < 1
