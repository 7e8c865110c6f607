"""POST /ingest and GET /ingest/status"""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from lib.terms import query_vector
from tests.api import LOCAL_CLIENT, READER_KEY, REMOTE_CLIENT, Api, serving
from tests.conftest import MakeSettings, wait_for_ingestion
from tests.tiny_book import BOOK, write_book
from tests.upstream import Upstream


@pytest.fixture
def ingest_settings(make_settings: MakeSettings, own_book: Path, own_index: Path) -> MakeSettings:
    def make(**changes: Any) -> Any:
        return make_settings(
            **({"book_content_path": own_book, "qdrant_path": own_index} | changes)
        )

    return make


async def test_an_ingestion_starts_at_once_and_completes(ingest_settings: MakeSettings) -> None:
    async with serving(ingest_settings()) as api:
        answer = await api.as_admin("POST", "/ingest")
        assert answer.status == 200
        started = answer.json()
        assert set(started) == {"status", "message", "task_id", "estimated_files"}
        assert started["status"] == "started"
        assert started["estimated_files"] == len(BOOK)
        await wait_for_ingestion(api.services.ingestion)
        answer = await api.get(f"/ingest/status?task_id={started['task_id']}")
        assert answer.status == 200
        status = answer.json()
        assert status["task_id"] == started["task_id"]
        assert status["status"] == "completed", status["error"]
        progress = status["progress"]
        assert progress["files_processed"] == progress["total_files"] == len(BOOK)
        assert progress["chunks_created"] >= len(BOOK)
        assert progress["errors"] == []
        begun = datetime.fromisoformat(status["started_at"])
        assert begun.tzinfo is not None
        assert datetime.fromisoformat(status["estimated_completion"]) >= begun


async def test_the_health_report_shows_the_new_index_at_once(
    ingest_settings: MakeSettings,
) -> None:
    async with serving(ingest_settings()) as api:
        await api.services.store_probe.answer(10)
        before = (await api.get("/health")).json()["index_version"]
        assert (await api.as_admin("POST", "/ingest", json={"force_reindex": True})).status == 200
        await wait_for_ingestion(api.services.ingestion)
        await api.services.store_probe.answer(10)
        assert (await api.get("/health")).json()["index_version"] > before


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"content_path": None},
        {"content_path": ""},
        {"content_path": "."},
        {"content_path": "./"},
        {"force_reindex": True},
        {"batch_size": 1},
        {"batch_size": 1000},
        {"unknown": [1]},
    ],
    ids=str,
)
async def test_what_is_within_the_rules_is_ingested(
    ingest_settings: MakeSettings, fields: dict[str, Any]
) -> None:
    async with serving(ingest_settings()) as api:
        status = await api.ingest(**fields)
        assert status["status"] == "completed", status["error"]
        assert status["progress"]["total_files"] == len(BOOK)


async def test_a_folder_inside_can_be_given_absolutely(
    ingest_settings: MakeSettings, own_book: Path
) -> None:
    async with serving(ingest_settings()) as api:
        status = await api.ingest(content_path=str(own_book))
        assert status["progress"]["total_files"] == len(BOOK)


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../",
        "guide/../..",
        "/",
        "/etc",
        "missing",
        "index.md",
        "guide/tides.md",
        "link-out",
        "link-out/inner",
        "x" * 300,
        "a/" * 3000,
        "~",
        "guide\0",
        "file:///etc",
    ],
    ids=lambda path: ascii(path[:20]),
)
async def test_paths_that_are_no_folder_inside_are_refused(
    ingest_settings: MakeSettings, own_book: Path, tmp_path: Path, path: str
) -> None:
    outside = write_book(tmp_path / "outside", {"inner/secret.md": "# Secret\n\nNot for you.\n"})
    (own_book / "link-out").symlink_to(outside)
    async with serving(ingest_settings()) as api:
        answer = await api.as_admin("POST", "/ingest", json={"content_path": path})
        assert answer.status == 400
        assert answer.json()["code"] == "INVALID_REQUEST"
        assert answer.json()["details"]["field"] == "content_path"
        assert str(tmp_path) not in answer.text
        assert (await api.get("/ingest/status")).status == 404


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"content_path": 5}, "content_path"),
        ({"content_path": ["a"]}, "content_path"),
        ({"force_reindex": "true"}, "force_reindex"),
        ({"force_reindex": None}, "force_reindex"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 1001}, "batch_size"),
        ({"batch_size": "100"}, "batch_size"),
        ({"batch_size": 1.5}, "batch_size"),
        ({"url": ""}, "url"),
        ({"url": "ftp://book.example/"}, "url"),
        ({"url": "https://me:secret@book.example/"}, "url"),
        ({"url": "https://book.example/", "content_path": "guide"}, "url"),
    ],
    ids=str,
)
async def test_wrong_fields_are_refused_by_name(
    api: Api, fields: dict[str, Any], named: str
) -> None:
    answer = await api.as_admin("POST", "/ingest", json=fields)
    assert answer.status == 400
    assert answer.json()["details"]["field"] == named
    assert "secret" not in answer.text


