"""The model's answer, as long as there is room and money for it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from lib.chat import Collaborators, Turn
from lib.chat_events import Done, Event, Shown, text_of
from lib.citations import Citations, MarkerResolver
from lib.declining import declined
from lib.errors import UpstreamError
from lib.generation import Delta, Finish, Generator, Idle
from lib.not_in_book import suggestions
from lib.paid import paid
from lib.prompt import build_prompt
from lib.slices import in_slices
from lib.sse import Ping
from lib.turn_end import NOT_IN_BOOK, as_events, checking, done


async def generated(
    services: Collaborators, generator: Generator, turn: Turn, shown: Shown
) -> AsyncGenerator[Event, None]:
    """The model's answer, its markers resolved on the way.

    To `shown` the caller adds what this yields, so that it is kept once. Raises
    `lib.errors.UpstreamError`, also for an answer without a word, `lib.errors.Busy` where no place
    gets free in time, and `lib.budget.BudgetUsedUp`.
    """
    citations = Citations(turn.passages, text_fragments=turn.text_fragments)
    resolver = MarkerResolver(citations)
    async with (
        services.admission.enter(turn.reader),
        aclosing(
            paid(
                services.budget,
                services.model_breaker,
                generator,
                build_prompt(
                    turn.question,
                    turn.passages,
                    turn.history,
                    addition=services.settings.prompt_addition,
                ),
                reader=turn.reader,
                max_tokens=services.settings.max_output_tokens,
                price=services.settings.prices.get(generator.model),
            )
        ) as pieces,
    ):
        async for piece in pieces:
            match piece:
                case Idle():
                    yield Ping()
                    continue
                case Delta():
                    events = as_events(resolver.feed(piece.text))
                case Finish():
                    events = as_events(resolver.finish())
            for event in events:
                yield event
            if isinstance(piece, Finish):
                yield await end(services, generator, turn, piece, shown.pieces())
            # What is held back until more of it is known shall not wait twice.
            elif events and (pause := generator.pause()):
                await asyncio.sleep(pause)


async def end(
    services: Collaborators,
    generator: Generator,
    turn: Turn,
    finish: Finish,
    answer: Sequence[Event],
) -> Done:
    """What is told of the model's whole answer. Raises `UpstreamError` for one without a word."""
    text = text_of(answer)
    if not text.strip():
        raise UpstreamError("The language model sent an empty answer.")
    no_answer = finish.reason == "stop" and declined(text)
    return done(
        services,
        turn,
        NOT_IN_BOOK if no_answer else finish.reason,
        "generated",
        check=await in_slices(checking(turn, answer)),
        suggestions=suggestions(turn.passages) if no_answer else (),
        model=generator.model,
        prompt_tokens=finish.prompt_tokens or 0,
        completion_tokens=finish.completion_tokens or 0,
    )
