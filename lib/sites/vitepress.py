"""VitePress: file names as addresses; slugs of @mdit-vue/shared."""

import re
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from lib.languages import normalize
from lib.sites.anchors import attribute_list, numbered
from lib.sites.config_files import (
    UNKNOWN,
    UNREAD,
    base_of,
    read_text,
    section,
    setting,
    string,
    strings,
)
from lib.sites.globs import glob_matches
from lib.sites.javascript import JAVASCRIPT_SUFFIXES, read_object
from lib.sites.site import (
    NOT_BUILT,
    ContentRoot,
    Generator,
    HeadingRules,
    HeadingText,
    PagePath,
    PageSource,
    Project,
    Site,
    joined,
    split_name,
    use_the_build,
)


def _page_path(site: Site, _root: ContentRoot, source: PageSource) -> PagePath:
    if glob_matches(strings(site.settings.get("srcExclude")), source.path):
        return NOT_BUILT
    if re.search(r"\[\w+\]", source.path) or glob_matches(("**/node_modules/**",), source.path):
        return NOT_BUILT  # a template; code lists its pages
    locale = _locale(site.settings, source.path)
    if _unknown(site.settings, site.options):
        return PagePath(None, locale=locale)
    folder, name = split_name(source.path)
    if name == "index":
        return PagePath(joined(site.base_url, folder, "/"), locale=locale)
    # the build contains x.html with `cleanUrls` too
    clean = site.switch("clean_urls", site.settings.get("cleanUrls") is True)
    ending = "" if clean else ".html"
    return PagePath(joined(site.base_url, folder, name) + ending, locale=locale)


def _unknown(settings: Mapping[str, Any], options: Mapping[str, object]) -> list[str]:
    """The settings of addresses that are not read."""
    keys = ["srcDir"] if "clean_urls" in options else ["srcDir", "cleanUrls"]
    unread = [key for key in keys if setting(settings, key) is UNKNOWN]
    return unread + ["rewrites"] * (setting(settings, "rewrites") is not None)


def _unread(project: Project) -> Iterator[str]:
    if keys := _unknown(project.settings, project.options):
        yield use_the_build(f"{', '.join(keys)} cannot be read")
    elif not _usual_anchors(project.settings):
        reason = "markdown, or a package, may set the anchors"
        yield use_the_build(reason, "links lead to pages, not to headings")


def _usual_anchors(settings: Mapping[str, Any]) -> bool:
    keys = (("markdown", "anchor"), ("markdown", "typographer"))
    return all(setting(settings, *each) is None for each in keys)


def _locale(settings: Mapping[str, Any], path: str) -> str:
    """The language's folder; for pages outside those, the `lang` of the site's root."""
    locales = section(settings, "locales")
    folder = path.partition("/")[0]
    if "/" in path and folder in locales and folder != "root":
        return folder
    own = string(section(locales, "root"), "lang") or string(settings, "lang")
    return own if locales else ""


_SPECIAL: Final = re.compile(r"""[\s~`!@#$%^&*()\-_+=\[\]{}|\\;:"'“”‘’<>,.?/]+""")
_DROPPED: Final = re.compile(r"[\u0300-\u036f\u0000-\u001f]")


def _slug(text: str) -> str:
    """`slugify` of @mdit-vue/shared."""
    text = _DROPPED.sub("", normalize("NFKD", text))
    text = _SPECIAL.sub("-", text).strip("-")
    # ASCII digits only: the rule is a JavaScript `\d`.
    return re.sub(r"^([0-9])", r"_\1", text).lower()


def _heading_rules(site: Site) -> HeadingRules:
    return HeadingRules(
        slugify=_slug if _usual_anchors(site.settings) else None,
        number=partial(numbered, explicit_count=True),
        text=HeadingText(emoji_codes=False, raw_entities=True, attributes=True),
        explicit_id=attribute_list,
        template=re.compile(r"\[\^|\n"),  # a footnote or a break
    )


def _project_folder(file: Path) -> Path:
    return next(each.parent for each in (file, *file.parents) if each.name == ".vitepress")


_PAGE_SUFFIX: Final = re.compile(r"\.(?:html|md)\Z")
_EXTENDED: Final = re.compile(r"\bextends:\s*+(\w++)")
_IMPORTED: Final = re.compile(r"""^import\s+(\w++)\s+from\s+['"][^.'"]""", re.MULTILINE)


def _read_settings(file: Path, problems: list[str] | None = None) -> dict[str, Any]:
    text = read_text(file, problems)
    settings = read_object(text, file.name, problems)
    if "extends" in settings:
        # A package is made for many sites, so it does not set the paths of one.
        packages, extended = _IMPORTED.findall(text), _EXTENDED.search(text)
        packaged = extended is not None and extended[1] in packages
        settings["markdown" if packaged else UNREAD] = UNKNOWN
    return settings


_LINK: Final = re.compile(r"""\blink:\s*+["']/([^"'#\n]*+)""")


def _page_order(site: Site, _root: ContentRoot, _pages: Collection[str]) -> Iterator[str]:
    """The pages that the configuration links to in its sidebar and below."""
    text = read_text(site.config_file) if site.config_file else ""
    for link in _LINK.findall(text.partition("sidebar")[2]):
        yield f"{_PAGE_SUFFIX.sub('', link)}{'index' if link[-1:] in ('', '/') else ''}.md"


GENERATOR: Final = Generator(
    name="vitepress",
    options={"clean_urls": bool},
    config_files=(
        *(f".vitepress/config{suffix}" for suffix in JAVASCRIPT_SUFFIXES),
        *(f".vitepress/config/index{suffix}" for suffix in JAVASCRIPT_SUFFIXES),
        ".vitepress/",
    ),
    read_settings=_read_settings,
    project_folder=_project_folder,
    address=lambda settings: (
        string(section(settings, "sitemap"), "hostname"),
        base_of(settings, "base"),
    ),
    title=lambda settings: string(settings, "title"),
    page_order=_page_order,
    content_roots=lambda project: project.single_root(string(project.settings, "srcDir", ".")),
    unread=_unread,
    page_path=_page_path,
    heading_rules=_heading_rules,
    underscored_pages=True,
    text_fragments=False,  # its client looks up the anchor itself and would not find this one
)
