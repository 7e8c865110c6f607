"""Where a site is: the operator's address on top of the one that its configuration tells."""

import pytest

from lib.sites.site import ContentRoot, Site, placed


@pytest.mark.parametrize(
    ("site_url", "options", "where"),
    [
        ("", {}, "https://x.github.io/book/"),
        ("https://x.github.io", {}, "https://x.github.io/book/"),
        ("https://x.github.io/", {}, "https://x.github.io/book/"),
        ("https://x.github.io/book", {}, "https://x.github.io/book/"),  # not doubled
        ("https://x.github.io/book/", {"base_url": "/book/"}, "https://x.github.io/book/"),
        ("https://docs.org/a/b/", {}, "https://docs.org/a/b/"),
        ("https://docs.org", {"base_url": "c"}, "https://docs.org/c/"),
        ("https://docs.org/a", {"base_url": "/"}, "https://docs.org/"),
        ("", {"base_url": "https://docs.org/d"}, "https://x.github.io/d/"),
        ("not an address", {}, "https://x.github.io/book/"),
    ],
)
def test_where_a_site_is_whose_address_is_two_settings(
    site_url: str, options: dict[str, object], where: str
) -> None:
    site = placed(Site("docusaurus"), site_url, options, "https://x.github.io", "/book/")
    assert site.site_url + site.base_url == where


@pytest.mark.parametrize(
    ("site_url", "where"),
    [
        ("", "https://x.github.io/book/"),
        ("https://X.github.io", "https://X.github.io/book/"),  # the same host: the path is known
        ("https://docs.org", "https://docs.org/"),  # another host: it is not
        ("https://docs.org/y/", "https://docs.org/y/"),
    ],
)
def test_where_a_site_is_whose_address_is_one_setting(site_url: str, where: str) -> None:
    site = placed(Site("mkdocs"), site_url, {}, "https://x.github.io/book/", None)
    assert site.site_url + site.base_url == where


@pytest.mark.parametrize("base", ["", ".", "./", "/", "//"])
def test_a_site_that_may_lie_anywhere_lies_at_the_top(base: str) -> None:
    assert placed(Site("vitepress"), "", {}, "", base).base_url == "/"


def test_the_route_of_the_docs_is_that_of_the_main_folder() -> None:
    mounts = (ContentRoot("/site/docs-2", "next"), ContentRoot("/site/docs", "guide", main=True))
    assert placed(Site("docusaurus", mounts=mounts), "", {}, "", None).docs_route == "guide"
    assert placed(Site("docusaurus"), "", {}, "", None).docs_route == ""
