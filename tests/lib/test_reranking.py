"""The reranker: both kinds of model, what may go wrong, and the search and chat that use it."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from lib.ranking import Ranked
from lib.reranking import _CANDIDATES, _MAX_CHARACTERS, Reranker, make_reranker
from lib.settings import Settings
from lib.store import Hit
from tests.api import Api, listening, serving
from tests.conftest import MakeSettings
from tests.onnx_model import write_cross_encoder
from tests.stores import chunk
from tests.tiny_book import BROAD_QUESTION
from tests.upstream import Upstream

KEY = "sk-of-the-reranker"
Results = list[dict[str, Any]]


def backwards(documents: Sequence[str]) -> Results:
    """The last document is the most relevant; best first, as the services send them."""
    return [
        {"index": index, "relevance_score": index / 100, "document": {"text": documents[index]}}
        for index in reversed(range(len(documents)))
    ]


class RerankServer:
    """A server with the `/rerank` protocol, on connections that stay open."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self.connections = 0
        self.asked = asyncio.Event()
        self.left = asyncio.Event()
        """Set when a client closes a connection that waits for its response."""
        self.score: Callable[[Sequence[str]], Results] = backwards
        self.reply: tuple[int, bytes] | None = None
        """Status and body instead of scores."""
        self.hangs = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().partition("content-length: ")[2].split("\r\n")[0])
                self.heads.append(head)
                self.requests.append(json.loads(await reader.readexactly(length)))
                self.asked.set()
                if self.hangs:
                    await reader.read(1)
                    self.left.set()
                    return
                results = {"id": "x", "results": self.score(self.requests[-1]["documents"])}
                status, body = self.reply or (200, json.dumps(results).encode())
                writer.write(
                    f"HTTP/1.1 {status} Scripted\r\nLocation: http://127.0.0.1:9/rerank\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n".encode()
                    + body
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@pytest.fixture
async def server() -> AsyncIterator[RerankServer]:
    scripted = RerankServer()
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        await scripted.serve(reader, writer)

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    scripted.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v2"
    yield scripted
    listener.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def reranking(**values: Any) -> AsyncIterator[Reranker]:
    reranker = make_reranker(Settings(**values))
    assert reranker
    yield reranker
    await reranker.close()


@pytest.fixture
async def remote(server: RerankServer) -> AsyncIterator[Reranker]:
    async with reranking(rerank_url=server.url, rerank_model="m", rerank_api_key=KEY) as opened:
        yield opened


def candidates(*texts: str) -> list[Ranked]:
    """Candidates, best first."""
    return [
        Ranked(Hit(chunk(n, f"{n}.md", text=text, content_hash=text), 0.0, 0.0), 1 - n / 100)
        for n, text in enumerate(texts)
    ]


def texts(ranked: Sequence[Ranked]) -> list[str]:
    return [each.hit.chunk.text for each in ranked]


def test_it_is_off_by_default() -> None:
    assert make_reranker(Settings()) is None


async def test_the_order_changes_and_the_sums_stay(remote: Reranker, server: RerankServer) -> None:
    found = candidates("one", "two", "three")
    reranked = await remote.rerank("what?", found)
    assert texts(reranked) == ["three", "two", "one"]
    assert [each.total for each in reranked] == [each.total for each in found]
    [request] = server.requests
    assert (request["model"], request["query"], request["top_n"]) == ("m", "what?", 3)
    assert [each.rpartition("\n")[2] for each in request["documents"]] == ["one", "two", "three"]
    assert server.heads[0].startswith("POST /v2/rerank ")
    assert f"Authorization: Bearer {KEY}\r\n" in server.heads[0]


async def test_equal_scores_keep_the_order(remote: Reranker, server: RerankServer) -> None:
    server.score = lambda documents: [
        {"index": index, "relevance_score": 1} for index in range(len(documents))
    ]
    assert texts(await remote.rerank("what?", candidates("b", "a", "c"))) == ["b", "a", "c"]


async def test_candidates_are_bounded_in_number_and_length(
    remote: Reranker, server: RerankServer
) -> None:
    found = candidates(*("long " * 9_000 + str(n) for n in range(_CANDIDATES + 5)))
    reranked = await remote.rerank("what?", found)
    documents = server.requests[0]["documents"]
    assert len(documents) == _CANDIDATES
    assert max(map(len, documents)) == _MAX_CHARACTERS
    assert texts(reranked) == [*reversed(texts(found[:_CANDIDATES])), *texts(found[_CANDIDATES:])]


async def test_nothing_is_asked_about_one_candidate(remote: Reranker, server: RerankServer) -> None:
    for found in (candidates(), candidates("one")):
        assert await remote.rerank("what?", found) == found
    assert not server.requests


async def test_requests_share_a_connection(remote: Reranker, server: RerankServer) -> None:
    for number in range(3):
        await remote.rerank(f"what {number}?", candidates("one", "two"))
    assert (len(server.requests), server.connections) == (3, 1)


async def test_a_repeated_question_costs_nothing(remote: Reranker, server: RerankServer) -> None:
    found = [await remote.rerank("what?", candidates("one", "two")) for _ in range(2)]
    assert found[0] == found[1]
    assert len(server.requests) == 1
    await remote.rerank("what?", candidates("one", "three"))
    assert len(server.requests) == 2


def scores(*pairs: tuple[Any, Any]) -> bytes:
    results = [{"index": index, "relevance_score": score} for index, score in pairs]
    return json.dumps({"results": results}).encode()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"{}"),
        (400, b"the model does not exist"),
        (401, b"{}"),
        (302, b""),
        (200, b""),
        (200, b"\xff"),
        (200, b"[" * 100_000),
        (200, b'{"results": []}'),
        (200, scores((0, 0.5))),
        (200, scores((0, 0.5), (2, 0.5))),
        (200, scores((0, 0.5), (-1, 0.5))),
        (200, scores((0, 0.5), (0, 0.5))),
        (200, scores((0, 0.5), (1, 0.5), (1, 0.9))),
        (200, scores((0, 0.5), (1.5, 0.5))),
        (200, scores((0, 0.5), (1, float("nan")))),
        (200, scores((0, 0.5), (1, float("inf")))),
        (200, scores((0, 0.5), (1, "high"))),
        (200, scores((0, 0.5), (1, None))),
        (200, b'{"results": [], "padding": "' + b"x" * 2_000_000 + b'"}'),
    ],
)
async def test_after_a_failure_the_order_stays(
    remote: Reranker,
    server: RerankServer,
    caplog: pytest.LogCaptureFixture,
    status: int,
    body: bytes,
) -> None:
    server.reply = status, body
    found = candidates("one", "two")
    for _ in range(2):
        assert await remote.rerank("what?", found) == found
    [warning] = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert warning.getMessage().startswith("Passages are not reranked: The reranker ")
    assert KEY not in caplog.text
    assert remote.breaker.failed == 2
    server.reply = None
    assert texts(await remote.rerank("what?", found)) == ["two", "one"]


