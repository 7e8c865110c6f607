"""Find the pages of a site that may be read: in its sitemaps, by the rules of its robots.txt."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, NamedTuple

from protego import Protego
from yarl import URL

from lib.crawl_http import (
    MAX_URL_LENGTH,
    FetchError,
    InsideNetwork,
    PacedClient,
    gunzip,
    is_same_site,
)
from lib.errors import InvalidRequest
from lib.sites.sitemap import MAX_SITEMAP_BYTES, SitemapError, read_sitemap

MAX_ROBOTS_BYTES: Final = 512_000
"""Crawlers must read 500 KiB at least."""
_MAX_DELAY: Final = 10.0
_GROUP: Final = "useragent"
_NAMES: Final = ("sitemap.xml", "sitemap-index.xml", "sitemap_index.xml")
_FILES: Final = (".xml", ".xml.gz", ".html", ".htm")
_MAX_SITEMAPS: Final = 500
_MAX_NESTING: Final = 2
"""Levels of sitemaps below an index."""
_MAX_FOLDERS: Final = 10
"""Folders above the given address in which a sitemap is looked for."""


class Robots:
    """The rules for one crawler."""

    def __init__(self, text: str, product: str) -> None:
        self._product = product
        self._rules = Protego.parse("\n".join(_relevant_groups(text, product.lower())))

    def allows(self, url: str) -> bool:
        return self._rules.can_fetch(url, self._product)

    @property
    def delay(self) -> float:
        """Seconds between two requests, at most `_MAX_DELAY`; 0 if none are asked for."""
        return min(self._rules.crawl_delay(self._product) or 0.0, _MAX_DELAY)

    @property
    def sitemaps(self) -> list[str]:
        return [*self._rules.sitemaps]


def _relevant_groups(text: str, product: str) -> Iterator[str]:
    """Give all other crawlers one name.

    The parser copies each rule of a group for each crawler it names: quadratic for many of both.
    """
    for line in text.splitlines():
        bare = "".join(line.lower().split()).replace("-", "").partition("#")[0]
        if bare.startswith(_GROUP):
            name = bare.removeprefix(_GROUP).lstrip(":")
            ours = name if name == "*" else name.replace("*", "")
            yield f"User-agent: {ours if ours in ('*', product) else 'other'}"
        else:
            yield line


@dataclass(frozen=True, slots=True)
class PageList:
    """The pages of a site."""

    origin: URL
    base: str
    """Path of the folder that has all pages, with a slash at both ends."""
    paths: Sequence[str]
    """Paths of their addresses, percent-encoded, in the order of the sitemap."""
    problems: Sequence[str]
    """Lines of the form `address: problem`."""


@dataclass(slots=True)
class _Found:
    """Addresses of the site in sitemaps."""

    pages: dict[URL, None]
    problems: list[str]
    is_secure: bool = False
    """Whether the site has answered over https."""


class _Sitemap(NamedTuple):
    """Addresses of the site in one sitemap."""

    url: URL
    """After redirects."""
    pages: dict[URL, None]
    sitemaps: list[URL]
    others: int
    """Number of addresses of other sites."""


async def list_pages(client: PacedClient, url: URL, robots: Robots, most: int) -> PageList:
    """List up to `most` pages: those of the sitemap at `url`, or of the site, below `url`.

    Raises `InvalidRequest` without any, and `InsideNetwork`.
    """
    is_sitemap = _is_sitemap(url)
    above = "/" if is_sitemap else _folder_of(url.raw_path)
    problems: list[str] = []
    guesses: list[str] = []
    for group, guessed in _sitemaps(url, above, robots):
        found = await _read_sitemaps(client, group, url, above, most)
        (guesses if guessed else problems).extend(found.problems)
        if found.pages:
            break
    else:
        others = (line for line in guesses if not line.endswith("status 404"))
        reason = next(chain(problems, others), f"{url} has no sitemap with pages below it")
        raise InvalidRequest(
            f"{reason}. Give the address of the site's sitemap.xml, or ingest the folder of the "
            "built site."
        )
    origin = next(iter(found.pages)).origin()
    if found.is_secure and origin.scheme == "http":
        origin = origin.with_scheme("https")
    paths = list(dict.fromkeys(page.raw_path for page in found.pages))
    beside = _folder_of(url.raw_path) if is_sitemap else above
    base = beside if all(path.startswith(beside) for path in paths) else "/"
    if len(paths) > most:
        problems.append(
            f"{origin.with_path(paths[most], encoded=True)}: skipped, with all pages after it: "
            f"more than {most} pages (MAX_FILES)"
        )
    return PageList(origin, base, paths[:most], problems)


def _is_sitemap(url: URL) -> bool:
    return url.raw_path.lower().endswith(_FILES[:2])


def _folder_of(path: str) -> str:
    """The folder of a file, else the path itself as a folder."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/" if not name or name.lower().endswith(_FILES) else f"{path}/"


