"""What to write next: questions without a good answer, grouped by meaning.

A question counts if it was refused or declined, if its answer had an unsupported sentence, or if
the reader voted it down. Small talk and follow-ups do not count.
"""

import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from lib.budget import BudgetExhausted
from lib.embedding import Embedder, Vectors
from lib.errors import QuireError
from lib.question_log import QuestionLog, pack_vector

_MAX_EMBEDDED: Final = 200
_MAX_GROUPED: Final = 3_000
_MAX_EXAMPLES: Final = 5
_MAX_IDS: Final = 100
_NEAR: Final = 0.5


class GapLanguage(msgspec.Struct, frozen=True, kw_only=True):
    """Questions of a gap in one language."""

    language: str
    questions: int


class GapOutcomes(msgspec.Struct, frozen=True, kw_only=True):
    """Why the questions of a gap count. A question can count for two reasons."""

    refused: int
    declined: int
    unsupported: int
    down: int


class NearestPage(msgspec.Struct, frozen=True, kw_only=True):
    """The page that is nearest to the questions of a gap."""

    file_path: str
    heading: str
    url: str | None
    score: float


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Questions with one meaning that the book does not answer."""

    question: str
    """The most central one."""
    questions: int
    conversations: int
    recent: int
    """In the second half of the period; `before`: in the first."""
    before: int
    outcomes: GapOutcomes
    languages: list[GapLanguage]
    nearest: NearestPage | None
    examples: list[str]
    """At most 5, different from each other and from `question`."""
    ids: list[int]
    """At most 100, newest first."""
    first_asked: datetime
    last_asked: datetime


class Gaps(msgspec.Struct, frozen=True, kw_only=True):
    """Gaps, most needed first."""

    gaps: list[Gap]
    total: int
    """Number of gaps, of which `gaps` are the first."""
    questions: int
    """Questions in all gaps."""
    ungrouped: int
    """Questions that are not embedded yet."""


_CANDIDATES: Final = """
FROM questions q LEFT JOIN vectors v ON v.question_id = q.id AND v.model = :model
WHERE q.asked_at >= :since AND q.stands_alone = 1 AND q.outcome != 'small_talk'
AND (q.outcome IN ('refused', 'declined') OR (q.outcome = 'answered' AND q.unsupported > 0)
     OR q.vote = 'down')
"""


class GapFinder:
    """Finds gaps in a question log. Remembers the last result until the log changes."""

    def __init__(self, log: QuestionLog, embedder: Embedder) -> None:
        self._log = log
        self._embedder = embedder

    async def find(self, *, since: int, limit: int) -> Gaps:
        """Group the questions asked since `since` (milliseconds since 1970).

        Embeds at most `_MAX_EMBEDDED` questions that have no vector yet. Raises `NotFound` without
        a log.
        """
        asked = {"model": self._embedder.model_id, "since": since}
        await self._embed(asked)
        now = round(1e3 * time.time())
        return await self._log.read(lambda connection: _find(connection, asked, now, limit))

    async def _embed(self, asked: dict[str, object]) -> None:
        """Embed questions without a vector, the newest first."""
        query = f"SELECT q.id, q.question {_CANDIDATES} AND v.vector IS NULL ORDER BY q.id DESC"
        missing = await self._log.read(
            lambda connection: connection.execute(
                f"{query} LIMIT {_MAX_EMBEDDED}", asked
            ).fetchall()
        )
        found: list[tuple[int, str, bytes]] = []
        try:
            for row in missing:
                vector = await self._embedder.embed_query(row["question"])
                found.append((row["id"], self._embedder.model_id, pack_vector(vector)))
        except (QuireError, BudgetExhausted):
            pass  # later
        if found:
            await self._log.write(
                lambda connection: connection.executemany(
                    "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", found
                )
            )


def _find(connection: sqlite3.Connection, asked: dict[str, object], now: int, limit: int) -> Gaps:
    rows = connection.execute(
        "SELECT q.id, q.asked_at, q.conversation, q.question, q.language, q.outcome,"
        f" q.unsupported, q.vote, v.vector {_CANDIDATES} ORDER BY q.id DESC LIMIT {_MAX_GROUPED}",
        asked,
    ).fetchall()
    known = [row for row in rows if row["vector"] is not None]
    groups: dict[int, list[sqlite3.Row]] = {}
    if known:
        vectors = np.array([np.frombuffer(row["vector"], np.int8) for row in known], np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        for row, group in zip(known, _group(vectors), strict=True):
            groups.setdefault(int(group), []).append(row)
    middle = (int(str(asked["since"])) + now) // 2
    gaps = [_gap(connection, members, middle) for members in groups.values()]
    gaps.sort(key=lambda gap: (-gap.conversations, -gap.ids[0]))
    return Gaps(
        gaps=gaps[:limit],
        total=len(gaps),
        questions=len(rows),
        ungrouped=len(rows) - len(known),
    )


def _gap(connection: sqlite3.Connection, members: Sequence[sqlite3.Row], middle: int) -> Gap:
    times = [row["asked_at"] for row in members]
    recent = sum(each >= middle for each in times)
    ids = [row["id"] for row in members][:_MAX_IDS]
    texts = list(dict.fromkeys(row["question"] for row in members))
    return Gap(
        question=texts[0],
        questions=len(members),
        conversations=len({row["conversation"] for row in members}),
        recent=recent,
        before=len(members) - recent,
        outcomes=GapOutcomes(
            refused=sum(row["outcome"] == "refused" for row in members),
            declined=sum(row["outcome"] == "declined" for row in members),
            unsupported=sum(row["unsupported"] > 0 for row in members),
            down=sum(row["vote"] == "down" for row in members),
        ),
        languages=[
            GapLanguage(language=language, questions=count)
            for language, count in Counter(row["language"] for row in members).most_common()
        ],
        nearest=_nearest(connection, ids),
        examples=texts[1 : 1 + _MAX_EXAMPLES],
        ids=ids,
        first_asked=datetime.fromtimestamp(min(times) / 1e3, UTC),
        last_asked=datetime.fromtimestamp(max(times) / 1e3, UTC),
    )


def _nearest(connection: sqlite3.Connection, ids: Sequence[int]) -> NearestPage | None:
    row = connection.execute(
        "SELECT file_path, heading, url, MAX(score) AS score FROM passages"
        " JOIN places ON places.id = place_id"
        f" WHERE position = 1 AND question_id IN ({', '.join(map(str, ids))})"
        " GROUP BY place_id ORDER BY COUNT(*) DESC, score DESC LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    return NearestPage(
        file_path=row["file_path"],
        heading=row["heading"],
        url=row["url"] or None,
        score=row["score"],
    )


def _group(vectors: Vectors) -> npt.NDArray[np.intp]:
    """Group of each row."""
    groups = np.full(len(vectors), -1)
    for row in range(len(vectors)):
        if groups[row] < 0:
            near = (vectors @ vectors[row] >= _NEAR) & (groups < 0)
            groups[near] = row
    return groups
