from pathlib import Path

import pytest

from lib.book import Book
from lib.book_reader import BookReader
from lib.changed_files import survey
from lib.documents import DocumentLimits
from lib.sites.site import Site
from lib.store import Ledger
from tests.tiny_book import write_book

FILES = {
    "index.md": "# Harbour\n\nText.\n",
    "guide/tides.md": "# Tides\n\n{{#include tides.txt}}\n",
    "guide/lamps.md": "# Lamps\n\nText.\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_book(tmp_path / "book", {**FILES, "guide/tides.txt": "Every six hours.\n"})


def book(root: Path) -> Book:
    paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.md"))
    return Book(root, Site("none"), paths, DocumentLimits(), 270)


@pytest.fixture
def ledger(root: Path) -> Ledger:
    return BookReader(book(root)).read(sorted(FILES)).ledger


def test_nothing_is_known_of_a_new_book(root: Path) -> None:
    found = survey(book(root), {})
    assert found.changed == sorted(FILES)
    assert (found.unchanged, found.removed, found.errors) == ([], [], [])


def test_what_came_changed_and_went(root: Path, ledger: Ledger) -> None:
    assert survey(book(root), ledger).unchanged == sorted(FILES)
    write_book(root, {"guide/lamps.md": "# Lamps\n\nOther.\n", "new.md": "# New\n\nText.\n"})
    (root / "index.md").unlink()
    found = survey(book(root), ledger)
    assert found.unchanged == ["guide/tides.md"]
    assert found.changed == ["guide/lamps.md", "new.md"]
    assert found.removed == ["index.md"]


def test_a_page_changes_with_what_it_includes(root: Path, ledger: Ledger) -> None:
    (root / "guide/tides.txt").write_text("Every twelve hours.\n")
    assert survey(book(root), ledger).changed == ["guide/tides.md"]
    (root / "guide/tides.txt").unlink()
    assert survey(book(root), ledger).changed == ["guide/tides.md"]


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        # The page of its folder may move the addresses of all beside it.
        ("guide/index.md", ["guide/index.md", "guide/lamps.md", "guide/tides.md"]),
        ("guide/guide.md", ["guide/guide.md", "guide/lamps.md", "guide/tides.md"]),
        ("guide/Tides.mdx.md", ["guide/Tides.mdx.md", "guide/tides.md"]),
        ("guide/other.md", ["guide/other.md"]),
    ],
)
def test_a_page_changes_with_names_that_may_decide_its_address(
    root: Path, ledger: Ledger, name: str, changed: list[str]
) -> None:
    write_book(root, {name: "# Other\n\nText.\n"})
    assert survey(book(root), ledger).changed == changed


def test_a_file_that_cannot_be_read_is_as_good_as_deleted(root: Path, ledger: Ledger) -> None:
    (root / "index.md").write_bytes(b"\xff")
    found = survey(book(root), ledger)
    assert found.removed == ["index.md"]
    assert found.errors[0].startswith("index.md: ")


def test_what_was_wrong_with_an_unchanged_file_is_told_again(root: Path) -> None:
    (root / "guide/tides.txt").unlink()
    before = BookReader(book(root)).read(sorted(FILES))
    assert before.errors
    found = survey(book(root), before.ledger)
    assert found.unchanged == sorted(FILES)
    assert found.errors == before.errors
