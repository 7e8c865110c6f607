"""Check an index's links against the site's sitemap.xml or its built HTML.

The operator provides either; nothing is fetched. The reading process does it (`lib.worker`).
"""

import posixpath
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lib.sites.sitemap import MAX_SITEMAP_BYTES, SitemapError, read_sitemap


@dataclass(frozen=True, slots=True)
class BrokenLink:
    url: str
    reason: str
    """The missing part: `page` or `anchor`."""


def missing_links(urls: Collection[str], place: Path, base_url: str) -> tuple[BrokenLink, ...]:
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


def _missing_from_sitemap(urls: Iterable[str], xml: bytes) -> tuple[BrokenLink, ...]:
    """Links whose page the sitemap does not list.

    A sitemap has no anchors. A slash at the end makes no difference: many hosts add or drop it.
    """
    known = {_path(url).rstrip("/") for url in read_sitemap(xml).pages}
    return tuple(
        BrokenLink(url, "page")
        for url in dict.fromkeys(urls)
        if _path(url).rstrip("/") not in known
        and _path(url).removesuffix("index.html").rstrip("/") not in known
    )


def _page_ids(html: bytes) -> set[str]:
    """Every id that a fragment can refer to."""
    from lib.html_tree import parse_html  # the server, which imports this module, needs no parser

    tree = parse_html(html)
    ids = {node.attributes.get("id") for node in tree.css("[id]")}
    names = {node.attributes.get("name") for node in tree.css("a[name]")}
    return {each for each in ids | names if each}


def _missing_from_html(urls: Iterable[str], folder: Path, base_url: str) -> tuple[BrokenLink, ...]:
    """Links without a file in the built site in `folder`, or without their anchor in the file."""
    root = folder.resolve()
    ids: dict[Path, set[str]] = {}
    missing = []
    for url in dict.fromkeys(urls):
        file = _served(root, _path(url), base_url)
        if file is None:
            missing.append(BrokenLink(url, "page"))
        elif fragment := urlsplit(url).fragment:
            if file not in ids:
                ids[file] = _page_ids(file.read_bytes())
            if ids[file].isdisjoint((fragment, unquote(fragment))):
                missing.append(BrokenLink(url, "anchor"))
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
