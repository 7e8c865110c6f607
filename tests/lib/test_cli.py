"""The command line, called through `main.main` or as a process."""

import asyncio
import json
import logging
import os
import re
import signal
import sys
import termios
import threading
import xml.etree.ElementTree as ET
from asyncio.subprocess import Process
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import lib.cli
from lib import __version__
from lib.golden import read_questions
from lib.settings import Settings, load_settings, setting_names
from main import main
from tests.api import serving
from tests.static_site import Reply, local_network, page, running_site
from tests.tiny_book import BOOK, SITE, write_book
from tests.upstream import Hang, Upstream, delta

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(own_book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Settings for the tiny book and an empty index, without a model. Others are unset."""
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


@pytest.mark.parametrize("command", ["ask", "eval"])
def test_a_command_that_reads_needs_an_index(
    command: str, environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "golden.jsonl").write_text('{"question": "Tide?", "file": "guide/tides.md"}\n')
    assert main([command, str(tmp_path / "golden.jsonl")]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("The book is not indexed yet. Start an ingestion with `python")
    assert printed.out == ""
    assert not Path(environment["QDRANT_PATH"]).exists()


@pytest.mark.parametrize("command", ["ask", "eval"])
def test_a_command_with_other_settings_reads_the_index_and_says_what_differs(
    command: str,
    golden: str,
    index: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = files_of(index)
    arguments = [command, "When does the tide turn?" if command == "ask" else golden]
    assert main(arguments) == 0
    assert "differs" not in capsys.readouterr().err

    other = write_book(tmp_path / "other", {"guide/tides.md": BOOK["guide/tides.md"]})
    monkeypatch.setenv("BOOK_CONTENT_PATH", str(other))
    monkeypatch.setenv("SITE_URL", "")
    monkeypatch.setenv("CHUNK_TOKENS", "60")
    monkeypatch.setenv("SITE_OPTIONS", '{"docs_route": "/"}')
    monkeypatch.setenv("EMBEDDING_PROVIDER", "openai")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert main(arguments) == 0
    [line] = [line for line in capsys.readouterr().err.splitlines() if "differs" in line]
    assert line.startswith("The index differs from the current settings: ")
    assert line.endswith("`python main.py ingest` would change it.")
    for detail in (
        f"BOOK_CONTENT_PATH ({tmp_path / 'book'}, not {other})",
        "CHUNK_TOKENS (270, not 60)",
        'SITE_OPTIONS ({}, not {"docs_route": "/"})',
        f"SITE_URL ({SITE}, not none)",
        "the embedding model (local/",
        ", not openai/text-embedding-3-small)",
    ):
        assert detail in line
    assert files_of(index) == before


def files_of(folder: Path) -> dict[Path, bytes]:
    """The files of an index, with their content."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_dry_run_changes_nothing(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ingest", "--dry-run"]) == 0
    assert "+ guide/tides.md" in capsys.readouterr().out
    assert not list(Path(environment["QDRANT_PATH"]).rglob("manifest.json"))


HTML = "<html lang=en><main><h1>{0}</h1><p>The text of {0} is here.</p></main></html>"


