"""Sitemaps are found, nested, and bounded; robots.txt is read in linear time."""

import gzip
import time

import pytest

from lib.crawl import parse_address
from lib.crawl_http import PacedClient, SiteClient
from lib.crawl_pages import PageList, Robots, list_pages
from lib.errors import InvalidRequest
from tests.static_site import Reply, Resolver, StaticSite, local_network


async def find(site: StaticSite, path: str, robots: str = "", most: int = 100) -> PageList:
    network = local_network()
    url = parse_address(site.origin + path)
    async with SiteClient(
        url, is_allowed=network.is_allowed, resolver=Resolver("127.0.0.1")
    ) as client:
        paced = PacedClient(client, clock=network.clock, sleep=network.sleep)
        return await list_pages(paced, url, Robots(robots, "Quire"), most)


def index(*paths: str) -> Reply:
    lines = "".join(f"<sitemap><loc>{path}</loc></sitemap>" for path in paths)
    return Reply(f"<sitemapindex>{lines}</sitemapindex>".encode(), content_type="text/xml")


async def test_a_sitemap_index_of_sitemaps_and_archives(site: StaticSite) -> None:
    site.list("/b/1", at="/b.xml")
    packed = site.replies["/b.xml"]
    assert isinstance(packed, Reply)
    site.replies["/b.xml.gz"] = Reply(gzip.compress(packed.body), content_type="application/gzip")
    site.list("/a/1", "/a/2", at="/a.xml")
    site.replies["/sitemap.xml"] = index(
        "/a.xml", "/deep.xml", "b.xml.gz", "/sitemap.xml", "https://other.example/c.xml"
    )
    site.replies["/deep.xml"] = index("/deep2.xml", "/gone.xml")
    site.replies["/deep2.xml"] = index("/deep3.xml")
    site.list("/deep", at="/deep3.xml")  # too deep
    found = await find(site, "/sitemap.xml")
    assert found.paths == ["/a/1", "/a/2", "/b/1"]
    assert [line.replace(site.origin, "") for line in found.problems] == [
        "/gone.xml answers with status 404"
    ]


async def test_endless_indexes_are_bounded(site: StaticSite) -> None:
    for number in range(3):
        site.replies[f"/{number}.xml"] = index(*(f"/{n}-{number}.xml" for n in range(2_000)))
    site.replies["/sitemap.xml"] = index(*(f"/{number}.xml" for number in range(3)))
    with pytest.raises(InvalidRequest):
        await find(site, "/sitemap.xml")
    assert len(site.requests) == 500


async def test_the_sitemap_of_a_site(site: StaticSite) -> None:
    site.list("/docs/a", "/blog/b", "/docs", at="/sitemap-index.xml")
    site.replies["/docs/sitemap.xml"] = Reply(b"<!doctype html><p>Home")  # of a single-page app
    found = await find(site, "/docs/v1.2/..")
    assert (found.paths, found.base, found.problems) == (["/docs/a"], "/docs/", [])
    asked = [request.path for request in site.requests]
    assert asked[0] == "/docs/sitemap.xml"
    assert asked[-1] == "/sitemap-index.xml"


async def test_the_sitemaps_that_robots_txt_names(site: StaticSite) -> None:
    site.list("/docs/v1.2/a", "/docs/b", at="/one.xml")
    site.list("/docs/v1.2/c", at="/two.xml")
    robots = (
        f"Sitemap: {site.origin}/one.xml\nsitemap: /two.xml\nSitemap: https://o.example/3.xml\n"
    )
    found = await find(site, "/docs/v1.2", robots)
    assert found.paths == ["/docs/v1.2/a", "/docs/v1.2/c"]
    assert len(site.requests) == 2
    # they may be about something else
    site.list("/elsewhere", at="/one.xml")
    site.list("/elsewhere", at="/two.xml")
    site.list("/docs/v1.2/d", at="/docs/v1.2/sitemap.xml")
    assert (await find(site, "/docs/v1.2", robots)).paths == ["/docs/v1.2/d"]


async def test_pages_of_other_parts_do_not_count(site: StaticSite) -> None:
    site.list(*(f"/blog/{number}" for number in range(500)), "/docs/a", "/docs/b")
    assert (await find(site, "/docs/", most=2)).paths == ["/docs/a", "/docs/b"]


