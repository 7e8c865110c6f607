"""GET /admin and GET /admin/status"""

import re
from pathlib import Path

import pytest

from lib import __version__
from tests.api import ADMIN_KEY, Api, serving
from tests.conftest import MakeSettings
from tests.tiny_book import BOOK


async def test_the_page_holds_no_data_and_runs_only_its_own_script(api: Api) -> None:
    answer = await api.get("/admin")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["X-Robots-Tag"] == "noindex"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    policy = dict(
        each.strip().partition(" ")[::2]
        for each in answer.headers["Content-Security-Policy"].split(";")
    )
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }
    assert not re.search(r"<script>|<style|\s(on\w+|style)=", answer.text)
    assert ADMIN_KEY not in answer.text
    # The same for everyone: the key changes nothing.
    assert (await api.as_admin("GET", "/admin")).content == answer.content


async def test_what_the_page_needs_is_relative_and_there(api: Api) -> None:
    """Quire may be served under a path."""
    html = (await api.get("/admin")).text
    needed = re.findall(r'(?:href|src)="([^"]+)"', html)
    assert [each.rpartition("/")[2] for each in needed] == ["page.css", "admin.css", "admin.js"]
    for each in needed:
        assert each.startswith("assets/")
        assert (await api.get(f"/{each}")).status == 200


async def test_a_slash_at_the_end_leads_to_the_page(api: Api) -> None:
    answer = await api.get("/admin/")
    assert (answer.status, answer.headers["Location"]) == (308, "../admin")


def logs_in(folder: Path) -> list[Path]:
    return list(folder.rglob("questions*"))


@pytest.mark.parametrize("key", ["", "wrong", ADMIN_KEY.upper()])
async def test_the_state_needs_the_key(api: Api, key: str) -> None:
    headers = {"X-API-Key": key} if key else {}
    answer = await api.get("/admin/status", headers=headers)
    assert answer.status == 401
    assert set(answer.json()) == {"error", "code", "details"}
    sentence = "This is not the admin key." if key else "The admin key is required"
    assert answer.json()["error"].startswith(sentence)


async def test_without_an_admin_key_nobody_sees_the_state(make_settings: MakeSettings) -> None:
    async with serving(make_settings(admin_api_key="")) as api:
        for headers in ({}, {"X-API-Key": "guess"}):
            answer = await api.get("/admin/status", headers=headers)
            assert answer.status == 401
            assert "Set ADMIN_API_KEY" in answer.json()["error"]


async def test_the_log_is_off_by_default_and_the_state_says_how_to_enable_it(
    make_settings: MakeSettings, own_index: Path
) -> None:
    async with serving(make_settings(qdrant_path=own_index)) as api:
        await api.ask()
        answer = await api.as_admin("GET", "/admin/status")
        assert answer.headers["Cache-Control"] == "no-store"
        log = answer.json()["log"]
        assert (log["enabled"], log["questions"]) == (False, 0)
        assert "QUESTION_LOG=30d" in log["hint"]
    assert not logs_in(own_index)


async def test_the_state_of_all_parts(make_settings: MakeSettings, own_index: Path) -> None:
    async with serving(make_settings(qdrant_path=own_index, question_log=30)) as api:
        state = (await api.as_admin("GET", "/admin/status")).json()
        assert state["log"]["enabled"] is True
        assert (state["log"]["questions"], state["log"]["oldest"]) == (0, None)
        await api.ask()
        assert api.services.question_log
        await api.services.question_log.flush()
        state = (await api.as_admin("GET", "/admin/status")).json()
        assert state["version"] == __version__
        assert state["uptime_seconds"] >= 0
        assert state["index"]["files"] == len(BOOK)
        assert state["index"]["origin"] == ""
        assert state["ingestion"] is None
        assert state["budget"]["tokens_limit"] is None
        log = state["log"]
        assert (log["enabled"], log["days"], log["hint"]) == (True, 30, "")
        assert (log["questions"], log["lost"], log["problem"]) == (1, 0, None)
        assert logs_in(own_index)
        assert log["bytes"] > 0
        assert log["oldest"] > "2020"
        ended = await api.ingest()
        state = (await api.as_admin("GET", "/admin/status")).json()
        assert state["ingestion"] == ended


async def test_the_state_without_an_index(make_settings: MakeSettings, tmp_path: Path) -> None:
    own = {"book_content_path": tmp_path / "none", "qdrant_path": tmp_path / "index"}
    async with serving(make_settings(**own)) as api:
        state = (await api.as_admin("GET", "/admin/status")).json()
        assert (state["index"], state["ingestion"]) == (None, None)
        assert state["problem"]
