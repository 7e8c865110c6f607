"""The Markdown of a book's pages, rebuilt from the index: no file is needed for it.

A page of HTML is given as the index keeps it: the offsets of its passages count in this text. A
Markdown page is given as readers see it, with included files and without comments.
"""

import asyncio
import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import unquote

from cachetools import LRUCache

from lib.contents import NOT_READ, Contents, PublishedContents
from lib.documents import HTML_SUFFIXES, MARKDOWN_SUFFIXES
from lib.errors import IndexNotReady, NotFound
from lib.heading_ids import heading_key
from lib.markdown_page import apply_edits, shift
from lib.opening import opening
from lib.page_names import RESOURCE, PageNames, without_suffix
from lib.runtime import run_cooperatively
from lib.search import check_index
from lib.sites.site import HTML, LONGEST_PATH
from lib.store import Manifest, Section, Store, StoredChunk, page_text

_MAX_CACHED: Final = 8_000_000
"""Characters of Markdown in memory."""
_HEADING_COST: Final = 200
"""Memory of a heading beside the text, in such characters."""
_CONTENTS_SECONDS: Final = 1.0
_MAX_LISTED: Final = 50
"""Headings in a message."""

_NO_PAGE: Final = "The book has no such page."
_CONTAINER: Final = r"(?:[ \t>]|(?:[-*+:]|\d{1,9}[.)])(?=[ \t]))*+"
"""What may stand before a block in a quote or an item of a list."""
_ATX: Final = re.compile(_CONTAINER + r"(?P<level>#{1,6})(?:[ \t][^\r\n]*+)?(?=[\r\n]|\Z)")
_SETEXT: Final = re.compile(
    rf"(?:{_CONTAINER}[^\s][^\r\n]*+(?:\r\n?|\n))+?"
    r"[ \t>]*+(?P<line>=++|-++)[ \t]*+(?=[\r\n]|\Z)"
)
_LINE_START: Final = re.compile(r"(?:\r\n?|\n)(?=[^\r\n])")


class _Heading(NamedTuple):
    start: int
    """Offset in the page's Markdown."""
    end: int
    """Of its own lines."""
    level: int
    """0 for the text before the first heading, which has the title of the page."""
    text: str
    anchor: str
    """Unencoded; empty without one."""


@dataclass(frozen=True, slots=True)
class _PageText:
    markdown: str
    headings: Sequence[_Heading]
    """In order."""

    @property
    def cost(self) -> int:
        return len(self.markdown) + _HEADING_COST * len(self.headings)


