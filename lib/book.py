"""The book as pieces for the index: files read, cut into chunks, each with its address."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from lib.chunking import Chunk, chunk_page
from lib.documents import DocumentError, is_draft, read_document
from lib.errors import InvalidRequest
from lib.markdown import Flavour, parse_page
from lib.routing import Router, Site, link
from lib.store import StoredChunk
from lib.tokens import estimate_tokens

DOCUMENTS_AT_ONCE = 16
"""Files chunked in one go in the thread: small enough that progress moves."""


@dataclass(frozen=True, slots=True)
class Book:
    """What is ingested: a folder, the site it is built into, the files that count."""

    root: Path
    site: Site
    paths: Sequence[str]
    chunk_tokens: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk on its way into the index, with the text that is embedded for it."""

    chunk: StoredChunk
    embed_text: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What some files gave; `errors` are lines of the form "file: what is wrong with it"."""

    files: int
    pieces: list[Piece]
    errors: list[str]


async def read_book(book: Book) -> AsyncIterator[Batch]:
    """The pieces of the book, some files at a time, read and cut in a thread."""
    router = await asyncio.to_thread(Router, book.site, book.root, book.paths)
    for start in range(0, len(book.paths), DOCUMENTS_AT_ONCE):
        paths = book.paths[start : start + DOCUMENTS_AT_ONCE]
        yield await asyncio.to_thread(read_pieces, book, router, paths)


def read_pieces(book: Book, router: Router, paths: Sequence[str]) -> Batch:
    """The chunks of some files, and a line for each file that something is wrong with."""
    pieces: list[Piece] = []
    errors: list[str] = []
    for path in paths:
        try:
            document = read_document(book.root, path)
        except DocumentError as error:
            errors.append(f"{path}: {error}")
            continue
        page = parse_page(document.text, flavour_of(book.site, path))
        errors.extend(f"{path}: {problem}" for problem in page.problems)
        address = router.address(path, page)
        if is_draft(page.front_matter) or not address.published:
            continue  # no reader of the site can open it
        pieces.extend(
            Piece(stored(chunk, link(address, chunk.heading_index)), chunk.embed_text)
            for chunk in chunk_page(
                document, page, budget=book.chunk_tokens, count_tokens=estimate_tokens
            )
        )
    return Batch(len(paths), pieces, errors)


def flavour_of(site: Site, path: str) -> Flavour:
    """Which Markdown the file is written in: the extension tells, else the site's generator."""
    if path.endswith(".mdx") or site.generator == "docusaurus":
        return "mdx"
    return "myst" if site.generator == "sphinx" else "commonmark"


def stored(chunk: Chunk, url: str | None) -> StoredChunk:
    return StoredChunk(
        chunk_id=chunk.chunk_id,
        text=chunk.text,
        file_path=chunk.file_path,
        chapter=chunk.chapter,
        section=chunk.section,
        heading=chunk.heading,
        url=url,
        start_char=chunk.start,
        end_char=chunk.end,
        tokens=chunk.token_count,
        kind=chunk.kind,
        language=chunk.language,
        content_hash=blake2b(chunk.embed_text.encode(), digest_size=16).hexdigest(),
    )


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
