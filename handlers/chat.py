"""POST /chat"""

from quart import Blueprint, Response, request
from quart_rate_limiter import rate_limit

from handlers import body, operation, require_known_origin, respond, services
from handlers.limits import limits, reader
from lib.answer import collect, stream, stream_complete
from lib.api import Operation
from lib.chat import ChatRequest, prepare
from lib.events import CONTENT_TYPE, ChatAnswer, Cited, Done, Failed, TextDelta, encode_events
from lib.metrics import AnswerRecorder

blueprint = Blueprint("chat", __name__)


@blueprint.post("/chat")
@rate_limit(limits=limits())
@operation(
    Operation(
        "Answer a question. The answer is streamed unless `stream` is false.",
        body=ChatRequest,
        answer=ChatAnswer,
        events=(TextDelta, Cited, Done, Failed),
        statuses={
            403: "The origin of the page is not allowed.",
            503: "There is no usable index.",
        },
    )
)
async def chat() -> Response:
    require_known_origin()
    asked = await body(ChatRequest)
    accepted = request.headers.get("Accept-Language", "")
    turn = await prepare(services().chat, asked, await reader(), accepted)
    events = (stream if asked.stream else stream_complete)(services().chat, turn)
    recorder = AnswerRecorder(services().metrics, turn.started, streamed=asked.stream)
    headers = {"X-Session-Id": turn.session_id, "Cache-Control": "no-cache"}
    if not asked.stream:
        whole = respond(await collect(events, recorder.record))
        whole.headers.update(headers)
        return whole
    streamed = Response(
        encode_events(events, recorder.record),
        content_type=CONTENT_TYPE,
        headers={**headers, "X-Accel-Buffering": "no"},
    )
    streamed.timeout = None  # Quart's default cuts streams after 60 s
    return streamed
