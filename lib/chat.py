"""Parse a chat request and find the passages for its question.

`prepare` does everything that can fail before the first byte, so that a failure gets a real HTTP
status. `lib.answer` then answers.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

import msgspec

from lib.answer_cache import AnswerCache, AnswerKey, normalise_question
from lib.api import trimmed
from lib.budget import Budget
from lib.contents import Contents, PublishedContents
from lib.embedding import GuardedEmbedder
from lib.feedback import Feedback
from lib.generation import ChatModel
from lib.languages import accepted_languages, language_of_code, question_language
from lib.pricing import Price
from lib.prompt import SELECTION, pack_passages, prefer_page, prompt_id
from lib.ranking import PLAIN, Passage
from lib.refusal import Refusal, make_refusal, small_talk_reply
from lib.reranking import Reranker
from lib.resilience import Admission, Breaker
from lib.retrieval import retrieve_passages
from lib.search import MAX_QUERY_CHARACTERS, Query
from lib.sessions import (
    Message,
    Sessions,
    conversation_key,
    new_session_id,
    recent_messages,
)
from lib.sites.generators import generator_named
from lib.store import Store
from lib.tokens import estimate_tokens

_QUOTED_K = 5
_READ_K = 8
"""A model reads more than is quoted: 800 more tokens of prompt find 3 % more answers."""
MAX_CHAT_K = 20
_MAX_PAGE_CHARACTERS = 500
_MAX_SOURCE_CHARACTERS = 2_000
SELECTION_ID = "selection"
"""The `chunk_id` of the reader's selection."""


ReadersPage = Annotated[
    str,
    msgspec.Meta(
        max_length=_MAX_PAGE_CHARACTERS,
        description="Address or file path of the reader's page. Among passages that match equally "
        "well, those of this page come first.",
    ),
]


class Selection(msgspec.Struct, kw_only=True):
    """The passage that the reader selected on the page."""

    selectedText: Annotated[str, msgspec.Meta(max_length=5_000)]
    source: Annotated[
        str,
        msgspec.Meta(
            max_length=_MAX_SOURCE_CHARACTERS,
            description="Its page: a file path or an address. Default of `page`.",
        ),
    ] = ""


class ChatRequest(msgspec.Struct, kw_only=True):
    """A reader's question."""

    question: Query
    session_id: (
        Annotated[
            str,
            msgspec.Meta(
                pattern=r"^[A-Za-z0-9_-]{1,128}\Z",
                description="Any id made by the client. Default: a new one.",
                extra_json_schema={"pattern": "^[A-Za-z0-9_-]{1,128}$"},
            ),
        ]
        | None
    ) = None
    stream: Annotated[bool, msgspec.Meta(description="false: one JSON answer.")] = True
    context_window: Annotated[
        int, msgspec.Meta(ge=1000, le=8000, description="Maximum tokens of retrieved context.")
    ] = 3_000
    k: (
        Annotated[int, msgspec.Meta(ge=1, le=MAX_CHAT_K, description="Maximum number of passages.")]
        | None
    ) = None
    top_k: Annotated[int, msgspec.Meta(ge=1, le=MAX_CHAT_K, description="Alias of k.")] | None = (
        None
    )
    context: Selection | None = None
    page: ReadersPage = ""
    api_key: Annotated[str, msgspec.Meta(description="Older way to send X-API-Key.")] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """The collaborators and settings that a question and its answer need."""

    embedder: GuardedEmbedder
    store: Store
    contents: PublishedContents
    reranker: Reranker | None
    until_indexed: Callable[[], Awaitable[None]]
    """Waits for a limited time if the first ingestion is running."""
    sessions: Sessions
    cache: AnswerCache
    model: ChatModel | None
    model_breaker: Breaker
    admission: Admission
    budget: Budget
    prices: Mapping[str, Price]
    embedding_model: str
    """Name for `prices`; questions cost nothing with a local model."""
    max_output_tokens: int
    prompt_addition: str
    text_fragments: bool
    feedback: Feedback

    @property
    def default_k(self) -> int:
        """Maximum number of passages unless a request says otherwise."""
        return _READ_K if self.model else _QUOTED_K


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A question with everything its answer is made from."""

    session_id: str
    conversation: str
    """Its key in `Sessions`; empty if no history is kept."""
    reader: str
    """Limits and the budget count by this: an API key's name or an address."""
    question: str
    language: str
    """Of messages to the reader."""
    history: Sequence[Message]
    started: float
    asked: Mapping[str, float] = field(default_factory=dict)
    """Weights of the question's terms (`lib.ranking.weigh_terms`). A follow-up has those of its
    context too."""
    passages: Sequence[Passage] = ()
    small_talk: str | None = None
    """The answer if the question is a greeting, thanks or the like."""
    refusal: Refusal | None = None
    """The answer if no passage is relevant."""
    embedding_tokens: int = 0
    home: str = ""
    """The address of this server with which relative links were resolved."""
    stands_alone: bool = True
    """Whether the question is meaningful without the conversation and the selection."""
    text_fragments: bool = False
    """Whether links may point to a sentence (`#heading:~:text=...`)."""
    contents: Contents | None = None
    """Those of the searched index, for follow-ups; None until they are read."""
    key: AnswerKey | None = None
    """Cache key; None if the answer depends on a conversation or a selection."""


