"""The pages that Quire serves itself: a book's table of contents, and the book's pages.

Only pages of the published index are served, and only if the book's generator is `quire`
(`lib.sites.quire`): never a draft, a hidden file or one outside the content folder. Rendered pages
are kept in memory. A thread renders one page at a time. A large page gets a process of its own,
because it may take half a minute and 350 MB.
"""

import asyncio
import re
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Generic, Protocol, TypeVar
from urllib.parse import quote, unquote

import msgspec
from cachetools import LRUCache

from lib.book import OWN_PAGES, digest
from lib.contents import (
    NOT_READ,
    Contents,
    Heading,
    Page,
    PublishedContents,
    book_language,
    book_title,
)
from lib.documents import DocumentError, read_document
from lib.errors import IndexNotReady, NotFound, QuireError, TimedOut
from lib.indexing import origin_folder
from lib.rendering import RENDERER, RenderedPage, RenderRequest, render_page
from lib.runtime import PROGRAM_FOLDER, child_command, child_environment
from lib.search import check_index
from lib.settings import Settings
from lib.sites import quire
from lib.sites.site import joined
from lib.store import Manifest, Store

_CONTENTS_SECONDS: Final = 1.0
_MAX_LINKS: Final = 2_000
"""Pages in the table of contents: 200 kB of HTML."""
_FEW_PAGES: Final = 5
"""A book of so few pages shows their headings in its table of contents."""
_MAX_NAVIGATION: Final = 100
"""Pages in the navigation of a page. A longer book shows those of the same part."""
_MAX_HEADINGS: Final = 50
"""Headings of a page in its navigation."""
_MAX_CACHED: Final = 8_000_000
"""Characters of HTML in memory."""
_LARGE: Final = 100_000
"""Characters of a page that takes at most a second to render, however it is written."""
_LARGE_SECONDS: Final = 45.0

_NO_PAGE: Final = "The book has no such page."


@dataclass(frozen=True, slots=True)
class _PageLink:
    """A page in the table of contents."""

    title: str
    address: str | None
    """Relative to the page at `/`, or absolute; None if it is unknown."""
    file_path: str
    headings: Sequence[Heading] = ()


class _Listed(Protocol):
    @property
    def title(self) -> str: ...

    @property
    def file_path(self) -> str: ...


_L = TypeVar("_L", bound=_Listed)


@dataclass(frozen=True, slots=True)
class _Part(Generic[_L]):
    """The pages of a folder."""

    title: str
    """Empty for the pages outside of all folders."""
    pages: Sequence[_L]


@dataclass(frozen=True, slots=True)
class _TableOfContents:
    title: str = ""
    """Title of the book; empty if it is unknown."""
    language: str = ""
    parts: Sequence[_Part[_PageLink]] = ()
    left_out: int = 0
    """Number of pages beyond the limit."""
    problem: str = ""
    """Why there are no contents."""


@dataclass(frozen=True, slots=True)
class _BookPage:
    """A page of the book with what stands around it."""

    book: _TableOfContents
    """Its parts are reduced to those that the page's navigation shows."""
    depth: int
    """Number of folders between the page at `/` and this page."""
    link: _PageLink
    content: RenderedPage
    previous: _PageLink | None
    following: _PageLink | None


@dataclass(frozen=True, slots=True)
class _PublishedBook:
    """What pages need of one generation of the index."""

    manifest: Manifest
    contents: Contents
    table: _TableOfContents
    addresses: Mapping[str, str]
    """Of Quire's own pages by file, relative to their folder, unencoded."""
    files: Mapping[str, str]
    """The reverse of `addresses`."""


