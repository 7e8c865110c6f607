"""A page of a book as its source gives it: Markdown, or HTML that was built.

Chunking and everything after it does not know which of them it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from lib.documents import Document
from lib.markdown_page import Include, Page
from lib.sites.built import BuiltSite
from lib.sites.router import PageAddress


class Build(NamedTuple):
    """The built site of a book that is read from its sources (SITE_BUILD)."""

    folder: Path
    site: BuiltSite


class InBuild(msgspec.Struct, frozen=True):
    """A source's page in the built site, and its links that differ from those of the sources."""

    file: str
    """Relative to the folder of the build; empty if the source is not in it."""
    links: int = 0
    """Addresses of the page and of its headings."""
    unknown: int = 0
    """Of those, the ones that the generator's rules do not give."""
    pages: int = 0
    """Those with another page."""
    anchors: int = 0
    """Those with the same page and another anchor."""
    example: tuple[str, str] | None = None
    """An address by the rules, and in the build."""


@dataclass(frozen=True, slots=True)
class SourcePage:
    document: Document
    """Its text is Markdown, in which all offsets count. Its hash is that of the file."""
    page: Page
    address: PageAddress
    left_out: str = ""
    """Why the page has no chunks, as the end of a sentence about it; empty for a page with text."""
    includes: Include | None = None
    in_build: InBuild | None = None
    """Only if the address comes from a build."""


class Source(Protocol):
    """Reads the pages of one book."""

    @property
    def keeps_text(self) -> bool:
        """Whether the index keeps all of a page's text, because no file has it."""

    def read(self, path: str) -> SourcePage:
        """Read a page. Raises `lib.documents.DocumentError`."""

    def used_by(self, path: str) -> Sequence[str]:
        """Other files that the chunks of a page depend on, relative to the content folder; known
        after chunking."""

    def problems_of(self, path: str) -> Sequence[str]:
        """Problems of the files that a page includes."""
