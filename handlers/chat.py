"""POST /chat"""

from quart import Blueprint, Response
from quart_rate_limiter import rate_limit

from handlers import SEARCH_ERRORS, body, operation, require_known_origin, respond
from handlers.answering import NOT_KEPT, answer_stream, answer_whole, prepare_turn
from handlers.limits import QUESTIONS, limits
from lib.api import Operation
from lib.chat import ChatRequest
from lib.events import ChatAnswer, Cited, Done, Failed, TextDelta

blueprint = Blueprint("chat", __name__)


@blueprint.post("/chat")
@rate_limit(limits=limits(allowance=QUESTIONS))
@operation(
    Operation(
        "Answer a question. The answer is streamed unless `stream` is false.",
        body=ChatRequest,
        answer=ChatAnswer,
        events=(TextDelta, Cited, Done, Failed),
        statuses=SEARCH_ERRORS,
    )
)
async def chat() -> Response:
    require_known_origin()
    asked = await body(ChatRequest)
    turn = await prepare_turn(asked)
    headers = {**NOT_KEPT, "X-Session-Id": turn.session_id}
    if asked.stream:
        return answer_stream(turn, headers=headers)
    whole = respond(await answer_whole(turn))
    whole.headers.update(headers)
    return whole
