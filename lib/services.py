"""Open everything that lives as long as the application, warm it up, and close it."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lib import languages
from lib.answer_cache import AnswerCache
from lib.archives import remove_leftovers
from lib.book_pages import BookPages
from lib.budget import Budget, BudgetLimits, MemoryBudget
from lib.chat import Chat
from lib.completion import BookWords
from lib.contents import PublishedContents
from lib.crawl_copy import last_copy
from lib.embedding import Embedder, GuardedEmbedder, embedding_breaker
from lib.errors import IndexUnreadable, QuireError, RedisUnavailable
from lib.feedback import Feedback
from lib.gaps import GapFinder
from lib.generation import make_model, model_breaker
from lib.indexing import index_differences, origin_folder
from lib.ingest import Ingestion, IngestRequest
from lib.llms import LlmsFiles
from lib.masking import masker
from lib.metrics import Metrics
from lib.page_markdown import PageMarkdown
from lib.pricing import embedding_weight
from lib.question_log import FILE_NAME, QuestionLog
from lib.questions import Starters
from lib.recording import Recording
from lib.replicas.budget import RedisBudget
from lib.replicas.client import RedisClient, RedisSessions
from lib.replicas.ingest import LeasedStore, Reports
from lib.reranking import make_reranker
from lib.resilience import Admission, Breaker, CachedProbe
from lib.retrieval import retrieve_passages
from lib.runtime import LoopMonitor
from lib.sessions import MemorySessions
from lib.settings import MULTILINGUAL, Settings
from lib.store import INDEX_FORMAT, UPLOADED, GuardedStore, Manifest, Store, store_breaker

if TYPE_CHECKING:
    from lib.embedding_local import LocalEmbedder

_log = logging.getLogger(__name__)

_STORE_PROBE_SECONDS = 2.0
_REDIS_PROBE_SECONDS = 2.0
_RETRY_SECONDS = 15.0
"""Pause between two attempts to open a store that could not be reached at startup."""
_LAPSE_SECONDS = 60.0
"""Added to the longest answer: a reservation in Redis that is older than both has been lost."""
_FIRST_INDEX_SECONDS = 20.0
"""A question waits this long for the first index. Proxies cut a response that stays silent for
longer (60 s on a Space)."""


@dataclass(frozen=True, slots=True)
class StoreState:
    """Result of the latest probe of the store."""

    connected: bool
    manifest: Manifest | None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that handlers use."""

    settings: Settings
    chat: Chat
    embedder: GuardedEmbedder
    store: Store
    contents: PublishedContents
    book_pages: BookPages
    page_markdown: PageMarkdown
    llms: LlmsFiles
    starters: Starters
    words: BookWords
    """For searches while a reader is typing."""
    ingestion: Ingestion
    reports: Reports | None
    """Ingestion reports of all replicas; None if this process does not share its index."""
    redis: RedisClient | None
    """None without `REDIS_URL`."""
    question_log: QuestionLog | None
    """None unless the author keeps one."""
    gaps: GapFinder | None
    """None without a question log."""
    recording: Recording
    store_probe: CachedProbe[StoreState]
    model_probe: CachedProbe[bool] | None
    redis_probe: CachedProbe[bool] | None
    embedding_breaker: Breaker
    store_breaker: Breaker
    index_checked: asyncio.Event
    """Cleared while `warm_up` looks for an index and starts the first ingestion if needed."""
    metrics: Metrics
    loop_monitor: LoopMonitor = field(default_factory=LoopMonitor)
    started: float = field(default_factory=time.monotonic)

    @property
    def breakers(self) -> dict[str, Breaker]:
        """The circuit breakers by the service that each guards."""
        breakers = {
            "model": self.chat.model_breaker,
            "embeddings": self.embedding_breaker,
            "store": self.store_breaker,
        }
        optional = {"redis": self.redis, "reranker": self.chat.reranker}
        return breakers | {name: each.breaker for name, each in optional.items() if each}


