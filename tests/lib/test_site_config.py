"""The generators' own configuration files: which count, and what is read in them."""

from pathlib import Path

import pytest

from lib.sites.detection import (
    candidates,
    extension_settings,
    plausible,
    project_folder,
    read_settings,
)
from lib.sites.site import GENERATORS
from tests.tiny_book import write_book


def test_the_nearest_configuration_comes_first(tmp_path: Path) -> None:
    files = ["docs/guide/mkdocs.yml", "docs/conf.py", "mkdocs.yaml", "website/hugo.toml"]
    write_book(tmp_path, dict.fromkeys([*files, ".git/HEAD"], ""))
    found = list(candidates(tmp_path / "docs/guide", GENERATORS))
    assert [file.relative_to(tmp_path).as_posix() for _, file in found[:4]] == files
    assert [name for name, _ in candidates(tmp_path / "docs/guide", ("hugo",))] == ["hugo"]


def test_two_configurations_in_one_folder_have_an_order(tmp_path: Path) -> None:
    names = [".git/HEAD", "_config.yml", "conf.py", "mkdocs.yml", "mkdocs.yaml"]
    write_book(tmp_path, dict.fromkeys(names, ""))
    found = [(name, file.name) for name, file in candidates(tmp_path, GENERATORS)]
    assert found == [("mkdocs", "mkdocs.yml"), ("sphinx", "conf.py"), ("jekyll", "_config.yml")]


def test_a_jupyter_book_is_no_jekyll_site(tmp_path: Path) -> None:
    files = {".git/HEAD": "", "_config.yml": "html: {baseurl: /b}", "_toc.yml": ""}
    write_book(tmp_path, files)
    ((name, file),) = candidates(tmp_path, GENERATORS)
    assert (name, file.name) == ("sphinx", "_toc.yml")
    assert plausible(name, file, {})
    assert read_settings(name, file) == {"html_baseurl": "/b"}


@pytest.mark.parametrize(
    ("name", "file", "folder"),
    [
        ("vitepress", "docs/.vitepress/config.mts", "docs"),
        ("vitepress", "docs/.vitepress/config/index.ts", "docs"),
        ("vitepress", "docs/.vitepress", "docs"),
        ("hugo", "site/config/_default/hugo.toml", "site"),
        ("hugo", "site/hugo.toml", "site"),
        ("mkdocs", "mkdocs.yml", "."),
    ],
)
def test_the_folder_that_a_configuration_speaks_of(name: str, file: str, folder: str) -> None:
    assert project_folder(name, Path("/x") / file) == Path("/x") / folder


def test_a_configuration_builds_upon_another(tmp_path: Path) -> None:
    write_book(
        tmp_path,
        {
            "own/mkdocs.yml": "INHERIT: ../base.yml\ntheme: {name: b}",
            "base.yml": "site_url: https://x.org/\ntheme: {name: a, language: en}",
        },
    )
    read = read_settings("mkdocs", tmp_path / "own/mkdocs.yml")
    assert read["site_url"] == "https://x.org/"
    assert read["theme"] == {"name": "b", "language": "en"}


def test_hugo_knows_no_case_and_names_settings_by_their_files(tmp_path: Path) -> None:
    folder = tmp_path / "config/_default"
    write_book(folder, {"hugo.toml": 'baseURL = "/h/"', "languages.yaml": "EN: {Weight: 1}"})
    read = read_settings("hugo", folder / "hugo.toml")
    assert read == {"baseurl": "/h/", "languages": {"en": {"weight": 1}}}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["toc", {"search": {"lang": "en"}}], {"toc": {}, "search": {"lang": "en"}}),
        ({"toc": {"permalink": True}, "search": None}, {"toc": {"permalink": True}, "search": {}}),
        (None, {}),
        ("toc", {}),
        ([1, ["toc"]], {}),
    ],
)
def test_plugins_are_a_list_or_a_mapping(written: object, read: dict[str, object]) -> None:
    assert extension_settings({"plugins": written}, "plugins") == read
