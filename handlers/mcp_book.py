"""How the MCP server describes itself: by the settings, else by the book's title and opening."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin

from handlers import own_address, services
from lib import __version__
from lib.contents import book_title
from lib.errors import QuireError

_CONTENTS_SECONDS: Final = 1.0
_ADVICE: Final = "Search before you answer, and cite the addresses in the results."


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The name and descriptions that clients show to people and models."""

    name: str
    book: str
    """The book in the middle of a sentence."""
    about: str
    """One or two sentences about the book; may be empty."""
    home: str
    """The address of Quire if it serves the pages of the book itself; else empty."""

    @property
    def instructions(self) -> str:
        own = services().settings.mcp_description
        return own or " ".join(filter(None, (f"Search {self.book}.", self.about, _ADVICE)))

    def address(self, url: str | None) -> str | None:
        """The whole address of a page if it is known; None without any."""
        return url and urljoin(self.home, url)

    @property
    def info(self) -> dict[str, str]:
        """MCP's `Implementation`."""
        return {"name": self.name, "version": __version__}


async def describe_server() -> Server:
    """Describe the server also without an index: then the tools tell the problem."""
    opened = services()
    settings = opened.settings
    title, about, home = settings.book_title, settings.mcp_description, ""
    with suppress(QuireError):
        if manifest := await opened.store.manifest():
            contents = await opened.contents.get(_CONTENTS_SECONDS)
            title = book_title(settings, manifest, contents)
            home = own_address() if manifest.has_local_pages else ""
            about = about or await opened.page_markdown.book_opening()
    return Server(
        name=settings.mcp_name or title or "Quire",
        book=f"the documentation “{title}”" if title else "this documentation",
        about=about,
        home=home,
    )
