"""Read the pages of a built site as Markdown, with the addresses that the site gives them."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

from lib.documents import (
    Document,
    DocumentError,
    DocumentLimits,
    file_limit,
    read_bytes,
    sha256,
)
from lib.html_facts import read_facts
from lib.html_markdown import FLAVOUR
from lib.html_page import read_html_page
from lib.markdown import parse_page
from lib.sites.built import BuiltSite, PageFacts, built_site, file_address, sample
from lib.sites.router import PageAddress
from lib.sites.sitemap import MAX_SITEMAP_BYTES, SitemapError, read_sitemap
from lib.source import SourcePage

_SITEMAP: Final = "sitemap.xml"
_MAX_SITEMAPS: Final = 100
_MAX_FOLDERS: Final = 8
_MAX_SAMPLED_PAGE: Final = 1_000_000
_MAX_SAMPLED_BYTES: Final = 10_000_000
"""Of all pages of the sample: a fraction of the time that a page may take."""
_UNMARKED: Final = "does not mark its text with data-pagefind-body, as other pages do"
_REPEATS: Final = "repeats another page, which its canonical link names"


def survey_site(
    root: Path, paths: Sequence[str], site_url: str, *, sampled: bool = True
) -> BuiltSite:
    """Find out how a folder of HTML is served, from a sample of its pages and its sitemap."""
    facts: list[PageFacts] = []
    left = _MAX_SAMPLED_BYTES
    for path in sample(paths) if sampled else ():
        with suppress(DocumentError):  # it is reported when the page is read
            data = read_bytes(root, path, min(left, _MAX_SAMPLED_PAGE))
            left -= len(data)
            facts.append(read_facts(path, data))
    return built_site(paths, facts, site_url=site_url, sitemap=_sitemap(root))


def _sitemap(root: Path) -> list[str]:
    """The addresses in the site's sitemap, and in those of the folder that it lists."""
    with suppress(DocumentError, SitemapError):
        found = read_sitemap(read_bytes(root, _SITEMAP, MAX_SITEMAP_BYTES))
        listed = {urlsplit(url).path.strip("/") for url in found.sitemaps[:_MAX_SITEMAPS]}
        return [*found.pages, *(page for path in sorted(listed) for page in _listed(root, path))]
    return []


def _listed(root: Path, path: str) -> list[str]:
    """The addresses in a sitemap whose address ends with its path in the folder."""
    parts = path.split("/")[-_MAX_FOLDERS:]
    for start in range(len(parts)):
        name = "/".join(parts[start:])
        with suppress(DocumentError, SitemapError):
            if name != _SITEMAP:
                return read_sitemap(read_bytes(root, name, MAX_SITEMAP_BYTES)).pages
    return []


class HtmlSource:
    keeps_text: Final = True

    def __init__(self, root: Path, built: BuiltSite, limits: DocumentLimits) -> None:
        self._root, self._built, self._limits = root, built, limits
        self._originals: dict[str, str] = {}

    def read(self, path: str) -> SourcePage:
        built, most = self._built, self._limits.max_file_bytes
        data = read_bytes(self._root, path, file_limit(path, self._limits))
        url = file_address(built.site, path)
        read = read_html_page(data, url=url, repeated=built.repeated)
        if (size := len(read.markdown.encode())) > most:
            raise DocumentError(f"its text has {size} bytes; the limit is {most} (MAX_FILE_BYTES)")
        canonical = _joined(url, read.canonical)
        left_out = read.left_out or (_UNMARKED if built.marked and not read.marked else "")
        if not left_out and (original := built.original(path, canonical)):
            self._originals[path] = original
            left_out = _REPEATS
        page = parse_page(read.markdown, FLAVOUR)
        address = PageAddress(
            built.address(path, canonical),
            tuple(read.anchors.get(heading.start) for heading in page.headings),
            read.version or built.version(path),
            read.language or built.language,
        )
        document = Document(path, read.markdown, sha256(data))
        return SourcePage(
            document, replace(page, title=read.title or page.title), address, left_out
        )

    def used_by(self, path: str) -> Sequence[str]:
        """The page that it repeats: without that, it is read again."""
        return [self._originals[path]] if path in self._originals else []

    def problems_of(self, path: str) -> Sequence[str]:
        return ()


def _joined(url: str, link: str) -> str:
    try:
        return urljoin(url, link) if link else ""
    except ValueError:
        return ""
