import itertools
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from lib.book import (
    Book,
    BookReader,
    _path_names,
    content_folder,
    digest,
    survey,
)
from lib.documents import DocumentLimits
from lib.errors import InvalidRequest
from lib.sites.detection import detect_site
from lib.sites.generators import GENERATORS
from lib.sites.site import ContentRoot, Site
from lib.source import Build
from lib.source_html import survey_site
from lib.store import Ledger
from tests.tiny_book import write_book


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "site/docs/guide").mkdir(parents=True)
    return tmp_path / "site/docs"


@pytest.mark.parametrize("wanted", [None, "", ".", "guide", "./guide/", "guide/../guide"])
def test_a_folder_inside_the_content_folder_is_ingested(root: Path, wanted: str | None) -> None:
    assert content_folder(root, wanted) == (root / "guide" if wanted and "g" in wanted else root)
    assert content_folder(root, str(root / "guide")) == root / "guide"


def test_older_clients_send_a_path_from_the_working_directory(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    assert content_folder(Path("docs"), "./docs/guide") == root / "guide"


@pytest.mark.parametrize("wanted", ["..", "/", "none", "a.md", "link", "x" * 5_000, "\0"])
def test_other_paths_are_refused_as_content_folder(root: Path, wanted: str) -> None:
    (root / "a.md").write_text("text")
    (root / "link").symlink_to(root.parent)
    with pytest.raises(InvalidRequest, match="content_path"):
        content_folder(root, wanted)


def test_a_digest_tells_where_one_text_ends() -> None:
    assert digest(["ab", "c"]) != digest(["a", "bc"]) != digest(["abc"])
    assert digest(["\ud800"]) == digest(["\ud800"])
    assert len(digest([])) == 32


FILES = {
    "index.md": "# Harbour\n\nText.\n",
    "guide/tides.md": "# Tides\n\n{{#include tides.txt}}\n",
    "guide/lamps.md": "# Lamps\n\nText.\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_book(tmp_path / "book", {**FILES, "guide/tides.txt": "Every six hours.\n"})


def book(folder: Path) -> Book:
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.md"))
    return Book(folder, Site(), paths, DocumentLimits(), 270)


@pytest.fixture
def ledger(folder: Path) -> Ledger:
    return BookReader(book(folder)).read(sorted(FILES)).ledger


def test_nothing_is_known_of_a_new_book(folder: Path) -> None:
    found = survey(book(folder), {})
    assert found.changed == sorted(FILES)
    assert (found.unchanged, found.removed, found.errors) == ([], [], [])


def test_a_page_is_read_again_on_the_day_that_it_is_published(folder: Path, ledger: Ledger) -> None:
    due, later = (time.time() + seconds for seconds in (-1, 60))
    ledger["index.md"] = msgspec.structs.replace(ledger["index.md"], until=due)
    ledger["guide/tides.md"] = msgspec.structs.replace(ledger["guide/tides.md"], until=later)
    assert survey(book(folder), ledger).changed == ["index.md"]


SECRET = "seven hidden cups"
HIDDEN = {
    "jekyll": {
        "_config.yml": "exclude: [private]",
        "a.md": "---\n---\n\n## A\n\nOne.\n\n{% comment %}\n## B\n\n"
        f"{SECRET}\n{{% endcomment %}}\n\nTwo.",
        "_drafts/d.md": f"---\n---\n{SECRET}",
        "_posts/2199-01-01-f.md": f"---\n---\n{SECRET}",
        "private/x.md": f"---\n---\n{SECRET}",
        "u.md": f"---\npublished: false\n---\n{SECRET}",
    },
    "hugo": {
        "hugo.toml": "contentDir = '.'",
        "a.md": f"+++\n+++\n\nOne.\n\n{{{{% comment %}}}}{SECRET}{{{{% /comment %}}}}\n\nTwo.",
        "j.md": f'{{"title": "J", "draft": true}}\n\n{SECRET}',
        "b.md": f"---\ntitle: a: b\ndraft: true\n---\n{SECRET}",
        "t.md": f"+++\nexpiryDate = 2020-01-01\n+++\n{SECRET}",
        "s/_index.md": "---\ncascade: {build: {render: never}}\n---\n",
        "s/p.md": SECRET,
    },
    "myst": {"myst.yml": "project: {}", "a.md": f"# A\n\nOne.\n\n% {SECRET}\n\nTwo."},
    "docusaurus": {
        "docusaurus.config.js": "export default {presets: [['classic', {docs: {path: '.'}}]]}",
        "a.md": "One.\n\nTwo.",
        "u.md": f"---\nunlisted: true\n---\n{SECRET}",
    },
}


@pytest.mark.parametrize("generator", HIDDEN)
def test_the_index_contains_nothing_hidden(tmp_path: Path, generator: str) -> None:
    files = HIDDEN[generator]
    root = write_book(tmp_path, files)
    paths = sorted(path for path in files if path.endswith(".md"))
    site = detect_site(root)
    assert site.generator.name == generator
    read = BookReader(Book(root, site, paths, DocumentLimits(), 270)).read(paths)
    texts = "".join(repr(each) for each in read.chunks)
    assert "One" in texts
    assert "Two" in texts
    assert "hidden" not in texts
    assert "cups" not in texts


def test_a_page_without_a_title_has_that_of_the_summary(tmp_path: Path) -> None:
    summary = "# Summary\n\n- [The *big* \\[one\\]](one.md)\n- [Two](two.md)\n"
    files = {"one.md": "Text.\n", "two.md": "# Own\n\nText.\n", "SUMMARY.md": summary}
    root = write_book(tmp_path, files)
    site = Site(GENERATORS["mdbook"], content_roots=(ContentRoot(root.as_posix()),))
    read = BookReader(Book(root, site, sorted(files), DocumentLimits(), 270)).read(sorted(files))
    assert [each.chunk.chapter for each in read.chunks] == ["The big [one]", "Own"]


def test_a_changed_cascade_is_a_changed_site(folder: Path) -> None:
    (folder / "_index.md").write_text("---\ncascade: {draft: true}\n---\n")
    before = book(folder).site_hash()
    (folder / "_index.md").write_text("---\ncascade: {draft: false}\n---\n")
    assert book(folder).site_hash() != before


def test_survey_lists_new_changed_and_removed_files(folder: Path, ledger: Ledger) -> None:
    assert survey(book(folder), ledger).unchanged == sorted(FILES)
    write_book(folder, {"guide/lamps.md": "# Lamps\n\nOther.\n", "new.md": "# New\n\nText.\n"})
    (folder / "index.md").unlink()
    found = survey(book(folder), ledger)
    assert found.unchanged == ["guide/tides.md"]
    assert found.changed == ["guide/lamps.md", "new.md"]
    assert found.removed == ["index.md"]


def test_a_page_changes_with_what_it_includes(folder: Path, ledger: Ledger) -> None:
    (folder / "guide/tides.txt").write_text("Every twelve hours.\n")
    assert survey(book(folder), ledger).changed == ["guide/tides.md"]
    (folder / "guide/tides.txt").unlink()
    assert survey(book(folder), ledger).changed == ["guide/tides.md"]


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        # an index page may change the addresses of all pages in its folder
        ("guide/index.md", ["guide/index.md", "guide/lamps.md", "guide/tides.md"]),
        ("guide/guide.md", ["guide/guide.md", "guide/lamps.md", "guide/tides.md"]),
        ("guide/Tides.mdx.md", ["guide/Tides.mdx.md", "guide/tides.md"]),
        ("guide/other.md", ["guide/other.md"]),
    ],
)
def test_a_page_changes_with_names_that_may_decide_its_address(
    folder: Path, ledger: Ledger, name: str, changed: list[str]
) -> None:
    write_book(folder, {name: "# Other\n\nText.\n"})
    assert survey(book(folder), ledger).changed == changed


