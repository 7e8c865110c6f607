"""The health report, from cached probes: takes milliseconds even if a dependency hangs."""

import asyncio
import time
from typing import Annotated, Any, Literal

import msgspec

from lib import __version__
from lib.errors import QuireError
from lib.indexing import index_differences
from lib.resilience import CachedProbe
from lib.search import check_index
from lib.services import Services, StoreState, describe_earlier_model
from lib.store import Manifest

_PROBE_WAIT = 0.02
"""Seconds. Then the previous result of a probe is reported."""

_STOPPING = "The server is shutting down."


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """State of the service and its dependencies."""

    status: Literal["healthy", "degraded"]
    version: str
    uptime: Annotated[float, msgspec.Meta(description="Seconds.")]
    qdrant_connected: bool
    openai_connected: bool
    redis_connected: Annotated[bool | None, msgspec.Meta(description="null if not configured.")]
    documents_count: int
    chunks_count: int
    ready: Annotated[bool, msgspec.Meta(description="Whether questions can be answered now.")]
    ingesting: bool
    embedder: Annotated[
        str, msgspec.Meta(description="Of questions; none if only words are compared.")
    ]
    model: Annotated[
        str | None, msgspec.Meta(description="null if answers are quotes from the book.")
    ]
    site_generator: str | None
    index_version: str | None
    draining: Annotated[bool, msgspec.Meta(description="Whether the server is shutting down.")]
    loop_lag: Annotated[
        float, msgspec.Meta(description="Worst event loop lag of the last minute, in seconds.")
    ]
    message: Annotated[str | None, msgspec.Meta(description="The problem, if there is one.")]
    inside: Annotated[
        dict[str, Any] | msgspec.UnsetType, msgspec.Meta(description="With the admin key only.")
    ] = msgspec.UNSET


async def check_health(
    services: Services, *, draining: bool = False, inside: bool = False
) -> tuple[Health, bool]:
    """Report the state of all services, and whether chat is available now or soon.

    `draining`: the server is shutting down. `inside`: include details for the admin.
    """
    store, model, redis = await asyncio.gather(
        services.store_probe.answer(_PROBE_WAIT),
        _connected(services.model_probe),
        _connected(services.redis_probe),
    )
    latest = services.ingestion.latest
    ingesting = latest is not None and latest.finished_at is None
    problem = _STOPPING if draining else _index_problem(store)
    message = problem
    manifest = store.manifest if store else None
    used = services.embedder.for_index(manifest.embedding_model) if manifest else services.embedder
    if problem is None and model is False:
        message = "The language model does not respond. Answers are quotes from the book."
    elif problem is None and redis is False:
        message = "Redis cannot be reached. Until then, conversations are not remembered."
    elif problem is None and manifest:
        message = _difference(services, manifest, ingesting)
    health = Health(
        status="degraded" if message else "healthy",
        version=__version__,
        uptime=round(time.monotonic() - services.started, 3),
        qdrant_connected=bool(store and store.connected),
        openai_connected=bool(model),
        redis_connected=bool(redis) if services.redis else None,
        documents_count=manifest.documents if manifest else 0,
        chunks_count=manifest.chunks if manifest else 0,
        ready=problem is None,
        # Until the index has been checked, an ingestion may still start.
        ingesting=ingesting or not services.index_checked.is_set(),
        embedder=used.model_id if used else "none",
        model=services.chat.model.name if services.chat.model else None,
        site_generator=manifest.generator if manifest else None,
        index_version=manifest.generation if manifest else None,
        draining=draining,
        loop_lag=round(services.loop_monitor.worst_lag, 3),
        message=message,
        inside=_details(services) if inside else msgspec.UNSET,
    )
    return health, not draining and (problem is None or ingesting or store is None)


def _details(services: Services) -> dict[str, Any]:
    chat = services.chat
    return {
        "sessions": len(chat.sessions),
        "budget": chat.budget.state(),
        "answers": {
            "running": chat.admission.running,
            "waiting": chat.admission.waiting,
            "refused": chat.admission.refused,
        },
        "breakers": {name: breaker.state for name, breaker in services.breakers.items()},
    }


async def _connected(probe: CachedProbe[bool] | None) -> bool | None:
    """None if the service is not configured or not probed yet."""
    return await probe.answer(_PROBE_WAIT) if probe else None


def _difference(services: Services, manifest: Manifest, ingesting: bool) -> str | None:
    """Why the index is not that of the current settings. Contains no value of a setting."""
    found = index_differences(manifest, services.settings, services.embedder.model_id)
    if not found:
        return None
    reason = describe_earlier_model(services, manifest) or (
        f"The index was built with other settings: {', '.join(found)}."
    )
    return reason if ingesting else f"{reason} Run `python main.py ingest` or POST /ingest."


def _index_problem(store: StoreState | None) -> str | None:
    """Why no question can be answered now; None if one can."""
    if store is None:
        return "The index is being opened."
    if store.problem:
        return store.problem
    try:
        check_index(store.manifest)
    except QuireError as error:
        return error.message
    return None
