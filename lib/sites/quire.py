"""Quire itself: a book without a site, whose pages Quire serves at /book/.

`quire.toml` in the content folder (`title = "…"`) says that the author wants that. A folder that
somebody mounts or uploads is not served without it, or SITE_GENERATOR=quire.
"""

import posixpath
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from lib.sites.anchors import attribute_list, numbered, word_slug
from lib.sites.config_files import read_text, string
from lib.sites.site import (
    ContentRoot,
    Generator,
    HeadingRules,
    NamedHeading,
    PagePath,
    PageSource,
    Site,
    joined,
    split_name,
)

PAGES: Final = "/book/"
"""The path of the pages below the site's base."""
PAGE_SUFFIXES: Final = (".md", ".mdx", ".markdown")


def _page_path(site: Site, _root: ContentRoot, source: PageSource) -> PagePath:
    folder, name = split_name(source.path)
    if source.path not in _named(folder, name, source)[:1]:
        folder, name = posixpath.split(source.path)
    elif name == "index" or (name == "README" and not _named(folder, "index", source)):
        folder, name = f"{folder}/", ""
    return PagePath(joined(site.base_url, PAGES, folder, name))


def _named(folder: str, name: str, source: PageSource) -> list[str]:
    """The pages of this name. The first has the address without a suffix."""
    paths = (posixpath.join(folder, name + suffix) for suffix in PAGE_SUFFIXES)
    return [path for path in paths if path in source.siblings]


_LINK: Final = re.compile(r"\]\(<?([^()<>\s#?]++)")


def _page_order(_site: Site, root: ContentRoot, _pages: Collection[str]) -> Iterator[str]:
    """The pages in the order of the links on the index page; of several to a page, the last one
    counts, which is that of a list of chapters below an introduction."""
    targets = _LINK.findall(read_text(Path(root.folder) / "index.md"))
    for target in reversed(dict.fromkeys(reversed(targets))):
        path = posixpath.normpath(unquote(target))
        yield from (path, posixpath.join(path, "index.md"))


def _number(slugs: Sequence[NamedHeading]) -> list[str]:
    """`x`, `x-1`, `x-2`; no slug takes an id that the author wrote, also below it."""
    explicit = [each for each in slugs if each[1]]
    made = [each for each in slugs if not each[1]]
    anchors = iter(numbered([*explicit, *made], explicit_count=True)[len(explicit) :])
    return [slug if is_explicit else next(anchors) for slug, is_explicit in slugs]


GENERATOR: Final = Generator(
    name="quire",
    config_files=("quire.toml",),
    title=lambda settings: string(settings, "title"),
    page_order=_page_order,
    page_path=_page_path,
    heading_rules=lambda _site: HeadingRules(
        # As GitHub, where authors read the same files, and a name for headings of signs
        slugify=lambda text: word_slug(text.lower()) or "section",
        number=_number,
        explicit_id=attribute_list,
    ),
)
