import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.retrieval import by_cosine, main
from lib.embedding import Similarity
from lib.settings import setting_names
from lib.store import Candidates, Hit
from tests.stores import chunk


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in setting_names():
        monkeypatch.delenv(name, raising=False)


def test_meaning_alone_ranks_by_cosine() -> None:
    def hit(number: int, cosine: float) -> Hit:
        return Hit(chunk(number, chunk_id=str(number)), cosine, bm25=9.0)

    found = Candidates([hit(2, 0.2), hit(3, 0.9), hit(1, 0.2)], {})
    ranked = by_cosine(found, Similarity(unrelated=0.1, answering=0.3))
    assert [each.hit.chunk.chunk_id for each in ranked] == ["3", "1", "2"]
    assert ranked[0].total == pytest.approx(4)


QUESTIONS: list[dict[str, Any]] = [
    {
        "question": "How often does the tide turn?",
        "file": "guide/tides.md",
        "text": "The tide turns every six hours and a quarter.",
        "category": "factual",
    },
    {
        "question": "How do I keep the hull from scratches?",
        "spans": [{"file": "guide/mooring.md", "text": "Hang three fenders"}],
        "category": "howto",
    },
    {"question": "Who wrote the symphony in nine parts?", "answerable": False},
]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in QUESTIONS))
    return path


def test_report_of_a_folder(
    book: Path, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "details.jsonl"
    main([str(book), str(questions), "--calibrate", "--details", str(written)])
    printed = capsys.readouterr().out
    rows = [line.split("  ") for line in printed.splitlines()]
    table = {row[0]: [cell.strip() for cell in row[1:] if cell] for row in rows}
    assert table["2 answerable, 1 not"] == ["hybrid", "words alone", "meaning alone"]
    assert table["MRR@10"] == ["+0.000 [+0.00 +0.00]"] * 2
    assert table["factual (1)"] == table["howto (1)"] == ["1.000 [1.00 1.00]"] * 3
    assert table["AUROC"] == ["1.000 [1.00 1.00]"] * 3
    assert "fitted Similarity: unrelated=" in printed
    assert "curve with the model's Similarity: STEEPNESS " in printed
    assert "never found" not in printed
    details = [json.loads(line) for line in written.read_text().splitlines()]
    assert len(details) == 3 * len(QUESTIONS)
    assert details[0]["way"] == "hybrid"
    assert details[0]["ranks"] == [1]
    assert details[0]["passages"][0]["file"] == "guide/tides.md"
    assert details[2]["ranks"] == []


def test_missing_files_are_reported(
    own_book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_book / "later.md").write_text("---\ndraft: true\n---\n\nNot yet.\n")
    path = tmp_path / "questions.jsonl"
    path.write_text('{"question": "When?", "file": "later.md", "text": "Not yet."}')
    main([str(own_book), str(path), "--calibrate"])
    printed = capsys.readouterr().out
    assert "not in the index, so never found: later.md" in printed
    assert "cannot calibrate: no question has an answer in the index" in printed


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["{book}", "{questions}", "--k", "51"], "not a whole number from 1 to 50"),
        (["{book}/none", "{questions}"], "is not a folder"),
        (["{book}", "{questions}", "--details", "{book}/none/x"], "is not a folder"),
        (["{book}", "{questions}", "--model", "none"], "LOCAL_EMBEDDING_MODEL is 'none'"),
        (["{book}", "{book}/index.md"], "line 1: not a question"),
        (["{book}", "{followups}"], "no questions without a history"),
    ],
)
def test_invalid_arguments(
    arguments: list[str],
    expected: str,
    book: Path,
    questions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    followups = tmp_path / "followups.jsonl"
    followups.write_text('{"question": "And then?", "file": "index.md", "history": ["When?"]}')
    paths = {"book": book, "questions": questions, "followups": followups}
    with pytest.raises(SystemExit) as caught:
        main([each.format(**paths) for each in arguments])
    assert expected in f"{caught.value}{capsys.readouterr().err}"
