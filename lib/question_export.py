"""Export the question log as CSV, JSON Lines and golden questions."""

import asyncio
import codecs
import csv
import io
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, Literal

import msgspec
import regex

from lib.book_pages import read_source
from lib.errors import Conflict, QuireError
from lib.golden import write_question
from lib.question_list import (
    MAX_ID,
    QuestionFilter,
    QuestionRow,
    decode_row,
    find_question,
    newest,
    newest_as_json,
    sql_condition,
)
from lib.question_log import LoggedPassage, LogReader
from lib.search import check_index
from lib.sessions import MAX_EXCHANGES
from lib.settings import Settings
from lib.store import Store

_BATCH: Final = 500
_FIELDS: Final = QuestionRow.__struct_fields__
_ASKED_AT: Final = _FIELDS.index("asked_at")
_PASSAGES: Final = _FIELDS.index("passages")
_COLUMNS: Final = [name for name in _FIELDS if name != "passages"] + ["cited", "nearest"]
_JOINT: Final = "; "

_SIGNS: Final = "=+\\-@＝＋－＠﹦﹢﹣﹫⁼⁺⁻₌₊₋−"
_SEPARATORS: Final = ",;|\t\r\n"
_SKIPPED: Final = rf"\s\p{{Z}}\p{{C}}\p{{M}}\p{{Pi}}\p{{Pf}}\"'`{_SEPARATORS}"
"""What a spreadsheet may ignore at the beginning of a cell, and separators."""
_CELL_START: Final = "\0"
_SUSPECT: Final = regex.compile(rf"(?<![^{_SKIPPED}])[{_SIGNS}]|(?<={_CELL_START})[\t\r\n]")
_BEFORE_SIGN: Final = regex.compile(rf"([{_SKIPPED}]++)([{_SIGNS}])?")


class ExportQuery(QuestionFilter, kw_only=True):
    """Filter and format of an export."""

    format: Literal["csv", "jsonl"] = "csv"


async def export_questions(log: LogReader, wanted: ExportQuery) -> AsyncIterator[bytes]:
    """Export the filtered questions in pieces, newest first.

    Each piece is read by itself, so a slow client keeps nothing open. Questions that are added
    meanwhile are not part of it. The first piece is read here. Raises `InvalidRequest`.
    """
    where, values = sql_condition(wanted)
    write = _write_rows if wanted.format == "csv" else _write_json

    def read(before: int, connection: sqlite3.Connection) -> tuple[bytes, int]:
        """A piece, and the `before` of the next one; 0 at the end."""
        found = newest_as_json(connection, where, values, before, _BATCH)
        return write(found), decode_row(found[-1]).id if len(found) == _BATCH else 0

    head = write_csv(()) if wanted.format == "csv" else b""
    first, before = await log.read(partial(read, MAX_ID))

    async def pieces(piece: bytes, before: int) -> AsyncIterator[bytes]:
        yield piece
        while before:
            began = time.perf_counter()
            piece, before = await log.read(partial(read, before))
            reading = time.perf_counter() - began
            yield piece
            await asyncio.sleep(reading)  # half of the processor is for the answers

    return pieces(head + first, before)


def _write_json(found: Iterable[str]) -> bytes:
    return "".join(f"{each}\n" for each in found).encode()


def write_csv(found: Iterable[QuestionRow]) -> bytes:
    """A complete table with its header, after the mark that spreadsheets need to read UTF-8."""
    return codecs.BOM_UTF8 + _csv_lines([_COLUMNS, *map(_cells, found)])


def _write_rows(found: Iterable[str]) -> bytes:
    return _csv_lines(_cells(decode_row(each)) for each in found)


def _csv_lines(rows: Iterable[Sequence[object]]) -> bytes:
    """Rows of RFC 4180."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerows(rows)
    return written.getvalue().encode()


def _cells(row: QuestionRow) -> list[object]:
    values: list[object] = [*msgspec.structs.astuple(row)]
    values[_ASKED_AT] = row.asked_at.isoformat().replace("+00:00", "Z")
    del values[_PASSAGES]
    values.append(_addresses(each for each in row.passages if each.cited))
    values.append(_addresses(each for each in row.passages if not each.cited))
    # One search for all cells: most rows have no formula.
    texts = [each for each in values if isinstance(each, str)]
    if _SUSPECT.search(_CELL_START + _CELL_START.join(texts)):
        return [_harmless(each) if isinstance(each, str) else each for each in values]
    return values


def _addresses(passages: Iterable[LoggedPassage]) -> str:
    return _JOINT.join(dict.fromkeys(each.url or each.file_path for each in passages))


def _harmless(text: str) -> str:
    """Put an apostrophe before text that a spreadsheet could read as a formula.

    A cell with a separator is several cells for a spreadsheet that expects this one, so formulas
    are looked for behind each. https://owasp.org/www-community/attacks/CSV_Injection
    """
    if text[:1] in ("\t", "\r", "\n"):
        text = f"'{text}"
    if not (suspect := _SUSPECT.search(text)):
        return text
    guarded = _BEFORE_SIGN.sub(_guard, text)
    return f"'{guarded}" if suspect.start() == 0 else guarded


def _guard(found: "regex.Match[str]") -> str:
    before, sign = found.groups()
    if sign and (found.start() == 0 or any(each in before for each in _SEPARATORS)):
        return f"{before}'{sign}"
    return found[0]


async def golden_line(log: LogReader, settings: Settings, store: Store, question: int) -> bytes:
    """A line of golden questions (`lib.golden`), from the first place that the answer cites.

    Raises `NotFound`, and `Conflict` if it is unknown what answers the question.
    """
    row = await find_question(log, question)
    cited = next((each for each in row.passages if each.cited), None)
    if cited is None and row.outcome not in ("refused", "declined"):
        raise Conflict(
            "The answer cites no place, so it is unknown what answers this question. "
            "Write its line by hand."
        )
    history = [] if row.stands_alone else await log.read(lambda each: _earlier(each, row))
    text = ""
    if cited:
        with suppress(QuireError):  # without its text, the whole file answers
            manifest = check_index(await store.manifest())
            text = await asyncio.to_thread(read_source, settings, manifest, cited.file_path)
    line = await asyncio.to_thread(write_question, row.question, history, cited, text)
    return line + b"\n"


def _earlier(connection: sqlite3.Connection, row: QuestionRow) -> list[str]:
    """The questions that the answer could refer to, oldest first."""
    where = "conversation = ? AND outcome != 'small_talk'"
    found = newest(connection, where, [row.conversation], row.id, MAX_EXCHANGES)
    return [each.question for each in reversed(found)]
