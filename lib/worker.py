"""The program of the reading process: find a book's site and pages, and split pages into chunks.

The server starts it with `python -m lib.worker` and a socket as standard input (`lib.reader`). A
page or a configuration file that hangs, crashes or eats memory ends this process only. Messages are
msgpack after their length in four bytes. It ends when the server closes the socket or dies.
"""

import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from lib.book import Book, BookReader, PreparedChunk, survey
from lib.documents import Discovery, DocumentError, DocumentLimits, discover
from lib.link_check import BrokenLink, missing_links
from lib.runtime import become_child, limit_resource
from lib.sites.built import looks_built
from lib.sites.detection import detect_site
from lib.sites.site import HTML, NO_GENERATOR, Generator, Site
from lib.sites.sitemap import SitemapError
from lib.source import Build
from lib.store import FileRecord, Ledger

CPU_SECONDS: Final = 20
"""Limit of processor time for a page, and for the site. A table of 2 MB takes half of it."""
MEMORY_BYTES: Final = 384 << 20
"""Limit of the address space. A table of 2 MB takes 260 MB."""
OUT_OF_MEMORY: Final = 70
"""Exit code."""
_SURVEY_SECONDS: Final = 600
_PART: Final = 50
"""Few, because the server decodes a message on its event loop."""


