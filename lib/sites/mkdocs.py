"""Paths of MkDocs, its translations and the posts of Material's blog plugin."""

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from lib.sites.anchors import pymdownx_slug
from lib.sites.config_files import glob_matches, string, strings
from lib.sites.detection import extension_settings
from lib.sites.site import (
    NOT_BUILT,
    UNKNOWN_PATH,
    ContentRoot,
    PagePath,
    PageSource,
    Site,
    date_of,
    joined,
    split_name,
    text_of,
)


def mkdocs(site: Site, mount: ContentRoot, source: PageSource) -> PagePath:
    plugins = extension_settings(site.settings, "plugins")
    for name in ("blog", "material/blog"):
        if name in plugins and (post := _material_post(site, plugins[name], source)):
            return post
    path, locale = _mkdocs_locale(plugins.get("i18n", {}), source.path)
    if _ignored(("/templates/", ".*", *_lines(site.settings.get("exclude_docs"))), source.path):
        return NOT_BUILT
    if _ignored(_lines(site.settings.get("draft_docs")), source.path):
        return NOT_BUILT
    folder, name = split_name(path)
    if name == "README" and posixpath.join(folder, "index.md") in source.siblings:
        return NOT_BUILT
    if name in ("index", "README"):
        name = "" if site.use_directory_urls else "index.html"
        folder += "/" if folder else ""
    else:
        name += "/" if site.use_directory_urls else ".html"
    return PagePath(joined(site.base_url, locale, folder, name), locale=locale)


def _lines(value: object) -> tuple[str, ...]:
    lines = (line.strip() for line in value.splitlines()) if isinstance(value, str) else ()
    return tuple(line for line in lines if line and not line.startswith("#"))[:500]


def _ignored(patterns: tuple[str, ...], path: str) -> bool:
    """Whether gitignore-like patterns hide the path; the last that matches decides."""
    hidden = False
    places = [path, *(path[:at] + "/" for at in range(len(path)) if path[at] == "/")]
    for pattern in patterns:
        wanted = not pattern.startswith("!")
        glob = pattern.removeprefix("!")
        folder_only = glob.endswith("/")
        glob = glob.rstrip("/")
        glob = glob.lstrip("/") if "/" in glob or pattern.startswith("/") else f"**/{glob}"
        if pattern.removeprefix("!").startswith("/"):
            glob = glob.removeprefix("**/")
        hits = (p.rstrip("/") for p in places if p.endswith("/") or not folder_only)
        if any(glob_matches((glob,), hit) for hit in hits):
            hidden = wanted
    return hidden


def _mkdocs_locale(i18n: Mapping[str, Any], path: str) -> tuple[str, str]:
    """The path without its language, and the language's part of the address (static-i18n)."""
    languages = i18n.get("languages")
    entries = (
        [e for e in languages if isinstance(e, Mapping)] if isinstance(languages, list) else []
    )
    default = next((string(e, "locale") for e in entries if e.get("default") is True), "")
    for locale in (string(entry, "locale") for entry in entries):
        if not locale:
            continue
        bare = None
        if i18n.get("docs_structure", "suffix") == "folder":
            if path.startswith(locale + "/"):
                bare = path[len(locale) + 1 :]
        elif path.endswith(f".{locale}.md"):
            bare = path[: -len(locale) - 4] + ".md"
        if bare is not None:
            return bare, "" if locale == default else locale
    return path, ""


def _material_post(site: Site, blog: Mapping[str, Any], source: PageSource) -> PagePath | None:
    """A post of Material's blog plugin; None for any other page."""
    home = string(blog, "blog_dir", "blog").strip("./")
    posts = string(blog, "post_dir", "{blog}/posts").replace("{blog}", home).strip("/")
    if not source.path.startswith(posts + "/"):
        return None
    if source.front_matter.get("draft") is True:
        return NOT_BUILT
    day = date_of(source.front_matter.get("date"))
    form = string(blog, "post_url_format", "{date}/{slug}")
    days = string(blog, "post_url_date_format", "yyyy/MM/dd")
    own = text_of(source.front_matter.get("slug"))
    if (day is None and "{date}" in form) or not re.fullmatch(r"(?:y{4}|MM?|dd?|[/.-])+", days):
        return UNKNOWN_PATH
    if not own and blog.get("post_slugify") is not None:
        return UNKNOWN_PATH
    if day is not None:
        for code, value in (("yyyy", f"{day.year:04}"), ("MM", f"{day.month:02}")):
            days = days.replace(code, value)
        days = days.replace("dd", f"{day.day:02}")
        days = days.replace("M", str(day.month)).replace("d", str(day.day))
    categories = strings(source.front_matter.get("categories"))
    path = form.replace("{date}", days).replace("{file}", split_name(source.path)[1])
    path = path.replace("{slug}", own or pymdownx_slug(source.title, case="lower"))
    path = path.replace(
        "{categories}", pymdownx_slug(categories[0], case="lower") if categories else ""
    )
    ending = "/" if site.use_directory_urls else ".html"
    return PagePath(joined(site.base_url, home, path.strip("/")) + ending)
