"""A page of a book as its source gives it: Markdown, or HTML that was built.

Chunking and everything after it does not know which of them it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lib.documents import Document
from lib.markdown_page import Include, Page
from lib.sites.router import PageAddress


@dataclass(frozen=True, slots=True)
class SourcePage:
    document: Document
    """Its text is Markdown, in which all offsets count. Its hash is that of the file."""
    page: Page
    address: PageAddress
    left_out: str = ""
    """Why the page has no chunks, as the end of a sentence about it; empty for a page with text."""
    includes: Include | None = None


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
