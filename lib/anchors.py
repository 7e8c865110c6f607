"""Ids of a page's headings: what the author wrote where the generator heeds it, else a slug."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from lib.heading_text import FLAVOURS, Flavour, heading_text
from lib.js_values import UNKNOWN
from lib.sites import anchors as slugs
from lib.sites.config_files import Tagged, section
from lib.sites.detection import extension_settings
from lib.sites.site import GENERATORS, Site


class RoutedHeading(Protocol):
    """The part of `lib.markdown_page.Heading` that links need."""

    @property
    def level(self) -> int: ...
    @property
    def source(self) -> str: ...
    @property
    def explicit_id(self) -> str | None: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


class RoutedPage(Protocol):
    """The part of `lib.markdown_page.Page` that links need."""

    @property
    def front_matter(self) -> Mapping[str, object]: ...
    @property
    def title(self) -> str: ...
    @property
    def headings(self) -> Sequence[RoutedHeading]: ...
    @property
    def references(self) -> Mapping[str, Any]: ...


_UNESCAPE: Final = re.compile(r"\\([!-/:-@\[-`{-~])")
_BRACES: Final = re.compile(
    r"\\?\{(?:[^{}\n]|/\*.*?\*/)*\}(?=[ \t]*(?:#+[ \t]*)?(?:\r?\n[ \t>]*[=-]+[ \t]*)?\Z)"
)
_LINE_BELOW: Final = re.compile(r"[ \t]*\r?\n {0,3}\{:([^{}\n]*)\}[ \t]*(?=\r?\n|\Z)")
# Each generator's own idea of an id behind a heading.
_OWN_ID: Final = {
    "docusaurus": re.compile(r"\s*\\?\{(?:#((?:(?!\{#|\}).)+)|/\*\s*#(\S+)(?: .*?)?\*/)\}\s*$"),
    "mkdocs": re.compile(r"(?:^|[ ]+)\{:?[ ]*([^}\n ][^}\n]*?)[ ]*\}[ ]*$"),
    "jekyll": re.compile(r"(?:^|[ \t]+)\{#([A-Za-z][\w:-]*)\}\s*$"),
    "sphinx": re.compile(r"(?!)"),
}
_ATTRIBUTES: Final = re.compile(
    r"[ \t]*\{:?((?:[ \t]*(?:[.#][^\s{}]+|[\w:-]+=(?:\"[^\"]*\"|'[^']*'|[^\s{}]+)))+)[ \t]*\}\s*$"
)
_ATTRIBUTE: Final = re.compile(r"#([^\s{}#]+)|\bid=(?:\"([^\"]*)\"|'([^']*)'|([^\s{}]+))")


def anchors(site: Site, page: RoutedPage, text: str = "") -> tuple[str | None, ...]:
    """The ids that the generator gives the page's headings; None where it gives none, or only the
    build knows which. `text` is what the page was read from."""
    generator = site.generator
    if generator not in GENERATORS:
        return (None,) * len(page.headings)
    flavour, slug = _flavour(site), _slugger(site)
    templated = _templates(site)
    named: list[slugs.Named] = []
    guessed: list[bool] = []
    for heading in page.headings:
        source, explicit = _explicit(site, heading, text)
        if explicit is not None:
            named.append((explicit, True))
            guessed.append(False)
            continue
        plain = heading_text(source, flavour, page.references)
        named.append((slug(plain) if slug else "", False))
        # Templates make text of their own: what it will be, only the build knows.
        guessed.append(slug is None or (templated is not None and bool(templated.search(source))))
    unique = _numbered(generator, named)
    if generator == "sphinx" and "[^" in text:
        # Footnotes draw from the same numbers, in an order that only the build knows.
        guessed = [
            unsure or bool(re.fullmatch(r"id\d+", anchor))
            for unsure, anchor in zip(guessed, unique, strict=True)
        ]
    return tuple(
        None
        if unsure or not anchor or (generator == "docusaurus" and heading.level == 1)
        else anchor
        for heading, anchor, unsure in zip(page.headings, unique, guessed, strict=True)
    )


def _templates(site: Site) -> re.Pattern[str] | None:
    """What a heading must not hold for its text to be known before the build."""
    patterns = {"hugo": r"\{\{[<%]", "jekyll": r"\{\{|\{%"}
    if site.generator == "mkdocs":
        hooks = ["<!--"] if site.settings.get("hooks") else []
        macros = {"macros", "zensical.extensions.macros"}
        plugins = extension_settings(site.settings, "plugins").keys()
        if macros & (plugins | extension_settings(site.settings, "markdown_extensions").keys()):
            hooks.append(r"\{\{|\{%")
        patterns["mkdocs"] = "|".join(hooks) or "(?!)"
    pattern = patterns.get(site.generator)
    return re.compile(pattern) if pattern else None


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


def _written(heading: RoutedHeading, text: str) -> str:
    """The heading's inline source with what stands in braces behind it, as far as that is known."""
    if text and (found := _BRACES.search(text[heading.start : heading.end])):
        braces = found[0]
        if not heading.source.endswith(braces):
            return f"{heading.source} {braces}"
        return heading.source
    if heading.explicit_id is not None:
        return f"{heading.source} {{#{heading.explicit_id}}}"
    return heading.source


def _explicit(site: Site, heading: RoutedHeading, text: str) -> tuple[str, str | None]:
    """The heading's source, and the id that its author gave it, if this generator heeds it."""
    source = _written(heading, text)
    if site.generator == "mkdocs" and not _attribute_lists(site):
        return source, None
    below = _LINE_BELOW.match(text, heading.end) if site.generator == "jekyll" and text else None
    found = _OWN_ID.get(site.generator, _ATTRIBUTES).search(source)
    if found is None:
        return source, _attribute_id(below[1]) if below else None
    source = source[: found.start()]
    match site.generator:
        case "docusaurus":
            return source, _UNESCAPE.sub(r"\1", found[1] or found[2]).strip()
        case "jekyll":
            return source, found[1]
    return source, _attribute_id(found[1])


def _attribute_id(attributes: str) -> str | None:
    ids = [a or b or c or d for a, b, c, d in _ATTRIBUTE.findall(attributes)]
    return ids[-1] if ids else None


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
