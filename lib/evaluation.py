"""Evaluate the book with golden questions, through the real search, prompt and model.

Metrics are shares from 0 to 1; higher is better. Each has a 95 % confidence interval.

    hit@n      share of an answer's parts in the first n passages
    mrr        mean reciprocal rank of the first passage with a part of the answer
    linked     share of citations that have a link
    links      share of links that are in the index, and in the built site if one is given
    support    share of cited sentences that their passages support, if `lib.attribution` can tell
    refusal    share of unanswerable questions that were refused
    answered   share of answerable questions that were not refused

Without answers, the first k passages count as citations.
"""

import asyncio
import math
import statistics
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from lib.answer import collect, stream
from lib.chat import ChatRequest, prepare
from lib.errors import QuireError
from lib.events import NOT_IN_BOOK, ChatAnswer, Event, TextDelta
from lib.golden import Question, find_ranks, recall
from lib.ranking import Passage
from lib.reader import open_reader
from lib.search import check_index
from lib.services import Services
from lib.sessions import conversation_key, new_session_id
from lib.store import all_urls

Numbers = npt.NDArray[np.float64]

_RESAMPLES: Final = 2_000
SEED: Final = 7
_Z: Final = 1.96
"""Quantile of the normal distribution for a two-sided 95 % interval."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its 95 % confidence interval."""

    value: float
    low: float
    high: float


def estimate(numbers: Sequence[float]) -> Estimate | None:
    """Return the mean and its bootstrap interval; None for no numbers."""
    if not numbers:
        return None
    weights = resample_weights(np.random.default_rng(SEED), len(numbers))
    return percentile_interval(statistics.fmean(numbers), weights @ np.asarray(numbers))


def estimate_share(numbers: Sequence[float]) -> Estimate | None:
    """Return the mean of numbers from 0 to 1 and its Wilson interval (1927); None for no numbers.

    Unlike a bootstrap interval, it has a width even if all numbers are equal. For numbers between
    0 and 1 it is conservative.
    """
    if not numbers:
        return None
    n, mean = len(numbers), statistics.fmean(numbers)
    centre = (mean + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(mean * (1 - mean) / n + _Z**2 / (4 * n**2))
    return Estimate(mean, max(0.0, min(mean, centre - half)), min(1.0, max(mean, centre + half)))


def resample_weights(generator: np.random.Generator, n: int) -> Numbers:
    """Draw `(RESAMPLES, n)` bootstrap weights."""
    return generator.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES) / n


def percentile_interval(value: float, resamples: Numbers) -> Estimate:
    """Return `value` with the middle 95 % of `resamples` `(n,)` as its interval."""
    low, high = np.percentile(resamples, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


_MIN_PASSAGES: Final = 10
"""Minimum number of passages that are judged."""
_MAX_CONTEXT_WINDOW: Final = 8_000
"""The maximum of a request, in tokens, so that all judged passages fit."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Options of an evaluation."""

    k: int
    """Passages per answer; the known place must be among them."""
    concurrency: int
    answers: bool
    """False: only search."""

    def judges(self, question: Question) -> bool:
        """Whether the question can be judged: a refusal needs an answer."""
        return self.answers or bool(question.answer)


@dataclass(frozen=True, slots=True)
class _EvaluatedLink:
    url: str | None
    valid: bool
    """Whether the address exists. False without an address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a question. Times are in seconds."""

    question: Question
    found: Sequence[Passage] = ()
    """Best first; at least `_MIN_PASSAGES` if available."""
    ranks: tuple[int | None, ...] = ()
    """For each part of the answer, the rank of the first passage that hits it, from 1."""
    links: Sequence[_EvaluatedLink] = ()
    answer: ChatAnswer | None = None
    search_seconds: float | None = None
    first_seconds: float | None = None
    """Time to the first token."""
    total_seconds: float | None = None
    error: str = ""
    """Why there is no answer, as a sentence."""

    @property
    def refused(self) -> bool:
        return self.answer is not None and self.answer.finish_reason == NOT_IN_BOOK


async def find_valid_links(services: Services, place: Path | None) -> set[str]:
    """Return the addresses in the index that exist at `place`, or all of them without one.

    `place` is as in `lib.link_check.missing_links`. Raises
    `lib.sites.sitemap.SitemapError` and `QuireError`.
    """
    settings, urls = services.settings, await all_urls(services.store)
    if place is None:
        return urls
    async with open_reader(settings, settings.book_content_path.resolve()) as reader:
        broken = await reader.check(urls, place)
    return urls - {each.url for each in broken}


async def evaluate(
    services: Services,
    questions: Sequence[Question],
    plan: Plan,
    known: Collection[str],
    done: Callable[[], object],
) -> list[Outcome]:
    """Ask all questions, some concurrently; return the outcomes in the same order.

    `known` holds the valid addresses. `done` is called after each question. A failed answer is an
    outcome too. Raises `IndexNotReady`, `IndexOutdated` and the errors of the store before the
    first question.
    """
    manifest = check_index(await services.store.manifest())
    if used := services.embedder.for_index(manifest.embedding_model):
        await used.load()  # so that loading does not count as latency
    gate = asyncio.Semaphore(plan.concurrency)

    async def one(question: Question) -> Outcome:
        async with gate:
            try:
                return await _evaluate_question(services, question, plan, known)
            except QuireError as error:
                return Outcome(question=question, error=error.message)
            finally:
                done()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(question)) for question in questions]
    return [task.result() for task in tasks]


