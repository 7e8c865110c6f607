"""The addresses of an index against the built site: which lead nowhere."""

from collections.abc import Collection
from pathlib import Path

from lib.sites.link_check import SitemapError, Unresolved, missing_from_html, missing_from_sitemap


def unresolved_links(urls: Collection[str], place: Path, base_url: str) -> list[str]:
    """Lines of the form "address: what is missing", sorted; one that says why not if the links
    cannot be checked. `place` as in `missing_links`."""
    try:
        missing = missing_links(urls, place, base_url)
    except SitemapError as error:
        return [f"The links were not checked against SITE_CHECK_PATH: {error}."]
    return [f"{each.url}: no such {each.reason}" for each in missing]


def missing_links(urls: Collection[str], place: Path, base_url: str) -> tuple[Unresolved, ...]:
    """Those of `urls` that lead nowhere, sorted. Raises `SitemapError`.

    `place` is a sitemap.xml, which knows pages only, or a folder of built HTML; `base_url` is the
    path that the site's top is served under.
    """
    ordered = sorted(urls)
    try:
        if place.is_dir():
            return missing_from_html(ordered, place, base_url)
        return missing_from_sitemap(ordered, place.read_bytes())
    except OSError as error:
        raise SitemapError(error.strerror or "it cannot be read") from None
