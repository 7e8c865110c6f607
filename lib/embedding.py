"""The embedder protocol, and what protects a backend: cache, daily budget, circuit breaker."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from copy import copy
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
from cachetools import LRUCache

from lib.budget import Budget, BudgetExhausted
from lib.errors import UpstreamError, upstream_error
from lib.pricing import Price, token_cost
from lib.resilience import Breaker
from lib.runtime import SingleFlight

Vectors = npt.NDArray[np.float32]

_CACHED_QUESTIONS: Final = 2_000
"""About 3 MB with vectors of 384 numbers."""


@dataclass(frozen=True, slots=True)
class Similarity:
    """Typical cosines of an embedding model."""

    unrelated: float
    """Between a question and an unrelated text."""
    answering: float
    """Between a question and a text that answers it."""
    measured: bool = True
    """False for published figures of the model, or of similar ones."""

    def scaled(self, cosine: float) -> float:
        """Scale a cosine: 0 for unrelated, 1 for answering, clipped to -0.5 and 1.5."""
        share = (cosine - self.unrelated) / (self.answering - self.unrelated)
        return min(1.5, max(-0.5, share))


class Embedder(Protocol):
    """Embeds texts with one model. Calls may overlap; none of them blocks the event loop."""

    @property
    def model_id(self) -> str:
        """Provider and model, for example `openai/text-embedding-3-small`.

        Vectors with different `model_id`s are never compared.
        """

    @property
    def similarity(self) -> Similarity:
        """Typical cosines of the model."""

    @property
    def concurrency(self) -> int:
        """Number of concurrent `embed_documents` calls for the fastest ingestion."""

    async def load(self) -> None:
        """Load lazily imported parts and weights. Safe to call more than once."""

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Embed texts: `(len(texts), dimension) float32`, each row L2-normalised.

        Retries for minutes. Raises `lib.errors.UpstreamError`.
        """

    async def embed_query(self, text: str) -> Vectors:
        """Embed a question: `(dimension,) float32`, L2-normalised. Fails within seconds.

        Raises `lib.errors.UpstreamError`.
        """

    def billable_tokens(self, text: str) -> int:
        """Estimate the tokens that `embed_query` would be charged for now; 0 if free."""

    async def close(self) -> None: ...


def query_embedder(embedder: Embedder, model_id: str) -> Embedder | None:
    """The embedder of questions to an index of this model; None if only words can be compared."""
    if isinstance(embedder, GuardedEmbedder):
        return embedder.for_index(model_id)
    return embedder if embedder.model_id == model_id else None


def l2_normalise(vectors: Vectors) -> Vectors:
    """Scale rows to length 1; rows of zeros stay zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit


def embedding_breaker() -> Breaker:
    return Breaker(upstream_error("The embedding service", 408), hang_after=3.0)


class _Earlier:
    """The embedder of an index that was built with another model, as long as it is searched."""

    def __init__(self, make: "Callable[[str], GuardedEmbedder | None]") -> None:
        self._make = make
        self._model_id = ""
        self._embedder: GuardedEmbedder | None = None

    def of(self, model_id: str) -> "GuardedEmbedder | None":
        if model_id != self._model_id:
            self.release()
            self._model_id, self._embedder = model_id, self._make(model_id)
        return self._embedder

    @property
    def current(self) -> "GuardedEmbedder | None":
        """The embedder in use; None if the index has the configured model."""
        return self._embedder

    def release(self) -> None:
        if self._embedder:
            self._embedder.unload()
        self._model_id, self._embedder = "", None


class GuardedEmbedder:
    """Questions go through a cache, the daily budget and a circuit breaker, in this order.

    Documents pass through: the index keeps their vectors, the author pays for them, and an
    ingestion retries patiently. Concurrent callers with the same question share one request.
    """

    def __init__(
        self,
        backend: Embedder,
        breaker: Breaker | None = None,
        budget: Budget | None = None,
        price: Price | None = None,
        weight: float = 1.0,
        *,
        make_earlier: "Callable[[str], GuardedEmbedder | None]" = lambda _: None,
        unload: Callable[[], None] = lambda: None,
    ) -> None:
        """`weight`: tokens of the budget for each token of a question.

        `make_earlier` makes the embedder of another `model_id`, if it is available. `unload` frees
        the memory of the backend.
        """
        self.unload = unload
        self._earlier = _Earlier(make_earlier)
        self._backend = backend
        self._breaker = breaker
        self._budget = budget
        self._price = price
        self._weight = weight
        self._reader: str | None = None
        self.model_id, self.similarity = backend.model_id, backend.similarity
        self.concurrency, self.load = backend.concurrency, backend.load
        self._cache: LRUCache[str, Vectors] = LRUCache(_CACHED_QUESTIONS)
        self._in_flight: dict[str, SingleFlight[Vectors]] = {}

    def charged_to(self, reader: str | None) -> "GuardedEmbedder":
        """This embedder, with questions that count towards the limit of `reader` as well."""
        charged = copy(self)
        charged._reader = reader
        return charged

    def for_index(self, model_id: str) -> "GuardedEmbedder | None":
        """The embedder of questions to an index of this model; None if there is none.

        That of an earlier index is released when an index of the own model is searched.
        """
        if model_id == self.model_id:
            self._earlier.release()
            return self
        earlier = self._earlier.of(model_id)
        return earlier.charged_to(self._reader) if earlier else None

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        return await self._backend.embed_documents(texts)

    async def embed_query(self, text: str) -> Vectors:
        """Also raises `BudgetExhausted` and the budget's own errors."""
        vector = self._cache.get(text)
        if vector is not None:
            return vector
        flight = self._in_flight.get(text)
        if flight is None:
            flight = self._in_flight[text] = SingleFlight(partial(self._embed, text))
        return await flight.get()

    def recall(self, text: str) -> tuple[str, Vectors] | None:
        """Look up a recent question in the cache: `model_id` and vector, or None."""
        used = self._earlier.current or self
        vector = used._cache.get(text)
        return None if vector is None else (used.model_id, vector)

    def billable_tokens(self, text: str) -> int:
        return 0 if text in self._cache or text in self._in_flight else self._backend_tokens(text)

    async def close(self) -> None:
        await self._backend.close()

    def _backend_tokens(self, text: str) -> int:
        failing_fast = self._breaker is not None and self._breaker.state == "open"
        return 0 if failing_fast else self._backend.billable_tokens(text)

    async def _embed(self, text: str) -> Vectors:
        try:
            vector = self._cache[text] = await self._charge(text)
        finally:
            del self._in_flight[text]
        return vector

    async def _charge(self, text: str) -> Vectors:
        tokens = self._backend_tokens(text)
        if self._budget is None or not tokens:
            return await self._ask(text)
        reservation = await self._budget.reserve(
            self._reader, ceil(tokens * self._weight), token_cost(self._price, tokens, 0)
        )
        if reservation is None:
            raise BudgetExhausted
        try:
            return await self._ask(text)
        except UpstreamError as error:
            if "upstream_status" in error.details:
                reservation.release()
            raise
        finally:
            reservation.settle(reservation.tokens, None)

    async def _ask(self, text: str) -> Vectors:
        with self._breaker.call() if self._breaker else nullcontext():
            return await self._backend.embed_query(text)
