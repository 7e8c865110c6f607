"""Answer a question over HTTP. Every interface that answers questions does it here."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from quart import Response, request

from handlers import services
from handlers.limits import reader
from lib.answer import collect, stream, stream_complete
from lib.chat import ChatRequest, Turn, prepare
from lib.errors import InvalidRequest
from lib.events import CONTENT_TYPE, ChatAnswer, Event, encode_events, frame
from lib.metrics import AnswerRecorder
from lib.search import MAX_QUERY_CHARACTERS
from lib.sessions import Message

NOT_KEPT: Final = {"Cache-Control": "no-cache"}


async def prepare_turn(asked: ChatRequest, messages: Sequence[Message] | None = None) -> Turn:
    """Find the passages for a question of the request's reader.

    `messages` as in `lib.chat.prepare`. Raises its errors.
    """
    accepted = request.headers.get("Accept-Language", "")
    return await prepare(services().chat, asked, await reader(), accepted, messages)


async def prepare_conversation(messages: Sequence[Message], page: str = "") -> Turn:
    """Find the passages for the last question of a conversation that the client keeps.

    Messages after it are ignored. `page` as in `ChatRequest`. Raises `InvalidRequest`, which names
    the field `messages`, and the errors of `lib.chat.prepare`.
    """
    asked = [at for at, each in enumerate(messages) if each.role == "user"]
    question = messages[asked[-1]].content.strip() if asked else ""
    if not 1 <= len(question) <= MAX_QUERY_CHARACTERS:
        raise InvalidRequest(
            f"The last user message has {len(question):,} characters; 1 to "
            f"{MAX_QUERY_CHARACTERS:,} are allowed.",
            details={"field": "messages"},
        )
    return await prepare_turn(ChatRequest(question=question, page=page), messages[: asked[-1]])


async def answer_whole(turn: Turn) -> ChatAnswer:
    """Answer with everything at once. Raises `UpstreamError`."""
    recorder = AnswerRecorder(services().metrics, turn.started, streamed=False)
    return await collect(stream_complete(services().chat, turn), recorder.record)


def answer_stream(
    turn: Turn,
    encode: Callable[[Event], bytes] = frame,
    *,
    content_type: str = CONTENT_TYPE,
    headers: Mapping[str, str] = NOT_KEPT,
) -> Response:
    """Answer with a stream of events, each written by `encode`.

    `encode` is called for each event in order. `Done` or `Failed` comes exactly once, last.
    """
    recorder = AnswerRecorder(services().metrics, turn.started, streamed=True)
    response = Response(
        encode_events(stream(services().chat, turn), recorder.record, encode),
        content_type=content_type,
        headers={**headers, "X-Accel-Buffering": "no"},
    )
    response.timeout = None  # Quart's default cuts streams after 60 s
    return response
