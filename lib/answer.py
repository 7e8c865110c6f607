"""Answer a prepared question as a stream of events. The JSON answer collects the same events.

An answer comes from the cache or from the language model. Quotes from the book replace it if there
is no model, if the model fails before its first word, or if the daily budget is used up.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Mapping, Sequence
from contextlib import aclosing
from math import ceil
from typing import Final

import msgspec

from lib.attribution import SentenceCheck, check_answer_in_steps
from lib.budget import Budget, BudgetExhausted, Reservation
from lib.chat import Chat, Turn
from lib.citations import Citation, Citations, MarkerResolver
from lib.errors import Busy, QuireError, RedisUnavailable, UpstreamError
from lib.events import (
    NOT_IN_BOOK,
    SMALL_TALK,
    ChatAnswer,
    Cited,
    Done,
    Event,
    Failed,
    Fallback,
    Ping,
    TextDelta,
    Transcript,
    text_of,
)
from lib.extractive import extract_in_steps, render_extracts
from lib.generation import ChatModel, Delta, Finish, Idle, PromptMessage
from lib.pricing import Price, price_usage, token_cost
from lib.prompt import build_prompt
from lib.questions import follow_ups
from lib.refusal import Refusal, Suggestion, is_refusal, make_refusal, suggest_places
from lib.runtime import run_cooperatively
from lib.sanitizer import STEP
from lib.tokens import estimate_tokens

_log = logging.getLogger(__name__)

_NOTICES: Final[Mapping[Fallback, str]] = {
    "budget_exhausted": "The daily budget for the language model is used up. It resets at "
    "midnight UTC. Quotes from the book:",
    "busy": "Many readers are asking right now. Quotes from the book:",
    "model_failed": "The language model cannot answer right now. Quotes from the book:",
}
"""Shown above quotes that replace the model's answer. Without a model, readers miss nothing."""

_MESSAGE_TOKENS = 4
"""Tokens that a message's role and delimiters take."""
_MAX_TOKEN_CHARACTERS = 32
"""Maximum characters per token of output, on average; a server that sends more is cut off."""
_ESTIMATE_MARGIN = 1.1
"""The token estimate is too low for some languages."""

_Pieces = Sequence[TextDelta | Cited]
_Answer = tuple[_Pieces, Done]


async def stream(chat: Chat, turn: Turn) -> AsyncGenerator[Event, None]:
    """Answer with text deltas and citations, then exactly one `Done` or `Failed`.

    The exchange is remembered only if the answer is complete.
    """
    yield Ping()  # sends the response headers and the first byte without delay
    transcript = Transcript()
    try:
        answer = _refused_or_cached(chat, turn)
        if answer is None:
            fallback: Fallback = "no_model"
            if chat.model is not None and turn.passages:
                try:
                    async with aclosing(_generate(chat, chat.model, turn, transcript)) as events:
                        async for event in events:
                            yield event
                    return
                except (BudgetExhausted, Busy, UpstreamError, RedisUnavailable) as error:
                    fallback = _fallback_for(error, transcript)
            answer = await _quote_book(chat, turn, fallback)
        pieces, done = answer
        for piece in pieces:
            yield piece
        await _remember(chat, turn, pieces, done)
        yield done
    except QuireError as error:
        _log.warning("answer interrupted: %s", error.message)
        message = f"{error.message} The answer is incomplete. Please ask again."
        yield Failed(error=message, code=error.code)


async def stream_complete(chat: Chat, turn: Turn) -> AsyncGenerator[Event, None]:
    """Like `stream`, for readers who see nothing before the end.

    If the model fails midway, quotes from the book replace its text.
    """
    transcript, events = Transcript(), list[Event]()
    async with aclosing(stream(chat, turn)) as streamed:
        async for event in streamed:
            match event:
                case Ping():
                    yield event
                case TextDelta() | Cited():
                    transcript.add(event)
                case Failed():
                    pieces, done = await _quote_book(chat, turn, "model_failed")
                    await _remember(chat, turn, pieces, done)
                    events = [*pieces, done]
                case Done():
                    events = [*transcript.pieces(), event]
    for event in events:
        yield event


async def collect(
    events: AsyncIterable[Event], observe: Callable[[Event], None] = lambda _: None
) -> ChatAnswer:
    """Collect events into one answer; `observe` sees each. Raises `UpstreamError` if it failed."""
    pieces: list[TextDelta | Cited] = []
    async for event in events:
        observe(event)
        match event:
            case TextDelta() | Cited():
                pieces.append(event)
            case Failed():
                raise UpstreamError(event.error)
            case Done():
                return whole_answer(pieces, event)
    raise UpstreamError("The answer ended early.")


def whole_answer(pieces: Sequence[TextDelta | Cited], done: Done) -> ChatAnswer:
    return ChatAnswer(
        answer=text_of(pieces).strip(),
        citations=_citations(pieces),
        **msgspec.structs.asdict(done),
    )


