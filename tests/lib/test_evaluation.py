"""Asking golden questions, of the tiny book and its real index."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from lib.evaluation import Outcome, Plan, evaluate, known_links
from lib.evaluation_metrics import failures, metrics
from lib.golden import Place, Question
from lib.services import Services, open_services
from lib.sites.link_check import SitemapError
from tests.conftest import MakeSettings
from tests.tiny_book import BOOK, SITE, write_book
from tests.upstream import Drop, Status, Upstream, answer, delta

TIDES = "guide/tides.md"
PLAN = Plan(k=5, concurrency=4, answers=True)
SEARCH_ONLY = Plan(k=5, concurrency=4, answers=False)


def about(text: str, quote: str = "", file: str = TIDES, history: Sequence[str] = ()) -> Question:
    start = BOOK[file].index(quote)
    place = Place(file, start, start + len(quote or BOOK[file]), whole=not quote)
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
    known = await services.store.urls()
    return await evaluate(services, questions, plan, known, lambda: None)


async def test_what_is_found_and_answered(services: Services) -> None:
    done: list[None] = []
    tide, fenders, wrong = await evaluate(
        services,
        [TIDE, FENDERS, WRONG],
        PLAN,
        await services.store.urls(),
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
    assert failures(unknown, 5) == []


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
    assert "refusal" not in metrics([outcome], [1])


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
    assert "not complete" in broken.error
    assert failures(broken, 5) == [broken.error]
    assert whole.error == ""
    assert broken.links == ()
    measured = metrics([broken, whole], [5])
    for name, share in (("hit@5", 1.0), ("answered", 0.5)):  # the search is not to blame
        found = measured[name].estimate
        assert found is not None
        assert found.value == share


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
    known = await known_links(services, site)
    assert f"{SITE}/docs/guide/tides#currents" in known
    assert f"{SITE}/docs/guide/mooring#fenders" not in known
    assert f"{SITE}/docs/guide/mooring#fenders" in await known_links(services, None)
    (outcome,) = await evaluate(services, [FENDERS], PLAN, known, lambda: None)
    assert f"{SITE}/docs/guide/mooring#fenders leads nowhere." in failures(outcome, 5)
    with pytest.raises(SitemapError):
        await known_links(services, tmp_path / "none.xml")
