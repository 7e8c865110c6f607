"""Commands that read the question log: `questions`, `gaps` and `report`.

They work without an index and while the server runs, and delete nothing from the log.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, get_args

import msgspec

from lib.api import decode_query
from lib.errors import InvalidRequest, QuireError
from lib.gaps import Gap
from lib.question_export import write_csv
from lib.question_list import QuestionRow, QuestionsQuery, list_questions, parse_time
from lib.question_log import FILE_NAME, NO_LOG, LogReader, Outcome
from lib.report import UNSAFE, ReportQuery, describe_gap, describe_ungrouped, write_report
from lib.services import open_services
from lib.settings import Settings

_PAGE: Final = 5_000
"""Questions that are read at a time."""
_DAYS: Final = 36_500
_MAX_MB: Final = 2**40
"""Limits that expire nothing, because the log is only read."""
_AGE: Final = "an age such as 24h or 7d, or a date such as 2026-11-30"


def add_log_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    questions = commands.add_parser("questions", help="list what readers asked, newest first")
    questions.add_argument("--since", default="30d", help=f"{_AGE} (default: %(default)s)")
    questions.add_argument("--until", default="", help="as --since; a date includes its day")
    questions.add_argument("--unanswered", action="store_true", help="refused, declined or failed")
    questions.add_argument("--outcome", choices=get_args(Outcome))
    questions.add_argument("--vote", choices=("up", "down"))
    questions.add_argument("--language", default="", help="such as german")
    questions.add_argument("--search", default="", metavar="WORDS", help="in question or note")
    questions.add_argument("--limit", type=int, default=50, help="default: %(default)s")
    form = questions.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object per line")
    form.add_argument("--csv", action="store_true", help="a table for a spreadsheet")
    gaps = commands.add_parser("gaps", help="list what to write next, most needed first")
    gaps.add_argument("--since", default="30d", help=f"{_AGE} (default: %(default)s)")
    gaps.add_argument("--limit", type=int, default=20, help="default: %(default)s")
    gaps.add_argument("--json", action="store_true", help="as GET /admin/gaps")
    report = commands.add_parser("report", help="summarise a period as Markdown")
    report.add_argument("--since", default="7d", help=f"{_AGE} (default: %(default)s)")
    report.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")


async def run_log_command(settings: Settings, command: argparse.Namespace) -> int:
    """Run a command of `add_log_commands`. Returns 1 without a log, 2 for wrong options."""
    if "limit" in command and command.limit < 1:
        return _fail("--limit must be 1 or more.", 2)
    path = settings.qdrant_path / FILE_NAME
    try:
        path.stat()
    except FileNotFoundError:
        return _fail(f"{NO_LOG}\nLooked for {path}.")
    except OSError as error:
        return _fail(f"Cannot read {path}: {error.strerror}.")
    if not settings.question_log:
        print(
            "QUESTION_LOG is off here. If it is off for the server too, this log is outdated.",
            file=sys.stderr,
        )
    settings = replace(settings, question_log=_DAYS, max_log_mb=_MAX_MB)
    try:
        match command.command:
            case "questions":
                text = await _questions(LogReader(path), command)
            case "gaps":
                text = await _gaps(settings, command)
            case _:
                text = await _report(settings, command)
    except InvalidRequest as error:
        return _fail(error, 2)
    except QuireError as error:
        return _fail(error)
    if command.command == "report" and command.output:
        try:
            command.output.write_text(text, encoding="utf-8")
        except OSError as error:
            return _fail(f"Cannot write {command.output}: {error.strerror}.")
        return 0
    _print(text)
    return 0


async def _questions(log: LogReader, command: argparse.Namespace) -> str:
    names = ("since", "until", "outcome", "vote", "language")
    chosen = {name: getattr(command, name) for name in names}
    chosen |= {"q": command.search}
    # An argument that is not UTF-8 has lone surrogates.
    given = {
        name: value.encode(errors="replace").decode() for name, value in chosen.items() if value
    }
    wanted = decode_query(given, QuestionsQuery)
    wanted.unanswered = command.unanswered
    wanted.limit = min(command.limit, _PAGE)
    rows: list[QuestionRow] = []
    while True:
        page = await list_questions(log, wanted)
        rows += page.questions
        if page.next is None or len(rows) >= command.limit:
            break
        wanted.before = page.next
    rows = rows[: command.limit]
    if command.json:
        return "".join(f"{_as_json(row)}\n" for row in rows)
    if command.csv:
        lines = write_csv(map(_in_one_line, rows)).decode().split("\r\n")
        return "\r\n".join(map(_printable, lines))
    listed = "\n".join(line for row in rows for line in _describe(row))
    return f"{listed}\n\n{len(rows)} of {page.total} questions.\n" if rows else "No questions.\n"


def _in_one_line(row: QuestionRow) -> QuestionRow:
    note = row.note and _shown(row.note)
    return msgspec.structs.replace(row, question=_shown(row.question), note=note)


def _describe(row: QuestionRow) -> Iterator[str]:
    voted = f"voted {row.vote}" + (f": {row.reason}" if row.reason else "") if row.vote else ""
    facts = (f"{row.asked_at:%Y-%m-%d %H:%M}", row.outcome, row.language, row.interface, voted)
    yield "  ".join(filter(None, facts))
    yield f"    {_shown(row.question)}"
    if row.note:
        yield f"    Note: {_shown(row.note)}"


async def _gaps(settings: Settings, command: argparse.Namespace) -> str:
    since = parse_time(command.since, "since")
    async with open_services(settings) as services:
        assert services.gaps
        found = await services.gaps.find(since=since, limit=command.limit)
    if command.json:
        return f"{_as_json(found)}\n"
    lines = [line for number, gap in enumerate(found.gaps, 1) for line in _list_gap(number, gap)]
    if found.ungrouped:
        lines.append(describe_ungrouped(found))
    return "\n".join(lines or ["No gaps in this period."]) + "\n"


def _list_gap(number: int, gap: Gap) -> Iterator[str]:
    yield f"{number:2}. {_shown(gap.question)}"
    yield from (f"    {line}" for line in describe_gap(gap))
    if near := gap.nearest:
        yield f"    Nearest: {_shown(near.heading or near.file_path)}  {_shown(near.url or '')}"
    yield from (f"    Also: {_shown(each)}" for each in gap.examples)


async def _report(settings: Settings, command: argparse.Namespace) -> str:
    async with open_services(settings) as services:
        assert services.question_log
        assert services.gaps
        wanted = ReportQuery(since=command.since)
        return await write_report(services.question_log, services.gaps, wanted)


def _as_json(value: object) -> str:
    return _printable(msgspec.json.encode(value).decode())


def _shown(text: str) -> str:
    """One line for a terminal."""
    return _printable(" ".join(text.split()))


def _printable(text: str) -> str:
    """Escape control characters and changes of direction as in JSON, such as `\\u001b`.

    A terminal would execute them.
    """
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _print(text: str) -> None:
    encoding = sys.stdout.encoding
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), end="", flush=True)
    except BrokenPipeError:  # as with `| head`; nothing is left to write at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: object, code: int = 1) -> int:
    print(message, file=sys.stderr)
    return code
