"""The contents of the published book: its pages in reading order, each with its headings.

They are read from the index once per generation, in the background. Nothing waits for them: until
they are there, readers miss suggestions. Headings are kept encoded and decoded a page at a time.
With the limits below, the contents of the largest book take about 50 MB.
"""

import asyncio
import logging
import math
import posixpath
import re
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Final
from urllib.parse import urlsplit

import msgspec
import regex

from lib.errors import QuireError, StoreUnavailable
from lib.languages import ENGLISH, language_of_code, languages, question_language
from lib.runtime import SingleFlight, run_cooperatively
from lib.search import check_index
from lib.settings import Settings
from lib.store import Manifest, Section, Store

_log = logging.getLogger(__name__)

NOT_READ: Final = "The contents of the book are being read. Try again in a moment."

_MAX_PAGES: Final = 20_000
"""As many as `MAX_FILES` allows by default. A larger book has any 20,000 of its pages."""
_MAX_BYTES: Final = 32_000_000
"""Of the encoded headings, about 300,000. A larger book has pages without headings."""
_MAX_HEADINGS: Final = 2_000
"""Headings of a page: an answer reads those of the pages that it cites, in two milliseconds."""
_LONGEST: Final = 500
"""Characters of a heading and its anchor. Longer ones are left out."""
_SAMPLED: Final = 100
"""Pages whose titles tell the language."""
_PAUSE_SECONDS: Final = 10.0
"""Minimum time between two readings, except after an ingestion of this process."""
_INDEX_NAMES: Final = ("index", "_index", "readme")
_DIGITS: Final = re.compile(r"(\d{1,18})")
_BEGINS_LATIN: Final = regex.compile(r"\P{L}*+\p{Latin}")


class Heading(msgspec.Struct, frozen=True, kw_only=True):
    """A heading below the title of a page, with the headings under it."""

    text: str
    url: str | None
    headings: tuple["Heading", ...] = ()


class _Packed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A heading as it is kept, without the address of its page."""

    text: str
    anchor: str
    """From the `#` on; empty without an anchor."""
    top: bool
    """Whether it is of the first level below the title."""


_decode: Final = msgspec.msgpack.Decoder(list[_Packed]).decode
_encode: Final = msgspec.msgpack.Encoder().encode


class Page(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A page of the book."""

    file_path: str
    title: str
    url: str | None
    version: str
    locale: str
    packed: bytes

    @property
    def flat(self) -> list[Heading]:
        """The headings in order, none under another."""
        return [Heading(text=each.text, url=self._url(each)) for each in _decode(self.packed)]

    @property
    def headings(self) -> tuple[Heading, ...]:
        """The headings as a tree of two levels."""
        tree: list[tuple[_Packed, list[Heading]]] = []
        for each in _decode(self.packed):
            if each.top or not tree:
                tree.append((each, []))
            else:
                tree[-1][1].append(Heading(text=each.text, url=self._url(each)))
        return tuple(
            Heading(text=each.text, url=self._url(each), headings=tuple(below))
            for each, below in tree
        )

    def _url(self, heading: _Packed) -> str | None:
        return None if self.url is None else self.url + heading.anchor


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of one generation of the index."""

    generation: str
    pages: tuple[Page, ...]
    """In reading order: those of one version and one language, if the book has several."""
    listed: int
    """How many of `pages`, from the first on, are the index page and those in the site's
    navigation; 0 if that is unknown."""
    title: str
    """That of the index page; empty without one."""
    language: str
    """That of `pages`."""
    by_path: dict[str, Page]
    """All pages by file."""
    complete: bool
    """Whether `by_path` has all pages of the book."""
    repeated: frozenset[str]
    """Headings in lower case that several of `pages` have: they say little by themselves."""


class _Outlined(msgspec.Struct, frozen=True, kw_only=True):
    """What the contents need of a `lib.store.StoredChunk`."""

    file_path: str
    ordinal: int
    chapter: str
    sections: tuple[Section, ...]
    version: str
    locale: str


class _Draft:
    """A page while its chunks are read, which come in no order."""

    __slots__ = ("locale", "pieces", "title", "url", "version")

    def __init__(self, chunk: _Outlined) -> None:
        url = chunk.sections[0].url
        self.title = chunk.chapter
        self.url = None if url is None else url.partition("#")[0]
        self.version, self.locale = chunk.version, chunk.locale
        self.pieces: list[bytes] = []

    def finish(self, path: str) -> Page:
        pieces = sorted(map(msgspec.msgpack.decode, self.pieces))
        # A section that was split is in several chunks.
        found = dict.fromkeys(tuple(heading) for _, headings in pieces for heading in headings)
        return Page(
            file_path=path,
            title=self.title,
            url=self.url,
            version=self.version,
            locale=self.locale,
            packed=_encode(list(found)[:_MAX_HEADINGS]),
        )


def _headings_of(chunk: _Outlined) -> Iterator[_Packed]:
    """Yield the headings of a chunk, without the page's title."""
    for section in chain.from_iterable((*each.above, each) for each in chunk.sections):
        if not section.section:
            continue
        _, sign, anchor = (section.url or "").partition("#")
        if len(section.heading) + len(anchor) <= _LONGEST:
            yield _Packed(section.heading, sign + anchor, section.heading == section.section)


