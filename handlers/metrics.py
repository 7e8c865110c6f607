"""GET /metrics"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from quart import Blueprint, Response, request

from handlers import FORWARDING_HEADERS, operation, require_admin, services
from handlers.middleware import Middleware
from lib.api import Operation
from lib.auth import is_local
from lib.indexing import Task
from lib.metrics import CONTENT_TYPE
from lib.resilience import Breaker
from lib.services import Services

blueprint = Blueprint("metrics", __name__)

INGESTION: tuple[tuple[str, str, Callable[[Task], float]], ...] = (
    ("running", "1 while an ingestion runs.", lambda task: task.running),
    ("failed", "1 if the latest ingestion failed.", lambda task: task.status == "failed"),
    ("chunks", "Chunks of the latest ingestion.", lambda task: task.chunks_created),
    ("chunks_embedded", "Those that needed a new vector.", lambda task: task.counts.embedded),
    ("errors", "What was wrong with files of it.", lambda task: len(task.errors)),
    ("seconds", "How long it has taken.", lambda task: seconds(task)),
)

BREAKER: tuple[tuple[str, str, Callable[[Breaker], float]], ...] = (
    ("away", "1 while a service is taken for down.", lambda breaker: breaker.state != "closed"),
    ("errors", "Failed calls of a service.", lambda breaker: breaker.failed),
    ("spared", "Calls not made since it was down.", lambda breaker: breaker.refused),
)


@blueprint.get("/metrics")
@operation(
    Operation(
        "Figures for Prometheus, for the machine itself and the author.",
        text=True,
        statuses={401: "The admin key is missing or wrong."},
        admin=True,
    )
)
async def metrics() -> Response:
    forwarded = any(name in request.headers for name in FORWARDING_HEADERS)
    own = is_local(request.remote_addr or "", forwarded=forwarded)
    if not own and not services().settings.metrics_public:
        require_admin()
    return Response(services().metrics.text(), content_type=CONTENT_TYPE)


def register_gauges(services: Services, middleware: Middleware) -> None:
    """Let Prometheus see what is in the application whenever it asks."""
    gauge, ingestion = services.metrics.gauge, services.ingestion
    monitor = services.loop_monitor
    gauge("quire_open_streams", "Answers that are being streamed.", lambda: middleware.streams)
    gauge("quire_loop_lag_seconds", "How late the event loop is.", lambda: monitor.lag)
    gauge(
        "quire_loop_lag_worst_seconds", "The same, in the last minute.", lambda: monitor.worst_lag
    )
    gauge("quire_tasks", "Tasks of the event loop.", lambda: len(asyncio.all_tasks()))
    gauge("quire_sessions", "Conversations in memory.", lambda: len(services.chat.sessions))

    budget, answers = services.chat.budget, services.chat.admission
    gauge("quire_budget_share", "Of today's budget, 0 to 1.", lambda: budget.state().share)
    gauge("quire_budget_tokens", "Spent today.", lambda: budget.state().tokens)
    gauge("quire_budget_usd", "Spent today, estimated.", lambda: budget.state().usd)
    gauge("quire_budget_refused", "Answers without room, today.", lambda: budget.state().refused)
    gauge("quire_answers_running", "Answers that a model writes.", lambda: answers.running)
    gauge("quire_answers_waiting", "Readers who wait for a place.", lambda: answers.waiting)
    gauge("quire_answers_refused", "Those who waited in vain.", lambda: answers.refused)
    for service, breaker in services.breakers.items():
        for name, about, tell in BREAKER:
            gauge(f"quire_upstream_{name}", about, partial(tell, breaker), service=service)

    def of_latest(read: Callable[[Task], float]) -> Callable[[], float]:
        return lambda: read(ingestion.latest) if ingestion.latest else 0.0

    for name, about, read in INGESTION:
        gauge(f"quire_ingest_{name}", about, of_latest(read))


def seconds(task: Task) -> float:
    return ((task.finished_at or datetime.now(UTC)) - task.started_at).total_seconds()
