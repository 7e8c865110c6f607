"""The command line beside the server: `ingest`, `ask` and `eval`.

Answers and tables go to stdout, everything else to stderr.
"""

import argparse
import asyncio
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from lib.answer import stream
from lib.chat import DEFAULT_K, ChatRequest, prepare
from lib.citations import Citation
from lib.errors import QuireError
from lib.evaluation import SHARES, Plan, evaluate, known_links
from lib.evaluation_report import as_json, as_junit, as_text, report_on
from lib.events import Cited, Failed, TextDelta
from lib.golden import BadQuestions, read_questions
from lib.indexing import IngestStatus
from lib.ingest import IngestRequest, Preview
from lib.services import Services, ingest_if_needed, open_services
from lib.settings import Settings
from lib.sites.link_check import SitemapError

POLL_SECONDS = 0.1
SHOWN_LINES = 20
MAX_K = 20
"""The most passages that an answer may have (`lib.chat.ChatRequest`)."""


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """`command` is `serve`, `ingest`, `ask` or `eval`. Exits with 2 for wrong usage."""
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
    add_eval(commands.add_parser("eval", help="ask golden questions and measure the answers"))
    return parser.parse_args(arguments)


def add_eval(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("questions", type=Path, help="a JSON object a line; see lib/golden.py")
    parser.add_argument(
        "--k",
        type=whole_number(1, MAX_K),
        default=DEFAULT_K,
        help="passages of an answer, among which its place has to be (default: %(default)s)",
    )
    parser.add_argument(
        "--concurrency",
        type=whole_number(1, 64),
        default=4,
        help="questions at once (default: %(default)s)",
    )
    parser.add_argument(
        "--no-answers", action="store_true", help="only look for passages; costs next to nothing"
    )
    parser.add_argument(
        "--check-links", metavar="SITE", help="check links as `ingest --check-links` does"
    )
    parser.add_argument("--json", type=new_file, metavar="FILE", help="write everything there")
    parser.add_argument("--junit", type=new_file, metavar="FILE", help="write JUnit XML there")
    parser.add_argument(
        "--fail-under",
        type=threshold,
        action="append",
        default=[],
        metavar="METRIC=SHARE",
        help="exit with 1 if it is less, such as hit@5=0.8; may be given several times",
    )


def whole_number(low: int, high: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        if not raw.isdecimal() or not low <= int(raw) <= high:
            raise argparse.ArgumentTypeError(f"{raw!r} is no whole number from {low} to {high}")
        return int(raw)

    return parse


def new_file(raw: str) -> Path:
    """Looked at before the questions are paid for."""
    if not Path(raw).parent.is_dir() or Path(raw).is_dir():
        raise argparse.ArgumentTypeError(f"{raw} cannot be written: no such folder, or it is one")
    return Path(raw)


def threshold(raw: str) -> tuple[str, float]:
    found = re.fullmatch(r"([a-z]+|hit@([0-9]{1,2}))=([0-9.]+)", raw)
    if not found or not (found[1] in SHARES or 1 <= int(found[2] or 0) <= MAX_K):
        names = ", ".join(("hit@1", f"... hit@{MAX_K}", *SHARES))
        raise argparse.ArgumentTypeError(f"{raw!r} is not METRIC=SHARE with one of {names}")
    try:
        least = float(found[3])
    except ValueError:
        least = -1.0
    if not 0 <= least <= 1:
        raise argparse.ArgumentTypeError(f"{raw!r} does not name a share from 0 to 1")
    return found[1], least


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
    settings = replace(settings, text_fragments=False)  # a person reads the addresses here
    async with open_services(settings) as services:
        try:
            if not await has_index(services):
                return 1
            turn = await prepare(services.chat, ChatRequest(question=question))
        except QuireError as error:
            return complain(error)
        citations: list[Citation] = []
        async with aclosing(stream(services.chat, turn)) as events:
            async for event in events:
                match event:
                    case TextDelta():
                        print(event.content, end="", flush=True)
                    case Cited():
                        citations.append(event.citation)
                    case Failed():
                        print(f"\n{event.error}", file=sys.stderr)
                        return 1
    print_sources(citations, sys.stdout)
    return 0


async def run_eval(settings: Settings, command: argparse.Namespace) -> int:
    """Ask golden questions and print what was measured. 1 below a threshold, or for an answer
    that broke off; 2 for what cannot be asked."""
    plan = Plan(command.k, command.concurrency, not command.no_answers)
    site = Path(command.check_links) if command.check_links else settings.site_check_path
    try:
        questions = read_questions(
            [command.questions], settings.book_content_path.resolve(), settings.limits
        )
    except BadQuestions as error:
        print(error, file=sys.stderr)
        return 2
    async with open_services(settings) as services:
        try:
            if not await has_index(services):
                return 1
            known = await known_links(services, site)
            with tqdm(total=len(questions), unit=" questions", file=sys.stderr) as bar:
                outcomes = await evaluate(services, questions, plan, known, bar.update)
        except SitemapError as error:
            print(f"The links cannot be checked against {site}: {error}.", file=sys.stderr)
            return 2
        except QuireError as error:
            return complain(error)
        models = {"embedder": services.embedder.model_id}
        if services.chat.model and plan.answers:
            models["model"] = services.chat.model.name
    report = report_on(outcomes, plan, dict(command.fail_under), models)
    print(as_text(report))
    for path, form in ((command.json, as_json), (command.junit, as_junit)):
        if path:
            path.write_bytes(form(report))
    return 0 if report.passed else 1


async def has_index(services: Services) -> bool:
    """Open the store, and ingest the book where that is needed; whether there is an index now.

    Raises `QuireError`.
    """
    await services.store.open()
    if not await ingest_if_needed(services):
        return True
    return (await watch(services, sys.stderr)).status == "completed"


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
