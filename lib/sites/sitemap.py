"""Read a sitemap.xml: https://www.sitemaps.org/protocol.html"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

MAX_SITEMAP_BYTES: Final = 50_000_000
"""The protocol's limit for one file."""
_MAX_DEPTH: Final = 100


class SitemapError(Exception):
    """The sitemap or the folder of HTML cannot be used. The message is for the operator."""


@dataclass(frozen=True, slots=True)
class _Sitemap:
    """The addresses in a sitemap, as they are written there."""

    pages: list[str] = field(default_factory=list)
    sitemaps: list[str] = field(default_factory=list)
    """Only a sitemap index has some."""


def read_sitemap(xml: bytes) -> _Sitemap:
    """Read a sitemap or a sitemap index. Raises `SitemapError`.

    Document types and entities are refused: they can expand without limit or read other files.
    """
    if len(xml) > MAX_SITEMAP_BYTES:
        raise SitemapError("the sitemap is larger than 50 MB")
    found = _Sitemap()
    lists = {"url": found.pages, "sitemap": found.sitemaps}
    names: list[str] = []
    text: list[str] = []

    def start(name: str, _: Mapping[str, str]) -> None:
        names.append(name.rpartition(":")[2])
        if len(names) > _MAX_DEPTH:
            raise SitemapError("the sitemap is nested too deeply")
        text.clear()

    def end(_: str) -> None:
        if names.pop() == "loc" and names and names[-1] in lists:
            lists[names[-1]].append("".join(text).strip())
        text.clear()

    def refuse(*_: object) -> None:
        raise SitemapError("the sitemap declares document types or entities")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(xml, True)
    except expat.ExpatError as error:
        raise SitemapError(f"the sitemap is not valid XML: {error}") from None
    except (LookupError, ValueError):  # of the codec that the declaration names
        raise SitemapError("the sitemap has an unknown encoding") from None
    return found