TIDES = "The tide turns every six hours and a quarter, and at spring tide it rises four metres."
LAMPS = "Two lamps above each other mark the entrance, which is safe in all but northern winds."


def test_a_source_changes_with_its_page_in_the_build(folder: Path) -> None:
    write_book(folder, {"guide/tides.md": f"# Tides\n\n{TIDES}\n"})
    write_book(folder, {"guide/lamps.md": f"# Lamps\n\n{LAMPS}\n"})
    pages = {
        "x/index.html": f"<main><h1 id=tides>Tides</h1><p>{TIDES}</p></main>",
        "y/index.html": f"<main><h1 id=lamps>Lamps</h1><p>{LAMPS}</p></main>",
    }
    place = write_book(folder.parent / "build", pages)

    def built() -> Book:
        files = sorted(path.relative_to(place).as_posix() for path in place.rglob("*.html"))
        site = survey_site(place, files, "https://x.org")
        return replace(book(folder), build=Build(place, site))

    read = BookReader(built()).read(sorted(FILES))
    assert [each.chunk.sections[0].url for each in read.chunks] == [
        "https://x.org/y/#lamps",
        "https://x.org/x/#tides",
    ]
    assert read.ledger["index.md"].left_out == "is not in the built site"
    assert survey(built(), read.ledger).unchanged == sorted(FILES)
    # a source without a page is read again after any change, the others after one of their page
    write_book(place, {"x/index.html": pages["x/index.html"].replace("id=tides", "id=tide")})
    assert survey(built(), read.ledger).changed == ["guide/tides.md", "index.md"]
    # another source with the same text does not get a page that an unchanged one has
    write_book(folder, {"guide/a.md": f"# Lamps\n\n{LAMPS}\n"})
    reader = BookReader(built())
    reader.keep([("guide/lamps.md", read.ledger["guide/lamps.md"])])
    assert reader.read(["guide/a.md"]).chunks == []


