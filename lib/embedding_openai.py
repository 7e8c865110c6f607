"""Embeddings from OpenAI or a compatible server, through the openai client.

The client brings timeouts and bounded retries that honour Retry-After. Its responses are decoded
here, because its typed form turns vectors into Python lists on the event loop.
"""

import asyncio
import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from lib.embedding import Similarity, Vectors, l2_normalise
from lib.errors import UpstreamError, upstream_error
from lib.runtime import SingleFlight
from lib.tokens import estimate_tokens

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_SERVICE = "The embedding service"
_DOCUMENT_RETRIES, _DOCUMENT_SECONDS = 6, 60.0  # with the client's backoff some minutes
_QUERY_RETRIES, _QUERY_SECONDS = 1, 8.0
_MAX_INPUT_CHARACTERS = 24_000  # the API refuses a text of more than 8,192 tokens
_SIMILARITIES = {
    "ada-002": Similarity(unrelated=0.70, answering=0.84, measured=False),
    "e5": Similarity(unrelated=0.75, answering=0.88, measured=False),
    # text-embedding-3 and most others
    "": Similarity(unrelated=0.09, answering=0.52, measured=False),
}
"""By part of the model's name; published figures."""


class _Row(msgspec.Struct):
    embedding: str | list[float]
    index: int = -1


class _Answer(msgspec.Struct):
    data: list[_Row]


_decoder = msgspec.json.Decoder(_Answer)


class OpenAIEmbedder:
    """One request per batch; the client is imported and created on first use."""

    concurrency = 4

    def __init__(self, *, api_key: str, base_url: str, model: str) -> None:
        self.model_id = f"openai/{model}"
        self.similarity = next(known for part, known in _SIMILARITIES.items() if part in model)
        self._model = model
        self._api_key = api_key or "none"  # the client requires a key
        self._base_url = base_url
        self._client = SingleFlight(self._connect)
        # Created once: creating one costs as much as a request.
        self._document_client = SingleFlight(self._for_documents)
        self._query_client = SingleFlight(self._for_queries)

    async def load(self) -> None:
        client = await self._query_client.get()
        # The client imports this part on first access.
        await asyncio.to_thread(getattr, client, "embeddings")

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        body = await self._ask(self._document_client, texts)
        # A batch of a hundred is a megabyte, too much for the event loop.
        return await asyncio.to_thread(_decode_vectors, body, len(texts))

    async def embed_query(self, text: str) -> Vectors:
        try:
            # Around both attempts: the client would honour a Retry-After of a minute.
            async with asyncio.timeout(_QUERY_SECONDS):
                body = await self._ask(self._query_client, [text])
        except TimeoutError:
            raise upstream_error(_SERVICE, 408) from None
        query: Vectors = _decode_vectors(body, 1)[0]
        return query

    def billable_tokens(self, text: str) -> int:
        return estimate_tokens(text)

    async def close(self) -> None:
        if self._client.value is not None:
            await self._client.value.close()

    async def _ask(self, chosen: SingleFlight["AsyncOpenAI"], texts: Sequence[str]) -> bytes:
        """Return the response body."""
        import openai

        client = await chosen.get()
        try:
            response = await client.embeddings.with_raw_response.create(
                model=self._model,
                # The API refuses empty texts, which a book may contain.
                input=[text[:_MAX_INPUT_CHARACTERS] or " " for text in texts],
                encoding_format="base64",
            )
        except openai.APIStatusError as error:
            raise upstream_error(_SERVICE, error.status_code) from None
        except openai.APIConnectionError:  # timeouts included
            raise upstream_error(_SERVICE) from None
        return response.content

    async def _for_documents(self) -> "AsyncOpenAI":
        client = await self._client.get()
        return client.with_options(max_retries=_DOCUMENT_RETRIES, timeout=_DOCUMENT_SECONDS)

    async def _for_queries(self) -> "AsyncOpenAI":
        client = await self._client.get()
        return client.with_options(max_retries=_QUERY_RETRIES, timeout=_QUERY_SECONDS)

    async def _connect(self) -> "AsyncOpenAI":
        # The import takes at least half a second, too long for the event loop.
        await asyncio.to_thread(__import__, "openai")
        from openai import AsyncOpenAI, DefaultAioHttpClient

        return AsyncOpenAI(
            api_key=self._api_key,
            base_url=self._base_url,
            http_client=DefaultAioHttpClient(),
        )


def _decode_vectors(body: bytes, count: int) -> Vectors:
    """Decode a response, in the order of the request: `(count, dimension) float32`.

    Accepts base64 and plain lists, which some servers always send. Raises `UpstreamError` unless
    there are `count` finite vectors of one length.
    """
    problem = UpstreamError(f"{_SERVICE} sent an invalid response instead of vectors.")
    try:
        rows = _decoder.decode(body).data
        if all(row.index >= 0 for row in rows):
            rows = sorted(rows, key=lambda row: row.index)
        vectors = [
            np.frombuffer(base64.b64decode(row.embedding), dtype="<f4")
            if isinstance(row.embedding, str)
            else np.array(row.embedding, dtype=np.float32)
            for row in rows
        ]
    except (msgspec.MsgspecError, ValueError):
        raise problem from None
    if len(vectors) != count or len({v.shape for v in vectors}) != 1 or not vectors[0].size:
        raise problem
    stacked = np.stack(vectors)
    if not np.isfinite(stacked).all():
        raise problem
    return l2_normalise(stacked)
