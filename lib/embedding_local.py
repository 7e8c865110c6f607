"""Vectors without a key: a model on this machine's processors, and nothing fetched.

Which model is a setting: `lib.embedding_e5` (multilingual), `lib.embedding_minilm` (English), both with weights
from pinned packages, or a folder with any ONNX model (`lib.onnx_folder`).
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from lib.embedding import Similarity, Vectors
from lib.memory import give_back
from lib.once import Once


class Encoder(Protocol):
    """A loaded network with its tokenizer. Its methods may be called from several threads."""

    @property
    def dimension(self) -> int: ...

    def document(self, text: str) -> Vectors:
        """`(dimension,) float32`, L2-normalised."""

    def question(self, text: str) -> Vectors:
        """The same for a text to search with."""


class LocalEmbedder:
    """Embeds one text a call of the network, two calls at once.

    Padding makes batches slower than single texts on a processor (measured on two cores, texts
    of 163 tokens: 46 a second one by one in two threads, 35 in fours, 18 in sixteens) and needs
    three times the memory.
    """

    concurrency = 1

    def __init__(
        self, model_id: str, similarity: Similarity, load_encoder: Callable[[], Encoder]
    ) -> None:
        self.model_id = model_id
        self.similarity = similarity
        self._load_encoder = load_encoder
        self._encoder = Once(self._load)
        self._documents = ThreadPoolExecutor(2, thread_name_prefix="embed")
        # A reader's question does not stand in line behind an ingestion's texts.
        self._questions = ThreadPoolExecutor(1, thread_name_prefix="embed-query")

    async def load(self) -> None:
        await self._encoder.get()

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        encoder, loop = await self._encoder.get(), asyncio.get_running_loop()
        rows = await asyncio.gather(
            *(loop.run_in_executor(self._documents, encoder.document, text) for text in texts)
        )
        return np.stack(rows) if rows else np.zeros((0, encoder.dimension), np.float32)

    async def embed_query(self, text: str) -> Vectors:
        encoder, loop = await self._encoder.get(), asyncio.get_running_loop()
        return await loop.run_in_executor(self._questions, encoder.question, text)

    def paid_tokens(self, text: str) -> int:
        return 0

    async def close(self) -> None:
        for pool in (self._documents, self._questions):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _load(self) -> Encoder:
        loop = asyncio.get_running_loop()
        encoder = await loop.run_in_executor(self._questions, self._load_encoder)
        # What loading needed besides lies in memory that nobody will ask for again.
        await loop.run_in_executor(self._questions, give_back)
        return encoder
