"""Pages of the book by their citations, and headings that no answer cites."""

import sqlite3
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from typing import Annotated, Final, NamedTuple

import msgspec

from lib.contents import NOT_READ, Contents, Heading, Page, PublishedContents
from lib.errors import IndexNotReady
from lib.question_list import Period
from lib.question_log import LogReader
from lib.ranking import join_headings
from lib.runtime import run_cooperatively
from lib.search import check_index
from lib.store import Store

_CONTENTS_SECONDS: Final = 10.0


class PagesQuery(Period, kw_only=True):
    """Selects a period, and the length of each list."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 20


class PageUse(msgspec.Struct, frozen=True, kw_only=True):
    """A page and its citations."""

    file_path: str
    title: str
    url: Annotated[
        str | None, msgspec.Meta(description="null if unknown, or if the book has no such page.")
    ]
    citations: int
    questions: Annotated[int, msgspec.Meta(description="Questions whose answer cites it.")]


class UncitedHeading(msgspec.Struct, frozen=True, kw_only=True):
    """A heading that no answer cites."""

    file_path: str
    page: str
    heading: str
    url: str | None


class UncitedHeadings(msgspec.Struct, frozen=True, kw_only=True):
    """The first headings in reading order that no answer cites."""

    total: int
    headings: list[UncitedHeading]


class PagesUse(msgspec.Struct, frozen=True, kw_only=True):
    """Pages by their citations in a period.

    `least` and `never` cover the book's default language and version only.
    """

    most: list[PageUse]
    least: list[PageUse]
    never: UncitedHeadings


class _Place(NamedTuple):
    """What answers cite."""

    heading: str
    url: str


class _Cited(NamedTuple):
    """Citations of a file."""

    citations: int = 0
    questions: int = 0
    places: Sequence[_Place] = ()


_UNCITED: Final = _Cited()


async def count_page_use(
    log: LogReader, store: Store, contents: PublishedContents, wanted: PagesQuery
) -> PagesUse:
    """Count the citations of a period by page.

    Raises `InvalidRequest`, `StoreUnavailable`, and `IndexNotReady` until the contents are read.
    """
    start, end = wanted.bounds()
    check_index(await store.manifest())
    pages = await contents.get(_CONTENTS_SECONDS)
    if pages is None:
        raise IndexNotReady(NOT_READ)
    cited = await log.read(lambda connection: _read_cited(connection, start, end))
    return await run_cooperatively(_compare(pages, cited, wanted.limit))


def _read_cited(connection: sqlite3.Connection, *period: int) -> dict[str, _Cited]:
    """The cited files of a period."""
    places: defaultdict[str, list[_Place]] = defaultdict(list)
    for each in connection.execute(_PLACES, period):
        places[each["file_path"]].append(_Place(each["heading"], each["url"]))
    return {
        each["file_path"]: _Cited(each["citations"], each["questions"], places[each["file_path"]])
        for each in connection.execute(_FILES, period)
    }


# Without the plus, SQLite tries every question of the period for a place that none cites.
_PLACES: Final = """
SELECT file_path, heading, url FROM places WHERE EXISTS (
    SELECT 1 FROM passages WHERE place_id = places.id AND cited = 1
    AND +question_id IN (SELECT id FROM questions WHERE asked_at >= ? AND asked_at < ?)
)
"""
# Without CROSS JOIN, SQLite looks up each passage's question instead of reading both in order.
_FILES: Final = """
SELECT file_path, count(*) AS citations, count(DISTINCT question_id) AS questions
FROM questions CROSS JOIN passages ON question_id = questions.id
    JOIN places ON places.id = place_id
WHERE cited AND asked_at >= ? AND asked_at < ? GROUP BY file_path
"""


def _compare(
    contents: Contents, cited: Mapping[str, _Cited], limit: int
) -> Generator[None, None, PagesUse]:
    most = sorted(cited, key=lambda path: (-cited[path].citations, path))[:limit]
    yield
    pages = [*contents.pages]
    # Stable: pages with equal counts stay in reading order.
    pages.sort(key=lambda page: cited.get(page.file_path, _UNCITED).citations)
    yield
    total, headings = 0, list[UncitedHeading]()
    for page in contents.pages:
        uncited = _uncited(page, cited.get(page.file_path, _UNCITED).places)
        total += len(uncited)
        headings += uncited[: limit - len(headings)]
        yield
    return PagesUse(
        most=[_use(path, contents.by_path.get(path), cited) for path in most],
        least=[_use(page.file_path, page, cited) for page in pages[:limit]],
        never=UncitedHeadings(total=total, headings=headings),
    )


def _use(path: str, page: Page | None, cited: Mapping[str, _Cited]) -> PageUse:
    found = cited.get(path, _UNCITED)
    old_title = found.places[0].heading.partition(" > ")[0] if found.places else ""
    return PageUse(
        file_path=path,
        title=page.title if page else old_title,
        url=page.url if page else None,
        citations=found.citations,
        questions=found.questions,
    )


def _uncited(page: Page, places: Sequence[_Place]) -> list[UncitedHeading]:
    """The headings of a page that no answer cites, in order.

    One above a cited heading counts as cited: it may have no text of its own.
    """
    own = {_address(each.url) for each in page.flat}
    urls = {_address(place.url) for place in places} & own
    # Compare headings where the page no longer has the anchor.
    paths = {place.heading for place in places if _address(place.url) not in own}

    def is_cited(heading: Heading, *above: str) -> bool:
        address = _address(heading.url)
        return (address in urls and "#" in address) or (
            join_headings(page.title, *above, heading.text) in paths
        )

    found: list[UncitedHeading] = []
    for top in page.headings:
        below = [each for each in top.headings if not is_cited(each, top.text)]
        if len(below) == len(top.headings) and not is_cited(top):
            found.append(_describe(page, top))
        found += [_describe(page, each, top.text) for each in below]
    return found


def _describe(page: Page, heading: Heading, above: str = "") -> UncitedHeading:
    return UncitedHeading(
        file_path=page.file_path,
        page=page.title,
        heading=join_headings(above, heading.text),
        url=heading.url,
    )


def _address(url: str | None) -> str:
    """An address without its text fragment."""
    return (url or "").partition(":~:")[0].rstrip("#")
