"""Read a site from the web, by its sitemap, into a folder of HTML.

address -> robots.txt -> sitemaps -> pages of the site -> files

Links are not followed: a site without a sitemap is not read. Requests are few at a time and spaced,
and a page that has not changed is not sent again.
"""

import asyncio
import errno
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDictProxy
from yarl import URL

from lib.archives import lock_folder
from lib.crawl_copy import StoredPage, StoredSite, file_name, pages_folder, site_of
from lib.crawl_http import (
    CONNECTIONS,
    MAX_URL_LENGTH,
    PRODUCT,
    Fetched,
    FetchError,
    InsideNetwork,
    IpAddress,
    PacedClient,
    SiteClient,
    is_outside,
)
from lib.crawl_pages import MAX_ROBOTS_BYTES, PageList, Robots, list_pages
from lib.documents import HTML_FACTOR, DocumentLimits
from lib.errors import Conflict, InvalidRequest, QuireError, StoreUnavailable

_MAX_SECONDS: Final = 6 * 3_600.0
"""Limit of one run. The next one goes on where it stopped."""
_MAX_FAILURES: Final = 20
"""Pages that may fail one after the other."""
_GONE: Final = frozenset({404, 410})
_HTML: Final = frozenset({"text/html", "application/xhtml+xml"})
_SHOWN: Final = 5
"""Addresses that are listed with the same problem."""
_NAME_ERRORS: Final = frozenset(
    {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}
)
_BOM: Final = b"\xef\xbb\xbf"
# Labels of encodings that browsers understand otherwise than Python.
_CODECS: Final = dict.fromkeys(("iso-8859-1", "latin1", "us-ascii", "ascii"), "cp1252") | {
    "utf8": "utf-8",
    "shift_jis": "cp932",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc-kr": "cp949",
}
_KNOWN_CODEC: Final = re.compile(
    r"utf-8|cp1252|windows-125[0-8]|iso-8859-([2-9]|1[013-6])|koi8-[ru]|macintosh|gb18030|big5"
    r"|euc-jp|iso-2022-jp|cp932|cp949"
)


@dataclass(frozen=True, slots=True)
class _Network:
    """The network and the time, which tests replace."""

    is_allowed: Callable[[IpAddress], bool] = is_outside
    """Whether a connection to an address may be opened."""
    resolver: AbstractResolver | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True, slots=True)
class _Crawled:
    """A site that was read."""

    root: Path
    """Folder of its pages."""
    site_url: str
    """Address of that folder."""
    errors: Sequence[str]
    """Lines of the form `address: problem`."""


def parse_address(text: str) -> URL:
    """Parse the address of a site or of its sitemap. Raises `InvalidRequest`."""
    try:
        url = URL(text.strip()).with_fragment(None)
    except ValueError:
        url = URL()
    details = {"field": "url"}
    if url.user or url.password:
        raise InvalidRequest(
            "The address must not contain a user name or password.", details=details
        )
    if url.scheme not in ("http", "https") or not url.host or len(text) > MAX_URL_LENGTH:
        raise InvalidRequest(
            "The address must be that of a site or of its sitemap, such as "
            "https://book.example/docs/ or https://book.example/sitemap.xml.",
            details=details,
        )
    return url


async def crawl(
    url: URL,
    copies: Path,
    limits: DocumentLimits,
    *,
    force: bool = False,
    report: Callable[[int, int], None] = lambda _done, _total: None,
    network: _Network | None = None,
) -> _Crawled:
    """Read the site at `url` into a folder below `copies`. Raises `QuireError`.

    `report` gets the number of pages that were read, and of all pages. With `force`, a site of
    which most pages cannot be read is accepted.
    """
    try:
        async with _locked(copies / _folder_name(url)) as folder, asyncio.timeout(_MAX_SECONDS):
            return await _crawl(url, folder, limits, force, report, network or _Network())
    except InsideNetwork as error:
        raise InvalidRequest(
            f"{url} {error}, where nothing is read. Ingest the folder of the built site instead."
        ) from None
    except TimeoutError:
        raise QuireError(
            f"Reading {url} takes more than {_MAX_SECONDS / 3600:g} hours. Start the ingestion "
            "again: it goes on where it stopped."
        ) from None
    except OSError as error:
        raise StoreUnavailable(
            f"The pages of {url} cannot be stored: {error.strerror}. See QDRANT_PATH."
        ) from error