class BookPages:
    """The published book's own pages, if it has any."""

    def __init__(self, settings: Settings, store: Store, contents: PublishedContents) -> None:
        self._settings = settings
        self._store = store
        self._contents = contents
        self._book: _PublishedBook | None = None
        self._cache: LRUCache[tuple[str, str], RenderedPage] = LRUCache(
            _MAX_CACHED, getsizeof=lambda page: len(page.html)
        )
        self._turns = {False: asyncio.Lock(), True: asyncio.Lock()}
        """For usual and for large pages."""

    async def table(self) -> _TableOfContents:
        """The table of contents. Without an index or a connection, it says so."""
        try:
            return (await self._published()).table
        except QuireError as error:
            return _TableOfContents(title=self._settings.book_title, problem=error.message)

    async def page(self, address: str) -> _BookPage:
        """The page at `address`, relative to the folder of the pages and unencoded.

        Raises `NotFound`, `IndexNotReady`, `StoreUnavailable` and `TimedOut`.
        """
        book = await self._published()
        if (path := book.files.get(address)) is None:
            raise NotFound(_NO_PAGE)
        content = await self._render(book, path)
        pages = book.contents.pages
        place = next((at for at, page in enumerate(pages) if page.file_path == path), len(pages))
        before, after = pages[:place][-1:], pages[place + 1 : place + 2]
        return _BookPage(
            book=replace(book.table, parts=_navigation(book.table.parts, path)),
            depth=1 + address.count("/"),
            link=_link_to(book.addresses, book.contents.by_path[path]),
            content=content,
            previous=_link_to(book.addresses, before[0], headings=False) if before else None,
            following=_link_to(book.addresses, after[0], headings=False) if after else None,
        )

    async def file_at(self, address: str) -> str | None:
        """The file of the page at `address`, as in `page`; None without one.

        Raises `IndexNotReady` and `StoreUnavailable`.
        """
        return (await self._published()).files.get(address)

    async def public_address(self, path: str) -> str | None:
        """The address of a file's page, absolute or relative to the page at `/`.

        None if it is unknown, or while the contents are read. Raises `StoreUnavailable`.
        """
        try:
            book = await self._published()
        except IndexNotReady:
            return None
        page = book.contents.by_path.get(path)
        if page and page.url and "://" in page.url:
            return page.url
        return _link_to(book.addresses, page, headings=False).address if page else None

    async def _published(self) -> _PublishedBook:
        """The published book; the one before while its contents are being read."""
        manifest = check_index(await self._store.manifest())
        contents = await self._contents.get(_CONTENTS_SECONDS)
        if contents is None or contents.generation != manifest.generation:
            if self._book is None:
                raise IndexNotReady(NOT_READ)
        elif self._book is None or self._book.contents is not contents:
            self._book = await asyncio.to_thread(_read_book, self._settings, manifest, contents)
        return self._book

    async def _render(self, book: _PublishedBook, path: str) -> RenderedPage:
        key = (book.contents.generation, path)
        if found := self._cache.get(key):
            return found
        text = await asyncio.to_thread(read_source, self._settings, book.manifest, path)
        async with self._turns[len(text) > _LARGE]:
            if found := self._cache.get(key):
                return found
            request = RenderRequest(text=text, path=path, addresses=book.addresses)
            page = await (_render_apart if len(text) > _LARGE else _render_in_thread)(request)
        if page is None:
            raise NotFound(_NO_PAGE)
        with suppress(ValueError):  # larger than the cache
            self._cache[key] = page
        return page


async def _render_in_thread(request: RenderRequest) -> RenderedPage | None:
    rendering = asyncio.ensure_future(asyncio.to_thread(render_page, request))
    try:
        return await asyncio.shield(rendering)
    finally:
        await asyncio.wait((rendering,))  # a thread cannot be cancelled: the next page waits for it


