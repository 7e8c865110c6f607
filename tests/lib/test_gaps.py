"""Gaps in a question log, with the real embedding model."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lib.gaps
from lib.budget import BudgetExhausted
from lib.embedding import GuardedEmbedder, Similarity, Vectors, l2_normalise
from lib.errors import LogUnavailable, upstream_error
from lib.gap_groups import EXAMPLES
from lib.gaps import GapFinder, Gaps
from lib.question_log import LoggedPassage, LoggedQuestion, QuestionLog, pack_vector
from lib.services import make_local_embedder
from lib.settings import MULTILINGUAL

DAY = 86_400_000
KAYAK = ("Can I rent a kayak?", "Do you rent out kayaks?", "Kann man Kajaks mieten?")


class Counting:
    """The packaged model behind a service that counts its questions and may fail."""

    model_id, concurrency = "service/model", 4
    similarity = Similarity(0.1, 0.3)

    def __init__(self) -> None:
        self._model = make_local_embedder(MULTILINGUAL)
        self.asked: list[str] = []
        self.error: Exception | None = None

    async def load(self) -> None: ...

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        raise NotImplementedError

    async def embed_query(self, text: str) -> Vectors:
        if self.error:
            raise self.error
        self.asked.append(text)
        return await self._model.embed_query(text)

    def billable_tokens(self, text: str) -> int:
        return 0

    async def close(self) -> None:
        await self._model.close()


@pytest.fixture
async def embedder() -> AsyncIterator[Counting]:
    service = Counting()
    yield service
    await service.close()


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[QuestionLog]:
    opened = QuestionLog(tmp_path / "questions.sqlite3", days=30, max_bytes=10**8)
    yield opened
    await opened.close()


def passage(path: str, score: float = 0.3, heading: str = "Top") -> LoggedPassage:
    return LoggedPassage(
        file_path=path,
        heading=heading,
        url=None,
        start_char=0,
        end_char=9,
        score=score,
        cited=False,
    )


class Log:
    """Writes questions, each in a conversation of its own."""

    def __init__(self, log: QuestionLog) -> None:
        self._log = log
        self._number = 0

    async def add(self, *questions: str, days_ago: float = 1.0, **fields: Any) -> None:
        for question in questions:
            self._number += 1
            defaults: dict[str, Any] = {
                "asked_at": round(1e3 * time.time() - days_ago * DAY),
                "answer": self._number,
                "conversation": f"c{self._number}",
                "language": "german" if question.startswith(("Kann", "Wie")) else "english",
                "interface": "/chat",
                "outcome": "refused",
                "passages": (passage("boats.md"),),
            }
            self._log.add(LoggedQuestion(question=question, **defaults | fields))
        await self._log.flush()


async def find(log: QuestionLog, embedder: Any, limit: int = 50) -> Gaps:
    since = round(1e3 * time.time()) - 30 * DAY
    return await GapFinder(log, embedder).find(since=since, limit=limit)


async def test_wordings_of_two_languages_are_one_gap(log: QuestionLog, embedder: Counting) -> None:
    written = Log(log)
    await written.add(*KAYAK, days_ago=2)
    await written.add("How do I cook rice?", outcome="declined", days_ago=29)
    first, second = (await find(log, embedder)).gaps
    assert {first.question, *first.examples} == set(KAYAK)
    assert (first.questions, first.conversations) == (3, 3)
    assert (first.recent, first.before) == (3, 0)
    assert (second.recent, second.before) == (0, 1)
    assert (first.outcomes.refused, first.outcomes.declined) == (3, 0)
    assert (second.outcomes.refused, second.outcomes.declined) == (0, 1)
    assert [(each.language, each.questions) for each in first.languages] == [
        ("english", 2),
        ("german", 1),
    ]
    assert first.ids == [3, 2, 1]
    assert first.first_asked <= first.last_asked


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({"outcome": "refused"}, True),
        ({"outcome": "declined"}, True),
        ({"outcome": "answered", "unsupported": 1}, True),
        ({"outcome": "answered"}, False),
        ({"outcome": "failed"}, False),
        ({"outcome": "left", "unsupported": 1}, False),
        ({"outcome": "small_talk"}, False),
        ({"outcome": "refused", "stands_alone": False}, False),
        ({"outcome": "refused", "days_ago": 31}, False),
    ],
)
@pytest.mark.parametrize("voted", [False, True])
async def test_what_counts(
    fields: dict[str, Any], counts: bool, voted: bool, log: QuestionLog, embedder: Counting
) -> None:
    await Log(log).add(KAYAK[0], **fields)
    if voted:
        log.vote(1, "down", None, None)
        await log.flush()
        # No vote makes small talk, a follow-up or an old question a gap.
        counts = counts or fields["outcome"] in ("answered", "failed", "left")
    found = await find(log, embedder)
    assert found.questions == len(found.gaps) == counts
    if counts and voted:
        assert found.gaps[0].outcomes.down == 1


async def test_the_same_words_are_one_question(log: QuestionLog, embedder: Counting) -> None:
    """Embedded once, whatever their case, punctuation and white space."""
    await Log(log).add("Can I rent a kayak?", "can i rent  a kayak", "CAN I RENT A KAYAK!!")
    found = await find(log, embedder)
    assert [gap.questions for gap in found.gaps] == [3]
    assert found.gaps[0].examples == []
    assert [text for text in embedder.asked if text not in EXAMPLES] == ["CAN I RENT A KAYAK!!"]


async def test_nothing_is_embedded_twice(log: QuestionLog, embedder: Counting) -> None:
    """Vectors are stored, also for another process. Vectors of another model are of no use."""
    written = Log(log)
    vector = pack_vector(await embedder.embed_query("Where are the showers?"))
    await written.add("Where are the showers?", vector=vector, vector_model=embedder.model_id)
    await written.add("Are dogs allowed?", vector=vector, vector_model="another/model")
    embedder.asked.clear()
    for _ in range(2):
        assert (await find(log, embedder)).total == 2
    assert embedder.asked.count("Are dogs allowed?") == 1
    assert "Where are the showers?" not in embedder.asked


async def test_an_unchanged_log_is_not_read_again(log: QuestionLog, embedder: Counting) -> None:
    written = Log(log)
    await written.add(*KAYAK)
    finder, since = GapFinder(log, embedder), round(1e3 * time.time()) - 30 * DAY
    first = await finder.find(since=since, limit=5)
    assert await finder.find(since=since + 50, limit=5) is first
    assert len((await finder.find(since=since, limit=1)).gaps) == 1
    log.vote(1, "down", None, None)
    await log.flush()
    assert (await finder.find(since=since, limit=5)).gaps[0].outcomes.down == 1
    await written.add("How do I cook rice?")
    assert (await finder.find(since=since, limit=5)).total == 2
    assert await log.delete(4)
    assert (await finder.find(since=since, limit=5)).total == 1


@pytest.mark.parametrize("error", [BudgetExhausted(), upstream_error("The embedding service")])
async def test_without_the_embedder_questions_wait(
    error: Exception, log: QuestionLog, embedder: Counting
) -> None:
    """They are listed, and grouped once the service is back."""
    await Log(log).add(*KAYAK)
    embedder.error = error
    finder, since = GapFinder(log, embedder), round(1e3 * time.time()) - 30 * DAY
    found = await finder.find(since=since, limit=5)
    assert (found.total, found.questions, found.ungrouped) == (3, 3, 3)
    embedder.error = None
    found = await finder.find(since=since, limit=5)
    assert (found.total, found.questions, found.ungrouped) == (1, 3, 0)


async def test_while_the_log_cannot_be_written(
    log: QuestionLog, embedder: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its gaps are still listed, and nothing is embedded twice for them."""
    await Log(log).add(*KAYAK)
    finder, since = GapFinder(log, embedder), round(1e3 * time.time()) - 30 * DAY

    async def refuse(_: object) -> None:
        raise LogUnavailable("The disk is full.")

    monkeypatch.setattr(log, "write", refuse)
    found = await finder.find(since=since, limit=5)
    assert (found.total, found.questions, found.ungrouped) == (3, 3, 3)
    monkeypatch.setattr(QuestionLog, "failing", True)
    asked = len(embedder.asked)
    assert (await finder.find(since=since, limit=5)).total == 3
    assert not set(KAYAK) & set(embedder.asked[asked:])


