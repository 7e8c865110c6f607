"""GET /metrics"""

import logging

import pytest

from tests.api import ADMIN_KEY, LOCAL_CLIENT, READER_KEY, REMOTE_CLIENT, Api, serving
from tests.conftest import MakeSettings
from tests.tiny_book import SITE
from tests.upstream import Status, Upstream

ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}


async def figures(api: Api) -> dict[str, float]:
    text = (await api.get("/metrics", headers=ADMIN)).text
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


async def test_the_author_may_read(api: Api) -> None:
    answer = await api.get("/metrics", headers=ADMIN)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "process_resident_memory_bytes" in answer.text


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-API-Key": READER_KEY}, {"X-Forwarded-For": "127.0.0.1"}, {"Origin": SITE}],
    ids=str,
)
async def test_nobody_else_may(api: Api, headers: dict[str, str]) -> None:
    for caller in (LOCAL_CLIENT, REMOTE_CLIENT):
        assert (await api.get("/metrics", headers=headers, caller=caller)).status == 401


async def test_unless_the_author_wants_it(make_settings: MakeSettings) -> None:
    async with serving(make_settings(metrics_public=True)) as api:
        assert (await api.get("/metrics")).status == 200


async def test_requests_are_counted_by_rule(generating: Api, upstream: Upstream) -> None:
    await generating.ask("When does the tide turn?", stream=True)
    await generating.ask("")
    await generating.get("/a-secret-path")
    await generating.get("/chat")
    await generating.get("/assets/0/none.js")
    told = await figures(generating)
    for name, value in {
        'quire_requests_total{method="POST",route="/chat",status="200"}': 1,
        'quire_requests_total{method="POST",route="/chat",status="400"}': 1,
        'quire_requests_total{method="GET",route="other",status="404"}': 1,
        'quire_requests_total{method="GET",route="other",status="405"}': 1,
        'quire_requests_total{method="GET",route="/assets/<digest>/<name>",status="404"}': 1,
        'quire_failures_total{code="INVALID_REQUEST"}': 1,
        'quire_chat_first_token_seconds_count{mode="generated"}': 1,
        'quire_tokens_total{kind="completion"}': 20,
        "quire_open_streams": 0,
        "quire_ingest_running": 0,
        "quire_loop_lag_seconds": told["quire_loop_lag_seconds"],
    }.items():
        assert told[name] == value, name
    assert told["quire_tasks"] >= 1
    assert "secret" not in str(told)


async def test_what_a_failing_model_does_is_told(generating: Api, upstream: Upstream) -> None:
    upstream.replies.extend([Status(500)] * 5)
    for n in range(6):
        await generating.ask(f"When does the tide turn{'?' * n}", session_id=f"s{n}")
    told = await figures(generating)
    assert told['quire_upstream_errors{service="model"}'] == 5
    assert told['quire_upstream_away{service="model"}'] == 1
    assert told['quire_upstream_away{service="store"}'] == 0
    assert told["quire_answers_running"] == 0
    assert told["quire_budget_tokens"] == 0
    assert told['quire_chat_seconds_count{mode="extractive"}'] == 6


async def test_an_ingestion_is_told(make_settings: MakeSettings, own_index: object) -> None:
    async with serving(make_settings(qdrant_path=own_index)) as api:
        await api.ingest(force_reindex=True)
        told = await figures(api)
    assert told["quire_ingest_running"] == told["quire_ingest_failed"] == 0
    assert told["quire_ingest_chunks"] >= 4
    assert told["quire_ingest_chunks_embedded"] >= 4
    assert told["quire_ingest_seconds"] > 0


async def test_the_log_tells_how_it_was_answered(
    generating: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "access")
    await generating.ask("When does the tide turn?", session_id="zanzibar", stream=True)
    await generating.get("/zanzibar?q=zanzibar")
    await generating.get("/search?q=zanzibar")
    lines = [each.getMessage() for each in caplog.records if each.name == "access"]
    told = [line for line in lines if "/openapi.json" not in line]
    assert [" ".join(line.split()[:3]) for line in told] == [
        "POST /chat 200",
        "GET other 404",
        "GET /search 200",
    ]
    assert " generated " in told[0]
    assert " first 0." in told[0]
    assert " 120 tokens " in told[0]
    assert "zanzibar" not in "".join(told)
    assert "203.0.113" not in "".join(told)
    assert len({line.rpartition("reader=")[2] for line in told}) == 1


async def test_the_holder_of_a_key_is_logged_by_name(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "access")
    await api.ask("tide", headers=ADMIN)
    await api.ask("tide", headers={"X-API-Key": READER_KEY})
    lines = [each.getMessage() for each in caplog.records if each.name == "access"]
    assert lines[0].endswith(" reader=admin")
    assert " reader=key:" in lines[1]
    assert READER_KEY not in lines[1]


async def test_every_line_of_a_request_has_its_id(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also that of an unexpected exception."""
    from lib.logs import _JsonFormatter

    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(_JsonFormatter(str).format(record))

    monkeypatch.setattr(api.services.store, "manifest", None)
    logging.root.addHandler(kept := Kept())
    try:
        answer = await api.ask("tide", headers={"X-Request-Id": "an-id"})
    finally:
        logging.root.removeHandler(kept)
    assert (answer.status, answer.headers["X-Request-Id"]) == (500, "an-id")
    assert [line for line in lines if "TypeError" in line and '"id":"an-id"' in line]
