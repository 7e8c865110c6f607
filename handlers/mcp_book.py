"""How the MCP server names itself: by the settings, else by the book."""

from dataclasses import dataclass
from typing import Final

from handlers import services
from lib import __version__
from lib.contents import book_title
from lib.errors import QuireError

_CONTENTS_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The name and description that clients show to people and models."""

    title: str
    """That of the book; empty if it is unknown."""
    name: str
    description: str

    @property
    def instructions(self) -> str:
        """For models."""
        advice = "Search it before you answer, and cite the addresses in the results."
        return f"{self.description} {advice}".strip()

    @property
    def info(self) -> dict[str, str]:
        """MCP's `Implementation`."""
        return {"name": self.name, "version": __version__}


async def describe_server() -> Server:
    opened = services()
    settings = opened.settings
    title = settings.book_title
    try:
        if manifest := await opened.store.manifest():
            contents = await opened.contents.get(_CONTENTS_SECONDS)
            title = book_title(settings, manifest, contents)
    except QuireError:
        pass  # without an index, the tools say so
    return Server(
        title=title,
        name=settings.mcp_name or title or "Quire",
        description=settings.mcp_description or (f"The documentation “{title}”." if title else ""),
    )
