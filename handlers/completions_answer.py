"""Answers and errors in the format of OpenAI's chat completions, whole and streamed.

https://platform.openai.com/docs/api-reference/chat. Two fields are added: `warnings` about parts of
the request that were ignored, and `quire` for what OpenAI's format has no field for.
"""

import re
import time
from collections.abc import Sequence
from typing import Final, Literal
from uuid import uuid4

import msgspec
from msgspec import UNSET, UnsetType

from handlers.failures import ErrorFormat, Failure
from lib.attribution import SentenceCheck
from lib.citations import Citation
from lib.events import (
    PING,
    ChatAnswer,
    Cited,
    Done,
    Event,
    Failed,
    Fallback,
    Ping,
    TextDelta,
    frame,
)
from lib.pricing import Usage
from lib.refusal import Suggestion

MODEL: Final = "quire"
_END: Final = b"data: [DONE]\n\n"
_encode: Final = msgspec.json.Encoder().encode


class _UrlCitation(msgspec.Struct, frozen=True, kw_only=True):
    start_index: int
    end_index: int
    """The marker's link is `answer[start_index:end_index]`, in Unicode characters."""
    url: str
    title: str


class _Annotation(msgspec.Struct, frozen=True, kw_only=True):
    url_citation: _UrlCitation
    type: Literal["url_citation"] = "url_citation"


class _AnswerMessage(msgspec.Struct, frozen=True, kw_only=True):
    content: str
    annotations: list[_Annotation]
    role: Literal["assistant"] = "assistant"
    refusal: None = None


_FinishReason = Literal["stop", "length"]


class _Choice(msgspec.Struct, frozen=True, kw_only=True):
    message: _AnswerMessage
    finish_reason: _FinishReason
    index: int = 0
    logprobs: None = None


class _Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of the language model; 0 if it was not used."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class _Details(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of `POST /chat`."""

    finish_reason: str
    mode: str
    fallback: Fallback
    answer_id: str
    citations: list[Citation]
    check: list[SentenceCheck]
    suggestions: list[Suggestion]
    follow_ups: list[str]


class ChatCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """A complete answer."""

    id: str
    created: int
    choices: list[_Choice]
    usage: _Usage
    quire: _Details
    warnings: list[str] | UnsetType = UNSET
    model: str = MODEL
    object: Literal["chat.completion"] = "chat.completion"


class _Delta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    annotations: list[_Annotation] | UnsetType = UNSET


class _ChunkChoice(msgspec.Struct, frozen=True, kw_only=True):
    delta: _Delta
    finish_reason: _FinishReason | None = None
    index: int = 0
    logprobs: None = None


class ChatCompletionChunk(msgspec.Struct, frozen=True, kw_only=True):
    """The next part of a streamed answer."""

    id: str
    created: int
    choices: list[_ChunkChoice]
    usage: _Usage | UnsetType | None = UNSET
    """With `stream_options.include_usage`: in the last chunk, which has no choices."""
    quire: _Details | UnsetType = UNSET
    """In the chunk with the `finish_reason`."""
    warnings: list[str] | UnsetType = UNSET
    """In the first chunk."""
    model: str = MODEL
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"


class _Error(msgspec.Struct, frozen=True, kw_only=True):
    message: str
    type: str
    param: str | None
    code: str


