"""The registry of site generators. A new one needs its own module and a line here."""

from typing import Final

from lib.sites import docusaurus, hugo, jekyll, mdbook, mkdocs, quire, sphinx, vitepress
from lib.sites.site import HTML, NO_GENERATOR, Generator

_IN_ORDER: Final = (  # of preference, when one folder has several configuration files
    docusaurus.GENERATOR,
    vitepress.GENERATOR,
    mkdocs.GENERATOR,
    mdbook.GENERATOR,
    sphinx.GENERATOR,
    sphinx.MYST_SITE,
    hugo.GENERATOR,
    jekyll.GENERATOR,
    quire.GENERATOR,
)
GENERATORS: Final[dict[str, Generator]] = {each.name: each for each in _IN_ORDER}


def generator_named(name: str) -> Generator:
    """The generator of an index. `html` is no generator of Markdown sources."""
    return HTML if name == HTML.name else GENERATORS.get(name, NO_GENERATOR)
