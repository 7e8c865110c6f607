"""A question and its answer, in two phases.

`prepare` does all that can fail before the first byte, so that a failure gets a real HTTP status.
`stream` then yields typed events; the JSON answer is the same events, collected.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Protocol

import msgspec

from lib.answer_cache import AnswerCache, AnswerKey, KeptAnswer, same_question
from lib.chat_events import ChatAnswer, Chunk, Cited, Done, Event, Failed
from lib.citations import Citation, Citations, MarkerResolver
from lib.declining import declined
from lib.embedding import Embedder
from lib.errors import QuireError, UpstreamError
from lib.extractive import extract
from lib.generation import Delta, Finish, Generator, Idle
from lib.grounding import find_grounds
from lib.not_in_book import Refusal, Suggestion, refusal, suggestions
from lib.passages import Passage
from lib.prices import usage
from lib.prompt import SELECTION, build_prompt, here_first, pack, prompt_id
from lib.quotation import quoted
from lib.requests import trimmed
from lib.search import MAX_QUERY_CHARACTERS
from lib.sessions import Message, Sessions, new_session_id
from lib.settings import Settings
from lib.sse import Ping
from lib.store import Store
from lib.support import SentenceCheck, check_answer
from lib.tokens import estimate_tokens

log = logging.getLogger(__name__)

MAX_SELECTION_CHARACTERS = 5_000
MAX_PAGE_CHARACTERS = 500
DEFAULT_K = 5
DEFAULT_CONTEXT_WINDOW = 3_000
NOT_IN_BOOK = "not_in_book"
"""The reason why there is no answer: the book has none."""

NO_MODEL = "No language model is configured here, so these are the book's own words:"
MODEL_FAILED = "The language model cannot answer right now, so these are the book's own words:"


class Selection(msgspec.Struct, kw_only=True):
    """The passage that the reader marked on the page."""

    selectedText: Annotated[str, msgspec.Meta(max_length=MAX_SELECTION_CHARACTERS)]
    source: Annotated[str, msgspec.Meta(description="Where it stands: a page or its address.")] = ""


class ChatRequest(msgspec.Struct, kw_only=True):
    """A reader's question."""

    question: Annotated[
        str,
        msgspec.Meta(
            description="1 to 1000 characters after trimming.",
            extra_json_schema={"pattern": r"^\s*[^\s\u0000]([^\u0000]{0,998}[^\s\u0000])?\s*$"},
        ),
    ]
    session_id: (
        Annotated[
            str,
            msgspec.Meta(
                pattern=r"^[A-Za-z0-9_-]{1,128}\Z",
                description="Any id the client made; absent: the server makes one.",
                extra_json_schema={"pattern": "^[A-Za-z0-9_-]{1,128}$"},
            ),
        ]
        | None
    ) = None
    stream: Annotated[bool, msgspec.Meta(description="false: one JSON answer.")] = True
    context_window: Annotated[
        int, msgspec.Meta(ge=1000, le=8000, description="Tokens of context at the most.")
    ] = DEFAULT_CONTEXT_WINDOW
    k: Annotated[int, msgspec.Meta(ge=1, le=20, description="Passages at the most.")] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=1, le=20, description="Another name of k.")] | None = None
    context: Selection | None = None
    page: Annotated[
        str,
        msgspec.Meta(
            max_length=MAX_PAGE_CHARACTERS,
            description="The address or the file of the page that the reader is on: among "
            "passages that fit as well, its own come first. Default: the selection's source.",
        ),
    ] = ""
    api_key: Annotated[str, msgspec.Meta(description="Older way to send X-API-Key.")] | None = None


class Collaborators(Protocol):
    """What an answer takes; `lib.services.Services` is one."""

    @property
    def settings(self) -> Settings: ...
    @property
    def embedder(self) -> Embedder: ...
    @property
    def store(self) -> Store: ...
    @property
    def generator(self) -> Generator | None: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def answers(self) -> AnswerCache: ...
    async def until_indexed(self) -> None:
        """Wait a while for a first ingestion that runs."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A question that is ready to be answered."""

    session_id: str
    question: str
    reading: str
    """The question, with what it leans on in the conversation."""
    passages: Sequence[Passage]
    refusal: Refusal | None
    """What to say instead of an answer, where nothing that was found is worth reading."""
    history: Sequence[Message]
    started: float
    embedding_tokens: int
    text_fragments: bool
    """Whether links may lead to the very sentence."""
    key: AnswerKey | None
    """What its answer is kept by; None where it depends on more than the book."""


