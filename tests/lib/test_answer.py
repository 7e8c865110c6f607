"""Charging answers and questions to the budget."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress

import pytest

import lib.embedding_openai
import lib.generation
from lib.answer import _prompt_tokens, _reserve_tokens
from lib.budget import Budget, BudgetExhausted, BudgetLimits, MemoryBudget
from lib.embedding import GuardedEmbedder
from lib.embedding_openai import OpenAIEmbedder
from lib.errors import UpstreamError
from lib.generation import ChatModel, Delta, Finish, Idle, PromptMessage, model_breaker
from lib.pricing import Price
from lib.resilience import Breaker
from tests.upstream import Drop, Hang, Reply, Status, Upstream, answer, delta, event, finish

ASKED = [PromptMessage("system", "Rules."), PromptMessage("user", "When does the tide turn?")]
MOST = 50
WHOLE = _prompt_tokens(ASKED) + MOST
PRICE = Price(1.0, 10.0)


def make(base_url: str) -> ChatModel:
    return ChatModel(
        api_key="",
        base_url=base_url,
        name="m",
        token_limit_field="max_tokens",
        max_tokens=MOST,
        timeout=0.3,
    )


@pytest.fixture
async def model(upstream: Upstream) -> AsyncIterator[ChatModel]:
    made = make(upstream.base_url)
    yield made
    await made.close()


async def ask(
    budget: Budget,
    model: ChatModel,
    price: Price | None = PRICE,
    breaker: Breaker | None = None,
) -> AsyncGenerator[Delta | Idle | Finish, None]:
    breaker = breaker or model_breaker()
    reservation = await _reserve_tokens(budget, ASKED, reader="a", max_tokens=MOST, price=price)
    with reservation, breaker.call():
        async with aclosing(model.generate(ASKED)) as pieces:
            async for piece in pieces:
                reservation.observe(piece)
                yield piece


async def read_all(
    stream: AsyncGenerator[Delta | Idle | Finish, None],
) -> list[Delta | Idle | Finish]:
    """The pieces before the end or a failure."""
    pieces = []
    with suppress(UpstreamError):
        async for piece in stream:
            pieces.append(piece)  # noqa: PERF401
    return pieces


async def test_a_whole_answer_costs_what_it_took(model: ChatModel, upstream: Upstream) -> None:
    budget = MemoryBudget(BudgetLimits(tokens=WHOLE))
    upstream.replies.append(answer("The", " tide"))
    pieces = []
    async for piece in ask(budget, model):
        if isinstance(piece, Delta):
            assert budget.state().tokens_reserved == WHOLE
        pieces.append(piece)
    assert pieces[-1] == Finish("stop", 100, 20)
    state = budget.state()
    assert (state.tokens, state.tokens_reserved) == (120, 0)
    assert state.usd == pytest.approx((100 * 1.0 + 20 * 10.0) / 1e6)


async def test_without_room_the_model_is_not_asked(model: ChatModel, upstream: Upstream) -> None:
    budget = MemoryBudget(BudgetLimits(tokens=WHOLE - 1))
    with pytest.raises(BudgetExhausted):
        await anext(ask(budget, model))
    assert upstream.requests == []
    with pytest.raises(BudgetExhausted):
        await anext(ask(MemoryBudget(BudgetLimits(usd=1.0)), model, price=None))


@pytest.mark.parametrize("read", [0, 1])
async def test_a_reader_who_leaves_has_cost_it_all(
    model: ChatModel, upstream: Upstream, read: int
) -> None:
    """Also during the model's reasoning, which the provider bills."""
    budget = MemoryBudget(BudgetLimits(tokens=WHOLE))
    upstream.replies.append([delta("a"), Hang()] if read else [Hang()])
    async with aclosing(ask(budget, model)) as pieces:
        for _ in range(read):
            await anext(pieces)
        waiting = asyncio.ensure_future(anext(pieces))
        await upstream.until(lambda u: bool(u.chats()))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    state = budget.state()
    assert (state.tokens, state.tokens_reserved) == (WHOLE, 0)


