"""GET /health"""

from quart import Blueprint, Response

from handlers import operation, respond, services
from lib.health import Health, check_health
from lib.openapi import Operation

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
@operation(
    Operation(
        "How the service is. Spends no token, waits for nobody.",
        answer=Health,
        statuses={503: "Chat cannot be served at all."},
        same_answer=(503,),
    )
)
async def health() -> Response:
    answer, serving = await check_health(services())
    return respond(answer, 200 if serving else 503)
