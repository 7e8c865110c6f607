"""POST /ingest, DELETE /ingest and GET /ingest/status"""

from typing import Annotated

import msgspec
from quart import Blueprint, Response

from handlers import body, operation, query, respond, services
from handlers.limits import require_admin
from lib.api import Operation
from lib.indexing import IngestStatus
from lib.ingest import IngestRequest, IngestStarted

blueprint = Blueprint("ingest", __name__)


class StatusQuery(msgspec.Struct, kw_only=True):
    """Selects an ingestion task."""

    task_id: Annotated[str, msgspec.Meta(description="Default: the latest task.")] | None = None


@blueprint.post("/ingest")
@operation(
    Operation(
        "Start an ingestion in the background.",
        body=IngestRequest,
        answer=IngestStarted,
        statuses={
            401: "The admin key is missing or wrong.",
            503: "Redis, which coordinates ingestion between replicas, cannot be reached.",
        },
        admin=True,
    )
)
async def start() -> Response:
    require_admin()
    started = await services().ingestion.start(await body(IngestRequest))
    if reports := services().reports:
        await reports.publish()  # the next request may reach another replica
    return respond(started)


@blueprint.delete("/ingest")
@operation(
    Operation(
        "Stop the running ingestion. The current index stays.",
        query=StatusQuery,
        answer=IngestStatus,
        statuses={
            401: "The admin key is missing or wrong.",
            404: "Unknown task, or no ingestion has run.",
        },
        admin=True,
    )
)
async def cancel() -> Response:
    require_admin()
    return respond(await services().ingestion.cancel(query(StatusQuery).task_id))


@blueprint.get("/ingest/status")
@operation(
    Operation(
        "Progress of an ingestion.",
        query=StatusQuery,
        answer=IngestStatus,
        statuses={
            404: "Unknown task, or no ingestion has run.",
        },
    )
)
async def status() -> Response:
    task_id = query(StatusQuery).task_id
    if reports := services().reports:
        return respond(await reports.status(task_id))
    return respond(services().ingestion.status(task_id))
