"""Readers ask the same things: the vectors of recent questions, kept."""

from collections.abc import Sequence
from typing import Final

from cachetools import LRUCache

from lib.embedding import Embedder, Similarity, Vectors

MAX_QUESTIONS: Final = 2_000
"""Some 3 MB of vectors of 384 numbers."""


class CachedEmbedder:
    """An embedder that embeds a question once. Documents go through: an index keeps them."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._known: LRUCache[str, Vectors] = LRUCache(MAX_QUESTIONS)

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
        known = self._known.get(text)
        if known is None:
            known = self._known[text] = await self._embedder.embed_query(text)
        return known

    async def close(self) -> None:
        await self._embedder.close()
