"""The registry: a new generator is one record in its own module, and one line."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lib.markdown import parse_page
from lib.sites.anchors import attribute_list
from lib.sites.config_files import section, string
from lib.sites.detection import detect_site
from lib.sites.generators import GENERATORS, generator_named
from lib.sites.router import PageAddress, Router
from lib.sites.site import (
    NO_GENERATOR,
    NOT_BUILT,
    ContentRoot,
    Generator,
    HeadingRules,
    NamedHeading,
    PagePath,
    PageSource,
    Site,
    joined,
    split_name,
)
from tests.tiny_book import write_book


def _page_path(site: Site, root: ContentRoot, source: PageSource) -> PagePath:
    if source.front_matter.get("draft") is True:
        return NOT_BUILT
    folder, name = split_name(source.path)
    return PagePath(joined(site.base_url, folder, "" if name == "_index" else name.lower(), "/"))


def _numbered(slugs: list[NamedHeading]) -> list[str]:
    return [
        f"{slug}.{place}" if slug in dict(slugs[:place]) else slug
        for place, (slug, _) in enumerate(slugs)
    ]


# As somebody else would write it, in a module of its own.
ZOLA = Generator(
    name="zola",
    config_files=("zola.toml", "config.toml"),
    recognises=lambda _, settings: "base_url" in settings,
    address=lambda settings: (string(settings, "base_url"), None),
    content_roots=lambda project: project.single_root("content"),
    page_path=_page_path,
    heading_rules=lambda site: HeadingRules(
        slugify=lambda text: re.sub(r"\W+", "_" if section(site.settings, "slugs") else "-", text),
        number=lambda slugs: _numbered(list(slugs)),
        explicit_id=attribute_list,
    ),
    underscored_pages=True,
)


def test_an_eighth_generator_is_one_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_book(tmp_path, {"config.toml": "base_url = 'https://x.org/z'", "content/Guide/a.md": ""})
    assert detect_site(tmp_path / "content") == Site()

    monkeypatch.setitem(GENERATORS, "zola", ZOLA)  # the line in lib.sites.generators

    site = detect_site(tmp_path / "content")
    assert (site.generator, site.site_url, site.base_url) == (ZOLA, "https://x.org", "/z/")
    assert detect_site(tmp_path / "content", generator="zola") == site
    assert generator_named("zola") is ZOLA
    router = Router(site, tmp_path / "content", ["_index.md", "Guide/B.md"])
    text = "# Set up\n\n## Set up\n\n## Own {#id}\n"
    assert router.address("Guide/B.md", parse_page(text, "commonmark"), text) == PageAddress(
        "https://x.org/z/Guide/b/", ("Set-up", "Set-up.1", "id")
    )
    assert router.address("_index.md", parse_page("", "commonmark")).url == "https://x.org/z/"
    draft = router.address("Guide/B.md", parse_page("---\ndraft: true\n---\n", "commonmark"))
    assert (draft.url, draft.published) == (None, False)


def test_names_of_generators() -> None:
    assert all(name == generator.name for name, generator in GENERATORS.items())
    assert generator_named("none") is generator_named("gatsby") is NO_GENERATOR


def test_a_site_has_one_representation_in_every_process() -> None:
    """It is part of the hash that tells whether addresses have changed."""
    code = "from lib.sites.detection import *; print(detect_site(Path('/x'), generator='mkdocs'))"
    seen = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
        for _ in range(2)
    ]
    assert seen[0] == seen[1]
    assert b" at 0x" not in seen[0]
