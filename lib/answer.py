"""From a prepared question to the events of its answer; the JSON answer is the same, collected.

What readers' questions cost, paid from the budget of the day: the model's answer, the vector.

What is told at the end of an answer, and what is kept of it.

The model's answer, as long as there is room and money for it.
"""

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Sequence
from contextlib import aclosing
from math import ceil
from types import TracebackType

import msgspec

from lib.answer_cache import KeptAnswer
from lib.attribution import SentenceCheck
from lib.attribution import checking as check_steps
from lib.budget import Budget, BudgetExhausted, Reservation
from lib.chat import Collaborators, Turn
from lib.citations import Citation, Citations, MarkerResolver
from lib.errors import Busy, QuireError, RedisUnavailable, UpstreamError
from lib.events import ChatAnswer, Cited, Done, Event, Failed, Ping, Shown, TextDelta, text_of
from lib.extractive import extracting, quoted
from lib.generation import ChatModel, Delta, Finish, Idle, PromptMessage
from lib.pricing import Price, price_usage, token_cost
from lib.prompt import build_prompt
from lib.refusal import Refusal, Suggestion, is_refusal, refusal, suggestions
from lib.runtime import run_cooperatively
from lib.tokens import estimate_tokens

MESSAGE_TOKENS = 4
"""What the form of a message takes besides its text."""
MARGIN = 1.1
"""The estimate is too low for some languages."""


class TokenReservation:
    """What an answer of the model may cost at the most, reserved while it is written: a context.

    An answer that breaks off, or whose reader leaves, counts whole: what was thought and not said
    is billed too.
    """

    __slots__ = ("_begun", "_came", "_price", "_reservation")

    def __init__(self, reservation: Reservation, price: Price | None) -> None:
        self._reservation = reservation
        self._price = price
        self._came = self._begun = False

    def see(self, piece: Delta | Idle | Finish) -> None:
        """To be told of each piece of the answer."""
        self._came = True
        if isinstance(piece, Idle):
            return
        self._begun = True
        if isinstance(piece, Finish) and piece.prompt_tokens is not None:
            completion = piece.completion_tokens or 0
            spent = token_cost(self._price, piece.prompt_tokens, completion)
            self._reservation.settle(piece.prompt_tokens + completion, spent)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Spared by the breaker, not reached, or refused. A silence of some length may be billed.
        if isinstance(error, UpstreamError) and (
            not self._came or (not self._begun and "upstream_status" in error.details)
        ):
            self._reservation.release()
        self._reservation.settle(self._reservation.tokens, None)


async def reserve_tokens(
    budget: Budget,
    messages: Sequence[PromptMessage],
    *,
    reader: str,
    max_tokens: int,
    price: Price | None,
) -> TokenReservation:
    """For the answer to `messages`. Raises `BudgetExhausted` besides what the budget raises."""
    prompt = prompt_tokens(messages)
    most = token_cost(price, prompt, max_tokens)
    reservation = await budget.reserve(reader, prompt + max_tokens, most)
    if reservation is None:
        raise BudgetExhausted
    return TokenReservation(reservation, price)


def prompt_tokens(messages: Sequence[PromptMessage]) -> int:
    """About how many tokens a prompt has, rather too many than too few."""
    return sum(ceil(MARGIN * estimate_tokens(m.content)) + MESSAGE_TOKENS for m in messages)


NOT_IN_BOOK = "not_in_book"
"""The reason why there is no answer: the book has none."""


def done(
    services: Collaborators,
    turn: Turn,
    finish_reason: str,
    mode: str,
    *,
    check: Sequence[SentenceCheck] = (),
    suggestions: Sequence[Suggestion] = (),
    model: str = "",
    prompt_tokens: int = 0,
    completion_tokens: int = 0,
) -> Done:
    settings = services.settings
    return Done(
        session_id=turn.session_id,
        response_time=seconds(turn),
        tokens_used=prompt_tokens + completion_tokens,
        finish_reason=finish_reason,
        mode=mode,
        check=list(check),
        suggestions=list(suggestions),
        usage=price_usage(
            settings.prices,
            model=model,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            embedding_model=settings.openai_embedding_model,
            embedding_tokens=turn.embedding_tokens,
        ),
    )


def checking(turn: Turn, answer: Sequence[Event]) -> Generator[None, None, list[SentenceCheck]]:
    """Whether the passages say what the answer says of them, found in slices."""
    passages = {passage.chunk_id: passage for passage in turn.passages}
    cited = [event.citation for event in answer if isinstance(event, Cited)]
    return check_steps(text_of(answer), {each.marker: passages[each.chunk_id] for each in cited})


