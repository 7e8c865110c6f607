"""What to write next: questions without a good answer, grouped by meaning.

A question counts if it was refused or declined, if its answer had an unsupported sentence, or if
the reader voted it down. Small talk and follow-ups do not count. Questions with the same words are
compared once. The newest `_MAX_GROUPED` of them are grouped (`lib.gap_groups`); older ones join the
nearest group.

The most needed gap comes first. Each conversation counts 1, so that one reader has little weight.
It counts 0.5 more if it was in the second half of the period, and 0.5 more if the reader voted an
answer down. The sum is reduced if the book has nothing near, because questions about the weather
are not gaps, and slightly reduced if a gap above is similar.
"""

import asyncio
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from statistics import fmean
from typing import Annotated, Final

import msgspec
import numpy as np
from cachetools import TTLCache

from lib.budget import BudgetExhausted
from lib.embedding import Embedder, Vectors, l2_normalise
from lib.errors import LogUnavailable, QuireError, TimedOut
from lib.gap_groups import (
    EXAMPLES,
    Calibration,
    Meanings,
    assign,
    calibrate,
    group_means,
    link_average,
)
from lib.question_log import QuestionLog, pack_vector
from lib.terms import split_terms

_MAX_EMBEDDED: Final = 200
_EMBEDDING_SECONDS: Final = 10.0
"""Limits of one request. The next one embeds more."""
_MAX_GROUPED: Final = 2_500
"""Their similarities take 25 MB."""
_MAX_NUMBERS: Final = 2_000_000
"""Maximum numbers in the vectors of grouped questions. Longer vectors allow fewer questions."""
_MAX_EXAMPLES: Final = 5
_MAX_IDS: Final = 100
_MAX_VOTERS: Final = 1_000
"""Questions of a gap from which its nearest page is found."""
_MAX_NAME: Final = 200
"""Characters. A longer question names a gap only if all are longer."""
_WHOLE: Final = 0.1
"""Preference for a whole question as a gap's name, in average similarity."""
_NEAR_SCORE: Final = 0.1
"""Score of the nearest passages of questions that concern the book. Median of questions about the
weather and the like: 0.06; of questions about pages that the handbook lacks: 0.24."""
_REPEATED: Final = 0.3
"""Reduction of a gap's need by an identical gap above it."""
_CACHED_SECONDS: Final = 600.0
_HOUR: Final = 3_600_000


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

    question: Annotated[str, msgspec.Meta(description="The most central one.")]
    questions: int
    conversations: int
    recent: Annotated[int, msgspec.Meta(description="Questions in the second half of the period.")]
    before: Annotated[int, msgspec.Meta(description="Questions in the first half of the period.")]
    outcomes: GapOutcomes
    languages: list[GapLanguage]
    nearest: NearestPage | None
    examples: Annotated[
        list[str], msgspec.Meta(description=f"At most {_MAX_EXAMPLES} others, all different.")
    ]
    ids: Annotated[
        list[int], msgspec.Meta(description=f"Ids of at most {_MAX_IDS} questions, newest first.")
    ]
    first_asked: datetime
    last_asked: datetime


class Gaps(msgspec.Struct, frozen=True, kw_only=True):
    """Gaps, most needed first."""

    gaps: list[Gap]
    total: Annotated[
        int, msgspec.Meta(description="Number of gaps, of which `gaps` are the first.")
    ]
    questions: Annotated[int, msgspec.Meta(description="Number of questions in all gaps.")]
    ungrouped: Annotated[
        int,
        msgspec.Meta(description="Questions not embedded yet, so compared by their words only."),
    ]


_CANDIDATES: Final = """
FROM questions q LEFT JOIN vectors v ON v.question_id = q.id AND v.model = :model
WHERE q.asked_at >= :since AND q.stands_alone = 1 AND q.outcome != 'small_talk'
AND (q.outcome IN ('refused', 'declined') OR (q.outcome = 'answered' AND q.unsupported > 0)
     OR q.vote = 'down')
"""
_STATE: Final = f"""
SELECT COUNT(*), MIN(q.id), MAX(q.id), TOTAL(q.vote = 'down'), COUNT(v.question_id) {_CANDIDATES}
"""
_ASKED: Final = f"""
SELECT q.id, q.asked_at, q.conversation, q.question, q.language, q.outcome,
    q.outcome = 'answered' AND q.unsupported > 0, q.vote IS 'down',
    (SELECT MAX(score) FROM passages WHERE question_id = q.id), v.question_id IS NOT NULL
{_CANDIDATES} ORDER BY q.id DESC
"""


