"""Read a book: its folder and site, files that changed since the last index, and their chunks.

A `Book` describes the input of an ingestion. `survey` compares its files with the index.
`BookReader` splits its pages into chunks and gives each the address it links to.
"""

import posixpath
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from lib.chunking import CHUNKER_VERSION, Chunk, ChunkSection, chunk_page
from lib.documents import (
    DocumentError,
    DocumentLimits,
    file_limit,
    read_bytes,
    read_document,
    sha256,
)
from lib.errors import InvalidRequest
from lib.includes import is_private
from lib.languages import page_language
from lib.sites.built import BuiltSite
from lib.sites.config_files import read_text
from lib.sites.router import PageAddress, link
from lib.sites.site import Site
from lib.source import Build, InBuild, Source, SourcePage
from lib.source_markdown import MarkdownSource
from lib.splitting import hidden_between
from lib.store import FileRecord, Ledger, Section, StoredChunk
from lib.terms import SPARSE_VERSION, SparseVector, document_vectors
from lib.tokens import estimate_tokens

if TYPE_CHECKING:
    from lib.site_build import SiteBuild

OWN_PAGES = frozenset({"index", "_index", "readme"})
"""Names, in lower case, of the page that represents its folder."""
_MAX_ORDERED = 2_000
"""Larger books have no order of their own: the index would keep more than about 100 kB."""
_MAX_GAP = 500
"""Longest text between two chunks, in characters, that is kept to join them."""


@dataclass(frozen=True, slots=True)
class Book:
    """Input of an ingestion: folder, site, pages and limits."""

    root: Path
    site: Site
    paths: Sequence[str]
    limits: DocumentLimits
    chunk_tokens: int
    built: BuiltSite | None = None
    """Only if its pages are those of a built site."""
    build: Build | None = None
    """Only if its pages are sources and their addresses are those of a built site."""

    @property
    def chunker(self) -> str:
        """Version and settings that decide the chunks and their term weights."""
        return f"{CHUNKER_VERSION}/{self.chunk_tokens}/{SPARSE_VERSION}"

    @property
    def content(self) -> str:
        """Hash that identifies the book."""
        return digest([str(self.root)])

    def reading_order(self) -> list[str]:
        """The pages that the site's navigation lists, in its order; none of a very large book."""
        if len(self.paths) > _MAX_ORDERED:
            return []
        if self.built:
            return [*self.built.order]
        files = {posixpath.join(self.root.as_posix(), path): path for path in self.paths}
        order: dict[str, None] = {}
        for content in self.site.content_roots:
            pages = {content.relative(file): files[file] for file in files if content.holds(file)}
            for page in self.site.generator.page_order(self.site, content, pages):
                if page in pages:
                    order.setdefault(pages[page])
        return [*order]

    def site_hash(self) -> str:
        """Hash of everything but the pages that decides their addresses, and more of a build."""
        if self.built:
            return digest(self.built.signature())
        if self.build:
            return digest([repr(self.site), *self.build.site.signature(repeated=False)])
        sections = (p for p in self.paths if PurePosixPath(p).name.startswith("_index."))
        cascades = (text for p in sections if "cascade" in (text := read_text(self.root / p)))
        return digest([repr(self.site), read_text(self.root / "SUMMARY.md"), *cascades])


def content_folder(configured: Path, wanted: str | None) -> Path:
    """Return the real path of the folder to ingest. Raises `InvalidRequest`.

    `wanted` is relative to the content folder, or absolute and inside it.
    """
    root = configured.resolve()
    if not root.is_dir():
        raise InvalidRequest("The content folder does not exist. Check BOOK_CONTENT_PATH.")
    if not wanted:
        return root
    problem = InvalidRequest(
        "The field content_path must be a folder inside the content folder.",
        details={"field": "content_path"},
    )
    try:
        # older clients send "./book_content", relative to the working directory of the server
        inside = [
            path
            for path in ((root / wanted).resolve(), Path(wanted).resolve())
            if path.is_relative_to(root) and path.is_dir()
        ]
    except (OSError, ValueError):  # for example a name that is too long
        raise problem from None
    if not inside:
        raise problem
    return inside[0]


def digest(parts: Iterable[str]) -> str:
    """Hash strings in order; 32 hexadecimal digits."""
    hashed = blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        hashed.update(len(data).to_bytes(8, "big") + data)
    return hashed.hexdigest()


@dataclass(frozen=True, slots=True)
class Survey:
    """Differences between the files on disk and the index."""

    unchanged: list[str]
    changed: list[str]
    """New and modified files."""
    removed: list[str]
    errors: list[str]
    """Lines of the form `file: problem`."""


