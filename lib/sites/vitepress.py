"""Paths of VitePress, mdBook and Sphinx, which keep a file's name."""

import re
from typing import Final

from lib.sites.config_files import glob_matches, strings
from lib.sites.javascript import UNKNOWN
from lib.sites.site import (
    NOT_BUILT,
    UNKNOWN_PATH,
    ContentRoot,
    PagePath,
    PageSource,
    Site,
    joined,
    split_name,
)

# --- VitePress ----------------------------------------------------------------------------------


def vitepress(site: Site, mount: ContentRoot, source: PageSource) -> PagePath:
    if glob_matches(strings(site.settings.get("srcExclude")), source.path):
        return NOT_BUILT
    if re.search(r"\[\w+\]", source.path) or glob_matches(("**/node_modules/**",), source.path):
        return NOT_BUILT  # a template of pages that a program lists
    path = _rewritten(site.settings.get("rewrites"), source.path)
    if path is None:
        return UNKNOWN_PATH
    folder, name = split_name(path)
    if name == "index":
        return PagePath(joined(site.base_url, folder, "/"))
    return PagePath(joined(site.base_url, folder, name) + ("" if site.clean_urls else ".html"))


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
