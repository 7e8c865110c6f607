"""Docusaurus 3: docs, with versions and translations. Other pages have no known address."""

import math
import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
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
    read_front_matter,
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
    use_the_build,
)

_MAX_PLUGINS: Final = 50
_MAX_VERSIONS: Final = 100
_PREFIX: Final = re.compile(r"\d+\s*[-_.]+\s*([^-_.\s].*)", re.DOTALL)
_LIKE_A_DATE: Final = re.compile(r"\d+[-_.]\d+")


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
    path = joined(site.base_url, root.locale, root.route, _doc(root, source))
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


_EXCLUDED: Final = (
    "**/_*.{js,jsx,ts,tsx,md,mdx}",
    "**/_*/**",
    "**/*.test.{js,jsx,ts,tsx}",
    "**/__tests__/**",
)


def _content_roots(project: Project) -> Iterator[ContentRoot]:
    """Content roots of every docs plugin, with their versions and translations, and the project.

    The option `docs_route` is the route of the docs in the content folder. It also says that the
    folder holds docs where no plugin that could be read has it.
    """
    folder, content, config = project.folder, project.content_root.as_posix(), project.settings
    option = project.options.get("docs_route")
    route = option.strip("/") if isinstance(option, str) else None
    if not project.configured:
        yield ContentRoot(content, "docs" if route is None else route, exclude=_EXCLUDED)
        return
    i18n = section(config, "i18n")
    default = string(i18n, "defaultLocale", "en")
    locales = _folders(folder / "i18n")
    if (built := i18n.get("locales", [default])) is not UNKNOWN:
        locales = [locale for locale in locales if locale in strings(built)]
    for options in islice(_plugins(config), _MAX_PLUGINS):
        roots = [*_plugin_roots(options, folder, default, locales)]
        if route is not None and any(root.overlaps(content) for root in roots):
            options, route = {**options, "routeBasePath": route}, None
            roots = [*_plugin_roots(options, folder, default, locales)]
        yield from roots
    if route is not None:
        yield ContentRoot(content, route, exclude=_EXCLUDED)
    yield ContentRoot(folder.as_posix(), None)