class Open(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Find the site and the pages below `root`."""

    root: bytes
    site_url: str
    source: str
    """`SITE_SOURCE`."""
    generator: str
    options: Mapping[str, Any]
    limits: DocumentLimits
    chunk_tokens: int
    build: bytes = b""
    """`SITE_BUILD`, absolute; empty without one."""
    paths: Sequence[str] | None = None
    """The pages, if they were listed before."""


class Opened(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What the server needs to know of a `lib.book.Book`."""

    paths: Sequence[str]
    errors: Sequence[str]
    notes: Sequence[str]
    """Sentences about what is read, if there was a choice."""
    generator: str
    base_url: str
    title: str
    site_url: str
    reading_order: Sequence[str]
    site: str
    chunker: str
    content: str


class Unreadable(msgspec.Struct, frozen=True, tag=True):
    """The answer to `Open` for a folder that cannot be listed."""

    problem: str


class Compare(msgspec.Struct, frozen=True, tag=True):
    """Compare the pages with the index. The records need no chunks."""

    ledger: Ledger


class Read(msgspec.Struct, frozen=True, tag=True):
    """Read pages. Every page is answered by one `FileRead` or several, in order."""

    paths: Sequence[str]


class FileRead(msgspec.Struct, frozen=True, kw_only=True):
    """A page with its record, if it could be read. Long pages come in parts."""

    path: str
    complete: bool = True
    chunks: Sequence[PreparedChunk] = ()
    record: FileRecord | None = None
    errors: Sequence[str] = ()


class Check(msgspec.Struct, frozen=True, tag=True):
    """Look up addresses in a sitemap or a folder of built HTML."""

    urls: Sequence[str]
    place: bytes


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `Check`: broken links, or why they could not be checked."""

    broken: Sequence[BrokenLink] = ()
    problem: str = ""


def encode(message: object) -> bytes:
    data = msgspec.msgpack.encode(message)
    return len(data).to_bytes(4, "big") + data


def _serve(channel: socket.socket, allow: Callable[[int], None]) -> None:
    """Answer requests until the other side closes. `allow` limits the time of the next step."""
    requests = msgspec.msgpack.Decoder(Open | Compare | Read | Check)
    with channel, channel.makefile("rb") as stream:
        book = reader = None
        while size := stream.read(4):
            match requests.decode(stream.read(int.from_bytes(size, "big"))):
                case Open() as request:
                    allow(CPU_SECONDS)
                    try:
                        found = _open(request)
                    except DocumentError as error:
                        channel.sendall(encode(Unreadable(str(error))))
                        continue
                    book = found.book
                    reader = BookReader(book, lambda: allow(_SURVEY_SECONDS))
                    channel.sendall(encode(_opened(found)))
                case Compare(ledger) if book:
                    allow(_SURVEY_SECONDS)
                    compared = survey(book, ledger)
                    if reader:
                        reader.keep((path, ledger[path]) for path in compared.unchanged)
                    channel.sendall(encode(compared))
                case Read(paths) if reader:
                    for path in paths:
                        allow(CPU_SECONDS)
                        for part in _read(reader, path):
                            channel.sendall(part)
                case Check(urls, place) if book:
                    allow(_SURVEY_SECONDS)
                    channel.sendall(encode(_check(urls, place, book)))


class _Found(NamedTuple):
    """A book and how it was found."""

    book: Book
    errors: Sequence[str] = ()
    notes: Sequence[str] = ()


def _open(request: Open) -> _Found:
    root = Path(os.fsdecode(request.root))
    if request.source == "html" or (request.source == "auto" and looks_built(root)):
        found = discover(root, request.limits, html=True)
        # a site that shows its Markdown in the browser has a single page of HTML
        if request.source == "html" or len(found.paths) >= found.others:
            return _open_html(request, root, found)
    site = detect_site(
        root, site_url=request.site_url, generator=request.generator, options=request.options
    )
    errors = _unread_options(request, site.generator)
    found = discover(root, request.limits, underscored=site.generator.underscored_pages)
    if request.source == "auto" and found.others and not found.paths:
        return _open_html(request, root, discover(root, request.limits, html=True))
    if not found.paths and not found.errors:
        raise _nothing(request, found)
    paths = request.paths or found.paths
    notes, build = list[str](), None
    if request.build:
        build, outside = _open_build(request, root, site)
        errors += outside
        site = replace(site, site_url=build.site.site.site_url, base_url=build.site.site.base_url)
        paths = [path for path in paths if not (root / path).is_relative_to(build.folder)]
    elif found.outputs:
        notes.append(
            f"The {len(found.paths)} Markdown files are read, not the built site in "
            f"{found.outputs[0]}. To read that, set BOOK_CONTENT_PATH to it; to use only its "
            "addresses, SITE_BUILD."
        )
    elif found.others and request.source == "auto":
        notes.append(
            f"The {len(found.paths)} Markdown files are read, not the {found.others} HTML pages "
            "beside them. SITE_SOURCE=html reads those."
        )
    book = Book(root, site, paths, request.limits, request.chunk_tokens, build=build)
    known = site.unlinked if build else ()
    problems = [each for each in site.problems if each not in known]
    return _Found(book, [*errors, *problems, *found.errors], notes)


def _open_html(request: Open, root: Path, found: Discovery) -> _Found:
    from lib.source_html import survey_site  # only a book of HTML needs its parser

    if not found.paths and not found.errors:
        raise _nothing(request, found)
    paths = request.paths or found.paths
    # no sample if a page of it has ended the process
    sampled = request.generator != NO_GENERATOR.name
    built = survey_site(root, paths, request.site_url, sampled=sampled)
    notes = []
    if found.others and request.source == "auto":
        notes.append(
            f"The {len(paths)} HTML pages are read, because the folder looks like a built site, "
            f"and not its {found.others} Markdown files. SITE_SOURCE=markdown reads those."
        )
    if count := len(built.repeated):
        notes.append(f"Blocks that stand on nearly every page are no text: {count} left out.")
    if request.build:
        notes.append("SITE_BUILD has no effect: the book is a built site itself.")
    book = Book(root, built.site, paths, request.limits, request.chunk_tokens, built)
    return _Found(book, [*_unread_options(request, HTML), *found.errors], notes)


def _open_build(request: Open, root: Path, site: Site) -> tuple[Build, Sequence[str]]:
    """Open SITE_BUILD, and list the problems of its files."""
    from lib.source_html import survey_site  # only a book with a build needs its parser

    folder = Path(os.fsdecode(request.build)).resolve()
    problem = f"SITE_BUILD, {folder}, is not a folder of HTML"
    if not folder.is_dir() or folder == root:
        raise DocumentError(problem)
    found = discover(folder, request.limits, html=True)
    if not found.paths:
        raise DocumentError(problem)
    url = f"{site.site_url}{site.base_url}" if site.site_url else ""
    build = Build(folder, survey_site(folder, found.paths, url))
    return build, [f"SITE_BUILD: {error}" for error in found.errors]


def _nothing(request: Open, found: Discovery) -> DocumentError:
    """The error of a folder without pages of the wanted kind."""
    if request.source == "auto":
        return DocumentError("the folder has no Markdown or HTML files. Check BOOK_CONTENT_PATH")
    kind, other = ("HTML", "Markdown") if request.source == "html" else ("Markdown", "HTML")
    rest = ". Check BOOK_CONTENT_PATH"
    if found.others:
        rest = f", but {found.others} of {other}: SITE_SOURCE={other.lower()} reads those"
    return DocumentError(f"the folder has no {kind} files{rest}")


def _unread_options(request: Open, generator: Generator) -> list[str]:
    known = {"base_url", *generator.options} if generator is not HTML else set()
    unread = ", ".join(sorted(request.options.keys() - known))
    return [f"SITE_OPTIONS: {unread} has no effect with {generator.name}"] if unread else []


def _opened(found: _Found) -> Opened:
    book = found.book
    return Opened(
        paths=book.paths,
        errors=found.errors,
        notes=found.notes,
        generator=book.site.generator.name,
        base_url=book.site.base_url,
        title=book.site.title,
        site_url=book.site.site_url,
        reading_order=book.reading_order(),
        site=book.site_hash(),
        chunker=book.chunker,
        content=book.content,
    )


def _read(reader: BookReader, path: str) -> list[bytes]:
    try:
        read = reader.read([path])
        parts = [
            FileRead(path=path, complete=False, chunks=read.chunks[start : start + _PART])
            for start in range(0, len(read.chunks), _PART)
        ]
        end = FileRead(path=path, record=read.ledger.get(path), errors=read.errors)
        return [encode(part) for part in (*parts, end)]
    except MemoryError:
        raise
    except Exception as error:  # whatever a page raises, it is one line in the errors
        problem = f"{path}: the file cannot be read ({type(error).__name__})"
        return [encode(FileRead(path=path, errors=[problem]))]


def _check(urls: Sequence[str], place: bytes, book: Book) -> Checked:
    try:
        broken = missing_links(urls, Path(os.fsdecode(place)), book.site.base_url)
    except SitemapError as error:
        return Checked(problem=str(error))
    return Checked(broken=broken)


def _allow(seconds: int) -> None:
    """Let the system end this process after `seconds` more of processor time."""
    limit_resource(resource.RLIMIT_CPU, int(time.process_time()) + 1 + seconds)


def _main() -> None:
    become_child()
    if sys.platform == "linux":
        limit_resource(resource.RLIMIT_AS, MEMORY_BYTES)
    try:
        _serve(socket.socket(fileno=sys.stdin.fileno()), _allow)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except ConnectionError:
        pass


if __name__ == "__main__":
    _main()
