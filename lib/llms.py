"""llms.txt and llms-full.txt: the book for language models (https://llmstxt.org).

Both are made on their first use, once per generation of the index. Links are relative to the files,
because a proxy may serve Quire under a path.
"""

import asyncio
import re
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, Final

import msgspec

from lib.book_pages import parts_of
from lib.contents import NOT_READ, Contents, Page, PublishedContents, book_title
from lib.errors import IndexNotReady, NotFound
from lib.opening import opening
from lib.packing import Packed, pack
from lib.page_markdown import PageMarkdown
from lib.page_names import markdown_address
from lib.runtime import SingleFlight
from lib.search import check_index
from lib.settings import Settings
from lib.store import Manifest, Store, StoredChunk

_MAX_INDEX: Final = 100_000
"""Characters of llms.txt."""
_MAX_FULL: Final = 1_000_000
"""Characters of llms-full.txt."""
_MAX_LINE: Final = 300
"""Characters of a title or a description."""
_MIN_DESCRIPTION: Final = 20
"""Descriptions are left out if there is less room for each."""
_MAX_TRIED: Final = 10
"""Pages that do not fit into llms-full.txt, after which no more are tried."""
_CONTENTS_SECONDS: Final = 10.0
_BREAKS: Final = "\r\n"

# A backtick could begin code that ends behind the link, and `<` a tag.
_SPECIAL: Final = re.compile(r"[\\`<\[\]]")
_USAGE: Final = (
    "The links lead to the pages as Markdown. [llms-full.txt](llms-full.txt) has their text in one "
    "file. Beside this file, `search?q=…` finds passages, and `ask?q=…` answers a question with "
    "its sources."
)

_Make = Callable[[Manifest, Contents], Awaitable[Packed]]


