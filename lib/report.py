"""Report on a period as Markdown, for an issue on GitHub.

Readers' text is in code spans, where GitHub renders no markup, mention, reference, address, emoji
or formula. Titles of pages are escaped link texts.
"""

import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Final

import msgspec

from lib.gaps import Gap, GapFinder, Gaps
from lib.question_list import QuestionRow, QuestionsQuery, list_questions, parse_time
from lib.question_log import LogReader
from lib.sanitizer_syntax import absolute_url, link_target

_NO_QUESTIONS: Final = "No questions were asked."
"""The whole report, below its heading, of a period without questions."""

_MAX_CHARACTERS: Final = 60_000
"""GitHub accepts 65,536 in an issue."""
_MAX_GAPS: Final = 20
_MAX_VOTES: Final = 20
_MAX_PAGES: Final = 10
_MAX_QUESTION: Final = 300
_MAX_NOTE: Final = 600
_MAX_TITLE: Final = 150

UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters, line separators and characters that change the text direction."""
_DIRECTIONS: Final = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
_PUNCTUATION: Final = re.compile(r"[!-/:-@\[-`{-~]")
_BACKTICKS: Final = re.compile(r"`+")


class ReportQuery(msgspec.Struct, kw_only=True):
    """The period of a report, which ends now."""

    since: Annotated[
        str,
        msgspec.Meta(description="An age such as 24h, 7d or 2w, or a date such as 2026-11-30."),
    ] = "7d"


class _Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a period, without small talk."""

    questions: int
    conversations: int
    answered: int
    refused: int
    declined: int
    failed: int
    unsupported: int
    up: int
    down: int
    cost_usd: float
    unpriced: int
    """Questions whose cost is unknown."""
    first_seconds: tuple[float, float] | None
    """Median and 95th percentile of the time to the first token."""

    @property
    def unanswered(self) -> int:
        return self.refused + self.declined + self.failed


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    title: str
    file_path: str
    url: str
    questions: int


