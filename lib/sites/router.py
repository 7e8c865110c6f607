"""From a Markdown file and a heading in it to the address that a reader can open.

`Router` holds what the whole book decides (which pages SUMMARY.md lists, which files lie in
another's bundle); `Router.address` gives a page's address and an anchor for each of its headings.
What cannot be known is None: a link to the page beats a link to a guessed anchor, and no link
beats one to a guessed page.
"""

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from lib.sites.anchors import RoutedPage, anchors
from lib.sites.config_files import read_text
from lib.sites.docusaurus import docusaurus
from lib.sites.hugo import hugo
from lib.sites.jekyll import jekyll
from lib.sites.mdbook import mdbook, summary_pages
from lib.sites.mkdocs import mkdocs
from lib.sites.site import ContentRoot, PagePath, PageSource, Site
from lib.sites.sphinx import sphinx
from lib.sites.vitepress import vitepress

_PATHS: Final[Mapping[str, Callable[[Site, ContentRoot, PageSource], PagePath]]] = {
    "docusaurus": docusaurus,
    "mkdocs": mkdocs,
    "mdbook": mdbook,
    "vitepress": vitepress,
    "hugo": hugo,
    "jekyll": jekyll,
    "sphinx": sphinx,
}
_PATH_SAFE: Final = "/~!$&'()*+,;=:@-._"
_ANCHOR_SAFE: Final = _PATH_SAFE + "?"


@dataclass(frozen=True, slots=True)
class PageAddress:
    url: str | None
    """Percent-encoded. With scheme and host when the site's address is known, else a path from the
    host's root. None when there is no such page or its address cannot be known."""
    anchors: tuple[str | None, ...]
    """One for each heading, unencoded. None: the heading has none, link to the page."""
    version: str = ""
    locale: str = ""
    published: bool = True
    """False when the site's own rules keep the page out: a draft, a partial, not in SUMMARY.md.
    A page whose address merely cannot be known counts as published."""


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
        self._root = posixpath.normpath(content_root.absolute().as_posix())
        siblings: dict[str, set[str]] = {}
        for path in paths:
            mount, relative = self._mounted(path)
            if mount is not None:
                siblings.setdefault(mount.folder, set()).add(relative)
        self._siblings = {folder: frozenset(pages) for folder, pages in siblings.items()}
        self._listed: dict[str, frozenset[str]] = {}
        if site.generator == "mdbook":
            for mount in site.mounts:
                summary = read_text(Path(mount.folder) / "SUMMARY.md")
                if summary:
                    self._listed[mount.folder] = summary_pages(summary)

    def _mounted(self, path: str) -> tuple[ContentRoot | None, str]:
        file = posixpath.normpath(posixpath.join(self._root, path))
        for mount in self._site.mounts:
            relative = mount.relative(file)
            if relative:
                return mount, relative
        return None, path

    def address(self, path: str, page: RoutedPage, text: str = "") -> PageAddress:
        """`path` is relative to the content root, with `/`; `text` is what the page was read from.
        Without it, what generators disagree on beside `{#id}` (`{id=x}`, `{: #id}`) goes unseen."""
        mount, relative = self._mounted(path)
        if mount is None or self._site.generator not in _PATHS:
            return PageAddress(None, anchors(self._site, page, text))
        listed = self._listed.get(mount.folder)
        if listed is not None and relative not in listed:
            place = PagePath(None, published=False)
        else:
            source = PageSource(
                relative,
                page.front_matter,
                page.title,
                bool(page.front_matter) or self._opens_with_front_matter(path, text),
                self._siblings.get(mount.folder, frozenset()),
            )
            place = _PATHS[self._site.generator](self._site, mount, source)
        url = None
        if place.path is not None:
            url = self._site.site_url + quote(place.path, safe=_PATH_SAFE, errors="replace")
        return PageAddress(
            url,
            anchors(self._site, page, text),
            mount.version,
            place.locale or mount.locale,
            place.published,
        )

    def _opens_with_front_matter(self, path: str, text: str) -> bool:
        """Jekyll renders a file with empty front matter, and not one without any."""
        if self._site.generator != "jekyll":
            return False
        text = text or read_text(Path(self._root) / path)
        return re.match(r"\ufeff?---[ \t]*\r?\n", text) is not None
