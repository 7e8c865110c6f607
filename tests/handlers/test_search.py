"""POST /search and GET /search"""

import asyncio
from collections.abc import AsyncIterator
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

import lib.embedding_openai
from lib.tokens import estimate_tokens
from tests.api import Api, serving
from tests.conftest import MakeSettings
from tests.tiny_book import BOOK, BROAD_QUESTION, SITE, write_book
from tests.upstream import Body, Drop, Reply, Status, Upstream

FIELDS = {
    "chunk_id": str,
    "text": str,
    "file_path": str,
    "chapter": str,
    "section": str,
    "heading": str,
    "url": str,
    "start_char": int,
    "end_char": int,
    "score": float,
    "sections": list,
}


async def test_the_best_passage_comes_first(api: Api) -> None:
    body = (await api.post("/search", {"query": "on which channel do I call by radio?"})).json()
    assert set(body) >= {"query", "passages"}
    assert body["query"] == "on which channel do I call by radio?"
    best = body["passages"][0]
    assert best["file_path"] == "guide/mooring.md"
    assert best["heading"] == "Radio"
    assert best["url"] == f"{SITE}/docs/guide/mooring#radio"


async def test_passages_have_the_fields_of_the_contract(api: Api) -> None:
    for passage in (await api.post("/search", {"query": "boat"})).json()["passages"]:
        assert {name: type(passage[name]) for name in FIELDS} == FIELDS
        assert 0 <= passage["score"] <= 1


async def test_the_text_is_the_file_s_own_between_its_offsets(api: Api, book: Path) -> None:
    passages = (await api.post("/search", {"query": BROAD_QUESTION, "k": 50})).json()["passages"]
    assert {p["file_path"] for p in passages} == set(BOOK)
    for passage in passages:
        text = (book / passage["file_path"]).read_bytes().decode()
        assert passage["text"] == text[passage["start_char"] : passage["end_char"]]
        assert passage["text"]


@pytest.mark.parametrize("name", ["k", "top_k"])
async def test_k_by_either_name_bounds_the_passages(api: Api, name: str) -> None:
    for count in (1, 2):
        posted = await api.post("/search", {"query": BROAD_QUESTION, name: count})
        linked = await api.get("/search?" + urlencode({"q": BROAD_QUESTION, name: count}))
        assert len(posted.json()["passages"]) == len(linked.json()["passages"]) == count


async def test_a_chunk_is_found_once(api: Api) -> None:
    passages = (await api.post("/search", {"query": "the tide", "k": 50})).json()["passages"]
    ids = [p["chunk_id"] for p in passages]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("path", ["guide/tides.md", "guide/mooring.md"])
async def test_the_search_can_be_kept_inside_one_file(api: Api, path: str) -> None:
    body = {"query": "harbour office hours", "k": 50, "file_path": path}
    passages = (await api.post("/search", body)).json()["passages"]
    assert {p["file_path"] for p in passages} == {path}


@pytest.mark.parametrize("path", ["missing.md", "../../etc/passwd", "GUIDE/TIDES.MD", "%"])
async def test_a_file_that_is_not_there_has_no_passages(api: Api, path: str) -> None:
    answer = await api.post("/search", {"query": "tide", "file_path": path})
    assert answer.status == 200
    assert answer.json()["passages"] == []


async def test_a_link_finds_the_same(api: Api) -> None:
    query = "¿spring tide? & 潮"
    posted = (await api.post("/search", {"query": query, "k": 3})).json()
    linked = (await api.get("/search?" + urlencode({"q": query, "k": 3}))).json()
    assert linked == posted


async def test_unknown_fields_are_ignored(api: Api) -> None:
    assert (await api.post("/search", {"query": "tide", "mode": ["x"]})).status == 200
    assert (await api.get("/search?q=tide&utm_source=mail")).status == 200


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"query": 5}, "query"),
        ({"query": None}, "query"),
        ({"query": ""}, "query"),
        ({"query": " \n"}, "query"),
        ({"query": "x" * 1001}, "query"),
        ({"query": "a\0b"}, "query"),
        ({"k": 0}, "k"),
        ({"k": 51}, "k"),
        ({"k": 2.5}, "k"),
        ({"k": "3"}, "k"),
        ({"top_k": 51}, "top_k"),
        ({"file_path": 5}, "file_path"),
        ({"file_path": "a\0"}, "file_path"),
    ],
    ids=str,
)
async def test_wrong_fields_are_refused_by_name(
    api: Api, fields: dict[str, Any], named: str
) -> None:
    answer = await api.post("/search", {"query": "tide"} | fields)
    assert answer.status == 400
    assert answer.json()["details"]["field"] == named


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "q=",
        "q=%20",
        "k=3",
        "q=a&k=0",
        "q=a&k=51",
        "q=a&k=x",
        "q=a&k=",
        "q=a%00b",
        f"q={'x' * 1001}",
        "q=a&file_path=%00",
    ],
    ids=lambda text: text[:20],
)
async def test_wrong_links_are_refused(api: Api, arguments: str) -> None:
    answer = await api.get(f"/search?{arguments}")
    assert answer.status == 400
    assert answer.json()["code"] == "INVALID_REQUEST"
    assert answer.json()["details"]["field"] in ("q", "query", "k", "file_path")


