"""Measure search while a reader types.

    python -m benchmarks.typing FOLDER [--model multilingual|FOLDER] [--most 300]

FOLDER is ingested into a temporary index in this process. Of every heading, at most `--most` evenly
spread, the first words, up to three, are typed: each letter is one search. The rows:

    3 letters, 4 letters  share of the headings whose page is among the first six passages after so
                          many letters of the last word
    whole                 the same after the last word
    milliseconds          of one search; every query is new. Other work on the machine changes those
                          of the processor less

Brackets contain the 95 % interval.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks.book_index import Index, settings_for, temporary_index
from benchmarks.tables import format_estimate, print_table
from lib.cli import integer_argument
from lib.completion import BookWords
from lib.evaluation import estimate
from lib.evaluation_report import percentiles
from lib.languages import split_words
from lib.search import search_while_typing
from lib.settings import MULTILINGUAL, Settings, SettingsError

WORDS: Final = 3
SHOWN: Final = 6
LETTERS: Final = (3, 4)
SHARES: Final = (*(f"{letters} letters" for letters in LETTERS), "whole")
WALL: Final = "milliseconds"
CPU: Final = "milliseconds of the processor"
COLUMNS: Final = (*SHARES, WALL, CPU)


async def headings_of(index: Index) -> dict[str, set[str]]:
    """The first words of the headings, each with the files that have such a heading."""
    found: dict[str, set[str]] = {}
    async for batch in index.store.payloads(["file_path", "sections"]):
        for payload in batch:
            for section in payload["sections"]:
                words = " ".join(split_words(section["heading"])[:WORDS])
                if words:
                    found.setdefault(words, set()).add(payload["file_path"])
    return dict(sorted(found.items()))


def keystrokes(heading: str) -> Iterator[tuple[str, str]]:
    """Yield what a search box holds after each letter, from the second, and the share of it.

    Headings with a short last word belong to no share.
    """
    last = len(heading.rpartition(" ")[2])
    for end in range(2, len(heading) + 1):
        letters = last + end - len(heading)
        share = f"{letters} letters" if letters in LETTERS else ""
        if end == len(heading):
            share = "whole"
        if heading[end - 1] != " ":
            yield heading[:end], share if last > max(LETTERS) else ""


async def measure(settings: Settings, most: int) -> dict[str, list[float]]:
    """Return hits by column, and the times of all searches in milliseconds."""
    async with temporary_index(settings) as index:
        words = BookWords(index.store)
        await words.complete("ab", index.manifest)
        hits: dict[str, list[float]] = {name: [] for name in COLUMNS}
        headings = await headings_of(index)
        for heading, files in list(headings.items())[:: -(-len(headings) // most)]:
            for typed, column in keystrokes(heading):
                clocks = time.perf_counter(), time.process_time()
                found = await search_while_typing(words, index.store, typed, SHOWN)
                hits[WALL].append(1e3 * (time.perf_counter() - clocks[0]))
                hits[CPU].append(1e3 * (time.process_time() - clocks[1]))
                if column:
                    hits[column].append(float(any(each.file_path in files for each in found)))
        await words.close()
        return hits


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="book")
    parser.add_argument("--model", default=MULTILINGUAL, help="local embedding model")
    parser.add_argument("--most", type=integer_argument(1, 1_000_000), default=300, help="headings")
    options = parser.parse_args(arguments)
    try:
        hits = asyncio.run(measure(settings_for(options.folder, options.model), options.most))
    except SettingsError as error:
        sys.exit(str(error))
    rows = {name: [format_estimate(estimate(hits[name]))] for name in SHARES}
    print_table(f"{len(hits[SHARES[-1]])} headings", ("found",), rows)
    times = {name: [f"{value:.1f}" for value in percentiles(hits[name])] for name in (WALL, CPU)}
    print_table(f"{len(hits[WALL])} searches", ("p50", "p95"), times)


if __name__ == "__main__":
    main()
