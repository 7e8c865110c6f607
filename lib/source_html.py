"""Read the pages of a built site."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from lib.documents import Document, DocumentError, DocumentLimits, read_bytes, sha256
from lib.html_page import read_html_page
from lib.markdown import parse_page
from lib.sites.built import file_address
from lib.sites.router import PageAddress
from lib.sites.site import Site
from lib.source import SourcePage


class HtmlSource:
    keeps_text: Final = True

    def __init__(
        self, root: Path, site: Site, paths: Sequence[str], limits: DocumentLimits
    ) -> None:
        self._root, self._site, self._limits = root, site, limits

    def read(self, path: str) -> SourcePage:
        data = read_bytes(self._root, path, self._limits)
        url = file_address(self._site, path)
        read = read_html_page(data, url=url)
        if (size := len(read.markdown.encode())) > self._limits.max_file_bytes:
            most = self._limits.max_file_bytes
            raise DocumentError(f"its text has {size} bytes; the limit is {most} (MAX_FILE_BYTES)")
        page = parse_page(read.markdown, self._site.generator.markdown(self._site.settings))
        page = replace(page, title=read.title or page.title)
        anchors = tuple(read.anchors.get(heading.start) for heading in page.headings)
        address = PageAddress(url, anchors, read.version, read.language)
        return SourcePage(Document(path, read.markdown, sha256(data)), page, address, read.left_out)

    def used_by(self, path: str) -> Sequence[str]:
        return ()

    def problems_of(self, path: str) -> Sequence[str]:
        return ()
