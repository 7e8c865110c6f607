"""Addresses of a book's pages and headings on the published site.

An unknown address or anchor is None: a link to the page is better than a link to a guessed anchor,
and no link is better than a link to a guessed page.
"""

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

from lib.sites.anchors import RoutedPage, anchors
from lib.sites.site import LONGEST_PATH, NOT_BUILT, UNKNOWN_PATH, ContentRoot, PageSource, Site

PATH_SAFE: Final = "/~!$&'()*+,;=:@-._"
_ANCHOR_SAFE: Final = PATH_SAFE + "?"


@dataclass(frozen=True, slots=True)
class PageAddress:
    url: str | None
    """Percent-encoded. With scheme and host when the site's address is known, else a path from the
    host's root. None when the page is not built or its address is unknown."""
    anchors: tuple[str | None, ...]
    """One for each heading, unencoded. None: link to the page."""
    version: str = ""
    locale: str = ""
    published: bool = True
    """False when the site's own rules keep the page out: a draft, a partial, not in SUMMARY.md.
    True for a page whose address is merely unknown."""
    until: datetime | None = None
    """When that changes, if it depends on the time."""
    title: str = ""
    """Title that the site gives a page which has none, as Markdown."""


def link(address: PageAddress, heading_index: int | None) -> str | None:
    """The address of a heading; of the page for None, and for a heading without an anchor."""
    if address.url is None or heading_index is None:
        return address.url
    anchor = address.anchors[heading_index]
    return (
        f"{address.url}#{quote(anchor, safe=_ANCHOR_SAFE, errors='replace')}"
        if anchor
        else address.url
    )


class Router:
    """Addresses of one book's pages. `paths` are all its pages, relative to `content_root`."""

    def __init__(self, site: Site, content_root: Path, paths: Iterable[str]) -> None:
        self._site = site
        self._folder = posixpath.normpath(content_root.absolute().as_posix())
        self._roots = {root.folder: root for root in reversed(site.content_roots)}
        siblings: dict[str, set[str]] = {}
        for path in paths:
            root, relative = self._root_of(path)
            if root is not None:
                siblings.setdefault(root.folder, set()).add(relative)
        self._siblings = {folder: frozenset(pages) for folder, pages in siblings.items()}
        self._listed = {
            root.folder: site.generator.listed_pages(root) for root in site.content_roots
        }

    def _root_of(self, path: str) -> tuple[ContentRoot | None, str]:
        """The content root of a page, and the page's path relative to it."""
        file = posixpath.normpath(posixpath.join(self._folder, path))
        folder = posixpath.dirname(file)
        while (root := self._roots.get(folder)) is None and folder.strip("/"):
            folder = posixpath.dirname(folder)
        return (root, root.relative(file)) if root else (None, path)

    def address(self, path: str, page: RoutedPage, text: str = "") -> PageAddress:
        """`path` is relative to the content root, with `/`; `text` is the source of `page`. Without
        it, explicit ids other than `{#id}` (`{id=x}`, `{: #id}`) are not seen."""
        found = anchors(self._site, page, text)
        root, relative = self._root_of(path)
        if root is None:
            return PageAddress(None, found)
        listed = self._listed.get(root.folder)
        place = NOT_BUILT
        if listed is None or relative in listed:
            source = PageSource(
                relative,
                page.front_matter,
                page.title,
                self._siblings.get(root.folder, frozenset()),
                Path(self._folder) / path,
                text,
                page.front_matter_complete,
            )
            place = UNKNOWN_PATH
            if len(page.title) <= LONGEST_PATH:
                place = self._site.generator.page_path(self._site, root, source)
            if len(place.path or "") > LONGEST_PATH:
                place = UNKNOWN_PATH
        url = None
        if place.path is not None and self._site.base_url:
            url = self._site.site_url + quote(place.path, safe=PATH_SAFE, errors="replace")
        return PageAddress(
            url,
            found,
            root.version,
            place.locale or root.locale,
            place.published,
            place.until,
            (listed or {}).get(relative, ""),
        )