class OpenAIError(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every error response, and the last event of a stream that is interrupted."""

    error: _Error


def whole_answer(answer: ChatAnswer, warnings: Sequence[str]) -> ChatCompletion:
    """The JSON answer."""
    message = _AnswerMessage(
        content=answer.answer,
        annotations=_annotate(answer.citations, answer.answer),
    )
    return ChatCompletion(
        id=_new_id(),
        created=_now(),
        choices=[_Choice(message=message, finish_reason=_finish_reason(answer))],
        usage=_usage(answer.usage),
        quire=_details(answer, answer.citations),
        warnings=list(warnings) or UNSET,
    )


class ChunkEncoder:
    """Encodes the events of one answer as chunks. With `usage`, the last chunk tells the tokens.

    The chunks of two tokens differ only in their text, so the rest is encoded once.
    """

    def __init__(self, *, usage: bool, warnings: Sequence[str]) -> None:
        self._id = _new_id()
        self._created = _now()
        self._tells_usage = usage
        self._warnings = list(warnings)
        self._started = False
        self._citations: list[Citation] = []
        self._annotations: list[_Annotation] = []
        self._length = 0
        """Characters of the answer so far."""
        self._last_text = ""
        self._before_text, _, self._after_text = self._chunk(_Delta(content="")).rpartition(b'""')

    def __call__(self, event: Event) -> bytes:
        match event:
            case TextDelta():
                self._length += len(event.content)
                self._last_text = event.content
                return self._before_text + _encode(event.content) + self._after_text
            case Cited():
                self._cite(event.citation)
                return b""
            case Done():
                return self._finish(event)
            case Failed():
                failure = Failure(status=502, code=event.code, message=event.error)
                return OPENAI_ERRORS.end_stream(failure)
            case Ping():
                return PING if self._started else self._start()

    def _start(self) -> bytes:
        """The first chunk, in place of the first ping."""
        self._started = True
        delta = _Delta(role="assistant", content="")
        return self._chunk(delta, warnings=self._warnings or UNSET)

    def _cite(self, citation: Citation) -> None:
        self._citations.append(citation)
        # A citation follows the text that ends with its marker.
        before = self._length - len(self._last_text)
        self._annotations += _annotate([citation], self._last_text, before)

    def _finish(self, done: Done) -> bytes:
        # All annotations in one chunk: the helpers of OpenAI's clients cannot join those of two.
        last = self._chunk(
            _Delta(annotations=self._annotations or UNSET),
            finish_reason=_finish_reason(done),
            quire=_details(done, self._citations),
        )
        if self._tells_usage:
            usage = ChatCompletionChunk(
                id=self._id, created=self._created, choices=[], usage=_usage(done.usage)
            )
            last += frame(usage)
        return last + _END

    def _chunk(
        self,
        delta: _Delta,
        *,
        finish_reason: _FinishReason | None = None,
        quire: _Details | UnsetType = UNSET,
        warnings: list[str] | UnsetType = UNSET,
    ) -> bytes:
        chunk = ChatCompletionChunk(
            id=self._id,
            created=self._created,
            choices=[_ChunkChoice(delta=delta, finish_reason=finish_reason)],
            usage=None if self._tells_usage else UNSET,
            quire=quire,
            warnings=warnings,
        )
        return frame(chunk)


def _annotate(citations: Sequence[Citation], text: str, before: int = 0) -> list[_Annotation]:
    """Annotate each citation's first link in `text`, which follows `before` characters.

    Citations without an address have no link.
    """
    return [
        _Annotation(
            url_citation=_UrlCitation(
                start_index=before + found.start(),
                end_index=before + found.end(),
                url=each.source.url or "",
                title=each.source.title,
            )
        )
        for each in citations
        if (found := re.search(rf"\[{each.marker}\]\([^()\s]++\)", text))
    ]


def _details(done: Done | ChatAnswer, citations: Sequence[Citation]) -> _Details:
    return _Details(
        finish_reason=done.finish_reason,
        mode=done.mode,
        fallback=done.fallback,
        answer_id=done.answer_id,
        citations=list(citations),
        check=done.check,
        suggestions=done.suggestions,
        follow_ups=done.follow_ups,
    )


def _finish_reason(done: Done | ChatAnswer) -> _FinishReason:
    return "length" if done.finish_reason == "length" else "stop"


def _usage(used: Usage) -> _Usage:
    return _Usage(
        prompt_tokens=used.prompt_tokens,
        completion_tokens=used.completion_tokens,
        total_tokens=used.prompt_tokens + used.completion_tokens,
    )


def _new_id() -> str:
    return f"chatcmpl-{uuid4().hex}"


def _now() -> int:
    return int(time.time())


_ERROR_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}


def _describe(failure: Failure) -> OpenAIError:
    other = "server_error" if failure.status >= 500 else "invalid_request_error"
    return OpenAIError(
        error=_Error(
            message=failure.message,
            type=_ERROR_TYPES.get(failure.status, other),
            param=failure.details.get("field"),
            code=failure.code.lower(),
        )
    )


OPENAI_ERRORS: Final = ErrorFormat(
    body=_describe, end_stream=lambda failure: frame(_describe(failure))
)
