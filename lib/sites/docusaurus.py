"""Docusaurus 3: docs, blog posts and standalone pages, with versions and translations."""

import math
import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from lib.sites.anchors import numbered, word_slug
from lib.sites.config_files import (
    UNKNOWN,
    UNREAD,
    DataError,
    base_of,
    load_data,
    read_config,
    read_front_matters,
    read_text,
    section,
    setting,
    string,
    strings,
)
from lib.sites.globs import fits, glob_matches
from lib.sites.javascript import JAVASCRIPT_SUFFIXES, read_object
from lib.sites.site import (
    NOT_BUILT,
    UNKNOWN_PATH,
    ContentRoot,
    Generator,
    HeadingRules,
    HeadingText,
    PagePath,
    PageSource,
    Project,
    Site,
    below,
    joined,
    split_name,
    text_of,
)

_MAX_PLUGINS: Final = 50
_MAX_VERSIONS: Final = 100
_PREFIX: Final = re.compile(r"\d+\s*[-_.]+\s*([^-_.\s].*)", re.DOTALL)
_LIKE_A_DATE: Final = re.compile(r"\d+[-_.]\d+")
_BLOG_DATE: Final = re.compile(r"(.*?)(\d{4}[-/]\d{1,2}[-/]\d{1,2})[-/]?(.*)", re.DOTALL)


def _without_number(segment: str) -> str:
    """`02-Guide` is `Guide`, while `2021-11-notes` and `7.0-notes` stay."""
    match = None if _LIKE_A_DATE.match(segment) else _PREFIX.fullmatch(segment)
    return match[1] if match else segment


def _page_path(site: Site, root: ContentRoot, source: PageSource) -> PagePath:
    front = source.front_matter
    if glob_matches(root.exclude, source.path) or front.get("draft") is True:
        return NOT_BUILT
    if root.route is None or not source.front_matter_complete:
        return UNKNOWN_PATH
    path = {"blog": _blog_post, "pages": _standalone}.get(root.kind, _doc)(root, source)
    path = joined(site.base_url, root.locale, root.route, path)
    configured = site.settings.get("trailingSlash")
    slash = site.switch("trailing_slash", configured if isinstance(configured, bool) else None)
    if slash is not None and path not in ("/", site.base_url):
        path = path.rstrip("/") + ("/" if slash else "")
    return PagePath(path)


def _doc(root: ContentRoot, source: PageSource) -> str:
    folder, name = split_name(source.path)
    slug, ident = text_of(source.front_matter.get("slug")), text_of(source.front_matter.get("id"))
    if slug.startswith("/"):
        return unquote(slug)
    strip = root.number_prefixes and source.front_matter.get("parse_number_prefixes") is not False
    clean: Callable[[str], str] = _without_number if strip else str
    parent = "/".join(clean(segment) for segment in folder.split("/")) + "/" if folder else ""
    own = folder.rsplit("/", 1)[-1].lower()
    if not slug and name.lower() in ("index", "readme", own):
        return "/" + parent
    target = unquote(slug) or ident or clean(name)
    resolved = posixpath.normpath(posixpath.join("/", parent, target))
    ends = target.endswith("/") or target.rsplit("/", 1)[-1] in (".", "..")
    return resolved + "/" if ends and resolved != "/" else resolved


def _blog_post(_: ContentRoot, source: PageSource) -> str:
    if slug := text_of(source.front_matter.get("slug")):
        return "/" + unquote(slug)
    folder, name = split_name(source.path)
    path = folder if name == "index" and folder else posixpath.join(folder, name)
    dated = _BLOG_DATE.fullmatch(path)
    if dated is None:
        return "/" + path
    day = re.sub("[-/]", "/", dated[2])
    return joined(day, dated[1] + dated[3])


def _standalone(_: ContentRoot, source: PageSource) -> str:
    folder, name = split_name(source.path)
    if slug := text_of(source.front_matter.get("slug")):
        return "/" + unquote(slug)
    return f"/{folder}/" if name == "index" else joined(folder, name)


