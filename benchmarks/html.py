"""Measure the reading of built HTML.

    python -m benchmarks.html FOLDER [--most 1000]

Of all `.html` files below FOLDER, at most `--most` evenly spread, each step is timed by the
processor: the parser alone (lexbor), the search for the content, its Markdown, and the chunks of
that. The last column is the time as a multiple of the parser's.
"""

import argparse
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks.tables import print_table
from lib.chunking import chunk_page
from lib.cli import integer_argument
from lib.documents import Document
from lib.html_content import find_content
from lib.html_markdown import FLAVOUR, to_markdown
from lib.html_tree import parse_html
from lib.markdown import parse_page
from lib.tokens import estimate_tokens

STEPS: Final = ("parser", "content", "Markdown", "chunks")
URL: Final = "https://book.example/"
BUDGET: Final = 512
"""Tokens of a chunk."""


def read(data: bytes, path: str) -> Iterator[int]:
    """Read a page; yield after each step. The last yields the number of chunks."""
    tree = parse_html(data)
    yield 0
    content = find_content(tree, URL).element
    yield 0
    markdown = to_markdown(content, URL).markdown if content else ""
    yield 0
    page = parse_page(markdown, FLAVOUR)
    document = Document(path, markdown, "")
    yield len(chunk_page(document, page, budget=BUDGET, count_tokens=estimate_tokens))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="built site")
    parser.add_argument("--most", type=integer_argument(1, 1_000_000), default=1_000, help="pages")
    options = parser.parse_args(arguments)
    paths = sorted(options.folder.rglob("*.html"))
    paths = paths[:: -(-len(paths) // options.most) or 1]
    if not paths:
        sys.exit(f"{options.folder} contains no .html files")
    seconds = dict.fromkeys(STEPS, 0.0)
    chunks = size = 0
    for path in paths:
        data = path.read_bytes()
        size += len(data)
        before = time.process_time()
        for step, found in zip(STEPS, read(data, path.name), strict=True):
            now = time.process_time()
            seconds[step] += now - before
            before = now
            chunks += found
    alone = seconds["parser"]
    rows = {
        step: [f"{len(paths) / spent:,.0f}", f"{spent / alone:.1f}"]
        for step, spent in (*seconds.items(), ("all", sum(seconds.values())))
    }
    title = f"{len(paths):,} pages, {size / 1e6:,.1f} MB, {chunks:,} chunks"
    print_table(title, ("pages per second", "times the parser"), rows)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"Peak memory: {kilobytes / 1e3:,.0f} MB")


if __name__ == "__main__":
    main()
