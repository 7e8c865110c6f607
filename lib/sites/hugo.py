"""Paths of Hugo: bundles, languages, `url`, `slug` and permalink patterns."""

import posixpath
import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from lib.sites.config_files import section, string
from lib.sites.site import (
    NOT_BUILT,
    ContentRoot,
    PagePath,
    PageSource,
    Site,
    below,
    date_of,
    joined,
    split_name,
    text_of,
)


def _hugo_sanitized(site: Site, path: str) -> str:
    kept, gap = "", False
    for char in path:
        if char in "./\\_#+~-@" or unicodedata.category(char)[0] in "LM" or char.isdecimal():
            kept += "-" if gap and char != "-" else ""
            kept, gap = kept + char, False
        elif char.isspace() and kept and kept[-1] != "-":
            gap = True
    if site.settings.get("removepathaccents") is True:
        kept = "".join(
            c for c in unicodedata.normalize("NFD", kept) if not unicodedata.combining(c)
        )
    return kept if site.settings.get("disablepathtolower") is True else kept.lower()


def hugo(site: Site, mount: ContentRoot, source: PageSource) -> PagePath:
    front = {str(key).lower(): value for key, value in source.front_matter.items()}
    build = section(front, "build") or section(front, "_build")
    if front.get("draft") is True or front.get("headless") is True:
        return NOT_BUILT
    if build.get("render") in (False, "never", "link"):
        return NOT_BUILT
    folder, name = split_name(source.path)
    languages = section(site.settings, "languages")
    locale, suffix = mount.locale, name.rpartition(".")[2]
    prefix = mount.route or ""
    if "." in name and suffix in languages:
        name = name.rpartition(".")[0]
        default = string(site.settings, "defaultcontentlanguage", "en")
        shown = site.settings.get("defaultcontentlanguageinsubdir") is True
        locale = prefix = suffix if suffix != default or shown else ""
    if _in_leaf_bundle(source, folder, name):
        return NOT_BUILT
    path = _hugo_path(site, source, front, folder, name)
    if path is None:
        return PagePath(None, locale=locale)
    if path.startswith("//"):  # an absolute `url` stands above languages
        return PagePath(joined(site.base_url, path), locale=locale)
    return PagePath(joined(site.base_url, prefix, path), locale=locale)


def _in_leaf_bundle(source: PageSource, folder: str, name: str) -> bool:
    """Files beside or below an index.md are its resources, not pages."""
    if name == "index":
        folder = posixpath.dirname(folder) if folder else "\0"
    elif name == "_index":
        return False
    bundles = _bundles(source.siblings)
    while folder != "\0":
        if folder in bundles:
            return True
        folder = posixpath.dirname(folder) if folder else "\0"
    return False


@lru_cache(maxsize=8)
def _bundles(pages: frozenset[str]) -> frozenset[str]:
    return frozenset(
        posixpath.dirname(page) for page in pages if split_name(page)[1].split(".")[0] == "index"
    )


def _hugo_path(
    site: Site, source: PageSource, front: Mapping[str, object], folder: str, name: str
) -> str | None:
    if url := text_of(front.get("url")):
        ending = "" if url.endswith("/") or "." in url else "/"
        return ("/" if url.startswith("/") else "") + joined(unquote(url)) + ending
    if name == "_index":
        return _hugo_sanitized(site, f"/{folder}/".replace(" ", "-"))
    where, base = (folder, name) if name != "index" else posixpath.split(folder)
    slug = text_of(front.get("slug"))
    permalinks = section(site.settings, "permalinks")
    permalinks = (
        section(permalinks, "page") if isinstance(permalinks.get("page"), dict) else permalinks
    )
    pattern = permalinks.get((where.split("/")[0] if where else "").lower())
    if isinstance(pattern, str):
        expanded = _hugo_permalink(pattern, source, front, where, base, slug)
        if expanded is None:
            return None
        path = expanded
    else:
        path = posixpath.join(where.replace(" ", "-"), slug or base.replace(" ", "-"))
    path = _hugo_sanitized(site, posixpath.normpath("/" + path.strip("/")))
    if path == "/":
        return path
    return path + (".html" if site.settings.get("uglyurls") is True else "/")


def _hugo_permalink(
    pattern: str, source: PageSource, front: Mapping[str, object], where: str, base: str, slug: str
) -> str | None:
    day = date_of(front.get("date"))
    title = source.title
    sections = where.split("/") if where else []
    values: dict[str, str | None] = {
        "year": f"{day.year:04}" if day else None,
        "month": f"{day.month:02}" if day else None,
        "day": f"{day.day:02}" if day else None,
        "section": sections[0] if sections else "",
        "sections": where,
        "title": title.replace("/", "-"),
        "slug": slug or title.replace("/", "-"),
        "filename": base,
        "slugorfilename": slug or base,
        "contentbasename": base,
        "slugorcontentbasename": slug or base,
    }
    names = re.findall(r":([a-z]+)", pattern)
    if any(values.get(name) is None for name in names) or "[" in pattern:
        return None
    return re.sub(r":([a-z]+)", lambda m: values[m[1]] or "", pattern)


# --- Hugo and Jekyll ----------------------------------------------------------------------------


def hugo_roots(folder: Path, config: Mapping[str, Any]) -> tuple[ContentRoot, ...]:
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
            mounts.append(ContentRoot(below(folder, where), route, locale=route))
    prefix = default if shown else ""
    mounts.append(ContentRoot(below(folder, content), prefix, locale=prefix))
    return tuple(mounts)
