"""Paths of VitePress, mdBook and Sphinx, which keep a file's name."""

import posixpath
import re
from typing import Final
from urllib.parse import unquote

from lib.js_values import UNKNOWN
from lib.mounts import Mount
from lib.page_source import (
    NOT_BUILT,
    UNKNOWN_PLACE,
    Place,
    Source,
    joined,
    split_name,
)
from lib.sites.config_files import glob_matches, section, string, strings
from lib.sites.site import Site

# --- VitePress ----------------------------------------------------------------------------------


def vitepress(site: Site, mount: Mount, source: Source) -> Place:
    if glob_matches(strings(site.settings.get("srcExclude")), source.path):
        return NOT_BUILT
    if re.search(r"\[\w+\]", source.path) or glob_matches(("**/node_modules/**",), source.path):
        return NOT_BUILT  # a template of pages that a program lists
    path = _rewritten(site.settings.get("rewrites"), source.path)
    if path is None:
        return UNKNOWN_PLACE
    folder, name = split_name(path)
    if name == "index":
        return Place(joined(site.base_url, folder, "/"))
    return Place(joined(site.base_url, folder, name) + ("" if site.clean_urls else ".html"))


_PARAMETER: Final = re.compile(r":(\w+)(?:\(([^()]*)\))?([*+?]?)")


def _rewritten(rewrites: object, path: str) -> str | None:
    """None when a program decides."""
    if rewrites is UNKNOWN:
        return None
    if not isinstance(rewrites, dict):
        return path
    for pattern, target in list(rewrites.items())[:500]:
        if pattern == path:
            return target if isinstance(target, str) else None
        if ":" not in pattern or not isinstance(target, str):
            continue
        regex, end = "", 0
        for match in _PARAMETER.finditer(pattern):
            regex += re.escape(pattern[end : match.start()])
            piece = ".*" if match[2] == ".*" or match[3] in ("*", "+") else "[^/]+"
            if match[2] and match[2] != ".*":
                return None  # a regular expression of its own
            regex, end = regex + f"(?P<{match[1]}>{piece})", match.end()
        if (found := re.fullmatch(regex + re.escape(pattern[end:]), path)) is not None:
            values = found.groupdict()
            pieces = _PARAMETER.split(target)  # text, name, expression, sign, text, …
            pieces[1::4] = [values.get(name, "") for name in pieces[1::4]]
            return "".join(pieces[at] for at in range(len(pieces)) if at % 4 in (0, 1))
    return path


# --- mdBook -------------------------------------------------------------------------------------

_SUMMARY_LINK: Final = re.compile(
    r"^[ \t]*(?:[-*+][ \t]+)?\[(?:[^\]\\]|\\.)*\]\((?:<([^<>]*)>|([^()]*))\)"
)


def summary_pages(summary: str) -> frozenset[str]:
    """The files that SUMMARY.md lists, relative to it."""
    pages = set()
    without_comments = re.sub(r"<!--.*?-->", "", summary, flags=re.DOTALL)
    for line in without_comments.splitlines():
        if match := _SUMMARY_LINK.match(line):
            target = unquote((match[1] or match[2] or "").strip())
            if target:
                pages.add(posixpath.normpath(target))
    return frozenset(pages)


def mdbook(site: Site, mount: Mount, source: Source) -> Place:
    folder, name = split_name(source.path)
    build = section(site.settings, "build")
    preprocessed = build.get("use-default-preprocessors") is not False or isinstance(
        section(site.settings, "preprocessor").get("index"), dict
    )
    if preprocessed and name.lower() == "readme":
        name = "index"
    return Place(joined(site.base_url, folder, name) + ".html")


# --- Sphinx -------------------------------------------------------------------------------------


def sphinx(site: Site, mount: Mount, source: Source) -> Place:
    excluded = strings(site.settings.get("exclude_patterns"))
    # Sphinx's own globs: a pattern names a file or a folder with all it holds.
    if any(
        glob_matches((pattern, f"{pattern.rstrip('/')}/**"), source.path) for pattern in excluded
    ):
        return NOT_BUILT
    folder, name = split_name(source.path)
    if site.use_directory_urls:
        return Place(joined(site.base_url, folder, "/" if name == "index" else f"{name}/"))
    suffix = string(site.settings, "html_file_suffix") or ".html"
    return Place(joined(site.base_url, folder, name) + suffix)
