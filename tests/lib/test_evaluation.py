"""Evaluate golden questions on the tiny book with a real index."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from lib.attribution import SentenceCheck
from lib.evaluation import (
    Estimate,
    Outcome,
    Plan,
    _EvaluatedLink,
    compute_metrics,
    describe_failures,
    estimate,
    estimate_share,
    evaluate,
    find_valid_links,
)
from lib.events import NOT_IN_BOOK, ChatAnswer
from lib.golden import GoldPlace, Question
from lib.services import Services, open_services
from lib.sites.sitemap import SitemapError
from lib.store import all_urls
from tests.conftest import MakeSettings
from tests.tiny_book import BOOK, SITE, write_book
from tests.upstream import Drop, Status, Upstream, answer, delta

TIDES = "guide/tides.md"
PLAN = Plan(k=5, concurrency=4, answers=True)
SEARCH_ONLY = Plan(k=5, concurrency=4, answers=False)


def about(text: str, quote: str = "", file: str = TIDES, history: Sequence[str] = ()) -> Question:
    start = BOOK[file].index(quote)
    place = GoldPlace(file, start, start + len(quote or BOOK[file]), whole=not quote)
    return Question(text, ((place,),), history=tuple(history))


TIDE = about("When does the tide turn?", "The tide turns every six hours")
FENDERS = about("How many fenders?", "Hang three fenders", "guide/mooring.md")
WRONG = about("When does the tide turn?", "A lighthouse keeper", "guide/odd.md")
UNKNOWN = Question("Who composed the ninth symphony?")


@pytest.fixture
async def services(make_settings: MakeSettings) -> AsyncIterator[Services]:
    async with open_services(make_settings()) as opened:
        await opened.store.open()
        yield opened


@pytest.fixture
async def generating(make_settings: MakeSettings, upstream: Upstream) -> AsyncIterator[Services]:
    async with open_services(make_settings(openai_base_url=upstream.base_url)) as opened:
        await opened.store.open()
        yield opened


async def outcomes_of(services: Services, *questions: Question, plan: Plan = PLAN) -> list[Outcome]:
    known = await all_urls(services.store)
    return await evaluate(services, questions, plan, known, lambda: None)


async def test_what_is_found_and_answered(services: Services) -> None:
    done: list[None] = []
    tide, fenders, wrong = await evaluate(
        services,
        [TIDE, FENDERS, WRONG],
        PLAN,
        await all_urls(services.store),
        lambda: done.append(None),
    )
    assert len(done) == 3
    assert (tide.ranks, fenders.ranks) == ((1,), (1,))
    assert wrong.ranks[0] != 1
    assert tide.answer is not None
    assert "every six hours" in tide.answer.answer
    assert [link.valid for link in tide.links] == [True] * len(tide.answer.citations)
    assert tide.search_seconds is not None
    assert tide.first_seconds is not None
    assert tide.total_seconds is not None
    assert 0 < tide.search_seconds < tide.first_seconds <= tide.total_seconds


async def test_what_the_book_does_not_say_is_refused(services: Services) -> None:
    tide, unknown = await outcomes_of(services, TIDE, UNKNOWN)
    assert not tide.refused
    assert unknown.refused
    assert describe_failures(unknown, 5) == []


async def test_without_answers_only_passages_are_looked_for(
    generating: Services, upstream: Upstream
) -> None:
    (outcome,) = await outcomes_of(
        generating, about("And then?", history=["When does it turn?"]), plan=SEARCH_ONLY
    )
    assert upstream.requests == []
    assert outcome.answer is None
    assert outcome.total_seconds is None
    assert [link.url for link in outcome.links] == [each.url for each in outcome.found[:5]]
    assert "refusal" not in compute_metrics([outcome], [1])


async def test_what_was_asked_before_is_asked_in_the_same_session(
    generating: Services, upstream: Upstream
) -> None:
    await outcomes_of(generating, about("And the tide then?", history=["When does it turn?"]))
    first, second = upstream.chats()
    assert "When does it turn?" in first["messages"][-1]["content"]
    assert "When does it turn?" in [each["content"] for each in second["messages"]]


async def test_an_answer_that_breaks_off_is_an_outcome(
    generating: Services, upstream: Upstream
) -> None:
    upstream.replies += [[delta("The tide "), Drop()], answer("It turns [1].")]
    broken, whole = await outcomes_of(
        generating, TIDE, TIDE, plan=Plan(k=5, concurrency=1, answers=True)
    )
    assert "incomplete" in broken.error
    assert describe_failures(broken, 5) == [broken.error]
    assert whole.error == ""
    assert broken.links == ()
    measured = compute_metrics([broken, whole], [5])
    for name, expected in (("hit@5", 1.0), ("answered", 0.5)):  # the failure is not the search's
        found = measured[name].estimate
        assert found is not None
        assert found.value == expected


async def test_a_question_that_cannot_be_asked_is_an_outcome(services: Services) -> None:
    refused, whole = await outcomes_of(services, Question("tide " * 300), TIDE)
    assert refused.error.startswith("The field question ")
    assert refused.found == ()
    assert whole.error == ""


async def test_a_model_that_refuses_leaves_the_book_s_own_words(
    generating: Services, upstream: Upstream
) -> None:
    upstream.replies.append(Status(401))
    (outcome,) = await outcomes_of(generating, TIDE)
    assert outcome.answer is not None
    assert outcome.answer.mode == "extractive"


async def test_several_are_asked_at_once(generating: Services, upstream: Upstream) -> None:
    gate = asyncio.Event()
    upstream.replies += [[gate, *answer("Later [1].")] for _ in range(3)]
    plan = Plan(k=5, concurrency=2, answers=True)
    asking = asyncio.create_task(outcomes_of(generating, TIDE, FENDERS, UNKNOWN, plan=plan))
    await upstream.until(lambda u: len(u.chats()) == 2)
    gate.set()
    outcomes = await asking
    assert [each.question for each in outcomes] == [TIDE, FENDERS, UNKNOWN]


async def test_k_bounds_the_answer_but_not_what_is_looked_at(services: Services) -> None:
    (outcome,) = await outcomes_of(
        services, about("boats, tides, harbour?"), plan=Plan(k=1, concurrency=1, answers=True)
    )
    assert len(outcome.links) == 1
    assert len(outcome.found) > 1


async def test_links_are_compared_with_the_built_site(services: Services, tmp_path: Path) -> None:
    page = '<h1>Tides</h1><h2 id="currents">'
    site = write_book(tmp_path, {"docs/guide/tides/index.html": page})
    known = await find_valid_links(services, site)
    assert f"{SITE}/docs/guide/tides#currents" in known
    assert f"{SITE}/docs/guide/mooring#fenders" not in known
    assert f"{SITE}/docs/guide/mooring#fenders" in await find_valid_links(services, None)
    (outcome,) = await evaluate(services, [FENDERS], PLAN, known, lambda: None)
    assert f"The link {SITE}/docs/guide/mooring#fenders is broken." in describe_failures(outcome, 5)
    with pytest.raises(SitemapError):
        await find_valid_links(services, tmp_path / "none.xml")


def test_an_estimate_is_the_same_each_time() -> None:
    numbers = [0.0, 1.0] * 50
    first = estimate(numbers)
    assert first is not None
    assert first == estimate(numbers)
    assert first.value == 0.5
    # 1.96 standard errors of 100 coin tosses are 0.098.
    assert 0.08 < first.value - first.low < 0.12
    assert 0.08 < first.high - first.value < 0.12
    assert estimate([]) is None
    assert estimate([1.0]) == Estimate(1, 1, 1)


def test_wilson_s_interval() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for hits, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        found = estimate_share([1.0] * hits + [0.0] * (n - hits))
        assert found is not None
        assert found.value == pytest.approx(hits / n)
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_all_the_same_leaves_doubt() -> None:
    sure = estimate_share([1.0] * 30)
    assert sure is not None
    assert (sure.value, sure.high) == (1, 1)
    assert 0.85 < sure.low < 0.9
    assert estimate_share([]) is None


TIDE_QUESTION = Question("When does the tide turn?", ((GoldPlace("tides.md", 15, 40),),))


def outcome(question: Question, *, rank: int | None = None, reason: str = "stop") -> Outcome:
    given = ChatAnswer(
        answer="It turns.",
        citations=[],
        session_id="s",
        response_time=0.1,
        tokens_used=120,
        finish_reason=reason,
        mode="generated",
    )
    return Outcome(question=question, ranks=(rank,) if question.answer else (), answer=given)


def value(estimate: Estimate | None) -> float:
    assert estimate is not None
    return estimate.value


def test_ranks_make_shares() -> None:
    measured = compute_metrics(
        [outcome(TIDE_QUESTION, rank=nth) for nth in (1, 2, 6, None)], [1, 5, 10]
    )
    values = {name: value(measured[name].estimate) for name in ("hit@1", "hit@5", "hit@10", "mrr")}
    assert values == pytest.approx(
        {"hit@1": 0.25, "hit@5": 0.5, "hit@10": 0.75, "mrr": (1 + 1 / 2 + 1 / 6) / 4}
    )
    assert measured["hit@5"].n == 4


def test_to_refuse_is_right_or_wrong() -> None:
    refused = outcome(UNKNOWN, reason=NOT_IN_BOOK)
    too_shy = outcome(TIDE_QUESTION, rank=1, reason=NOT_IN_BOOK)
    too_bold = outcome(UNKNOWN)
    measured = compute_metrics([refused, too_bold, too_shy, outcome(TIDE_QUESTION, rank=1)], [5])
    assert value(measured["refusal"].estimate) == 0.5
    assert value(measured["answered"].estimate) == 0.5
    assert describe_failures(refused, 5) == []
    assert describe_failures(too_shy, 5) == ["Refused, although the book answers it."]
    assert describe_failures(too_bold, 5) == ["Answered, although the book does not answer it."]


def test_sentences_that_nobody_can_judge_are_left_out() -> None:
    told = [
        SentenceCheck(sentence="It turns.", markers=[1], supported=each, score=0.5, quote=None)
        for each in (True, False, True, None)
    ]
    answered = outcome(TIDE_QUESTION, rank=1)
    assert answered.answer is not None
    given = msgspec.structs.replace(answered.answer, check=told)
    support = compute_metrics([replace(answered, answer=given)], [5])["support"]
    assert value(support.estimate) == pytest.approx(2 / 3)
    assert support.n == 3


def test_only_links_that_were_given_can_lead_nowhere() -> None:
    links = [
        _EvaluatedLink("https://a.example", True),
        _EvaluatedLink("https://b.example", False),
        _EvaluatedLink(None, False),
    ]
    measured = compute_metrics([Outcome(question=TIDE_QUESTION, ranks=(1,), links=links)], [5])
    assert value(measured["linked"].estimate) == pytest.approx(2 / 3)
    assert value(measured["links"].estimate) == 0.5
    assert (
        compute_metrics([Outcome(question=TIDE_QUESTION, ranks=(1,))], [5])["links"].estimate
        is None
    )
