"""From a Markdown file and a heading in it to the address that a reader can open.

`Router` holds what the whole book decides (which pages SUMMARY.md lists, which files lie in
another's bundle); `Router.address` gives a page's address and an anchor for each of its headings.
What cannot be known is None: a link to the page beats a link to a guessed anchor, and no link
beats one to a guessed page.
"""

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

from lib import slugs
from lib.book_paths import mdbook, sphinx, summary_pages, vitepress
from lib.config_files import Tagged, read_text, section
from lib.docusaurus_paths import docusaurus
from lib.heading_text import FLAVOURS, Flavour, heading_text
from lib.hugo_paths import hugo
from lib.jekyll_paths import jekyll
from lib.js_literals import UNKNOWN
from lib.mkdocs_paths import mkdocs
from lib.mounts import Mount
from lib.page_source import Place, Source
from lib.site_config import GENERATORS, Site, detect_site, extension_settings

__all__ = ["GENERATORS", "PageAddress", "Router", "Site", "detect_site", "link"]

_PATHS: Final[Mapping[str, Callable[[Site, Mount, Source], Place]]] = {
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


class RoutedHeading(Protocol):
    """The part of `lib.markdown.Heading` that links need."""

    @property
    def level(self) -> int: ...
    @property
    def source(self) -> str: ...
    @property
    def explicit_id(self) -> str | None: ...


class RoutedPage(Protocol):
    """The part of `lib.markdown.Page` that links need."""

    @property
    def front_matter(self) -> Mapping[str, object]: ...
    @property
    def title(self) -> str: ...
    @property
    def headings(self) -> Sequence[RoutedHeading]: ...
    @property
    def references(self) -> Mapping[str, Any]: ...


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
    """False when the site's own rules keep the page out: a draft, a partial, not in SUMMARY.md."""


def link(address: PageAddress, heading_index: int | None) -> str | None:
    """The address of a heading; of the page for None, and for a heading without an anchor."""
    if address.url is None or heading_index is None:
        return address.url
    anchor = address.anchors[heading_index]
    return f"{address.url}#{quote(anchor, safe=_ANCHOR_SAFE)}" if anchor else address.url


class Router:
    """Addresses of one book's pages. `paths` are all its pages, relative to `content_root`."""

    def __init__(self, site: Site, content_root: Path, paths: Iterable[str]) -> None:
        self._site = site
        self._root = posixpath.normpath(content_root.absolute().as_posix())
        self._siblings: dict[str, set[str]] = {}
        for path in paths:
            mount, relative = self._mounted(path)
            if mount is not None:
                self._siblings.setdefault(mount.folder, set()).add(relative)
        self._listed: dict[str, frozenset[str]] = {}
        if site.generator == "mdbook":
            for mount in site.mounts:
                summary = read_text(Path(mount.folder) / "SUMMARY.md")
                if summary:
                    self._listed[mount.folder] = summary_pages(summary)

    def _mounted(self, path: str) -> tuple[Mount | None, str]:
        file = posixpath.normpath(posixpath.join(self._root, path))
        for mount in self._site.mounts:
            relative = mount.relative(file)
            if relative:
                return mount, relative
        return None, path

    def address(self, path: str, page: RoutedPage) -> PageAddress:
        """`path` is relative to the content root, with `/`."""
        mount, relative = self._mounted(path)
        if mount is None or self._site.generator not in _PATHS:
            return PageAddress(None, anchors(self._site, page))
        listed = self._listed.get(mount.folder)
        if listed is not None and relative not in listed:
            place = Place(None, published=False)
        else:
            source = Source(
                relative,
                page.front_matter,
                page.title,
                bool(page.front_matter) or self._opens_with_front_matter(path),
                self._siblings.get(mount.folder, ()),
            )
            place = _PATHS[self._site.generator](self._site, mount, source)
        url = None
        if place.path is not None:
            url = self._site.site_url + quote(place.path, safe=_PATH_SAFE)
        return PageAddress(
            url,
            anchors(self._site, page),
            mount.version,
            place.locale or mount.locale,
            place.published,
        )

    def _opens_with_front_matter(self, path: str) -> bool:
        """Jekyll renders a file with empty front matter, and not one without any."""
        if self._site.generator != "jekyll":
            return False
        return re.match(r"---[ \t]*\r?\n", read_text(Path(self._root) / path)) is not None


# --- Anchors ------------------------------------------------------------------------------------

_UNESCAPE: Final = re.compile(r"\\([!-/:-@\[-`{-~])")
_DOCUSAURUS_ID: Final = re.compile(r"\s*\\?\{#((?:(?!\{#|\}).)+)\}\s*$")
_ATTRIBUTE_ID: Final = re.compile(r"[ \t]*\{:?[^{}\n]*#([^\s{}]+)[^{}\n]*\}[ \t]*$")
_TEMPLATED: Final = {
    "mkdocs": re.compile(r"\{\{|\{%|<!--"),
    "hugo": re.compile(r"\{\{[<%]"),
    "jekyll": re.compile(r"\{\{|\{%"),
}


def anchors(site: Site, page: RoutedPage) -> tuple[str | None, ...]:
    """The ids that the generator gives the page's headings, None where it gives none."""
    generator = site.generator
    if generator not in _PATHS:
        return (None,) * len(page.headings)
    flavour, slug = _flavour(site), _slugger(site)
    named: list[slugs.Named] = []
    guessed: list[bool] = []
    for heading in page.headings:
        source, explicit = _explicit(site, heading)
        if explicit is not None:
            named.append((explicit, True))
            guessed.append(False)
            continue
        text = heading_text(source, flavour, page.references)
        named.append((slug(text) if slug else "", False))
        # Templates make text of their own: what it will be, only the build knows.
        templated = generator in _TEMPLATED and _TEMPLATED[generator].search(source)
        guessed.append(slug is None or bool(templated))
    unique = _numbered(generator, named)
    return tuple(
        None
        if unsure or not anchor or (generator == "docusaurus" and heading.level == 1)
        else anchor
        for heading, anchor, unsure in zip(page.headings, unique, guessed, strict=True)
    )


def _numbered(generator: str, named: list[slugs.Named]) -> list[str]:
    match generator:
        case "docusaurus":
            return slugs.github_numbered(named)
        case "mkdocs":
            return slugs.markdown_numbered(named)
        case "jekyll":
            return slugs.kramdown_numbered(named)
        case "sphinx":
            return slugs.docutils_numbered(named)
    return slugs.numbered(named, explicit_count=generator != "mdbook")


def _explicit(site: Site, heading: RoutedHeading) -> tuple[str, str | None]:
    """The heading's source, and the id that its author gave it, if this generator heeds it."""
    source, given = heading.source, heading.explicit_id
    pattern = _DOCUSAURUS_ID if site.generator == "docusaurus" else _ATTRIBUTE_ID
    if given is None and (found := pattern.search(source)):
        source, given = source[: found.start()], found[1]
    if given is None:
        return source, None
    match site.generator:
        case "docusaurus":
            return source, _UNESCAPE.sub(r"\1", given).strip()
        case "jekyll" if not re.fullmatch(r"[A-Za-z][\w:-]*", given):
            return f"{source} {{#{given}}}", None
        case "sphinx":
            return f"{source} {{#{given}}}", None
        case "mkdocs" if not _attribute_lists(site):
            return f"{source} {{#{given}}}", None
    return source, given


def _attribute_lists(site: Site) -> bool:
    """Without a readable configuration: what nearly every site that writes ids has."""
    extensions = extension_settings(site.settings, "markdown_extensions")
    return site.config_file is None or bool(
        {"attr_list", "extra", "markdown.extensions.attr_list", "markdown.extensions.extra"}
        & extensions.keys()
    )


def _flavour(site: Site) -> Flavour:
    flavour = FLAVOURS[site.generator]
    if site.generator == "mkdocs":
        extensions = extension_settings(site.settings, "markdown_extensions")
        emoji = "pymdownx.emoji" in extensions or site.config_file is None
        return replace(flavour, emoji_codes=not emoji, attributes=_attribute_lists(site))
    if site.generator == "mdbook":
        html = section(site.settings, "output", "html")
        return replace(flavour, smart_dashes=html.get("smart-punctuation") is not False)
    if site.generator == "hugo":
        goldmark = section(site.settings, "markup", "goldmark", "extensions", "typographer")
        return replace(flavour, smart_dashes=goldmark.get("disable") is not True)
    return flavour


def _slugger(site: Site) -> slugs.Slug | None:
    """None when the site makes its slugs with code of its own."""
    match site.generator:
        case "docusaurus":
            kept = section(site.settings, "markdown", "anchors").get("maintainCase") is True
            return lambda text: slugs.github_slug(text, lower=not kept)
        case "vitepress":
            anchor = section(site.settings, "markdown").get("anchor")
            own = anchor is UNKNOWN or (isinstance(anchor, dict) and "slugify" in anchor)
            return None if own else slugs.vitepress_slug
        case "mkdocs":
            return slugs.markdown_slugger(_toc(site))
        case "mdbook":
            return slugs.mdbook_slug
        case "hugo":
            kind = section(site.settings, "markup", "goldmark", "parser").get("autoheadingidtype")
            if kind == "blackfriday":
                return slugs.blackfriday_slug
            return lambda text: slugs.hugo_slug(text, ascii_only=kind == "github-ascii")
        case "jekyll":
            kramdown = section(site.settings, "kramdown")
            if kramdown.get("auto_ids") is False:
                return None
            plain = str(kramdown.get("input", "GFM")).lower() == "kramdown"
            return slugs.kramdown_plain_slug if plain else slugs.kramdown_slug
    return slugs.docutils_slug


def _toc(site: Site) -> dict[str, object]:
    extensions = extension_settings(site.settings, "markdown_extensions")
    toc: dict[str, object] = dict(extensions.get("markdown.extensions.toc", {}))
    toc |= extensions.get("toc", {})
    if isinstance(slugify := toc.get("slugify"), Tagged):
        toc["slugify"] = slugify.tag.partition(":")[2]
        toc["slugify_arguments"] = section(slugify.value, "kwds")
    return toc
