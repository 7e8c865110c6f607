"""GET /admin/questions: the question log for the book's author."""

from typing import Final

from quart import Blueprint, Response

from handlers import operation, query, question_log, respond
from handlers.limits import require_admin
from lib.api import Operation
from lib.question_list import QuestionPage, QuestionsQuery, list_questions

_ERRORS: Final = {
    401: "The admin key is missing or wrong.",
    404: "There is no question log.",
}

blueprint = Blueprint("admin_questions", __name__, url_prefix="/admin")


@blueprint.after_request
async def _never_store(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.get("/questions")
@operation(
    Operation(
        "Questions in the log, newest first.",
        query=QuestionsQuery,
        answer=QuestionPage,
        statuses=_ERRORS,
        admin=True,
    )
)
async def questions() -> Response:
    require_admin()
    wanted = query(QuestionsQuery)
    return respond(await list_questions(question_log(), wanted))
