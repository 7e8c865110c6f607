"""Check an index's links against the site's sitemap.xml or its built HTML.

The operator provides either; nothing is fetched. An ingestion reports broken links and never fails
because of them.
"""

import posixpath
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lib.sites.sitemap import MAX_SITEMAP_BYTES, SitemapError, read_sitemap


@dataclass(frozen=True, slots=True)
class _BrokenLink:
    url: str
    reason: str
    """The missing part: `page` or `anchor`."""


def unresolved_links(urls: Collection[str], place: Path, base_url: str) -> list[str]:
    """One line for each of the `missing_links`; or one that says why links were not checked."""
    try:
        missing = missing_links(urls, place, base_url)
    except SitemapError as error:
        return [f"The links were not checked against SITE_CHECK_PATH: {error}."]
    return [f"{each.url}: no such {each.reason}" for each in missing]


def missing_links(urls: Collection[str], place: Path, base_url: str) -> tuple[_BrokenLink, ...]:
    """The broken links among `urls`, sorted. Raises `SitemapError`.

    `place` is a sitemap.xml, which lists pages only, or a folder of built HTML. `base_url` is the
    path that the site is served under.
    """
    ordered = sorted(urls)
    try:
        if place.is_dir():
            return _missing_from_html(ordered, place, base_url)
        return _missing_from_sitemap(ordered, place.read_bytes())
    except OSError as error:
        raise SitemapError(error.strerror or "it cannot be read") from None


def _path(url: str) -> str:
    try:
        return unquote(urlsplit(url).path) or "/"
    except ValueError:
        return ""


def _missing_from_sitemap(urls: Iterable[str], xml: bytes) -> tuple[_BrokenLink, ...]:
    """Links whose page the sitemap does not list.

    A sitemap has no anchors. A slash at the end makes no difference: many hosts add or drop it.
    """
    known = {_path(url).rstrip("/") for url in read_sitemap(xml).pages}
    return tuple(
        _BrokenLink(url, "page")
        for url in dict.fromkeys(urls)
        if _path(url).rstrip("/") not in known
        and _path(url).removesuffix("index.html").rstrip("/") not in known
    )


class _Ids(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()  # every id that a fragment can refer to

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and (name == "id" or (name == "name" and tag == "a")):
                self.ids.add(value)


def _page_ids(html: str) -> set[str]:
    parser = _Ids()
    parser.feed(html)
    parser.close()
    return parser.ids


def _missing_from_html(urls: Iterable[str], folder: Path, base_url: str) -> tuple[_BrokenLink, ...]:
    """Links without a file in the built site in `folder`, or without their anchor in the file."""
    root = folder.resolve()
    ids: dict[Path, set[str]] = {}
    missing = []
    for url in dict.fromkeys(urls):
        file = _served(root, _path(url), base_url)
        if file is None:
            missing.append(_BrokenLink(url, "page"))
        elif fragment := urlsplit(url).fragment:
            if file not in ids:
                ids[file] = _page_ids(file.read_text(encoding="utf-8", errors="replace"))
            if ids[file].isdisjoint((fragment, unquote(fragment))):
                missing.append(_BrokenLink(url, "anchor"))
    return tuple(missing)


def _served(root: Path, path: str, base_url: str) -> Path | None:
    """The file that a static web server would send, inside `root`."""
    base = "/" + base_url.strip("/") + "/" if base_url.strip("/") else "/"
    if not (path.rstrip("/") + "/").startswith(base) or "\0" in path:
        return None
    for candidate in _candidates(path[len(base) :]):
        file = (root / candidate).resolve()
        try:
            inside = file.is_relative_to(root) and file.is_file()
            if inside and file.stat().st_size <= MAX_SITEMAP_BYTES:
                return file
        except OSError:
            continue
    return None


def _candidates(path: str) -> tuple[str, ...]:
    bare = posixpath.normpath("/" + path).lstrip("/")
    if not bare:
        return ("index.html",)
    page, index = f"{bare}.html", posixpath.join(bare, "index.html")
    return (index, page) if path.endswith("/") else (bare, page, index)