async def test_bytes_that_are_no_utf8_in_a_link_do_no_harm(api: Api) -> None:
    assert (await api.get("/search?q=%ff%fe%c3")).status in (200, 400)


async def test_no_index_is_a_503(make_settings: MakeSettings, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    async with serving(
        make_settings(book_content_path=empty, qdrant_path=tmp_path / "none")
    ) as api:
        for answer in (
            await api.post("/search", {"query": "tide"}),
            await api.get("/search?q=tide"),
            await api.ask("tide"),
        ):
            assert answer.status == 503
            assert answer.json()["code"] == "INDEX_NOT_READY"
            assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    "fault",
    [
        Status(401),
        Status(404),
        Status(400),
        Body(b"<html>", "text/html"),
        Drop(),
    ],
    ids=["401", "404", "400", "garbage", "dropped"],
)
async def test_while_the_embedding_service_is_away_words_decide(
    make_settings: MakeSettings,
    upstream: Upstream,
    tmp_path: Path,
    fault: Status | Body | Drop,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lib.embedding_openai, "_QUERY_RETRIES", 0)  # after half a second
    settings = make_settings(
        embedding_provider="openai",
        openai_base_url=upstream.base_url,
        qdrant_path=tmp_path / "index",
    )
    async with serving(settings) as api:
        assert (await api.ingest())["status"] == "completed"
        asked = len(upstream.embedded())
        reply: Reply = [fault] if isinstance(fault, Drop) else fault
        upstream.embedding_replies.extend([reply] * 9)  # more than the retries
        searched = await api.post("/search", {"query": "When does the tide turn?"})
        answered = await api.ask("When does the tide turn?")
        assert searched.status == answered.status == 200
        assert len(upstream.embedded()) > asked
        assert "words only" in caplog.text
        assert "tide turn" not in caplog.text
        best = searched.json()["passages"][0]
        assert "The tide turns every six hours" in best["text"]
        assert best["score"] > 0.5
        [citation, *_] = answered.json()["citations"]
        assert citation["chunk_id"] == best["chunk_id"]
        # No chunk contains these words, and there is no vector.
        nothing = await api.post("/search", {"query": "zanzibar quokkas"})
        assert nothing.json()["passages"] == []
        assert (await api.ask("zanzibar quokkas")).status == 200
        upstream.embedding_replies.clear()
        found: list[Any] = []
        async with asyncio.timeout(10):  # the breaker may be open for a moment
            while not found:
                again = await api.post("/search", {"query": "zanzibar quokkas"})
                found = again.json()["passages"]


# --- Words ---------------------------------------------------------------------------------------

WORDY = {
    "index.md": "# Reference\n\nWhat there is to be set.\n",
    "settings.md": """# Settings

Boats are kept in the harbour and sail when the weather is fair.

## Berths

Give each berth a number with `HARBOUR_BERTH_LIMIT`; it is twelve where nothing is said.

## Lamps

Lamps burn until the sun has risen. Call `lampOracle.refillAll()` when the oil is low.

## Radio

```python
radio.say("request a berth", channel=9)
```
""",
    "guide/tides.md": """# Tides

At spring the boats of the fleet leave, and a tide gauge is read every hour.
""",
    "guide/high.md": "# High water\n\nThe spring tide comes with the new moon.\n",
    "guide/low.md": "# Low water\n\nWhen the neap tide comes, the eastern quay is dry.\n",
    "guide/dock.md": "# Dock\n\n## Pumps\n\n<!-- later -->\n\n<!--@include: ./_pumps.md-->\n",
    "guide/_pumps.md": "Two `dock_pumps` drain the dock in *nine* hours.\n",
    "signs.md": "# Signs\n\n## Pipes\n\nThe `||>` sign is red.\n\n"
    "## Asking\n\nThe `?.` sign is blue.\n",
    "guide/odd.md": "# Odd\n\nA keyword such as version: stands before a colon in many files.\n",
}