class PageMarkdown:
    def __init__(self, store: Store, contents: PublishedContents) -> None:
        self._store = store
        self._contents = contents
        self._cache: LRUCache[tuple[str, str], _PageText] = LRUCache(
            _MAX_CACHED, getsizeof=lambda page: page.cost
        )
        self._names: PageNames | None = None
        self._naming = asyncio.Lock()
        self._opening: tuple[Contents, str] | None = None

    async def file_of(self, page: str) -> str:
        """The path of a page's file, from that path without the suffix.

        Raises `NotFound`, `IndexNotReady` and `StoreUnavailable`.
        """
        manifest = check_index(await self._store.manifest())
        contents = await self._contents.get(_CONTENTS_SECONDS)
        for suffix in _suffixes(manifest):
            path = posixpath.normpath(page) + suffix
            if await self._read(manifest, contents, path):
                return path
        raise NotFound(f"{_NO_PAGE} Its address is the path of its file, with .md.")

    async def of_file(self, path: str) -> str:
        """The Markdown of the page whose file has this path. Raises as `file_of`."""
        return (await self._page(path)).markdown

    async def section(self, path: str, heading: str) -> str:
        """The Markdown under one heading of a file, with the heading and all below it.

        `heading` is its text, its anchor, or its path as `lib.ranking.join_headings` writes it. The
        first one counts if several have the same text.
        Raises as `file_of`.
        """
        page = await self._page(path)
        if not (wanted := heading.partition(":~:")[0].strip()).strip("#"):
            return page.markdown
        place = _find_heading(page.headings, wanted)
        if place is None:
            raise NotFound(f"The page has no such heading. {_list_headings(page.headings)}")
        own, rest = page.headings[place], page.headings[place + 1 :]
        end = next((each.start for each in rest if each.level <= own.level), None)
        return page.markdown[own.start : end].rstrip()

    async def find(self, place: str, host: str = "") -> str:
        """The path of a page's file, from that path (with any suffix or without one), its public
        address (a URL or its path), its address at Quire, or `book:///` and the path.

        `host`: that of Quire itself, whose addresses may be those of the pages; any if it is empty.
        Raises as `file_of`; the message names similar pages.
        """
        manifest = check_index(await self._store.manifest())
        contents = await self._contents.get(_CONTENTS_SECONDS)
        name = place.strip()
        names = await self._names_of(contents) if contents else None
        if names and (found := names.find(name, host)):
            return found
        if not (contents and contents.complete):
            for path in _possible_files(name, manifest):
                if await self._store.chunks_of(path):
                    return path
        if names is None:
            raise IndexNotReady(NOT_READ)
        similar = ", ".join(await run_cooperatively(names.similar(name)))
        raise NotFound(f"{_NO_PAGE} Similar pages: {similar}." if similar else _NO_PAGE)

    async def book_opening(self) -> str:
        """The opening of the book's first page; empty while it is unknown. Raises as `file_of`."""
        contents = await self._contents.get(_CONTENTS_SECONDS)
        if not (contents and contents.pages):
            return ""
        if self._opening is None or self._opening[0] is not contents:
            text = await self.of_file(contents.pages[0].file_path)
            self._opening = contents, await asyncio.to_thread(opening, text)
        return self._opening[1]

    async def _names_of(self, contents: Contents) -> PageNames:
        async with self._naming:  # not once for each of those who wait
            if self._names is None or self._names.contents is not contents:
                self._names = await run_cooperatively(PageNames(contents).read())
            return self._names

    async def _page(self, path: str) -> _PageText:
        manifest = check_index(await self._store.manifest())
        contents = await self._contents.get(_CONTENTS_SECONDS)
        if found := await self._read(manifest, contents, path):
            return found
        raise NotFound(_NO_PAGE)

    async def _read(
        self, manifest: Manifest, contents: Contents | None, path: str
    ) -> _PageText | None:
        key = manifest.generation, path
        if found := self._cache.get(key):
            return found
        if contents and contents.complete and path not in contents.by_path:
            return None  # spares a search in vain
        if not (chunks := await self._store.chunks_of(path)):
            return None
        join = _join if manifest.generator == HTML.name else _join_shown
        page = await asyncio.to_thread(join, chunks)  # a page of 5 MB takes 0.2 s
        if page.cost <= _MAX_CACHED:
            self._cache[key] = page
        return page


def _suffixes(manifest: Manifest) -> list[str]:
    return sorted(HTML_SUFFIXES if manifest.generator == HTML.name else MARKDOWN_SUFFIXES)


def _possible_files(name: str, manifest: Manifest) -> Iterator[str]:
    """Yield the paths of files that may have this name; a book with incomplete contents has more
    pages than they list."""
    path = posixpath.normpath(name.removeprefix(RESOURCE))
    if len(path) <= LONGEST_PATH:
        yield path
        for suffix in _suffixes(manifest):
            yield without_suffix(path) + suffix


def _join(chunks: Sequence[StoredChunk]) -> _PageText:
    """A page of HTML, from its chunks in order. Offsets count in the text of the index."""
    text = page_text(chunks)
    return _PageText(text, _headings(text, chunks, lambda _, offset: offset))


def _join_shown(chunks: Sequence[StoredChunk]) -> _PageText:
    """What readers see of a page, from its chunks in order."""
    parts: list[str] = []
    starts: dict[int, int] = {}
    """Offset of each chunk's own text, without its `lead`, by its ordinal."""
    size = 0

    def add(*texts: str) -> None:
        nonlocal size
        parts.extend(texts)
        size += sum(map(len, texts))

    for before, chunk in zip((None, *chunks), chunks, strict=False):
        if before is None:
            add(chunk.lead)
        else:
            joined = chunk.before is not None
            gap = chunk.before if chunk.before and not chunk.before.strip() else "\n\n"
            add(*((gap,) if joined else (before.tail, gap, chunk.lead)))
        starts[chunk.ordinal] = size
        add(apply_edits(chunk.text, chunk.edits))
    add(*(chunk.tail for chunk in chunks[-1:]))

    def shown(chunk: StoredChunk, offset: int) -> int:
        return starts[chunk.ordinal] + shift(offset - chunk.start_char, chunk.edits)

    text = "".join(parts)
    return _PageText(text, _headings(text, chunks, shown))


