"""What is told at the end of an answer, and what is kept of it."""

import time
from collections.abc import Generator, Sequence

from lib.attribution import SentenceCheck
from lib.attribution import checking as check_steps
from lib.chat import Collaborators, Turn
from lib.citations import Citation
from lib.events import Chunk, Cited, Done, Event, text_of
from lib.pricing import usage
from lib.refusal import Suggestion

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
        usage=usage(
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


def as_events(pieces: Sequence[str | Citation]) -> list[Chunk | Cited]:
    return [
        Chunk(content=piece) if isinstance(piece, str) else Cited(citation=piece)
        for piece in pieces
    ]


def seconds(turn: Turn) -> float:
    return round(time.perf_counter() - turn.started, 3)


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
