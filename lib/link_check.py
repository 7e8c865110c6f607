"""The addresses of an index against the built site: which lead nowhere."""

from collections.abc import Collection
from pathlib import Path

from lib.sitemap import SitemapError, missing_from_html, missing_from_sitemap


def unresolved_links(urls: Collection[str], place: Path, base_url: str) -> list[str]:
    """Lines of the form "address: what is missing", sorted.

    `place` is a sitemap.xml, which knows pages only, or a folder of built HTML.
    """
    ordered = sorted(urls)
    try:
        if place.is_dir():
            missing = missing_from_html(ordered, place, base_url)
        else:
            missing = missing_from_sitemap(ordered, place.read_bytes())
    except (SitemapError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        return [f"The links were not checked against SITE_CHECK_PATH: {reason}."]
    return [f"{each.url}: no such {each.reason}" for each in missing]
