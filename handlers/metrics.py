"""GET /metrics"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from quart import Blueprint, Response

from handlers import operation, services
from handlers.limits import require_admin
from handlers.middleware import Middleware
from lib.api import Operation
from lib.indexing import IngestTask
from lib.metrics import CONTENT_TYPE
from lib.question_log import QuestionLog
from lib.resilience import Breaker
from lib.services import Services

blueprint = Blueprint("metrics", __name__)

_INGESTION: tuple[tuple[str, str, Callable[[IngestTask], float]], ...] = (
    ("running", "1 while an ingestion is running.", lambda task: task.running),
    ("failed", "1 if the latest ingestion failed.", lambda task: task.status == "failed"),
    ("chunks", "Chunks of the latest ingestion.", lambda task: task.chunks_created),
    ("chunks_embedded", "Chunks that needed a new embedding.", lambda task: task.chunks_embedded),
    ("errors", "Files of the latest ingestion with an error.", lambda task: len(task.errors)),
    ("seconds", "Duration of the latest ingestion.", lambda task: _duration(task)),
)

_BREAKER: tuple[tuple[str, str, Callable[[Breaker], float]], ...] = (
    (
        "away",
        "1 while the circuit breaker is open.",
        lambda breaker: breaker.state != "closed",
    ),
    ("errors", "Failed calls to a service.", lambda breaker: breaker.failed),
    ("spared", "Calls refused by an open circuit breaker.", lambda breaker: breaker.refused),
)

_LOG: tuple[tuple[str, str, Callable[[QuestionLog], float]], ...] = (
    ("bytes", "Size of the question log.", lambda log: log.bytes),
    ("written", "Entries and votes written to the question log.", lambda log: log.written),
    ("lost", "Entries and votes that the question log lost.", lambda log: log.lost),
    ("failing", "1 while the question log cannot be written.", lambda log: log.failing),
)


@blueprint.get("/metrics")
@operation(
    Operation(
        "Prometheus metrics.",
        content_type="text/plain",
        statuses={401: "The admin key is missing or wrong."},
        admin=True,
    )
)
async def metrics() -> Response:
    if not services().settings.metrics_public:
        require_admin()
    return Response(services().metrics.text(), content_type=CONTENT_TYPE)


def register_gauges(services: Services, middleware: Middleware) -> None:
    """Register gauges that read the state of the services at each scrape."""
    monitor, chat, ingestion = services.loop_monitor, services.chat, services.ingestion
    budget, admission = chat.budget, chat.admission
    gauges: tuple[tuple[str, str, Callable[[], float]], ...] = (
        ("open_streams", "Open answer streams.", lambda: middleware.streams),
        ("loop_lag_seconds", "Event loop lag.", lambda: monitor.lag),
        ("loop_lag_worst_seconds", "Worst lag of the last minute.", lambda: monitor.worst_lag),
        ("tasks", "asyncio tasks.", lambda: len(asyncio.all_tasks())),
        ("sessions", "Conversations in memory.", lambda: len(chat.sessions)),
        ("budget_share", "Used share of today's budget, 0 to 1.", lambda: budget.state().share),
        ("budget_tokens", "Tokens used today.", lambda: budget.state().tokens),
        ("budget_usd", "Estimated cost of today, US dollars.", lambda: budget.state().usd),
        ("budget_refused", "Answers refused by the budget today.", lambda: budget.state().refused),
        ("answers_running", "Answers being generated.", lambda: admission.running),
        ("answers_waiting", "Readers in the queue.", lambda: admission.waiting),
        ("answers_refused", "Readers that the queue refused.", lambda: admission.refused),
    )
    for name, help_text, read in gauges:
        services.metrics.gauge(f"quire_{name}", help_text, read)
    for service, breaker in services.breakers.items():
        for name, help_text, read_breaker in _BREAKER:
            services.metrics.gauge(
                f"quire_upstream_{name}", help_text, partial(read_breaker, breaker), service=service
            )

    def of_latest(read: Callable[[IngestTask], float]) -> Callable[[], float]:
        return lambda: read(ingestion.latest) if ingestion.latest else 0.0

    for name, help_text, read_task in _INGESTION:
        services.metrics.gauge(f"quire_ingest_{name}", help_text, of_latest(read_task))
    log = services.question_log
    for name, help_text, read_log in _LOG:
        read = partial(read_log, log) if log else lambda: 0.0
        services.metrics.gauge(f"quire_question_log_{name}", help_text, read)


def _duration(task: IngestTask) -> float:
    return ((task.finished_at or datetime.now(UTC)) - task.started_at).total_seconds()
