"""Readers ask the same things: the vectors of recent questions, kept."""

import asyncio
from functools import partial
from typing import Final

from cachetools import LRUCache

from lib.embedding import AroundEmbedder, Embedder, Vectors

MAX_QUESTIONS: Final = 2_000
"""Some 3 MB of vectors of 384 numbers."""


class CachedEmbedder(AroundEmbedder):
    """An embedder that embeds a question once. Documents go through: an index keeps them."""

    def __init__(self, embedder: Embedder) -> None:
        super().__init__(embedder)
        self._known: LRUCache[str, Vectors] = LRUCache(MAX_QUESTIONS)
        self._asked: dict[str, asyncio.Task[Vectors]] = {}

    async def embed_query(self, text: str) -> Vectors:
        known = self._known.get(text)
        if known is not None:
            return known
        asked = self._asked.get(text)
        if asked is None:
            # A task of its own: a reader who leaves does not take it from others who wait for it.
            asked = self._asked[text] = asyncio.create_task(self._embed(text))
            asked.add_done_callback(partial(self._answered, text))
        return await asyncio.shield(asked)

    def paid_tokens(self, text: str) -> int:
        known = text in self._known or text in self._asked
        return 0 if known else self._embedder.paid_tokens(text)

    async def _embed(self, text: str) -> Vectors:
        vector = self._known[text] = await self._embedder.embed_query(text)
        return vector

    def _answered(self, text: str, asked: "asyncio.Task[Vectors]") -> None:
        del self._asked[text]
        if not asked.cancelled():
            asked.exception()  # nobody may be there any more to be told
