"""A folder of built HTML as a site: its address, and those of its pages."""

from typing import Final
from urllib.parse import quote, urlsplit

from lib.sites.router import PATH_SAFE
from lib.sites.site import UNKNOWN_PATH, Generator, HeadingRules, Site

SITE_SOURCES: Final = ("markdown", "html")
"""What a book is read from."""

GENERATOR: Final = Generator(
    name="html",
    page_path=lambda _site, _root, _source: UNKNOWN_PATH,
    content_roots=lambda _project: (),
    heading_rules=lambda _site, _text: HeadingRules(slugify=None, number=lambda h: [""] * len(h)),
)


def built_site(site_url: str) -> Site:
    """The site of a folder. `site_url` is its configured address, if there is one."""
    parts = urlsplit(site_url)
    host = f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
    return Site(GENERATOR, host, f"/{parts.path.strip('/')}/".replace("//", "/"))


def file_address(site: Site, path: str) -> str:
    """The address at which a static host serves a file, percent-encoded."""
    folder, _, name = path.rpartition("/")
    if name == "index.html":
        path = f"{folder}/" if folder else ""
    return site.site_url + quote(site.base_url + path, safe=PATH_SAFE, errors="replace")
