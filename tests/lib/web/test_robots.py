"""Rules of robots.txt for this crawler, read in linear time."""

import time

import pytest

from lib.web.robots import Robots

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
