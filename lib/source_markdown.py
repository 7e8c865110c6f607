"""Read the Markdown of a book, with the addresses that its site generator gives the pages."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lib.documents import DocumentLimits, is_hidden, read_document
from lib.includes import Includes
from lib.markdown import parse_page, plain_text
from lib.markdown_page import Flavour
from lib.sites.config_files import repository_of
from lib.sites.router import Router
from lib.sites.site import Site
from lib.source import SourcePage

if TYPE_CHECKING:  # only a book with a build needs the parser of HTML
    from lib.site_build import SiteBuild


class MarkdownSource:
    """Caches addresses and included files."""

    keeps_text: Final = False

    def __init__(
        self,
        root: Path,
        site: Site,
        paths: Sequence[str],
        limits: DocumentLimits,
        build: "SiteBuild | None" = None,
    ) -> None:
        self._root, self._site, self._limits, self._build = root, site, limits, build
        self._router = Router(site, root, paths)
        self._includes = Includes(root, _boundary(root, site))

    def read(self, path: str) -> SourcePage:
        document = read_document(self._root, path, self._limits)
        page = parse_page(document.text, flavour_of(self._site, path))
        address = self._router.address(path, page, document.text)
        page = replace(page, title=page.title or plain_text(address.title, page))
        left_out, in_build = "", None
        if is_hidden(page.front_matter):
            left_out = "is a draft"
        elif self._build:
            address, in_build = self._build.find(path, page, address)
            left_out = "" if in_build.file else "is not in the built site"
        elif not address.published:
            left_out = "is not published by the site"
        includes = None if left_out else self._includes.of(document, page)
        return SourcePage(document, page, address, left_out, includes, in_build)

    def used_by(self, path: str) -> Sequence[str]:
        return [os.path.relpath(file, self._root) for file in self._includes.used_by(path)]

    def problems_of(self, path: str) -> Sequence[str]:
        return self._includes.problems_of(path)


def flavour_of(site: Site, path: str) -> Flavour:
    """Return the Markdown flavour of a file, from its extension, else the site's generator."""
    return "mdx" if path.endswith(".mdx") else site.generator.markdown(site.settings)


def _boundary(root: Path, site: Site) -> Path:
    """Return the repository of the site: pages may include only files inside it.

    It is the nearest folder with a `.git`, else the folder of the site's configuration if that is
    above the content folder, else the content folder.
    """
    if repository := repository_of(root):
        return repository
    config = site.config_file
    if config is not None and root.is_relative_to(config.parent):
        return config.parent
    return root
