"""Readers do not wait for an embedding service or a Qdrant that is down."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest

from lib.embedding import Vectors
from lib.embedding_cache import CachedEmbedder
from lib.embedding_openai import OpenAIEmbedder
from lib.errors import StoreUnavailable, UpstreamError
from lib.guarded import GuardedEmbedder, GuardedStore, embedding_breaker, store_breaker
from lib.sparse import SparseVector
from lib.store import Found, GenerationBuilder, Ledger, Manifest
from lib.store_server import ServerStore
from tests.stores import change_policies
from tests.upstream import Drop, Reply, Status, Upstream

NOTHING = SparseVector([1], [1.0])


@pytest.fixture
async def openai(upstream: Upstream) -> AsyncIterator[OpenAIEmbedder]:
    made = OpenAIEmbedder(api_key="k", base_url=upstream.base_url, model="m")
    yield made
    await made.close()


@pytest.mark.parametrize("fault", [Status(500), [Drop()]], ids=str)
async def test_a_service_that_fails_is_asked_no_more(
    openai: OpenAIEmbedder, upstream: Upstream, fault: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lib.embedding_openai.QUERY_RETRIES", 0)
    breaker = embedding_breaker()
    embedder = CachedEmbedder(GuardedEmbedder(openai, breaker))
    upstream.embedding_replies.extend([fault] * 50)
    messages = set()
    for number in range(20):
        with pytest.raises(UpstreamError) as caught:
            await embedder.embed_query(f"question {number}")
        messages.add(caught.value.message)
    assert len(upstream.embedded()) == 5
    assert len(messages) == 1
    assert breaker.refused == 15
    assert embedder.paid_tokens("another question") == 0
    upstream.embedding_replies.clear()
    assert (await embedder.embed_documents(["patient"])).shape == (1, 64)


async def test_a_service_that_hangs_keeps_only_the_first_waiting(
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


async def test_a_qdrant_that_cannot_be_reached_is_asked_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change_policies(monkeypatch, first_pause=0.0, longest_pause=0.0)
    breaker = store_breaker()
    store = GuardedStore(ServerStore("http://127.0.0.1:1", "", "book"), breaker)
    for _ in range(10):
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await store.manifest()
    assert breaker.refused == 5
    with pytest.raises(StoreUnavailable) as caught:
        await store.search(None, NOTHING, 5)
    assert caught.value.retry_after
    assert not await store.reachable()  # a probe is asked all the same
    await store.close()


class Remembering:
    """A store that knows its manifest by heart, and cannot be searched."""

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
    ) -> Found:
        raise StoreUnavailable("Away.")

    async def ledger(self) -> Ledger:
        raise NotImplementedError

    async def urls(self) -> set[str]:
        raise NotImplementedError

    async def build(self, generation: str, embedding_model: str) -> GenerationBuilder:
        raise NotImplementedError

    async def reachable(self) -> bool:
        return True

    async def close(self) -> None: ...


async def test_a_manifest_from_memory_hides_no_failure() -> None:
    """Every question asks for the manifest first, and most get it without asking Qdrant."""
    breaker = store_breaker()
    store = GuardedStore(Remembering(), breaker)
    for _ in range(5):
        await store.manifest()
        with pytest.raises(StoreUnavailable):
            await store.search(None, NOTHING, 5)
    assert breaker.state == "open"
    with pytest.raises(StoreUnavailable):
        await store.manifest()