@pytest.mark.parametrize(
    ("reply", "whole"),
    [
        (Status(429), False),
        (Status(500), False),
        (Status(401), False),
        ([Drop()], False),
        ([delta("a"), Drop()], True),
        ([delta("a"), event({"error": "sk-vendor"})], True),
        ([delta("a"), finish()], True),  # without usage
    ],
    ids=str,
)
async def test_what_was_refused_costs_nothing_and_what_broke_off_all(
    model: ChatModel, upstream: Upstream, reply: Reply, whole: bool
) -> None:
    budget = MemoryBudget(BudgetLimits())
    upstream.replies.append(reply)
    await read_all(ask(budget, model))
    state = budget.state()
    assert (state.tokens, state.tokens_reserved) == (WHOLE if whole else 0, 0)


async def test_a_long_silence_may_have_been_billed(
    model: ChatModel, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.generation, "_IDLE_SECONDS", 0.2)
    budget = MemoryBudget(BudgetLimits())
    upstream.replies.append([Hang()])
    assert [type(piece) for piece in await read_all(ask(budget, model))] == [Idle]
    assert budget.state().tokens == WHOLE


async def test_what_the_breaker_spares_costs_nothing() -> None:
    nobody = make("http://127.0.0.1:1")
    budget, breaker = MemoryBudget(BudgetLimits(tokens=WHOLE)), model_breaker()
    for _ in range(20):
        with pytest.raises(UpstreamError, match="cannot be reached"):
            await anext(ask(budget, nobody, breaker=breaker))
    assert breaker.refused == 15
    assert budget.state().tokens + budget.state().tokens_reserved == 0
    await nobody.close()


def test_the_estimate_is_no_lower_than_the_text() -> None:
    assert _prompt_tokens(ASKED) > _prompt_tokens(ASKED[1:]) > 6


@pytest.fixture
async def service(upstream: Upstream) -> AsyncIterator[OpenAIEmbedder]:
    made = OpenAIEmbedder(api_key="", base_url=upstream.base_url, model="m")
    yield made
    await made.close()


async def test_a_question_s_vector_is_paid_for_and_a_document_s_is_not(
    service: OpenAIEmbedder, upstream: Upstream
) -> None:
    budget = MemoryBudget(BudgetLimits(tokens=7, reader_tokens=1))
    embedder = GuardedEmbedder(service, None, budget, PRICE)
    tokens = embedder.billable_tokens("When?")
    assert 0 < tokens <= 7 < 2 * 4 * tokens
    upstream.embedding_gate = asyncio.Event()
    asking = asyncio.create_task(embedder.embed_query("When?"))
    await upstream.until(lambda u: bool(u.embedded()))
    assert budget.state().tokens_reserved == tokens
    upstream.embedding_gate.set()
    await asking
    assert (budget.state().tokens, budget.state().tokens_reserved) == (tokens, 0)
    assert budget.state().usd == pytest.approx(tokens / 1e6)
    await embedder.embed_documents(["The tide turns every six hours."])
    assert budget.state().tokens == tokens
    for n in range(7):
        with suppress(BudgetExhausted):
            await embedder.embed_query(f"When{n}")
    assert budget.state().tokens == 7 // tokens * tokens
    assert len(upstream.embedded()) == 7 // tokens + 1


async def test_a_question_that_the_service_refuses_costs_nothing(
    service: OpenAIEmbedder, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.embedding_openai, "_QUERY_RETRIES", 0)  # after half a second
    budget = MemoryBudget(BudgetLimits(tokens=1_000))
    embedder = GuardedEmbedder(service, None, budget, PRICE)
    upstream.embedding_replies.append(Status(401))
    with pytest.raises(UpstreamError):
        await embedder.embed_query("When?")
    assert (budget.state().tokens, budget.state().tokens_reserved) == (0, 0)
    upstream.embedding_replies.append([Drop()])
    with pytest.raises(UpstreamError):
        await embedder.embed_query("When?")
    assert budget.state().tokens == embedder.billable_tokens("When?")


async def test_a_vector_without_a_price_is_not_asked_for_where_money_is_counted(
    service: OpenAIEmbedder, upstream: Upstream
) -> None:
    embedder = GuardedEmbedder(service, None, MemoryBudget(BudgetLimits(usd=1.0)), None)
    with pytest.raises(BudgetExhausted):
        await embedder.embed_query("When?")
    assert upstream.embedded() == []
