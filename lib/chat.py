"""A question, from the request to what its answer is to rest on.

`prepare` does all that can fail before the first byte, so that a failure gets a real HTTP status.
`lib.answer` then answers.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import msgspec

from lib.answer_cache import AnswerCache, AnswerKey, same_question
from lib.api import trimmed
from lib.budget import Budget
from lib.embedding import Embedder
from lib.generation import ChatModel
from lib.prompt import SELECTION, here_first, pack, prompt_id
from lib.ranking import Passage
from lib.refusal import Refusal, refusal
from lib.resilience import Admission, Breaker
from lib.retrieval import find_grounds
from lib.search import MAX_QUERY_CHARACTERS
from lib.sessions import Message, Sessions, new_session_id
from lib.settings import Settings
from lib.store import Store
from lib.tokens import estimate_tokens

log = logging.getLogger(__name__)

MAX_SELECTION_CHARACTERS = 5_000
MAX_PAGE_CHARACTERS = 500
DEFAULT_K = 5
DEFAULT_CONTEXT_WINDOW = 3_000


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
    def generator(self) -> ChatModel | None: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def answers(self) -> AnswerCache: ...
    @property
    def admission(self) -> Admission: ...
    @property
    def budget(self) -> Budget: ...
    @property
    def model_breaker(self) -> Breaker: ...
    async def until_indexed(self) -> None:
        """Wait a while for a first ingestion that runs."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A question that is ready to be answered."""

    session_id: str
    reader: str
    """Whom it is counted for."""
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


async def prepare(services: Collaborators, request: ChatRequest, reader: str = "") -> Turn:
    """Check the question of `reader` (a key's name, or an address) and find its passages.

    Raises `lib.errors.InvalidRequest`, `IndexNotReady`, `IndexOutdated` and `StoreUnavailable`.
    """
    started = time.perf_counter()
    question = trimmed(request.question, "question", MAX_QUERY_CHARACTERS)
    session_id = request.session_id or new_session_id()
    # Of a session that is made here nobody knows anything.
    history = await services.sessions.history(session_id) if request.session_id else ()
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
        reader=reader,
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