async def test_the_folder_of_all_pages(site: StaticSite) -> None:
    site.list("/docs/a", "/docs/b/", at="/docs/sitemap.xml")
    assert (await find(site, "/docs/sitemap.xml")).base == "/docs/"
    site.list("/docs/a", "/about/", at="/docs/sitemap.xml")
    found = await find(site, "/docs/sitemap.xml")
    assert (found.base, found.paths) == ("/", ["/docs/a", "/about/"])


async def test_the_origin_is_that_of_the_listed_pages(site: StaticSite) -> None:
    www = site.origin.replace("://", "://www.")
    site.list(f"{www}/a", f"{site.origin}/b", "https://book.example/c")
    found = await find(site, "/sitemap.xml")
    assert (str(found.origin), found.paths) == (www, ["/a", "/b", "/c"])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/sitemap.xml", "/sitemap.xml answers with status 404. Give the address"),
        ("/html.xml", "/html.xml: the sitemap is not valid XML"),
        ("/entities.xml", "the sitemap declares document types or entities"),
        ("/foreign.xml", "/foreign.xml: 1 addresses are not of this site"),
        ("/", "/ has no sitemap with pages below it. Give the address of the site's sitemap.xml"),
        ("/docs/", "/docs/sitemap.xml: 1 addresses are not of this site. Give the address"),
    ],
)
async def test_a_site_without_a_sitemap(site: StaticSite, path: str, message: str) -> None:
    site.replies["/html.xml"] = Reply(b"<!doctype html><p>x")
    site.replies["/entities.xml"] = Reply(b'<!DOCTYPE a [<!ENTITY b "c">]><urlset>&b;</urlset>')
    site.list("https://other.example/a", at="/foreign.xml")
    site.list("https://other.example/a", at="/docs/sitemap.xml")
    if path == "/html.xml":
        site.replies[path] = Reply(b"<p>x<br>")
    with pytest.raises(InvalidRequest) as raised:
        await find(site, path)
    assert message in str(raised.value)


async def test_more_pages_than_the_limit(site: StaticSite) -> None:
    site.list(*(f"/{number}" for number in range(60_000)))
    found = await find(site, "/sitemap.xml", most=20_000)
    assert (len(found.paths), found.paths[-1]) == (20_000, "/19999")
    assert found.problems == [
        f"{site.origin}/20000: skipped, with all pages after it: more than 20000 pages (MAX_FILES)"
    ]


TEXT = """
User-agent: BadBot # not us
User-agent: Quire
Disallow: /private/
Allow: /private/open$
Disallow: /*.pdf
Crawl-delay: 2.5

user-agent : *
Disallow: /

Sitemap: https://book.example/a.xml
"""


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/", True),
        ("/private/a", False),
        ("/private/open", True),
        ("/private/opened", False),
        ("/a/b.pdf?x", False),
        ("/%70rivate/a", False),
    ],
)
def test_the_group_of_this_crawler(path: str, allowed: bool) -> None:
    robots = Robots(TEXT, "Quire")
    assert robots.allows(f"https://book.example{path}") is allowed
    assert not Robots(TEXT, "Reader").allows("https://book.example/a")
    assert (robots.delay, robots.sitemaps) == (2.5, ["https://book.example/a.xml"])


def test_a_group_for_all_and_none_at_all() -> None:
    text = "User-agent: a\nUser-agent: *\nUser-agent: b\nDisallow: /no"
    assert not Robots(text, "Quire").allows("https://book.example/no")
    assert Robots("<!doctype html><p>x", "Quire").allows("https://book.example/no")
    assert (Robots("", "Quire").delay, Robots("", "Quire").sitemaps) == (0.0, [])


def test_a_long_delay_is_shortened() -> None:
    assert Robots("User-agent: *\nCrawl-delay: 86400", "Quire").delay == 10
    assert Robots("User-agent: *\nCrawl-delay: -1", "Quire").delay == 0


@pytest.mark.parametrize(
    "names",
    [
        [f"User-agent: bot{number}" for number in range(15_000)],
        ["User-agent: quire", "User-agent *"] * 7_500,
        [f"useragent bot{number}" for number in range(15_000)],
    ],
)
def test_many_crawlers_with_many_rules(names: list[str]) -> None:
    rules = [f"Disallow: /{number}/*/{number}$" for number in range(15_000)]
    began = time.process_time()
    robots = Robots("\n".join([*names, *rules]), "Quire")
    robots.allows("https://book.example/" + "1/" * 900)
    assert time.process_time() - began < 2
