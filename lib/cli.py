"""The command line: `serve`, `ingest`, `ask`, `eval`, and those of `lib.cli_log`.

Answers and tables go to stdout, everything else to stderr.
"""

import argparse
import asyncio
import itertools
import logging
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from lib import __version__
from lib.answer import stream
from lib.auth import stored_admin_key
from lib.chat import MAX_CHAT_K, ChatRequest, prepare
from lib.citations import Citation
from lib.cli_log import add_log_commands, run_log_command
from lib.errors import QuireError
from lib.evaluation import SHARES, Plan, evaluate, find_valid_links
from lib.evaluation_report import format_json, format_junit, format_text, make_report
from lib.events import Cited, Failed, TextDelta
from lib.golden import BadQuestions, read_questions
from lib.indexing import IngestStatus, compare_links, index_differences
from lib.ingest import IngestRequest, Preview
from lib.logs import configure_logging
from lib.search import check_index
from lib.services import Services, open_services
from lib.settings import Settings, SettingsError, load_settings, unknown_settings
from lib.sites.sitemap import SitemapError
from lib.store import Manifest

_log = logging.getLogger("quire")

_LOG_SECONDS = 10.0
"""Between two progress lines if stderr is not a terminal."""
_SHOWN_LINES = 20


def run(
    arguments: Sequence[str], environ: Mapping[str, str], serve: Callable[[Settings], None]
) -> int:
    """Run one command and return its exit code. `serve` runs the server until it is stopped.

    Exit codes: 0 success, 1 failure, 2 wrong usage or settings, 130 interrupted by Ctrl-C. Wrong
    usage raises `SystemExit`.
    """
    command = _parse_arguments(arguments)
    try:
        settings = load_settings(environ)
    except SettingsError as error:
        return _fail(f"Quire cannot start: {error}", 2)
    configure_logging(settings)
    for message in unknown_settings(environ):
        _log.warning("%s", message)
    try:
        match command.command:
            case "ingest":
                return asyncio.run(_ingest(settings, command))
            case "ask":
                return asyncio.run(_ask(settings, command.question))
            case "eval":
                return asyncio.run(_eval(settings, command))
            case "questions" | "gaps" | "report":
                return asyncio.run(run_log_command(settings, command))
        return _serve(settings, serve)
    except KeyboardInterrupt:
        return _fail("\nInterrupted.", 130)  # 128 + SIGINT, as shells report it