async def test_a_server_that_fails_is_left_alone(remote: Reranker, server: RerankServer) -> None:
    server.reply = 500, b""
    for _ in range(8):
        await remote.rerank("what?", candidates("one", "two"))
    assert len(server.requests) == 5
    assert remote.breaker.refused == 3


async def test_a_server_that_cannot_be_reached_changes_nothing() -> None:
    found = candidates("one", "two")
    async with reranking(rerank_url="http://127.0.0.1:9", rerank_model="m") as reranker:
        assert await reranker.rerank("what?", found) == found


async def test_a_slow_server_is_not_waited_for(server: RerankServer) -> None:
    server.hangs = True
    found = candidates("one", "two")
    async with reranking(rerank_url=server.url, rerank_timeout=0.05) as reranker:
        assert await reranker.rerank("what?", found) == found
        await asyncio.wait_for(server.left.wait(), 10)
        assert reranker.breaker.failed == 1


async def test_a_model_in_a_folder_scores_pairs(tmp_path: Path) -> None:
    write_cross_encoder(tmp_path / "model")
    found = candidates("long moor", "tide", "moor moor")
    async with reranking(rerank_model=str(tmp_path / "model")) as reranker:
        await reranker.load()
        assert texts(await reranker.rerank("tide", found)) == ["tide", "long moor", "moor moor"]
        # More words than the model reads: the longer text of a pair is cut.
        assert texts(await reranker.rerank("tide " * 900, found))[0] == "tide"


@pytest.mark.parametrize(
    ("outputs", "tokenizer", "reason"),
    [(2, None, "it gives 2 numbers"), (1, '{"model": {"type": "Unheard"}}', "cannot be loaded")],
)
async def test_a_model_that_is_no_cross_encoder_is_named_at_the_start(
    tmp_path: Path, outputs: int, tokenizer: str | None, reason: str
) -> None:
    folder = tmp_path / "model"
    write_cross_encoder(folder, outputs=outputs)
    if tokenizer:
        (folder / "tokenizer.json").write_text(tokenizer)
    found = candidates("one", "two")
    async with reranking(rerank_model=str(folder)) as reranker:
        with pytest.raises(RuntimeError, match=reason):
            await reranker.load()
        assert await reranker.rerank("what?", found) == found


@pytest.fixture
async def reranked(
    make_settings: MakeSettings, server: RerankServer, upstream: Upstream
) -> AsyncIterator[Api]:
    settings = make_settings(openai_base_url=upstream.base_url, rerank_url=server.url)
    async with serving(settings) as running:
        yield running


async def test_search_and_chat_are_reranked(
    reranked: Api, server: RerankServer, upstream: Upstream, api: Api
) -> None:
    body = {"query": BROAD_QUESTION, "k": 3}
    before = (await api.post("/search", body)).json()["passages"]
    after = (await reranked.post("/search", body)).json()["passages"]
    last = server.requests[0]["documents"][-1]
    assert after[0]["text"] in last
    assert after[0]["text"] != before[0]["text"]
    assert after[0]["score"] == before[0]["score"]
    assert [each["score"] for each in after] == sorted((e["score"] for e in after), reverse=True)
    await reranked.ask(BROAD_QUESTION)
    first = upstream.chats()[0]["messages"][-1]["content"].partition("</passage>")[0]
    assert after[0]["text"] in first


async def test_a_reranker_changes_no_refusal(reranked: Api, server: RerankServer) -> None:
    server.score = lambda documents: [
        {"index": index, "relevance_score": 0.99} for index in range(len(documents))
    ]
    answer = (await reranked.ask("What is the capital of Mongolia?")).json()
    assert answer["finish_reason"] == "not_in_book"


async def test_failures_are_counted(reranked: Api, server: RerankServer) -> None:
    server.reply = 500, b""
    assert (await reranked.post("/search", {"query": "tide"})).status == 200
    metrics = (await reranked.as_admin("GET", "/metrics")).text
    assert 'quire_upstream_errors{service="reranker"} 1.0' in metrics


async def test_a_reader_who_leaves_ends_the_request(
    make_settings: MakeSettings, server: RerankServer
) -> None:
    server.hangs = True
    async with listening(make_settings(rerank_url=server.url, rerank_timeout=30)) as address:
        host, _, port = address.removeprefix("http://").partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /search?q=tide HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await server.asked.wait()
        writer.close()
        await writer.wait_closed()
        await asyncio.wait_for(server.left.wait(), 10)