def book_title(settings: Settings, manifest: Manifest, contents: Contents | None) -> str:
    """The title of the book; empty if it is unknown."""
    own = contents.title if contents else ""
    return settings.book_title or manifest.title or own


def book_language(manifest: Manifest, contents: Contents | None) -> str:
    """The code of the book's language."""
    language = contents.language if contents else (*manifest.languages, ENGLISH)[0]
    return languages()[language].codes[0]


class PublishedContents:
    """The contents of the published book, read again when another generation is published."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reading = SingleFlight(self._read)
        self._began_at = -math.inf

    def of(self, manifest: Manifest) -> Contents | None:
        """The contents of this generation, without waiting; None until they are read."""
        found = self._reading.value
        if found and found.generation == manifest.generation:
            return found
        if time.monotonic() - self._began_at > _PAUSE_SECONDS:
            self.refresh()
        return None

    def refresh(self) -> None:
        """Begin to read the contents, unless they are being read."""
        if not self._reading.running:
            self._began_at = time.monotonic()
            self._reading = SingleFlight(self._read)
            self._reading.start()

    async def get(self, max_wait: float) -> Contents | None:
        """The contents of the published book; None if they are not read after `max_wait` seconds.

        Raises the errors of `Store.manifest`.
        """
        manifest = await self._store.manifest()
        if manifest is None:
            return None
        if (found := self.of(manifest)) or not self._reading.running:
            return found
        with suppress(TimeoutError, QuireError):
            async with asyncio.timeout(max_wait):
                await self._reading.get()
        return self.of(manifest)

    async def close(self) -> None:
        await self._reading.cancel()

    async def _read(self) -> Contents:
        try:
            return await _read_contents(self._store)
        except (QuireError, msgspec.ValidationError) as error:
            _log.warning("the contents of the book cannot be read: %s", error)
            raise StoreUnavailable("The contents of the book cannot be read.") from None


async def _read_contents(store: Store) -> Contents:
    """Read the contents from the index. Raises `QuireError` and `msgspec.ValidationError`."""
    while True:
        manifest = check_index(await store.manifest())
        drafts = _Drafts()
        async for batch in store.payloads(_Outlined.__struct_fields__):
            for chunk in msgspec.convert(batch, list[_Outlined]):
                drafts.add(chunk)
        now = await store.manifest()
        if now and now.generation == manifest.generation:
            return await run_cooperatively(_arrange(drafts.pages, manifest))


class _Drafts:
    """The pages while their chunks are read, within the limits."""

    def __init__(self) -> None:
        self.pages: dict[str, _Draft] = {}
        self._left = _MAX_BYTES

    def add(self, chunk: _Outlined) -> None:
        draft = self.pages.get(chunk.file_path)
        if draft is None:
            if len(self.pages) == _MAX_PAGES:
                return
            draft = self.pages[chunk.file_path] = _Draft(chunk)
        if self._left <= 0:
            return
        piece = _encode((chunk.ordinal, list(_headings_of(chunk))))
        draft.pieces.append(piece)
        self._left -= len(piece)
        if self._left <= 0:
            _log.warning("the book has too many headings to suggest questions")
            for each in self.pages.values():
                each.pieces.clear()


def _arrange(drafts: dict[str, _Draft], manifest: Manifest) -> Generator[None, None, Contents]:
    by_path: dict[str, Page] = {}
    for path, draft in drafts.items():
        by_path[path] = draft.finish(path)
        draft.pieces.clear()
        yield
    chosen = _default_edition(by_path.values())
    yield
    pages = _in_order(chosen, manifest.reading_order)
    yield
    index = _index_page(pages)
    if index:
        pages.remove(index)
        pages.insert(0, index)
    listed = {*manifest.reading_order} & {page.file_path for page in pages}
    if index and listed:
        listed.add(index.file_path)
    counts: Counter[str] = Counter()
    for page in pages:
        counts.update({each.text.casefold() for each in _decode(page.packed)})
        yield
    own = language_of_code(pages[0].locale) if pages else ""
    return Contents(
        generation=manifest.generation,
        pages=tuple(pages),
        listed=len(listed),
        title=index.title if index else "",
        language=own or _language_of_titles(pages[:_SAMPLED], manifest.languages),
        by_path=by_path,
        complete=len(by_path) < _MAX_PAGES,
        repeated=frozenset(text for text, count in counts.items() if count > 1),
    )


def _language_of_titles(pages: Sequence[Page], likely: Sequence[str]) -> str:
    """The language of the titles in the script, Latin or not, that most of them begin in.

    A word in another script would decide by itself: one Arabic page among English ones.
    """
    is_latin = [bool(_BEGINS_LATIN.match(page.title)) for page in pages]
    usual = 2 * sum(is_latin) >= len(pages)
    titles = (page.title for page, each in zip(pages, is_latin, strict=True) if each == usual)
    return question_language(" ".join(titles), likely)


def _default_edition(pages: Iterable[Page]) -> list[Page]:
    """The pages in the language with the shortest address, and those of them in its version.

    A site's default language and version have no part of their own in the address. Pages without a
    version, such as a blog's, belong to all.
    """
    found = list(pages)
    if not found:
        return found
    locale = min(found, key=_length_of_address).locale
    found = [page for page in found if page.locale == locale]
    versioned = [page for page in found if page.version]
    if versioned:
        version = min(versioned, key=_length_of_address).version
        found = [page for page in found if page.version in ("", version)]
    return found


def _length_of_address(page: Page) -> tuple[int, int, str]:
    """Sort key: parts of the path, its length, the file's path."""
    path = urlsplit(page.url or "").path if page.url else page.file_path
    return path.strip("/").count("/") + bool(path.strip("/")), len(path), page.file_path


