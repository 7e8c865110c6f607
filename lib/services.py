"""Everything that lives as long as the application does, opened and closed in one place."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from lib import languages as small_words
from lib.answer_cache import AnswerCache
from lib.budget import Budget, BudgetLimits, MemoryBudget
from lib.embedding import CachedEmbedder, Embedder, GuardedEmbedder, PaidEmbedder, embedding_breaker
from lib.errors import IndexUnreadable, QuireError, RedisUnavailable
from lib.generation import ChatModel, make_generator, model_breaker
from lib.indexing import configured
from lib.ingest import Ingestion, IngestRequest
from lib.metrics import Metrics
from lib.replicas.budget import RedisBudget
from lib.replicas.client import RedisClient, RedisSessions
from lib.replicas.ingest import LeasedStore, Reports
from lib.resilience import Admission, Breaker, CachedProbe
from lib.runtime import LoopMonitor
from lib.sessions import MemorySessions, Sessions
from lib.settings import MULTILINGUAL, Settings
from lib.store import INDEX_FORMAT, GuardedStore, Manifest, Store, store_breaker

log = logging.getLogger(__name__)

STORE_PROBE_SECONDS = 2.0
AWAY_SECONDS = 15.0
"""Between two looks for a store that was away at the start."""
MODEL_PROBE_SECONDS = 30.0
REDIS_PROBE_SECONDS = 2.0
LAPSE_SECONDS = 60.0
"""After the longest time that an answer may take, before its reservation is taken for lost."""
SPENDING = "spending.json"
FIRST_INDEX_SECONDS = 20.0
"""So long a question waits for the first index: less than a proxy bears silence."""


@dataclass(frozen=True, slots=True)
class StoreState:
    """What the store said when it was last asked."""

    connected: bool
    manifest: Manifest | None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The collaborators of every handler."""

    settings: Settings
    embedder: Embedder
    store: Store
    generator: ChatModel | None
    sessions: Sessions
    answers: AnswerCache
    admission: Admission
    budget: Budget
    model_breaker: Breaker
    embedding_breaker: Breaker
    store_breaker: Breaker
    ingestion: Ingestion
    store_probe: CachedProbe[StoreState]
    model_probe: CachedProbe[bool] | None
    redis: RedisClient | None
    """What replicas share; None where there is one process."""
    redis_probe: CachedProbe[bool] | None
    reports: Reports | None
    """Of all replicas' ingestions; None where each ingests for itself."""
    opened: asyncio.Event
    """Cleared while `warm_up` finds out whether there is an index, and begins one if not."""
    metrics: Metrics
    loop_monitor: LoopMonitor = field(default_factory=LoopMonitor)
    started: float = field(default_factory=time.monotonic)

    @property
    def breakers(self) -> dict[str, Breaker]:
        """By the service that each guards."""
        breakers = {
            "model": self.model_breaker,
            "embeddings": self.embedding_breaker,
            "store": self.store_breaker,
        }
        return breakers | ({"redis": self.redis.breaker} if self.redis else {})

    async def until_indexed(self) -> None:
        """Wait a while for a first ingestion: who asks right after the start gets an answer.

        Returns all the same when it takes longer; the search then says that there is no index yet.
        """
        with suppress(TimeoutError, QuireError):
            async with asyncio.timeout(FIRST_INDEX_SECONDS):
                await self.opened.wait()
                try:
                    indexed = await self.store.manifest() is not None
                except IndexUnreadable:
                    indexed = False
                if not indexed:
                    await self.ingestion.wait()


@asynccontextmanager
async def open_services(
    settings: Settings, metrics: Metrics | None = None
) -> AsyncIterator[Services]:
    """Make everything the settings ask for; what is slow to load is loaded on first use."""
    embedding_guard, store_guard = embedding_breaker(), store_breaker()
    redis = make_redis(settings)
    budget = make_budget(settings, redis)
    await budget.open()
    embedder, store = make_embedder(settings, embedding_guard, budget), make_store(settings)
    generator = make_generator(settings)
    # An index of the process's own is locked by the system.
    leased = LeasedStore(store, redis) if redis and settings.qdrant_url else None
    ingestion = Ingestion(settings, embedder, leased or store, leased.check if leased else None)
    services = Services(
        settings=settings,
        embedder=embedder,
        # The engine in this process hangs on nobody.
        store=GuardedStore(store, store_guard) if settings.qdrant_url else store,
        generator=generator,
        sessions=RedisSessions(redis) if redis else MemorySessions(),
        answers=AnswerCache(settings.answer_cache_size),
        admission=Admission(settings.max_concurrent_answers),
        budget=budget,
        model_breaker=model_breaker(),
        embedding_breaker=embedding_guard,
        store_breaker=store_guard,
        opened=asyncio.Event(),
        metrics=metrics or Metrics(),
        ingestion=ingestion,
        store_probe=CachedProbe(lambda: ask_store(store), seconds=STORE_PROBE_SECONDS),
        model_probe=CachedProbe(generator.reachable, seconds=MODEL_PROBE_SECONDS)
        if generator
        else None,
        redis=redis,
        redis_probe=CachedProbe(redis.reachable, seconds=REDIS_PROBE_SECONDS) if redis else None,
        reports=Reports(ingestion, redis) if redis and leased else None,
    )
    services.opened.set()
    try:
        yield services
    finally:
        await services.ingestion.close()
        if services.reports:
            await services.reports.close()
        await services.store_probe.close()
        for probe in (services.model_probe, services.redis_probe):
            if probe:
                await probe.close()
        if generator:
            await generator.close()
        await embedder.close()
        await store.close()
        await budget.close()
        if redis:
            await redis.close()


