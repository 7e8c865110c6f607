"""The embedder's cache, and circuit breakers in front of an embedding service or Qdrant."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

import lib.embedding
from lib.embedding import GuardedEmbedder, Similarity, Vectors, embedding_breaker
from lib.embedding_openai import OpenAIEmbedder
from lib.errors import StoreUnavailable, UpstreamError
from lib.store import (
    Candidates,
    GenerationBuilder,
    GuardedStore,
    Ledger,
    Manifest,
    StoredChunk,
    store_breaker,
)
from lib.store_server import ServerStore
from lib.terms import SparseVector
from tests.store_kinds import change_retry_policies
from tests.upstream import Drop, Reply, Status, Upstream


class Counting:
    """An embedder that records the texts it was asked to embed."""

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

    def billable_tokens(self, text: str) -> int:
        return len(text)

    async def close(self) -> None:
        self.closed = True


async def test_a_question_is_embedded_once() -> None:
    embedder = Counting()
    cached = GuardedEmbedder(embedder)
    first = await cached.embed_query("tide")
    assert np.array_equal(await cached.embed_query("tide"), first)
    assert not np.array_equal(await cached.embed_query("boat"), first)
    assert embedder.asked == ["tide", "boat"]


async def test_two_readers_at_once_cost_one_embedding() -> None:
    embedder = Counting()
    cached = GuardedEmbedder(embedder)
    assert cached.billable_tokens("tide") == 4
    embedder.ready.clear()
    one, other = (asyncio.create_task(cached.embed_query("tide")) for _ in range(2))
    await embedder.begun.wait()
    assert cached.billable_tokens("tide") == 0
    one.cancel()  # the other caller still gets the vector
    embedder.ready.set()
    assert np.array_equal(await other, await cached.embed_query("tide"))
    assert embedder.asked == ["tide"]


async def test_a_failure_reaches_all_readers_of_a_question() -> None:
    embedder = Counting()
    cached = GuardedEmbedder(embedder)
    embedder.away = True
    embedder.ready.clear()
    tasks = [asyncio.create_task(cached.embed_query("tide")) for _ in range(2)]
    await embedder.begun.wait()
    embedder.ready.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in ends] == [UpstreamError, UpstreamError]


async def test_a_failure_is_not_cached() -> None:
    embedder = Counting()
    cached = GuardedEmbedder(embedder)
    embedder.away = True
    with pytest.raises(UpstreamError):
        await cached.embed_query("tide")
    embedder.away = False
    await cached.embed_query("tide")
    assert embedder.asked == ["tide"]


async def test_the_least_recent_question_is_evicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lib.embedding, "_CACHED_QUESTIONS", 2)
    embedder = Counting()
    cached = GuardedEmbedder(embedder)
    for text in ("a", "b", "a", "c", "a", "b"):
        await cached.embed_query(text)
    assert embedder.asked == ["a", "b", "c", "b"]


async def test_everything_else_passes_through() -> None:
    embedder = Counting()
    cached = GuardedEmbedder(embedder)
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
async def test_typical_cosines_depend_on_the_model_s_name(model: str, unrelated: float) -> None:
    embedder = OpenAIEmbedder(api_key="k", base_url="http://127.0.0.1:9", model=model)
    assert embedder.similarity.unrelated == unrelated


NOTHING = SparseVector([1], [1.0])


@pytest.fixture
async def openai(upstream: Upstream) -> AsyncIterator[OpenAIEmbedder]:
    made = OpenAIEmbedder(api_key="k", base_url=upstream.base_url, model="m")
    yield made
    await made.close()


@pytest.mark.parametrize("fault", [Status(500), [Drop()]], ids=str)
async def test_a_failing_service_opens_the_breaker(
    openai: OpenAIEmbedder, upstream: Upstream, fault: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lib.embedding_openai._QUERY_RETRIES", 0)
    breaker = embedding_breaker()
    embedder = GuardedEmbedder(openai, breaker)
    upstream.embedding_replies.extend([fault] * 50)
    messages = set()
    for number in range(20):
        with pytest.raises(UpstreamError) as caught:
            await embedder.embed_query(f"question {number}")
        messages.add(caught.value.message)
    assert len(upstream.embedded()) == 5
    assert len(messages) == 1
    assert breaker.refused == 15
    assert embedder.billable_tokens("another question") == 0
    upstream.embedding_replies.clear()
    assert (await embedder.embed_documents(["patient"])).shape == (1, 64)


async def test_a_hanging_service_opens_the_breaker(
    openai: OpenAIEmbedder, upstream: Upstream
) -> None:
    now = 0.0
    breaker = embedding_breaker()
    breaker._clock = lambda: now
    embedder = GuardedEmbedder(openai, breaker)
    upstream.embedding_gate = asyncio.Event()
    first = [asyncio.create_task(embedder.embed_query(str(n))) for n in range(5)]
    await upstream.until(lambda u: len(u.embedded()) == 5)
    now = 3.1
    with pytest.raises(UpstreamError, match="took too long"):
        await embedder.embed_query("later")
    assert breaker.state == "open"
    now = 4.1
    probe = asyncio.create_task(embedder.embed_query("probe"))
    await upstream.until(lambda u: len(u.embedded()) == 6)
    with pytest.raises(UpstreamError):
        await embedder.embed_query("beside the probe")
    upstream.embedding_gate.set()
    assert (await probe).shape == (64,)
    assert (await embedder.embed_query("after")).shape == (64,)
    await asyncio.gather(*first)


async def test_an_unreachable_qdrant_opens_the_breaker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change_retry_policies(monkeypatch, first_pause=0.0, longest_pause=0.0)
    breaker = store_breaker()
    store = GuardedStore(ServerStore("http://127.0.0.1:1", "", "book"), breaker)
    for _ in range(10):
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await store.manifest()
    assert breaker.refused == 5
    with pytest.raises(StoreUnavailable) as caught:
        await store.search(None, NOTHING, 5)
    assert caught.value.retry_after
    assert not await store.reachable()  # a probe bypasses the breaker
    await store.close()


class Remembering:
    """A store whose manifest is cached and whose search fails."""

    async def open(self) -> None: ...

    async def manifest(self) -> Manifest | None:
        return None

    async def search(
        self,
        vector: Vectors | None,
        terms: SparseVector,
        n: int,
        *,
        only: Mapping[str, str] | None = None,
    ) -> Candidates:
        raise StoreUnavailable("Away.")

    async def ledger(self) -> Ledger:
        raise NotImplementedError

    async def chunks_of(self, file_path: str) -> Sequence[StoredChunk]:
        raise NotImplementedError

    def payloads(self, fields: Sequence[str]) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        raise NotImplementedError

    async def build(self, generation: str, embedding_model: str) -> GenerationBuilder:
        raise NotImplementedError

    async def reachable(self) -> bool:
        return True

    async def close(self) -> None: ...


async def test_a_cached_manifest_does_not_hide_failures() -> None:
    """Every question reads the manifest first, mostly from the cache."""
    breaker = store_breaker()
    store = GuardedStore(Remembering(), breaker)
    for _ in range(5):
        await store.manifest()
        with pytest.raises(StoreUnavailable):
            await store.search(None, NOTHING, 5)
    assert breaker.state == "open"
    with pytest.raises(StoreUnavailable):
        await store.manifest()


async def test_a_recent_question_is_recalled_without_a_request() -> None:
    embedder = Counting()
    cached = GuardedEmbedder(embedder)
    assert cached.recall("tide") is None
    vector = await cached.charged_to("reader").embed_query("tide")
    recalled = cached.recall("tide")
    assert recalled is not None
    assert (recalled[0], recalled[1] is vector) == ("test/model", True)
    assert cached.recall("boat") is None
    assert embedder.asked == ["tide"]


async def test_a_question_to_an_earlier_index_is_recalled_with_its_model() -> None:
    backend = Counting()
    backend.model_id = "test/earlier"
    earlier = GuardedEmbedder(backend)
    current = GuardedEmbedder(Counting(), make_earlier=lambda _: earlier)
    used = current.for_index("test/earlier")
    assert used is not None
    vector = await used.embed_query("tide")
    assert current.recall("tide") == ("test/earlier", vector)
    current.for_index("test/model")
    assert current.recall("tide") is None
