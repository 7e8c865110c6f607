"""POST /ui/chat: the UI message stream of the Vercel AI SDK, for `useChat` and its relatives."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from quart import Blueprint, Response
from quart_rate_limiter import rate_limit

from handlers import body, operation, require_trusted_origin
from handlers.answering import NOT_KEPT, answer_stream, prepare_conversation
from handlers.limits import QUESTIONS, limits
from handlers.ui_chat_answer import PARTS, PartEncoder
from lib.api import Operation
from lib.chat import ReadersPage
from lib.errors import InvalidRequest
from lib.sessions import Message

blueprint = Blueprint("ui_chat", __name__)

_HEADERS: Final = {**NOT_KEPT, "x-vercel-ai-ui-message-stream": "v1"}


class _MessagePart(msgspec.Struct):
    """Only parts of type `text` are read."""

    type: str
    text: str = ""


class _UIMessage(msgspec.Struct):
    """A message as `useChat` keeps it."""

    role: Literal["user", "assistant", "system"]
    parts: list[_MessagePart]

    def text(self) -> str:
        return "\n\n".join(part.text for part in self.parts if part.type == "text")


class UIChatRequest(msgspec.Struct):
    """A conversation that ends with a question, as `DefaultChatTransport` sends it."""

    messages: Annotated[
        list[_UIMessage],
        msgspec.Meta(
            description="The last message with the role user is the question. The messages of user "
            "and assistant before it are the conversation. All others are ignored."
        ),
    ]
    page: ReadersPage = ""


@blueprint.post("/ui/chat")
@rate_limit(limits=limits(allowance=QUESTIONS))
@operation(
    Operation(
        "Answer the last question of a conversation as a UI message stream of the Vercel AI SDK.",
        body=UIChatRequest,
        events=PARTS,
        statuses={
            403: "The origin of the page is not allowed.",
            503: "There is no usable index.",
        },
    )
)
async def ui_chat() -> Response:
    require_trusted_origin()
    asked = await body(UIChatRequest)
    turn = await prepare_conversation(_conversation(asked.messages), asked.page)
    return answer_stream(turn, PartEncoder(), headers=_HEADERS)


def _conversation(messages: Sequence[_UIMessage]) -> list[Message]:
    """The messages of the reader and the assistant.

    Raises `InvalidRequest` if the last of the reader has a file.
    """
    question = next((each for each in reversed(messages) if each.role == "user"), None)
    if question and any(part.type == "file" for part in question.parts):
        raise InvalidRequest(
            "The last user message has a file. Only text is understood.",
            details={"field": "messages"},
        )
    return [
        Message(each.role, text)
        for each in messages
        if each.role != "system" and (text := each.text())
    ]
