"""Rerank the best candidates of a search with a cross-encoder, if one is configured.

Either a server with the `/rerank` protocol of Cohere and Jina, or an ONNX model in a folder. It
decides the order and nothing else: the n-th best candidate gets the n-th highest sum. So scores
keep their meaning, and the same number of passages is selected. If it fails or is late, the order
of the search stays.

Not in the daily budget: such services bill searches, not tokens.
"""

import asyncio
import logging
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

import msgspec
from cachetools import LRUCache

from lib.embedding_local import FolderModel, FolderNetwork, find_model
from lib.errors import UpstreamError, upstream_error
from lib.ranking import Ranked, join_headings
from lib.resilience import Breaker
from lib.runtime import (
    SingleFlight,
    lower_thread_priority,
    network_errors,
    open_http,
    trim_heap,
)
from lib.settings import Settings
from lib.store import StoredChunk

_log = logging.getLogger(__name__)

_SERVICE: Final = "The reranker"
_CANDIDATES: Final = 20
_MAX_CHARACTERS: Final = 2_000
"""Maximum characters of a candidate; many models read 512 tokens."""
_MAX_RESPONSE_BYTES: Final = 1_000_000
_CACHED_QUESTIONS: Final = 500


class _CrossEncoder(Protocol):
    async def load(self) -> None:
        """Safe to call more than once. Raises RuntimeError if there is no usable model."""

    async def score(self, query: str, documents: Sequence[str]) -> Sequence[float]:
        """The relevance of each document; higher is better. Raises `lib.errors.UpstreamError`."""

    async def close(self) -> None: ...


class Reranker:
    """A cross-encoder with a deadline and a circuit breaker."""

    def __init__(self, model: _CrossEncoder, seconds: float) -> None:
        self.breaker = Breaker(upstream_error(_SERVICE, 408))
        self.load, self.close = model.load, model.close
        self._model = model
        self._seconds = seconds
        self._failing = False
        self._orders: LRUCache[tuple[str, ...], Sequence[int]] = LRUCache(_CACHED_QUESTIONS)
        """The order by the question and its candidates: readers ask the same questions."""

    async def rerank(self, query: str, ranked: Sequence[Ranked]) -> list[Ranked]:
        """Return `ranked` (best first) with the first `_CANDIDATES` in a new order, if possible."""
        best, rest = ranked[:_CANDIDATES], ranked[_CANDIDATES:]
        if len(best) < 2:
            return list(ranked)
        key = (query, *(each.hit.chunk.content_hash for each in best))
        order = self._orders.get(key)
        if order is None:
            try:
                with self.breaker.call():
                    scores = await self._score(query, [_document(each.hit.chunk) for each in best])
            except UpstreamError as error:
                level = logging.DEBUG if self._failing else logging.WARNING
                _log.log(level, "Passages are not reranked: %s", error.message)
                self._failing = True
                return list(ranked)
            self._failing = False
            order = sorted(range(len(best)), key=lambda place: -scores[place])
            self._orders[key] = order
        moved = zip(order, best, strict=True)
        return [replace(best[place], total=each.total) for place, each in moved] + list(rest)

    async def _score(self, query: str, documents: Sequence[str]) -> Sequence[float]:
        try:
            await self._model.load()
            async with asyncio.timeout(self._seconds):
                scores = await self._model.score(query, documents)
        except TimeoutError:
            raise upstream_error(_SERVICE, 408) from None
        except RuntimeError as error:
            raise UpstreamError(f"{_SERVICE} cannot be loaded: {error}") from error
        if not all(map(math.isfinite, scores)):
            raise UpstreamError(f"{_SERVICE} sent scores that are not numbers.")
        return scores


def _document(chunk: StoredChunk) -> str:
    first = chunk.sections[0]
    headings = join_headings(chunk.chapter, first.section, first.heading)
    return f"{headings}\n\n{chunk.content}"[:_MAX_CHARACTERS]


