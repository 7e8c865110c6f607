"""Measure whether short sections are found under their own heading.

    python -m benchmarks.labels FOLDER [MORE ...] [--model multilingual|FOLDER] [--most 400]
        [--misses FILE]

Each FOLDER is a book, ingested into a temporary index in this process. Every heading above a body
of 20 to 400 characters, as in tables, FAQs and references, is searched for by its title within its
page, at most `--most` of each book, evenly spread. The columns:

    first     share of the headings that the first passage has in `heading` and `url`
    in five   the same for any of the first five passages
    headings  how many were searched for

Of equal titles on one page, also in another case, each is right if its `section` or `url` tells
its path from those of the others. Brackets contain the 95 % interval. `--misses` writes each
heading that is not first, one JSON object per line.
"""

import argparse
import asyncio
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.book_index import settings_for, temporary_index
from benchmarks.tables import format_estimate, print_table
from lib.cli import integer_argument
from lib.documents import DocumentError, discover, read_document
from lib.evaluation import estimate
from lib.markdown import parse_page
from lib.markdown_page import Heading
from lib.ranking import Passage
from lib.search import search_passages
from lib.sentences import split_markdown
from lib.settings import MULTILINGUAL, Settings, SettingsError
from lib.sites.detection import detect_site
from lib.sites.router import Router, link
from lib.source_markdown import flavour_of

SHORTEST: Final = 20
LONGEST: Final = 400
"""Characters of a body, without markup."""
LOOKED_AT: Final = 5


Place = tuple[str, str | None]
"""The heading of the first level above, and the address."""


class Title(msgspec.Struct, frozen=True):
    """The title of a short section, and the places on its page that lead to one with this title.

    Places that several headings share are left out, unless their whole paths are equal.
    """

    file: str
    text: str
    places: frozenset[Place]

    def is_label(self, passage: Passage) -> bool:
        same = passage.heading.casefold() == self.text.casefold()
        return same and (passage.section, passage.url) in self.places


def short_sections(settings: Settings) -> Iterator[Title]:
    """Yield the titles of the book's short sections."""
    root = settings.book_content_path.resolve()
    site = detect_site(root, site_url=settings.site_url, generator=settings.site_generator)
    paths = discover(root, settings.limits, underscored=site.generator.underscored_pages).paths
    router = Router(site, root, paths)
    for path in paths:
        try:
            text = read_document(root, path, settings.limits).text
        except DocumentError:
            continue
        flavour = flavour_of(site, path)
        page = parse_page(text, flavour)
        address = router.address(path, page, text)
        ends = [*(heading.start for heading in page.headings[1:]), len(text)]
        paths_to = defaultdict[str, defaultdict[Place, set[str]]](lambda: defaultdict(set))
        short = dict[str, str]()
        first = next((each for each in page.headings if each.level == 1), None)
        stack: list[Heading] = []
        for index, (heading, end) in enumerate(zip(page.headings, ends, strict=False)):
            stack = [each for each in stack if each.level < heading.level] + [heading]
            section = next((each.text for each in stack if each is not first), "")
            title = heading.text.casefold()
            place = section, link(address, index)
            paths_to[title][place].add(" > ".join(each.text for each in stack))
            body = split_markdown(text[heading.end : end], flavour)
            if title and SHORTEST <= sum(len(each.text + each.code) for each in body) <= LONGEST:
                short[title] = heading.text
        for title, shown in short.items():
            clear = {place for place, several in paths_to[title].items() if len(several) == 1}
            yield Title(path, shown, frozenset(clear))


async def measure(settings: Settings, most: int) -> list[tuple[Title, int]]:
    """Return each title, and the place of its section among the passages from 0, or `LOOKED_AT`."""
    places = []
    async with temporary_index(settings) as index:
        ledger = await index.store.ledger()
        published = {file for file, record in ledger.items() if record.chunks}
        titles = [each for each in short_sections(settings) if each.file in published]
        for title in titles[:: -(-len(titles) // most)]:
            found = await search_passages(
                index.embedder, index.store, title.text, LOOKED_AT, only={"file_path": title.file}
            )
            right = [place for place, each in enumerate(found.passages) if title.is_label(each)]
            places.append((title, right[0] if right else LOOKED_AT))
    return places


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+", help="books")
    parser.add_argument("--model", default=MULTILINGUAL, help="local embedding model")
    parser.add_argument(
        "--most", type=integer_argument(1, 1_000_000), default=400, help="headings of each book"
    )
    parser.add_argument("--misses", type=Path, help="write the misses (JSON lines)")
    options = parser.parse_args(arguments)
    rows, every = {}, []
    for folder in options.folders:
        try:
            found = asyncio.run(measure(settings_for(folder, options.model), options.most))
        except SettingsError as error:
            sys.exit(str(error))
        every += found
        if found:
            rows[str(folder)] = figures([place for _, place in found])
    rows["all"] = figures([place for _, place in every])
    print_table("book", ("first", "in five", "headings"), rows)
    if options.misses:
        lines = msgspec.json.Encoder().encode_lines([title for title, place in every if place])
        options.misses.write_bytes(lines)


def figures(places: Sequence[int]) -> list[str]:
    shares = [[float(place < most) for place in places] for most in (1, LOOKED_AT)]
    return [*(format_estimate(estimate(each)) for each in shares), str(len(places))]


if __name__ == "__main__":
    main()