def _plugins(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The options of each docs plugin."""
    presets, plugins = setting(config, "presets"), config.get("plugins")
    for entry in presets if isinstance(presets, list) else [["classic", presets]]:
        name, options = _named(entry)
        docs = setting(options, "docs")
        if "classic" in name and docs is not False:
            yield _options(docs)
    for entry in plugins if isinstance(plugins, list) else []:
        name, options = _named(entry)
        if "content-docs" in name:
            yield options


def _named(entry: object) -> tuple[str, dict[str, Any]]:
    name, options = (*(entry if isinstance(entry, list) else [entry]), None, None)[:2]
    return name if isinstance(name, str) else "", _options(options)


def _options(value: object) -> dict[str, Any]:
    if value is UNKNOWN:
        return {UNREAD: UNKNOWN}
    return value if isinstance(value, dict) else {}


def _plugin_roots(
    options: Mapping[str, Any], folder: Path, default: str, locales: Iterable[str]
) -> Iterator[ContentRoot]:
    """`locales` are the translations that are built."""
    path, route = setting(options, "path"), setting(options, "routeBasePath")
    if path is UNKNOWN:
        path, route = None, UNKNOWN if route is None else route
    path, route = ("docs" if each is None else each for each in (path, route))
    if not isinstance(path, str):
        return
    exclude = strings(options.get("exclude")) or _EXCLUDED
    prefixes = options.get("numberPrefixParser") is not False
    name = string(options, "id", "default")
    prefix, plugin = ("", "") if name == "default" else (f"{name}_", f"-{name}")
    for version, part in _versions(folder, prefix, options):
        known = isinstance(route, str) and isinstance(part, str)
        place = "/".join(filter(None, (route.strip("/"), part.strip("/")))) if known else None
        stored = f"version-{version}" if version not in ("", "current") else ""
        original = f"{prefix}versioned_docs/{stored}" if stored else path
        translation = f"docusaurus-plugin-content-docs{plugin}/{stored or 'current'}"
        for locale in ("", *locales):
            where = below(folder, f"i18n/{locale}/{translation}" if locale else original)
            shown = "" if locale == default else locale
            yield ContentRoot(where, place, version, shown, exclude, prefixes)


def _versions(folder: Path, prefix: str, options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Name and path of each version; one without a name if there is none."""
    names: list[str] = []
    if options.get("disableVersioning") is not True:
        with suppress(DataError):
            text = read_text(folder / f"{prefix}versions.json")
            names = list(strings(load_data(text or "[]", "JSON")))[:_MAX_VERSIONS]
    last = setting(options, "lastVersion")
    for name in ["current", *names] if names else [""]:
        path = setting(options, "versions", name, "path") if name else ""
        if path is None and last is not UNKNOWN:
            path = "next" if name == "current" else name
            path = "" if name == (names[0] if last is None else last) else path
        yield name, path


def _folders(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())[:200]
    except OSError:
        return []


_EXPLICIT_ID: Final = re.compile(r"\{(?:#([^}\n]++)|/\*\s*+#(\S+)(?: .*?)?\*/)\}\s*+\Z")
_BACKSLASH: Final = re.compile(r"\\([!-/:-@\[-`{-~])")


def _explicit_id(source: str) -> tuple[str, str | None]:
    """`{#my-id}`, also as `\\{#my-id}` and `{/* #my-id */}`."""
    start = max(source.rfind("{#"), source.rfind("{/*"), 0)
    found = _EXPLICIT_ID.match(source, start)
    if found is None:
        return source, None
    heading = source[:start].removesuffix("\\").rstrip()
    return heading, _BACKSLASH.sub(r"\1", found[1] or found[2]).strip()


def _github_slug(text: str) -> str:
    """github-slugger. It drops tabs."""
    return word_slug(text.lower().replace("\t", ""))


def _heading_rules(site: Site) -> HeadingRules:
    return HeadingRules(
        slugify=_github_slug if setting(site.settings, "markdown", "anchors") is None else None,
        number=partial(numbered, explicit_count=False),
        text=HeadingText(mdx=True),
        explicit_id=_explicit_id,
        h1_has_anchor=False,  # but it uses up a slug
    )


def _page_order(site: Site, root: ContentRoot, pages: Collection[str]) -> Iterator[str]:
    """The docs of the sidebars, in generated ones by their `sidebar_position` and the numbers in
    names.

    Of other pages and of the docs of other versions, the order is not known.
    """
    if root.route is None or root.version not in ("", "current") or root.locale:
        return
    texts = {page: read_text(Path(root.folder, page))[:_MAX_FRONT_MATTER] for page in pages}
    fronts = {page: found.values for page in pages if (found := read_front_matter(texts[page]))}
    ids = {_doc_id(page, fronts.get(page, {})): page for page in pages}
    for folder, name in dict.fromkeys(
        (bool(found[1]), found[3]) for found in _NAME.finditer(_sidebars(site, root))
    ):
        if folder:
            start = f"{name.strip('./')}/".lstrip("/")
            inside = (page for page in pages if page.startswith(start))
            yield from sorted(inside, key=partial(_place_in_sidebar, fronts))
        elif name in ids:
            yield ids[name]


def _place_in_sidebar(
    fronts: Mapping[str, Mapping[str, object]], page: str
) -> list[tuple[float, str]]:
    folder, name = split_name(page)
    numbers = [(_POSITION.match(part), part) for part in (*filter(None, folder.split("/")), name)]
    key = [(int(found[1]) if found else math.inf, part.casefold()) for found, part in numbers]
    own = name.lower() in ("index", "readme")
    position = -1 if own else fronts.get(page, {}).get("sidebar_position")
    if isinstance(position, int | float):
        key[-1] = (position, name.casefold())
    return key


_POSITION: Final = re.compile(r"(\d{1,9})\s*+[-_.]")
_NAME: Final = re.compile(r"""(["']?\bdirName["']?\s*+:\s*+)?(["'])((?:(?!\2)[^\n])*+)\2""")
"""A string of a sidebars file: the id of a page, or the name of a folder."""
_MAX_SIDEBARS: Final = 100_000
_MAX_FRONT_MATTER: Final = 2_000
"""Both in characters."""


def _doc_id(page: str, front: Mapping[str, object]) -> str:
    folder, name = split_name(page)
    own = text_of(front.get("id")) or _without_number(name)
    return "/".join([*map(_without_number, filter(None, folder.split("/"))), own])


def _sidebars(site: Site, root: ContentRoot) -> str:
    """The text of the sidebars file; by default, one sidebar with all docs."""
    folder = site.config_file.parent if site.config_file else Path(root.folder)
    files = (folder / f"sidebars{suffix}" for suffix in (*JAVASCRIPT_SUFFIXES, ".json"))
    return next(filter(None, map(read_text, files)), "dirName: '.'")[:_MAX_SIDEBARS]


def _read_settings(file: Path, problems: list[str] | None = None) -> dict[str, Any]:
    return read_object(read_text(file, problems), file.name, problems)


def _unread(project: Project) -> Iterator[str]:
    project_folder = project.folder.as_posix()
    if any(
        root.route is None and root.folder != project_folder for root in _content_roots(project)
    ):
        lacking = "pages have no address without docs_route in SITE_OPTIONS"
        yield use_the_build("the path of the docs is not read", lacking)
    if project.configured and project.folder.is_relative_to(project.content_root):
        yield use_the_build("only docs are read", "blog posts and other pages have no address")


GENERATOR: Final = Generator(
    name="docusaurus",
    options={"docs_route": str, "trailing_slash": bool},
    config_files=tuple(f"docusaurus.config{suffix}" for suffix in JAVASCRIPT_SUFFIXES),
    read_settings=_read_settings,
    address=lambda settings: (string(settings, "url"), base_of(settings, "baseUrl")),
    title=lambda settings: string(settings, "title"),
    page_order=_page_order,
    content_roots=_content_roots,
    unread=_unread,
    page_path=_page_path,
    heading_rules=_heading_rules,
    markdown=lambda _: "mdx",
)