def as_events(pieces: Sequence[str | Citation]) -> list[TextDelta | Cited]:
    return [
        TextDelta(content=piece) if isinstance(piece, str) else Cited(citation=piece)
        for piece in pieces
    ]


def seconds(turn: Turn) -> float:
    return round(time.perf_counter() - turn.started, 3)


async def remember(
    services: Collaborators, turn: Turn, answer: Sequence[TextDelta | Cited], end: Done
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


async def generated(
    services: Collaborators, generator: ChatModel, turn: Turn, shown: Shown
) -> AsyncGenerator[Event, None]:
    """The model's answer, its markers resolved on the way.

    What it yields is in `shown`, and remembered at the end. Raises `lib.errors.UpstreamError`, also
    for an answer without a word, `lib.errors.Busy` where no place gets free in time, and
    `lib.budget.BudgetExhausted`.
    """
    settings = services.settings
    resolver = MarkerResolver(Citations(turn.passages, text_fragments=turn.text_fragments))
    async with services.admission.slot(turn.reader):
        messages = build_prompt(
            turn.question, turn.passages, turn.history, addition=settings.prompt_addition
        )
        paid = await reserve_tokens(
            services.budget,
            messages,
            reader=turn.reader,
            max_tokens=settings.max_output_tokens,
            price=settings.prices.get(generator.model),
        )
        with paid, services.model_breaker.call() as call:
            asked = generator.generate(messages)
            del messages  # a stream lasts long
            async with aclosing(asked) as pieces:
                async for piece in pieces:
                    paid.see(piece)
                    if isinstance(piece, Idle):
                        yield Ping()
                        continue
                    call.answered()
                    if isinstance(piece, Finish):
                        finish = piece
                        break
                    events = as_events(resolver.feed(piece.text))
                    for event in events:
                        shown.add(event)
                        yield event
                    if events:  # what is held back until more of it is known shall not wait twice
                        await generator.pacer.wait()
    for event in as_events(resolver.finish()):
        shown.add(event)
        yield event
    answer = shown.pieces()
    ending = await end(services, generator, turn, finish, answer)
    await remember(services, turn, answer, ending)
    yield ending


async def end(
    services: Collaborators,
    generator: ChatModel,
    turn: Turn,
    finish: Finish,
    answer: Sequence[TextDelta | Cited],
) -> Done:
    """What is told of the model's whole answer. Raises `UpstreamError` for one without a word."""
    text = text_of(answer)
    if not text.strip():
        raise UpstreamError("The language model sent an empty answer.")
    no_answer = finish.reason == "stop" and is_refusal(text)
    return done(
        services,
        turn,
        NOT_IN_BOOK if no_answer else finish.reason,
        "generated",
        check=await run_cooperatively(checking(turn, answer)),
        suggestions=suggestions(turn.passages) if no_answer else (),
        model=generator.model,
        prompt_tokens=finish.prompt_tokens or 0,
        completion_tokens=finish.completion_tokens or 0,
    )


log = logging.getLogger(__name__)

OWN_WORDS = "so these are the book's own words:"
NO_MODEL = f"No language model is configured here, {OWN_WORDS}"
MODEL_FAILED = f"The language model cannot answer right now, {OWN_WORDS}"
MODEL_BUSY = f"Many readers are asking right now, {OWN_WORDS}"
BUDGET_SPENT = f"The language model has answered all it may for today, {OWN_WORDS}"

Answer = tuple[Sequence[TextDelta | Cited], Done]


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
                except (BudgetExhausted, Busy, UpstreamError, RedisUnavailable) as error:
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
        pieces = [TextDelta(content=turn.refusal.markdown())]
        return pieces, refused(services, turn, turn.refusal)
    kept = services.answers.get(turn.key) if turn.key else None
    return replayed(services, turn, kept) if kept else None


def notice_of(error: Exception, shown: Shown) -> str:
    """Why the book's own words follow. Raises `error` again where the model's have begun."""
    match error:
        case BudgetExhausted():
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
    extracts = await run_cooperatively(extracting(turn.reading, turn.passages))
    if not extracts:
        words = refusal(turn.question, turn.passages)
        return [TextDelta(content=words.markdown())], refused(services, turn, words)
    citations = Citations(turn.passages, text_fragments=turn.text_fragments)
    pieces = list(quoted(extracts, citations))
    events = [TextDelta(content=f"*{notice}*\n\n"), *as_events(pieces)]
    check = await run_cooperatively(checking(turn, events))
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
            case TextDelta():
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
