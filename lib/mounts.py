"""The folders of a project that hold pages, and where the site serves each of them."""

import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lib.js_values import UNKNOWN
from lib.sites.config_files import read_text, section, string, strings


@dataclass(frozen=True, slots=True)
class Mount:
    folder: str
    """Absolute, with `/`, none at its end."""
    route: str | None = ""
    """Path below the site's base, no slash at either end; None when it could not be read."""
    kind: str = "docs"
    """docs, blog or pages (Docusaurus); a collection's name (Jekyll)."""
    version: str = ""
    locale: str = ""
    main: bool = False
    exclude: tuple[str, ...] = ()
    number_prefixes: bool = True

    def overlaps(self, folder: str) -> bool:
        return _inside(self.folder, folder) or _inside(folder, self.folder)

    def relative(self, file: str) -> str | None:
        return file[len(self.folder) :].lstrip("/") if _inside(file, self.folder) else None


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def below(folder: Path, path: str) -> str:
    """`path` of a configuration, as an absolute folder."""
    return posixpath.normpath(posixpath.join(folder.as_posix(), path))


def plain_mount(folder: Path, path: str) -> tuple[Mount, ...]:
    return (Mount(below(folder, path)),)


# --- Docusaurus ---------------------------------------------------------------------------------

EXCLUDED: Final = (
    "**/_*.{js,jsx,ts,tsx,md,mdx}",
    "**/_*/**",
    "**/*.test.{js,jsx,ts,tsx}",
    "**/__tests__/**",
)


def docusaurus_mounts(
    folder: Path | None, config: Mapping[str, Any], root: Path, docs_route: object
) -> tuple[Mount, ...]:
    """Mounts of every docs, blog and pages plugin, with their versions and translations.

    `docs_route` (the operator's) is the route of the docs under `root`, and says that `root` holds
    docs when no plugin that could be read does.
    """
    route = docs_route.strip("/") if isinstance(docs_route, str) else None
    if folder is None:
        return (Mount(root.as_posix(), route or "", main=True, exclude=EXCLUDED),)
    plugins = [*_plugins(config)]
    if route is not None:
        index = _plugin_of(plugins, folder, root)
        if index is None:
            plugins.append(("docs", {"path": root.as_posix(), "routeBasePath": route, "id": "\0"}))
        else:
            plugins[index] = ("docs", {**plugins[index][1], "routeBasePath": route})
    mounts: list[Mount] = []
    i18n = section(config, "i18n")
    default = string(i18n, "defaultLocale", "en")
    locales = _folders(folder / "i18n")
    if (built := i18n.get("locales", [default])) is not UNKNOWN:
        locales = [locale for locale in locales if locale in strings(built)]
    for kind, options in plugins:
        mounts.extend(_plugin_mounts(kind, options, folder, (default, *locales), not mounts))
    return tuple(mounts)