def _headings(
    text: str, chunks: Sequence[StoredChunk], shown: Callable[[StoredChunk, int], int]
) -> list[_Heading]:
    """Find the headings of a page. `shown` returns where in `text` an offset of a chunk is."""
    found: list[_Heading] = []
    last: tuple[str, str, str | None] | None = None
    for chunk in chunks:
        for section in chunk.sections:
            for each in section.above:
                at = shown(chunk, each.start_char)
                found.append(_heading(each, at, *_heading_at(text, at)))
            at = shown(chunk, section.start_char)
            if section.above:  # it starts with the first of them
                at = _next_heading(text, found[-1].end, shown(chunk, chunk.end_char))
            level, end = _heading_at(text, at)
            # A section that was split goes on in the next chunk, without its heading.
            is_rest = chunk.lead and section is chunk.sections[0]
            name = (section.heading, section.section, section.url)
            if name != last or (level and not is_rest):
                found.append(_heading(section, at, level, end))
            last = name
    return found


def _heading(section: Section, at: int, level: int, end: int) -> _Heading:
    if not level and section.section:
        level = 2 if section.heading == section.section else 3
    anchor = unquote((section.url or "").partition("#")[2])
    return _Heading(at, end, level, section.heading, anchor)


def _heading_at(text: str, start: int) -> tuple[int, int]:
    """Level and end of the heading at `start`; 0 and `start` if there is other text."""
    if not start or text[start - 1] in "\r\n":
        if found := _ATX.match(text, start, start + LONGEST_PATH):
            return len(found["level"]), found.end()
        if found := _SETEXT.match(text, start, start + LONGEST_PATH):
            return (1 if found["line"][0] == "=" else 2), found.end()
    return 0, start


def _next_heading(text: str, start: int, stop: int) -> int:
    """The offset of the first heading from `start` to `stop`; `start` without any."""
    for line in _LINE_START.finditer(text, start, stop):
        if _heading_at(text, line.end())[0]:
            return line.end()
    return start


def _find_heading(headings: Sequence[_Heading], wanted: str) -> int | None:
    wanted = wanted[:LONGEST_PATH]  # `heading_key` keeps it in memory
    anchor = wanted.removeprefix("#")
    anchors, text, key = {anchor, unquote(anchor)}, _spaced(wanted), heading_key(wanted)
    tests = (
        lambda each: wanted != anchor and each.anchor in anchors,
        lambda each: _spaced(each.text) == text,
        lambda each: each.anchor in anchors,
        lambda each: each.anchor.casefold() == anchor.casefold(),
        lambda each: heading_key(each.text) == key,
    )
    for test in tests:
        for place, each in enumerate(headings):
            if test(each):
                return place
    path = [_spaced(part) for part in wanted.split(" > ")]
    found = _find_below(headings, path)
    return found if found is not None else _find_below(headings, path[1:])  # without the title


def _find_below(headings: Sequence[_Heading], path: Sequence[str]) -> int | None:
    """Find the last heading of `path`, below the others."""
    above: list[_Heading] = []
    for place, each in enumerate(headings):
        while above and above[-1].level >= each.level:
            above.pop()
        names = {_spaced(heading.text) for heading in above}
        if path and _spaced(each.text) == path[-1] and names >= {*path[:-1]}:
            return place
        above.append(each)
    return None


def _spaced(text: str) -> str:
    return " ".join(text.split()).casefold()


def _list_headings(headings: Sequence[_Heading]) -> str:
    names = [*dict.fromkeys(each.text for each in headings)]
    if not names:
        return "It has no headings."
    more = f", and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return f"Its headings are: {'; '.join(names[:_MAX_LISTED])}{more}."