async def prepare(services: Collaborators, request: ChatRequest) -> Turn:
    """Check the question and find its passages.

    Raises `lib.errors.InvalidRequest`, `IndexNotReady`, `IndexOutdated`, `StoreUnavailable` and
    `UpstreamError` (of the embedding service).
    """
    started = time.perf_counter()
    question = trimmed(request.question, "question", MAX_QUERY_CHARACTERS)
    session_id = request.session_id or new_session_id()
    history = services.sessions.history(session_id)
    await services.until_indexed()
    k = request.k or request.top_k or DEFAULT_K
    selection = marked(request.context)
    page = request.page or (request.context.source if request.context else "")
    grounds = await find_grounds(services.embedder, services.store, question, history, k)
    found, refused = here_first(grounds.passages, page), not grounds.worth_reading
    if selection:
        found, refused = [selection, *found][:k], False
    key = None
    if services.generator and not history and not selection:
        key = AnswerKey(
            question=same_question(question),
            generation=grounds.manifest.generation,
            model=services.generator.model,
            prompt=prompt_id(services.settings.prompt_addition),
            k=k,
            context_window=request.context_window,
            page=page,
        )
    return Turn(
        session_id=session_id,
        question=question,
        reading=grounds.reading,
        passages=pack(found, request.context_window, estimate_tokens),
        refusal=refusal(question, found) if refused else None,
        history=history,
        started=started,
        embedding_tokens=grounds.embedding_tokens,
        # VitePress looks up the anchor of a link itself, and would not find this one.
        text_fragments=services.settings.text_fragments
        and grounds.manifest.generator != "vitepress",
        key=key,
    )


def marked(selection: Selection | None) -> Passage | None:
    """The reader's selection as a passage; its address is theirs to know, so it gets no link."""
    if selection is None or not selection.selectedText.strip():
        return None
    return Passage(
        chunk_id="selection",
        text=selection.selectedText,
        file_path=selection.source[:MAX_PAGE_CHARACTERS],
        chapter="",
        section="",
        heading=SELECTION,
        url=None,
        start_char=0,
        end_char=len(selection.selectedText),
        score=1.0,
    )


async def stream(services: Collaborators, turn: Turn) -> AsyncGenerator[Event, None]:
    """Answer as events: pieces of text and citations, at last one `Done` or `Failed`.

    The exchange is remembered only when the answer is complete.
    """
    yield Ping()  # the first byte at once: proxies and browsers then know that all is well
    answer: list[Chunk | Cited] = []
    try:
        async with aclosing(answered(services, turn)) as events:
            async for event in events:
                match event:
                    case Chunk() | Cited():
                        answer.append(event)
                    case Done():
                        remember(services, turn, answer, event)
                yield event
    except QuireError as error:
        log.warning("an answer broke off: %s", error.message)
        message = f"{error.message} The answer is not complete; please ask again."
        yield Failed(error=message, code=error.code)


def remember(
    services: Collaborators, turn: Turn, answer: Sequence[Chunk | Cited], end: Done
) -> None:
    """Keep a complete answer for the conversation, and for others who ask the same."""
    services.sessions.remember(turn.session_id, turn.question, text_of(answer))
    whole = end.mode == "generated" and end.finish_reason in ("stop", NOT_IN_BOOK)
    # Another attempt may do better than one whose sources do not say so.
    if turn.key and whole and all(each.supported is not False for each in end.check):
        services.answers.keep(turn.key, answer, end)


async def answered(services: Collaborators, turn: Turn) -> AsyncGenerator[Event, None]:
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
            async with aclosing(generated(services, services.generator, turn)) as events:
                async for event in events:
                    begun = begun or isinstance(event, Chunk)
                    yield event
            return
        except UpstreamError as error:
            if begun:
                raise
            log.warning("answering without the model: %s", error.message)
            notice = MODEL_FAILED
    # Reading the passages' Markdown takes milliseconds: not on the event loop.
    for event in await asyncio.to_thread(extracted, services, turn, notice):
        yield event


