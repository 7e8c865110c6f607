"""The book that is ingested: its folder, the site it is built into, and the files that count.

Which files of a book differ from what the index holds of them.

The book as pieces for the index: files read, cut into chunks, each with its address.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path, PurePosixPath

from lib.chunking import CHUNKER_VERSION, Chunk, chunk_page
from lib.documents import Document, DocumentError, DocumentLimits, is_draft, read_document
from lib.errors import InvalidRequest
from lib.includes import Includes
from lib.languages import page_language
from lib.markdown import parse_page
from lib.markdown_page import Flavour
from lib.sites.router import PageAddress, Router, link
from lib.sites.site import Site
from lib.store import FileRecord, Ledger, StoredChunk
from lib.terms import SPARSE_VERSION, SparseVector, document_vectors
from lib.tokens import estimate_tokens

REPOSITORY_LEVELS = 4
"""So far above the content folder the top of its repository is looked for."""


@dataclass(frozen=True, slots=True)
class Book:
    """What is ingested: a folder, the site it is built into, the files that count."""

    root: Path
    site: Site
    paths: Sequence[str]
    limits: DocumentLimits
    chunk_tokens: int

    @property
    def chunker(self) -> str:
        """What decides how a file is cut, and how its words are weighted."""
        return f"{CHUNKER_VERSION}/{self.chunk_tokens}/{SPARSE_VERSION}"

    @property
    def content(self) -> str:
        """Which book this is."""
        return digest([str(self.root)])

    def site_hash(self) -> str:
        """What decides addresses beside the pages themselves."""
        try:
            summary = (self.root / "SUMMARY.md").read_bytes().hex()
        except OSError:
            summary = ""
        return digest([repr(self.site), summary])


def content_folder(configured: Path, wanted: str | None) -> Path:
    """The real path of the folder to ingest.

    `wanted` is relative to the content folder, or absolute and inside it. Raises `InvalidRequest`.
    """
    root = configured.resolve()
    if not root.is_dir():
        raise InvalidRequest("The content folder does not exist: check BOOK_CONTENT_PATH.")
    if not wanted:
        return root
    problem = InvalidRequest(
        "The field content_path must name a folder inside the content folder.",
        details={"field": "content_path"},
    )
    try:
        # What older clients send, "./book_content", is relative to where the server runs.
        inside = [
            path
            for path in ((root / wanted).resolve(), Path(wanted).resolve())
            if path.is_relative_to(root) and path.is_dir()
        ]
    except (OSError, ValueError):  # too long a name, for one
        raise problem from None
    if not inside:
        raise problem
    return inside[0]


def boundary(root: Path, site: Site) -> Path:
    """The folder outside of which no page may include a file: the site's repository.

    Its top is the nearest folder with a `.git`, else where the site's configuration lies, if that
    is above the content folder; else the content folder itself.
    """
    for folder in [root, *root.parents][: REPOSITORY_LEVELS + 1]:
        if (folder / ".git").exists():
            return folder
    config = site.config_file
    if config is not None and root.is_relative_to(config.parent):
        return config.parent
    return root


def digest(parts: Iterable[str]) -> str:
    """A hash of texts, in order; 32 hexadecimal digits."""
    hashed = blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        hashed.update(len(data).to_bytes(8, "big") + data)
    return hashed.hexdigest()


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


DOCUMENTS_AT_ONCE = 16
"""Files chunked in one go in the thread: small enough that progress moves."""
MAX_GAP = 500
"""Characters between two chunks (imports, a bare heading) over which they are not joined."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk on its way into the index, with the text that is embedded for it."""

    chunk: StoredChunk
    embed_text: str
    terms: SparseVector


@dataclass(frozen=True, slots=True)
class Batch:
    """What some files gave."""

    files: int
    pieces: list[Piece] = field(default_factory=list)
    ledger: Ledger = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