def _plugins(config: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(kind, options) of each content plugin."""
    presets = config.get("presets")
    if not isinstance(presets, list):
        presets = ["classic"]  # not readable, or set elsewhere: what nearly every site has
    for entry in presets:
        name, options = _named(entry)
        if "classic" in name or not isinstance(name, str):
            for kind in ("docs", "blog", "pages"):
                value = options.get(kind)
                if value is not False:
                    yield kind, value if isinstance(value, dict) else {}
    plugins = config.get("plugins")
    for entry in plugins if isinstance(plugins, list) else []:
        name, options = _named(entry)
        for kind in ("docs", "blog", "pages"):
            if f"content-{kind}" in name:
                yield kind, options


def _named(entry: object) -> tuple[str, dict[str, Any]]:
    parts = entry if isinstance(entry, list) else [entry]
    name = parts[0] if parts and isinstance(parts[0], str) else ""
    options = parts[1] if len(parts) > 1 and isinstance(parts[1], dict) else {}
    return name, options


_DEFAULT_PATH: Final = {"docs": "docs", "blog": "blog", "pages": "src/pages"}
_DEFAULT_ROUTE: Final = {"docs": "docs", "blog": "blog", "pages": ""}


def _plugin_of(plugins: list[tuple[str, dict[str, Any]]], folder: Path, root: Path) -> int | None:
    """The docs plugin that `root` belongs to; the first one when `root` holds the whole site."""
    for index, (kind, options) in enumerate(plugins):
        if kind != "docs":
            continue
        mounts = _plugin_mounts(kind, options, folder, ("", *_folders(folder / "i18n")), True)
        if any(mount.overlaps(root.as_posix()) for mount in mounts):
            return index
    return None


def _plugin_mounts(
    kind: str, options: Mapping[str, Any], folder: Path, languages: tuple[str, ...], first: bool
) -> Iterator[Mount]:
    """`languages`: the default one, then those whose translations are built."""
    default, *locales = languages
    path = options.get("path", _DEFAULT_PATH[kind])
    if not isinstance(path, str):
        return
    route: str | None = _DEFAULT_ROUTE[kind]
    if (told := options.get("routeBasePath")) is not None:
        route = told.strip("/") if isinstance(told, str) else None
    exclude = strings(options.get("exclude")) or EXCLUDED
    prefixes = options.get("numberPrefixParser") is not False
    name = string(options, "id", "default")
    prefix = "" if name == "default" else f"{name}_"
    plugin = f"docusaurus-plugin-content-{kind}" + ("" if name == "default" else f"-{name}")
    current = below(folder, path)
    versions = _versions(folder, prefix, options) if kind == "docs" else [("", "", "")]

    def mount(where: str, version: tuple[str, str, str], locale: str) -> Mount:
        place = None if route is None else "/".join(p for p in (route, version[1]) if p)
        main = first and kind == "docs" and not locale and version[1] == ""
        return Mount(where, place, kind, version[0], locale, main, exclude, prefixes)

    for version in versions:
        where = current
        if version[2]:
            where = below(folder, f"{prefix}versioned_docs/{version[2]}")
        yield mount(where, version, "")
        for locale in locales:
            translated = f"i18n/{locale}/{plugin}"
            if kind == "docs":
                translated += f"/{version[2] or 'current'}"
            yield mount(below(folder, translated), version, "" if locale == default else locale)


def _versions(folder: Path, prefix: str, options: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(name, path in the address, folder) of each version; ("current", "", "") without any."""
    names: list[str] = []
    if options.get("disableVersioning") is not True:
        try:
            names = list(strings(json.loads(read_text(folder / f"{prefix}versions.json") or "[]")))
        except (ValueError, RecursionError):
            names = []
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


# --- Hugo and Jekyll ----------------------------------------------------------------------------


def hugo_mounts(folder: Path, config: Mapping[str, Any]) -> tuple[Mount, ...]:
    """`content`, or one folder a language; the default language has no part in the address."""
    languages = section(config, "languages")
    default = string(config, "defaultcontentlanguage", "en")
    shown = config.get("defaultcontentlanguageinsubdir") is True
    content = string(config, "contentdir", "content")
    mounts = []
    for language in languages:
        where = string(section(languages, language), "contentdir")
        if where and where != content:
            hidden = language == default and not shown
            route = "" if hidden else language
            mounts.append(Mount(below(folder, where), route, locale=route))
    prefix = default if shown else ""
    mounts.append(Mount(below(folder, content), prefix, locale=prefix))
    return tuple(mounts)


def jekyll_mounts(folder: Path, config: Mapping[str, Any]) -> tuple[Mount, ...]:
    """The project itself, its posts, and the collections that are written out."""
    source = below(folder, string(config, "source", "."))
    base = Path(source) / string(config, "collections_dir", "")
    mounts = [Mount(source, kind="pages"), Mount(below(base, "_posts"), kind="posts")]
    collections = config.get("collections")
    mounts += [
        Mount(below(base, f"_{name}"), kind=str(name))
        for name in (collections if isinstance(collections, Mapping) else {})
        if section(collections, name).get("output") is True and name != "posts"
    ]
    return tuple(mounts)
