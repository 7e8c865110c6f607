"""The command line beside the server: `ingest` and `ask`.

Answers go to stdout, everything else to stderr.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from lib.chat import ChatRequest, Chunk, Cited, Failed, prepare, stream
from lib.citations import Citation
from lib.errors import QuireError
from lib.ingest import IngestRequest, IngestStatus, Preview
from lib.services import Services, ingest_if_needed, open_services
from lib.settings import Settings

POLL_SECONDS = 0.1
SHOWN_LINES = 20


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """`command` is `serve`, `ingest` or `ask`. Exits with 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog="main.py", description="Ask a book; every claim links to its heading."
    )
    commands = parser.add_subparsers(dest="command")
    parser.set_defaults(command="serve")
    commands.add_parser("serve", help="serve (the same as no command)")
    ingest = commands.add_parser("ingest", help="index the book")
    ingest.add_argument("path", nargs="?", help="a folder inside BOOK_CONTENT_PATH; default: it")
    ingest.add_argument(
        "--force", action="store_true", help="build all anew, and publish even a smaller index"
    )
    ingest.add_argument(
        "--dry-run", action="store_true", help="say what would change and be embedded; do nothing"
    )
    ingest.add_argument(
        "--check-links",
        metavar="SITE",
        help="check every address against a sitemap.xml or a folder of built HTML; "
        "the exit code is 1 if one leads nowhere",
    )
    ask = commands.add_parser("ask", help="ask the book a question")
    ask.add_argument("question")
    return parser.parse_args(arguments)


async def run_ingest(settings: Settings, command: argparse.Namespace) -> int:
    """Ingest with a progress bar. 0 when all is well, else 1."""
    if command.check_links:
        settings = replace(settings, site_check_path=Path(command.check_links))
    request = IngestRequest(content_path=command.path, force_reindex=command.force)
    async with open_services(settings) as services:
        try:
            await services.store.open()
            if command.dry_run:
                print_preview(await services.ingestion.preview(request), sys.stdout)
                return 0
            await services.ingestion.start(request)
            status = await watch(services, sys.stderr)
        except QuireError as error:
            return complain(error)
    if command.check_links and status.progress.links_unresolved:
        return 1
    return 0 if status.status == "completed" else 1


async def run_ask(settings: Settings, question: str) -> int:
    """Print the answer as it is written, then its sources. 0 for a complete answer, else 1."""
    async with open_services(settings) as services:
        try:
            await services.store.open()
            if await ingest_if_needed(services):
                status = await watch(services, sys.stderr)
                if status.status != "completed":
                    return 1
            turn = await prepare(services, ChatRequest(question=question))
        except QuireError as error:
            return complain(error)
        citations: list[Citation] = []
        async with aclosing(stream(services, turn)) as events:
            async for event in events:
                match event:
                    case Chunk():
                        print(event.content, end="", flush=True)
                    case Cited():
                        citations.append(event.citation)
                    case Failed():
                        print(f"\n{event.error}", file=sys.stderr)
                        return 1
    print_sources(citations, sys.stdout)
    return 0


async def watch(services: Services, out: TextIO) -> IngestStatus:
    """Wait for the end of the ingestion that runs, under a progress bar, and tell how it went."""
    with tqdm(total=0, unit=" chunks", desc="Ingesting", file=out) as bar:
        while True:
            status = services.ingestion.status(None)
            progress = status.progress
            bar.total = progress.chunks_created
            bar.n = progress.chunks_embedded + progress.chunks_reused
            bar.set_postfix_str(f"{progress.files_processed}/{progress.total_files} files")
            if status.finished_at:
                break
            await asyncio.sleep(POLL_SECONDS)
    for lines in (progress.errors, progress.links_unresolved):
        for line in lines[:SHOWN_LINES]:
            print(line, file=out)
        if len(lines) > SHOWN_LINES:
            print(f"... and {len(lines) - SHOWN_LINES} more", file=out)
    print(
        f"{status.status.capitalize()}: {progress.files_processed} files, "
        f"{progress.chunks_created} chunks, {progress.chunks_embedded} embedded, "
        f"{progress.chunks_reused} unchanged.",
        file=out,
    )
    return status


def print_preview(preview: Preview, out: TextIO) -> None:
    for line in preview.errors:
        print(line, file=sys.stderr)
    for mark, paths in (("+", preview.files_changed), ("-", preview.files_removed)):
        for path in paths:
            print(f"{mark} {path}", file=out)
    print(
        f"{len(preview.files_changed)} files new or changed, {len(preview.files_removed)} gone, "
        f"{preview.files_unchanged} unchanged. {preview.chunks} chunks to look at, about "
        f"{preview.tokens} tokens to embed at the most.",
        file=out,
    )


def print_sources(citations: Sequence[Citation], out: TextIO) -> None:
    if citations:
        print("\nSources", file=out)
    for citation in citations:
        source = citation.source
        parts = dict.fromkeys(filter(None, (source.chapter, source.section, source.heading)))
        where = " > ".join(parts) or source.file_path
        print(f"  [{citation.marker}] {where}\n      {source.url or source.file_path}", file=out)


def complain(error: QuireError) -> int:
    print(error.message, file=sys.stderr)
    return 1
