"""Paths of Jekyll: pages, posts and collections."""

import posixpath
import re
from collections.abc import Mapping
from datetime import date
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from lib.sites.config_files import section, string, strings
from lib.sites.site import (
    NOT_BUILT,
    UNKNOWN_PATH,
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

_POST_NAME: Final = re.compile(r"(\d{2,4}-\d{1,2}-\d{1,2})-(.*)")
_STYLES: Final = {
    "date": "/:categories/:year/:month/:day/:title:output_ext",
    "pretty": "/:categories/:year/:month/:day/:title/",
    "ordinal": "/:categories/:year/:y_day/:title:output_ext",
    "none": "/:categories/:title:output_ext",
}


def jekyll(site: Site, mount: ContentRoot, source: PageSource) -> PagePath:
    plugins = strings(site.settings.get("plugins")) + strings(site.settings.get("gems"))
    if not source.has_front_matter and "jekyll-optional-front-matter" not in plugins:
        return UNKNOWN_PATH  # GitHub Pages renders it, Jekyll alone does not; no file tells which
    top = site.config_file.parent.as_posix() if site.config_file else mount.folder
    project_path = posixpath.relpath(posixpath.join(mount.folder, source.path), top)
    if mount.kind == "pages" and _jekyll_hidden(site, source.path):
        return NOT_BUILT
    front = {**_jekyll_defaults(site, mount, project_path), **source.front_matter}
    if front.get("published") is False:
        return NOT_BUILT
    folder, name = split_name(source.path)
    style = string(site.settings, "permalink", "date")
    values: dict[str, str] = {"path": posixpath.join(folder, name), "output_ext": ".html"}
    template = text_of(front.get("permalink"))
    if mount.kind == "pages":
        if name == "README" and "jekyll-readme-index" in plugins:
            name = "index"
        if not template and name == "index":
            return PagePath(joined(site.base_url, folder, "/"))
        template = template or "/:path/:basename" + _jekyll_suffix(style)
        values |= {"path": folder, "basename": name}
    elif mount.kind == "posts":
        post = _POST_NAME.fullmatch(name)
        if post is None:
            return NOT_BUILT
        day = date_of(front.get("date")) or date_of(post[1])
        if day is None:
            return UNKNOWN_PATH
        template = template or _STYLES.get(style, style)
        values |= _jekyll_post_values(front, post[2], day)
    else:
        own = section(site.settings, "collections", mount.kind)
        template = (
            template or string(own, "permalink") or "/:collection/:path" + _jekyll_suffix(style)
        )
        slug = text_of(front.get("slug")) or name
        values |= {"collection": mount.kind, "name": _jekyll_slug(name)}
        values |= {"title": _jekyll_pretty(slug), "slug": _jekyll_slug(slug)}
    unknown = False

    def one(match: re.Match[str]) -> str:
        nonlocal unknown
        key = match[1] if match[1] in values else match[1].rstrip("_")
        unknown = unknown or key not in values
        return values.get(key, "") + match[1][len(key) :]

    path = re.sub(r":([a-z_]+)", one, template)
    return UNKNOWN_PATH if unknown else PagePath(joined(site.base_url, unquote(path)))


def _jekyll_suffix(style: str) -> str:
    if style in _STYLES or style == "weekdate":
        return "/" if style == "pretty" else ":output_ext"
    return "/" if style.endswith("/") else ":output_ext" if style.endswith(":output_ext") else ""


def _jekyll_hidden(site: Site, path: str) -> bool:
    included = strings(site.settings.get("include"))
    for part in path.split("/"):
        if (part[0] in "_.#" or part.endswith("~")) and part not in included:
            return True
    for pattern in (*strings(site.settings.get("exclude")), "node_modules", "vendor/bundle"):
        bare = pattern.strip("/")
        if bare and (fnmatch(path, bare) or path.startswith(bare + "/")):
            return True
    return False


def _jekyll_defaults(site: Site, mount: ContentRoot, path: str) -> dict[str, object]:
    found: dict[str, object] = {}
    defaults = site.settings.get("defaults")
    for entry in defaults if isinstance(defaults, list) else []:
        scope = section(entry, "scope")
        where, kind = string(scope, "path").strip("/"), string(scope, "type")
        if kind in ("", mount.kind) and (
            where in ("", ".")
            or path.startswith(where)  # a prefix, not a folder
            or fnmatch(path, where)
        ):
            found |= section(entry, "values")
    return found


def _jekyll_slug(text: str) -> str:
    return re.sub(r"[\W_]+", "-", text).strip("-").lower()


def _jekyll_pretty(text: str) -> str:
    kept = "".join(c if c.isalnum() or c in "._~!$&'()+,;=@" else "-" for c in text)
    return re.sub(r"^-|-$", "", re.sub(r"-{2,}", "-", kept))


def _jekyll_post_values(front: Mapping[str, object], name: str, day: date) -> dict[str, str]:
    categories = front.get("categories", front.get("category"))
    words = categories.split() if isinstance(categories, str) else strings(categories)
    slug = text_of(front.get("slug")) or name
    return {
        "categories": "/".join(dict.fromkeys(word.lower() for word in words)),
        "year": f"{day.year:04}",
        "month": f"{day.month:02}",
        "i_month": str(day.month),
        "day": f"{day.day:02}",
        "i_day": str(day.day),
        "y_day": f"{day.timetuple().tm_yday:03}",
        "short_year": f"{day.year % 100:02}",
        "title": _jekyll_pretty(slug),
        "slug": _jekyll_slug(slug),
    }


def jekyll_roots(folder: Path, config: Mapping[str, Any]) -> tuple[ContentRoot, ...]:
    """The project itself, its posts, and the collections that are written out."""
    source = below(folder, string(config, "source", "."))
    base = Path(source) / string(config, "collections_dir", "")
    mounts = [ContentRoot(source, kind="pages"), ContentRoot(below(base, "_posts"), kind="posts")]
    collections = config.get("collections")
    mounts += [
        ContentRoot(below(base, f"_{name}"), kind=str(name))
        for name in (collections if isinstance(collections, Mapping) else {})
        if section(collections, name).get("output") is True and name != "posts"
    ]
    return tuple(mounts)
