"""VitePress: file names as addresses, with rewrites; slugs of @mdit-vue/shared."""

import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

from lib.languages import normalize
from lib.sites.anchors import attribute_list, numbered
from lib.sites.config_files import (
    UNKNOWN,
    UNREAD,
    base_of,
    merged,
    opened,
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
    TYPOGRAPHY,
    UNKNOWN_PATH,
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
)


def _page_path(site: Site, root: ContentRoot, source: PageSource) -> PagePath:
    if glob_matches(strings(site.settings.get("srcExclude")), source.path):
        return NOT_BUILT
    if re.search(r"\[\w+\]", source.path) or glob_matches(("**/node_modules/**",), source.path):
        return NOT_BUILT  # a template; code lists its pages
    path = _rewritten(setting(site.settings, "rewrites"), source.path)
    if path is None or root.route is None:
        return UNKNOWN_PATH
    locale = _locale(site.settings, path)
    folder, name = split_name(path)
    if name == "index":
        return PagePath(joined(site.base_url, folder, "/"), locale=locale)
    # the build contains x.html with `cleanUrls` too
    clean = site.switch("clean_urls", site.settings.get("cleanUrls") is True)
    ending = "" if clean else ".html"
    return PagePath(joined(site.base_url, folder, name) + ending, locale=locale)


def _locale(settings: Mapping[str, Any], path: str) -> str:
    """The language's folder; for pages outside those, the `lang` of the site's root."""
    locales = section(settings, "locales")
    folder = path.partition("/")[0]
    if "/" in path and folder in locales and folder != "root":
        return folder
    own = string(section(locales, "root"), "lang") or string(settings, "lang")
    return own if locales else ""


_PARAMETER: Final = re.compile(r":(\w+)(?:\(([^()]*)\))?([*+?]?)")

_SYNTAX: Final = re.compile(r"[:({]")


def _rewritten(rewrites: object, path: str) -> str | None:
    """The path after `rewrites`; None when code decides."""
    if rewrites is UNKNOWN:
        return None
    if not isinstance(rewrites, dict):
        return path
    for pattern, target in rewrites.items():
        if pattern == path:
            return target if isinstance(target, str) else None
        if not _SYNTAX.search(pattern) or not isinstance(target, str):
            continue
        prefix, regex, suffix = _compiled(pattern)
        if not (path.startswith(prefix) and path.endswith(suffix)):
            continue
        if regex is None:
            return None
        if (found := regex.match(path[: len(path) - len(suffix)])) is not None:
            values = dict(zip(_PARAMETER.split(pattern)[1::4], found.groups(), strict=True))
            pieces = _PARAMETER.split(target)  # text, name, expression, sign, text, …
            pieces[1::4] = [values.get(name, "") for name in pieces[1::4]]
            return "".join(pieces[at] for at in range(len(pieces)) if at % 4 in (0, 1))
    return path


@lru_cache(maxsize=1_000)
def _compiled(pattern: str) -> tuple[str, re.Pattern[str] | None, str]:
    """The text before the parameters, a regular expression, and the text after them.

    The rules are those of path-to-regexp 6.3: a parameter contains no slash, nor the text before it
    if that follows another parameter. So none backtracks over another. The regular expression is
    None for a pattern with expressions or groups, and for one with `.*` before another parameter.
    """
    texts = _PARAMETER.split(pattern)
    if any("(" in text or "{" in text for text in texts[0::4]):
        return _SYNTAX.split(pattern)[0], None, ""
    kinds = list(zip(texts[0::4], texts[2::4], texts[3::4], strict=False))
    regex = ""
    for index, (before, expression, sign) in enumerate(kinds):
        rest = expression == ".*" or sign in ("*", "+")
        last = index == len(kinds) - 1
        if (expression and not rest) or (rest and not last) or (index and not before):
            return texts[0], None, texts[-1]
        free = not index or "/" in before
        piece = "[^/]+?" if free else f"(?:(?!{re.escape(before)})[^/])+?"
        regex += re.escape(before) + ("(.*)" if rest else f"({piece})")
    return texts[0], re.compile(regex + r"\Z", re.DOTALL), texts[-1]


_SPECIAL: Final = re.compile(r"""[\s~`!@#$%^&*()\-_+=\[\]{}|\\;:"'“”‘’<>,.?/]+""")
_DROPPED: Final = re.compile(r"[\u0300-\u036f\u0000-\u001f]")


