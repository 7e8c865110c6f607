"""The book's own golden questions, asked as a reader would ask them, and what became of each.

Everything is real: the search, the prompt, the model, the citations. `lib.evaluation` says
how good that is.

How far a measured figure can be trusted: the ends of its 95 % interval.

Another set of as many such questions would likely come out between them.

How well golden questions were answered. Metrics are shares from 0 to 1, and more is better:

    hit@n      share of an answer's parts that the first n passages hold
    mrr        1 over the place of the first passage that holds a part, 0 if none does
    linked     citations that have a link
    links      links that the index knows, and the built site where it was given
    support    cited sentences that their passages support, of those that `lib.attribution` can tell
    refusal    questions that the book does not answer, and that were refused
    answered   questions that the book answers, and that were not refused

Where no answers were asked for, the first k passages stand for the citations.
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
from lib.search import check_index
from lib.services import Services
from lib.sessions import new_session_id
from lib.sites.detection import detect_site
from lib.sites.link_check import missing_links

Numbers = npt.NDArray[np.float64]

RESAMPLES: Final = 2_000
SEED: Final = 7
Z: Final = 1.96
"""Standard errors on either side that 95 % lie within."""


@dataclass(frozen=True, slots=True)
class Estimate:
    value: float
    low: float
    high: float


def estimate(numbers: Sequence[float]) -> Estimate | None:
    """The mean and its interval by resampling; None for no numbers."""
    if not numbers:
        return None
    weights = resample_weights(np.random.default_rng(SEED), len(numbers))
    return percentile_interval(statistics.fmean(numbers), weights @ np.asarray(numbers))


def estimate_share(numbers: Sequence[float]) -> Estimate | None:
    """The mean of numbers from 0 to 1 and its interval; None for no numbers.

    The interval is Wilson's (1927), which says something even where all numbers are the same:
    resampling those would find no doubt at all. For numbers between 0 and 1 it is wider than
    need be.
    """
    if not numbers:
        return None
    n, mean = len(numbers), statistics.fmean(numbers)
    centre = (mean + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(mean * (1 - mean) / n + Z**2 / (4 * n**2))
    return Estimate(mean, max(0.0, min(mean, centre - half)), min(1.0, max(mean, centre + half)))


def resample_weights(generator: np.random.Generator, n: int) -> Numbers:
    """`(RESAMPLES, n)`: the weight of each of `n` where as many are drawn with repetitions."""
    return generator.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n


def percentile_interval(value: float, resamples: Numbers) -> Estimate:
    """`value` between the ends of the middle 95 % of `resamples` `(n,)`."""
    low, high = np.percentile(resamples, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


MIN_PASSAGES: Final = 10
"""Passages that are looked at, at the least."""
MAX_CONTEXT_WINDOW: Final = 8_000
"""Tokens: the most that a question may ask for, and enough for all passages that are looked at."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to ask."""

    k: int
    """Passages of an answer, among which its place has to be."""
    concurrency: int
    answers: bool
    """False: only the passages are looked for."""

    def judges(self, question: Question) -> bool:
        """Whether it can tell right from wrong: to refuse takes an answer."""
        return self.answers or bool(question.answer)


@dataclass(frozen=True, slots=True)
class EvaluatedLink:
    """Where a citation, or a passage, leads."""

    url: str | None
    valid: bool
    """Whether something is there. False as well for no address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a question. Times are in seconds."""

    question: Question
    found: Sequence[Passage] = ()
    """Best first; at least `MIN_PASSAGES`, if there are as many."""
    ranks: tuple[int | None, ...] = ()
    """Of each part of the answer, the first passage that hits it, from 1."""
    links: Sequence[EvaluatedLink] = ()
    answer: ChatAnswer | None = None
    search_seconds: float | None = None
    first_seconds: float | None = None
    """From the question to the first piece of the answer."""
    total_seconds: float | None = None
    error: str = ""
    """Why there is no answer; a sentence."""

    @property
    def refused(self) -> bool:
        return self.answer is not None and self.answer.finish_reason == NOT_IN_BOOK


async def find_valid_links(services: Services, place: Path | None) -> set[str]:
    """The addresses in the index that lead somewhere.

    Without a `place` (as in `lib.sites.link_check.missing_links`) all of them are taken to. Raises
    `lib.sites.link_check.SitemapError`, and what the store raises.
    """
    settings, urls = services.settings, await services.store.urls()
    if place is None:
        return urls
    site = await asyncio.to_thread(
        detect_site,
        settings.book_content_path.resolve(),
        site_url=settings.site_url,
        generator=settings.site_generator,
        options=settings.site_options,
    )
    missing = await asyncio.to_thread(missing_links, urls, place, site.base_url)
    return urls - {each.url for each in missing}