async def _evaluate_question(
    services: Services, question: Question, plan: Plan, known: Collection[str]
) -> Outcome:
    """Ask one question. Raises `QuireError` if the search or an earlier question fails."""
    session = new_session_id()
    for earlier in question.history:
        if plan.answers:
            request = ChatRequest(question=earlier, session_id=session)
            await collect(stream(services.chat, await prepare(services.chat, request)))
        else:
            await services.chat.sessions.remember(conversation_key("", session), earlier, "")
    request = ChatRequest(question=question.text, session_id=session, k=plan.k)
    began = time.perf_counter()
    turn = await prepare(services.chat, request)
    searched = time.perf_counter() - began
    # Before the answer, which would become part of the conversation.
    looked = ChatRequest(
        question=question.text,
        session_id=session,
        k=max(_MIN_PASSAGES, plan.k),
        context_window=_MAX_CONTEXT_WINDOW,
    )
    found = (await prepare(services.chat, looked)).passages
    outcome = Outcome(
        question=question,
        found=found,
        ranks=find_ranks(question.answer, found),
        links=[_EvaluatedLink(each.url, each.url in known) for each in found[: plan.k]],
        search_seconds=searched,
    )
    if not plan.answers:
        return outcome
    first: list[float] = []
    began = time.perf_counter()

    def see(event: Event) -> None:
        if isinstance(event, TextDelta) and not first:
            first.append(time.perf_counter() - began)

    try:
        async with aclosing(stream(services.chat, turn)) as events:
            answer = await collect(events, see)
    except QuireError as error:
        return replace(outcome, links=(), error=error.message)
    urls = [each.source.url for each in answer.citations]
    return replace(
        outcome,
        links=[_EvaluatedLink(url, url in known) for url in urls],
        answer=answer,
        first_seconds=searched + first[0] if first else None,
        total_seconds=searched + time.perf_counter() - began,
    )


HITS: Final = (1, 5, 10)
"""The n of hit@n that are always reported."""
SHARES: Final = ("mrr", "linked", "links", "support", "refusal", "answered")
"""The other metrics."""


@dataclass(frozen=True, slots=True)
class Metric:
    estimate: Estimate | None
    """None if there was nothing to measure."""
    n: int
    """Number of questions, citations or links."""


def compute_metrics(outcomes: Iterable[Outcome], hits: Iterable[int]) -> dict[str, Metric]:
    """Compute the metrics by name, for the given n of hit@n. A failed answer counts as wrong."""
    outcomes = list(outcomes)
    answerable = [each for each in outcomes if each.question.answer]
    other = [each for each in outcomes if not each.question.answer]
    links = [link for each in outcomes for link in each.links]
    given = [link.valid for link in links if link.url]
    measured = {
        f"hit@{n}": _measure_share([_hit_rate(each, n) for each in answerable]) for n in hits
    }
    first = [min(filter(None, each.ranks), default=0) for each in answerable]
    measured["mrr"] = Metric(estimate([1 / nth if nth else 0.0 for nth in first]), len(first))
    measured["linked"] = _measure_share([link.url is not None for link in links])
    measured["links"] = _measure_share(given)
    answers = [each.answer for each in outcomes if each.answer]
    if answers:
        told = [each.supported for answer in answers for each in answer.check]
        measured["support"] = _measure_share([each for each in told if each is not None])
        measured["refusal"] = _measure_share([each.refused for each in other])
        replied = [bool(each.answer) and not each.refused for each in answerable]
        measured["answered"] = _measure_share(replied)
    return measured


def _hit_rate(outcome: Outcome, n: int) -> float:
    return recall(outcome.ranks, n) if outcome.ranks else 0.0


def _measure_share(numbers: Sequence[float]) -> Metric:
    return Metric(estimate_share(numbers), len(numbers))


def describe_failures(outcome: Outcome, k: int) -> list[str]:
    """Describe what is wrong with an outcome, in sentences; empty if nothing is."""
    if outcome.error:
        return [outcome.error]
    wrong = []
    if outcome.question.answer and _hit_rate(outcome, k) < 1:
        wrong.append(f"The first {k} passages do not contain the answer.")
    if outcome.refused and outcome.question.answer:
        wrong.append("Refused, although the book answers it.")
    if outcome.answer and not outcome.refused and not outcome.question.answer:
        wrong.append("Answered, although the book does not answer it.")
    broken = [each.url for each in outcome.links if each.url and not each.valid]
    return wrong + [f"The link {url} is broken." for url in broken]