def _parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """`command` names what to run, by default `serve`. Exits with 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog="main.py", description="Ask a book; every claim links to its heading."
    )
    parser.add_argument("--version", action="version", version=f"Quire {__version__}")
    commands = parser.add_subparsers(dest="command")
    parser.set_defaults(command="serve")
    commands.add_parser("serve", help="start the server (default)")
    ingest = commands.add_parser("ingest", help="index the book")
    ingest.add_argument(
        "path",
        nargs="?",
        help="any folder (default: BOOK_CONTENT_PATH), or the address of a site or of its "
        "sitemap.xml",
    )
    ingest.add_argument(
        "--force", action="store_true", help="rebuild everything; publish even a smaller index"
    )
    ingest.add_argument(
        "--dry-run", action="store_true", help="show what would change, without changing it"
    )
    ingest.add_argument(
        "--check-links",
        metavar="SITE",
        help="check all links against a sitemap.xml or a folder of built HTML; exit with 1 if one "
        "is broken",
    )
    ask = commands.add_parser("ask", help="ask the book a question")
    ask.add_argument("question")
    _add_eval(commands.add_parser("eval", help="measure answers to golden questions"))
    add_log_commands(commands)
    return parser.parse_args(arguments)


def _add_eval(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("questions", type=Path, help="one JSON object per line; see lib/golden.py")
    parser.add_argument(
        "--k",
        type=integer_argument(1, MAX_CHAT_K),
        help="passages per answer (default: as POST /chat)",
    )
    parser.add_argument(
        "--concurrency",
        type=integer_argument(1, 64),
        default=4,
        help="concurrent questions (default: %(default)s)",
    )
    parser.add_argument(
        "--no-answers", action="store_true", help="only retrieve passages; costs almost nothing"
    )
    parser.add_argument(
        "--check-links", metavar="SITE", help="check links as `ingest --check-links` does"
    )
    parser.add_argument("--json", type=_output_file, metavar="FILE", help="write a JSON report")
    parser.add_argument("--junit", type=_output_file, metavar="FILE", help="write a JUnit report")
    parser.add_argument(
        "--fail-under",
        type=_threshold,
        action="append",
        default=[],
        metavar="METRIC=SHARE",
        help="exit with 1 if the metric is lower, such as hit@5=0.8; may be repeated",
    )


def integer_argument(low: int, high: int) -> Callable[[str], int]:
    """An argparse type: a whole number from `low` to `high`."""

    def parse(raw: str) -> int:
        if not raw.isdecimal() or not low <= int(raw) <= high:
            raise argparse.ArgumentTypeError(f"{raw!r} is not a whole number from {low} to {high}")
        return int(raw)

    return parse


def _output_file(raw: str) -> Path:
    """Checked before the questions cost anything."""
    if not Path(raw).parent.is_dir() or Path(raw).is_dir():
        raise argparse.ArgumentTypeError(f"{raw} is not a file name in an existing folder")
    return Path(raw)


def _threshold(raw: str) -> tuple[str, float]:
    found = re.fullmatch(r"([a-z]+|hit@([0-9]{1,2}))=([0-9.]+)", raw)
    if not found or not (found[1] in SHARES or 1 <= int(found[2] or 0) <= MAX_CHAT_K):
        names = ", ".join(("hit@1", f"... hit@{MAX_CHAT_K}", *SHARES))
        raise argparse.ArgumentTypeError(f"{raw!r} is not METRIC=SHARE, with METRIC one of {names}")
    try:
        share = float(found[3])
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"the share in {raw!r} is not a number from 0 to 1")
    return found[1], share


def _serve(settings: Settings, serve: Callable[[Settings], None]) -> int:
    settings = _with_admin_key(settings)
    try:
        serve(settings)
    except OSError as error:
        reason = error.strerror or "the system refuses"
        return _fail(
            f"Quire cannot listen on {settings.api_host}:{settings.api_port}: {reason}. "
            "Check API_HOST and API_PORT."
        )
    return 0


def _with_admin_key(settings: Settings) -> Settings:
    """Settings with the stored admin key, if none is configured and one can be stored."""
    if settings.admin_api_key:
        return settings
    file = settings.qdrant_path / "admin.key"
    try:
        settings = replace(settings, admin_api_key=stored_admin_key(file))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        _log.warning("No admin key: %s: %s. Set ADMIN_API_KEY to ingest over HTTP.", file, reason)
        return settings
    configure_logging(settings)  # redacts the key
    _log.info("The admin key is in %s. Enter it at /admin. ADMIN_API_KEY replaces it.", file)
    return settings


async def _ingest(settings: Settings, command: argparse.Namespace) -> int:
    if command.check_links:
        settings = replace(settings, site_check_path=Path(command.check_links))
    request, root = IngestRequest(force_reindex=command.force), None
    if re.match("https?://", command.path or "", re.IGNORECASE):
        request.url = command.path
    elif command.path:
        try:
            root = _folder_named(settings, command.path)
        except FileNotFoundError:
            return _fail(f"There is no folder {command.path}.")
        if root.is_relative_to(settings.book_content_path.resolve()):
            request.content_path, root = str(root), None
    async with open_services(settings) as services:
        try:
            await services.store.open()
            if command.dry_run:
                _print_preview(await services.ingestion.preview(request, root=root))
                return 0
            await services.ingestion.start(request, root=root)
            status = await _follow_ingestion(services)
            if command.check_links and settings.site_build:
                print(compare_links(await services.store.ledger()), file=sys.stderr)
        except QuireError as error:
            return _fail(error)
    if command.check_links and status.progress.links_unresolved:
        return 1
    return 0 if status.status == "completed" else 1


def _folder_named(settings: Settings, wanted: str) -> Path:
    """A folder in the content folder, else any other. Raises `FileNotFoundError`."""
    for path in (settings.book_content_path / wanted, Path(wanted)):
        if path.is_dir():
            return path.resolve()
    raise FileNotFoundError


async def _ask(settings: Settings, question: str) -> int:
    """Print the answer while it is generated, then its sources."""
    settings = replace(settings, text_fragments=False)  # people read these addresses
    async with open_services(settings) as services:
        try:
            await _read_index(services)
            turn = await prepare(services.chat, ChatRequest(question=question))
        except QuireError as error:
            return _fail(error)
        citations: list[Citation] = []
        async with aclosing(stream(services.chat, turn)) as events:
            async for event in events:
                match event:
                    case TextDelta():
                        print(event.content, end="", flush=True)
                    case Cited():
                        citations.append(event.citation)
                    case Failed():
                        return _fail(f"\n{event.error}")
    if citations:
        print("\nSources")
    for citation in citations:
        source = citation.source
        print(f"  [{citation.marker}] {source.title}\n      {source.url or source.file_path}")
    return 0


async def _eval(settings: Settings, command: argparse.Namespace) -> int:
    """Ask golden questions and print the metrics.

    Returns 1 below a threshold or if an answer failed, 2 for invalid questions or an invalid site.
    """
    site = Path(command.check_links) if command.check_links else settings.site_check_path
    try:
        questions = read_questions(
            [command.questions], settings.book_content_path.resolve(), settings.limits
        )
    except BadQuestions as error:
        return _fail(error, 2)
    asked, total = itertools.count(1), len(questions)
    async with open_services(settings) as services:
        k = command.k or services.chat.default_k
        plan = Plan(k, command.concurrency, not command.no_answers)
        try:
            manifest = await _read_index(services)
            known = await find_valid_links(services, site)
            with _Progress("Asking", "questions") as progress:
                outcomes = await evaluate(
                    services, questions, plan, known, lambda: progress.show(next(asked), total)
                )
        except SitemapError as error:
            return _fail(f"Cannot check the links against {site}: {error}.", 2)
        except QuireError as error:
            return _fail(error)
        used = services.embedder.for_index(manifest.embedding_model)
        models = {"embedder": used.model_id if used else "none"}
        if services.chat.model and plan.answers:
            models["model"] = services.chat.model.name
    report = make_report(outcomes, plan, dict(command.fail_under), models)
    print(format_text(report))
    for path, encode in ((command.json, format_json), (command.junit, format_junit)):
        if path:
            path.write_bytes(encode(report))
    return 0 if report.passed else 1


async def _read_index(services: Services) -> Manifest:
    """Return the manifest and report how the index differs from the settings. Changes nothing.

    Raises `QuireError`, also without an index.
    """
    manifest = check_index(await services.store.manifest())
    found = index_differences(manifest, services.settings, services.embedder.model_id)
    if manifest.origin:
        found["the book"] = f"{manifest.origin}, not BOOK_CONTENT_PATH"
    if found:
        listed = ", ".join(f"{name} ({detail})" for name, detail in sorted(found.items()))
        print(
            f"The index differs from the current settings: {listed}. `python main.py ingest` "
            "would change it.",
            file=sys.stderr,
        )
    return manifest


async def _follow_ingestion(services: Services) -> IngestStatus:
    """Show the progress of the running ingestion, and its result."""
    with _Progress("Ingesting", "chunks") as progress_bar:
        while True:
            status = services.ingestion.status(None)
            progress = status.progress
            done, unit = progress.files_processed, "files"
            if 0 < progress.pages_fetched < progress.total_files and not done:
                done, unit = progress.pages_fetched, "pages read from the web"
            progress_bar.show(
                progress.chunks_embedded + progress.chunks_reused,
                progress.chunks_created,
                f"{done}/{progress.total_files} {unit}",
            )
            if status.finished_at:
                break
            await asyncio.sleep(0.1)
    _print_lines(progress.notes)
    _print_lines(progress.errors)
    _print_left_out(progress.left_out)
    _print_lines(progress.links_unresolved)
    print(
        f"{status.status.capitalize()}: {progress.files_processed} files, "
        f"{progress.chunks_created} chunks, {progress.chunks_embedded} embedded, "
        f"{progress.chunks_reused} unchanged.",
        file=sys.stderr,
    )
    return status


def _print_lines(lines: Sequence[str], most: int = _SHOWN_LINES) -> None:
    for line in lines[:most]:
        print(line, file=sys.stderr)
    if len(lines) > most:
        print(f"... and {len(lines) - most} more", file=sys.stderr)


def _print_left_out(lines: Sequence[str]) -> None:
    if lines:
        print("Left out:", *(f"  {line}" for line in lines), sep="\n", file=sys.stderr)


class _Progress:
    """A progress bar on a terminal; elsewhere a log line every `_LOG_SECONDS`."""

    def __init__(self, action: str, unit: str) -> None:
        self._action = action
        self._unit = unit
        self._logged_at = time.monotonic()
        # `disable=None` hides the bar if stderr is not a terminal.
        self._bar = tqdm(desc=action, unit=f" {unit}", total=0, file=sys.stderr, disable=None)

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, done: int, total: int, note: str = "") -> None:
        if not self._bar.disable:
            self._bar.n, self._bar.total = done, total
            self._bar.set_postfix_str(note)
        elif time.monotonic() - self._logged_at >= _LOG_SECONDS:
            self._logged_at = time.monotonic()
            count = f"{done}/{total} {self._unit}" if total else ""
            parts = filter(None, (count, note))
            _log.info("%s: %s", self._action, ", ".join(parts))


def _print_preview(preview: Preview) -> None:
    _print_lines([*preview.notes, *preview.errors], most=sys.maxsize)
    _print_left_out(preview.left_out)
    for mark, paths in (("+", preview.files_changed), ("-", preview.files_removed)):
        for path in paths:
            print(f"{mark} {path}")
    print(
        f"{len(preview.files_changed)} files new or changed, {len(preview.files_removed)} removed, "
        f"{preview.files_unchanged} unchanged. {preview.chunks} chunks in changed files, at most "
        f"about {preview.tokens} tokens to embed."
    )


def _fail(message: object, code: int = 1) -> int:
    print(message, file=sys.stderr)
    return code
