"""What decides about a page's path, and what comes out.

The path functions of each generator stand in `lib.*_paths`. They take a page's path relative to its
mount and return it as the generator writes it, unencoded, with a leading slash: `Place("/guide/")`.
Their rules were read from the generators' sources and from real builds.
"""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final


@dataclass(frozen=True, slots=True)
class Source:
    """What decides about one page's path."""

    path: str
    """Relative to its mount."""
    front_matter: Mapping[str, object]
    title: str
    has_front_matter: bool
    siblings: frozenset[str]
    """All pages of the same mount, relative to it; this one too."""


@dataclass(frozen=True, slots=True)
class Place:
    path: str | None
    """None when it cannot be known, or there is no such page."""
    published: bool = True
    """False when the site's own rules keep the page out of the build."""
    locale: str = ""


NOT_BUILT: Final = Place(None, published=False)
UNKNOWN_PLACE: Final = Place(None)


def split_name(path: str) -> tuple[str, str]:
    """Folder ("" at the top) and the file's name without its extension."""
    folder, name = posixpath.split(path)
    return folder, re.sub(r"\.(?:mdx?|markdown|mkdn?|mkdown|mdown)$", "", name, flags=re.IGNORECASE)


def joined(*parts: str) -> str:
    """With single slashes; a slash at the end stays."""
    return re.sub(r"/{2,}", "/", "/" + "/".join(part for part in parts if part))


def text_of(value: object) -> str:
    """Front matter that means a string but was read as a number."""
    return str(value) if isinstance(value, str | int | float) and value is not True else ""


def date_of(value: object) -> date | None:
    if isinstance(value, Mapping):  # the blog plugin of Material: created, updated
        value = value.get("created")
    if isinstance(value, datetime | date):
        return value
    try:
        return datetime.fromisoformat(str(value)[:10]) if value else None
    except ValueError:
        return None