def make_reranker(settings: Settings) -> Reranker | None:
    """The configured reranker, not loaded yet; None if there is none.

    Raises RuntimeError if the folder lacks a file.
    """
    model: _CrossEncoder
    if settings.rerank_url:
        model = _Endpoint(settings.rerank_url, settings.rerank_model, settings.rerank_api_key)
    elif settings.rerank_model:
        model = _Folder(Path(settings.rerank_model))
    else:
        return None
    return Reranker(model, settings.rerank_timeout)


class _Result(msgspec.Struct):
    index: int
    relevance_score: float


class _Response(msgspec.Struct):
    results: list[_Result]


_decode = msgspec.json.Decoder(_Response).decode


class _Endpoint:
    """A server with the protocol of docs.cohere.com/reference/rerank and jina.ai/reranker."""

    def __init__(self, url: str, model: str, api_key: str) -> None:
        self._url = url if url.endswith("/rerank") else f"{url}/rerank"
        self._model = {"model": model} if model else {}  # some servers have only one
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._http = SingleFlight(open_http)

    async def load(self) -> None:
        await self._http.get()

    async def score(self, query: str, documents: Sequence[str]) -> Sequence[float]:
        http = await self._http.get()
        request = {"query": query, "documents": documents, "top_n": len(documents)}
        try:
            async with http.post(
                self._url,
                data=msgspec.json.encode(self._model | request),
                headers=self._headers,
                allow_redirects=False,  # the key is for this host
            ) as response:
                if response.status != 200:
                    # Without the status: the breaker shall also open for a rejected request.
                    raise UpstreamError(upstream_error(_SERVICE, response.status).message)
                received = bytearray()
                async for piece in response.content.iter_any():
                    received += piece
                    if len(received) > _MAX_RESPONSE_BYTES:
                        break
        except network_errors():
            raise upstream_error(_SERVICE) from None
        return _decode_scores(bytes(received), len(documents))

    async def close(self) -> None:
        await self._http.cancel()
        if self._http.value is not None:
            await self._http.value.close()


def _decode_scores(body: bytes, count: int) -> list[float]:
    """The scores in the order of the request. Raises `UpstreamError` unless each has one."""
    try:
        results = sorted(_decode(body).results, key=lambda each: each.index)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        results = []
    if [each.index for each in results] != list(range(count)):
        raise UpstreamError(f"{_SERVICE} sent an invalid response instead of scores.")
    return [each.relevance_score for each in results]


class _Folder:
    """An ONNX model in the layout of `lib.embedding_local`, with one number as its output.

    Scores one pair at a time, as that module embeds one text at a time, so that a reader who leaves
    stops the rest.
    """

    def __init__(self, folder: Path) -> None:
        self._found = find_model(folder)
        self._network = SingleFlight(self._load)
        # The event loop goes first: it writes the answers of other readers.
        self._threads = ThreadPoolExecutor(2, "rerank", lower_thread_priority)

    async def load(self) -> None:
        await self._network.get()

    async def score(self, query: str, documents: Sequence[str]) -> Sequence[float]:
        network, loop = await self._network.get(), asyncio.get_running_loop()
        try:
            return await asyncio.gather(
                *(
                    loop.run_in_executor(self._threads, _relevance, network, query, each)
                    for each in documents
                )
            )
        except Exception as error:  # the library raises no more specific exception
            raise UpstreamError(f"{_SERVICE} failed: {error}") from error

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _load(self) -> FolderNetwork:
        return await asyncio.to_thread(_open_checked, self._found)


def _open_checked(model: FolderModel) -> FolderNetwork:
    network = model.open()
    try:
        output = network.run("a", "b")
    except Exception as error:  # the library raises no more specific exception
        raise RuntimeError(f"The model cannot read a pair of texts: {error}") from error
    if output.size != 1:
        raise RuntimeError(
            f"The model in RERANK_MODEL is not a cross-encoder: it gives {output.size} numbers for "
            "a pair of texts, not one."
        )
    trim_heap()
    return network


def _relevance(network: FolderNetwork, query: str, document: str) -> float:
    return network.run(query, document).item()
