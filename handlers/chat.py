"""POST /chat"""

from quart import Blueprint, Response
from quart_rate_limiter import rate_limit

from handlers import body, operation, require_known_origin, respond, services
from handlers.limits import limits, reader
from lib.answer import collect, stream, whole
from lib.api import Operation
from lib.chat import ChatRequest, prepare
from lib.events import ChatAnswer, Cited, Done, Failed, TextDelta, frames
from lib.metrics import Watch

blueprint = Blueprint("chat", __name__)


@blueprint.post("/chat")
@rate_limit(limits=limits())
@operation(
    Operation(
        "Answer a question, streamed unless `stream` is false.",
        body=ChatRequest,
        answer=ChatAnswer,
        events=(TextDelta, Cited, Done, Failed),
        statuses={
            403: "A page of a foreign origin.",
            503: "There is no index that can be searched.",
        },
    )
)
async def chat() -> Response:
    require_known_origin()
    request = await body(ChatRequest)
    turn = await prepare(services(), request, await reader())
    answer = (stream if request.stream else whole)(services(), turn)
    watch = Watch(services().metrics, turn.started, streamed=request.stream)
    headers = {"X-Session-Id": turn.session_id, "Cache-Control": "no-cache"}
    if not request.stream:
        collected = respond(await collect(answer, watch.see))
        collected.headers.update(headers)
        return collected
    streamed = Response(
        frames(answer, watch.see),
        content_type="text/event-stream",
        headers={**headers, "X-Accel-Buffering": "no"},
    )
    streamed.timeout = None  # Quart would cut every stream after a minute
    return streamed