def _refused_or_cached(chat: Chat, turn: Turn) -> _Answer | None:
    """An answer that needs no model: small talk, a refusal, or one from the cache."""
    if turn.small_talk:
        return [TextDelta(content=turn.small_talk)], _done(chat, turn, SMALL_TALK, "none")
    if turn.refusal:
        return _refuse(chat, turn, turn.refusal)
    cached = chat.cache.get(turn.key) if turn.key else None
    if cached is None:
        return None
    fresh = _done(chat, turn, "", "")
    done = msgspec.structs.replace(
        cached.done,
        session_id=turn.session_id,
        response_time=_seconds_since(turn.started),
        tokens_used=0,
        answer_id=fresh.answer_id,
        usage=msgspec.structs.replace(fresh.usage, cached=True),
    )
    return cached.pieces, done


def _refuse(chat: Chat, turn: Turn, refused: Refusal) -> _Answer:
    done = _done(chat, turn, NOT_IN_BOOK, "none", suggestions=refused.suggestions)
    return [TextDelta(content=refused.markdown())], done


async def _generate(
    chat: Chat, model: ChatModel, turn: Turn, transcript: Transcript
) -> AsyncGenerator[Event, None]:
    """Stream the model's answer, with its markers resolved to citations.

    Raises `lib.errors.UpstreamError` (also for an empty answer), `lib.errors.Busy` if no slot gets
    free in time, and `lib.budget.BudgetExhausted`.
    """
    room = _MAX_TOKEN_CHARACTERS * chat.max_output_tokens
    resolver = MarkerResolver(Citations(turn.passages, text_fragments=turn.text_fragments))
    async with chat.admission.slot(turn.reader):
        messages = build_prompt(
            turn.question, turn.passages, turn.history, addition=chat.prompt_addition
        )
        price = chat.prices.get(model.name)
        reservation = await _reserve_tokens(
            chat.budget, messages, turn.reader, chat.max_output_tokens, price
        )
        with reservation, chat.model_breaker.call() as call:
            generated = model.generate(messages)
            del messages  # hundreds of streams may be open, each for a long time
            async with aclosing(generated) as pieces:
                async for piece in pieces:
                    reservation.observe(piece)
                    if isinstance(piece, Idle):
                        yield Ping()
                        continue
                    call.answered()
                    if isinstance(piece, Finish):
                        finish = piece
                        break
                    text = piece.text[:room]
                    room -= len(text)
                    events: list[TextDelta | Cited] = []
                    for at in range(0, len(text), STEP):
                        if at:  # a server may send the whole answer in one piece
                            await asyncio.sleep(0)
                        events = _as_events(resolver.feed(text[at : at + STEP]))
                        for event in events:
                            transcript.add(event)
                            yield event
                    if not room:
                        _log.warning("cut an answer that is far longer than MAX_OUTPUT_TOKENS")
                        finish = Finish("length", None, None)
                        break
                    if events:  # text that the resolver holds back must not be delayed twice
                        await model.pacer.wait()
    for event in _as_events(resolver.finish()):
        transcript.add(event)
        yield event
    answer = transcript.pieces()
    done = await _finish(chat, model, turn, finish, answer)
    await _remember(chat, turn, answer, done)
    yield done


async def _finish(
    chat: Chat, model: ChatModel, turn: Turn, finish: Finish, answer: _Pieces
) -> Done:
    """Check the model's complete answer. Raises `UpstreamError` if it has no text."""
    text = text_of(answer)
    if not text.strip():
        raise UpstreamError("The language model sent an empty answer.")
    refused = finish.reason == "stop" and is_refusal(text)
    return _done(
        chat,
        turn,
        NOT_IN_BOOK if refused else finish.reason,
        "generated",
        check=await run_cooperatively(_check(turn, answer)),
        suggestions=suggest_places(turn.passages) if refused else (),
        follow_ups=() if refused else _follow_ups(turn, answer),
        model=model.name,
        prompt_tokens=finish.prompt_tokens or 0,
        completion_tokens=finish.completion_tokens or 0,
    )


def _fallback_for(error: Exception, transcript: Transcript) -> Fallback:
    """Why quotes replace the model's answer. Re-raises `error` if the model's text has begun."""
    match error:
        case BudgetExhausted():
            return "budget_exhausted"
        case Busy():
            return "busy"
        case QuireError() if not transcript.has_text:
            _log.warning("answering without the language model: %s", error.message)
            return "model_failed"
    raise error


async def _quote_book(chat: Chat, turn: Turn, fallback: Fallback) -> _Answer:
    """Answer with quotes from the passages, each with its marker."""
    extracts = await run_cooperatively(extract_in_steps(turn.asked, turn.passages))
    if not extracts:
        return _refuse(chat, turn, make_refusal(turn.language, turn.passages))
    citations = Citations(turn.passages, text_fragments=turn.text_fragments)
    pieces = list(render_extracts(extracts, citations))
    answer = _as_events(pieces)
    if notice := _NOTICES.get(fallback):
        answer.insert(0, TextDelta(content=f"*{notice}*\n\n"))
    check = await run_cooperatively(_check(turn, answer))
    return answer, _done(
        chat,
        turn,
        "stop",
        "extractive",
        fallback=fallback,
        check=check,
        follow_ups=_follow_ups(turn, answer),
    )