@pytest.fixture
async def wordy(make_settings: MakeSettings, tmp_path: Path) -> AsyncIterator[Api]:
    settings = make_settings(
        book_content_path=write_book(tmp_path / "book", WORDY), qdrant_path=tmp_path / "index"
    )
    async with serving(settings) as api:
        assert (await api.ingest())["status"] == "completed"
        yield api


async def search(api: Api, query: str, **fields: Any) -> list[dict[str, Any]]:
    """Passages, each compared with its file."""
    answer = await api.post("/search", {"query": query} | fields)
    assert answer.status == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["passages"]
    root = api.services.settings.book_content_path
    for passage in found:
        text = (root / passage["file_path"]).read_bytes().decode()
        assert passage["text"] == text[passage["start_char"] : passage["end_char"]]
    scores = [passage["score"] for passage in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    return found


@pytest.mark.parametrize(
    ("query", "heading"),
    [
        ("HARBOUR_BERTH_LIMIT", "Berths"),
        ("harbour_berth_limit", "Berths"),
        ("lampOracle.refillAll", "Lamps"),
        ("refillAll", "Lamps"),
        ("lamp oracle refill", "Lamps"),
        ("radio.say", "Radio"),
    ],
)
async def test_a_name_from_code_is_found(wordy: Api, query: str, heading: str) -> None:
    best = (await search(wordy, query))[0]
    assert best["file_path"] == "settings.md"
    assert best["heading"] == heading


@pytest.mark.parametrize(("query", "heading"), [("||>", "Pipes"), ('"?."', "Asking")])
async def test_a_name_made_of_signs_is_found(wordy: Api, query: str, heading: str) -> None:
    assert (await search(wordy, query))[0]["heading"] == heading
    if query[0] == "|":
        body = (await wordy.ask(f"What does {query} do?")).json()
        assert "The `||>` sign is red." in body["answer"]


async def test_of_joined_sections_the_one_that_matches_is_named(wordy: Api) -> None:
    for query, heading in (("Which sign is red?", "Pipes"), ("Which sign is blue?", "Asking")):
        best = (await search(wordy, query))[0]
        assert best["heading"] == heading
        assert best["url"] == f"{SITE}/docs/signs#{heading.lower()}"
        assert [each["heading"] for each in best["sections"]] == ["Pipes", "Asking"]
        starts = [each["start_char"] - best["start_char"] for each in best["sections"]]
        assert best["text"][starts[1] :].startswith("## Asking\n")
        cited = (await wordy.ask(query)).json()["citations"][0]
        assert cited["source"]["heading"] == heading
        assert cited["source"]["url"] == best["url"]
        assert cited["text"].endswith(f"sign is {query[14:-1]}.")


@pytest.mark.parametrize(
    ("restriction", "files"),
    [
        ("file:guide/tides.md", {"guide/tides.md"}),
        ("file:tides", {"guide/tides.md"}),
        ("file:TIDES.md", {"guide/tides.md"}),
        ("path:guide/", {f"guide/{name}.md" for name in ("tides", "high", "low", "dock", "odd")}),
        ("file:settings", {"settings.md"}),
        ("chapter:Tides", {"guide/tides.md"}),
        ("kind:code", {"settings.md"}),
    ],
)
async def test_a_restriction_in_the_question(wordy: Api, restriction: str, files: set[str]) -> None:
    for query in (f"{restriction} berth tide", f"berth tide {restriction}"):
        found = await search(wordy, query, k=50)
        assert found
        assert {passage["file_path"] for passage in found} <= files
    whole = {passage["file_path"] for passage in await search(wordy, "berth tide", k=50)}
    assert not whole <= files


async def test_a_restriction_that_fits_nothing_is_words(wordy: Api) -> None:
    for query in ("version:keyword colon", "file:nowhere.md keyword before a colon"):
        assert (await search(wordy, query))[0]["file_path"] == "guide/odd.md"
    assert (await search(wordy, "version:"))[0]["file_path"] == "guide/odd.md"
    assert await search(wordy, "file:tides")  # without other words, it is searched for


async def test_a_restriction_of_the_request_is_kept_in_any_case(wordy: Api) -> None:
    found = await search(wordy, "file:nowhere.md tide", file_path="settings.md", k=50)
    assert {passage["file_path"] for passage in found} == {"settings.md"}
    assert await search(wordy, "tide", file_path="nowhere.md") == []
    assert await search(wordy, "tide", version="9") == []


@pytest.mark.parametrize(
    ("words", "phrase", "file"),
    [("gauge", "spring tide", "guide/high.md"), ("gauge hour", "neap tide", "guide/low.md")],
)
async def test_a_quoted_phrase_comes_first(wordy: Api, words: str, phrase: str, file: str) -> None:
    assert (await search(wordy, f"{words} {phrase}"))[0]["file_path"] == "guide/tides.md"
    assert (await search(wordy, f'{words} "{phrase}"'))[0]["file_path"] == file


async def test_every_passage_is_the_file_s_own_text(wordy: Api, api: Api) -> None:
    count = 0
    for query in ("tide", "berth radio lamps", "what is kept there?", "{}", "漢字", '"a b"'):
        for k in (1, 3, 50):
            count += len(await search(wordy, query, k=k))
            count += len(await search(api, query, k=k))
    assert count > 30


async def test_what_a_page_includes_is_found_shown_and_quoted_with_its_heading(wordy: Api) -> None:
    question = "In how many hours do the pumps drain the dock?"
    best = (await search(wordy, question))[0]
    assert best["text"].endswith("<!--@include: ./_pumps.md-->")
    assert best["shown"].endswith("## Pumps\n\nTwo `dock_pumps` drain the dock in *nine* hours.")
    body = (await wordy.ask(question)).json()
    assert "Two `dock_pumps` drain the dock in nine hours." in body["answer"]
    assert body["citations"][0]["source"]["url"] == f"{SITE}/docs/guide/dock#pumps"


async def test_the_answer_cites_what_words_alone_have_found(wordy: Api) -> None:
    body = (await wordy.ask("What does HARBOUR_BERTH_LIMIT do?")).json()
    assert "twelve where nothing is said" in body["answer"]
    assert body["citations"][0]["source"]["url"] == f"{SITE}/docs/settings#berths"


async def test_a_budget_that_is_spent_leaves_words(
    make_settings: MakeSettings, upstream: Upstream, tmp_path: Path, own_book: Path
) -> None:
    """Searches without a key are charged too."""
    settings = make_settings(
        openai_base_url=upstream.base_url,
        embedding_provider="openai",
        daily_tokens=5,
        qdrant_path=tmp_path / "index",
        book_content_path=own_book,
    )
    async with serving(settings) as api:
        await api.ingest()
        documents = len(upstream.embedded())
        for number in range(20):
            found = (await api.post("/search", {"query": f"radio channel no{number}"})).json()
            assert found["passages"][0]["heading"] == "Radio"
        asked = len(upstream.embedded()) - documents
        spent = (await api.as_admin("GET", "/health")).json()["inside"]["budget"]
    assert 0 < asked < 10
    assert 0 < spent["tokens"] <= 5
    assert spent["refused"] == 20 - asked


async def test_a_query_string_of_thousands_of_parameters_is_refused_unread(api: Api) -> None:
    answer = await api.get("/search?q=tide" + "&a" * 101)
    assert answer.status == 400
    assert "too many" in answer.json()["error"]


async def test_one_reader_does_not_use_up_the_budget_of_all(
    make_settings: MakeSettings, upstream: Upstream, tmp_path: Path, own_book: Path
) -> None:
    """A search costs its reader what it costs beside an answer."""
    settings = make_settings(
        openai_base_url=upstream.base_url,
        embedding_provider="openai",
        daily_tokens=300_000,
        reader_daily_tokens=1_000,
        qdrant_path=tmp_path / "index",
        book_content_path=own_book,
    )
    async with serving(settings) as api:
        await api.ingest()
        documents = len(upstream.embedded())
        for number in range(12):
            query = "\U0001f30a" * 980 + str(number)
            assert (await api.post("/search", {"query": query})).status == 200
        asked = len(upstream.embedded()) - documents
        spent = (await api.as_admin("GET", "/health")).json()["inside"]["budget"]
        await api.post("/search", {"query": "radio"}, caller=("203.0.113.8", 1))
        assert len(upstream.embedded()) == documents + asked + 1
    assert 0 < asked < 12
    tokens = estimate_tokens(query)
    assert tokens > 2_000
    assert spent["tokens"] == asked * ceil(tokens * 0.02 / 0.4)
    assert spent["usd"] == pytest.approx(asked * tokens * 0.02 / 1e6, abs=1e-6)