def stored_copy(url: URL, copies: Path) -> _Crawled | None:
    """The copy that an earlier run over the site at `url` left; None without one."""
    folder = copies / _folder_name(url)
    site_url = site_of(folder)
    return _Crawled(pages_folder(folder), site_url, ()) if site_url else None


def _folder_name(url: URL) -> str:
    host = re.sub(r"[^a-z0-9.-]", "_", (url.raw_host or "").lower())[:100]
    return f"{host}-{blake2b(str(url).encode(), digest_size=4).hexdigest()}"


@asynccontextmanager
async def _locked(folder: Path) -> AsyncIterator[Path]:
    unlock = await asyncio.to_thread(lock_folder, folder)
    if unlock is None:
        raise Conflict("Another process is reading this site. Wait until it is done.")
    try:
        yield folder
    finally:
        unlock()


async def _crawl(
    url: URL,
    folder: Path,
    limits: DocumentLimits,
    force: bool,
    report: Callable[[int, int], None],
    network: _Network,
) -> _Crawled:
    robots = Robots("", PRODUCT)

    def objection(target: URL) -> str:
        return "" if robots.allows(str(target)) else "is disallowed by robots.txt"

    async with SiteClient(
        url, is_allowed=network.is_allowed, resolver=network.resolver, may_follow=objection
    ) as site:
        client = PacedClient(site, clock=network.clock, sleep=network.sleep)
        robots = await _read_robots(client, url)
        client.slow_down(robots.delay)
        listed = await list_pages(client, url, robots, limits.max_files)
        address = str(listed.origin.with_path(listed.base, encoded=True))
        copy = await asyncio.to_thread(StoredSite, folder, str(url), address)
        try:
            pages = _Pages(client, listed, copy, robots, limits)
            await pages.read(report)
            lines = await pages.finish(force=force)
        finally:
            copy.close()
    return _Crawled(copy.root, address, [*listed.problems, *lines])


async def _read_robots(client: PacedClient, url: URL) -> Robots:
    """Read robots.txt. Raises `QuireError` if it cannot be read: it may forbid everything."""
    url = url.with_path("/robots.txt").with_query(None)
    try:
        found = await client.get(url, max_bytes=MAX_ROBOTS_BYTES)
    except InsideNetwork:
        raise
    except FetchError as error:
        raise QuireError(f"{url} {error}. It may forbid to read the site.") from None
    if found.status == 200:
        text = found.body.decode("utf-8-sig", "replace")
        return await asyncio.to_thread(Robots, text, PRODUCT)
    if 400 <= found.status < 500 and found.status != 429:  # there is none
        return Robots("", PRODUCT)
    raise QuireError(f"{url} answers with status {found.status}. It may forbid to read the site.")


@dataclass(slots=True)
class _FileNames:
    """The files of a run. Names that differ only in case are one name on some systems."""

    taken: dict[str, str] = field(default_factory=dict)
    """Path of the page's address, by file name in lower case."""
    folders: dict[str, str] = field(default_factory=dict)
    """Path of a page in the folder."""

    def claim(self, file: str, path: str) -> str:
        """Take a name for the page at `path`. Returns the path of the page in its way, or ""."""
        key = file.lower()
        above = [parent.as_posix() for parent in PurePosixPath(key).parents][:-1]
        others = (self.taken.get(name, "") for name in (key, *above))
        other = next(filter(None, others), "") or self.folders.get(key, "")
        if not other:
            self.taken[key] = path
            self.folders.update(dict.fromkeys(above, path))
        return other