class LlmsFiles:
    """The two files of the published book."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        contents: PublishedContents,
        page_markdown: PageMarkdown,
    ) -> None:
        self._settings = settings
        self._store = store
        self._page_markdown = page_markdown
        self._index = _PerGeneration(store, contents, self._make_index)
        self._full = _PerGeneration(store, contents, self._make_full)

    async def index(self) -> Packed:
        """llms.txt: all pages, each with its description.

        Raises `IndexNotReady` and `StoreUnavailable`.
        """
        return await self._index.get()

    async def full(self) -> Packed:
        """llms-full.txt: the text of the pages. Raises as `index`."""
        return await self._full.get()

    async def close(self) -> None:
        await self._index.close()
        await self._full.close()

    async def _make_index(self, manifest: Manifest, contents: Contents) -> Packed:
        head = await self._head(manifest, contents)
        listing = await asyncio.to_thread(_Listing, head, contents)
        described: Mapping[str, str] = {}
        if listing.room >= len(contents.pages) * _MIN_DESCRIPTION:
            described = await self._describe(contents)
        return await asyncio.to_thread(lambda: _pack(listing.write(described)))

    async def _make_full(self, manifest: Manifest, contents: Contents) -> Packed:
        written = [await self._head(manifest, contents)]
        shown = tried = 0
        room = _MAX_FULL - len(written[0]) - len(_left_out(len(contents.pages)))
        for page in contents.pages:
            try:
                text = _page_section(page, await self._page_markdown.of_file(page.file_path))
            except NotFound:  # another index has just been published
                continue
            if len(text) <= room:
                written.append(text)
                shown += 1
                room -= len(text)
            elif (tried := tried + 1) == _MAX_TRIED:
                break
        if missing := len(contents.pages) - shown:
            written.append(_left_out(missing))
        return await asyncio.to_thread(lambda: _pack("".join(written)))

    async def _head(self, manifest: Manifest, contents: Contents) -> str:
        title = _shorten(_line(book_title(self._settings, manifest, contents))) or "Book"
        summary = _line(await self._page_markdown.book_opening())
        return f"# {title}\n" + (f"\n> {summary}\n" if summary else "")

    async def _describe(self, contents: Contents) -> Mapping[str, str]:
        """The first paragraph of each page, by file."""
        pages = {page.file_path for page in contents.pages}
        described: dict[str, str] = {}
        async for batch in self._store.payloads(StoredChunk.__struct_fields__):
            first = [each for each in batch if each["ordinal"] == 0 and each["file_path"] in pages]
            described |= await asyncio.to_thread(_openings, first)
        return described


class _PerGeneration:
    """Make a file of the published book once per generation, for all who wait for it."""

    def __init__(self, store: Store, contents: PublishedContents, make: _Make) -> None:
        self._store = store
        self._contents = contents
        self._make = make
        self._generation = ""
        self._making: SingleFlight[Packed] | None = None

    async def get(self) -> Packed:
        """Raises `IndexNotReady` and `StoreUnavailable`."""
        while True:
            manifest = check_index(await self._store.manifest())
            if self._making and self._generation == manifest.generation:
                if made := self._making.value:
                    return made
                await self._making.get()
                continue  # another index may have been published meanwhile
            contents = await self._contents.get(_CONTENTS_SECONDS)
            if contents is None:
                raise IndexNotReady(NOT_READ)
            if self._generation != contents.generation == manifest.generation:
                self._generation = manifest.generation
                self._making = SingleFlight(partial(self._make, manifest, contents))

    async def close(self) -> None:
        if self._making:
            await self._making.cancel()


class _Listing:
    """llms.txt without descriptions, with as many of the pages as fit."""

    def __init__(self, head: str, contents: Contents) -> None:
        total = len(contents.pages)
        entries = [*_entries(contents)]
        ends = [0, *accumulate(len(entry) + 1 for _, entry in entries)]
        room = _MAX_INDEX - len(_introduction(head))
        self._introduction = _introduction(head)
        if ends[-1] > room:
            room = _MAX_INDEX - len(_introduction(head, _only(total, total)))
        listed = bisect_right(ends, room) - 1
        if listed < total:
            self._introduction = _introduction(head, _only(listed, total))
        self._entries = entries[:listed]
        self.room = room - ends[-1] if listed == total else 0
        """Characters for all descriptions together."""

    def write(self, described: Mapping[str, str]) -> str:
        costs = [
            len(each) + len(": ") for path, _ in self._entries if (each := described.get(path))
        ]
        most = _most(costs, self.room) - len(": ")
        lines = []
        for path, entry in self._entries:
            text = _shorten(described.get(path, ""), most)
            lines.append(f"{entry}: {text}\n" if text else f"{entry}\n")
        return self._introduction + "".join(lines)


def _introduction(head: str, only: str = "") -> str:
    return f"{head}\n{only}{_USAGE}\n"


def _only(listed: int, total: int) -> str:
    return f"Only the first {listed:,} of {total:,} pages are listed. "


def _entries(contents: Contents) -> Iterator[tuple[str, str]]:
    """The file and the line of each page; the first of a part with its heading."""
    for part in parts_of(contents.pages):
        heading = f"\n## {_shorten(_line(part.title)) or 'Pages'}\n\n"
        for page in part.pages:
            title = _shorten(_line(page.title or page.file_path))
            yield page.file_path, f"{heading}- [{title}]({markdown_address(page.file_path)})"
            heading = ""


def _openings(chunks: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The first paragraph by file, from the first chunks of pages."""
    return {
        chunk.file_path: _line(opening(chunk.content, _MAX_LINE))
        for chunk in msgspec.convert(chunks, list[StoredChunk])
    }


def _most(costs: Sequence[int], room: int) -> int:
    """The cost that none may exceed so that all fit into `room` together."""
    for number, cost in enumerate(sorted(costs)):
        if cost > (share := room // (len(costs) - number)):
            return share
        room -= cost
    return max(costs, default=0)


def _line(text: str) -> str:
    """One line of plain text, with what could break a link escaped."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def _shorten(line: str, most: int = _MAX_LINE) -> str:
    """Cut an escaped line to `most` characters; leave it out if these are too few."""
    if len(line) <= most:
        return line
    if most < _MIN_DESCRIPTION:
        return ""
    cut = line[: most - 1]
    words = cut.rpartition(" ")[0]
    if len(words) < most // 2:
        words = cut
    return words.rstrip(" ,;:\\") + "…"


def _page_section(page: Page, text: str) -> str:
    """A page in llms-full.txt."""
    address = page.url if page.url and "://" in page.url else markdown_address(page.file_path)
    first, _, rest = text.lstrip(_BREAKS).partition("\n")
    body = rest if first.strip() == f"# {page.title}" else text
    return f"\n# {_shorten(_line(page.title))}\nSource: {address}\n\n{body.strip(_BREAKS)}\n"


def _left_out(pages: int) -> str:
    left_out = f"{pages:,} pages are" if pages > 1 else "1 page is"
    return (
        f"\n{left_out} left out, because this file has at most {_MAX_FULL:,} characters. "
        "[llms.txt](llms.txt) lists the pages.\n"
    )


def _pack(text: str) -> Packed:
    return pack(text.encode("utf-8", "surrogatepass"))