async def prepare(
    chat: Chat,
    request: ChatRequest,
    reader: str = "",
    accept_language: str = "",
    messages: Sequence[Message] | None = None,
    home: str = "",
) -> Turn:
    """Validate a question of `reader` and retrieve its passages.

    `accept_language` is the header of this name. `messages` are the conversation before the
    question, oldest first, if the client keeps it; then there is no session, and nothing is
    remembered. `home` is the address of this server, for a reader who is elsewhere: links to pages
    that it serves itself begin with it. Small talk is not searched for.

    Raises `lib.errors.InvalidRequest`, `IndexNotReady`, `IndexOutdated` and `StoreUnavailable`.
    """
    started = time.perf_counter()
    question = trimmed(request.question, "question", MAX_QUERY_CHARACTERS)
    session_id = request.session_id or new_session_id()
    conversation, history = "", recent_messages(messages or ())
    if messages is None:
        conversation = conversation_key(reader, session_id)
        # A new id has no history.
        known = conversation and request.session_id
        history = await chat.sessions.history(conversation) if known else ()
    await chat.until_indexed()
    k = request.k or request.top_k or chat.default_k
    selection = _selection_passage(request.context)
    page = request.page or (request.context.source if request.context else "")
    manifest = await chat.store.manifest()
    likely = _likely_languages(
        manifest.languages if manifest else (), history, page, accept_language
    )
    turn = Turn(
        session_id=session_id,
        conversation=conversation,
        reader=reader,
        question=question,
        language=question_language(question, likely),
        history=history,
        started=started,
    )
    small_talk = None if selection else small_talk_reply(question, likely)
    if small_talk:
        return replace(turn, small_talk=small_talk)
    embedder = chat.embedder.charged_to(reader)
    retrieval = await retrieve_passages(
        embedder,
        chat.store,
        question,
        history,
        k,
        reranker=chat.reranker,
    )
    found, refused = prefer_page(retrieval.passages, page), not retrieval.answerable
    home = home if retrieval.manifest.has_local_pages else ""
    if home:
        found = [passage.linked_from(home) for passage in found]
    if selection:
        found, refused = [selection, *found][:k], False
    key = None
    if chat.model and not history and not selection:
        key = AnswerKey(
            question=normalise_question(question),
            generation=retrieval.manifest.generation,
            model=chat.model.name,
            prompt=prompt_id(chat.prompt_addition),
            k=k,
            context_window=request.context_window,
            page=page,
            home=home,
        )
    return replace(
        turn,
        asked=retrieval.asked,
        passages=pack_passages(found, request.context_window, estimate_tokens),
        refusal=make_refusal(turn.language, found) if refused else None,
        embedding_tokens=retrieval.embedding_tokens,
        home=home,
        stands_alone=retrieval.stands_alone and not selection,
        contents=chat.contents.of(retrieval.manifest),
        text_fragments=chat.text_fragments
        and generator_named(retrieval.manifest.generator).text_fragments,
        key=key,
    )


def _likely_languages(
    book: Sequence[str], history: Sequence[Message], page: str, accept_language: str
) -> list[str]:
    """Languages of a reader whose question does not tell, the likeliest first: those of the
    conversation, the page, the browser and the book."""
    likely = [name for part in page.split("/") if (name := language_of_code(part)) in book]
    likely += [*accepted_languages(accept_language), *book]
    for message in history:
        if message.role == "user":
            likely.insert(0, question_language(message.content, likely))
    return likely


def _selection_passage(selection: Selection | None) -> Passage | None:
    """The selection as a passage. It gets no link: the reader is already there."""
    if selection is None or not selection.selectedText.strip():
        return None
    return Passage(
        chunk_id=SELECTION_ID,
        text=selection.selectedText,
        file_path=selection.source[:_MAX_PAGE_CHARACTERS],
        chapter="",
        section="",
        heading=SELECTION,
        url=None,
        start_char=0,
        end_char=len(selection.selectedText),
        kind=PLAIN,
        score=1.0,
    )
