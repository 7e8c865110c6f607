"""The book's own golden questions, asked as a reader would ask them, and what became of each.

Everything is real: the search, the prompt, the model, the citations. `lib.evaluation_metrics` says
how good that is.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from lib.answer import collect, stream
from lib.chat import ChatRequest, prepare
from lib.errors import QuireError
from lib.events import ChatAnswer, Chunk, Event
from lib.golden import Question, ranks
from lib.link_check import missing_links
from lib.passages import Passage
from lib.search import check_index
from lib.services import Services
from lib.sessions import new_session_id
from lib.site_detection import detect_site
from lib.turn_end import NOT_IN_BOOK

LOOKED_AT: Final = 10
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
class Link:
    """Where a citation, or a passage, leads."""

    url: str | None
    valid: bool
    """Whether something is there. False as well for no address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a question. Times are in seconds."""

    question: Question
    found: Sequence[Passage] = ()
    """Best first; at least `LOOKED_AT`, if there are as many."""
    ranks: tuple[int | None, ...] = ()
    """Of each part of the answer, the first passage that hits it, from 1."""
    links: Sequence[Link] = ()
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


async def known_links(services: Services, place: Path | None) -> set[str]:
    """The addresses in the index that lead somewhere.

    Without a `place` (as in `lib.link_check.missing_links`) all of them are taken to. Raises
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
                return await ask(services, question, plan, known)
            except QuireError as error:
                return Outcome(question=question, error=error.message)
            finally:
                done()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(question)) for question in questions]
    return [task.result() for task in tasks]


async def ask(
    services: Services, question: Question, plan: Plan, known: Collection[str]
) -> Outcome:
    """Raises `QuireError` where it cannot be searched, or an earlier question not be answered."""
    session = new_session_id()
    for earlier in question.history:
        if plan.answers:
            request = ChatRequest(question=earlier, session_id=session)
            await collect(stream(services, await prepare(services, request)))
        else:
            await services.sessions.remember(session, earlier, "")
    request = ChatRequest(question=question.text, session_id=session, k=plan.k)
    began = time.perf_counter()
    turn = await prepare(services, request)
    searched = time.perf_counter() - began
    # Before the answer, which would be part of the conversation.
    looked = ChatRequest(
        question=question.text,
        session_id=session,
        k=max(LOOKED_AT, plan.k),
        context_window=MAX_CONTEXT_WINDOW,
    )
    found = (await prepare(services, looked)).passages
    outcome = Outcome(
        question=question,
        found=found,
        ranks=ranks(question.answer, found),
        links=[Link(each.url, each.url in known) for each in found[: plan.k]],
        search_seconds=searched,
    )
    if not plan.answers:
        return outcome
    first: list[float] = []
    began = time.perf_counter()

    def see(event: Event) -> None:
        if isinstance(event, Chunk) and not first:
            first.append(time.perf_counter() - began)

    try:
        async with aclosing(stream(services, turn)) as events:
            answer = await collect(events, see)
    except QuireError as error:
        return replace(outcome, links=(), error=error.message)
    urls = [each.source.url for each in answer.citations]
    return replace(
        outcome,
        links=[Link(url, url in known) for url in urls],
        answer=answer,
        first_seconds=searched + first[0] if first else None,
        total_seconds=searched + time.perf_counter() - began,
    )
