"""GET /admin and GET /admin/status: the author's page and the state of the server."""

from http import HTTPStatus
from typing import cast

from quart import Blueprint, Response, current_app

from handlers import never_store, operation, respond, services
from handlers.html import send_page
from handlers.limits import require_admin
from handlers.middleware import Middleware
from lib.api import Operation
from lib.status import Status, read_status

blueprint = Blueprint("admin", __name__)


@blueprint.get("/admin")
async def page() -> Response:
    """The page has no data: its script asks for the key and fetches them."""
    response = await send_page("admin.html")
    # Defence in depth: the browser never parses readers' text as HTML.
    response.headers["Content-Security-Policy"] += (
        "; frame-ancestors 'none'; require-trusted-types-for 'script'"
    )
    response.headers["X-Robots-Tag"] = "noindex"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    return response


@blueprint.get("/admin/")
async def folder() -> Response:
    return Response(status=HTTPStatus.PERMANENT_REDIRECT, headers={"Location": "../admin"})


@blueprint.get("/admin/status")
@operation(
    Operation(
        "State of the server: index, latest ingestion, budget and question log.",
        answer=Status,
        statuses={401: "The admin key is missing or wrong."},
        admin=True,
    )
)
async def status() -> Response:
    require_admin()
    middleware = cast(Middleware, current_app.extensions["middleware"])
    state = await read_status(services(), draining=middleware.draining)
    return await never_store(respond(state))