async def generated(
    services: Collaborators, generator: Generator, turn: Turn
) -> AsyncGenerator[Event, None]:
    """The model's answer, its markers resolved on the way.

    Raises `lib.errors.UpstreamError`, also for an answer without a word.
    """
    citations = Citations(turn.passages, text_fragments=turn.text_fragments)
    resolver = MarkerResolver(citations)
    prompt = build_prompt(
        turn.question, turn.passages, turn.history, addition=services.settings.prompt_addition
    )
    answer: list[Event] = []
    # Reading the passages takes milliseconds; the model thinks longer.
    reading = asyncio.ensure_future(asyncio.to_thread(citations.prepare))
    try:
        async with aclosing(generator.generate(prompt)) as pieces:
            async for piece in pieces:
                match piece:
                    case Idle():
                        yield Ping()
                        continue
                    case Delta():
                        shown = as_events(resolver.feed(piece.text))
                    case Finish():
                        shown = as_events(resolver.finish())
                for event in shown:
                    answer.append(event)
                    yield event
                if isinstance(piece, Finish):
                    # Comparing sentences takes milliseconds: not on the event loop.
                    yield await asyncio.to_thread(
                        generated_end, services, generator, turn, piece, answer
                    )
    finally:
        await reading


def generated_end(
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
        check=checked(turn, answer),
        suggestions=suggestions(turn.passages) if no_answer else (),
        model=generator.model,
        prompt_tokens=finish.prompt_tokens or 0,
        completion_tokens=finish.completion_tokens or 0,
    )


def checked(turn: Turn, answer: Sequence[Event]) -> list[SentenceCheck]:
    """Whether the passages say what the answer says of them."""
    passages = {passage.chunk_id: passage for passage in turn.passages}
    cited = [event.citation for event in answer if isinstance(event, Cited)]
    return check_answer(text_of(answer), {each.marker: passages[each.chunk_id] for each in cited})


def text_of(answer: Sequence[Event]) -> str:
    return "".join(event.content for event in answer if isinstance(event, Chunk))


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


def extracted(services: Collaborators, turn: Turn, notice: str) -> list[Event]:
    """The book's own sentences, each under its marker."""
    extracts = extract(turn.reading, turn.passages)
    if not extracts:
        words = refusal(turn.question, turn.passages)
        return [Chunk(content=words.markdown()), refused(services, turn, words)]
    citations = Citations(turn.passages, text_fragments=turn.text_fragments)
    pieces = list(quoted(extracts, citations))
    events = [Chunk(content=f"*{notice}*\n\n"), *as_events(pieces)]
    return [*events, done(services, turn, "stop", "extractive", check=checked(turn, events))]


def as_events(pieces: Sequence[str | Citation]) -> list[Event]:
    return [
        Chunk(content=piece) if isinstance(piece, str) else Cited(citation=piece)
        for piece in pieces
    ]


def done(
    services: Collaborators,
    turn: Turn,
    finish_reason: str,
    mode: str,
    *,
    model: str = "",
    prompt_tokens: int = 0,
    completion_tokens: int = 0,
    check: Sequence[SentenceCheck] = (),
    suggestions: Sequence[Suggestion] = (),
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


def seconds(turn: Turn) -> float:
    return round(time.perf_counter() - turn.started, 3)


async def collect(events: AsyncIterable[Event]) -> ChatAnswer:
    """The same events as one answer. Raises `UpstreamError` when it broke off."""
    text: list[str] = []
    citations: list[Citation] = []
    async for event in events:
        match event:
            case Chunk():
                text.append(event.content)
            case Cited():
                citations.append(event.citation)
            case Failed():
                raise UpstreamError(event.error)
            case Done():
                return ChatAnswer(
                    answer="".join(text).strip(),
                    citations=citations,
                    **msgspec.structs.asdict(event),
                )
    raise UpstreamError("The answer broke off.")
