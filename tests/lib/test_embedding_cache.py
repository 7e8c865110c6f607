"""A question is embedded once; what failed is tried again."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

import lib.embedding_cache
from lib.embedding import Similarity, Vectors
from lib.embedding_cache import CachedEmbedder
from lib.embedding_openai import OpenAIEmbedder
from lib.errors import UpstreamError


class Counting:
    """An embedder that remembers what it was asked."""

    model_id = "test/model"
    similarity = Similarity(unrelated=0.1, answering=0.5)
    concurrency = 3

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.away = False
        self.closed = False
        self.begun, self.ready = asyncio.Event(), asyncio.Event()
        self.ready.set()

    async def load(self) -> None: ...

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        self.asked.extend(texts)
        return np.ones((len(texts), 2), np.float32)

    async def embed_query(self, text: str) -> Vectors:
        self.begun.set()
        await self.ready.wait()
        if self.away:
            raise UpstreamError("Away.")
        self.asked.append(text)
        return np.full(2, len(self.asked), np.float32)

    def paid_tokens(self, text: str) -> int:
        return len(text)

    async def close(self) -> None:
        self.closed = True


async def test_a_question_is_embedded_once() -> None:
    embedder = Counting()
    cached = CachedEmbedder(embedder)
    first = await cached.embed_query("tide")
    assert np.array_equal(await cached.embed_query("tide"), first)
    assert not np.array_equal(await cached.embed_query("boat"), first)
    assert embedder.asked == ["tide", "boat"]


async def test_two_readers_at_once_cost_one_embedding() -> None:
    embedder = Counting()
    cached = CachedEmbedder(embedder)
    assert cached.paid_tokens("tide") == 4
    embedder.ready.clear()
    one, other = (asyncio.create_task(cached.embed_query("tide")) for _ in range(2))
    await embedder.begun.wait()
    assert cached.paid_tokens("tide") == 0
    one.cancel()  # who leaves does not take it from the other
    embedder.ready.set()
    assert np.array_equal(await other, await cached.embed_query("tide"))
    assert embedder.asked == ["tide"]


async def test_who_waits_for_another_s_question_is_told_of_its_failure() -> None:
    embedder = Counting()
    cached = CachedEmbedder(embedder)
    embedder.away = True
    embedder.ready.clear()
    tasks = [asyncio.create_task(cached.embed_query("tide")) for _ in range(2)]
    await embedder.begun.wait()
    embedder.ready.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in ends] == [UpstreamError, UpstreamError]


async def test_a_failure_is_not_kept() -> None:
    embedder = Counting()
    cached = CachedEmbedder(embedder)
    embedder.away = True
    with pytest.raises(UpstreamError):
        await cached.embed_query("tide")
    embedder.away = False
    await cached.embed_query("tide")
    assert embedder.asked == ["tide"]


async def test_the_oldest_questions_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lib.embedding_cache, "MAX_QUESTIONS", 2)
    embedder = Counting()
    cached = CachedEmbedder(embedder)
    for text in ("a", "b", "a", "c", "a", "b"):
        await cached.embed_query(text)
    assert embedder.asked == ["a", "b", "c", "b"]


async def test_everything_else_is_the_embedder_s_own() -> None:
    embedder = Counting()
    cached = CachedEmbedder(embedder)
    assert (cached.model_id, cached.concurrency) == ("test/model", 3)
    assert cached.similarity is embedder.similarity
    for _ in range(2):
        await cached.embed_documents(["tide"])
    assert embedder.asked == ["tide", "tide"]
    await cached.close()
    assert embedder.closed


@pytest.mark.parametrize(
    ("model", "unrelated"),
    [("text-embedding-ada-002", 0.70), ("multilingual-e5-large", 0.75), ("nomic-embed-text", 0.09)],
)
async def test_a_service_s_cosines_are_read_by_the_model_s_name(
    model: str, unrelated: float
) -> None:
    embedder = OpenAIEmbedder(api_key="k", base_url="http://127.0.0.1:9", model=model)
    assert embedder.similarity.unrelated == unrelated
