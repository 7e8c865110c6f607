"""POST /ui/chat: the UI message stream of the Vercel AI SDK, for `useChat` and its relatives."""

from typing import Annotated, Final, Literal

import msgspec
from quart import Blueprint, Response
from quart_rate_limiter import rate_limit

from handlers import SEARCH_ERRORS, body, operation, require_trusted_origin
from handlers.answering import NOT_KEPT, answer_stream, prepare_conversation
from handlers.limits import QUESTIONS, limits
from handlers.ui_chat_answer import PARTS, PartEncoder
from lib.api import Operation
from lib.chat import ReadersPage

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

    def problem(self) -> str:
        has_file = any(part.type == "file" for part in self.parts)
        return "The last user message has a file. Only text is understood." if has_file else ""


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
        statuses=SEARCH_ERRORS,
    )
)
async def ui_chat() -> Response:
    require_trusted_origin()
    asked = await body(UIChatRequest)
    turn = await prepare_conversation(asked.messages, asked.page)
    return answer_stream(turn, PartEncoder(), headers=_HEADERS)