@asynccontextmanager
async def open_services(
    settings: Settings, metrics: Metrics | None = None
) -> AsyncIterator[Services]:
    """Create the services that the settings ask for; close all of them at the end.

    Opening loads no model and opens no index: `warm_up` or the first use does. If closing one
    service fails, the others are closed before the exception is raised.
    """
    async with AsyncExitStack() as stack:
        redis = redis_probe = model_probe = None
        if settings.redis_url:
            redis = RedisClient(settings.redis_url, settings.qdrant_collection)
            stack.push_async_callback(redis.close)
            redis_probe = CachedProbe(redis.reachable, seconds=_REDIS_PROBE_SECONDS)
            stack.push_async_callback(redis_probe.close)
        budget = _make_budget(settings, redis)
        stack.push_async_callback(budget.close)
        await budget.open()
        store, store_guard = make_store(settings), store_breaker()
        stack.push_async_callback(store.close)
        embedding_guard = embedding_breaker()
        embedder = _make_embedder(settings, embedding_guard, budget, stack)
        stack.push_async_callback(embedder.close)
        reranker = make_reranker(settings)
        if reranker:
            stack.push_async_callback(reranker.close)
        model = make_model(settings)
        if model:
            stack.push_async_callback(model.close)
            model_probe = CachedProbe(model.reachable, seconds=30.0)
            stack.push_async_callback(model_probe.close)
        store_probe = CachedProbe(partial(_probe_store, store), seconds=_STORE_PROBE_SECONDS)
        stack.push_async_callback(store_probe.close)

        # The embedded index needs no breaker: it waits for no server.
        searched = GuardedStore(store, store_guard) if settings.qdrant_url else store
        contents = PublishedContents(searched)
        stack.push_async_callback(contents.close)
        page_markdown = PageMarkdown(searched, contents)
        llms = LlmsFiles(settings, searched, contents, page_markdown)
        stack.push_async_callback(llms.close)
        starters = Starters(partial(_find_page, embedder, searched))
        stack.push_async_callback(starters.close)

        def publish() -> None:
            store_probe.expire()
            store_guard.close()
            contents.refresh()
            embedder.for_index(embedder.model_id)  # release that of the replaced index

        # The embedded index needs no lease: the system locks it.
        leased = LeasedStore(store, redis) if redis and settings.qdrant_url else None
        ingestion = Ingestion(
            settings,
            embedder,
            leased or store,
            may_begin=leased.check if leased else None,
            when_published=publish,
        )
        reports = Reports(ingestion, redis) if redis and leased else None
        if reports:
            stack.push_async_callback(reports.close)
        # Closed first, so that the reports include its end.
        stack.push_async_callback(ingestion.close)

        question_log = _make_question_log(settings)
        if question_log:
            stack.push_async_callback(question_log.close)
            question_log.start()
        words = BookWords(searched)
        stack.push_async_callback(words.close)
        index_checked = asyncio.Event()
        index_checked.set()
        metrics = metrics or Metrics()
        yield Services(
            settings=settings,
            chat=Chat(
                embedder=embedder,
                store=searched,
                contents=contents,
                reranker=reranker,
                until_indexed=partial(_wait_for_index, index_checked, searched, ingestion),
                sessions=RedisSessions(redis) if redis else MemorySessions(),
                cache=AnswerCache(settings.answer_cache_size),
                model=model,
                model_breaker=model_breaker(),
                admission=Admission(settings.max_concurrent_answers),
                budget=budget,
                prices=settings.prices,
                embedding_model=settings.openai_embedding_model,
                max_output_tokens=settings.max_output_tokens,
                prompt_addition=settings.prompt_addition,
                text_fragments=settings.text_fragments,
                feedback=Feedback(settings.admin_api_key, redis),
            ),
            embedder=embedder,
            store=searched,
            contents=contents,
            book_pages=BookPages(settings, searched, contents),
            page_markdown=page_markdown,
            llms=llms,
            starters=starters,
            words=words,
            ingestion=ingestion,
            reports=reports,
            redis=redis,
            question_log=question_log,
            gaps=GapFinder(question_log, embedder) if question_log else None,
            recording=Recording(metrics, question_log, embedder.recall),
            store_probe=store_probe,
            model_probe=model_probe,
            redis_probe=redis_probe,
            embedding_breaker=embedding_guard,
            store_breaker=store_guard,
            index_checked=index_checked,
            metrics=metrics,
        )


def _make_question_log(settings: Settings) -> QuestionLog | None:
    """Make the question log if the author keeps one. Its file is created for the first entry."""
    path = settings.qdrant_path / FILE_NAME
    if not settings.question_log:
        if path.is_file():
            _log.warning(
                "QUESTION_LOG is off, but %s still has earlier questions. To delete them, delete "
                "this file and those whose names begin with its name.",
                path,
            )
        return None
    return QuestionLog(
        path,
        days=settings.question_log,
        max_bytes=settings.max_log_mb * 1_000_000,
        mask=masker(settings.secrets),
    )