class _Pages:
    """The pages of a site, and what became of them in this run."""

    def __init__(
        self,
        client: PacedClient,
        listed: PageList,
        copy: StoredSite,
        robots: Robots,
        limits: DocumentLimits,
    ) -> None:
        self._client = client
        self._listed = listed
        self._copy = copy
        self._robots = robots
        self._limits = limits
        self._names = _FileNames()
        self._bytes = 0
        """Of all files so far."""
        self._failures = 0
        """Pages that failed one after the other."""

    async def read(self, report: Callable[[int, int], None]) -> None:
        """Read the pages, some at a time. Raises `QuireError`, `InsideNetwork` and `OSError`."""
        total = len(self._listed.paths)
        todo = await asyncio.to_thread(self._plan)
        left, done = iter(todo), total - len(todo)

        async def work() -> None:
            nonlocal done
            for path, file in left:
                self._copy.add(await self._read(path, file))
                done += 1
                report(done, total)

        report(done, total)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(CONNECTIONS):
                    group.create_task(work())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def finish(self, *, force: bool) -> list[str]:
        """Complete the copy and return the problems. Raises `QuireError` for a bad site."""
        pages = [self._copy.pages[path] for path in self._listed.paths]
        lines = _problem_lines((self._url(page), page.problem) for page in pages if page.problem)
        failed = sum(page.failed for page in pages)
        if 2 * failed > len(pages) and not force:
            raise QuireError(
                f"{failed} of {len(pages)} pages cannot be read, so the index is unchanged. First, "
                f"{lines[0]}. To use the others, use force_reindex (command line: --force)."
            )
        if not any(page.file for page in pages):
            raise QuireError(f"No page can be used, so the index is unchanged. First, {lines[0]}.")
        await asyncio.to_thread(
            self._copy.finish, str(self._listed.origin).rstrip("/"), self._listed.paths
        )
        return lines

    def _url(self, page: StoredPage) -> str:
        return str(self._listed.origin.with_path(page.path, encoded=True))

    def _plan(self) -> list[tuple[str, str]]:
        """The pages to read, with their files. The others are recorded."""
        todo = []
        for path in self._listed.paths:
            file, problem = file_name(path, self._listed.base), ""
            url = self._listed.origin.with_path(path, encoded=True)
            if not self._robots.allows(str(url)):
                problem = "is disallowed by robots.txt"
            elif not file:
                problem = "cannot be the name of a file"
            elif other := self._names.claim(file, path):
                problem = f"would have the file of {other}"
            old = self._copy.pages.get(path)
            if problem:
                self._copy.add(self._left_out(path, problem))
            elif old and self._copy.is_done(old):
                self._bytes += old.size
                self._names.claim(old.file, old.address)
            else:
                todo.append((path, file))
        return todo

    async def _read(self, path: str, file: str) -> StoredPage:
        """Read a page and store its file. Raises `QuireError`, `InsideNetwork` and `OSError`."""
        if self._bytes >= (most := self._limits.max_total_bytes * HTML_FACTOR):
            return self._left_out(path, f"skipped: all pages exceed {most} bytes (MAX_TOTAL_BYTES)")
        old = self._copy.pages.get(path)
        if old and not await asyncio.to_thread(self._copy.has_file, old):
            old = None
        try:
            found = await self._client.get(
                self._listed.origin.with_path(path, encoded=True),
                max_bytes=self._limits.max_file_bytes * HTML_FACTOR,
                headers=_conditions(old) if old else None,
            )
            page = await self._result(path, file, old, found)
            self._failures = 0
        except InsideNetwork:
            raise
        except FetchError as error:
            page = self._failed(path, old, str(error))
            self._failures += 1
        self._bytes += page.size
        if self._failures > _MAX_FAILURES:
            raise QuireError(
                f"More than {_MAX_FAILURES} pages in a row cannot be read. Last, {self._url(page)} "
                f"{page.problem}. Start the ingestion again later: it goes on where it stopped."
            )
        return page

    async def _result(
        self, path: str, file: str, old: StoredPage | None, found: Fetched
    ) -> StoredPage:
        """The page in a response. Raises `FetchError`."""
        if found.status == 304 and old:
            return msgspec.structs.replace(old, read_at=self._copy.now(), problem="", failed=False)
        if found.status in _GONE:
            return self._failed(path, None, f"does not exist (status {found.status})")
        if found.status != 200:
            raise FetchError(f"answers with status {found.status}")
        if found.content_type not in _HTML:
            kind = re.sub(r"[^\w/+.-]", "?", found.content_type[:60])
            return self._left_out(path, f"is not HTML ({kind})")
        if _asks_not_to_be_indexed(found.headers):
            return self._left_out(path, "asks not to be indexed (X-Robots-Tag)")
        address = found.url.raw_path
        if address != path:
            file = file_name(address, self._listed.base)
            if not file or not address.startswith(self._listed.base):
                return self._left_out(path, f"redirects to {address[:200]}")
            if self._names.claim(file, address):  # it is listed itself
                return self._left_out(path, "")
        data = _as_utf8(found.body, found.charset)
        try:
            sha256 = await asyncio.to_thread(self._copy.write, file, data)
        except OSError as error:
            if error.errno not in _NAME_ERRORS:
                raise
            raise FetchError(f"cannot be stored: {error.strerror}") from None
        return StoredPage(
            path=path,
            read_at=self._copy.now(),
            address=address,
            file=file,
            size=len(data),
            sha256=sha256,
            etag=_validator(found.headers, "ETag"),
            modified=_validator(found.headers, "Last-Modified"),
        )

    def _left_out(self, path: str, problem: str) -> StoredPage:
        return StoredPage(path=path, read_at=self._copy.now(), problem=problem)

    def _failed(self, path: str, old: StoredPage | None, problem: str) -> StoredPage:
        """A page that cannot be read now; its old copy stays."""
        page = old or self._left_out(path, problem)
        return msgspec.structs.replace(page, read_at=self._copy.now(), problem=problem, failed=True)


