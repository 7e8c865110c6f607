"""GET /admin/report, and the same from a shell beside the running server."""

import os
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from pathlib import Path

import pytest

from lib.settings import setting_names
from tests.api import Api
from tests.logged import asked, passage, write

ROOT = Path(__file__).parents[2]


async def test_a_week_as_markdown(logging: Api) -> None:
    await write(logging, [asked("Where is the mole?", outcome="refused", passages=(passage(),))])
    answer = await logging.as_admin("GET", "/admin/report")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert "\n1. `Where is the mole?`\n" in answer.text
    assert (
        "No questions were asked." in (await logging.as_admin("GET", "/admin/report?since=1h")).text
    )


@pytest.mark.processes
async def test_gaps_are_found_beside_the_running_server(logging: Api) -> None:
    index = logging.services.settings.qdrant_path
    await write(logging, [asked("Where is the mole?", outcome="refused")])
    process = await create_subprocess_exec(
        *(sys.executable, "main.py", "gaps"),
        cwd=ROOT,
        env={**os.environ, **dict.fromkeys(setting_names(), ""), "QDRANT_PATH": str(index)},
        stdout=PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert output.decode().startswith(" 1. Where is the mole?\n")
    await write(logging, [asked("How long is the mole?")])
    assert (await logging.as_admin("GET", "/admin/questions")).json()["total"] == 2