async def _find_page(embedder: Embedder, store: Store, question: str) -> str | None:
    """Return the file that answers a question best; None if the book does not answer."""
    found = await retrieve_passages(embedder, store, question, (), 1)
    return found.passages[0].file_path if found.answerable and found.passages else None


def _make_budget(settings: Settings, redis: RedisClient | None) -> Budget:
    """Make the daily budget: in Redis if replicas share one, else in a file beside the index."""
    limits = BudgetLimits(
        tokens=settings.daily_tokens,
        usd=settings.daily_usd,
        reader_tokens=settings.reader_daily_tokens,
    )
    limited = limits.tokens or limits.usd
    # Without a limit nothing has to be shared: each replica reports its own spending.
    if redis and (limited or limits.reader_tokens):
        return RedisBudget(limits, redis, lapse=settings.stream_timeout + _LAPSE_SECONDS)
    return MemoryBudget(limits, settings.qdrant_path / "spending.json" if limited else None)


def _make_embedder(
    settings: Settings, breaker: Breaker, budget: Budget, stack: AsyncExitStack
) -> GuardedEmbedder:
    """Make the configured embedder without loading it. Only its modules are imported."""
    make_earlier = partial(_make_earlier_embedder, settings, budget, stack)
    if settings.embeddings_from == "local":
        local = make_local_embedder(settings.local_embedding_model)
        return GuardedEmbedder(local, make_earlier=make_earlier)
    model = settings.openai_embedding_model
    return _make_service_embedder(settings, model, breaker, budget, make_earlier)


def _make_service_embedder(
    settings: Settings,
    model: str,
    breaker: Breaker,
    budget: Budget,
    make_earlier: Callable[[str], GuardedEmbedder | None] = lambda _: None,
) -> GuardedEmbedder:
    """Questions to the service go through `breaker` and are charged to `budget`."""
    from lib.embedding_openai import OpenAIEmbedder

    service = OpenAIEmbedder(
        api_key=settings.openai_api_key,
        base_url=settings.model_base_url,
        model=model,
    )
    limits, price = budget.limits, settings.prices.get(model)
    return GuardedEmbedder(
        service,
        breaker,
        budget if limits.tokens or limits.usd or limits.reader_tokens else None,
        price,
        embedding_weight(settings.prices.get(settings.openai_model), price),
        make_earlier=make_earlier,
    )


def _make_earlier_embedder(
    settings: Settings, budget: Budget, stack: AsyncExitStack, model_id: str
) -> GuardedEmbedder | None:
    """Make the embedder of an index that was built with another model, if it is available."""
    provider, _, name = model_id.partition("/")
    if provider == "openai":
        if not settings.has_model or (settings.daily_usd and name not in settings.prices):
            return None
        service = _make_service_embedder(settings, name, embedding_breaker(), budget)
        stack.push_async_callback(service.close)
        return service
    with suppress(RuntimeError):  # the folder's model is gone
        model = settings.local_embedding_model if provider == "onnx" else MULTILINGUAL
        local = make_local_embedder(model)
        if local.model_id == model_id:
            return GuardedEmbedder(local, unload=local.unload)
    return None


def make_local_embedder(model: str) -> "LocalEmbedder":
    """Make the packaged embedder, or one of the model in the folder `model`."""
    from lib.embedding_local import LocalEmbedder, find_model

    if model == MULTILINGUAL:
        from lib import embedding_e5 as e5

        return LocalEmbedder(e5.MODEL_ID, e5.SIMILARITY, e5.load_e5)
    found = find_model(Path(model))
    return LocalEmbedder(found.model_id, found.similarity, found.load)


def make_store(settings: Settings) -> Store:
    """Make the configured store without opening it. Only its own engine is imported."""
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


async def _probe_store(store: Store) -> StoreState:
    if not await store.reachable():
        return StoreState(False, None, "The index cannot be reached.")
    try:
        return StoreState(True, await store.manifest())
    except QuireError as error:
        return StoreState(True, None, error.message)