async def _remember(chat: Chat, turn: Turn, answer: _Pieces, done: Done) -> None:
    """Add a complete answer to the conversation, and to the cache if it is good enough."""
    if turn.conversation and not turn.small_talk:  # a follow-up refers to what was before it
        await chat.sessions.remember(turn.conversation, turn.question, text_of(answer))
    cited = bool(_citations(answer))
    supported = all(each.supported is not False for each in done.check)
    # Without citations, or with an unsupported sentence, another attempt may do better.
    good = done.finish_reason == NOT_IN_BOOK or (
        done.finish_reason == "stop" and cited and supported
    )
    if turn.key and done.mode == "generated" and good:
        chat.cache.put(turn.key, answer, done)


def _check(turn: Turn, answer: _Pieces) -> Generator[None, None, list[SentenceCheck]]:
    passages = {passage.chunk_id: passage for passage in turn.passages}
    sources = {each.marker: passages[each.chunk_id] for each in _citations(answer)}
    return check_answer_in_steps(text_of(answer), sources)


def _follow_ups(turn: Turn, answer: _Pieces) -> Sequence[str]:
    if turn.contents is None:
        return ()
    asked = [turn.question, *(each.content for each in turn.history if each.role == "user")]
    return follow_ups(turn.contents, _citations(answer), asked)


def _citations(answer: _Pieces) -> list[Citation]:
    return [piece.citation for piece in answer if isinstance(piece, Cited)]


def _as_events(pieces: Sequence[str | Citation]) -> list[TextDelta | Cited]:
    return [
        TextDelta(content=piece) if isinstance(piece, str) else Cited(citation=piece)
        for piece in pieces
    ]


def _done(
    chat: Chat,
    turn: Turn,
    finish_reason: str,
    mode: str,
    *,
    fallback: Fallback = "",
    check: Sequence[SentenceCheck] = (),
    suggestions: Sequence[Suggestion] = (),
    follow_ups: Sequence[str] = (),
    model: str = "",
    prompt_tokens: int = 0,
    completion_tokens: int = 0,
) -> Done:
    return Done(
        session_id=turn.session_id,
        response_time=_seconds_since(turn.started),
        tokens_used=prompt_tokens + completion_tokens,
        finish_reason=finish_reason,
        mode=mode,
        fallback=fallback,
        answer_id="" if finish_reason == SMALL_TALK else chat.feedback.new_answer_id(),
        check=list(check),
        suggestions=list(suggestions),
        follow_ups=list(follow_ups),
        usage=price_usage(
            chat.prices,
            model=model,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            embedding_model=chat.embedding_model,
            embedding_tokens=turn.embedding_tokens,
        ),
    )


def _seconds_since(started: float) -> float:
    return round(time.perf_counter() - started, 3)


class _TokenReservation:
    """Reserve an answer's maximum cost while it is generated; settle with the actual usage.

    A context manager. An interrupted answer is charged in full, because the provider bills
    reasoning tokens that were never sent.
    """

    __slots__ = ("_has_output", "_price", "_reservation", "_responded")

    def __init__(self, reservation: Reservation, price: Price | None) -> None:
        self._reservation = reservation
        self._price = price
        self._responded = self._has_output = False

    def observe(self, piece: Delta | Idle | Finish) -> None:
        """Take note of a piece of the answer; `Finish` carries the actual usage."""
        self._responded = True
        self._has_output |= not isinstance(piece, Idle)
        if isinstance(piece, Finish) and piece.prompt_tokens is not None:
            completion = piece.completion_tokens or 0
            spent = token_cost(self._price, piece.prompt_tokens, completion)
            self._reservation.settle(piece.prompt_tokens + completion, spent)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        # Nothing is billed if the breaker was open, or the server unreachable or refusing. After a
        # long silence the model may have been at work.
        if isinstance(error, UpstreamError) and (
            not self._responded or (not self._has_output and "upstream_status" in error.details)
        ):
            self._reservation.release()
        self._reservation.settle(self._reservation.tokens, None)


async def _reserve_tokens(
    budget: Budget,
    messages: Sequence[PromptMessage],
    reader: str,
    max_tokens: int,
    price: Price | None,
) -> _TokenReservation:
    """Reserve the prompt and `max_tokens` of output.

    Raises `BudgetExhausted`, and what the budget raises.
    """
    prompt = _prompt_tokens(messages)
    cost = token_cost(price, prompt, max_tokens)
    reservation = await budget.reserve(reader, prompt + max_tokens, cost)
    if reservation is None:
        raise BudgetExhausted
    return _TokenReservation(reservation, price)


def _prompt_tokens(messages: Sequence[PromptMessage]) -> int:
    """Estimate the tokens of a prompt, rather too many than too few."""
    return sum(
        ceil(_ESTIMATE_MARGIN * estimate_tokens(m.content)) + _MESSAGE_TOKENS for m in messages
    )