def make_redis(settings: Settings) -> RedisClient | None:
    """What replicas share, if they are to share anything; not connected yet."""
    if not settings.redis_url:
        return None
    return RedisClient(settings.redis_url, settings.qdrant_collection)


def make_budget(settings: Settings, redis: RedisClient | None = None) -> Budget:
    """Shared by all who share the Redis; else kept beside the index, where there is a disk."""
    limits = BudgetLimits(
        tokens=settings.daily_tokens,
        usd=settings.daily_usd,
        reader_tokens=settings.reader_daily_tokens,
    )
    limited = limits.tokens or limits.usd
    # Without a limit there is nothing to be kept to: each replica tells what it has spent itself.
    if redis and (limited or limits.reader_tokens):
        return RedisBudget(limits, redis, lapse=settings.stream_timeout + LAPSE_SECONDS)
    return MemoryBudget(limits, settings.qdrant_path / SPENDING if limited else None)


def make_embedder(
    settings: Settings, breaker: Breaker | None = None, budget: Budget | None = None
) -> Embedder:
    """The embedder that the settings ask for, not loaded yet; a service behind `breaker`, its
    questions paid from `budget`.

    The modules are imported here so that a server pays for the one it uses.
    """
    if settings.embeddings_from == "local":
        return CachedEmbedder(make_local_embedder(settings.local_embedding_model))
    from lib.embedding_openai import OpenAIEmbedder

    service = OpenAIEmbedder(
        api_key=settings.openai_api_key,
        base_url=settings.model_base_url,
        model=settings.openai_embedding_model,
    )
    guarded: Embedder = GuardedEmbedder(service, breaker or embedding_breaker())
    if budget and (budget.limits.tokens or budget.limits.usd):
        price = settings.prices.get(settings.openai_embedding_model)
        guarded = PaidEmbedder(guarded, budget, price)
    return CachedEmbedder(guarded)


def make_local_embedder(model: str) -> Embedder:
    """Make the packaged embedder, or one of the model in the folder `model`."""
    from lib.embedding_local import LocalEmbedder, find_model

    if model == MULTILINGUAL:
        from lib import embedding_e5 as e5

        return LocalEmbedder(e5.MODEL_ID, e5.SIMILARITY, e5.load_e5)
    found = find_model(Path(model))
    return LocalEmbedder(found.model_id, found.similarity, found.load)


def make_store(settings: Settings) -> Store:
    """The store that the settings ask for, not opened yet; only its own engine is imported."""
    if settings.qdrant_url:
        from lib.store_server import Layout, ServerStore

        return ServerStore(
            settings.qdrant_url,
            settings.qdrant_api_key,
            settings.qdrant_collection,
            grpc_port=settings.qdrant_grpc_port,
            layout=Layout(settings.qdrant_quantization, settings.qdrant_on_disk),
        )
    from lib.store_edge import EdgeStore

    return EdgeStore(settings.qdrant_path / settings.qdrant_collection)


async def ask_store(store: Store) -> StoreState:
    """Never raises: what is wrong is part of the answer."""
    if not await store.reachable():
        return StoreState(False, None, "The index cannot be reached.")
    try:
        return StoreState(True, await store.manifest())
    except QuireError as error:
        return StoreState(True, None, error.message)


async def ingest_if_needed(services: Services) -> bool:
    """Begin an ingestion where there is no index of what is configured; whether it did.

    Another embedding model of a service is no reason: to embed a book anew may cost money, so it is
    asked for. Nor is an index that cannot be read, unless its vectors are known to be of the same
    model: those of unchanged texts are taken over. Raises `QuireError`.
    """
    settings = services.settings
    try:
        manifest = await services.store.manifest()
    except IndexUnreadable as error:
        same_model = error.embedding_model == services.embedder.model_id
        if not same_model and settings.embeddings_from != "local":
            log.warning("it is not begun by itself, since embeddings may have to be paid for again")
            raise
        log.warning("the index cannot be read: ingesting the content folder")
        await services.ingestion.start(IngestRequest())
        return True
    same_model = manifest is not None and manifest.embedding_model == services.embedder.model_id
    if manifest is None:
        log.info("there is no index yet: ingesting the content folder")
    elif not same_model and settings.embeddings_from != "local":
        return False
    elif manifest.index_format != INDEX_FORMAT:
        log.info("the index was made by another version: ingesting the content folder")
    elif not same_model or manifest.configured != configured(settings):
        log.info("the index was made with other settings: ingesting the content folder")
    else:
        return False
    await services.ingestion.start(IngestRequest())
    return True


async def warm_up(services: Services, warm: Callable[[], None] | None = None) -> None:
    """Load what the first reader would wait for, and call `warm`; ingest the book where there is no
    index yet.

    Never raises. A server that starts while its Qdrant sleeps answers once it wakes: this goes on
    asking for it.
    """
    services.opened.clear()
    try:
        found = await open_index(services)
    finally:
        services.opened.set()
    await asyncio.to_thread(small_words.load)
    try:
        await services.embedder.load()
        if services.generator:
            await services.generator.load()
    except (QuireError, RuntimeError, OSError) as error:
        log.error("the embedder cannot be loaded: %s", error)
    if warm:
        warm()
    while not found:
        await asyncio.sleep(AWAY_SECONDS)
        found = await open_index(services)


async def open_index(services: Services) -> bool:
    """Open the store and do `ingest_if_needed`; whether the store was there."""
    try:
        await services.store.open()
        await ingest_if_needed(services)
    except RedisUnavailable as error:
        log.warning("the start is not complete: %s", error.message)
        return False
    except QuireError as error:
        log.warning("the start is not complete: %s", error.message)
        # What is wrong with a store that answers does not mend itself.
        return await services.store.reachable()
    return True