class _Asked(msgspec.Struct, gc=False):
    """A question that counts."""

    id: int
    time: int
    conversation: str
    question: str
    language: str
    outcome: str
    unsupported: int
    down: int
    score: float | None
    """Of the nearest passage."""


class _Point(msgspec.Struct, gc=False):
    """Questions with the same words, newest first."""

    asked: list[_Asked]
    embedded: int = 0
    """The newest one that has a vector; 0 without one."""

    @property
    def newest(self) -> _Asked:
        return self.asked[0]


class _Group(msgspec.Struct):
    """Points with one meaning."""

    points: list[_Point]
    meanings: list[Vectors] = []
    """Of the first points."""

    def need(self, middle: int) -> float:
        """How much the gap is needed. `middle`: of the period, in milliseconds."""
        asked = [each for point in self.points for each in point.asked]
        everyone = {each.conversation for each in asked}
        recent = {each.conversation for each in asked if each.time >= middle}
        down = {each.conversation for each in asked if each.down}
        scores = [each.score for each in asked if each.score is not None]
        relevance = min(1.0, fmean(scores) / _NEAR_SCORE) if scores else 1.0
        return (len(everyone) + (len(recent) + len(down)) / 2) * relevance

    def typical(self) -> list[str]:
        """The central question, then up to `_MAX_EXAMPLES` typical, different ones."""
        texts = [point.newest.question for point in self.points]
        if not self.meanings:
            return texts[:1]
        texts, meanings = texts[: len(self.meanings)], np.array(self.meanings)
        central = meanings @ meanings.mean(axis=0)
        names = central + [_name_preference(text) for text in texts]
        chosen = [int(names.argmax())]
        nearest = meanings @ meanings[chosen[0]]
        while len(chosen) < min(len(texts), 1 + _MAX_EXAMPLES):
            scores = central - nearest
            scores[chosen] = -np.inf
            chosen.append(int(scores.argmax()))
            np.maximum(nearest, meanings @ meanings[chosen[-1]], out=nearest)
        return [texts[each] for each in chosen]


def _name_preference(text: str) -> float:
    """What is added to a question's average similarity to choose the one that names a gap."""
    if len(text) > _MAX_NAME:
        return -2.0  # more than similarities differ
    return _WHOLE * any(mark in text for mark in "?？؟")