async def _render_apart(request: RenderRequest) -> RenderedPage | None:
    """Render a page in another process. Raises `TimedOut` at its limits."""
    process = await asyncio.create_subprocess_exec(
        *child_command(RENDERER),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        cwd=PROGRAM_FOLDER,
        env=child_environment(),
    )
    try:
        async with asyncio.timeout(_LARGE_SECONDS):
            answer, _ = await process.communicate(msgspec.msgpack.encode(request))
        return msgspec.msgpack.decode(answer, type=RenderedPage | None)
    except (TimeoutError, msgspec.DecodeError):
        raise TimedOut("The page is too large to be shown.") from None
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def read_source(settings: Settings, manifest: Manifest, path: str) -> str:
    """Read a page of the book. Raises `NotFound` if its folder or the file is gone."""
    if manifest.origin:
        root = origin_folder(settings, manifest.origin)
    else:
        root = settings.book_content_path.resolve() / manifest.folder
    try:
        if digest([str(root)]) == manifest.content:
            return read_document(root, path, settings.limits).text
    except DocumentError:
        pass
    raise NotFound(_NO_PAGE)


def _read_book(settings: Settings, manifest: Manifest, contents: Contents) -> _PublishedBook:
    addresses = dict(_own_addresses(manifest, contents))
    shown = contents.pages[:_MAX_LINKS]
    few = len(contents.pages) <= _FEW_PAGES
    links = [_link_to(addresses, page, headings=few) for page in shown]
    table = _TableOfContents(
        title=book_title(settings, manifest, contents),
        language=book_language(manifest, contents),
        parts=parts_of(links),
        left_out=len(contents.pages) - len(shown),
    )
    files = {address: path for path, address in reversed(addresses.items())}
    return _PublishedBook(manifest, contents, table, addresses, files)


def _own_addresses(manifest: Manifest, contents: Contents) -> Iterator[tuple[str, str]]:
    if manifest.generator != quire.GENERATOR.name:
        return
    folder = manifest.site_url + joined(manifest.base_url, quire.PAGES)
    for path, page in contents.by_path.items():
        if (url := unquote(page.url or "")).startswith(folder):
            yield path, url.removeprefix(folder)


def _link_to(addresses: Mapping[str, str], page: Page, *, headings: bool = True) -> _PageLink:
    own = addresses.get(page.file_path)
    address = page.url if page.url and "://" in page.url else None
    if own is not None:
        address = quire.PAGES.lstrip("/") + quote(own)
    shown = page.headings[:_MAX_HEADINGS] if headings else ()
    return _PageLink(page.title, address, page.file_path, shown)


def parts_of(pages: Sequence[_L]) -> list[_Part[_L]]:
    """Group pages by the folder in which they first differ, in the order of their first pages."""
    folders = [page.file_path.split("/")[:-1] for page in pages]
    common = 0
    while len({*map(tuple, (each[: common + 1] for each in folders))}) == 1 < len(folders) and (
        len(folders[0]) > common
    ):
        common += 1
    grouped: dict[str, list[_L]] = {}
    for page, folder in zip(pages, folders, strict=True):
        grouped.setdefault(folder[common] if len(folder) > common else "", []).append(page)
    return [_Part(_part_title(name, group), group) for name, group in grouped.items()]


def _part_title(folder: str, pages: Sequence[_Listed]) -> str:
    """The title of the folder's own page, else its name as a title."""
    if not folder:
        return ""
    top = min(page.file_path.count("/") for page in pages)
    for page in pages:
        stem = page.file_path.rpartition("/")[2].partition(".")[0].lower()
        if stem in OWN_PAGES and page.file_path.count("/") == top:
            return page.title
    name = re.sub(r"[-_\s]+", " ", re.sub(r"^\d+[-_.\s]+", "", folder)).strip() or folder
    return name[:1].upper() + name[1:]


def _navigation(parts: Sequence[_Part[_PageLink]], path: str) -> Sequence[_Part[_PageLink]]:
    """The parts as the page `path` shows them: those of a long book with their first page only,
    and its own with the pages around it."""
    if sum(len(part.pages) for part in parts) <= _MAX_NAVIGATION:
        return parts
    shown = []
    for part in parts:
        place = next((at for at, page in enumerate(part.pages) if page.file_path == path), None)
        start = 0 if place is None else max(0, place - _MAX_NAVIGATION // 2)
        stop = 1 if place is None else start + _MAX_NAVIGATION
        shown.append(replace(part, pages=part.pages[start:stop]))
    return shown
