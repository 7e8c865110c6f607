"""GET /admin/report, and the same from a shell beside the running server."""

import os
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lib.settings import setting_names
from tests.api import Api, serving
from tests.conftest import MakeSettings
from tests.logged import asked, passage

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def logging(make_settings: MakeSettings, own_index: Path) -> AsyncIterator[Api]:
    """The application with a question log."""
    async with serving(make_settings(qdrant_path=own_index, question_log=30)) as running:
        yield running


async def test_a_week_as_markdown(logging: Api) -> None:
    log = logging.services.question_log
    assert log is not None
    log.add(asked("Where is the mole?", outcome="refused", passages=(passage(),)))
    await log.flush()
    answer = await logging.as_admin("GET", "/admin/report")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "\n1. `Where is the mole?`\n" in answer.text
    assert (
        "No questions were asked." in (await logging.as_admin("GET", "/admin/report?since=1h")).text
    )


async def test_it_needs_a_log_the_key_and_a_period(logging: Api, api: Api) -> None:
    answer = await api.as_admin("GET", "/admin/report")
    assert answer.status == 404
    assert answer.json()["error"].startswith("There is no question log.")
    assert (await logging.get("/admin/report")).status == 401
    answer = await logging.as_admin("GET", "/admin/report?since=soon")
    assert answer.status == 400
    assert answer.json()["details"] == {"field": "since"}


@pytest.mark.processes
async def test_gaps_are_found_beside_the_running_server(logging: Api) -> None:
    log, index = logging.services.question_log, logging.services.settings.qdrant_path
    assert log is not None
    log.add(asked("Where is the mole?", outcome="refused"))
    await log.flush()
    process = await create_subprocess_exec(
        *(sys.executable, "main.py", "gaps"),
        cwd=ROOT,
        env={**os.environ, **dict.fromkeys(setting_names(), ""), "QDRANT_PATH": str(index)},
        stdout=PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert output.decode().startswith(" 1. Where is the mole?\n")
    log.add(asked("How long is the mole?"))
    await log.flush()
    assert (await logging.as_admin("GET", "/admin/questions")).json()["total"] == 2
