"""GET /ask: an answer as Markdown, for shells and agents."""

from typing import Final

import msgspec
from quart import Blueprint, Response, request
from quart_rate_limiter import rate_limit

from handlers import SEARCH_ERRORS, operation, query, require_trusted_origin
from handlers.answering import answer_stream, prepare_turn
from handlers.failures import ErrorFormat
from handlers.limits import QUESTIONS, limits
from lib.answer_markdown import answer_notes
from lib.api import Operation, trimmed
from lib.chat import ChatRequest, ReadersPage
from lib.citations import Citation
from lib.events import Cited, Done, Event, Failed, Ping, TextDelta
from lib.search import MAX_QUERY_CHARACTERS, Query

blueprint = Blueprint("ask", __name__)

_CONTENT_TYPE: Final = "text/markdown; charset=utf-8"
_HEADERS: Final = {"Cache-Control": "no-store"}


class AskQuery(msgspec.Struct):
    """A question as a query string."""

    q: Query
    page: ReadersPage = ""


@blueprint.get("/ask")
@rate_limit(limits=limits(allowance=QUESTIONS))
@operation(
    Operation(
        "Answer a question as Markdown that ends with its sources.",
        query=AskQuery,
        content_type="text/markdown",
        statuses=SEARCH_ERRORS,
    )
)
async def ask() -> Response:
    require_trusted_origin()
    asked = query(AskQuery)
    question = trimmed(asked.q, "q", MAX_QUERY_CHARACTERS)
    if request.method == "HEAD":
        return Response(content_type=_CONTENT_TYPE, headers=_HEADERS)
    turn = await prepare_turn(ChatRequest(question=question, page=asked.page), messages=())
    return answer_stream(
        turn, _Encoder(turn.language), content_type=_CONTENT_TYPE, headers=_HEADERS
    )


class _Encoder:
    """Writes the events of one answer as Markdown."""

    def __init__(self, language: str) -> None:
        self._language = language
        self._end = ""
        """The last two characters of the text."""
        self._pinged = False
        self._citations: list[Citation] = []

    def __call__(self, event: Event) -> bytes:
        match event:
            case TextDelta():
                self._end = (self._end + event.content)[-2:]
                return event.content.encode()
            case Cited():
                self._citations.append(event.citation)
                return b""
            case Ping():
                return self._ping()
            case Done():
                return self._append(*answer_notes(event, self._citations, self._language))
            case Failed():
                return self._append(_incomplete(event.error))

    def _ping(self) -> bytes:
        """Keep proxies from closing a silent stream. Inside the text, a line break would show."""
        silent, self._pinged = self._pinged and not self._end, True
        return b"\n" if silent else b""

    def _append(self, *blocks: str) -> bytes:
        """Write paragraphs behind the text."""
        gap = "\n\n"[len(self._end) - len(self._end.rstrip("\n")) :] if blocks else ""
        return (gap + "\n\n".join(blocks) + "\n").encode()


def _incomplete(message: str) -> str:
    return f"**{message}**"


ERRORS: Final = ErrorFormat(
    end_stream=lambda failure: f"\n\n{_incomplete(failure.message)}\n".encode(),
    stream_type=_CONTENT_TYPE,
)
