"""Answers as UI message streams of the Vercel AI SDK.

The parts are those of `ai` 7 (https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol). The text of an
answer is one part. `data-*` parts are Quire's own.
"""

from typing import Final, Literal

import msgspec

from handlers.failures import ErrorFormat
from lib.citations import Citation
from lib.events import (
    NOT_IN_BOOK,
    PING,
    SMALL_TALK,
    Cited,
    Done,
    Event,
    Failed,
    Fallback,
    Ping,
    TextDelta,
    frame,
)
from lib.refusal import Suggestion
from lib.sanitizer_syntax import absolute_url
from lib.sessions import new_session_id

_END: Final = b"data: [DONE]\n\n"
_TEXT_ID: Final = "text"
_encode: Final = msgspec.json.Encoder().encode
_FinishReason = Literal["stop", "length", "content-filter", "other"]
_FINISH_REASONS: Final[dict[str, _FinishReason]] = {
    "stop": "stop",
    NOT_IN_BOOK: "stop",
    SMALL_TALK: "stop",
    "length": "length",
    "content_filter": "content-filter",
}


class _Part(msgspec.Struct, tag_field="type"):
    """A part of a message as it is streamed."""


class _StartPart(_Part, tag="start"):
    messageId: str


class _TextStartPart(_Part, tag="text-start"):
    id: str = _TEXT_ID


class _TextDeltaPart(_Part, tag="text-delta"):
    """The next piece of the answer, in Markdown."""

    delta: str
    id: str = _TEXT_ID


class _TextEndPart(_Part, tag="text-end"):
    id: str = _TEXT_ID


class _SourcePart(_Part, tag="source-url"):
    """A cited heading with an absolute address, sent when its marker first appears."""

    sourceId: str
    url: str
    title: str


class _CitationPart(_Part, tag="data-citation"):
    """A source, sent when its marker first appears."""

    data: Citation


class _Refused(msgspec.Struct):
    finish_reason: str


class _RefusalPart(_Part, tag="data-refusal"):
    """The book does not answer the question."""

    data: _Refused


class _Suggested(msgspec.Struct):
    suggestions: list[Suggestion]
    follow_ups: list[str]


class _SuggestionsPart(_Part, tag="data-suggestions"):
    """The closest pages if the book does not answer, else questions to ask next."""

    data: _Suggested


class _Metadata(msgspec.Struct):
    """What `/chat` says about an answer in `done`."""

    finish_reason: str
    mode: str
    fallback: Fallback
    answer_id: str


class _FinishPart(_Part, tag="finish"):
    """The end of a complete answer. `[DONE]` follows."""

    finishReason: _FinishReason
    messageMetadata: _Metadata


class _ErrorPart(_Part, tag="error"):
    """The end of an incomplete answer, in place of `finish`. `[DONE]` follows."""

    errorText: str


PARTS: Final = (
    _StartPart,
    _TextStartPart,
    _TextDeltaPart,
    _TextEndPart,
    _SourcePart,
    _CitationPart,
    _RefusalPart,
    _SuggestionsPart,
    _FinishPart,
    _ErrorPart,
)
"""All parts, in the order of a stream."""

_TEXT_START: Final = frame(_TextStartPart())
_TEXT_END: Final = frame(_TextEndPart())
# Everything of a text delta but the text and the end: there is one for each token.
_BEFORE_DELTA, _, _BEHIND_DELTA = frame(_TextDeltaPart(delta="")).partition(b'""')


class PartEncoder:
    """Writes the events of one answer as parts."""

    def __init__(self) -> None:
        self._started = self._has_text = False

    def __call__(self, event: Event) -> bytes:
        match event:
            case TextDelta():
                return self._text(event.content)
            case Ping() if self._started:
                return PING
            case Ping():
                self._started = True
                return frame(_StartPart(messageId=new_session_id()))
            case Cited():
                return _cite(event.citation)
            case Done():
                return self._end_text() + _finish(event)
            case Failed():
                return self._end_text() + _fail(event.error)

    def _text(self, content: str) -> bytes:
        start = b"" if self._has_text else _TEXT_START
        self._has_text = True
        return start + _BEFORE_DELTA + _encode(content) + _BEHIND_DELTA

    def _end_text(self) -> bytes:
        return _TEXT_END if self._has_text else b""


def _cite(citation: Citation) -> bytes:
    source = b""
    if url := absolute_url(citation.source.url):
        source = frame(
            _SourcePart(sourceId=citation.chunk_id, url=url, title=citation.source.title)
        )
    return source + frame(_CitationPart(data=citation))


def _finish(done: Done) -> bytes:
    parts: list[object] = []
    if done.finish_reason == NOT_IN_BOOK:
        parts.append(_RefusalPart(data=_Refused(done.finish_reason)))
    if done.suggestions or done.follow_ups:
        parts.append(_SuggestionsPart(data=_Suggested(done.suggestions, done.follow_ups)))
    metadata = _Metadata(
        finish_reason=done.finish_reason,
        mode=done.mode,
        fallback=done.fallback,
        answer_id=done.answer_id,
    )
    reason = _FINISH_REASONS.get(done.finish_reason, "other")
    parts.append(_FinishPart(finishReason=reason, messageMetadata=metadata))
    return b"".join(map(frame, parts)) + _END


def _fail(message: str) -> bytes:
    return frame(_ErrorPart(errorText=message)) + _END


UI_ERRORS: Final = ErrorFormat(end_stream=lambda failure: _fail(failure.message))