async def evaluate(
    services: Services,
    questions: Sequence[Question],
    plan: Plan,
    known: Collection[str],
    done: Callable[[], object],
) -> list[Outcome]:
    """Ask them all, some at once, and call `done` after each; the outcomes in the same order.

    `known` are the addresses that lead somewhere. An answer that breaks off is an outcome like any
    other. Raises `IndexNotReady` and `IndexOutdated`, and what the store raises, before the first.
    """
    check_index(await services.store.manifest(), services.embedder)
    await services.embedder.load()  # what the first reader waits for is not what readers wait for
    gate = asyncio.Semaphore(plan.concurrency)

    async def one(question: Question) -> Outcome:
        async with gate:
            try:
                return await evaluate_question(services, question, plan, known)
            except QuireError as error:
                return Outcome(question=question, error=error.message)
            finally:
                done()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(question)) for question in questions]
    return [task.result() for task in tasks]


async def evaluate_question(
    services: Services, question: Question, plan: Plan, known: Collection[str]
) -> Outcome:
    """Raises `QuireError` where it cannot be searched, or an earlier question not be answered."""
    session = new_session_id()
    for earlier in question.history:
        if plan.answers:
            request = ChatRequest(question=earlier, session_id=session)
            await collect(stream(services.chat, await prepare(services.chat, request)))
        else:
            await services.chat.sessions.remember(session, earlier, "")
    request = ChatRequest(question=question.text, session_id=session, k=plan.k)
    began = time.perf_counter()
    turn = await prepare(services.chat, request)
    searched = time.perf_counter() - began
    # Before the answer, which would be part of the conversation.
    looked = ChatRequest(
        question=question.text,
        session_id=session,
        k=max(MIN_PASSAGES, plan.k),
        context_window=MAX_CONTEXT_WINDOW,
    )
    found = (await prepare(services.chat, looked)).passages
    outcome = Outcome(
        question=question,
        found=found,
        ranks=find_ranks(question.answer, found),
        links=[EvaluatedLink(each.url, each.url in known) for each in found[: plan.k]],
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
        links=[EvaluatedLink(url, url in known) for url in urls],
        answer=answer,
        first_seconds=searched + first[0] if first else None,
        total_seconds=searched + time.perf_counter() - began,
    )


HITS: Final = (1, 5, 10)
"""The n of hit@n that are always told."""
SHARES: Final = ("mrr", "linked", "links", "support", "refusal", "answered")
"""The other metrics."""


@dataclass(frozen=True, slots=True)
class Metric:
    estimate: Estimate | None
    """None where there was nothing to measure."""
    n: int
    """Of how many questions, citations or links."""


def compute_metrics(outcomes: Iterable[Outcome], hits: Iterable[int]) -> dict[str, Metric]:
    """By name, for these n of hit@n. What broke off counts as not right."""
    outcomes = list(outcomes)
    answerable = [each for each in outcomes if each.question.answer]
    other = [each for each in outcomes if not each.question.answer]
    links = [link for each in outcomes for link in each.links]
    given = [link.valid for link in links if link.url]
    measured = {f"hit@{n}": measure_share([hit_rate(each, n) for each in answerable]) for n in hits}
    first = [min(filter(None, each.ranks), default=0) for each in answerable]
    measured["mrr"] = Metric(estimate([1 / nth if nth else 0.0 for nth in first]), len(first))
    measured["linked"] = measure_share([link.url is not None for link in links])
    measured["links"] = measure_share(given)
    answers = [each.answer for each in outcomes if each.answer]
    if answers:
        told = [each.supported for answer in answers for each in answer.check]
        measured["support"] = measure_share([each for each in told if each is not None])
        measured["refusal"] = measure_share([each.refused for each in other])
        measured["answered"] = measure_share([bool(e.answer) and not e.refused for e in answerable])
    return measured


def hit_rate(outcome: Outcome, n: int) -> float:
    return recall(outcome.ranks, n) if outcome.ranks else 0.0


def measure_share(numbers: Sequence[float]) -> Metric:
    return Metric(estimate_share(numbers), len(numbers))


def describe_failures(outcome: Outcome, k: int) -> list[str]:
    """What is wrong with an outcome, in sentences; nothing where all is well."""
    if outcome.error:
        return [outcome.error]
    wrong = []
    if outcome.question.answer and hit_rate(outcome, k) < 1:
        wrong.append(f"The first {k} passages do not hold the answer.")
    if outcome.refused and outcome.question.answer:
        wrong.append("It was refused, though the book answers it.")
    if outcome.answer and not outcome.refused and not outcome.question.answer:
        wrong.append("It was answered, though the book does not.")
    wrong += [f"{each.url} leads nowhere." for each in outcome.links if each.url and not each.valid]
    return wrong