def test_any_folder_may_be_named_and_stays_published(
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pages = {name: HTML.format(name) for name in ("index.html", "a.html", "404.html")}
    build = write_book(tmp_path / "build", {**pages, "sitemap.xml": "", "a.md": "# A copy\n"})
    monkeypatch.chdir(tmp_path)
    assert main(["ingest", "--dry-run", "build"]) == 0
    printed = capsys.readouterr()
    assert "+ index.html" in printed.out
    assert "404.html: is the page of errors (404)" in printed.err
    assert main(["ingest", "build"]) == 0
    lines = capsys.readouterr().err
    assert "The 3 HTML pages are read, because the folder looks like a built site" in lines
    assert "\nLeft out:\n  404.html: is the page of errors (404)\n" in lines
    assert "Completed: 3 files, 2 chunks" in lines
    assert main(["ask", "What is the text of a.html?"]) == 0
    lines = capsys.readouterr().err
    assert f"the book ({build}, not BOOK_CONTENT_PATH)" in lines

    monkeypatch.setenv("CHUNK_TOKENS", "60")

    async def files_after_restart() -> set[str]:
        async with serving(load_settings(os.environ)) as api:
            await api.services.index_checked.wait()
            await api.services.ingestion.wait()
            return set(await api.services.store.ledger())

    assert asyncio.run(files_after_restart()) == {"index.html", "a.html", "404.html"}
    # a folder in the content folder needs no path to it
    assert main(["ingest", "guide", "--force"]) == 0
    assert "differs" not in capsys.readouterr().err


def test_lines_about_files_go_to_stderr(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    (Path(environment["BOOK_CONTENT_PATH"]) / "bad.md").write_bytes(b"\xff")
    assert main(["ingest"]) == 0
    printed = capsys.readouterr()
    assert "bad.md: " in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ingest", "missing"], "There is no folder missing.\n"),
        (["ask", " "], "or wait if one is running.\n"),
        (["ingest", "https://"], "https://book.example/sitemap.xml.\n"),
    ],
)
def test_an_error_is_one_sentence(
    environment: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert main(arguments) == 1
    assert capsys.readouterr().err.endswith(message)


async def test_a_site_on_the_web_is_ingested(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("lib.crawl._Network", local_network)
    monkeypatch.setattr(lib.cli, "_LOG_SECONDS", 0.0)
    async with running_site() as site:
        paths = [f"/docs/{number}" for number in range(30)]
        site.list(*paths, "/docs/gone")
        site.replies |= {path: page(path) for path in paths}
        command = ["ingest", f"{site.origin}/docs/"]
        assert await asyncio.to_thread(main, [*command, "--dry-run"]) == 0
        assert "+ 29.html\n" in capsys.readouterr().out
        shown, show = threading.Event(), lib.cli._Progress.show

        def spy(bar: Any, done: int, total: int, note: str = "") -> None:
            show(bar, done, total, note)
            if "read from the web" in note:
                shown.set()

        monkeypatch.setattr(lib.cli._Progress, "show", spy)
        site.replies["/docs/29"] = lambda _: page("/docs/29") if shown.wait(10) else Reply()
        assert await asyncio.to_thread(main, command) == 0
        printed = capsys.readouterr().err
        assert re.search(r"Ingesting: \d+/31 pages read from the web\n", printed)
        assert f"\n{site.origin}/docs/gone: does not exist (status 404)\n" in printed
        assert re.search(r"Completed: 30 files, 30 chunks, \d+ embedded, 0 unchanged", printed)
        assert await asyncio.to_thread(main, ["ask", "What is said about /docs/7?"]) == 0
        assert f"{site.origin}/docs/7\n" in capsys.readouterr().out


def test_nothing_inside_the_network_is_read(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ingest", "http://127.0.0.1:9/sitemap.xml"]) == 1
    assert "is inside the server's network, where nothing is read" in capsys.readouterr().err


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


def test_links_come_from_the_build(
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A plugin has moved a page and renamed a heading; two pages are not built."""
    body = f"<h1 id=tides>Tides</h1><p>{BOOK['guide/tides.md'].splitlines()[2]}</p>"
    body += "<h2 id=flow>Currents</h2><p>The current in the entrance runs at three knots.</p>"
    mooring = "<h1>Mooring</h1><p>A boat is moored with two lines and a spring at the quay.</p>"
    mooring += "<h2 id=fenders>Fenders</h2><p>Hang three fenders on the side of the quay.</p>"
    site = write_book(
        tmp_path / "site",
        {
            "sea/tides/index.html": f"<!doctype html><main>{body}</main>",
            "docs/guide/mooring/index.html": f"<!doctype html><main>{mooring}</main>",
        },
    )
    monkeypatch.setenv("SITE_BUILD", str(site))
    assert main(["ingest", "--check-links", str(site)]) == 0
    printed = capsys.readouterr().err
    assert "2 pages, such as guide/odd.md: is not in the built site" in printed
    assert "addresses differ from those that the sources suggest" in printed
    assert main(["ask", "How fast is the current?"]) == 0
    assert f"{SITE}/sea/tides/#flow" in capsys.readouterr().out
    # a build with another id: the page is read again, a page with the same build is not
    page = site / "sea/tides/index.html"
    page.write_text(page.read_text().replace("flow", "stream"))
    assert main(["ingest", "--dry-run"]) == 0
    changed = capsys.readouterr().out
    assert "+ guide/tides.md\n" in changed
    assert "mooring" not in changed
    assert main(["ingest"]) == 0
    assert main(["ask", "How fast is the current?"]) == 0
    assert f"{SITE}/sea/tides/#stream" in capsys.readouterr().out


def test_what_is_not_read_of_the_sources_is_no_problem_with_a_build(
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SITE_GENERATOR", "hugo")
    assert main(["ingest"]) == 0
    assert "hugo: Hugo's addresses are known only from its build" in capsys.readouterr().err
    page = f"<!doctype html><main><h1>Tides</h1><p>{BOOK['guide/tides.md'].splitlines()[2]}</p>"
    monkeypatch.setenv("SITE_BUILD", str(write_book(tmp_path / "site", {"tides/index.html": page})))
    main(["ingest", "--force"])
    assert "Hugo's addresses" not in capsys.readouterr().err


def test_a_build_without_pages_is_an_error(
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SITE_BUILD", str(tmp_path / "none"))
    assert main(["ingest"]) == 1
    assert "is not a folder of HTML" in capsys.readouterr().err


GOLDEN = [
    {"question": "When does the tide turn?", "file": "guide/tides.md", "text": "turns every six"},
    {"question": "How fast is the current?", "file": "guide/tides.md", "heading": "Currents"},
]


@pytest.fixture
def golden(environment: dict[str, str], tmp_path: Path) -> str:
    path = tmp_path / "golden.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in GOLDEN))
    return str(path)


@pytest.fixture
def index(environment: dict[str, str]) -> Path:
    """The index of the tiny book."""
    assert main(["ingest"]) == 0
    return Path(environment["QDRANT_PATH"])


def test_golden_questions_are_measured(
    golden: str, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = ["--json", str(tmp_path / "all.json"), "--junit", str(tmp_path / "all.xml")]
    assert (
        main(["eval", golden, "--fail-under", "hit@5=1", "--fail-under", "links=1", *outputs]) == 0
    )
    printed = capsys.readouterr()
    assert re.search(r"^hit@5 +1\.000 ", printed.out, re.MULTILINE)
    whole = json.loads((tmp_path / "all.json").read_text())
    assert whole["passed"] is True
    assert whole["answers"] == {"extractive": 2}
    assert len(ET.parse(tmp_path / "all.xml").findall("*/testcase")) == 2


def test_a_share_below_the_threshold_fails_the_build(
    golden: str, index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path(golden).open("a") as file:
        file.write('{"question": "When does the tide turn?", "file": "index.md"}\n')
    assert main(["eval", golden, "--no-answers", "--fail-under", "hit@1=0.66"]) == 0
    assert main(["eval", golden, "--no-answers", "--fail-under", "hit@1=0.7"]) == 1
    assert capsys.readouterr().out.endswith("\nhit@1 is 0.667, below 0.7.\n")


def test_links_that_lead_nowhere_fail_the_build(golden: str, index: Path, tmp_path: Path) -> None:
    site = write_book(tmp_path / "site", {"docs/guide/tides/index.html": '<h2 id="currents">'})
    limit = ["--no-answers", "--k", "1", "--fail-under", "links=1"]
    assert main(["eval", golden, *limit, "--check-links", str(site)]) == 0
    (site / "docs/guide/tides/index.html").unlink()
    assert main(["eval", golden, *limit, "--check-links", str(site)]) == 1


@pytest.mark.parametrize("site", ["none.xml", "golden.jsonl"])
def test_a_site_that_cannot_be_read_is_wrong_usage(
    golden: str, index: Path, tmp_path: Path, site: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", golden, "--check-links", str(tmp_path / site)]) == 2
    assert "Cannot check the links against" in capsys.readouterr().err


def test_bad_questions_are_named(golden: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Path(golden).open("a") as file:
        file.write('{"question": "?", "file": "guide/tides.md", "heading": "Storms"}\n{}\n')
    assert main(["eval", golden]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"{golden}, line 3: guide/tides.md does not have the heading 'Storms'"
    assert lines[1].startswith(f"{golden}, line 4: not a question: ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--k", "21"], "not a whole number from 1 to 20"),
        (["--concurrency", "0"], "not a whole number from 1 to 64"),
        (["--fail-under", "hits=0.5"], "is not METRIC=SHARE"),
        (["--fail-under", "hit@21=0.5"], "is not METRIC=SHARE"),
        (["--fail-under", "hit@5"], "is not METRIC=SHARE"),
        (["--fail-under", "mrr=80"], "is not a number from 0 to 1"),
        (["--fail-under", "mrr=0.5.1"], "is not a number from 0 to 1"),
        (["--json", "no/such/folder/x.json"], "is not a file name in an existing folder"),
        (["--junit", "."], "is not a file name in an existing folder"),
    ],
)
def test_wrong_usage_of_eval(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["eval", "questions.jsonl", *arguments])
    assert caught.value.code == 2
    assert expected in capsys.readouterr().err


def test_the_handbook_s_questions_are_about_the_handbook() -> None:
    assert len(read_questions([ROOT / "book_content/questions.jsonl"], ROOT / "book_content")) > 30


async def start(arguments: list[str], stderr: int = asyncio.subprocess.PIPE) -> Process:
    """Run `main.py` with the environment of the test.

    Ctrl-C works in it even if the tests run in the background, where shells turn it off.
    """
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "main.py",
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.processes
@pytest.mark.parametrize("command", ["ingest", "ask", "eval"])
async def test_ctrl_c_ends_a_command_without_a_traceback(
    golden: str, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", upstream.base_url)
    upstream.replies.extend([[delta("The tide "), Hang()]] * 2)
    if command != "ingest":
        assert await (await start(["ingest"])).wait() == 0
    arguments = {"ingest": [], "ask": ["When does the tide turn?"], "eval": [golden]}[command]
    if command == "ingest":
        monkeypatch.setenv("EMBEDDING_PROVIDER", "openai")
        upstream.embedding_gate = asyncio.Event()
    process = await start([command, *arguments])
    try:
        async with asyncio.timeout(60):
            while not (upstream.embedded() if command == "ingest" else upstream.chats()):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), 20)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode == 130, err
    assert b"Traceback" not in err + out
    assert err.endswith(b"Interrupted.\n")


@pytest.mark.processes
async def test_a_progress_bar_is_for_terminals(environment: dict[str, str]) -> None:
    screen, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    process = await start(["ingest"], stderr=terminal)
    os.close(terminal)
    shown = b""
    with suppress(OSError), open(screen, "rb", buffering=0) as file:  # noqa: ASYNC230
        while data := await asyncio.to_thread(file.read, 4096):
            shown += data
    assert await process.wait() == 0
    assert b"Ingesting:" in shown
    assert b"4/4 files" in shown

    process = await start(["ingest", "--force"])
    _, err = await process.communicate()
    assert b"Completed: 4 files" in err
    assert b"\r" not in err
    assert b"Ingesting" not in err


def test_without_a_terminal_progress_is_logged(
    golden: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(lib.cli, "_LOG_SECONDS", 0.0)
    assert main(["ingest", "--force"]) == 0
    assert main(["eval", golden]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert any(re.search(r"INFO quire: Ingesting: .* chunks, .*/4 files$", line) for line in lines)
    assert any(line.endswith("INFO quire: Asking: 2/2 questions") for line in lines)


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"Quire {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["dance"], ["ask"], ["eval"], ["ingest", "a", "b"], ["--port", "1"]]
)
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
        "Quire cannot start: API_PORT is 'eighty'. It must be a whole number from 0 to 65535.\n"
    )


def served(environment: dict[str, str]) -> Settings:
    """The settings that `serve` passes to the server."""
    seen: list[Settings] = []
    assert lib.cli.run(["serve"], environment, seen.append) == 0
    return seen[0]


def test_a_server_without_an_admin_key_makes_one_and_says_where(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = served(environment)
    file = Path(environment["QDRANT_PATH"]) / "admin.key"
    assert file.read_text().strip() == settings.admin_api_key
    log = capsys.readouterr().err
    assert f"The admin key is in {file}." in log
    assert settings.admin_api_key not in log
    logging.getLogger("any").warning("with %s in it", settings.admin_api_key)
    assert "with [redacted] in it" in capsys.readouterr().err
    assert served(environment) == settings
    assert served(environment | {"ADMIN_API_KEY": "mine"}).admin_api_key == "mine"


def test_other_commands_make_no_admin_key(environment: dict[str, str]) -> None:
    assert main(["ingest", "--dry-run"]) == 0
    assert not (Path(environment["QDRANT_PATH"]) / "admin.key").exists()


def test_without_a_disk_there_is_no_admin_key(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    settings = served(environment | {"QDRANT_PATH": str(tmp_path / "file")})
    assert settings.admin_api_key == ""
    assert "File exists. Set ADMIN_API_KEY to ingest over HTTP." in capsys.readouterr().err
