"""POST /feedback"""

from quart import Blueprint, Response
from quart_rate_limiter import rate_limit

from handlers import body, operation, require_known_origin, respond, services
from handlers.limits import limits
from lib.api import Operation
from lib.feedback import FeedbackAnswer, FeedbackRequest

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
    await services().chat.feedback.vote(await body(FeedbackRequest), services().metrics)
    return respond(FeedbackAnswer())
