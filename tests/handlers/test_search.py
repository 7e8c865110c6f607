"""POST /search and GET /search"""

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.conftest import BOOK, SITE, Api, MakeSettings, serving
from tests.upstream import Status, Upstream

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
    passages = (await api.post("/search", {"query": "harbour", "k": 50})).json()["passages"]
    assert {p["file_path"] for p in passages} == set(BOOK)
    for passage in passages:
        text = (book / passage["file_path"]).read_bytes().decode()
        assert passage["text"] == text[passage["start_char"] : passage["end_char"]]
        assert passage["text"]


@pytest.mark.parametrize("name", ["k", "top_k"])
async def test_k_by_either_name_bounds_the_passages(api: Api, name: str) -> None:
    assert len((await api.post("/search", {"query": "boat", name: 2})).json()["passages"]) == 2
    assert len((await api.get(f"/search?q=boat&{name}=2")).json()["passages"]) == 2


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


async def test_an_index_of_another_embedding_model_is_not_searched(
    make_settings: MakeSettings, upstream: Upstream
) -> None:
    settings = make_settings(
        embedding_provider="openai",
        openai_base_url=upstream.base_url,
        openai_embedding_model="other-model",
    )
    async with serving(settings) as api:
        for answer in (await api.post("/search", {"query": "tide"}), await api.ask("tide")):
            assert answer.status == 503
            body = answer.json()
            assert body["code"] == "INDEX_OUTDATED"
            assert "local/all-MiniLM-L6-v2-int8" in body["error"]
            assert "openai/other-model" in body["error"]
            assert "ngest" in body["error"]
    assert upstream.embedded() == []


@pytest.mark.parametrize("status", [401, 404, 400])
async def test_an_embedding_service_that_fails_is_a_502(
    make_settings: MakeSettings, upstream: Upstream, tmp_path: Path, status: int
) -> None:
    settings = make_settings(
        embedding_provider="openai",
        openai_base_url=upstream.base_url,
        qdrant_path=tmp_path / "index",
    )
    async with serving(settings) as api:
        assert (await api.ingest())["status"] == "completed"
        upstream.embedding_replies.extend([Status(status), Status(status)])
        for answer in (await api.post("/search", {"query": "tide"}), await api.ask("tide")):
            assert answer.status == 502
            assert answer.json()["code"] == "UPSTREAM_ERROR"
            assert answer.json()["details"] == {"upstream_status": status}
        assert (await api.post("/search", {"query": "tide"})).status == 200
