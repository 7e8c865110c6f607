import itertools
from pathlib import Path

import pytest

from lib.book import Book
from lib.book_reader import DOCUMENTS_AT_ONCE, BookReader, flavour_of, names, read_book
from lib.documents import DocumentLimits
from lib.sites.site import Site
from tests.tiny_book import write_book


def book(root: Path, files: dict[str, str]) -> Book:
    write_book(root, files)
    return Book(root, Site("none"), sorted(files), DocumentLimits(), 50)


def test_chunks_know_their_place(tmp_path: Path) -> None:
    text = f"# Tides\n\n{'The tide turns. ' * 12}\n\n## Currents\n\n{'Three knots. ' * 12}\n"
    read = BookReader(book(tmp_path, {"guide/tides.md": text})).read(["guide/tides.md"])
    chunks = [piece.chunk for piece in read.pieces]
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    assert {chunk.heading for chunk in chunks} == {"Tides", "Currents"}
    for before, after in itertools.pairwise(chunks):
        assert after.before == text[before.end_char : after.start_char]
    assert chunks[0].before is None
    record = read.ledger["guide/tides.md"]
    assert list(record.chunks) == [chunk.chunk_id for chunk in chunks]
    assert {chunk.file_hash for chunk in chunks} == {record.file_hash}


def test_chunks_far_apart_are_not_joined(tmp_path: Path) -> None:
    comment = f"<!-- {'x' * 600} -->"
    text = f"# One\n\nThe first.\n\n{comment}\n\n# Two\n\nThe second.\n"
    read = BookReader(book(tmp_path, {"a.md": text})).read(["a.md"])
    assert [piece.chunk.before for piece in read.pieces] == [None, None]


def test_a_draft_is_read_and_gives_nothing(tmp_path: Path) -> None:
    text = "---\ndraft: true\n---\n\nNot yet.\n"
    read = BookReader(book(tmp_path, {"a.md": text})).read(["a.md", "gone.md"])
    assert read.pieces == []
    assert read.ledger["a.md"].chunks == {}
    assert [error.partition(":")[0] for error in read.errors] == ["gone.md"]
    assert read.files == 2


async def test_files_come_some_at_a_time(tmp_path: Path) -> None:
    files = {f"{n}.md": f"# Page {n}\n\nText.\n" for n in range(DOCUMENTS_AT_ONCE + 1)}
    batches = [batch async for batch in read_book(book(tmp_path, files), sorted(files))]
    assert [batch.files for batch in batches] == [DOCUMENTS_AT_ONCE, 1]
    assert {path for batch in batches for path in batch.ledger} == files.keys()


def test_what_a_reader_may_call_a_file() -> None:
    assert names("Guide/Deep/Tides.md") == [
        "guide/deep/tides.md",
        "deep/tides.md",
        "tides.md",
        "guide/deep/tides",
        "deep/tides",
        "tides",
        "guide",
        "guide/deep",
    ]


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
def test_which_markdown_a_file_is_written_in(generator: str, path: str, flavour: str) -> None:
    assert flavour_of(Site(generator), path) == flavour