_EXCLUDED: Final = (
    "**/_*.{js,jsx,ts,tsx,md,mdx}",
    "**/_*/**",
    "**/*.test.{js,jsx,ts,tsx}",
    "**/__tests__/**",
)


def _content_roots(project: Project) -> Iterable[ContentRoot]:
    """Content roots of every docs, blog and pages plugin, with their versions and translations.

    The option `docs_route` is the route of the docs in the content folder. It also says that the
    folder holds docs where no plugin that could be read has it.
    """
    folder, root, config = project.folder, project.content_root, project.settings
    option = project.options.get("docs_route")
    route = option.strip("/") if isinstance(option, str) else None
    if not project.configured:
        route = "docs" if route is None else route
        return (ContentRoot(root.as_posix(), route, exclude=_EXCLUDED),)
    plugins = [*islice(_plugins(config), _MAX_PLUGINS)]
    if route is not None:
        index = _plugin_of(plugins, folder, root)
        if index is None:
            plugins.append(("docs", {"path": root.as_posix(), "routeBasePath": route, "id": "\0"}))
        else:
            plugins[index] = ("docs", {**plugins[index][1], "routeBasePath": route})
    i18n = section(config, "i18n")
    default = string(i18n, "defaultLocale", "en")
    locales = _folders(folder / "i18n")
    if (built := i18n.get("locales", [default])) is not UNKNOWN:
        locales = [locale for locale in locales if locale in strings(built)]
    return (
        found
        for kind, options in plugins
        for found in _plugin_roots(kind, options, folder, (default, *locales))
    )