def _sitemaps(url: URL, folder: str, robots: Robots) -> Iterator[tuple[list[URL], bool]]:
    """Yield sitemaps to read together, and whether their addresses are guesses."""
    if _is_sitemap(url):
        yield [url], False
        return
    declared = (_on_site(text, url, url) for text in robots.sitemaps[:_MAX_SITEMAPS])
    if named := list(dict.fromkeys(each for each in declared if each)):
        yield named, False
    parts = folder.strip("/").split("/") if folder != "/" else []
    for depth in range(len(parts), max(-1, len(parts) - _MAX_FOLDERS), -1):
        place = "".join(f"{part}/" for part in parts[:depth])
        for name in _NAMES:
            yield [url.with_path(f"/{place}{name}", encoded=True)], True


async def _read_sitemaps(
    client: PacedClient, urls: Sequence[URL], site: URL, above: str, most: int
) -> _Found:
    """Read sitemaps, and those that they list, until more than `most` pages are below `above`."""
    waiting, seen = deque((url, 0) for url in urls), set(urls)
    found = _Found({}, [])
    while waiting and len(found.pages) <= most:
        url, depth = waiting.popleft()
        try:
            sitemap = await _read_sitemap(client, url, site, above, most)
        except InsideNetwork:
            raise
        except FetchError as error:
            found.problems.append(f"{url} {error}")
            continue
        except SitemapError as error:
            found.problems.append(f"{url}: {error}")
            continue
        found.is_secure |= sitemap.url.scheme == "https"
        found.pages.update(sitemap.pages)
        if sitemap.others:
            found.problems.append(f"{url}: {sitemap.others} addresses are not of this site")
        for each in sitemap.sitemaps if depth < _MAX_NESTING else ():
            if each not in seen and len(seen) < _MAX_SITEMAPS:
                seen.add(each)
                waiting.append((each, depth + 1))
    return found


async def _read_sitemap(
    client: PacedClient, url: URL, site: URL, above: str, most: int
) -> _Sitemap:
    """Read one sitemap. Raises `FetchError` and `SitemapError`."""
    found = await client.get(url, max_bytes=MAX_SITEMAP_BYTES)
    if found.status != 200:
        raise FetchError(f"answers with status {found.status}")

    def parse() -> _Sitemap:
        data = found.body
        if data.startswith(b"\x1f\x8b"):
            data = gunzip(data, MAX_SITEMAP_BYTES)
        read, pages, others = read_sitemap(data), dict[URL, None](), 0
        for text in read.pages:
            page = _on_site(text, found.url, site)
            if page is None:
                others += 1
            elif page.raw_path.startswith(above):
                pages.setdefault(page.with_query(None))
            if len(pages) > most:
                break
        listed = (_on_site(text, found.url, site) for text in read.sitemaps[:_MAX_SITEMAPS])
        return _Sitemap(found.url, pages, [each for each in listed if each], others)

    return await asyncio.to_thread(parse)


def _on_site(text: str, found_in: URL, site: URL) -> URL | None:
    """The address that a sitemap or robots.txt names; None if it is not one of the site."""
    if len(text) > MAX_URL_LENGTH:
        return None
    try:
        url = found_in.join(URL(text)).with_fragment(None)
        return url if is_same_site(url, site) else None
    except ValueError:
        return None
