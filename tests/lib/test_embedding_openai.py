import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

import lib.embedding_openai
from lib.embedding_openai import _MAX_INPUT_CHARACTERS, OpenAIEmbedder, _decode_vectors
from lib.errors import UpstreamError
from tests.upstream import Body, Drop, Hang, Status, Upstream, bag_of_words

SOON = {"Retry-After-Ms": "1"}


@pytest.fixture
async def embedder(upstream: Upstream) -> AsyncIterator[OpenAIEmbedder]:
    made = OpenAIEmbedder(api_key="sk-test", base_url=upstream.base_url, model="small")
    yield made
    await made.close()


@pytest.mark.parametrize("form", ["base64", "floats"])
async def test_vectors_come_in_the_order_of_the_texts(
    embedder: OpenAIEmbedder, upstream: Upstream, form: str
) -> None:
    upstream.embedding_encoding = form
    texts = ["the tide turns", "two lines at the quay", "three fenders"]
    vectors = await embedder.embed_documents(texts)
    expected = np.stack([bag_of_words(text) for text in texts])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert vectors.dtype == np.float32
    assert vectors == pytest.approx(expected, abs=1e-6)
    assert await embedder.embed_query(texts[1]) == pytest.approx(expected[1], abs=1e-6)


async def test_the_request(embedder: OpenAIEmbedder, upstream: Upstream) -> None:
    await embedder.embed_documents(["a", "b"])
    [request] = upstream.requests
    assert request.path == "/v1/embeddings"
    assert request.headers["authorization"] == "Bearer sk-test"
    assert request.body["model"] == "small"
    assert request.body["input"] == ["a", "b"]
    assert embedder.model_id == "openai/small"


async def test_an_empty_and_a_huge_text_are_made_fit(
    embedder: OpenAIEmbedder, upstream: Upstream
) -> None:
    await embedder.embed_documents(["", "x" * (_MAX_INPUT_CHARACTERS + 5)])
    assert [len(text) for text in upstream.embedded()[0]] == [1, _MAX_INPUT_CHARACTERS]


@pytest.mark.parametrize("fault", [Status(429, SOON), Status(500, SOON), Status(503, SOON)])
async def test_documents_are_tried_again(
    embedder: OpenAIEmbedder, upstream: Upstream, fault: Status
) -> None:
    upstream.embedding_replies.extend([fault] * 4)
    assert (await embedder.embed_documents(["a"])).shape[0] == 1
    assert len(upstream.requests) == 5


async def test_trying_again_has_an_end(embedder: OpenAIEmbedder, upstream: Upstream) -> None:
    upstream.embedding_replies.extend([Status(429, SOON)] * 50)
    with pytest.raises(UpstreamError, match="rate limit or quota") as caught:
        await embedder.embed_documents(["a"])
    assert caught.value.details == {"upstream_status": 429}
    assert len(upstream.requests) == lib.embedding_openai._DOCUMENT_RETRIES + 1


@pytest.mark.parametrize(
    ("status", "words"),
    [(400, "rejected the request"), (401, "rejected the configured key"), (404, "does not know")],
)
async def test_what_will_not_change_is_not_tried_again(
    embedder: OpenAIEmbedder, upstream: Upstream, status: int, words: str
) -> None:
    upstream.embedding_replies.extend([Status(status)] * 3)
    with pytest.raises(UpstreamError, match=words) as caught:
        await embedder.embed_documents(["a"])
    assert len(upstream.requests) == 1
    assert "sk-" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_query_is_impatient(
    embedder: OpenAIEmbedder, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent server, or one that asks for a minute's pause, must not delay a reader."""
    monkeypatch.setattr(lib.embedding_openai, "_QUERY_SECONDS", 0.1)
    for fault in ([Hang()], Status(429, {"Retry-After": "55"}), Status(503, {"Retry-After": "55"})):
        upstream.embedding_replies.clear()
        upstream.embedding_replies.extend([fault] * 3)
        async with asyncio.timeout(10):
            with pytest.raises(UpstreamError):
                await embedder.embed_query("a")


async def test_a_query_is_tried_twice(embedder: OpenAIEmbedder, upstream: Upstream) -> None:
    upstream.embedding_replies.append(Status(500, SOON))
    await embedder.embed_query("a")
    assert len(upstream.requests) == 2


async def test_a_server_that_is_not_there(upstream: Upstream) -> None:
    embedder = OpenAIEmbedder(api_key="", base_url="http://127.0.0.1:9/v1", model="m")
    with pytest.raises(UpstreamError, match="cannot be reached"):
        await embedder.embed_query("a")
    await embedder.close()


async def test_a_connection_that_drops(embedder: OpenAIEmbedder, upstream: Upstream) -> None:
    upstream.embedding_replies.extend([[Drop()]] * 9)
    with pytest.raises(UpstreamError, match="cannot be reached"):
        await embedder.embed_query("a")


def row(embedding: Any, index: int = 0) -> dict[str, Any]:
    return {"object": "embedding", "embedding": embedding, "index": index}


def packed(*numbers: float) -> str:
    return base64.b64encode(np.array(numbers, "<f4").tobytes()).decode()


GARBAGE: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"<html>",
    "no object": b"[]",
    "no data": b"{}",
    "no rows": json.dumps({"data": []}).encode(),
    "too many rows": json.dumps({"data": [row([1.0]), row([1.0], 1)]}).encode(),
    "no vector": json.dumps({"data": [{"index": 0}]}).encode(),
    "an empty vector": json.dumps({"data": [row([])]}).encode(),
    "empty base64": json.dumps({"data": [row("")]}).encode(),
    "no base64": json.dumps({"data": [row("!!!")]}).encode(),
    "half a number": json.dumps({"data": [row(base64.b64encode(b"abcde").decode())]}).encode(),
    "words": json.dumps({"data": [row(["a", "b"])]}).encode(),
    "null": json.dumps({"data": [row([1.0, None])]}).encode(),
    "NaN": b'{"data": [{"index": 0, "embedding": [NaN, 1.0]}]}',
    "NaN in base64": json.dumps({"data": [row(packed(float("nan"), 1))]}).encode(),
    "infinity in base64": json.dumps({"data": [row(packed(float("inf"), 1))]}).encode(),
    "too large a number": b'{"data": [{"index": 0, "embedding": [1e300, 1.0]}]}',
    "invalid UTF-8": b'{"data": "\xff"}',
}


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_no_vector(body: bytes) -> None:
    with pytest.raises(UpstreamError, match="invalid response"):
        _decode_vectors(body, 1)


def test_vectors_of_two_lengths_are_garbage() -> None:
    with pytest.raises(UpstreamError):
        _decode_vectors(json.dumps({"data": [row([1.0]), row([1.0, 2.0], 1)]}).encode(), 2)


async def test_garbage_over_the_wire(embedder: OpenAIEmbedder, upstream: Upstream) -> None:
    upstream.embedding_replies.append(Body(b"<html>a login page</html>", "text/html"))
    with pytest.raises(UpstreamError, match="invalid response"):
        await embedder.embed_query("a")


@pytest.mark.parametrize("make", [list, lambda numbers: packed(*numbers)], ids=["list", "base64"])
def test_rows_without_an_index_are_in_order(make: Callable[[list[float]], Any]) -> None:
    rows = [{"embedding": make([1.0, 0.0])}, {"embedding": make([0.0, 2.0])}]
    vectors = _decode_vectors(json.dumps({"data": rows}).encode(), 2)
    assert vectors.tolist() == [[1, 0], [0, 1]]
