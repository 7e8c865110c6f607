"""From a prepared question to the events of its answer; the JSON answer is the same, collected."""

import logging
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import aclosing

import msgspec

from lib.answer_cache import KeptAnswer
from lib.budget import BudgetUsedUp
from lib.chat import Collaborators, Turn
from lib.chat_events import ChatAnswer, Chunk, Cited, Done, Event, Failed, Shown, text_of
from lib.citations import Citation, Citations
from lib.errors import Busy, QuireError, RedisUnavailable, UpstreamError
from lib.extractive import extracting
from lib.generating import generated
from lib.not_in_book import Refusal, refusal
from lib.quotation import quoted
from lib.slices import in_slices
from lib.sse import Ping
from lib.turn_end import NOT_IN_BOOK, as_events, checking, done, seconds

log = logging.getLogger(__name__)

OWN_WORDS = "so these are the book's own words:"
NO_MODEL = f"No language model is configured here, {OWN_WORDS}"
MODEL_FAILED = f"The language model cannot answer right now, {OWN_WORDS}"
MODEL_BUSY = f"Many readers are asking right now, {OWN_WORDS}"
BUDGET_SPENT = f"The language model has answered all it may for today, {OWN_WORDS}"


async def stream(
    services: Collaborators, turn: Turn, shown: Shown | None = None
) -> AsyncGenerator[Event, None]:
    """Answer as events: pieces of text and citations, at last one `Done` or `Failed`.

    The exchange is remembered only when the answer is complete. What was yielded of it so far is
    in `shown`.
    """
    yield Ping()  # the first byte at once: proxies and browsers then know that all is well
    shown = shown or Shown()
    try:
        async with aclosing(answered(services, turn, shown)) as events:
            async for event in events:
                match event:
                    case Chunk() | Cited():
                        shown.add(event)
                    case Done():
                        await remember(services, turn, shown.pieces(), event)
                yield event
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


async def remember(
    services: Collaborators, turn: Turn, answer: Sequence[Chunk | Cited], end: Done
) -> None:
    """Keep a complete answer for the conversation, and for others who ask the same."""
    await services.sessions.remember(turn.session_id, turn.question, text_of(answer))
    sourced = any(isinstance(piece, Cited) for piece in answer)
    supported = all(each.supported is not False for each in end.check)
    # Another attempt may do better than one without sources, or whose sources do not say so.
    good = end.finish_reason == NOT_IN_BOOK or (
        end.finish_reason == "stop" and sourced and supported
    )
    if turn.key and end.mode == "generated" and good:
        services.answers.keep(turn.key, answer, end)


async def answered(
    services: Collaborators, turn: Turn, shown: Shown
) -> AsyncGenerator[Event, None]:
    """From the model; from the book alone without one, or if it fails before its first word."""
    if turn.refusal:
        yield Chunk(content=turn.refusal.markdown())
        yield refused(services, turn, turn.refusal)
        return
    kept = services.answers.get(turn.key) if turn.key else None
    if kept:
        for event in replayed(services, turn, kept):
            yield event
        return
    notice = NO_MODEL
    if services.generator is not None and turn.passages:
        begun = False
        try:
            async with aclosing(generated(services, services.generator, turn, shown)) as events:
                async for event in events:
                    begun = begun or isinstance(event, Chunk)
                    yield event
            return
        except BudgetUsedUp:
            notice = BUDGET_SPENT
        except Busy:
            notice = MODEL_BUSY
        except (UpstreamError, RedisUnavailable) as error:
            if begun:
                raise
            log.warning("answering without the model: %s", error.message)
            notice = MODEL_FAILED
    pieces, end = await extracted(services, turn, notice)
    for piece in pieces:
        yield piece
    yield end


def refused(services: Collaborators, turn: Turn, words: Refusal) -> Done:
    return done(services, turn, NOT_IN_BOOK, "none", suggestions=words.suggestions)


def replayed(services: Collaborators, turn: Turn, kept: KeptAnswer) -> list[Event]:
    """An answer that was given before, as this reader's own."""
    spent = done(services, turn, "", "").usage
    end = msgspec.structs.replace(
        kept.done,
        session_id=turn.session_id,
        response_time=seconds(turn),
        tokens_used=0,
        usage=msgspec.structs.replace(spent, cached=True),
    )
    return [*kept.pieces, end]


async def extracted(
    services: Collaborators, turn: Turn, notice: str
) -> tuple[list[Chunk | Cited], Done]:
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


async def collect(events: AsyncIterable[Event]) -> ChatAnswer:
    """The events as one answer. Raises `UpstreamError` when it broke off."""
    answer: list[Event] = []
    citations: list[Citation] = []
    async for event in events:
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
