"""GET /admin/gaps and GET /admin/report: what to write next, and a summary of a period."""

from typing import Annotated, Final

import msgspec
from quart import Blueprint, Response

from handlers import LOG_ERRORS, never_store, operation, query, question_log, respond, services
from handlers.limits import require_admin
from lib.api import Operation
from lib.errors import NotFound
from lib.gaps import GapFinder, Gaps
from lib.question_list import PastTime, parse_time
from lib.question_log import NO_LOG
from lib.report import ReportQuery, write_report

_MAX_GAPS: Final = 200

blueprint = Blueprint("admin_gaps", __name__, url_prefix="/admin")
blueprint.after_request(never_store)


class GapsQuery(msgspec.Struct, kw_only=True):
    """Selects the questions that are grouped."""

    since: PastTime = "30d"
    limit: Annotated[int, msgspec.Meta(ge=1, le=_MAX_GAPS)] = 50


@blueprint.get("/gaps")
@operation(
    Operation(
        "Questions that the book does not answer, grouped, most needed first.",
        query=GapsQuery,
        answer=Gaps,
        statuses=LOG_ERRORS,
        admin=True,
    )
)
async def gaps() -> Response:
    require_admin()
    finder, wanted = _finder(), query(GapsQuery)
    since = parse_time(wanted.since, "since")
    return respond(await finder.find(since=since, limit=wanted.limit))


@blueprint.get("/report")
@operation(
    Operation(
        "A period as Markdown, compared with the period before.",
        query=ReportQuery,
        content_type="text/markdown",
        statuses=LOG_ERRORS,
        admin=True,
    )
)
async def report() -> Response:
    require_admin()
    text = await write_report(question_log(), _finder(), query(ReportQuery))
    return Response(text, content_type="text/markdown; charset=utf-8")


def _finder() -> GapFinder:
    finder = services().gaps
    if finder is None:
        raise NotFound(NO_LOG)
    return finder
