"""The tool `ask` of MCP: an answer of the language model, while it is generated."""

import time
from typing import Annotated, Final

import msgspec
from quart import Response, request

from handlers import respond
from handlers.answering import answer_stream, answer_whole, prepare_turn
from handlers.limits import count_question
from handlers.mcp_book import Server
from handlers.mcp_messages import Call, ToolResult, required_text, tool_error, tool_result
from lib.answer import whole_answer
from lib.answer_markdown import answer_notes
from lib.api import trimmed
from lib.chat import ChatRequest
from lib.events import (
    CONTENT_TYPE,
    PING,
    ChatAnswer,
    Cited,
    Done,
    Event,
    Failed,
    Ping,
    TextDelta,
    Transcript,
    frame,
)
from lib.refusal import Suggestion
from lib.search import MAX_QUERY_CHARACTERS

_PROGRESS_SECONDS: Final = 0.1
"""Minimum time between two progress notifications."""


class AskArguments(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    question: Annotated[
        str,
        required_text(
            "One whole question, which can be understood without the conversation.",
            MAX_QUERY_CHARACTERS,
        ),
    ]


class _Source(msgspec.Struct, kw_only=True):
    marker: Annotated[int, msgspec.Meta(description="Its number in the answer.")]
    headings: Annotated[str, msgspec.Meta(description="Page > section > heading.")]
    url: Annotated[str | None, msgspec.Meta(description="Address of the heading, to cite.")]
    path: Annotated[str, msgspec.Meta(description="File path of the page, to read it.")]


class AskResult(msgspec.Struct, kw_only=True):
    answer: Annotated[str, msgspec.Meta(description="In Markdown; markers link to sources.")]
    sources: list[_Source]
    finish_reason: Annotated[
        str,
        msgspec.Meta(
            description="stop; length if the answer was cut; not_in_book if the book does not "
            "answer; or another reason."
        ),
    ]
    suggestions: Annotated[
        list[Suggestion], msgspec.Meta(description="The closest pages if the book does not answer.")
    ]


async def ask(call: Call, server: Server, arguments: AskArguments) -> Response:
    question = trimmed(arguments.question, "question", MAX_QUERY_CHARACTERS)
    await count_question()
    turn = await prepare_turn(ChatRequest(question=question), messages=())
    if CONTENT_TYPE in request.headers.get("Accept", ""):
        encode = _Stream(call, server, turn.language)
        return answer_stream(turn, encode, shown_late=call.progress_token is None)
    return respond(call.answer(_asked(await answer_whole(turn), turn.language), server))


def _asked(answer: ChatAnswer, language: str) -> ToolResult:
    sources = [
        _Source(
            marker=each.marker,
            headings=each.source.title,
            url=each.source.url,
            path=each.source.file_path,
        )
        for each in answer.citations
    ]
    text = "\n\n".join((answer.answer, *answer_notes(answer, answer.citations, language)))
    result = AskResult(
        answer=answer.answer,
        sources=sources,
        finish_reason=answer.finish_reason,
        suggestions=answer.suggestions,
    )
    return tool_result(text, result)


class _Stream:
    """Writes the events of an answer: the new text as progress notifications, then the response.

    Without a progress token, the response follows after comments that keep the connection open.
    """

    def __init__(self, call: Call, server: Server, language: str) -> None:
        self._call, self._server = call, server
        self._language = language
        self._transcript = Transcript()
        self._pending: list[str] = []
        self._characters = 0
        self._next_at = 0.0
        token = msgspec.json.encode(call.progress_token).decode()
        self._start = (
            'data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":'
            f'{token},"progress":'
        ).encode()

    def __call__(self, event: Event) -> bytes:
        match event:
            case TextDelta():
                self._transcript.add(event)
                if self._call.progress_token is None:
                    return b""
                self._pending.append(event.content)
                return self._progress() if time.monotonic() >= self._next_at else b""
            case Cited():
                self._transcript.add(event)
                return b""
            case Ping():
                return PING + self._progress()
            case Done():
                answer = whole_answer(self._transcript.pieces(), event)
                result = _asked(answer, self._language)
            case Failed():
                result = tool_error(event.error)
        return self._progress() + frame(self._call.answer(result, self._server))

    def _progress(self) -> bytes:
        """A notification with the text since the last one; nothing without new text."""
        text = "".join(self._pending)
        if not text:
            return b""
        self._pending.clear()
        self._characters += len(text)
        self._next_at = time.monotonic() + _PROGRESS_SECONDS
        message = msgspec.json.encode(text)
        return b'%b%d,"message":%b}}\n\n' % (self._start, self._characters, message)
