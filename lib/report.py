"""Report on a period as Markdown, for an issue on GitHub.

Readers' text is in code spans, where GitHub renders no markup, mention, reference, address, emoji
or formula. Titles of pages are escaped link texts.
"""

import re
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final

import msgspec

from lib.gaps import Gap, GapFinder, Gaps
from lib.question_list import PastTime, QuestionRow, QuestionsQuery, list_questions, parse_time
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

    since: PastTime = "7d"


class _Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a period, without small talk."""

    counts: Counter[str]
    """Questions: `asked`, by outcome, by vote, `unsupported`, and `unpriced` without a cost."""
    languages: Counter[str]
    conversations: int
    cost_usd: float
    first_seconds: tuple[float, float] | None
    """Median and 95th percentile of the time to the first token."""

    @property
    def unanswered(self) -> int:
        return self.counts["refused"] + self.counts["declined"] + self.counts["failed"]


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    title: str
    file_path: str
    url: str
    citations: int


class _Period(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a period and of the one before."""

    now: _Totals
    before: _Totals
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
    if not period.now.counts["asked"]:
        return _join([title, _NO_QUESTIONS])
    gaps = await finder.find(since=start, limit=_MAX_GAPS)
    voted = await list_questions(
        log, QuestionsQuery(since=wanted.since, vote="down", limit=_MAX_VOTES)
    )
    blocks = [title, _format_totals(period)]
    if period.before.counts["asked"] and period.oldest > 2 * start - end:
        blocks.append(f"The log begins on {_day(period.oldest)}: the period before is incomplete.")
    blocks += _format_gaps(gaps)
    if voted.questions:
        blocks += [
            "## Answers voted down",
            *_first_of(len(voted.questions), voted.total),
            *map(_format_voted, voted.questions),
        ]
    if period.pages:
        blocks += ["## Pages cited most", "\n".join(map(_format_page, period.pages))]
    blocks += ["## Languages", _list_counts(period.now.languages.most_common()) + "."]
    return _join(blocks)


def _read(start: int, end: int, connection: sqlite3.Connection) -> _Period:
    bounds = {"first": 2 * start - end, "start": start, "end": end}
    (oldest,) = connection.execute("SELECT min(asked_at) FROM questions").fetchone()
    groups = connection.execute(_GROUPS, bounds).fetchall()
    conversations = dict(connection.execute(_CONVERSATIONS, bounds).fetchall())
    times: dict[int, list[float]] = {0: [], 1: []}
    for row in connection.execute(_PERCENTILES, bounds):
        times[row["recent"]].append(row["first_ms"] / 1e3)

    def totals(recent: int) -> _Totals:
        counts, languages, cost_usd = Counter[str](), Counter[str](), 0.0
        for group in groups:
            if group["recent"] == recent:
                for name in ("asked", group["outcome"], group["vote"] or ""):
                    counts[name] += group["questions"]
                counts["unsupported"] += group["questions"] * group["unsupported"]
                counts["unpriced"] += group["unpriced"]
                languages[group["language"]] += group["questions"]
                cost_usd += group["cost_usd"]
        return _Totals(
            counts=counts,
            languages=languages,
            conversations=conversations.get(recent, 0),
            cost_usd=cost_usd,
            first_seconds=(times[recent][0], times[recent][-1]) if times[recent] else None,
        )

    return _Period(
        now=totals(1),
        before=totals(0),
        pages=[
            _Page(
                title=row["heading"].partition(" > ")[0],
                file_path=row["file_path"],
                url=row["url"].partition("#")[0],
                citations=row["citations"],
            )
            for row in connection.execute(_PAGES, bounds)
        ],
        oldest=oldest or 0,
    )


_ASKED: Final = """
FROM questions WHERE asked_at >= :first AND asked_at < :end AND outcome != 'small_talk'
"""
_GROUPS: Final = f"""
SELECT asked_at >= :start AS recent, language, outcome, vote, unsupported > 0 AS unsupported,
    count(*) AS questions, total(cost_usd) AS cost_usd, count(*) - count(cost_usd) AS unpriced
{_ASKED} GROUP BY 1, 2, 3, 4, 5 ORDER BY language
"""
_CONVERSATIONS: Final = f"""
SELECT asked_at >= :start, count(DISTINCT conversation) {_ASKED} GROUP BY 1
"""
_PERCENTILES: Final = f"""
SELECT recent, first_ms FROM (
    SELECT recent, first_ms, row_number() OVER period AS rank, count(*) OVER (
        PARTITION BY recent
    ) AS timed
    FROM (SELECT asked_at >= :start AS recent, first_ms {_ASKED} AND first_ms IS NOT NULL)
    WINDOW period AS (PARTITION BY recent ORDER BY first_ms)
) WHERE rank IN ((timed + 1) / 2, (timed * 95 + 99) / 100) ORDER BY rank
"""
_PAGES: Final = f"""
SELECT file_path, min(heading) AS heading, max(url) AS url, sum(cited) AS citations FROM (
    SELECT place_id, count(*) AS cited FROM passages
    WHERE cited AND question_id IN (
        SELECT id FROM questions WHERE asked_at >= :start AND asked_at < :end
    ) GROUP BY place_id
) JOIN places ON places.id = place_id
GROUP BY file_path ORDER BY citations DESC, file_path LIMIT {_MAX_PAGES}
"""


def _format_totals(period: _Period) -> str:
    columns = [period.now, period.before] if period.before.counts["asked"] else [period.now]
    heads = ["", "This period", "Before"][: 1 + len(columns)]
    rows: dict[str, Callable[[_Totals], str]] = {
        "Questions": lambda each: f"{each.counts['asked']:,}",
        "Conversations": lambda each: f"{each.conversations:,}",
        "Answered": lambda each: _share(each.counts["answered"], each),
        "Unanswered": lambda each: _share(each.unanswered, each),
        "Refused, declined, failed": partial(_list, ("refused", "declined", "failed")),
        "With an unsupported sentence": lambda each: _share(each.counts["unsupported"], each),
        "Votes up, down": partial(_list, ("up", "down")),
        "First token, p50 and p95": _format_seconds,
        "Cost": _format_cost,
    }
    lines = [heads, ["---", *["---:"] * len(columns)]]
    lines += ([name, *map(show, columns)] for name, show in rows.items())
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _list(names: Iterable[str], totals: _Totals) -> str:
    return ", ".join(f"{totals.counts[name]:,}" for name in names)


def _share(part: int, totals: _Totals) -> str:
    return f"{part:,} ({part / totals.counts['asked']:.0%})"


def _format_seconds(totals: _Totals) -> str:
    if not totals.first_seconds:
        return "none"
    return ", ".join(f"{each:.2f} s" for each in totals.first_seconds)


def _format_cost(totals: _Totals) -> str:
    # No dollar sign: GitHub renders text between two of them as a formula.
    least = "at least " if totals.counts["unpriced"] else ""
    return f"{least}{totals.cost_usd:.2f} USD"


def _format_gaps(found: Gaps) -> Iterator[str]:
    yield "## What to write next"
    if not found.gaps:
        yield "No gaps in this period."
    yield from _first_of(len(found.gaps), found.total)
    for number, gap in enumerate(found.gaps, 1):
        yield _format_gap(number, gap)
    if found.ungrouped:
        yield describe_ungrouped(found)


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


def describe_ungrouped(found: Gaps) -> str:
    return f"Not embedded yet, so compared by words only: {_number(found.ungrouped, 'question')}."


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
    return f"- {title}: {_number(page.citations, 'citation')}"


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