async def _wait_for_index(checked: asyncio.Event, store: Store, ingestion: Ingestion) -> None:
    """Wait up to `_FIRST_INDEX_SECONDS` for the first ingestion, if one runs.

    After a timeout the search itself reports that there is no index. Raises `StoreUnavailable`:
    the search would wait for the store a second time.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(_FIRST_INDEX_SECONDS):
            await checked.wait()
            with suppress(IndexUnreadable):
                if await store.manifest() is not None:
                    return
            await ingestion.wait()


async def warm_up(services: Services, when_loaded: Callable[[], None] | None = None) -> None:
    """Open the index, ingest the book if there is none, and load the models.

    Calls `when_loaded` after loading. If the store cannot be reached, this keeps trying, so that a
    server answers once its Qdrant wakes. Raises no `QuireError`.
    """
    services.index_checked.clear()
    try:
        opened = await _open_index(services)
    finally:
        services.index_checked.set()
    folder = services.settings.qdrant_path / services.settings.qdrant_collection
    with suppress(OSError):
        await asyncio.to_thread(remove_leftovers, folder)
    await asyncio.to_thread(languages.load)
    try:
        with suppress(QuireError):
            manifest = await services.store.manifest()
            if manifest:
                services.contents.of(manifest)  # begins to read them
            if manifest and (used := services.embedder.for_index(manifest.embedding_model)):
                await used.load()
        await services.embedder.load()
        for model in (services.chat.model, services.chat.reranker):
            if model:
                await model.load()
    except (QuireError, RuntimeError, OSError) as error:
        _log.error("cannot load a model: %s", error)
    if when_loaded:
        when_loaded()
    while not opened:
        await asyncio.sleep(_RETRY_SECONDS)
        opened = await _open_index(services)


async def _open_index(services: Services) -> bool:
    """Open the store and call `_ingest_if_needed`. Returns False if it is worth trying again."""
    try:
        await services.store.open()
        await _ingest_if_needed(services)
    except QuireError as error:
        _log.warning("startup is incomplete: %s", error.message)
        # Errors of a store that answers are permanent.
        return not isinstance(error, RedisUnavailable) and await services.store.reachable()
    return True


async def _ingest_if_needed(services: Services) -> bool:
    """Start an ingestion if there is no index for the current settings. Returns whether it did.

    The old index stays in use meanwhile. A book that was uploaded, read from the web or named on
    the command line is indexed again from its own folder; nothing is fetched. An unreadable index
    is rebuilt at the cost of an embedding service only if it has vectors of the same model to
    reuse. Raises `QuireError`.
    """
    settings, embedding_model = services.settings, services.embedder.model_id
    manifest = None
    try:
        manifest = await services.store.manifest()
    except IndexUnreadable as error:
        if settings.embeddings_from != "local" and error.embedding_model != embedding_model:
            _log.warning(
                "The index cannot be read. Run an ingestion to rebuild it; it is not started "
                "automatically, because the embedding service may charge for it."
            )
            raise
        reason = "The index cannot be read."
    else:
        if manifest is None:
            reason = "No index yet."
        elif manifest.index_format != INDEX_FORMAT:
            reason = "The index was built by another version of Quire."
        elif differences := index_differences(manifest, settings, embedding_model):
            reason = describe_earlier_model(services, manifest) or (
                f"Settings changed since the index was built ({', '.join(differences)})."
            )
        else:
            return False
    origin = manifest.origin if manifest else _last_origin(settings)
    if re.match("https?://", origin):
        _log.info("%s Indexing the stored copy of %s.", reason, origin)
        await services.ingestion.start(IngestRequest(url=origin), fetch=False)
        return True
    root = origin_folder(settings, origin) if origin else None
    if root and not root.is_dir():
        _log.warning("%s The folder of the book is gone: ingest %s again.", reason, origin)
        return False
    _log.info("%s Indexing %s.", reason, origin or "the content folder")
    await services.ingestion.start(IngestRequest(), root=root)
    return True


def _last_origin(settings: Settings) -> str:
    """The origin of a book whose index is lost, as far as its content is stored beside it."""
    return UPLOADED if settings.pushed_content.is_dir() else last_copy(settings.crawled_content)


def describe_earlier_model(services: Services, manifest: Manifest) -> str | None:
    """Say how an index is searched that was built with another embedding model."""
    model, used = manifest.embedding_model, services.embedder.for_index(manifest.embedding_model)
    if model == services.embedder.model_id:
        return None
    return (
        f"The index was built with the embedding model {model}, but {services.embedder.model_id} "
        "is configured. Until the new index is complete, questions are "
        + ("embedded with the former." if used else "compared by words only.")
    )
