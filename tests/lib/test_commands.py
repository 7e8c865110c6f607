"""The command line, from `main.main` down."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from lib.settings import setting_names
from main import main
from tests.conftest import SITE, write_book

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(own_book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Of a fresh index for the tiny book, without a model; what the machine has set is left out."""
    variables = dict.fromkeys(setting_names(), "") | {
        "BOOK_CONTENT_PATH": str(own_book),
        "QDRANT_PATH": str(tmp_path / "fresh"),
        "SITE_URL": SITE,
        "SITE_GENERATOR": "docusaurus",
        "LOG_LEVEL": "INFO",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


def test_ingest_and_ask(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ingest"]) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.search(r"Completed: 4 files, \d+ chunks, \d+ embedded, 0 unchanged", printed.err)

    assert main(["ask", "When does the tide turn?"]) == 0
    printed = capsys.readouterr()
    assert "The tide turns every six hours and a quarter." in printed.out
    assert "\nSources\n  [1] " in printed.out
    assert f"{SITE}/docs/guide/tides" in printed.out


def test_asking_first_ingests(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", "When does the tide turn?"]) == 0
    printed = capsys.readouterr()
    assert "The tide turns every six hours" in printed.out
    assert "Ingesting" in printed.err
    assert "Ingesting" not in printed.out


def test_a_dry_run_changes_nothing(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ingest", "--dry-run"]) == 0
    assert "+ guide/tides.md" in capsys.readouterr().out
    assert not list(Path(environment["QDRANT_PATH"]).rglob("manifest.json"))


def test_lines_about_files_go_to_stderr(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    (Path(environment["BOOK_CONTENT_PATH"]) / "bad.md").write_bytes(b"\xff")
    assert main(["ingest"]) == 0
    printed = capsys.readouterr()
    assert "bad.md: " in printed.err
    assert printed.out == ""


@pytest.mark.parametrize("arguments", [["ingest", "../.."], ["ingest", "missing"], ["ask", " "]])
def test_what_cannot_be_done_is_said_in_a_sentence(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert "The field " in printed.err
    assert "Traceback" not in printed.err


def test_links_are_checked(
    environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = write_book(
        tmp_path / "site",
        {"index.html": "<html>", "docs/guide/tides/index.html": '<h2 id="currents">'},
    )
    assert main(["ingest", "--check-links", str(site)]) == 1
    printed = capsys.readouterr().err
    assert f"{SITE}/docs/guide/mooring" in printed
    assert f"{SITE}/docs/guide/tides#currents" not in printed


@pytest.mark.parametrize("arguments", [["dance"], ["ask"], ["ingest", "a", "b"], ["--port", "1"]])
def test_wrong_usage_is_a_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_wrong_setting_stops_the_start(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("API_PORT", "eighty")
    assert main(["ask", "tide?"]) == 2
    assert capsys.readouterr().err == (
        "Quire cannot start: API_PORT is 'eighty', but must be a whole number from 0 to 65535.\n"
    )


def test_the_server_starts_answers_and_ends_in_the_midst_of_a_stream(
    environment: dict[str, str], own_index: Path
) -> None:
    """A stream that is open must not hold a server that was told to stop."""
    environment |= {"API_HOST": "127.0.0.1", "API_PORT": "0", "QDRANT_PATH": str(own_index)}
    with Silent() as model:
        environment["OPENAI_BASE_URL"] = model.address
        with subprocess.Popen(
            [sys.executable, "main.py"],
            cwd=ROOT,
            env={**os.environ, **environment},
            stderr=subprocess.PIPE,
            text=True,
        ) as server:
            try:
                assert server.stderr is not None
                port = 0
                for line in server.stderr:
                    if found := re.search(r"Running on http://127\.0\.0\.1:(\d+)", line):
                        port = int(found[1])
                        break
                assert port
                address = f"http://127.0.0.1:{port}"
                with urllib.request.urlopen(f"{address}/", timeout=20) as page:
                    assert page.status == 200
                request = urllib.request.Request(
                    f"{address}/chat",
                    b'{"question": "tide?"}',
                    {"Content-Type": "application/json"},
                )
                with urllib.request.urlopen(request, timeout=20) as stream:
                    assert stream.readline() == b": ping\n"
                    server.send_signal(signal.SIGTERM)
                    server.communicate(timeout=20)
                assert server.returncode == 0
            finally:
                server.kill()


class Silent:
    """A language model that takes requests and never answers."""

    def __enter__(self) -> "Silent":
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