async def test_a_second_request_gets_the_running_task(
    ingest_settings: MakeSettings, upstream: Upstream
) -> None:
    upstream.embedding_gate = asyncio.Event()
    settings = ingest_settings(openai_base_url=upstream.base_url, embedding_provider="openai")
    async with serving(settings) as api:
        await api.services.index_checked.wait()  # the start ingests, for the model has changed
        first = (await api.get("/ingest/status")).json()
        second = (await api.as_admin("POST", "/ingest", json={"force_reindex": True})).json()
        assert second["status"] == "in_progress"
        assert second["task_id"] == first["task_id"]
        assert second["estimated_files"] == len(BOOK)
        running = (await api.get("/ingest/status")).json()
        assert running["task_id"] == first["task_id"]
        assert running["status"] in ("pending", "processing")
        assert (await api.get("/health")).json()["ingesting"] is True
        upstream.embedding_gate.set()
        await wait_for_ingestion(api.services.ingestion)
        assert (await api.get("/ingest/status")).json()["status"] == "completed"
        third = (await api.as_admin("POST", "/ingest")).json()
        assert third["status"] == "started"
        assert third["task_id"] != first["task_id"]


async def test_two_requests_at_the_same_moment_start_one_task(
    ingest_settings: MakeSettings,
) -> None:
    async with serving(ingest_settings()) as api:
        answers = await asyncio.gather(*(api.as_admin("POST", "/ingest") for _ in range(5)))
        bodies = [answer.json() for answer in answers]
        assert len({body["task_id"] for body in bodies}) == 1
        assert [body["status"] for body in bodies].count("started") == 1
        await wait_for_ingestion(api.services.ingestion)


async def test_readers_keep_the_old_book_while_the_new_one_is_made(
    ingest_settings: MakeSettings, own_book: Path, upstream: Upstream
) -> None:
    settings = ingest_settings(
        openai_base_url=upstream.base_url,
        embedding_provider="openai",
        qdrant_path=own_book.parent / "fresh",
    )
    async with serving(settings) as api:
        await api.ingest()
        write_book(own_book, {"guide/tides.md": "# Tides\n\nThere are no tides any more.\n"})
        upstream.embedding_gate = asyncio.Event()
        await api.as_admin("POST", "/ingest")
        await upstream.until(lambda u: "There are no tides" in str(u.embedded()[-1]))
        old = api.services.store  # a search would wait for its own embedding
        manifest = await old.manifest()
        assert manifest is not None
        found = await old.search(unit_vector(upstream, "tide"), query_vector("tide"), 50)
        assert any("every six hours" in hit.chunk.text for hit in found.hits)
        upstream.embedding_gate.set()
        await wait_for_ingestion(api.services.ingestion)
        passages = (await api.post("/search", {"query": "tides", "k": 50})).json()["passages"]
        assert any("no tides any more" in p["text"] for p in passages)
        assert not any("every six hours" in p["text"] for p in passages)


def unit_vector(upstream: Upstream, text: str) -> Any:
    vector = upstream.vector(text)
    return vector / float((vector @ vector) ** 0.5)


async def test_a_file_that_cannot_be_read_is_one_line(
    ingest_settings: MakeSettings, own_book: Path
) -> None:
    (own_book / "broken.md").write_bytes(b"# Caf\xe9\n")
    (own_book / "binary.md").write_bytes(b"\x00\x01" * 5000)
    (own_book / "empty.md").touch()
    (own_book / "linked.md").symlink_to(own_book / "index.md")
    async with serving(ingest_settings()) as api:
        status = await api.ingest()
        assert status["status"] == "completed", status["error"]
        errors = status["progress"]["errors"]
        assert {error.partition(": ")[0] for error in errors} == {
            "broken.md",
            "binary.md",
            "empty.md",
            "linked.md",
        }
        assert all(error.partition(": ")[2] for error in errors)
        assert not any(str(own_book.parent) in error for error in errors)
        assert (await api.ask("When does the tide turn?")).status == 200


async def test_a_book_without_text_fails_and_leaves_the_index(
    ingest_settings: MakeSettings, own_book: Path
) -> None:
    async with serving(ingest_settings()) as api:
        for path in BOOK:
            (own_book / path).write_text("---\ndraft: true\n---\n\nNothing yet.\n")
        status = await api.ingest()
        assert status["status"] == "failed"
        assert status["progress"]["errors"]
        assert (await api.ask("When does the tide turn?")).json()["citations"]


async def test_status_of_an_unknown_task_is_a_404(ingest_settings: MakeSettings) -> None:
    async with serving(ingest_settings()) as api:
        assert (await api.get("/ingest/status")).status == 404
        await api.ingest()
        answer = await api.get("/ingest/status?task_id=nobody-s")
        assert answer.status == 404
        assert answer.json()["code"] == "NOT_FOUND"
        assert (await api.get("/ingest/status")).status == 200


