"""Which files of a book differ from what the index holds of them."""

from collections.abc import Collection
from dataclasses import dataclass
from hashlib import blake2b

from lib.book import Book, digest
from lib.documents import Document, DocumentError, read_document
from lib.store import Ledger

OWN_PAGES = frozenset({"index", "_index", "readme"})
"""Names of a folder's own page, in lower case."""


@dataclass(frozen=True, slots=True)
class Survey:
    """How the files on disk compare with those in the index."""

    unchanged: list[str]
    changed: list[str]
    """New ones and those that differ."""
    removed: list[str]
    errors: list[str]
    """Lines of the form "file: what is wrong with it"."""


def survey(book: Book, ledger: Ledger) -> Survey:
    """Compare the files on disk with those in the index, by hash."""
    hasher, present = FileHasher(book), set(book.paths)
    found = Survey([], [], [path for path in ledger if path not in present], [])
    for path in book.paths:
        record = ledger.get(path)
        try:
            document = read_document(book.root, path, book.limits)
        except DocumentError as error:
            found.errors.append(f"{path}: {error}")
            # Not readable now: what the index holds of it is gone, as if it were deleted.
            if record:
                found.removed.append(path)
            continue
        if record and record.file_hash == hasher.hash_of(document, record.includes):
            found.unchanged.append(path)
            found.errors.extend(f"{path}: {problem}" for problem in record.problems)
        else:
            found.changed.append(path)
    return found


class FileHasher:
    """Hashes all that a file's chunks depend on.

    That is its own bytes, those of the files it includes, and those names beside it that may
    decide its address: whether an `index.md` stands in its folder, or its own name twice.
    """

    def __init__(self, book: Book) -> None:
        self._root = book.root
        self._included: dict[str, str] = {}
        self._names: dict[tuple[str, str], list[str]] = {}
        """By folder and stem; the stem of a folder's own page is empty."""
        for path in book.paths:
            self._names.setdefault(family(path), []).append(path)
            folder, stem = family(path)
            if stem in OWN_PAGES or stem == folder.rpartition("/")[2].lower():
                self._names.setdefault((folder, ""), []).append(path)

    def hash_of(self, document: Document, includes: Collection[str]) -> str:
        folder, stem = family(document.path)
        beside = {*self._names.get((folder, stem), ()), *self._names.get((folder, ""), ())}
        included = (f"{path}={self._hash_included(path)}" for path in sorted(includes))
        return digest([document.sha256, document.path, *sorted(beside), *included])

    def _hash_included(self, path: str) -> str:
        if path not in self._included:
            try:
                data = (self._root / path).read_bytes()
                self._included[path] = blake2b(data, digest_size=16).hexdigest()
            except OSError:
                self._included[path] = "missing"
        return self._included[path]


def family(path: str) -> tuple[str, str]:
    """The folder of a file, and its name without extension in lower case."""
    folder, _, name = path.rpartition("/")
    return folder, name.partition(".")[0].lower()