class _Period(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a period and of the one before."""

    now: _Totals
    before: _Totals
    languages: Sequence[tuple[str, int]]
    pages: Sequence[_Page]
    oldest: int
    """Time of the first entry in the log."""


async def write_report(log: LogReader, finder: GapFinder, wanted: ReportQuery) -> str:
    """Describe what readers asked since `wanted.since`, compared with the period before.

    Raises `InvalidRequest`, and `NotFound` without a log.
    """
    end = round(1e3 * time.time())
    start = min(parse_time(wanted.since, "since"), end)
    period = await log.read(partial(_read, start, end))
    title = f"# Reader questions, {_day(start)} to {_day(end)}"
    if not period.now.questions:
        return _join([title, _NO_QUESTIONS])
    gaps = await finder.find(since=start, limit=_MAX_GAPS)
    voted = await list_questions(
        log, QuestionsQuery(since=wanted.since, vote="down", limit=_MAX_VOTES)
    )
    blocks = [title, _format_totals(period)]
    if period.before.questions and period.oldest > 2 * start - end:
        blocks.append(f"The log begins on {_day(period.oldest)}: the period before is incomplete.")
    blocks += _format_gaps(gaps)
    if voted.questions:
        down = period.now.down
        blocks += [
            "## Answers voted down",
            *_first_of(len(voted.questions), down),
            *map(_format_voted, voted.questions),
        ]
    if period.pages:
        blocks += ["## Pages cited most", "\n".join(map(_format_page, period.pages))]
    blocks += ["## Languages", _list_counts(period.languages) + "."]
    return _join(blocks)


def _read(start: int, end: int, connection: sqlite3.Connection) -> _Period:
    (oldest,) = connection.execute("SELECT min(asked_at) FROM questions").fetchone()
    bounds = (start, end)
    return _Period(
        now=_count(connection, *bounds),
        before=_count(connection, 2 * start - end, start),
        languages=[
            (row["language"], row["questions"])
            for row in connection.execute(
                "SELECT language, count(*) AS questions FROM questions"
                " WHERE asked_at >= ? AND asked_at < ? AND outcome != 'small_talk'"
                " GROUP BY language ORDER BY questions DESC, language",
                bounds,
            )
        ],
        pages=[
            _Page(
                title=row["heading"].partition(" > ")[0],
                file_path=row["file_path"],
                url=row["url"].partition("#")[0],
                questions=row["questions"],
            )
            for row in connection.execute(
                "SELECT file_path, min(heading) AS heading, max(url) AS url,"
                " count(DISTINCT question_id) AS questions FROM passages"
                " JOIN places ON places.id = place_id JOIN questions ON questions.id = question_id"
                " WHERE cited AND asked_at >= ? AND asked_at < ?"
                " GROUP BY file_path ORDER BY questions DESC, file_path LIMIT ?",
                (*bounds, _MAX_PAGES),
            )
        ],
        oldest=oldest or 0,
    )


def _count(connection: sqlite3.Connection, start: int, end: int) -> _Totals:
    asked = "FROM questions WHERE asked_at >= ? AND asked_at < ? AND outcome != 'small_talk'"
    totals = connection.execute(
        "SELECT count(*) AS questions, count(DISTINCT conversation) AS conversations,"
        " total(outcome = 'answered') AS answered, total(outcome = 'refused') AS refused,"
        " total(outcome = 'declined') AS declined, total(outcome = 'failed') AS failed,"
        " total(unsupported > 0) AS unsupported, total(vote = 'up') AS up,"
        " total(vote = 'down') AS down, total(cost_usd) AS cost_usd,"
        f" total(cost_usd IS NULL) AS unpriced {asked}",
        (start, end),
    ).fetchone()
    times = f"{asked} AND first_ms IS NOT NULL"
    (timed,) = connection.execute(f"SELECT count(*) {times}", (start, end)).fetchone()

    def percentile(share: float) -> float:
        (found,) = connection.execute(
            f"SELECT first_ms {times} ORDER BY first_ms LIMIT 1 OFFSET ?",
            (start, end, int(share * (timed - 1) + 0.5)),
        ).fetchone()
        return float(found) / 1e3

    return _Totals(
        cost_usd=totals["cost_usd"],
        first_seconds=(percentile(0.5), percentile(0.95)) if timed else None,
        **{
            name: int(totals[name])
            for name in _Totals.__struct_fields__
            if name not in ("cost_usd", "first_seconds")
        },
    )


def _format_totals(period: _Period) -> str:
    columns = [period.now, period.before] if period.before.questions else [period.now]
    heads = ["", "This period", "Before"][: 1 + len(columns)]
    rows = [
        ("Questions", [f"{each.questions:,}" for each in columns]),
        ("Conversations", [f"{each.conversations:,}" for each in columns]),
        ("Answered", [_share(each.answered, each) for each in columns]),
        ("Unanswered", [_share(each.unanswered, each) for each in columns]),
        ("Refused, declined, failed", [
            f"{each.refused:,}, {each.declined:,}, {each.failed:,}" for each in columns
        ]),
        ("With an unsupported sentence", [_share(each.unsupported, each) for each in columns]),
        ("Votes up, down", [f"{each.up:,}, {each.down:,}" for each in columns]),
        ("First token, p50 and p95", [_format_seconds(each.first_seconds) for each in columns]),
        ("Cost", [_format_cost(each) for each in columns]),
    ]  # fmt: skip
    lines = [heads, ["---", *["---:"] * len(columns)], *([name, *cells] for name, cells in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _share(part: int, totals: _Totals) -> str:
    share = f" ({part / totals.questions:.0%})" if totals.questions else ""
    return f"{part:,}{share}"


def _format_seconds(seconds: tuple[float, float] | None) -> str:
    return f"{seconds[0]:.2f} s, {seconds[1]:.2f} s" if seconds else "none"


def _format_cost(totals: _Totals) -> str:
    # No dollar sign: GitHub renders text between two of them as a formula.
    least = "at least " if totals.unpriced else ""
    return f"{least}{totals.cost_usd:.2f} USD"


def _format_gaps(found: Gaps) -> Iterator[str]:
    yield "## What to write next"
    if not found.gaps:
        yield "No question was answered badly."
    yield from _first_of(len(found.gaps), found.total)
    for number, gap in enumerate(found.gaps, 1):
        yield _format_gap(number, gap)
    if found.ungrouped:
        yield f"{_number(found.ungrouped, 'question')} not grouped yet."


def _format_gap(number: int, gap: Gap) -> str:
    lines = [f"{number}. {_code(gap.question, _MAX_QUESTION)}"]
    lines += (f"- {line}" for line in describe_gap(gap))
    if near := gap.nearest:
        lines.append(f"- Nearest: {_link(near.heading or near.file_path, near.url)}")
    if gap.examples:
        lines.append("- Also: " + ", ".join(_code(each, _MAX_QUESTION) for each in gap.examples))
    return f"\n{' ' * len(f'{number}. ')}".join(lines)


def describe_gap(gap: Gap) -> list[str]:
    """Describe the figures of a gap in lines, without readers' text."""
    counts = [
        (gap.outcomes.refused, "refused"),
        (gap.outcomes.declined, "declined"),
        (gap.outcomes.unsupported, "answered with an unsupported sentence"),
        (gap.outcomes.down, "voted down"),
    ]
    return [
        f"{_number(gap.questions, 'question')} in {_number(gap.conversations, 'conversation')}: "
        + ", ".join(f"{count} {reason}" for count, reason in counts if count),
        f"{gap.recent} in the second half of the period, {gap.before} in the first",
        _list_counts((each.language, each.questions) for each in gap.languages),
    ]


def _format_voted(row: QuestionRow) -> str:
    lines = [f"- {_code(row.question, _MAX_QUESTION)}"]
    if row.reason:
        lines.append(f"- Reason: {row.reason}")
    if row.note:
        lines.append(f"- Note: {_code(row.note, _MAX_NOTE)}")
    cited = dict.fromkeys(
        _link(each.heading or each.file_path, each.url) for each in row.passages if each.cited
    )
    if cited:
        lines.append(f"- Cited: {', '.join(cited)}")
    return "\n  ".join(lines)


def _format_page(page: _Page) -> str:
    title = _link(page.title or page.file_path, page.url)
    return f"- {title}: {_number(page.questions, 'question')}"


def _first_of(shown: int, total: int) -> Iterator[str]:
    if shown < total:
        yield f"The first {shown} of {total:,}:"


def _list_counts(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name.capitalize()} {count:,}" for name, count in counts)


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _day(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1e3, UTC).date().isoformat()


def _join(blocks: Iterable[str]) -> str:
    """Join blocks. Omits those beyond `_MAX_CHARACTERS`."""
    kept, size = [], 0
    for block in blocks:
        size += len(block) + 2
        if size > _MAX_CHARACTERS:
            kept.append("The rest is omitted.")
            break
        kept.append(block)
    return "\n\n".join(kept) + "\n"


def _code(text: str, longest: int) -> str:
    """Format a reader's text as a code span, cut to `longest` characters."""
    shown = _one_line(text, longest) or "?"
    ticks = "`" * (1 + max((len(run) for run in _BACKTICKS.findall(shown)), default=0))
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}"


def _link(title: str, url: str | None) -> str:
    """Format a link to the book. Without an address, the title is a code span."""
    address = absolute_url(url)
    if not address:
        return _code(title, _MAX_TITLE)
    escaped = _PUNCTUATION.sub(r"\\\g<0>", _one_line(title, _MAX_TITLE))
    return f"[{escaped}]({link_target(address)})"


def _one_line(text: str, longest: int) -> str:
    """Join the text to one line, without control characters and changes of direction."""
    line = " ".join(UNSAFE.sub(" ", _DIRECTIONS.sub("", text)).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"