def survey(book: Book, ledger: Ledger) -> Survey:
    """Compare the files on disk with the index by hash."""
    hasher, present = _FileHasher(book), set(book.paths)
    found = Survey([], [], [path for path in ledger if path not in present], [])
    for path in book.paths:
        record = ledger.get(path)
        try:
            file_hash = _file_hash(book, path)
        except DocumentError as error:
            found.errors.append(f"{path}: {error}")
            # an unreadable file is removed from the index, as if it were deleted
            if record:
                found.removed.append(path)
            continue
        same = record and record.file_hash == hasher.hash_of(
            path, file_hash, record.includes, record.in_build
        )
        if record and same and not 0 < record.until <= time.time():
            found.unchanged.append(path)
            found.errors.extend(f"{path}: {problem}" for problem in record.problems)
        else:
            found.changed.append(path)
    return found


def _file_hash(book: Book, path: str) -> str:
    """Hash a file. Raises `DocumentError` if it cannot be read."""
    if book.built:
        return sha256(read_bytes(book.root, path, file_limit(path, book.limits)))
    return read_document(book.root, path, book.limits).sha256


class _FileHasher:
    """Hashes everything that the chunks of a file depend on.

    That is the file, the files it includes, and sibling names that may change its address: an index
    page in its folder, or its own name with another extension. A page of HTML depends on its line
    in the sitemap, and a source on its page in a build; without one, on all pages and all sources.
    """

    def __init__(self, book: Book) -> None:
        self._root, self._built, self._build = book.root, book.built, book.build
        self._limits, self._paths = book.limits, book.paths
        self._included: dict[str, str] = {}
        self._names: dict[tuple[str, str], list[str]] = {}
        """Paths by folder and stem; the stem is empty for the page of the folder itself."""
        for path in book.paths:
            self._names.setdefault(_folder_and_stem(path), []).append(path)
            folder, stem = _folder_and_stem(path)
            if stem in OWN_PAGES or stem == folder.rpartition("/")[2].lower():
                self._names.setdefault((folder, ""), []).append(path)

    def hash_of(
        self, path: str, file_hash: str, includes: Collection[str], in_build: InBuild | None
    ) -> str:
        folder, stem = _folder_and_stem(path)
        beside = {*self._names.get((folder, stem), ()), *self._names.get((folder, ""), ())}
        included = (f"{each}={self._hash_included(each)}" for each in sorted(includes))
        parts = [file_hash, path, *sorted(beside), *included]
        if self._built and (listed := self._built.form_in_sitemap(path)) is not None:
            parts.append(f"sitemap {listed}")
        if self._build and in_build:
            listed = self._build.site.form_in_sitemap(in_build.file) if in_build.file else None
            parts += ["build", self._hash_built(in_build.file), listed or ""]
        return digest(parts)

    def _hash_built(self, file: str) -> str:
        if not file:
            return self._whole_build
        assert self._build
        try:
            return sha256(read_bytes(self._build.folder, file, file_limit(file, self._limits)))
        except DocumentError:
            return "missing"

    @cached_property
    def _whole_build(self) -> str:
        assert self._build
        files = sorted(self._build.site.paths)
        return digest([*files, *map(self._hash_built, files), *self._paths])

    def _hash_included(self, path: str) -> str:
        if path not in self._included:
            if is_private(PurePosixPath(path)):
                return ""  # included by an earlier version: the page is read again without it
            try:
                data = (self._root / path).read_bytes()
                self._included[path] = blake2b(data, digest_size=16).hexdigest()
            except OSError:
                self._included[path] = "missing"
        return self._included[path]


def _folder_and_stem(path: str) -> tuple[str, str]:
    """Return the folder of a file, and its name without extension in lower case."""
    folder, _, name = path.rpartition("/")
    return folder, name.partition(".")[0].lower()


@dataclass(frozen=True, slots=True)
class PreparedChunk:
    """A chunk to index, with the text to embed and its term weights."""

    chunk: StoredChunk
    embed_text: str
    terms: SparseVector


@dataclass(frozen=True, slots=True)
class _Batch:
    """Chunks, ledger records and errors of some files."""

    files: int
    chunks: list[PreparedChunk] = field(default_factory=list)
    ledger: Ledger = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


