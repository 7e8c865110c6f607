"""Answer a question over HTTP. Every interface that answers questions does it here."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, Protocol, cast

from quart import Response, g, request

from handlers import own_address, services
from handlers.limits import reader
from lib.answer import collect, stream, stream_complete
from lib.chat import ChatRequest, Turn, prepare
from lib.errors import InvalidRequest
from lib.events import CONTENT_TYPE, ChatAnswer, Event, encode_events, frame
from lib.recording import AnswerRecorder
from lib.search import MAX_QUERY_CHARACTERS
from lib.sessions import Message, conversation_key

NOT_KEPT: Final = {"Cache-Control": "no-cache"}


async def prepare_turn(asked: ChatRequest, messages: Sequence[Message] | None = None) -> Turn:
    """Find the passages for a question of the request's reader.

    `messages` as in `lib.chat.prepare`, for clients that show the answer elsewhere than on a page
    of the book or of Quire. Raises its errors.
    """
    accepted = request.headers.get("Accept-Language", "")
    home = "" if messages is None else own_address()
    caller = await reader()
    known = asked.session_id if messages is None else None
    conversation = conversation_key(caller, known) if known else ""
    recorder = g.recorder = AnswerRecorder(services().recording, asked, conversation)
    try:
        turn = await prepare(services().chat, asked, caller, accepted, messages, home)
    except Exception as error:  # a bug is a failed question too
        recorder.not_prepared(error)
        raise
    recorder.prepared(turn)
    return turn


class _SentMessage(Protocol):
    """A message of a conversation, as its client sends it."""

    @property
    def role(self) -> Literal["system", "developer", "user", "assistant", "tool", "function"]: ...

    def text(self) -> str: ...

    def problem(self) -> str:
        """Why this cannot be the question; empty if it can."""


async def prepare_conversation(messages: Sequence[_SentMessage], page: str = "") -> Turn:
    """Find the passages for the last question of a conversation that the client keeps.

    Messages after it, and messages of neither the user nor the assistant, are ignored. `page` as in
    `ChatRequest`. Raises `InvalidRequest`, which names the field `messages`, and the errors of
    `lib.chat.prepare`.
    """
    last = max((at for at, each in enumerate(messages) if each.role == "user"), default=None)
    if last is None:
        raise _invalid("There is no user message.")
    if problem := messages[last].problem():
        raise _invalid(problem)
    question = messages[last].text().strip()
    if not 1 <= len(question) <= MAX_QUERY_CHARACTERS:
        raise _invalid(
            f"The last user message has {len(question):,} characters; 1 to "
            f"{MAX_QUERY_CHARACTERS:,} are allowed."
        )
    before = [
        Message(each.role, text)
        for each in messages[:last]
        if each.role in ("user", "assistant") and (text := each.text())
    ]
    return await prepare_turn(ChatRequest(question=question, page=page), before)


def _invalid(problem: str) -> InvalidRequest:
    return InvalidRequest(problem, details={"field": "messages"})


async def answer_whole(turn: Turn) -> ChatAnswer:
    """Answer with everything at once. Raises `UpstreamError`."""
    return await collect(stream_complete(services().chat, turn), _recorder().record)


def answer_stream(
    turn: Turn,
    encode: Callable[[Event], bytes] = frame,
    *,
    content_type: str = CONTENT_TYPE,
    headers: Mapping[str, str] = NOT_KEPT,
    shown_late: bool = False,
) -> Response:
    """Answer with a stream of events, each written by `encode`.

    `encode` is called for each event in order. `Done` or `Failed` comes exactly once, last.
    `shown_late`: whether the reader sees nothing before the end.
    """
    recorder = _recorder()
    recorder.streamed = True
    events = (stream_complete if shown_late else stream)(services().chat, turn)
    response = Response(
        encode_events(events, recorder.record, encode),
        content_type=content_type,
        headers={**headers, "X-Accel-Buffering": "no"},
    )
    response.timeout = None  # Quart's default cuts streams after 60 s
    return response


def _recorder() -> AnswerRecorder:
    """The recorder of the request's question."""
    return cast(AnswerRecorder, g.recorder)
