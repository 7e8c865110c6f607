"""Each question becomes one entry of the log, through every interface and however it ends."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import numpy as np
import pytest

from lib.errors import IndexNotReady, InvalidRequest
from lib.question_log import FILE_NAME, pack_vector
from lib.settings import Settings
from tests.api import OTHER_SESSION, SESSION, Api, Response, listening, serving
from tests.conftest import MakeSettings
from tests.logged import rows_in, rows_of
from tests.tiny_book import SITE
from tests.upstream import Drop, Hang, Status, Upstream, answer, delta

QUESTION = "When does the tide turn?"
NOT_THERE = "Which enzyme breaks down starch in the mouth?"
TIDES = "The tide turns every six hours and a quarter [1]."
EVENTS = {"Accept": "application/json, text/event-stream"}


@dataclass(frozen=True)
class Way:
    """A way to ask, and the route that the log names."""

    route: str
    streamed: bool
    progress: bool = False

    def call(self, question: str) -> tuple[str, str, Any, dict[str, str]]:
        """Method, path, JSON body and headers."""
        messages = [{"role": "user", "content": question}]
        parts = [{"role": "user", "parts": [{"type": "text", "text": question}]}]
        params = {"name": "ask", "arguments": {"question": question}}
        if self.progress:
            params["_meta"] = {"progressToken": 1}
        tool = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        bodies = {
            "/chat": {"question": question, "stream": self.streamed},
            "/v1/chat/completions": {"messages": messages, "stream": self.streamed},
            "/ui/chat": {"messages": parts},
            "/mcp": tool,
            "/ask": None,
        }
        path = f"/ask?{urlencode({'q': question})}" if self.route == "/ask" else self.route
        headers = {"MCP-Protocol-Version": "2025-11-25"} if self.route == "/mcp" else {}
        if self.streamed:
            headers |= EVENTS
        return "GET" if self.route == "/ask" else "POST", path, bodies[self.route], headers

    async def ask(self, api: Api, question: str = QUESTION) -> Response:
        method, path, body, headers = self.call(question)
        sent = {} if body is None else {"json": body}
        return await api.request(method, path, headers=headers, **sent)


WAYS = {
    "chat": Way("/chat", True),
    "chat-json": Way("/chat", False),
    "completions": Way("/v1/chat/completions", True),
    "completions-json": Way("/v1/chat/completions", False),
    "ui": Way("/ui/chat", True),
    "ask": Way("/ask", True),
    "mcp": Way("/mcp", True),
    "mcp-progress": Way("/mcp", True, progress=True),
    "mcp-json": Way("/mcp", False),
}
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
SOME = ("chat", "chat-json", "mcp-json")
some_ways = pytest.mark.parametrize("way", [WAYS[name] for name in SOME], ids=SOME)


@pytest.fixture
def settings(make_settings: MakeSettings, own_index: Path, upstream: Upstream) -> Settings:
    """With a question log and the scripted upstream as language model."""
    return make_settings(qdrant_path=own_index, question_log=30, openai_base_url=upstream.base_url)


@pytest.fixture
async def logging(settings: Settings) -> AsyncIterator[Api]:
    async with serving(settings) as running:
        yield running


@pytest.fixture
async def quoting(make_settings: MakeSettings, own_index: Path) -> AsyncIterator[Api]:
    """With a question log, without a language model."""
    async with serving(make_settings(qdrant_path=own_index, question_log=30)) as running:
        yield running


async def only_row(api: Api) -> dict[str, Any]:
    (row,) = await rows_of(api)
    return row


@each_way
async def test_an_answer_is_one_entry(logging: Api, upstream: Upstream, way: Way) -> None:
    upstream.replies.append(answer(TIDES, " It may turn every nine hours [1]."))
    assert (await way.ask(logging)).status == 200
    row = await only_row(logging)
    assert (row["question"], row["language"], row["interface"]) == (QUESTION, "english", way.route)
    assert (row["outcome"], row["mode"], row["fallback"], row["code"]) == (
        "answered",
        "generated",
        "",
        "",
    )
    assert (row["supported"], row["unsupported"], row["unknown"]) == (1, 1, 0)
    assert (row["prompt_tokens"], row["completion_tokens"], row["embedding_tokens"]) == (100, 20, 0)
    assert row["cost_usd"] > 0
    assert (row["first_ms"] is not None) == way.streamed
    assert 0 <= (row["first_ms"] or 0) <= row["total_ms"] < 10_000
    assert row["stands_alone"] == 1
    assert (row["vote"], row["reason"], row["note"]) == (None, None, None)
    (cited,) = row["passages"]
    assert (cited["file_path"], cited["cited"]) == ("guide/tides.md", 1)
    assert cited["heading"] == "Tides \U0001f30a and déjà vu"
    assert cited["url"].startswith(f"{SITE}/docs/guide/tides")
    text = (logging.services.settings.book_content_path / cited["file_path"]).read_text()
    assert "every six hours" in text[cited["start_char"] : cited["end_char"]]
    assert 0 < cited["score"] <= 1


@each_way
async def test_an_unanswered_question_names_the_nearest_passages(logging: Api, way: Way) -> None:
    await way.ask(logging, NOT_THERE)
    row = await only_row(logging)
    assert (row["outcome"], row["mode"], row["interface"]) == ("refused", "none", way.route)
    assert 1 <= len(row["passages"]) <= 3
    assert {each["cited"] for each in row["passages"]} == {0}
    assert row["passages"] == sorted(row["passages"], key=lambda each: -each["score"])


@some_ways
async def test_small_talk_is_told_apart(logging: Api, way: Way) -> None:
    await way.ask(logging, "Danke!")
    row = await only_row(logging)
    assert (row["outcome"], row["interface"], row["answer"]) == ("small_talk", way.route, None)
    assert (row["passages"], row["vector"]) == ([], None)


@some_ways
async def test_a_declined_question_is_told_apart_also_from_the_cache(
    logging: Api, upstream: Upstream, way: Way
) -> None:
    upstream.replies.append(answer("The passages do not mention how old the entrance is."))
    for _ in range(2):
        await way.ask(logging, "How old is the entrance of the harbour?")
    assert len(upstream.chats()) == 1
    declined = await rows_of(logging)
    assert [each["outcome"] for each in declined] == ["declined"] * 2
    assert [each["mode"] for each in declined] == ["generated", "cached"]
    assert [each["prompt_tokens"] for each in declined] == [100, 0]
    assert len({each["answer"] for each in declined}) == 2
    assert all(each["passages"] and each["vector"] for each in declined)


async def test_an_answer_from_the_cache_names_its_passages(logging: Api) -> None:
    for _ in range(2):
        await logging.ask(QUESTION)
    made, cached = await rows_of(logging)
    assert (made["mode"], cached["mode"], cached["outcome"]) == ("generated", "cached", "answered")
    assert cached["passages"] == made["passages"]
    assert cached["cost_usd"] == 0


async def test_quotes_replace_the_model_s_answer(logging: Api, upstream: Upstream) -> None:
    upstream.replies.append(Status(500))
    await logging.ask(QUESTION)
    row = await only_row(logging)
    assert (row["outcome"], row["mode"], row["fallback"]) == (
        "answered",
        "extractive",
        "model_failed",
    )
    assert [each["cited"] for each in row["passages"]] == [1] * len(row["passages"])


async def test_without_a_model_quotes_are_the_answer(quoting: Api) -> None:
    await quoting.ask(QUESTION, stream=True)
    row = await only_row(quoting)
    assert (row["outcome"], row["mode"], row["fallback"]) == ("answered", "extractive", "no_model")
    assert row["supported"] > 0
    assert row["first_ms"] is not None


async def test_nothing_to_quote_is_a_refusal(quoting: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object) -> Any:
        yield
        return []

    monkeypatch.setattr("lib.answer.extract_in_steps", nothing)
    await quoting.ask(QUESTION)
    row = await only_row(quoting)
    assert (row["outcome"], row["mode"]) == ("refused", "none")
    assert row["passages"]


# Failures


@each_way
async def test_a_model_that_fails_midway_is_one_entry(
    logging: Api, upstream: Upstream, way: Way
) -> None:
    """A reader who sees nothing before the end gets quotes instead."""
    upstream.replies.append([delta("The tide "), delta("turns "), Drop()])
    await way.ask(logging)
    row = await only_row(logging)
    if way.streamed and way != WAYS["mcp"]:
        assert (row["outcome"], row["code"], row["answer"]) == ("failed", "UPSTREAM_ERROR", None)
        assert row["first_ms"] is not None
        assert row["cost_usd"] is None
        assert {each["cited"] for each in row["passages"]} == {0}
        assert row["vector"]
    else:
        assert (row["outcome"], row["fallback"]) == ("answered", "model_failed")


@each_way
async def test_a_search_that_fails_is_one_entry(
    logging: Api, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    errors = [IndexNotReady("No index yet."), RuntimeError("A bug.")]

    async def fail(*_: object, **__: object) -> Any:
        raise errors.pop(0)

    monkeypatch.setattr("lib.chat.retrieve_passages", fail)
    for _ in range(2):
        await way.ask(logging, f"  {QUESTION}\n")
    rows = await rows_of(logging)
    assert [row["code"] for row in rows] == ["INDEX_NOT_READY", "INTERNAL"]
    for row in rows:
        assert (row["question"], row["interface"]) == (QUESTION, way.route)
        assert (row["outcome"], row["mode"], row["passages"]) == ("failed", "none", [])
        assert (row["answer"], row["first_ms"], row["cost_usd"]) == (None, None, 0)


@some_ways
async def test_a_bug_in_the_answer_is_one_entry(
    logging: Api, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    def fail(*_: object) -> Any:
        raise RuntimeError("A bug.")

    monkeypatch.setattr("lib.answer._refused_or_cached", fail)
    await way.ask(logging)
    row = await only_row(logging)
    assert (row["outcome"], row["code"]) == ("failed", "INTERNAL")


@some_ways
async def test_a_deadline_is_one_entry(
    make_settings: MakeSettings, own_index: Path, upstream: Upstream, way: Way
) -> None:
    upstream.replies.append([delta("The tide "), delta("turns "), Hang()])
    own = {"qdrant_path": own_index, "question_log": 30, "openai_base_url": upstream.base_url}
    async with serving(make_settings(**own, stream_timeout=0.5)) as api:
        await api.services.contents.get(10)  # the first question waits for them
        await way.ask(api)
        row = await only_row(api)
    assert (row["outcome"], row["code"]) == ("failed", "TIMED_OUT")


@each_way
async def test_a_shutdown_is_one_entry(logging: Api, upstream: Upstream, way: Way) -> None:
    upstream.replies.append([delta("The tide "), Hang()])
    asking = asyncio.create_task(way.ask(logging))
    await upstream.until(lambda u: len(u.chats()) == 1)
    await logging.app.extensions["middleware"].drain(0)
    await asking
    row = await only_row(logging)
    assert (row["outcome"], row["code"]) == ("failed", "STOPPING")
    assert (await way.ask(logging)).status == 503
    assert len(await rows_of(logging)) == 1


# Readers who leave


@each_way
async def test_a_reader_who_leaves_is_one_entry(
    settings: Settings, upstream: Upstream, way: Way
) -> None:
    """Before the first word, and in the middle of the answer."""
    upstream.replies += [[Hang()], [delta("The tide "), Hang()]]
    async with listening(settings) as address, aiohttp.ClientSession() as http:
        for number in (1, 2):
            await leave(http, address, way, upstream.until(partial(has_asked, number)))
            await upstream.until(partial(has_left, number))
    rows = rows_in(settings.qdrant_path / FILE_NAME)
    assert len(rows) == 2
    for row in rows:
        assert (row["question"], row["outcome"], row["code"]) == (QUESTION, "left", "")
        assert row["interface"] == way.route
        assert row["passages"]


@each_way
async def test_a_reader_who_leaves_during_the_search_is_one_entry(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    searching, ended = asyncio.Event(), asyncio.Event()

    async def search_on(*_: object, **__: object) -> Any:
        try:
            searching.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr("lib.chat.retrieve_passages", search_on)
    async with listening(settings) as address, aiohttp.ClientSession() as http:
        await leave(http, address, way, searching.wait())
        await asyncio.wait_for(ended.wait(), 10)
    (row,) = rows_in(settings.qdrant_path / FILE_NAME)
    assert (row["question"], row["outcome"], row["passages"]) == (QUESTION, "left", [])


def has_asked(number: int, upstream: Upstream) -> bool:
    return len(upstream.chats()) == number


def has_left(number: int, upstream: Upstream) -> bool:
    return upstream.disconnects == number


async def leave(http: aiohttp.ClientSession, address: str, way: Way, until: Any) -> None:
    """Ask, and close the connection after `until`."""
    method, path, body, headers = way.call(QUESTION)
    asking = asyncio.create_task(http.request(method, address + path, json=body, headers=headers))
    await until
    if asking.done():
        asking.result().close()
    else:
        asking.cancel()
        await asyncio.wait((asking,))


# What is no question


async def test_what_is_no_valid_question_is_no_entry(
    logging: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await logging.ask("")).status == 400
    assert (await logging.ask("  ")).status == 400
    assert (await logging.ask("x" * 1_001)).status == 400
    assert (await logging.ask(session_id="?")).status == 400
    assert (await logging.ask(page="x" * 501)).status == 400
    assert (await logging.ask(headers={"Origin": "https://evil.example"})).status == 403
    assert (await logging.request("HEAD", "/ask?q=tide")).status == 200
    assert (await logging.request("HEAD", "/chat")).status == 405
    assert (await logging.get("/ask?q=%20")).status == 400
    assert (await logging.post("/v1/chat/completions", {"messages": []})).status == 400
    assert (await logging.post("/ui/chat", {"messages": []})).status == 400
    await WAYS["mcp-json"].ask(logging, " ")
    await logging.get("/search?q=tide")

    async def refuse(*_: object, **__: object) -> Any:
        raise InvalidRequest("No.")

    monkeypatch.setattr("lib.chat.retrieve_passages", refuse)
    assert (await logging.ask()).status == 400
    assert await rows_of(logging) == []


@some_ways
async def test_a_refused_reader_s_question_is_no_entry(logging: Api, way: Way) -> None:
    for _ in range(20):
        await logging.ask("Hi")
    before = len(await rows_of(logging))
    await way.ask(logging)
    assert len(await rows_of(logging)) == before == 20


# Conversations


async def test_a_conversation_has_a_random_id(logging: Api) -> None:
    async def conversation(**fields: Any) -> str:
        await logging.ask("Hi", **fields)
        return str((await rows_of(logging))[-1]["conversation"])

    mine = await conversation(session_id=SESSION)
    assert mine == await conversation(session_id=SESSION)
    others = {
        await conversation(session_id=SESSION, headers={"X-API-Key": "a-reader-key"}),
        await conversation(session_id=OTHER_SESSION),
        await conversation(session_id="guessable"),
        await conversation(session_id="guessable"),
        await conversation(),
        await conversation(),
    }
    assert len(others | {mine}) == 7
    assert {len(each) for each in others} == {11}


async def test_a_conversation_goes_on_after_a_failure(
    logging: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> Any:
        raise IndexNotReady("No index yet.")

    with monkeypatch.context() as patch:
        patch.setattr("lib.chat.retrieve_passages", fail)
        await logging.ask(session_id=SESSION)
    first = await logging.ask("Hi")
    await logging.ask(session_id=SESSION)
    await logging.ask(session_id=first.json()["session_id"])
    failed, hi, again, after_hi = await rows_of(logging)
    assert failed["conversation"] == again["conversation"] != hi["conversation"]
    assert hi["conversation"] == after_hi["conversation"]


async def test_conversations_of_clients_are_not_tied_together(logging: Api) -> None:
    messages: list[dict[str, str]] = []
    for question in (QUESTION, "And how often?"):
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": "."}]
        await logging.post("/v1/chat/completions", {"messages": messages[:-1]})
    first, second = await rows_of(logging)
    assert first["conversation"] != second["conversation"]
    assert (first["stands_alone"], second["stands_alone"]) == (1, 0)


async def test_a_follow_up_does_not_stand_alone(logging: Api) -> None:
    questions = {
        "How many fenders does a boat need?": 1,
        "And on which side do they hang?": 0,
        "Why?": 0,
        "When is the harbour office open on Sundays?": 1,
        "What is this book about?": 1,
        "What about the radio?": 0,
        "Gibt es einen Schlüssel für das Tor?": 1,
        "And how is the lock of the canal opened in winter?": 1,
        "Dark mode?": 1,
        "How does it work?": 0,
    }
    for question in questions:
        await logging.ask(question, session_id=SESSION)
    assert {row["question"]: row["stands_alone"] for row in await rows_of(logging)} == questions


# What an entry holds


async def test_a_selection_is_not_stored(logging: Api) -> None:
    context = {"selectedText": "Amylase breaks down starch.", "source": "/my/private/page"}
    for question in (NOT_THERE, QUESTION):
        await logging.ask(question, context=context, page="/my/other/page")
    for row in await rows_of(logging):
        assert row["outcome"] == "answered"
        assert row["stands_alone"] == 0
        assert {each["file_path"].partition("/")[0] for each in row["passages"]} <= {
            "guide",
            "index.md",
        }


async def test_only_a_question_without_a_good_answer_has_its_vector(
    logging: Api, upstream: Upstream
) -> None:
    embedder = logging.services.embedder
    upstream.replies += [answer(TIDES), answer("The tide turns every nine hours [1].")]
    for question in (QUESTION, "How often does the tide turn?", NOT_THERE):
        await logging.ask(question)
    await logging.ask(f"{NOT_THERE} Tell john@example.com.")
    good, unsupported, refused, masked = await rows_of(logging)
    assert (good["vector"], good["unsupported"]) == (None, 0)
    assert unsupported["unsupported"] == 1
    for row in (unsupported, refused):
        model, packed = row["vector"]
        vector = await embedder.embed_query(row["question"])
        assert model == embedder.model_id
        assert packed == pack_vector(vector)
        stored = np.frombuffer(packed, np.int8).astype(np.float32)
        assert vector @ stored / np.linalg.norm(stored) > 0.999
    assert masked["question"] == f"{NOT_THERE} Tell [email]."
    assert masked["vector"] is None


async def test_an_address_of_quire_s_own_does_not_name_the_reader_s_host(
    served_book: MakeSettings, upstream: Upstream
) -> None:
    async with serving(served_book(openai_base_url=upstream.base_url, question_log=1)) as api:
        await api.ingest()
        await api.ask(QUESTION)
        for host in ("ask.example", "192.0.2.7:7860"):
            await api.get(f"/ask?{urlencode({'q': QUESTION})}", headers={"Host": host})
        urls = [row["passages"][0]["url"] for row in await rows_of(api)]
    assert urls == [urls[0]] * 3
    assert urls[0].startswith("/book/guide/tides#")


# Without a log


async def test_without_the_setting_nothing_is_created(
    make_settings: MakeSettings, own_index: Path, upstream: Upstream
) -> None:
    upstream.replies += [answer(TIDES), [delta("The tide "), Drop()]]
    settings = make_settings(qdrant_path=own_index, openai_base_url=upstream.base_url)
    async with serving(settings) as api:
        voted = (await api.ask(QUESTION)).json()["answer_id"]
        body = {"answer_id": voted, "vote": "down", "note": "No."}
        assert (await api.post("/feedback", body)).status == 200
        await api.ask("How often does the tide turn?", stream=True)
        assert api.services.question_log is None
    files = await asyncio.to_thread(lambda: [path.name for path in own_index.rglob("*")])
    assert files
    assert not [name for name in files if "question" in name]