class BookReader:
    """Reads pages of one book."""

    def __init__(self, book: Book, before_scan: Callable[[], object] = lambda: None) -> None:
        """`before_scan` is called before all of the build is read."""
        self._book = book
        self._build = _open_build(book, before_scan) if book.build else None
        self._source = _open_source(book, self._build)
        self._hasher = _FileHasher(book)

    def keep(self, unchanged: Iterable[tuple[str, FileRecord]]) -> None:
        """Keep the pages in the build that sources have in the index, from the others."""
        if self._build:
            for path, record in unchanged:
                if record.in_build and record.in_build.file:
                    self._build.claim(path, record.in_build.file)

    def read(self, paths: Sequence[str]) -> _Batch:
        batch = _Batch(len(paths))
        for path in paths:
            try:
                page = self._source.read(path)
            except DocumentError as error:
                batch.errors.append(f"{path}: {error}")
            else:
                self._read(page, batch)
        return batch

    def _read(self, source: SourcePage, batch: _Batch) -> None:
        document, page, address = source.document, source.page, source.address
        path = document.path
        chunks: list[Chunk] = []
        if not source.left_out:
            chunks = chunk_page(
                document,
                page,
                budget=self._book.chunk_tokens,
                count_tokens=estimate_tokens,
                includes=source.includes,
            )
        included = list(self._source.used_by(path))
        problems = [*page.problems, *self._source.problems_of(path)]
        file_hash = self._hasher.hash_of(path, document.sha256, included, source.in_build)
        language = page_language(document.text, address.locale)
        texts = [chunk.embed_text for chunk in chunks]
        stored = _stored_chunks(source, chunks, file_hash, all_text=self._source.keeps_text)
        terms = document_vectors(texts, language)
        prepared = [PreparedChunk(*each) for each in zip(stored, texts, terms, strict=True)]
        batch.chunks.extend(prepared)
        batch.errors.extend(f"{path}: {problem}" for problem in problems)
        batch.ledger[path] = FileRecord(
            file_hash=file_hash,
            chunks={each.chunk.chunk_id: each.chunk.content_hash for each in prepared},
            language=language,
            includes=included,
            problems=problems,
            until=address.until.timestamp() if address.until else 0.0,
            left_out=source.left_out,
            in_build=source.in_build,
        )


def _open_build(book: Book, before_scan: Callable[[], object]) -> "SiteBuild":
    from lib.site_build import SiteBuild  # only a book with a build needs the parser of HTML

    assert book.build
    return SiteBuild(*book.build, book.root, book.paths, book.limits, before_scan)


def _open_source(book: Book, build: "SiteBuild | None") -> Source:
    if book.built is None:
        return MarkdownSource(book.root, book.site, book.paths, book.limits, build)
    from lib.source_html import HtmlSource  # only a book of HTML needs its parser

    return HtmlSource(book.root, book.built, book.limits)


def _stored_section(section: ChunkSection, address: PageAddress) -> Section:
    return Section(
        start_char=section.start,
        heading=section.heading,
        section=section.section,
        url=link(address, section.heading_index),
        above=tuple(_stored_section(each, address) for each in section.above),
    )


def _stored_chunks(
    source: SourcePage, chunks: Sequence[Chunk], file_hash: str, *, all_text: bool = False
) -> Iterator[StoredChunk]:
    """Yield the chunks of one page, in order, as the index stores them."""
    text, page, address = source.document.text, source.page, source.address
    paths = _path_names(source.document.path)
    end = 0 if all_text else None
    for ordinal, chunk in enumerate(chunks):
        gap = None
        if end is not None and end <= chunk.start:
            gap = text[end : chunk.start]
            apart = len(gap) > _MAX_GAP or hidden_between(page, end, chunk.start)
            gap = None if apart and not all_text else gap
        end = max(end or 0, chunk.end)
        yield StoredChunk(
            chunk_id=chunk.chunk_id,
            text=chunk.text,
            file_path=chunk.file_path,
            paths=paths,
            ordinal=ordinal,
            before=gap,
            chapter=chunk.chapter,
            sections=tuple(_stored_section(each, address) for each in chunk.sections),
            start_char=chunk.start,
            end_char=chunk.end,
            tokens=chunk.token_count,
            kind=chunk.kind,
            language=chunk.language,
            version=address.version,
            locale=address.locale,
            content_hash=digest([chunk.embed_text]),
            file_hash=file_hash,
            lead=chunk.lead,
            edits=chunk.edits,
            tail=chunk.tail,
            after=text[end:] if all_text and chunk is chunks[-1] else "",
        )


def _path_names(path: str) -> list[str]:
    """Names by which a question may refer to a file, in lower case.

    Its path and every end of it, with and without the extension, and its folders.
    """
    parts = PurePosixPath(path.lower()).parts
    ends = ["/".join(parts[place:]) for place in range(len(parts))]
    folders = ["/".join(parts[:place]) for place in range(1, len(parts))]
    bare = [end.rpartition(".")[0] or end for end in ends]
    return list(dict.fromkeys([*ends, *bare, *folders]))
