"""POST /v1/chat/completions and GET /v1/models: OpenAI's API, for its many clients."""

from collections.abc import Iterator
from typing import Annotated, Final, Literal

import msgspec
from quart import Blueprint, Response
from quart_rate_limiter import rate_limit

from handlers import SEARCH_ERRORS, body, operation, require_trusted_origin, respond, services
from handlers.answering import NOT_KEPT, answer_stream, answer_whole, prepare_conversation
from handlers.completions_answer import (
    MODEL,
    ChatCompletion,
    ChatCompletionChunk,
    ChunkEncoder,
    OpenAIError,
    whole_answer,
)
from handlers.limits import QUESTIONS, limits
from lib.api import Operation
from lib.errors import InvalidRequest

blueprint = Blueprint("completions", __name__)

_BACKGROUND_TASKS: Final = (
    "\n<chat_history>\n",  # Open WebUI: titles, tags, follow-ups, queries
    "5-word-or-less title for the conversation",  # LibreChat
)
"""In the prompts that chat programs send to the model of a chat, without the reader's knowledge."""


class _Part(msgspec.Struct):
    type: str
    text: str = ""


class _RequestMessage(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[_Part] | None = None

    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if part.type == "text")
        return self.content or ""

    def problem(self) -> str:
        parts = self.content if isinstance(self.content, list) else ()
        if any(part.type != "text" for part in parts):
            return "The last user message has a part that is not text. Only text is understood."
        text = self.text()
        if any(each in text for each in _BACKGROUND_TASKS):
            return (
                "This model only answers from the book. It writes no titles, tags or suggestions."
            )
        return ""


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _ResponseFormat(msgspec.Struct):
    type: str


_Choice = str | dict[str, msgspec.Raw] | None
_Ignored = msgspec.Meta(description="Ignored, with a warning.")
_OnlyAuto = msgspec.Meta(description="auto or none.")


class CompletionRequest(msgspec.Struct, kw_only=True):
    """A conversation that ends with a question. Other parameters of OpenAI's are ignored."""

    messages: Annotated[
        list[_RequestMessage],
        msgspec.Meta(
            description="The last message with the role user is the question. The messages of user "
            "and assistant before it are the conversation. All others are ignored."
        ),
    ]
    model: Annotated[str, msgspec.Meta(description="Any name.")] = MODEL
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: Annotated[int | None, _Ignored] = None
    response_format: Annotated[_ResponseFormat | None, _Ignored] = None
    tools: Annotated[list[msgspec.Raw] | None, _Ignored] = None
    functions: Annotated[list[msgspec.Raw] | None, _Ignored] = None
    tool_choice: Annotated[_Choice, _OnlyAuto] = None
    function_call: Annotated[_Choice, _OnlyAuto] = None


class _UnsupportedValue(InvalidRequest, code="UNSUPPORTED_VALUE"):
    """A valid value that cannot be ignored."""


class _Model(msgspec.Struct, frozen=True, kw_only=True):
    owned_by: str
    id: str = MODEL
    created: int = 0
    object: Literal["model"] = "model"


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """The only model."""

    data: list[_Model]
    object: Literal["list"] = "list"


@blueprint.post("/v1/chat/completions")
@rate_limit(limits=limits(allowance=QUESTIONS))
@operation(
    Operation(
        "Answer the last question of a conversation, in the format of OpenAI's chat completions.",
        body=CompletionRequest,
        answer=ChatCompletion,
        events=(ChatCompletionChunk, OpenAIError),
        error=OpenAIError,
        statuses=SEARCH_ERRORS,
    )
)
async def complete() -> Response:
    require_trusted_origin()
    asked = await body(CompletionRequest)
    _refuse_tool_choice(asked)
    turn = await prepare_conversation(asked.messages)
    warnings = list(_warnings(asked))
    if asked.stream:
        usage = asked.stream_options is not None and bool(asked.stream_options.include_usage)
        return answer_stream(turn, ChunkEncoder(usage=usage, warnings=warnings))
    whole = respond(whole_answer(await answer_whole(turn), warnings))
    whole.headers.update(NOT_KEPT)
    return whole


@blueprint.get("/v1/models")
@operation(
    Operation(
        "List the only model, in OpenAI's format.",
        answer=ModelList,
        error=OpenAIError,
        statuses=SEARCH_ERRORS,
    )
)
async def models() -> Response:
    require_trusted_origin()
    return respond(ModelList(data=[_Model(owned_by=services().settings.book_title or MODEL)]))


def _refuse_tool_choice(asked: CompletionRequest) -> None:
    """Refuse requests for a call of a tool, which a client would wait for."""
    for field in ("tool_choice", "function_call"):
        if getattr(asked, field) not in (None, "auto", "none"):
            raise _UnsupportedValue(
                f"The field {field} is not supported: this model calls no tools.",
                details={"field": field},
            )


def _warnings(asked: CompletionRequest) -> Iterator[str]:
    """What the request says and the answer ignores."""
    if any(each.role in ("system", "developer") for each in asked.messages):
        yield (
            "System and developer messages are ignored. The answer follows the book and its "
            "author's rules."
        )
    if asked.tools or asked.functions:
        yield "Tools are ignored. This model only answers from the book."
    if asked.response_format and asked.response_format.type != "text":
        yield "response_format is ignored. The answer is Markdown."
    if asked.n not in (None, 1):
        yield "n is ignored. There is one answer."