def _validator(headers: CIMultiDictProxy[str], name: str) -> str:
    """A header to send back in a condition; empty if it cannot be."""
    value = headers.get(name, "")
    return value if value.isascii() and value.isprintable() else ""


def _conditions(page: StoredPage) -> dict[str, str]:
    conditions = {"If-None-Match": page.etag, "If-Modified-Since": page.modified}
    return {name: value for name, value in conditions.items() if value}


def _asks_not_to_be_indexed(headers: CIMultiDictProxy[str]) -> bool:
    """Whether `X-Robots-Tag` says so to every crawler, or to this one."""
    parts = ",".join(headers.getall("X-Robots-Tag", ())).lower().split(",")
    words = {part.strip().removeprefix(f"{PRODUCT.lower()}:").strip() for part in parts}
    return not words.isdisjoint(("noindex", "none"))


def _as_utf8(data: bytes, charset: str) -> bytes:
    """Write the encoding that the header names into a page: UTF-8 with a byte order mark.

    Without a known one the page stays as it is, and its `<meta>` tells.
    """
    codec = _CODECS.get(charset, charset)
    if not _KNOWN_CODEC.fullmatch(codec) or data.startswith(_BOM):
        return data
    return _BOM + (data if codec == "utf-8" else data.decode(codec, "replace").encode())


def _problem_lines(problems: Iterable[tuple[str, str]]) -> list[str]:
    """One line for each address; of many with the same problem, the first and their number."""
    found = [*problems]
    count, lines = Counter(problem for _, problem in found), dict[str, None]()
    summarised: set[str] = set()
    for address, problem in found:
        if count[problem] <= _SHOWN:
            lines[f"{address}: {problem}"] = None
        elif problem not in summarised:
            summarised.add(problem)
            lines[f"{address}: {problem} (and {count[problem] - 1} others)"] = None
    return [*lines]
