"""The book as pieces for the index: files read, cut into chunks, each with its address."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from lib.book import Book, boundary, digest
from lib.changed_files import FileHasher
from lib.chunking import Chunk, chunk_page
from lib.documents import Document, DocumentError, is_draft, read_document
from lib.includes import Includes
from lib.markdown import parse_page
from lib.markdown_page import Flavour
from lib.sites.router import PageAddress, Router, link
from lib.sites.site import Site
from lib.sparse import SparseVector, document_vectors
from lib.store import FileRecord, Ledger, StoredChunk
from lib.terms import language_of
from lib.tokens import estimate_tokens

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
        language = language_of(document.text, address.locale)
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
    if path.endswith(".mdx") or site.generator == "docusaurus":
        return "mdx"
    return "myst" if site.generator == "sphinx" else "commonmark"
