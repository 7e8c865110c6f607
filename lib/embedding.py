"""Texts to vectors: the one protocol of two implementations.

Readers ask the same things: the vectors of recent questions, kept.

Embedder and store behind circuit breakers (`lib.resilience`); for the model, see `lib.answer`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
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


@dataclass(frozen=True, slots=True)
class Similarity:
    """What the cosines of an embedder mean."""

    unrelated: float
    """Of a question and a text that has nothing to do with it."""
    answering: float
    """Of a question and a text that answers it."""
    measured: bool = True
    """False for figures that were published for the model, or for models like it."""

    def scaled(self, cosine: float) -> float:
        """0 for unrelated, 1 for answering; a little beyond at both ends."""
        share = (cosine - self.unrelated) / (self.answering - self.unrelated)
        return min(1.5, max(-0.5, share))


class Embedder(Protocol):
    """Makes vectors of one model. Calls may overlap; none of them blocks the event loop."""

    @property
    def model_id(self) -> str:
        """Names provider and model, for example `openai/text-embedding-3-small`.

        Vectors of different `model_id`s are never compared.
        """

    @property
    def similarity(self) -> Similarity:
        """What its cosines mean."""

    @property
    def concurrency(self) -> int:
        """How many `embed_documents` calls at once make an ingestion fastest."""

    async def load(self) -> None:
        """Do what the first call would otherwise wait for. Safe to call more than once."""

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """`(len(texts), dimension) float32`, each row L2-normalised.

        Patient: it retries for minutes. Raises `lib.errors.UpstreamError`.
        """

    async def embed_query(self, text: str) -> Vectors:
        """`(dimension,) float32`, L2-normalised. Impatient: a reader waits.

        Raises `lib.errors.UpstreamError`.
        """

    def billable_tokens(self, text: str) -> int:
        """About how many tokens `embed_query` would cost now; 0 where it costs nothing."""

    async def close(self) -> None: ...


class AroundEmbedder:
    """An embedder that hands everything on to another; its kinds change what readers wait for."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @property
    def model_id(self) -> str:
        return self._embedder.model_id

    @property
    def similarity(self) -> Similarity:
        return self._embedder.similarity

    @property
    def concurrency(self) -> int:
        return self._embedder.concurrency

    async def load(self) -> None:
        await self._embedder.load()

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        return await self._embedder.embed_documents(texts)

    async def embed_query(self, text: str) -> Vectors:
        return await self._embedder.embed_query(text)

    def billable_tokens(self, text: str) -> int:
        return self._embedder.billable_tokens(text)

    async def close(self) -> None:
        await self._embedder.close()


def l2_normalise(vectors: Vectors) -> Vectors:
    """The same rows with length 1; a row of zeros stays one."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit


MAX_QUESTIONS: Final = 2_000
"""Some 3 MB of vectors of 384 numbers."""


class CachedEmbedder(AroundEmbedder):
    """An embedder that embeds a question once. Documents go through: an index keeps them."""

    def __init__(self, embedder: Embedder) -> None:
        super().__init__(embedder)
        self._known: LRUCache[str, Vectors] = LRUCache(MAX_QUESTIONS)
        self._in_flight: dict[str, SingleFlight[Vectors]] = {}

    async def embed_query(self, text: str) -> Vectors:
        known = self._known.get(text)
        if known is not None:
            return known
        flight = self._in_flight.get(text)
        if flight is None:
            flight = self._in_flight[text] = SingleFlight(partial(self._embed, text))
        return await flight.get()

    def billable_tokens(self, text: str) -> int:
        known = text in self._known or text in self._in_flight
        return 0 if known else self._embedder.billable_tokens(text)

    async def _embed(self, text: str) -> Vectors:
        try:
            vector = self._known[text] = await self._embedder.embed_query(text)
        finally:
            del self._in_flight[text]
        return vector


EMBEDDING_PATIENCE = 3.0


def embedding_breaker() -> Breaker:
    return Breaker(upstream_error("The embedding service", 408), hang_after=EMBEDDING_PATIENCE)


class GuardedEmbedder(AroundEmbedder):
    """Readers' questions go through the breaker; documents do not, since ingestion is patient."""

    def __init__(self, embedder: Embedder, breaker: Breaker) -> None:
        super().__init__(embedder)
        self._breaker = breaker

    async def embed_query(self, text: str) -> Vectors:
        with self._breaker.call():
            return await super().embed_query(text)

    def billable_tokens(self, text: str) -> int:
        return 0 if self._breaker.state == "open" else super().billable_tokens(text)


class PaidEmbedder(AroundEmbedder):
    """Pays for readers' questions. Documents are the author's own affair, who has them embedded."""

    def __init__(self, embedder: Embedder, budget: Budget, price: Price | None) -> None:
        super().__init__(embedder)
        self._budget = budget
        self._price = price

    async def embed_query(self, text: str) -> Vectors:
        """Raises `BudgetExhausted` besides what the budget and the embedder raise."""
        tokens = self.billable_tokens(text)
        if not tokens:
            return await super().embed_query(text)
        reservation = await self._budget.reserve(None, tokens, token_cost(self._price, tokens, 0))
        if reservation is None:
            raise BudgetExhausted
        try:
            return await super().embed_query(text)
        except UpstreamError as error:
            if "upstream_status" in error.details:
                reservation.release()
            raise
        finally:
            reservation.settle(reservation.tokens, None)
