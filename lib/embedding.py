"""Texts to vectors: the one protocol of two implementations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

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

    def paid_tokens(self, text: str) -> int:
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

    def paid_tokens(self, text: str) -> int:
        return self._embedder.paid_tokens(text)

    async def close(self) -> None:
        await self._embedder.close()


def normalised(vectors: Vectors) -> Vectors:
    """The same rows with length 1; a row of zeros stays one."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit
