"""GET /admin/questions and others: the question log for the book's author."""

from datetime import UTC, datetime
from typing import Final

from quart import Blueprint, Response, request

from handlers import LOG_ERRORS, never_store, operation, query, question_log, respond, services
from handlers.limits import require_admin
from lib.api import Operation
from lib.page_use import PagesQuery, PagesUse, count_page_use
from lib.question_export import ExportQuery, export_questions, golden_line
from lib.question_list import (
    Activity,
    Conversation,
    Deleted,
    Period,
    QuestionPage,
    QuestionsQuery,
    count_activity,
    delete_question,
    list_questions,
    read_conversation,
)

EXPORT: Final = "/admin/export"
_ERRORS_OF_ONE: Final = {**LOG_ERRORS, 404: "There is no question log, or nothing with this id."}
_TYPES: Final = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl; charset=utf-8"}

blueprint = Blueprint("admin_questions", __name__)
blueprint.after_request(never_store)


@blueprint.get("/admin/questions")
@operation(
    Operation(
        "Questions in the log, newest first.",
        query=QuestionsQuery,
        answer=QuestionPage,
        statuses=LOG_ERRORS,
        admin=True,
    )
)
async def questions() -> Response:
    require_admin()
    wanted = query(QuestionsQuery)
    return respond(await list_questions(question_log(), wanted))


@blueprint.delete("/admin/questions/<int:question>")
@operation(
    Operation(
        "Delete a question from the log.", answer=Deleted, statuses=_ERRORS_OF_ONE, admin=True
    )
)
async def delete(question: int) -> Response:
    require_admin()
    return respond(await delete_question(question_log(), question))


@blueprint.get("/admin/questions/<int:question>/golden")
@operation(
    Operation(
        "A question with its cited place as a line of the golden questions.",
        content_type="application/jsonl",
        statuses=_ERRORS_OF_ONE | {409: "The answer cites no place."},
        admin=True,
    )
)
async def golden(question: int) -> Response:
    require_admin()
    own = services()
    line = await golden_line(question_log(), own.settings, own.store, question)
    return _attach(Response(line, content_type=_TYPES["jsonl"]), f"golden-{question}.jsonl")


@blueprint.get("/admin/conversations/<conversation>")
@operation(
    Operation(
        "The questions of a conversation, oldest first.",
        answer=Conversation,
        statuses=_ERRORS_OF_ONE,
        admin=True,
    )
)
async def conversation(conversation: str) -> Response:
    require_admin()
    return respond(await read_conversation(question_log(), conversation))


@blueprint.get("/admin/activity")
@operation(
    Operation(
        "Questions by day, language and interface.",
        query=Period,
        answer=Activity,
        statuses=LOG_ERRORS,
        admin=True,
    )
)
async def activity() -> Response:
    require_admin()
    wanted = query(Period)
    return respond(await count_activity(question_log(), wanted))


@blueprint.get("/admin/pages")
@operation(
    Operation(
        "The pages that answers cite most and least, and headings that none cites.",
        query=PagesQuery,
        answer=PagesUse,
        statuses=LOG_ERRORS | {503: "There is no usable index, or its contents are being read."},
        admin=True,
    )
)
async def pages() -> Response:
    require_admin()
    own, wanted = services(), query(PagesQuery)
    return respond(await count_page_use(question_log(), own.store, own.contents, wanted))


@blueprint.get(EXPORT)
@operation(
    Operation(
        "Questions as a file of CSV or JSON Lines, newest first.",
        query=ExportQuery,
        content_type="text/csv",
        statuses=LOG_ERRORS,
        admin=True,
    )
)
async def export() -> Response:
    require_admin()
    wanted = query(ExportQuery)
    pieces = await export_questions(question_log(), wanted)
    body = b"" if request.method == "HEAD" else pieces
    response = Response(body, content_type=_TYPES[wanted.format])
    response.timeout = None  # Quart's default cuts streams after 60 s
    return _attach(response, f"questions-{datetime.now(UTC):%Y-%m-%d}.{wanted.format}")


def _attach(response: Response, name: str) -> Response:
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
