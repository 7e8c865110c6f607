"""From a prepared question to the events of its answer; the JSON answer is the same, collected."""

import logging
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from contextlib import aclosing

import msgspec

from lib.answer_cache import KeptAnswer
from lib.budget import BudgetUsedUp
from lib.chat import Collaborators, Turn
from lib.citations import Citation, Citations
from lib.errors import Busy, QuireError, RedisUnavailable, UpstreamError
from lib.events import ChatAnswer, Chunk, Cited, Done, Event, Shown, text_of
from lib.extractive import extracting
from lib.generating import generated
from lib.quotation import quoted
from lib.refusal import Refusal, refusal
from lib.runtime import in_slices
from lib.sse import Failed, Ping
from lib.turn_end import NOT_IN_BOOK, as_events, checking, done, remember, seconds

log = logging.getLogger(__name__)

OWN_WORDS = "so these are the book's own words:"
NO_MODEL = f"No language model is configured here, {OWN_WORDS}"
MODEL_FAILED = f"The language model cannot answer right now, {OWN_WORDS}"
MODEL_BUSY = f"Many readers are asking right now, {OWN_WORDS}"
BUDGET_SPENT = f"The language model has answered all it may for today, {OWN_WORDS}"

Answer = tuple[Sequence[Chunk | Cited], Done]


async def stream(
    services: Collaborators, turn: Turn, shown: Shown | None = None
) -> AsyncGenerator[Event, None]:
    """Answer as events: pieces of text and citations, at last one `Done` or `Failed`.

    From the model; from the book alone without one, or if it fails before its first word. The
    exchange is remembered only when the answer is complete. What was yielded of it so far is in
    `shown`.
    """
    yield Ping()  # the first byte at once: proxies and browsers then know that all is well
    shown = shown or Shown()
    try:
        answer = at_hand(services, turn)
        if answer is None:
            notice = NO_MODEL
            if services.generator is not None and turn.passages:
                try:
                    model = generated(services, services.generator, turn, shown)
                    async with aclosing(model) as events:
                        async for event in events:
                            yield event
                    return
                except (BudgetUsedUp, Busy, UpstreamError, RedisUnavailable) as error:
                    notice = notice_of(error, shown)
            answer = await extracted(services, turn, notice)
        pieces, end = answer
        for piece in pieces:
            shown.add(piece)
            yield piece
        await remember(services, turn, pieces, end)
        yield end
    except QuireError as error:
        log.warning("an answer broke off: %s", error.message)
        message = f"{error.message} The answer is not complete; please ask again."
        yield Failed(error=message, code=error.code)


async def whole(services: Collaborators, turn: Turn) -> AsyncGenerator[Event, None]:
    """The same for a reader who is shown nothing before the end: an answer that breaks off in its
    midst gives way to the book's own words."""
    shown, pieces = Shown(), list[Event]()
    async with aclosing(stream(services, turn, shown)) as events:
        async for event in events:
            match event:
                case Failed():
                    answer, end = await extracted(services, turn, MODEL_FAILED)
                    await remember(services, turn, answer, end)
                    pieces = [*answer, end]
                case Done():
                    pieces = [*shown.pieces(), event]
    for piece in pieces:
        yield piece


def at_hand(services: Collaborators, turn: Turn) -> Answer | None:
    """What nobody has to be asked for: that the book does not say, or an answer given before."""
    if turn.refusal:
        pieces = [Chunk(content=turn.refusal.markdown())]
        return pieces, refused(services, turn, turn.refusal)
    kept = services.answers.get(turn.key) if turn.key else None
    return replayed(services, turn, kept) if kept else None


def notice_of(error: Exception, shown: Shown) -> str:
    """Why the book's own words follow. Raises `error` again where the model's have begun."""
    match error:
        case BudgetUsedUp():
            return BUDGET_SPENT
        case Busy():
            return MODEL_BUSY
        case QuireError() if not shown.begun:
            log.warning("answering without the model: %s", error.message)
            return MODEL_FAILED
    raise error


def refused(services: Collaborators, turn: Turn, words: Refusal) -> Done:
    return done(services, turn, NOT_IN_BOOK, "none", suggestions=words.suggestions)


def replayed(services: Collaborators, turn: Turn, kept: KeptAnswer) -> Answer:
    """An answer that was given before, as this reader's own."""
    spent = done(services, turn, "", "").usage
    end = msgspec.structs.replace(
        kept.done,
        session_id=turn.session_id,
        response_time=seconds(turn),
        tokens_used=0,
        usage=msgspec.structs.replace(spent, cached=True),
    )
    return kept.pieces, end


async def extracted(services: Collaborators, turn: Turn, notice: str) -> Answer:
    """The book's own sentences, each under its marker."""
    extracts = await in_slices(extracting(turn.reading, turn.passages))
    if not extracts:
        words = refusal(turn.question, turn.passages)
        return [Chunk(content=words.markdown())], refused(services, turn, words)
    citations = Citations(turn.passages, text_fragments=turn.text_fragments)
    pieces = list(quoted(extracts, citations))
    events = [Chunk(content=f"*{notice}*\n\n"), *as_events(pieces)]
    check = await in_slices(checking(turn, events))
    return events, done(services, turn, "stop", "extractive", check=check)


async def collect(
    events: AsyncIterable[Event], see: Callable[[Event], None] = lambda _: None
) -> ChatAnswer:
    """The events, each shown to `see`, as one answer. Raises `UpstreamError` when it broke off."""
    answer: list[Event] = []
    citations: list[Citation] = []
    async for event in events:
        see(event)
        match event:
            case Chunk():
                answer.append(event)
            case Cited():
                citations.append(event.citation)
            case Failed():
                raise UpstreamError(event.error)
            case Done():
                return ChatAnswer(
                    answer=text_of(answer).strip(),
                    citations=citations,
                    **msgspec.structs.asdict(event),
                )
    raise UpstreamError("The answer broke off.")
