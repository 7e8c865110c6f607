"""A small run of the benchmark of the question log."""

import json
from pathlib import Path

import pytest

from benchmarks.question_log import Book, main, make_entries
from tests.logged import passage
from tests.tiny_book import BOOK, write_book

QUESTIONS = [
    {"question": "When does the tide turn in the harbour?", "file": "guide/tides.md"},
    {"question": "Who won the football world cup in 1998?", "answerable": False},
]
TIMES = ["--embedding", "0.02", "--first-token", "0.05", "--rate", "500", "--tokens", "40"]


@pytest.mark.processes
def test_a_small_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = "\n".join(map(json.dumps, QUESTIONS))
    book = write_book(tmp_path / "book", {**BOOK, "questions.jsonl": asked})
    small = ["--entries", "300", "--readers", "2", "--rounds", "1", "--repeat", "1"]
    main([str(book), *small, *TIMES])
    printed = capsys.readouterr().out
    written, size, _, *table = printed.splitlines()
    assert written.startswith("300 entries written in ")
    assert written.endswith(" Lost: 0.")
    assert 200 < int(size.rpartition("MB, ")[2].split()[0].replace(",", "")) < 5_000
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in table if " | " in line}
    for name in ("questions", "activity, 30 days", "pages, 30 days", "export, CSV"):
        _, cpu, alone, busy, kilobytes = rows[name].strip("| ").split(" | ")
        assert 0 <= int(cpu) < 10_000
        for spread in (alone, busy):
            median, most = map(int, spread.split(" / "))
            assert 0 <= median <= most < 10_000
        assert int(kilobytes) > 0
    assert not [line for line in rows.values() if "status" in line.rpartition("|")[0][10:]]
    for name in ("without the author", "with the author"):
        first, _, whole, wrong = rows[name].strip("| ").split(" | ")[1:]
        assert all(float(each) >= 69 for each in first.split(" / "))
        assert (whole, wrong) == ("2", "0")


def test_entries_are_the_same_in_each_run_and_complete() -> None:
    book = Book([passage(), passage("guide/odd.md")], "openai/model", 8)
    entries = [*make_entries(book, 60)]
    again = [*make_entries(book, 60)]
    assert [each.question for each in entries] == [each.question for each in again]
    assert len({each.answer for each in entries}) == 60
    assert len([each for each in entries if each.vector]) == 20
    assert {each.outcome for each in entries} >= {"answered", "refused", "declined"}
    for each in entries:
        assert any(place.cited for place in each.passages) == (each.outcome == "answered")