def _slug(text: str) -> str:
    """`slugify` of @mdit-vue/shared."""
    text = _DROPPED.sub("", normalize("NFKD", text))
    text = _SPECIAL.sub("-", text).strip("-")
    # ASCII digits only: the rule is a JavaScript `\d`.
    return re.sub(r"^([0-9])", r"_\1", text).lower()


def _heading_rules(site: Site, _text: str) -> HeadingRules:
    own = setting(site.settings, "markdown", "anchor", "slugify", packaged=True) is not None
    typographer = section(site.settings, "markdown").get("typographer")
    return HeadingRules(
        slugify=None if own else _slug,
        number=partial(numbered, explicit_count=True),
        text=HeadingText(
            emoji_codes=False,
            footnotes=False,
            attributes=True,
            breaks="",
            raw_entities=True,
            typography=TYPOGRAPHY if typographer is True else frozenset(),
        ),
        explicit_id=attribute_list,
    )


def _project_folder(file: Path) -> Path:
    return next(each.parent for each in (file, *file.parents) if each.name == ".vitepress")


_PAGE_SUFFIX: Final = re.compile(r"\.(?:html|md)\Z")
_MAX_EXTENDED: Final = 5
_UNREADABLE: Final = {
    ("srcDir",): "pages have no address",
    ("rewrites",): "pages have no address",
    ("markdown", "anchor", "slugify"): "links lead to pages, not to headings",
}
"""Settings, and the effect of one that cannot be read."""


def _content_roots(project: Project) -> tuple[ContentRoot, ...]:
    folder = setting(project.settings, "srcDir")
    if folder is UNKNOWN:
        return tuple(replace(root, route=None) for root in project.single_root("."))
    return project.single_root(folder if isinstance(folder, str) else ".")


def _read_settings(file: Path, problems: list[str] | None = None) -> dict[str, Any]:
    wanted = ("base", "cleanUrls", "srcDir", "themeConfig", "title", "rewrites", "markdown")
    text = read_text(file, problems)
    settings = read_object(text, wanted, file, problems, folder=_project_folder(file))
    for _ in range(_MAX_EXTENDED):
        base = settings.pop("extends", None)
        if not isinstance(base, dict):
            break
        if UNREAD in base:
            settings = opened(settings, base[UNREAD])
        settings = merged(base, settings)
    if problems is not None:
        problems += (
            f"{file.name}: {'.'.join(keys)} is code or set in another place, so {effect}"
            for keys, effect in _UNREADABLE.items()
            if setting(settings, *keys, packaged=keys[0] == "markdown") is UNKNOWN
        )
    return settings


def _title(settings: Mapping[str, Any]) -> str:
    return string(settings, "title") or string(section(settings, "locales", "root"), "title")


def _page_order(site: Site, _root: ContentRoot, _pages: Collection[str]) -> Iterator[str]:
    own = section(site.settings, "locales", "root", "themeConfig")
    theme = own if "sidebar" in own else section(site.settings, "themeConfig")
    return _sidebar_pages(theme.get("sidebar"), "")


def _sidebar_pages(sidebar: object, base: str) -> Iterator[str]:
    """The pages that a sidebar links to: a list of items, or such lists by path."""
    if isinstance(sidebar, list):
        for each in sidebar:
            yield from _sidebar_pages(each, base)
    elif isinstance(sidebar, dict):
        base = string(sidebar, "base", base)
        if link := string(sidebar, "link"):
            path = f"{base}/{link}".partition("#")[0]
            page = "index" if path.endswith("/") else ""
            page = posixpath.normpath(posixpath.join("/", path, page)).lstrip("/")
            yield _PAGE_SUFFIX.sub("", page) + ".md"
        if "items" in sidebar:
            yield from _sidebar_pages(sidebar["items"], base)
        elif "text" not in sidebar:
            yield from _sidebar_pages([*sidebar.values()], base)


GENERATOR: Final = Generator(
    name="vitepress",
    options={"clean_urls": bool},
    config_files=(
        *(f".vitepress/config{suffix}" for suffix in JAVASCRIPT_SUFFIXES),
        *(f".vitepress/config/index{suffix}" for suffix in JAVASCRIPT_SUFFIXES),
        ".vitepress/",
    ),
    read_settings=_read_settings,
    patterns=("rewrites", "srcExclude"),
    project_folder=_project_folder,
    address=lambda settings: (
        string(section(settings, "sitemap"), "hostname"),
        base_of(settings, "base"),
    ),
    title=_title,
    page_order=_page_order,
    content_roots=_content_roots,
    page_path=_page_path,
    heading_rules=_heading_rules,
    underscored_pages=True,
    text_fragments=False,  # its client looks up the anchor itself and would not find this one
)
