"""POST /feedback"""

from quart import Blueprint, Response
from quart_rate_limiter import rate_limit

from handlers import body, operation, require_known_origin, respond, services
from handlers.limits import limits
from lib.api import Operation
from lib.feedback import FeedbackAnswer, FeedbackRequest, answer_key

blueprint = Blueprint("feedback", __name__)


@blueprint.post("/feedback")
@rate_limit(limits=limits())
@operation(
    Operation(
        "Vote on an answer, once.",
        body=FeedbackRequest,
        answer=FeedbackAnswer,
        statuses={
            403: "The origin of the page is not allowed.",
            404: "The answer is unknown, or older than a day.",
            409: "The answer has been voted on.",
        },
    )
)
async def feedback() -> Response:
    require_known_origin()
    given = await body(FeedbackRequest)
    await services().chat.feedback.vote(given, services().metrics)
    if log := services().question_log:
        log.vote(answer_key(given.answer_id), given.vote, given.reason, given.note)
    return respond(FeedbackAnswer())
