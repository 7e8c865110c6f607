"""GET and POST /search with `typing`: what a reader sees after a few letters."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from handlers.limits import SEARCH_BURST
from tests.api import Api, serving
from tests.conftest import MakeSettings
from tests.qdrant_server import running_qdrant
from tests.tiny_book import write_book
from tests.upstream import Upstream

BOOK = {
    "index.md": "# Reference\n\nWhat there is to be set for the harbour.\n",
    "berths.md": """# Berths

## Mooring

Two lines hold each boat at the quay. A lighthouse keeper counts them.

## Lamp oil

Call `lampOracle.refillAll()` when the oil is low, and harbour::lamps::snuff at dawn.
""",
    "tides.md": """# Tides

The tide turns every six hours. A tidal gauge is read by the harbour's master.

## Déjà vu

Spring tides come twice a month.
""",
    "de.md": "# Überfahrt\n\nDie Fähre nach Spiekeroog fährt bei Hochwasser.\n",
    "ja.md": "# 潮汐\n\n潮汐は六時間ごとに変わります。\n",
    "hi.md": "# ज्वार\n\nज्वार हर छह घंटे में बदलता है।\n",
}


@pytest.fixture(params=["embedded", "server"])
async def api(
    make_settings: MakeSettings, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Api]:
    changes: dict[str, Any] = {
        "book_content_path": write_book(tmp_path / "book", BOOK),
        "qdrant_path": tmp_path / "index",
    }
    async with running_qdrant(tmp_path / "server", strict=True) as server:
        if request.param == "server":
            changes["qdrant_url"] = server.url
        async with serving(make_settings(**changes)) as running:
            assert (await running.ingest())["status"] == "completed"
            yield running


async def typed(api: Api, query: str, **fields: Any) -> list[dict[str, Any]]:
    answer = await api.post("/search", {"query": query, "typing": True} | fields)
    assert answer.status == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["passages"]
    scores = [passage["score"] for passage in found]
    assert scores == sorted(scores, reverse=True)
    return found


FOUND = [
    ("moo", "Mooring"),
    ("MOO", "Mooring"),
    ("tid", "Tides"),
    ("tides", "Tides"),
    ("déj", "Déjà vu"),
    ("de\u0301j", "Déjà vu"),
    ("lamp oi", "Lamp oil"),
    ("lightho", "Mooring"),
    ("lampo", "Lamp oil"),
    ("refilla", "Lamp oil"),
    ("lampOracle.ref", "Lamp oil"),
    ("harbour::lamps::snu", "Lamp oil"),
    ("two lines hold each bo", "Mooring"),
    ("über", "Überfahrt"),
    ("spiek", "Überfahrt"),
    ("潮汐", "潮汐"),
    ("ज्वा", "ज्वार"),
]
HOSTILE = [
    *("a", "t", "  x", "...", "::", "->", "||>", '"spring ti', "\U0010ffff", "e\u0301", "潮", "-"),
    *("x" * 1_000, "tide " * 199, "ﬃ", "İ", "file:", "file:ti", "#", "0", "é" * 500),
]


async def test_a_page_is_found_before_its_word_is_complete(api: Api) -> None:
    found = {query: (await typed(api, query))[:1] for query, _ in FOUND}
    headings = {query: [each["heading"] for each in best] for query, best in found.items()}
    assert headings == {query: [heading] for query, heading in FOUND}


async def test_a_space_ends_the_word(api: Api) -> None:
    assert await typed(api, "light")
    assert await typed(api, "light ") == []
    assert (await typed(api, "tides "))[0]["heading"] == "Tides"


async def test_a_link_finds_the_same(api: Api) -> None:
    posted = (await api.post("/search", {"query": "lamp o", "k": 2, "typing": True})).json()
    query = urlencode({"q": "lamp o", "k": 2, "typing": "true"})
    assert (await api.get(f"/search?{query}")).json() == posted
    assert posted["passages"]


async def test_filters_and_k_apply(api: Api) -> None:
    assert {each["file_path"] for each in await typed(api, "harb")} > {"berths.md"}
    found = await typed(api, "harb", file_path="berths.md")
    assert {each["file_path"] for each in found} == {"berths.md"}
    assert len(await typed(api, "harb", k=1)) == 1
    found = await typed(api, "file:berths.md harb")
    assert {each["file_path"] for each in found} == {"berths.md"}


async def test_what_is_no_flag_is_refused(api: Api) -> None:
    answer = await api.post("/search", {"query": "tide", "typing": "yes"})
    assert (answer.status, answer.json()["details"]["field"]) == (400, "typing")
    answer = await api.get("/search?q=tide&typing=maybe")
    assert (answer.status, answer.json()["details"]["field"]) == (400, "typing")


@pytest.mark.parametrize("api", ["embedded"], indirect=True)
async def test_whatever_is_typed_is_answered(api: Api) -> None:
    for query in HOSTILE:
        await typed(api, query)
    assert (await api.post("/search", {"query": "\ud83c", "typing": True})).status == 400


async def test_new_words_are_known_after_the_next_ingestion(api: Api, tmp_path: Path) -> None:
    assert await typed(api, "zanzi") == []
    page = tmp_path / "book" / "index.md"
    page.write_text("# Reference\n\nThe dhow to Zanzibar leaves at noon.\n", encoding="utf-8")
    assert (await api.ingest())["status"] == "completed"
    assert [each["file_path"] for each in await typed(api, "zanzi")] == ["index.md"]


async def test_it_costs_nothing(
    make_settings: MakeSettings, upstream: Upstream, tmp_path: Path
) -> None:
    settings = make_settings(
        openai_base_url=upstream.base_url,
        embedding_provider="openai",
        rerank_url=upstream.base_url,
        daily_tokens=1_000,
        reader_daily_tokens=1_000,
        qdrant_path=tmp_path / "index",
        book_content_path=write_book(tmp_path / "book", BOOK),
    )
    async with serving(settings) as api:
        await api.ingest()
        asked = len(upstream.embedded())
        spent = (await api.as_admin("GET", "/health")).json()["inside"]["budget"]
        for query in ("t", "ti", "tid", "tide", "tide t", "tide tu", "zanzibar"):
            await typed(api, query)
        assert len(upstream.embedded()) == asked
        assert "/rerank" not in {request.path for request in upstream.requests}
        assert (await api.as_admin("GET", "/health")).json()["inside"]["budget"] == spent


async def test_a_typing_reader_stays_within_the_limit_of_searches(api: Api) -> None:
    for typed_before in range(30):
        answer = await api.get(f"/search?q=ti{typed_before}&typing=true")
        assert answer.status == 200
        assert answer.headers["RateLimit-Limit"] == str(SEARCH_BURST)


async def test_no_index_is_a_503(make_settings: MakeSettings, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    settings = make_settings(book_content_path=tmp_path / "empty", qdrant_path=tmp_path / "none")
    async with serving(settings) as api:
        answer = await api.get("/search?q=tide&typing=true")
        assert (answer.status, answer.json()["code"]) == (503, "INDEX_NOT_READY")
