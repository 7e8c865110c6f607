"""Embedder and store behind circuit breakers (`lib.resilience`); for the model, see `lib.paid`."""

from collections.abc import Mapping

from lib.embedding import AroundEmbedder, Embedder, Vectors
from lib.errors import StoreUnavailable
from lib.generation import SERVICE as MODEL
from lib.resilience import Breaker
from lib.sparse import SparseVector
from lib.store import AroundStore, Found, Manifest, Store
from lib.upstream import upstream_error

EMBEDDING_PATIENCE = 3.0
STORE_PATIENCE = 3.0
STORE_LONGEST_PAUSE = 10.0
"""Seconds; shorter than the others', since without the index nothing can be answered."""


def model_breaker() -> Breaker:
    """Without patience: a model of one's own may think for a while before its first word."""
    return Breaker(upstream_error(MODEL, 408))


def embedding_breaker() -> Breaker:
    return Breaker(upstream_error("The embedding service", 408), patience=EMBEDDING_PATIENCE)


def store_breaker() -> Breaker:
    late = StoreUnavailable("The Qdrant server takes too long to answer; try again later.")
    return Breaker(late, patience=STORE_PATIENCE, longest_pause=STORE_LONGEST_PAUSE)


class GuardedEmbedder(AroundEmbedder):
    """Readers' questions go through the breaker; documents do not, since ingestion is patient."""

    def __init__(self, embedder: Embedder, breaker: Breaker) -> None:
        super().__init__(embedder)
        self._breaker = breaker

    async def embed_query(self, text: str) -> Vectors:
        with self._breaker.call():
            return await super().embed_query(text)

    def paid_tokens(self, text: str) -> int:
        return 0 if self._breaker.state == "open" else super().paid_tokens(text)


class GuardedStore(AroundStore):
    """What readers wait for goes through the breaker; ingestion and probes do not."""

    def __init__(self, store: Store, breaker: Breaker) -> None:
        super().__init__(store)
        self._breaker = breaker

    async def manifest(self) -> Manifest | None:
        with self._breaker.call(from_memory=True):
            return await super().manifest()

    async def search(
        self,
        vector: Vectors | None,
        terms: SparseVector,
        n: int,
        *,
        only: Mapping[str, str] | None = None,
    ) -> Found:
        with self._breaker.call():
            return await super().search(vector, terms, n, only=only)
