import asyncio
import inspect
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

import lib.embedding_local
from lib.embedding_local import DIMENSION, LocalEmbedder


@pytest.fixture
async def embedder() -> AsyncIterator[LocalEmbedder]:
    made = LocalEmbedder()
    yield made
    await made.close()


async def test_vectors_are_of_length_one(embedder: LocalEmbedder) -> None:
    vectors = await embedder.embed_documents(["a boat", "", "潮 \U0001f30a", "\n\t"])
    assert vectors.shape == (4, DIMENSION)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("query", "near", "far"),
    [
        ("How do I fasten a boat?", "Moor the ship with two ropes.", "The moon pulls the sea."),
        ("What makes the sea rise?", "The moon pulls the sea.", "Moor the ship with two ropes."),
        ("install the package", "Run pip to add the library.", "The office opens at eight."),
    ],
)
async def test_meaning_counts(embedder: LocalEmbedder, query: str, near: str, far: str) -> None:
    question = await embedder.embed_query(query)
    assert question.shape == (DIMENSION,)
    similar, different = await embedder.embed_documents([near, far]) @ question
    assert similar > different + 0.1


async def test_a_text_has_the_same_vector_however_it_is_embedded(embedder: LocalEmbedder) -> None:
    texts = ["one", "two two", "three " * 30]
    together = await embedder.embed_documents(texts)
    for text, vector in zip(texts, together, strict=True):
        assert await embedder.embed_query(text) == pytest.approx(vector, abs=1e-6)


async def test_nothing_gives_nothing(embedder: LocalEmbedder) -> None:
    assert (await embedder.embed_documents([])).shape == (0, DIMENSION)


async def test_what_stands_behind_the_model_s_reach_changes_nothing(
    embedder: LocalEmbedder,
) -> None:
    long = "the tide rises " * 200
    first, second = await embedder.embed_documents([long, long + "and the moon " * 1000])
    assert first == pytest.approx(second)


async def test_calls_may_overlap(embedder: LocalEmbedder) -> None:
    alone = await embedder.embed_query("tide")
    together = await asyncio.gather(*(embedder.embed_query("tide") for _ in range(8)))
    assert all(np.array_equal(vector, alone) for vector in together)


def test_weights_that_are_not_the_pinned_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lib.embedding_local, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(RuntimeError, match="not the pinned ones"):
        inspect.unwrap(lib.embedding_local.load_model)()


@pytest.mark.parametrize("package", ["no_such_package_here", "json.decoder"])
def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setattr(lib.embedding_local, "WEIGHTS_PACKAGE", package)
    with pytest.raises(RuntimeError, match=package):
        lib.embedding_local.weights_path()


def test_the_weights_come_with_a_package() -> None:
    assert lib.embedding_local.weights_path().is_file()
    assert "site-packages" in Path(lib.embedding_local.weights_path()).parts
