from pathlib import Path

import pytest

from lib.book import boundary, content_folder, digest
from lib.errors import InvalidRequest
from lib.sites.site import Site


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "site/docs/guide").mkdir(parents=True)
    return tmp_path / "site/docs"


@pytest.mark.parametrize("wanted", [None, "", ".", "guide", "./guide/", "guide/../guide"])
def test_a_folder_inside_the_content_folder_is_ingested(root: Path, wanted: str | None) -> None:
    assert content_folder(root, wanted) == (root / "guide" if wanted and "g" in wanted else root)
    assert content_folder(root, str(root / "guide")) == root / "guide"


def test_older_clients_name_it_from_where_the_server_runs(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    assert content_folder(Path("docs"), "./docs/guide") == root / "guide"


@pytest.mark.parametrize("wanted", ["..", "/", "none", "a.md", "link", "x" * 5_000, "\0"])
def test_nothing_else_is(root: Path, wanted: str) -> None:
    (root / "a.md").write_text("text")
    (root / "link").symlink_to(root.parent)
    with pytest.raises(InvalidRequest, match="content_path"):
        content_folder(root, wanted)


def test_files_are_included_from_the_repository(root: Path) -> None:
    config = root.parent / "mkdocs.yml"
    assert boundary(root, Site("none")) == root
    assert boundary(root, Site("mkdocs", config_file=config)) == root.parent
    aside = root.parents[1] / "website/docusaurus.config.js"
    assert boundary(root, Site("docusaurus", config_file=aside)) == root
    (root.parents[1] / ".git").mkdir()
    assert boundary(root, Site("mkdocs", config_file=config)) == root.parents[1]


def test_a_repository_far_above_is_another_one_s(root: Path) -> None:
    deep = root / "1/2/3/4"
    deep.mkdir(parents=True)
    (root / ".git").mkdir()
    assert boundary(deep, Site("none")) == root
    assert boundary(deep / "5", Site("none")) == deep / "5"


def test_a_digest_tells_where_one_text_ends() -> None:
    assert digest(["ab", "c"]) != digest(["a", "bc"]) != digest(["abc"])
    assert digest(["\ud800"]) == digest(["\ud800"])
    assert len(digest([])) == 32
