"""The registry of site generators. A new one needs its own module and a line here."""

from typing import Final

from lib.sites import docusaurus, hugo, jekyll, mdbook, mkdocs, sphinx, vitepress
from lib.sites.site import NO_GENERATOR, Generator

GENERATORS: Final[dict[str, Generator]] = {
    # In this order when one folder has several configuration files.
    module.GENERATOR.name: module.GENERATOR
    for module in (docusaurus, vitepress, mkdocs, mdbook, sphinx, hugo, jekyll)
}


def generator_named(name: str) -> Generator:
    return GENERATORS.get(name, NO_GENERATOR)
