import json
from pathlib import Path

import pytest

from benchmarks.support import main

TIDES = """# Tides

## Rhythm

The tide turns every six hours, because the moon draws the water of the sea. It does not turn
at night in the inner harbour. The tide of Quire rises by 4 metres (in spring by 5 metres).

## Lights

The keeper of Langness lights the lamp at 18 and puts it out at sunrise, whatever the weather is.
"""
BELLS = """# Bells

The bell of Carrick is made of bronze and was cast in 1820 by Gaspar, who came from Seville.
It is rung twice for fog, and once for every boat that has not come home before dark.
"""
QUESTIONS = [
    {"question": "How far does the tide rise?", "file": "tides.md", "text": "rises by 4 metres",
     "answer": "4 metres"},
    {"question": "Who cast the bell of Carrick?", "file": "bells.md", "text": "by Gaspar",
     "answer": "Gaspar"},
    {"question": "How deep is the Dead Sea?", "answerable": False},
]  # fmt: skip


def written(folder: Path, *questions: object) -> list[str]:
    (folder / "book").mkdir()
    (folder / "book" / "tides.md").write_text(TIDES)
    (folder / "book" / "bells.md").write_text(BELLS)
    asked = folder / "questions.jsonl"
    asked.write_text("\n".join(map(json.dumps, questions)))
    return [str(folder / "book"), str(asked)]


def test_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    details = tmp_path / "details.jsonl"
    main([*written(tmp_path, *QUESTIONS), "--details", str(details)])
    rows = {line[:16].strip(): line[16:].split() for line in capsys.readouterr().out.splitlines()}
    assert rows["verbatim"][:2] == ["2", "1.000"]
    assert rows["other file"][:2] == ["2", "1.000"]
    assert {"shortened", "negation", "number", "supported, all"} <= rows.keys()
    assert len(details.read_text().splitlines()) == sum(
        int(cells[0]) for row, cells in rows.items() if row.endswith(", all")
    )


def test_no_known_answer(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no question has a known answer"):
        main(written(tmp_path, QUESTIONS[-1]))


def test_bad_questions(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"sea\.md"):
        main(written(tmp_path, {"question": "Where?", "file": "sea.md", "text": "there"}))
