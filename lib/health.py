"""What /health says: from memory, in milliseconds, whatever the dependencies do."""

import asyncio
import time
from typing import Annotated, Any, Literal

import msgspec

from lib import __version__
from lib.errors import QuireError
from lib.resilience import CachedProbe
from lib.search import check_index
from lib.services import Services, StoreState

PATIENCE = 0.02  # seconds; a probe that takes longer is answered from memory


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How the service is."""

    status: Literal["healthy", "degraded"]
    version: str
    uptime: Annotated[float, msgspec.Meta(description="Seconds.")]
    qdrant_connected: bool
    openai_connected: bool
    redis_connected: Annotated[bool | None, msgspec.Meta(description="null: none is configured.")]
    documents_count: int
    chunks_count: int
    ready: Annotated[bool, msgspec.Meta(description="Whether a question can be answered now.")]
    ingesting: bool
    embedder: str
    model: Annotated[
        str | None, msgspec.Meta(description="null: answers are the book's own words.")
    ]
    site_generator: str | None
    index_version: str | None
    draining: Annotated[bool, msgspec.Meta(description="Whether the server was told to stop.")]
    loop_lag: Annotated[
        float, msgspec.Meta(description="Seconds that the server was late, in the last minute.")
    ]
    message: Annotated[str | None, msgspec.Meta(description="What is wrong, in a sentence.")]
    inside: Annotated[
        dict[str, Any] | msgspec.UnsetType, msgspec.Meta(description="For the author alone.")
    ] = msgspec.UNSET


STOPPING = "The server is being stopped."
NO_REDIS = "Redis cannot be reached; until it can, conversations are not remembered."


async def check_health(
    services: Services, *, draining: bool = False, inside: bool = False
) -> tuple[Health, bool]:
    """The state of things, and whether chat can be served or soon will be.

    `draining`: whether the server was told to stop; `inside`: whether the author asks.
    """
    store, model, redis = await asyncio.gather(
        services.store_probe.answer(PATIENCE),
        connected(services.model_probe),
        connected(services.redis_probe),
    )
    latest = services.ingestion.latest
    ingesting = latest is not None and latest.finished_at is None
    problem = STOPPING if draining else index_problem(services, store)
    degraded = problem
    if problem is None and services.chat.model is not None and model is False:
        degraded = "The language model does not answer; answers are the book's own words."
    elif problem is None and redis is False:
        degraded = NO_REDIS
    manifest = store.manifest if store else None
    health = Health(
        status="degraded" if degraded else "healthy",
        version=__version__,
        uptime=round(time.monotonic() - services.started, 3),
        qdrant_connected=bool(store and store.connected),
        openai_connected=bool(model),
        redis_connected=bool(redis) if services.redis else None,
        documents_count=manifest.documents if manifest else 0,
        chunks_count=manifest.chunks if manifest else 0,
        ready=problem is None,
        # Right after the start it is not known yet whether one begins by itself.
        ingesting=ingesting or not services.index_checked.is_set(),
        embedder=services.embedder.model_id,
        model=services.chat.model.name if services.chat.model else None,
        site_generator=manifest.generator if manifest else None,
        index_version=manifest.generation if manifest else None,
        draining=draining,
        loop_lag=round(services.loop_monitor.worst_lag, 3),
        message=degraded,
        inside=look_inside(services) if inside else msgspec.UNSET,
    )
    return health, not draining and (problem is None or ingesting or store is None)


def look_inside(services: Services) -> dict[str, Any]:
    """What only the author may know."""
    return {
        "sessions": len(services.chat.sessions),
        "budget": services.chat.budget.state(),
        "answers": {
            "running": services.chat.admission.running,
            "waiting": services.chat.admission.waiting,
            "refused": services.chat.admission.refused,
        },
        "breakers": {name: breaker.state for name, breaker in services.breakers.items()},
    }


async def connected(probe: CachedProbe[bool] | None) -> bool | None:
    """Whether a service answered lately; None while that is not known, or there is none."""
    return await probe.answer(PATIENCE) if probe else None


def index_problem(services: Services, store: StoreState | None) -> str | None:
    """Why no question can be answered now; None when one can."""
    if store is None:
        return "The index is being opened."
    if store.problem:
        return store.problem
    try:
        check_index(store.manifest, services.embedder)
    except QuireError as error:
        return error.message
    return None