def _plugins(config: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(kind, options) of each content plugin."""
    presets = setting(config, "presets")
    if presets is UNKNOWN:
        presets = [["classic", UNKNOWN]]
    elif not isinstance(presets, list):
        presets = ["classic"]
    for entry in presets:
        name, options = _named(entry)
        if "classic" in name:
            for kind in ("docs", "blog", "pages"):
                value = setting(options, kind)
                if value is not False:
                    yield kind, _options(value)
    plugins = config.get("plugins")
    for entry in plugins if isinstance(plugins, list) else []:
        name, options = _named(entry)
        for kind in ("docs", "blog", "pages"):
            if f"content-{kind}" in name:
                yield kind, options


def _named(entry: object) -> tuple[str, dict[str, Any]]:
    parts = entry if isinstance(entry, list) else [entry]
    name = parts[0] if parts and isinstance(parts[0], str) else ""
    return name, _options(parts[1] if len(parts) > 1 else None)


def _options(value: object) -> dict[str, Any]:
    if value is UNKNOWN:
        return {UNREAD: UNKNOWN}
    return value if isinstance(value, dict) else {}


_DEFAULT_PATH: Final = {"docs": "docs", "blog": "blog", "pages": "src/pages"}
_DEFAULT_ROUTE: Final = {"docs": "docs", "blog": "blog", "pages": ""}


def _plugin_of(plugins: list[tuple[str, dict[str, Any]]], folder: Path, root: Path) -> int | None:
    """Index of the docs plugin that `root` belongs to; the first if `root` is the whole site."""
    for index, (kind, options) in enumerate(plugins):
        if kind != "docs":
            continue
        roots = _plugin_roots(kind, options, folder, ("", *_folders(folder / "i18n")))
        if any(found.overlaps(root.as_posix()) for found in roots):
            return index
    return None


def _plugin_roots(
    kind: str, options: Mapping[str, Any], folder: Path, languages: tuple[str, ...]
) -> Iterator[ContentRoot]:
    """`languages` are the default one and then the translations that are built."""
    default, *locales = languages
    path, told = setting(options, "path"), setting(options, "routeBasePath")
    if path is UNKNOWN:
        path, told = None, UNKNOWN if told is None else told
    path = _DEFAULT_PATH[kind] if path is None else path
    if not isinstance(path, str):
        return
    route: str | None = _DEFAULT_ROUTE[kind]
    if told is not None:
        route = told.strip("/") if isinstance(told, str) else None
    exclude = strings(options.get("exclude")) or _EXCLUDED
    exclude = exclude if fits(exclude) else _EXCLUDED
    prefixes = options.get("numberPrefixParser") is not False
    name = string(options, "id", "default")
    prefix = "" if name == "default" else f"{name}_"
    plugin = f"docusaurus-plugin-content-{kind}" + ("" if name == "default" else f"-{name}")
    versions = _versions(folder, prefix, options) if kind == "docs" else [("", "", "")]
    for version, part, stored in versions:
        place = None if route is None else "/".join(p for p in (route, part) if p)
        original = f"{prefix}versioned_docs/{stored}" if stored else path
        translation = f"{plugin}/{stored or 'current'}" if kind == "docs" else plugin
        for locale in ("", *locales):
            where = below(folder, f"i18n/{locale}/{translation}" if locale else original)
            shown = "" if locale == default else locale
            yield ContentRoot(where, place, kind, version, shown, exclude, prefixes)


def _versions(folder: Path, prefix: str, options: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(name, path in the address, folder) of each version; ("current", "", "") without any."""
    names: list[str] = []
    file = folder / f"{prefix}versions.json"
    if options.get("disableVersioning") is not True:
        with suppress(DataError):
            names = list(strings(load_data(read_text(file) or "[]", "JSON")))[:_MAX_VERSIONS]
    if not names:
        return [("", "", "")]
    last = string(options, "lastVersion", names[0])
    overrides = section(options, "versions")
    found = []
    for name in ["current", *names]:
        path = section(overrides, name).get("path")
        if not isinstance(path, str):
            path = "" if name == last else "next" if name == "current" else name
        where = "" if name == "current" else f"version-{name}"
        found.append((name, path.strip("/"), where))
    return found


def _folders(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())[:200]
    except OSError:
        return []


_EXPLICIT_ID: Final = re.compile(r"\{(?:#([^}\n]++)|/\*\s*+#(\S+)(?: .*?)?\*/)\}\s*+\Z")
_BACKSLASH: Final = re.compile(r"\\([!-/:-@\[-`{-~])")


def _explicit_id(source: str, _text: str, _end: int) -> tuple[str, str | None]:
    """`{#my-id}`, also as `\\{#my-id}` and `{/* #my-id */}`."""
    start = max(source.rfind("{#"), source.rfind("{/*"), 0)
    found = _EXPLICIT_ID.match(source, start)
    if found is None:
        return source, None
    heading = source[:start].removesuffix("\\").rstrip()
    return heading, _BACKSLASH.sub(r"\1", found[1] or found[2]).strip()


def _github_slug(text: str, *, lower: bool = True) -> str:
    """github-slugger. It drops tabs."""
    return word_slug((text.lower() if lower else text).replace("\t", ""))


def _heading_rules(site: Site) -> HeadingRules:
    kept = section(site.settings, "markdown", "anchors").get("maintainCase") is True
    return HeadingRules(
        slugify=lambda text: _github_slug(text, lower=not kept),
        number=partial(numbered, explicit_count=False),
        text=HeadingText(mdx=True),
        explicit_id=_explicit_id,
        h1_has_anchor=False,  # but it uses up a slug
    )


def _page_order(site: Site, root: ContentRoot, pages: Collection[str]) -> Iterator[str]:
    """The docs of the sidebars, else all by their `sidebar_position` and the number in their name.

    Of other pages and of the docs of other versions, the order is not known.
    """
    if root.kind != "docs" or root.version not in ("", "current") or root.locale:
        return
    fronts = read_front_matters(Path(root.folder), pages)
    ids = {_doc_id(page, fronts.get(page, {})): page for page in pages}
    positions = {page: front.get("sidebar_position") for page, front in fronts.items()}
    category = cache(_category_position)
    for folder, name in dict.fromkeys(
        (bool(found[1]), found[3]) for found in _NAME.finditer(_sidebars(site, root))
    ):
        if folder:
            start = f"{name.strip('./')}/".lstrip("/")
            inside = [page for page in pages if page.startswith(start)]
            yield from sorted(inside, key=partial(_place_in_sidebar, root, positions, category))
        elif name in ids:
            yield ids[name]


_NAME: Final = re.compile(r"""(["']?\bdirName["']?\s*+:\s*+)?(["'])((?:(?!\2)[^\n])*+)\2""")
"""A string of a sidebars file: the id of a page, or the name of a folder."""
_MAX_SIDEBARS: Final = 100_000
"""Characters."""


def _doc_id(page: str, front: Mapping[str, object]) -> str:
    folder, name = split_name(page)
    own = text_of(front.get("id")) or _without_number(name)
    return "/".join([*map(_without_number, filter(None, folder.split("/"))), own])


def _sidebars(site: Site, root: ContentRoot) -> str:
    """The text of the sidebars file; by default, one sidebar with all docs."""
    folder = site.config_file.parent if site.config_file else Path(root.folder)
    names = [f"sidebars{suffix}" for suffix in (*JAVASCRIPT_SUFFIXES, ".json")]
    for kind, options in islice(_plugins(site.settings), _MAX_PLUGINS):
        place = below(folder, string(options, "path", "docs"))
        if kind == "docs" and place == root.folder and string(options, "sidebarPath"):
            names = [string(options, "sidebarPath")]
    # A configuration may not name files outside of its project.
    files = (file for name in names if (file := Path(below(folder, name))).is_relative_to(folder))
    return next(filter(None, map(read_text, files)), "dirName: '.'")[:_MAX_SIDEBARS]


_POSITION: Final = re.compile(r"(\d{1,9})\s*+[-_.]")


def _place_in_sidebar(
    root: ContentRoot,
    positions: Mapping[str, object],
    category: Callable[[str], object],
    page: str,
) -> list[tuple[float, str]]:
    """Sort key of a generated sidebar: positions of the folders and of the page, then names."""
    folder, name = split_name(page)
    parts = folder.split("/") if folder else []
    key = []
    for depth, part in enumerate(parts, 1):
        given = category("/".join([root.folder, *parts[:depth]]))
        key.append((_position(given, part), part.casefold()))
    own = name.lower() in ("index", "readme", *(part.lower() for part in parts[-1:]))
    return [*key, (-math.inf if own else _position(positions.get(page), name), name.casefold())]


def _category_position(folder: str) -> object:
    files = (Path(folder) / f"_category_.{suffix}" for suffix in ("json", "yml", "yaml"))
    return next((read_config(file).get("position") for file in files if file.is_file()), None)


def _position(given: object, name: str) -> float:
    if isinstance(given, int | float) and not isinstance(given, bool):
        return given
    numbered = _POSITION.match(name)
    return int(numbered[1]) if numbered else math.inf


def _read_settings(file: Path, problems: list[str] | None = None) -> dict[str, Any]:
    keys = ("baseUrl", "url", "presets", "plugins", "themeConfig", "title")
    return read_object(read_text(file, problems), keys, file.name, problems)


GENERATOR: Final = Generator(
    name="docusaurus",
    options={"docs_route": str, "trailing_slash": bool},
    config_files=tuple(f"docusaurus.config{suffix}" for suffix in JAVASCRIPT_SUFFIXES),
    read_settings=_read_settings,
    address=lambda settings: (string(settings, "url"), base_of(settings, "baseUrl")),
    title=lambda settings: string(settings, "title"),
    page_order=_page_order,
    content_roots=_content_roots,
    claims_project=True,  # the options of a plugin may be unreadable
    implied_by="docs_route",
    page_path=_page_path,
    heading_rules=_heading_rules,
    markdown=lambda _: "mdx",
)
