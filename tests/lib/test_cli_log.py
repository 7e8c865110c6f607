"""The commands that read the question log, called through `main.main`."""

import asyncio
import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.question_log import FILE_NAME, LoggedQuestion
from lib.settings import setting_names
from main import main
from tests.logged import asked, passage, write_log

TIDES = passage(heading="Tides > Ebb", url="https://book.example/guide/tides#ebb")
HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202egnp.exe\u2066 \x9b31m\r\n=1+1 flood?"
Write = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the index. Nothing is set but this."""
    for name in setting_names():
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("QDRANT_PATH", str(tmp_path / "index"))
    monkeypatch.setenv("QUESTION_LOG", "30d")
    return tmp_path / "index"


@pytest.fixture
def write(folder: Path) -> Write:
    def to_log(*entries: LoggedQuestion, **votes: str) -> Path:
        return asyncio.run(write_log(folder, *entries, **votes))

    return to_log


@pytest.mark.parametrize("command", [["questions"], ["questions", "--json"], ["gaps"], ["report"]])
@pytest.mark.parametrize("days", ["30d", "off"])
def test_without_a_log(
    command: list[str],
    days: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("QUESTION_LOG", days)
    assert main(command) == 1
    printed = capsys.readouterr()
    assert printed.err == (
        "There is no question log. Set QUESTION_LOG=30d to keep one.\n"
        f"Looked for {folder / FILE_NAME}.\n"
    )
    assert printed.out == ""
    assert not folder.exists()


def test_a_folder_that_cannot_be_entered(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that is too long, because the user root may enter every folder."""
    folder.mkdir()
    closed = folder / ("x" * 300)
    monkeypatch.setenv("QDRANT_PATH", str(closed))
    assert main(["questions"]) == 1
    assert capsys.readouterr().err == f"Cannot read {closed / FILE_NAME}: File name too long.\n"


def test_questions_are_listed_newest_first(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write(
        asked("When is the flood?", days_ago=2),
        asked("Wo ist die Mole?", outcome="refused", language="german", interface="/mcp"),
    )
    assert main(["questions"]) == 0
    first, text, second, _, empty, total = capsys.readouterr().out.splitlines()
    assert first[16:] == "  refused  german  /mcp"
    assert text == "    Wo ist die Mole?"
    assert second[16:] == "  answered  english  /chat"
    assert (empty, total) == ("", "2 of 2 questions.")


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ([], "mole flood old"),
        (["--since", "7d"], "mole flood"),
        (["--until", "7d"], "old"),
        (["--unanswered"], "mole"),
        (["--outcome", "answered"], "flood old"),
        (["--vote", "up"], "flood"),
        (["--language", "german"], "mole"),
        (["--search", "FLO"], "flood"),
        (["--search", "\udcfc"], ""),  # of a terminal whose encoding is not UTF-8
        (["--limit", "1"], "mole"),
    ],
)
def test_filters(
    options: list[str], found: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write(
        asked("old", days_ago=20),
        asked("flood", days_ago=2),
        asked("mole", outcome="refused", language="german"),
        flood="up",
    )
    assert main(["questions", "--json", *options]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert " ".join(row["question"] for row in rows) == found


def test_a_table_for_a_spreadsheet(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write(asked("old"), asked('=1+1,"x"\r\ny'), asked("Ça va ?"))
    assert main(["questions", "--csv", "--limit", "2"]) == 0
    printed = capsys.readouterr().out
    rows = list(csv.DictReader(printed.removeprefix("\ufeff").splitlines()))
    assert [row["question"] for row in rows] == ["Ça va ?", '\'=1+1,"x" y']
    assert rows[0]["outcome"] == "answered"


def test_more_than_a_page(
    write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lib.cli_log._PAGE", 20)
    write(*(asked(f"Question {number}") for number in range(45)))
    assert main(["questions", "--json", "--limit", "43"]) == 0
    rows = [json.loads(line)["question"] for line in capsys.readouterr().out.splitlines()]
    assert rows == [f"Question {number}" for number in range(44, 1, -1)]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["questions", "--since", "yesterday"], "The field since is neither an age"),
        (["questions", "--until", "2026-13-01"], "The field until is neither an age"),
        (["questions", "--limit", "0"], "--limit must be 1 or more."),
        (["gaps", "--since", "x"], "The field since is neither an age"),
        (["gaps", "--limit", "-1"], "--limit must be 1 or more."),
        (["report", "--since", ""], "The field since is neither an age"),
    ],
)
def test_a_wrong_option(
    command: list[str], says: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write(asked("When?"))
    assert main(command) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(says)
    assert printed.out == ""


@pytest.mark.parametrize(
    "command",
    ["questions", "questions --json", "questions --csv", "gaps", "gaps --json", "report"],
)
def test_a_terminal_obeys_no_reader(
    command: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write(
        asked(HOSTILE, outcome="refused", passages=(TIDES,)),
        asked("flood", outcome="declined"),
        asked(f"{HOSTILE}!", outcome="refused"),
    )
    assert main(command.split()) == 0
    printed = capsys.readouterr().out
    assert "gnp.exe" in printed
    assert "flood" in printed
    for char in "\x1b\x07\x9b\u202e\u2066":
        assert char not in printed
    assert printed.count("\r") == (printed.count("\n") if "--csv" in command else 0)
    if command == "questions --json":
        assert json.loads(printed.splitlines()[0])["question"] == f"{HOSTILE}!"


def test_gaps(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write(
        asked("How do I install it on Windows?", outcome="refused", passages=(TIDES,)),
        asked("Wie installiere ich es unter Windows?", outcome="declined", language="german"),
        asked("When is the flood?"),
    )
    assert main(["gaps"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(" 1. ")
    assert "\n    2 questions in 2 conversations: 1 refused, 1 declined\n" in printed
    assert "\n    Nearest: Tides > Ebb  https://book.example/guide/tides#ebb\n" in printed
    assert "flood" not in printed
    assert main(["gaps", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["gaps"][0]["outcomes"]["declined"] == 1


def test_gaps_without_the_embedding_service(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EMBEDDING_PROVIDER", "openai")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    write(asked("Where is the mole?", outcome="refused"))
    assert main(["gaps"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(" 1. Where is the mole?\n")
    assert printed.endswith("\nNot embedded yet, so compared by words only: 1 question.\n")


def test_report_to_a_file(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(asked("When is the flood?"))
    assert main(["report", "--output", str(tmp_path / "report.md")]) == 0
    assert capsys.readouterr().out == ""
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# Reader questions, ")
    assert main(["report"]) == 0
    assert capsys.readouterr().out == text
    assert main(["report", "--output", str(tmp_path / "no/report.md")]) == 1
    assert capsys.readouterr().err.startswith("Cannot write ")


@pytest.mark.parametrize("days", ["off", "1d"])
def test_nothing_expires_in_a_shell_with_other_settings(
    days: str, write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(asked("Where is the mole?", outcome="refused", days_ago=3_000))
    monkeypatch.setenv("QUESTION_LOG", days)
    for _ in range(2):
        assert main(["gaps", "--since", "2010-01-01"]) == 0
        assert main(["questions", "--since", "2010-01-01"]) == 0
        printed = capsys.readouterr()
        assert printed.out.count("Where is the mole?") == 2
        assert printed.err.count("QUESTION_LOG is off here") == (2 if days == "off" else 0)
