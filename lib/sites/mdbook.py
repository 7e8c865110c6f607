"""mdBook: the pages that SUMMARY.md lists."""

import posixpath
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import regex

from lib.sites.anchors import attribute_list, numbered
from lib.sites.config_files import read_text, section, string
from lib.sites.site import (
    UNKNOWN_PATH,
    ContentRoot,
    Generator,
    HeadingRules,
    HeadingText,
    NamedHeading,
    PagePath,
    PageSource,
    Site,
    joined,
    split_name,
)

_SUMMARY_LINK: Final = re.compile(
    r"[ \t]*+(?:[-*+][ \t]++)?+\[((?:[^\]\\]++|\\.)*+)\]\((?:<([^<>]*+)>|([^()]*+))\)"
)


def _listed_pages(root: ContentRoot) -> dict[str, str] | None:
    """The pages that SUMMARY.md lists, relative to it, with their titles; None without one."""
    summary = read_text(Path(root.folder) / "SUMMARY.md")
    if not summary:
        return None
    pages: dict[str, str] = {}
    visible = re.sub(r"<!--.*?(?:-->|\Z)", "", summary, flags=re.DOTALL)
    for line in visible.splitlines():
        if match := _SUMMARY_LINK.match(line):
            target = unquote((match[2] or match[3] or "").strip())
            if target:
                pages.setdefault(posixpath.normpath(target), match[1])
    return pages


def _page_path(site: Site, _root: ContentRoot, source: PageSource) -> PagePath:
    folder, name = split_name(source.path)
    if name.lower() == "readme":
        if "use-default-preprocessors" in section(site.settings, "build"):
            return UNKNOWN_PATH
        name = "index"
    return PagePath(joined(site.base_url, folder, name) + ".html")


# `is_alphanumeric` of Rust
_NOT_IN_SLUG: Final = regex.compile(r"[^\p{Alphabetic}\p{N}_\s-]+")
_OF_SIGNS: Final = re.compile(r"(?:section)?+(?:-\d++)?+")


def _slug(text: str) -> str:
    return re.sub(r"\s", "-", _NOT_IN_SLUG.sub("", text.strip().lower()))


def _number(slugs: Iterable[NamedHeading]) -> list[str]:
    """Number the slugs. mdBook 0.5 has `` and `-1` for headings of signs, later versions `section`
    and `section-1`, so those, and what they could clash with, are unknown."""
    named = list(slugs)
    unsure = any(not slug for slug, _ in named)
    return [
        "" if unsure and not explicit and _OF_SIGNS.fullmatch(slug) else anchor
        for (slug, explicit), anchor in zip(
            named, numbered(named, explicit_count=False), strict=True
        )
    ]


def _heading_rules(site: Site) -> HeadingRules:
    html = section(site.settings, "output", "html")
    smart = html.get("smart-punctuation") is not False
    return HeadingRules(
        slugify=_slug,
        number=_number,
        text=HeadingText(image_alt=False, attributes=True, smart_dashes=smart),
        explicit_id=attribute_list,
    )


def _source(settings: Mapping[str, Any]) -> str:
    return string(section(settings, "book"), "src", "src")


def _address(settings: Mapping[str, Any]) -> tuple[str, str | None]:
    place = string(section(settings, "output", "html"), "site-url")
    return (place, None) if "://" in place else ("", place)


GENERATOR: Final = Generator(
    name="mdbook",
    config_files=("book.toml",),
    recognises=lambda file, settings: (file.parent / _source(settings) / "SUMMARY.md").is_file(),
    address=_address,
    title=lambda settings: string(section(settings, "book"), "title"),
    content_roots=lambda project: project.single_root(_source(project.settings)),
    listed_pages=_listed_pages,
    page_path=_page_path,
    heading_rules=_heading_rules,
)