def test_an_unreadable_file_is_removed_from_the_index(folder: Path, ledger: Ledger) -> None:
    (folder / "index.md").write_bytes(b"\xff")
    found = survey(book(folder), ledger)
    assert found.removed == ["index.md"]
    assert found.errors[0].startswith("index.md: ")


def test_problems_of_an_unchanged_file_are_reported_again(folder: Path) -> None:
    (folder / "guide/tides.txt").unlink()
    before = BookReader(book(folder)).read(sorted(FILES))
    assert before.errors
    found = survey(book(folder), before.ledger)
    assert found.unchanged == sorted(FILES)
    assert found.errors == before.errors


def book_of(root: Path, files: dict[str, str]) -> Book:
    write_book(root, files)
    return Book(root, Site(), sorted(files), DocumentLimits(), 50)


def test_chunks_know_their_place(tmp_path: Path) -> None:
    text = f"# Tides\n\n{'The tide turns. ' * 12}\n\n## Currents\n\n{'Three knots. ' * 12}\n"
    read = BookReader(book_of(tmp_path, {"guide/tides.md": text})).read(["guide/tides.md"])
    chunks = [piece.chunk for piece in read.chunks]
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    headings = [section.heading for chunk in chunks for section in chunk.sections]
    assert set(headings) == {"Tides", "Currents"}
    for before, after in itertools.pairwise(chunks):
        assert after.before == text[before.end_char : after.start_char]
    assert chunks[0].before is None
    record = read.ledger["guide/tides.md"]
    assert list(record.chunks) == [chunk.chunk_id for chunk in chunks]
    assert {chunk.file_hash for chunk in chunks} == {record.file_hash}


def test_chunks_far_apart_are_not_joined(tmp_path: Path) -> None:
    comment = f"<!-- {'x' * 600} -->"
    text = f"# One\n\nThe first.\n\n{comment}\n\n# Two\n\nThe second.\n"
    read = BookReader(book_of(tmp_path, {"a.md": text})).read(["a.md"])
    assert [piece.chunk.before for piece in read.chunks] == [None, None]


def test_a_draft_is_read_and_gives_nothing(tmp_path: Path) -> None:
    text = "---\ndraft: true\n---\n\nNot yet.\n"
    read = BookReader(book_of(tmp_path, {"a.md": text})).read(["a.md", "gone.md"])
    assert read.chunks == []
    assert read.ledger["a.md"].chunks == {}
    assert [error.partition(":")[0] for error in read.errors] == ["gone.md"]
    assert read.files == 2


def test_names_of_a_file() -> None:
    assert _path_names("Guide/Deep/Tides.md") == [
        "guide/deep/tides.md",
        "deep/tides.md",
        "tides.md",
        "guide/deep/tides",
        "deep/tides",
        "tides",
        "guide",
        "guide/deep",
    ]
