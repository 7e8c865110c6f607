"""Paths of Docusaurus 3: docs, blog posts and standalone pages."""

import posixpath
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

from lib.mounts import Mount
from lib.page_source import (
    NOT_BUILT,
    UNKNOWN_PLACE,
    Place,
    Source,
    joined,
    split_name,
    text_of,
)
from lib.sites.config_files import glob_matches
from lib.sites.site import Site

_PREFIX: Final = re.compile(r"\d+\s*[-_.]+\s*([^-_.\s].*)", re.DOTALL)
_LIKE_A_DATE: Final = re.compile(r"\d+[-_.]\d+")
_BLOG_DATE: Final = re.compile(r"(.*?)(\d{4}[-/]\d{1,2}[-/]\d{1,2})[-/]?(.*)")


def without_number(segment: str) -> str:
    """`02-Guide` is `Guide`, while `2021-11-notes` and `7.0-notes` stay."""
    match = None if _LIKE_A_DATE.match(segment) else _PREFIX.fullmatch(segment)
    return match[1] if match else segment


def docusaurus(site: Site, mount: Mount, source: Source) -> Place:
    front = source.front_matter
    if glob_matches(mount.exclude, source.path) or front.get("draft") is True:
        return NOT_BUILT
    if mount.route is None:
        return UNKNOWN_PLACE
    path = {"blog": _blog_post, "pages": _standalone}.get(mount.kind, _doc)(mount, source)
    path = joined(site.base_url, mount.locale, mount.route, path)
    if site.trailing_slash is not None and path not in ("/", site.base_url):
        path = path.rstrip("/") + ("/" if site.trailing_slash else "")
    return Place(path)


def _doc(mount: Mount, source: Source) -> str:
    folder, name = split_name(source.path)
    slug, ident = text_of(source.front_matter.get("slug")), text_of(source.front_matter.get("id"))
    if slug.startswith("/"):
        return unquote(slug)
    strip = mount.number_prefixes and source.front_matter.get("parse_number_prefixes") is not False
    clean: Callable[[str], str] = without_number if strip else str
    parent = "/".join(clean(segment) for segment in folder.split("/")) + "/" if folder else ""
    own = folder.rsplit("/", 1)[-1].lower()
    if not slug and name.lower() in ("index", "readme", own):
        return "/" + parent
    target = unquote(slug) or ident or clean(name)
    resolved = posixpath.normpath(posixpath.join("/", parent, target))
    ends = target.endswith("/") or target.rsplit("/", 1)[-1] in (".", "..")
    return resolved + "/" if ends and resolved != "/" else resolved


def _blog_post(_: Mount, source: Source) -> str:
    if slug := text_of(source.front_matter.get("slug")):
        return "/" + unquote(slug)
    folder, name = split_name(source.path)
    path = folder if name == "index" and folder else posixpath.join(folder, name)
    dated = _BLOG_DATE.fullmatch(path)
    if dated is None:
        return "/" + path
    day = re.sub("[-/]", "/", dated[2])
    return joined(day, dated[1] + dated[3])


def _standalone(_: Mount, source: Source) -> str:
    folder, name = split_name(source.path)
    if slug := text_of(source.front_matter.get("slug")):
        return "/" + unquote(slug)
    return f"/{folder}/" if name == "index" else joined(folder, name)
