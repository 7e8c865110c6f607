"""The model's answer, as long as there is room and money for it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from lib.chat import Collaborators, Turn
from lib.citations import Citations, MarkerResolver
from lib.declining import declined
from lib.errors import UpstreamError
from lib.events import Chunk, Cited, Done, Event, Shown, text_of
from lib.generation import Finish, Generator, Idle
from lib.paid import payment
from lib.prompt import build_prompt
from lib.refusal import suggestions
from lib.runtime import in_slices
from lib.sse import Ping
from lib.turn_end import NOT_IN_BOOK, as_events, checking, done, remember


async def generated(
    services: Collaborators, generator: Generator, turn: Turn, shown: Shown
) -> AsyncGenerator[Event, None]:
    """The model's answer, its markers resolved on the way.

    What it yields is in `shown`, and remembered at the end. Raises `lib.errors.UpstreamError`, also
    for an answer without a word, `lib.errors.Busy` where no place gets free in time, and
    `lib.budget.BudgetUsedUp`.
    """
    settings = services.settings
    resolver = MarkerResolver(Citations(turn.passages, text_fragments=turn.text_fragments))
    async with services.admission.enter(turn.reader):
        messages = build_prompt(
            turn.question, turn.passages, turn.history, addition=settings.prompt_addition
        )
        paid = await payment(
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
    generator: Generator,
    turn: Turn,
    finish: Finish,
    answer: Sequence[Chunk | Cited],
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