async def test_a_result_without_the_embedder_is_not_kept(
    log: QuestionLog, embedder: Counting
) -> None:
    """Even if all questions have vectors: without the examples they cannot be compared."""
    await Log(log).add(*KAYAK)
    await find(log, embedder)
    finder, since = GapFinder(log, embedder), round(1e3 * time.time()) - 30 * DAY
    embedder.error = BudgetExhausted()
    found = await finder.find(since=since, limit=5)
    assert (found.total, found.ungrouped) == (3, 3)
    embedder.error = None
    found = await finder.find(since=since, limit=5)
    assert (found.total, found.ungrouped) == (1, 0)


async def test_a_vector_of_another_size_is_left_out(log: QuestionLog, embedder: Counting) -> None:
    written = Log(log)
    await written.add(*KAYAK)
    await written.add("Other?", vector=b"1234", vector_model=embedder.model_id)
    assert (await find(log, embedder)).total == 1


async def test_a_request_embeds_a_limited_number(
    log: QuestionLog, embedder: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.gaps, "_MAX_EMBEDDED", 2)
    await Log(log).add(*KAYAK, "How do I cook rice?", "Are dogs allowed?")
    assert [(await find(log, embedder)).ungrouped for _ in range(3)] == [3, 1, 0]


async def test_older_questions_join_the_groups_of_newer_ones(
    log: QuestionLog, embedder: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the counts are complete."""
    written = Log(log)
    await written.add("Are dogs allowed?", "Kann man Kajaks mieten?", "kayak rental price")
    await written.add("How do I cook rice?", "Can I rent a kayak?", "Where is the shower?")
    monkeypatch.setattr(lib.gaps, "_MAX_GROUPED", 3)
    found = await find(log, embedder)
    assert found.questions == sum(gap.questions for gap in found.gaps) == 6
    (kayak,) = (gap for gap in found.gaps if gap.question == "Can I rent a kayak?")
    assert kayak.questions == 3
    assert [gap.questions for gap in found.gaps].count(1) == 3


async def test_one_reader_who_asks_ten_times_counts_once(
    log: QuestionLog, embedder: Counting
) -> None:
    written = Log(log)
    await written.add(*(f"Are dogs allowed{'?' * n}" for n in range(10)), conversation="one")
    await written.add(*KAYAK[:2])
    first, second = (await find(log, embedder)).gaps
    assert (first.questions, first.conversations) == (2, 2)
    assert (second.questions, second.conversations) == (10, 1)


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ({}, {"passages": (passage("boats.md", 0.02),)}),  # far from the book
        ({"days_ago": 3}, {"days_ago": 25}),
    ],
)
async def test_most_needed_first(
    more: dict[str, Any], less: dict[str, Any], log: QuestionLog, embedder: Counting
) -> None:
    written = Log(log)
    await written.add("Are dogs allowed?", **more)
    await written.add("How do I cook rice?", **less)
    found = await find(log, embedder)
    assert [gap.question for gap in found.gaps] == ["Are dogs allowed?", "How do I cook rice?"]


async def test_votes_make_a_gap_more_needed(log: QuestionLog, embedder: Counting) -> None:
    await Log(log).add("How do I cook rice?", "Are dogs allowed?")
    log.vote(2, "down", None, None)
    await log.flush()
    found = await find(log, embedder)
    assert [gap.question for gap in found.gaps] == ["Are dogs allowed?", "How do I cook rice?"]


async def test_the_members_vote_for_the_nearest_page(log: QuestionLog, embedder: Counting) -> None:
    written = Log(log)
    await written.add(KAYAK[0], passages=(passage("rental.md", 0.9),))
    nearest = (passage("boats.md", 0.5, "Hire"), passage("boats.md", 0.1, "Other"))
    await written.add(*KAYAK[1:], passages=nearest)
    await written.add("Are dogs allowed?", passages=())
    near = {gap.question: gap.nearest for gap in (await find(log, embedder)).gaps}
    assert near.pop("Are dogs allowed?") is None
    (page,) = near.values()
    assert page is not None
    assert (page.file_path, page.heading, page.url, page.score) == ("boats.md", "Hire", None, 0.5)


async def test_a_whole_question_names_the_gap(log: QuestionLog, embedder: Counting) -> None:
    await Log(log).add("kayak rental", "rent kayak", "kayaks for rent", "Can I rent a kayak?")
    (gap,) = (await find(log, embedder)).gaps
    assert gap.question == "Can I rent a kayak?"
    assert len(gap.examples) == 3


async def test_a_long_text_does_not_name_the_gap(log: QuestionLog, embedder: Counting) -> None:
    written = Log(log)
    await written.add("I want to rent a kayak. " * 20)
    await written.add("kayak rental", "rent kayak", "kayaks for rent")
    (gap,) = (await find(log, embedder)).gaps
    assert gap.questions == 4
    assert len(gap.question) < 20


async def test_lists_of_a_large_gap_are_bounded(log: QuestionLog) -> None:
    class Clusters(Counting):
        async def embed_query(self, text: str) -> Vectors:
            random = np.random.default_rng(len(text))
            noise = random.normal(size=100).astype(np.float32)
            return l2_normalise(noise + 5 * (text not in EXAMPLES))

    embedder = GuardedEmbedder(Clusters())
    await Log(log).add(*(f"question {'x' * n}" for n in range(150)))
    (gap,) = (await find(log, embedder)).gaps
    assert gap.questions == 150
    assert len(gap.ids) == 100
    assert len({gap.question, *gap.examples}) == 6
    await embedder.close()


async def test_concurrent_requests_compute_once(log: QuestionLog, embedder: Counting) -> None:
    await Log(log).add(*KAYAK)
    finder, since = GapFinder(log, embedder), round(1e3 * time.time()) - 30 * DAY
    one, other = await asyncio.gather(*(finder.find(since=since, limit=5) for _ in range(2)))
    assert one is other
    assert len(embedder.asked) == len(EXAMPLES) + 3


async def test_an_empty_log_has_no_gaps(log: QuestionLog, embedder: Counting) -> None:
    """Nothing is embedded for it."""
    found = await find(log, embedder)
    assert (found.gaps, found.total, found.questions, found.ungrouped) == ([], 0, 0, 0)
    assert embedder.asked == []
