"""Collections for large books: what is asked of the server, and that scores mean the same."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from qdrant_client.models import QuantizationSearchParams, QueryRequest, SearchParams

import lib.store_server
from lib.indexing import configured
from lib.services import open_services, warm_up
from lib.settings import Settings
from lib.store import DENSE, SPARSE
from lib.store_server import ServerStore
from lib.store_server_layout import Layout
from tests.conftest import ended
from tests.qdrant_server import QdrantServer, running_qdrant
from tests.stores import chunk, nearest, publish, random_vectors
from tests.tiny_book import write_book
from tests.upstream import Upstream

LAYOUTS = [
    Layout("none", on_disk=False),
    Layout("none", on_disk=True),
    Layout("scalar", on_disk=False),
    Layout("scalar", on_disk=True),
    Layout("binary", on_disk=True),
]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[QdrantServer]:
    async with running_qdrant(tmp_path / "server", strict=True) as running:
        yield running


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
async def test_scores_are_those_of_the_vectors_themselves(
    server: QdrantServer, layout: Layout
) -> None:
    """Of what is found; fewer bits only choose who is scored."""
    store = ServerStore(server.url, "", "book", layout=layout)
    chunks, vectors = [chunk(n) for n in range(200)], random_vectors(200)
    await publish(store, chunks, vectors)
    numbers = {each.chunk_id: n for n, each in enumerate(chunks)}
    for query in random_vectors(3, seed=2):
        scores = vectors @ query
        hits = await nearest(store, query, 20)
        for hit in hits:
            assert hit.cosine == pytest.approx(scores[numbers[hit.chunk.chunk_id]], abs=1e-5)
        found = {numbers[hit.chunk.chunk_id] for hit in hits}
        wanted = set(np.argsort(-scores)[:20].tolist())
        assert len(found & wanted) >= (9 if layout.quantization == "binary" else 20)
    await store.close()


async def test_without_rescoring_they_would_not_be(server: QdrantServer) -> None:
    """So that the test above proves something: the engine really scores by single bits."""
    store = ServerStore(server.url, "", "book", layout=Layout("binary"))
    await publish(store, [chunk(n) for n in range(50)], random_vectors(50))
    client = await store._client.get()
    query = random_vectors(1)[0].tolist()
    raw = SearchParams(quantization=QuantizationSearchParams(rescore=False))
    [answer] = await client.query_batch_points(
        "book", [QueryRequest(query=query, using=DENSE, params=raw, limit=1)]
    )
    assert answer.points[0].score > 1
    await store.close()


@pytest.mark.parametrize("layout", [LAYOUTS[0], LAYOUTS[3], LAYOUTS[4]], ids=str)
async def test_what_the_collection_is_made_with(server: QdrantServer, layout: Layout) -> None:
    store = ServerStore(server.url, "", "book", layout=layout)
    await publish(store, [chunk(0)], random_vectors(1))
    config = (await (await store._client.get()).get_collection("book")).config
    assert isinstance(config.params.vectors, dict)
    assert config.params.sparse_vectors is not None
    index = config.params.sparse_vectors[SPARSE].index
    told = (
        config.params.vectors[DENSE].on_disk,
        index.on_disk if index else None,
        config.hnsw_config.on_disk,
    )
    assert told == (True if layout.on_disk else None,) * 3
    assert config.params.on_disk_payload  # what a server does anyway, if it is not told otherwise
    kind = type(config.quantization_config).__name__.lower()
    assert layout.quantization in kind
    await store.close()


async def test_a_changed_layout_takes_effect_with_the_next_start_and_costs_nothing(
    server: QdrantServer, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.store_server, "MANIFEST_SECONDS", 0)
    settings = Settings(
        book_content_path=write_book(tmp_path / "book", {"a.md": "# A\n\nLamps burn oil.\n"}),
        qdrant_path=tmp_path / "unused",
        qdrant_url=server.url,
        openai_api_key="sk-of-the-test",
        openai_base_url=upstream.base_url,
    )

    async def start(settings: Settings) -> bool:
        """Whether an ingestion began by itself."""
        async with open_services(settings) as services:
            await warm_up(services)
            if services.ingestion.latest:
                await ended(services.ingestion)
            return services.ingestion.latest is not None

    assert await start(settings)
    paid = len(upstream.embedded())
    assert not await start(settings)
    small = replace(settings, qdrant_quantization="scalar")
    assert await start(small)
    [collection] = server.collections.values()
    assert collection.asked.quantization_config is not None
    assert not await start(small)
    assert len(upstream.embedded()) == paid


def test_where_there_is_no_server_the_layout_is_no_reason() -> None:
    plain = Settings()
    assert configured(replace(plain, qdrant_quantization="binary")) == configured(plain)
    server = replace(plain, qdrant_url="http://127.0.0.1:9")
    assert configured(server) == configured(plain)
    assert configured(replace(server, qdrant_on_disk=True)) != configured(plain)