# --- Authority ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer the-admin-key"},
        {"Authorization": "bearer the-admin-key"},
        {"X-API-Key": "the-admin-key"},
        {"Authorization": "Basic x", "X-API-Key": "the-admin-key"},
    ],
    ids=str,
)
async def test_the_admin_key_opens(ingest_settings: MakeSettings, headers: dict[str, str]) -> None:
    async with serving(ingest_settings()) as api:
        answer = await api.request("POST", "/ingest", headers=headers)
        assert answer.status == 200
        await wait_for_ingestion(api.services.ingestion)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "the-admin-key"},
        {"Authorization": "Basic the-admin-key"},
        {"Authorization": "Bearer the-admin-keyx"},
        {"Authorization": "Bearer the-admin-ke"},
        {"Authorization": "Bearer THE-ADMIN-KEY"},
        {"Authorization": "Bearer clé-ü"},
        {"X-API-Key": READER_KEY},
        {"X-API-Key": ""},
        {"X-API-Key": "ключ"},
    ],
    ids=str,
)
@pytest.mark.parametrize("caller", [REMOTE_CLIENT, LOCAL_CLIENT], ids=["stranger", "machine"])
async def test_without_the_admin_key_nothing_starts(
    api: Api, headers: dict[str, str], caller: tuple[str, int]
) -> None:
    answer = await api.request("POST", "/ingest", headers=headers, caller=caller)
    assert answer.status == 401
    assert answer.json()["code"] == "UNAUTHORIZED"
    assert (await api.get("/ingest/status")).status == 404


PAGE = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
REBOUND = {"Origin": "http://evil.example", "Host": "evil.example"}


@pytest.mark.parametrize("key", ["", "the-admin-key"])
@pytest.mark.parametrize("caller", ["127.0.0.1", "127.8.9.1", "::1", "10.0.0.1", ""])
@pytest.mark.parametrize("headers", [{}, PAGE, REBOUND, {"X-Forwarded-For": "127.0.0.1"}], ids=str)
async def test_no_address_replaces_the_key(
    make_settings: MakeSettings, key: str, caller: str, headers: dict[str, str]
) -> None:
    """Any page can send such requests from this machine, and so can a proxy that runs on it."""
    async with serving(make_settings(admin_api_key=key)) as api:
        for method, path in ADMIN_ROUTES:
            plain = {"Content-Type": "text/plain"} | headers
            answer = await api.request(
                method,
                path,
                caller=(caller, 1),
                headers=plain,
                data=b"PK" if method == "POST" else b"",
            )
            assert answer.status == 401
        health = await api.request("GET", "/health", caller=(caller, 1), headers=headers)
        assert "inside" not in health.json()
        assert api.services.ingestion.latest is None


ADMIN_ROUTES = [
    ("POST", "/ingest"),
    ("DELETE", "/ingest"),
    ("POST", "/ingest/archive"),
    ("GET", "/metrics"),
]


@pytest.mark.parametrize(
    ("method", "path"),
    [*ADMIN_ROUTES, ("GET", "/health"), ("GET", "/search"), ("GET", "/search?q=tide")],
)
async def test_guesses_of_the_admin_key_are_limited(api: Api, method: str, path: str) -> None:
    for number in range(10):
        headers = {"X-API-Key": f"guess-{number}"}
        answer = await api.request(method, path, headers=headers)
        assert answer.status != 429
    for headers in ({"Authorization": "Bearer the-admin-key"}, {"X-API-Key": "guess"}):
        answer = await api.request("DELETE", "/ingest", headers=headers)
        assert answer.status == 429
        assert answer.json()["code"] == "RATE_LIMITED"
        assert 0 < int(answer.headers["Retry-After"]) <= 60
        assert "inside" not in (await api.get("/health", headers=headers)).json()
        limited = await api.get("/search", headers=headers)
        assert limited.headers["RateLimit-Limit"] == "120"
    assert (await api.request("DELETE", "/ingest")).status == 401
    other = await api.as_admin("DELETE", "/ingest", caller=("203.0.113.8", 1))
    assert other.status == 404


async def test_readers_keys_and_requests_without_a_key_are_no_guesses(api: Api) -> None:
    for headers in ({}, {"X-API-Key": READER_KEY}, {"Authorization": "Bearer "}):
        for _ in range(11):
            assert (await api.request("DELETE", "/ingest", headers=headers)).status == 401
    assert (await api.as_admin("DELETE", "/ingest")).status == 404


async def test_guesses_from_one_network_count_together(api: Api) -> None:
    for number in range(10):
        caller = (f"2001:db8:1:{number}::1", 1)
        assert (await api.get("/metrics", headers={"X-API-Key": "g"}, caller=caller)).status == 401
    answer = await api.as_admin("GET", "/metrics", caller=("2001:db8:1:f::1", 1))
    assert answer.status == 429
    assert (await api.as_admin("GET", "/metrics", caller=("2001:db8:2::1", 1))).status == 200


async def test_authority_is_asked_for_before_the_body_is_read(api: Api) -> None:
    answer = await api.request("POST", "/ingest", data=b"{")
    assert answer.status == 401
