"""POST /chat"""

from quart import Blueprint, Response
from quart_rate_limiter import rate_limit

from handlers import body, operation, require_known_origin, respond, services
from handlers.limits import limits
from lib.chat import ChatRequest, collect, prepare, stream
from lib.chat_events import ChatAnswer, Chunk, Cited, Done, Failed
from lib.metrics import watched
from lib.openapi import Operation
from lib.sse import frames

blueprint = Blueprint("chat", __name__)


@blueprint.post("/chat")
@rate_limit(limits=limits())
@operation(
    Operation(
        "Answer a question, streamed unless `stream` is false.",
        body=ChatRequest,
        answer=ChatAnswer,
        events=(Chunk, Cited, Done, Failed),
        statuses={
            403: "A page of a foreign origin.",
            502: "The embedding service failed, or the model in the midst of a JSON answer.",
            503: "There is no index that can be searched.",
        },
    )
)
async def chat() -> Response:
    require_known_origin()
    request = await body(ChatRequest)
    turn = await prepare(services(), request)
    events = watched(services().metrics, stream(services(), turn), turn.started)
    headers = {"X-Session-Id": turn.session_id, "Cache-Control": "no-cache"}
    if not request.stream:
        answer = respond(await collect(events))
        answer.headers.update(headers)
        return answer
    streamed = Response(
        frames(events),
        content_type="text/event-stream",
        headers={**headers, "X-Accel-Buffering": "no"},
    )
    streamed.timeout = None  # Quart would cut every stream after a minute
    return streamed
