"""Extract the handbook's code blocks, prose, links and headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lib.markdown import parse_page
from lib.sites.generators import GENERATORS
from lib.sites.site import Site

ROOT = Path(__file__).parents[1]
CHAPTERS = tuple(sorted((ROOT / "book_content").glob("*.md")))
PAGES = (*CHAPTERS, ROOT / "README.md")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced code block. `name` identifies it in test output."""

    page: str
    heading: str
    language: str
    code: str

    @property
    def name(self) -> str:
        return f"{self.page} > {self.heading} ({self.language})"


def blocks(*languages: str, page: str = "") -> list[Block]:
    """Return the code blocks in these languages, of all pages or of one, in order."""
    found = []
    for path in PAGES:
        heading = ""
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(
            r"^#+ (?P<heading>[^\n]+)$"
            r"|^(?P<fence>`{3,})(?P<language>\w*)\n(?P<code>.*?)^(?P=fence)$",
            text,
            re.MULTILINE | re.DOTALL,
        ):
            if match["heading"]:
                heading = match["heading"]
            elif match["language"] in languages and page in ("", path.name):
                found.append(Block(path.name, heading, match["language"], match["code"]))
    return found


def block(page: str, heading: str, language: str) -> str:
    """Return the only block in this language under this heading."""
    (found,) = (each for each in blocks(language, page=page) if each.heading == heading)
    return found.code


def prose(path: Path) -> str:
    """Return a page without its fenced blocks."""
    text = path.read_text(encoding="utf-8")
    return re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)


def links(path: Path) -> Iterator[str]:
    """Yield the targets of links to files and headings in the project."""
    for target in re.findall(r"\]\(<?([^)>\s]+)>?\)", re.sub(r"`[^`]*`", "", prose(path))):
        if not urlsplit(target).scheme:
            yield target


def anchors(path: Path) -> set[str]:
    page = parse_page(path.read_text(encoding="utf-8"), "commonmark")
    # GitHub's slugs, which Docusaurus uses
    slugify = GENERATORS["docusaurus"].heading_rules(Site()).slugify
    assert slugify is not None
    return {slugify(heading.text) for heading in page.headings}
