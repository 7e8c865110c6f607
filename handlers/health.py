"""GET /health"""

from typing import cast

from quart import Blueprint, Response, current_app

from handlers import operation, respond, services
from handlers.limits import is_admin
from handlers.middleware import Middleware
from lib.api import Operation
from lib.health import Health, check_health

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
@operation(
    Operation(
        "Health of the service. Costs no tokens and waits for no dependency.",
        answer=Health,
        statuses={503: "Chat is not available."},
        same_answer=(503,),
    )
)
async def health() -> Response:
    answer, serving = await check_health(
        services(),
        draining=cast(Middleware, current_app.extensions["middleware"]).draining,
        inside=is_admin(),
    )
    return respond(answer, 200 if serving else 503)
