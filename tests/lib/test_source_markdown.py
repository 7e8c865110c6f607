from pathlib import Path

import pytest

from lib.sites.generators import GENERATORS, generator_named
from lib.sites.site import Site
from lib.source_markdown import _boundary, flavour_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "site/docs/guide").mkdir(parents=True)
    return tmp_path / "site/docs"


def test_files_are_included_from_the_repository(root: Path) -> None:
    config = root.parent / "mkdocs.yml"
    assert _boundary(root, Site()) == root
    assert _boundary(root, Site(GENERATORS["mkdocs"], config_file=config)) == root.parent
    aside = root.parents[1] / "website/docusaurus.config.js"
    assert _boundary(root, Site(GENERATORS["docusaurus"], config_file=aside)) == root
    (root.parents[1] / ".git").mkdir()
    assert _boundary(root, Site(GENERATORS["mkdocs"], config_file=config)) == root.parents[1]


def test_a_repository_far_above_is_another_one_s(root: Path) -> None:
    deep = root / "1/2/3/4"
    deep.mkdir(parents=True)
    (root / ".git").mkdir()
    assert _boundary(deep, Site()) == root
    assert _boundary(deep / "5", Site()) == deep / "5"


@pytest.mark.parametrize(
    ("generator", "path", "flavour"),
    [
        ("none", "a.md", "commonmark"),
        ("none", "a.mdx", "mdx"),
        ("docusaurus", "a.md", "mdx"),
        ("sphinx", "a.md", "myst"),
        ("sphinx", "a.mdx", "mdx"),
    ],
)
def test_flavour_of_a_file(generator: str, path: str, flavour: str) -> None:
    assert flavour_of(Site(generator_named(generator)), path) == flavour
