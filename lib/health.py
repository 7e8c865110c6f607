"""What /health says: from memory, in milliseconds, whatever the dependencies do."""

import asyncio
import time
from typing import Annotated, Literal

import msgspec

from lib import __version__
from lib.errors import QuireError
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
    message: Annotated[str | None, msgspec.Meta(description="What is wrong, in a sentence.")]


async def check_health(services: Services) -> tuple[Health, bool]:
    """The state of things, and whether chat can be served or soon will be."""
    store, model = await asyncio.gather(
        services.store_probe.answer(PATIENCE), model_connected(services)
    )
    latest = services.ingestion.latest
    ingesting = latest is not None and latest.finished_at is None
    problem = index_problem(services, store)
    degraded = problem
    if problem is None and services.generator is not None and model is False:
        degraded = "The language model does not answer; answers are the book's own words."
    manifest = store.manifest if store else None
    health = Health(
        status="degraded" if degraded else "healthy",
        version=__version__,
        uptime=round(time.monotonic() - services.started, 3),
        qdrant_connected=bool(store and store.connected),
        openai_connected=bool(model),
        documents_count=manifest.documents if manifest else 0,
        chunks_count=manifest.chunks if manifest else 0,
        ready=problem is None,
        ingesting=ingesting,
        embedder=services.embedder.model_id,
        model=services.generator.model if services.generator else None,
        site_generator=manifest.generator if manifest else None,
        index_version=manifest.generation if manifest else None,
        message=degraded,
    )
    return health, problem is None or ingesting or store is None


async def model_connected(services: Services) -> bool | None:
    """Whether the model answered lately; None while that is not known, or there is none."""
    return await services.model_probe.answer(PATIENCE) if services.model_probe else None


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