class GapFinder:
    """Finds the gaps in a question log, one request at a time.

    Keeps the last result while the log is unchanged.
    """

    def __init__(self, log: QuestionLog, embedder: Embedder) -> None:
        self._log = log
        self._embedder = embedder
        self._turn = asyncio.Lock()
        self._calibration: Calibration | None = None
        self._results: TTLCache[object, Gaps] = TTLCache(1, _CACHED_SECONDS)

    async def find(self, *, since: int, limit: int) -> Gaps:
        """Group the questions asked since `since` (milliseconds since 1970).

        Questions without a vector are embedded, the newest first, up to `_MAX_EMBEDDED`. Raises the
        errors of `QuestionLog.read`.
        """
        async with self._turn:
            now = round(1e3 * time.time())
            state = await self._state(since, now, limit)
            if known := self._results.get(state):
                return known
            points = await self._read_points(since)
            await self._embed(points)
            groups = await self._group(points)
            middle = (since + now) // 2
            first = await asyncio.to_thread(_most_needed, groups, middle, limit)
            gaps = await self._log.read(
                lambda connection: [_describe(connection, each, middle) for each in first]
            )
            left = sum(
                len(each.asked) for each in points if not (each.embedded and self._calibration)
            )
            found = Gaps(
                gaps=gaps,
                total=len(groups),
                questions=sum(len(each.asked) for each in points),
                ungrouped=left,
            )
            later = await self._state(since, now, limit)
            # All but the last value, the number of vectors.
            if later[0][:-1] == state[0][:-1] and not left:
                self._results[later] = found
            return found

    async def _state(self, since: int, now: int, limit: int) -> tuple[tuple[int, ...], int, int]:
        """The cache key of a result."""
        row = await self._log.read(
            lambda connection: tuple(connection.execute(_STATE, self._selects(since)).fetchone())
        )
        return row, round((now - since) / _HOUR), limit

    def _selects(self, since: int) -> dict[str, object]:
        return {"model": self._embedder.model_id, "since": since}

    async def _read_points(self, since: int) -> list[_Point]:
        """Read the candidates, the newest first."""

        def read(connection: sqlite3.Connection) -> list[_Point]:
            points: dict[str, _Point] = {}
            for row in connection.execute(_ASKED, self._selects(since)):
                *values, embedded = row
                asked = _Asked(*values)
                words = " ".join(split_terms(asked.question)).casefold() or asked.question
                point = points.setdefault(words, _Point([]))
                point.asked.append(asked)
                if embedded and not point.embedded:
                    point.embedded = asked.id
            return list(points.values())

        return await self._log.read(read)

    async def _embed(self, points: Sequence[_Point]) -> None:
        """Embed the newest points without a vector, and store the vectors.

        Stops when the service fails or the budget is used up. Embeds nothing while the log cannot
        be written: each request would pay for the same questions.
        """
        if self._log.failing:
            return
        missing = [each for each in points if not each.embedded][:_MAX_EMBEDDED]
        vectors = await self._embed_texts([each.newest.question for each in missing])
        embedded = list(zip(missing, vectors, strict=False))
        model = self._embedder.model_id
        stored = [(model, pack_vector(vector), each.newest.id) for each, vector in embedded]
        # The question may have been deleted.
        statement = (
            "INSERT OR REPLACE INTO vectors (question_id, model, vector)"
            " SELECT id, ?, ? FROM questions WHERE id = ?"
        )
        if stored:
            with suppress(LogUnavailable, TimedOut):
                await self._log.write(lambda connection: connection.executemany(statement, stored))
                for each, _ in embedded:
                    each.embedded = each.newest.id

    async def _embed_texts(self, texts: Sequence[str]) -> list[Vectors]:
        """The vectors of the first texts: of all, or as many as can be embedded now."""
        vectors: list[Vectors] = []
        until, step = time.monotonic() + _EMBEDDING_SECONDS, self._embedder.concurrency
        while len(vectors) < len(texts) and time.monotonic() < until:
            part = texts[len(vectors) : len(vectors) + step]
            asked = (self._embedder.embed_query(text) for text in part)
            for found in await asyncio.gather(*asked, return_exceptions=True):
                if isinstance(found, QuireError | BudgetExhausted):
                    return vectors
                if isinstance(found, BaseException):
                    raise found
                vectors.append(found)
        return vectors

    async def _calibrate(self) -> Calibration | None:
        """Embed `EXAMPLES` once. None if the service or the budget does not allow it now."""
        if self._calibration is None:
            vectors = await self._embed_texts(EXAMPLES)
            if len(vectors) == len(EXAMPLES):
                self._calibration = calibrate(np.array(vectors))
        return self._calibration

    async def _group(self, points: Sequence[_Point]) -> list[_Group]:
        """Group the points by meaning. Those without a vector are groups of their own."""
        embedded = [each for each in points if each.embedded]
        alone = [_Group([each]) for each in points if not each.embedded]
        calibration = await self._calibrate() if embedded else None
        if calibration is None:
            return alone + [_Group([each]) for each in embedded]
        most = min(_MAX_GROUPED, _MAX_NUMBERS // calibration.mean.size)
        newest, vectors = await self._read_vectors(embedded[:most])
        if not newest:
            return alone
        grouping = await asyncio.to_thread(_Grouping, calibration, newest, vectors)
        for start in range(most, len(embedded), most):
            older, vectors = await self._read_vectors(embedded[start : start + most])
            if older:
                alone += await asyncio.to_thread(grouping.add, older, vectors)
        return grouping.groups + alone

    async def _read_vectors(self, points: Sequence[_Point]) -> tuple[list[_Point], Vectors]:
        """The points that still have a vector, and their vectors, `(points, dimension)`."""
        ids = json.dumps([each.embedded for each in points])
        query = (
            "SELECT question_id, vector FROM vectors"
            " WHERE model = ? AND question_id IN (SELECT value FROM json_each(?))"
        )
        stored = dict(
            await self._log.read(
                lambda connection: connection.execute(
                    query, (self._embedder.model_id, ids)
                ).fetchall()
            )
        )
        # A service may serve another model under the same name.
        size = self._calibration.mean.size if self._calibration else 0
        kept = [each for each in points if len(stored.get(each.embedded, b"")) == size]
        packed = np.array([np.frombuffer(stored[each.embedded], np.int8) for each in kept])
        return kept, l2_normalise(packed.astype(np.float32))


class _Grouping:
    """Groups of points."""

    def __init__(
        self, calibration: Calibration, points: Sequence[_Point], vectors: Vectors
    ) -> None:
        self._fitted = Meanings(calibration, vectors, *_described(points))
        meanings = self._fitted.of(vectors, *_described(points))
        labels = link_average(meanings @ meanings.T, self._fitted.near)
        self._means = group_means(meanings, labels)
        self.groups = [_Group([]) for _ in self._means]
        for point, meaning, label in zip(points, meanings, labels, strict=True):
            self.groups[label].points.append(point)
            self.groups[label].meanings.append(meaning)

    def add(self, points: Sequence[_Point], vectors: Vectors) -> list[_Group]:
        """Add points to the nearest groups. Returns new groups for the others, one for each."""
        meanings = self._fitted.of(vectors, *_described(points))
        alone = []
        labels = assign(meanings, self._means, self._fitted.near)
        for point, label in zip(points, labels, strict=True):
            if label < 0:
                alone.append(_Group([point]))
            else:
                self.groups[label].points.append(point)
        return alone


def _described(points: Iterable[_Point]) -> tuple[list[str], list[str]]:
    """Texts and languages."""
    newest = [each.newest for each in points]
    return [each.question for each in newest], [each.language for each in newest]


def _most_needed(groups: list[_Group], middle: int, limit: int) -> list[_Group]:
    """The most needed groups, in order (see the module's docstring)."""
    needs = np.array([each.need(middle) for each in groups])
    compared = [place for place, each in enumerate(groups) if each.meanings]
    means = l2_normalise(np.array([np.mean(groups[place].meanings, axis=0) for place in compared]))
    row = {place: number for number, place in enumerate(compared)}
    nearest = np.zeros(len(groups), np.float32)
    ordered: list[_Group] = []
    while len(ordered) < min(limit, len(groups)):
        chosen = int((needs * (1 - _REPEATED * nearest)).argmax())
        ordered.append(groups[chosen])
        needs[chosen] = -1.0
        if chosen in row:
            nearest[compared] = np.maximum(nearest[compared], means @ means[row[chosen]])
    return ordered


def _describe(connection: sqlite3.Connection, found: _Group, middle: int) -> Gap:
    asked = sorted((each for point in found.points for each in point.asked), key=lambda a: -a.id)
    times = [each.time for each in asked]
    recent = sum(each >= middle for each in times)
    central, *others = found.typical()
    outcomes = Counter(each.outcome for each in asked)
    languages = Counter(each.language for each in asked)
    return Gap(
        question=central,
        questions=len(asked),
        conversations=len({each.conversation for each in asked}),
        recent=recent,
        before=len(asked) - recent,
        outcomes=GapOutcomes(
            refused=outcomes["refused"],
            declined=outcomes["declined"],
            unsupported=sum(each.unsupported for each in asked),
            down=sum(each.down for each in asked),
        ),
        languages=[GapLanguage(language=name, questions=n) for name, n in languages.most_common()],
        nearest=_find_nearest(connection, [each.id for each in asked[:_MAX_VOTERS]]),
        examples=others,
        ids=[each.id for each in asked[:_MAX_IDS]],
        first_asked=datetime.fromtimestamp(min(times) / 1e3, UTC),
        last_asked=datetime.fromtimestamp(max(times) / 1e3, UTC),
    )


def _find_nearest(connection: sqlite3.Connection, ids: Sequence[int]) -> NearestPage | None:
    """The page whose passages have the largest sum of scores, and the best place on it."""
    query = """
        SELECT file_path, heading, url, SUM(score) AS sum, MAX(score) AS best
        FROM passages JOIN places ON places.id = place_id
        WHERE question_id IN (SELECT value FROM json_each(?)) GROUP BY place_id ORDER BY sum DESC
    """
    places = connection.execute(query, (json.dumps(ids),)).fetchall()
    pages: dict[str, float] = {}
    for each in places:
        pages[each["file_path"]] = pages.get(each["file_path"], 0.0) + each["sum"]
    if not pages:
        return None
    page = max(pages, key=pages.__getitem__)
    place = next(each for each in places if each["file_path"] == page)
    return NearestPage(
        file_path=page, heading=place["heading"], url=place["url"] or None, score=place["best"]
    )