async def read_book(book: Book, paths: Sequence[str]) -> AsyncIterator[Batch]:
    """The pieces of these files, some files at a time, read and cut in a thread."""
    reader = await asyncio.to_thread(BookReader, book)
    for start in range(0, len(paths), DOCUMENTS_AT_ONCE):
        yield await asyncio.to_thread(reader.read, paths[start : start + DOCUMENTS_AT_ONCE])


class BookReader:
    """Reads files of one book, keeping what they share: addresses, included files."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._router = Router(book.site, book.root, book.paths)
        self._includes = Includes(book.root, boundary(book.root, book.site))
        self._hasher = FileHasher(book)

    def read(self, paths: Sequence[str]) -> Batch:
        batch = Batch(len(paths))
        for path in paths:
            try:
                document = read_document(self._book.root, path, self._book.limits)
            except DocumentError as error:
                batch.errors.append(f"{path}: {error}")
            else:
                self._read(document, batch)
        return batch

    def _read(self, document: Document, batch: Batch) -> None:
        book, path = self._book, document.path
        page = parse_page(document.text, flavour_of(book.site, path))
        address = self._router.address(path, page, document.text)
        chunks: list[Chunk] = []
        problems = list(page.problems)
        included: list[str] = []
        if address.published and not is_draft(page.front_matter):
            chunks = chunk_page(
                document,
                page,
                budget=book.chunk_tokens,
                count_tokens=estimate_tokens,
                includes=self._includes.of(document, page),
            )
            included = [os.path.relpath(file, book.root) for file in self._includes.used_by(path)]
            problems += self._includes.problems_of(path)
        file_hash = self._hasher.hash_of(document, included)
        language = page_language(document.text, address.locale)
        texts = [chunk.embed_text for chunk in chunks]
        pieces = [
            Piece(chunk, text, terms)
            for chunk, text, terms in zip(
                stored(document, chunks, address, file_hash),
                texts,
                document_vectors(texts, language),
                strict=True,
            )
        ]
        batch.pieces.extend(pieces)
        batch.errors.extend(f"{path}: {problem}" for problem in problems)
        batch.ledger[path] = FileRecord(
            file_hash=file_hash,
            chunks={piece.chunk.chunk_id: piece.chunk.content_hash for piece in pieces},
            language=language,
            includes=included,
            problems=problems,
        )


def stored(
    document: Document, chunks: Sequence[Chunk], address: PageAddress, file_hash: str
) -> Iterator[StoredChunk]:
    """The chunks of one page, in order, as the index keeps them."""
    paths = names(document.path)
    end = None
    for ordinal, chunk in enumerate(chunks):
        gap = None if end is None or end > chunk.start else document.text[end : chunk.start]
        end = chunk.end
        yield StoredChunk(
            chunk_id=chunk.chunk_id,
            text=chunk.text,
            file_path=chunk.file_path,
            paths=paths,
            ordinal=ordinal,
            before=gap if gap is not None and len(gap) <= MAX_GAP else None,
            chapter=chunk.chapter,
            section=chunk.section,
            heading=chunk.heading,
            url=link(address, chunk.heading_index),
            start_char=chunk.start,
            end_char=chunk.end,
            tokens=chunk.token_count,
            kind=chunk.kind,
            language=chunk.language,
            version=address.version,
            locale=address.locale,
            content_hash=digest([chunk.embed_text]),
            file_hash=file_hash,
        )


def names(path: str) -> list[str]:
    """What a reader may call a file by: its path or the end of it, each with and without the
    extension, and the folders it stands in. In lower case."""
    parts = PurePosixPath(path.lower()).parts
    ends = ["/".join(parts[place:]) for place in range(len(parts))]
    folders = ["/".join(parts[:place]) for place in range(1, len(parts))]
    bare = [end.rpartition(".")[0] or end for end in ends]
    return list(dict.fromkeys([*ends, *bare, *folders]))


def flavour_of(site: Site, path: str) -> Flavour:
    """Which Markdown the file is written in: the extension tells, else the site's generator."""
    return "mdx" if path.endswith(".mdx") else site.generator.markdown