def _in_order(pages: Sequence[Page], listed: Sequence[str]) -> list[Page]:
    """Sort pages: those that the site's navigation lists, then the others by path."""
    places = {path: place for place, path in enumerate(listed)}
    return sorted(
        pages,
        key=lambda page: (
            places.get(page.file_path, len(places)),
            _path_key(page.file_path),
        ),
    )


def _path_key(path: str) -> tuple[tuple[bool, tuple[tuple[bool, int, str], ...]], ...]:
    """Sort key by parts of the path: the page of a folder first, numbers as numbers."""
    *folders, name = path.casefold().split("/")
    stem = name.partition(".")[0]
    own = stem in _INDEX_NAMES or stem == (folders[-1] if folders else None)
    return (
        *((True, _natural_key(folder)) for folder in folders),
        (not own, _natural_key(name)),
    )


def _natural_key(text: str) -> tuple[tuple[bool, int, str], ...]:
    """Sort key: `2` before `10`."""
    return tuple(
        (False, int(part), "") if place % 2 else (True, 0, part)
        for place, part in enumerate(_DIGITS.split(text))
    )


def _index_page(pages: Sequence[Page]) -> Page | None:
    """The page at the root of the site, else the page of the top folder; None without one."""
    if not pages:
        return None
    first = min(pages, key=_length_of_address)
    if first.url:
        below = first.url.rstrip("/") + "/"
        inside = sum((page.url or "").startswith(below) for page in pages if page is not first)
        if 2 * inside >= len(pages):
            return first
    folder = posixpath.commonpath([posixpath.dirname(f"/{page.file_path}") for page in pages])
    for page in pages:
        above, name = posixpath.split(f"/{page.file_path}")
        if above == folder and name.partition(".")[0].casefold() in _INDEX_NAMES:
            return page
    return None
