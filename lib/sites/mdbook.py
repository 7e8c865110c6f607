"""TODO"""

import posixpath
import re
from typing import Final
from urllib.parse import unquote

from lib.sites.config_files import section
from lib.sites.site import ContentRoot, PagePath, PageSource, Site, joined, split_name

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


def mdbook(site: Site, mount: ContentRoot, source: PageSource) -> PagePath:
    folder, name = split_name(source.path)
    build = section(site.settings, "build")
    preprocessed = build.get("use-default-preprocessors") is not False or isinstance(
        section(site.settings, "preprocessor").get("index"), dict
    )
    if preprocessed and name.lower() == "readme":
        name = "index"
    return PagePath(joined(site.base_url, folder, name) + ".html")
