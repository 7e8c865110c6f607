import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.retrieval import (
    auroc,
    by_cosine,
    fitting,
    judge,
    logistic_curve,
    main,
    overlap,
)
from lib.embedding import Similarity
from lib.golden import Place, Question
from lib.passages import Passage
from lib.settings import setting_names
from lib.store import Found, Hit
from tests.stores import chunk


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in setting_names():
        monkeypatch.delenv(name, raising=False)


def passage(file: str, start: int, end: int, score: float = 0.5) -> Passage:
    return Passage(
        chunk_id=f"{file}:{start}",
        text="x" * (end - start),
        file_path=file,
        chapter="",
        section="",
        heading="",
        url=None,
        start_char=start,
        end_char=end,
        score=score,
    )


def question(*answer: tuple[Place, ...]) -> Question:
    return Question("When does the tide turn?", answer)


# Judging


def test_an_answer_in_two_parts() -> None:
    asked = question(
        (Place("a.md", 0, 10),),
        (Place("b.md", 0, 10), Place("c.md", 50, 60)),
    )
    elsewhere = [passage("d.md", n, n + 10) for n in range(4)]
    found = [passage("x.md", 0, 10), passage("c.md", 40, 60), *elsewhere, passage("a.md", 0, 10)]
    judged = judge(asked, found, budget=79)
    assert judged.ranks == (7, 2)
    assert judged.measures == {
        "recall@5": 0.5,
        "recall@10": 1.0,
        "MRR@10": 0.5,
        "recall in budget": 0.5,
        "IoU@5": 10 / (10 + 20 + 12 + 10),
    }
    assert judge(asked, found, budget=80).measures["recall in budget"] == 1


def test_nothing_is_found_and_nothing_is_asked_for() -> None:
    asked = question((Place("a.md", 0, 10),))
    assert judge(asked, [], 4000).ranks == (None,)
    assert set(judge(asked, [], 4000).measures.values()) == {0.0}
    assert judge(question(), [passage("a.md", 0, 10)], 4000).measures == {}
    late = [passage("x.md", n, n + 9) for n in range(10)] + [passage("a.md", 0, 10)]
    assert judge(asked, late, 4000).measures["MRR@10"] == 0


def test_whole_files_have_no_share_of_characters() -> None:
    asked = question((Place("a.md", 0, 10, whole=True),))
    assert "IoU@5" not in judge(asked, [passage("a.md", 9, 20)], 4000).measures


def test_a_budget_is_for_whole_passages() -> None:
    found = [passage("a.md", 0, 50), passage("a.md", 60, 160), passage("a.md", 200, 201)]
    assert [fitting(found, budget) for budget in (49, 50, 149, 150, 151)] == [0, 1, 1, 2, 3]


def test_characters_are_counted_once() -> None:
    answer = ((Place("a.md", 0, 10),), (Place("a.md", 5, 15),))
    found = [passage("a.md", 0, 10), passage("a.md", 0, 20)]
    assert overlap(answer, found) == 15 / 20


# Statistics


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    found = auroc([0.9, 0.5, 0.5], [0.5, 0.1])
    assert found is not None
    assert found.value == pytest.approx(5 / 6)
    assert found.low < found.value <= found.high <= 1
    assert found == auroc([0.9, 0.5, 0.5], [0.5, 0.1])
    assert auroc([], [0.1]) is None
    assert auroc([0.1], []) is None


def test_the_curve_is_balanced() -> None:
    low, high = [0.1, 0.2, 0.3, 0.6], [0.4, 0.5, 0.7, 0.8, 0.2]
    steepness, middle = logistic_curve(high, low)
    assert steepness > 0
    assert 0.3 < middle < 0.5
    # Ten times as many of one kind change nothing.
    assert logistic_curve(high, low * 10) == pytest.approx((steepness, middle), rel=0.05)
    # Twice the numbers, half the steepness.
    twice = logistic_curve([2 * x for x in high], [2 * x for x in low])
    assert twice == pytest.approx((steepness / 2, middle * 2))


def test_a_curve_between_two_kinds_far_apart_is_finite() -> None:
    steepness, middle = logistic_curve([0.8, 0.9], [0.1, 0.2])
    assert 5 < steepness < 100
    assert middle == pytest.approx(0.5)


def test_meaning_alone_goes_by_cosine() -> None:
    def hit(number: int, cosine: float) -> Hit:
        return Hit(chunk(number, chunk_id=str(number)), cosine, bm25=9.0)

    found = Found([hit(2, 0.2), hit(3, 0.9), hit(1, 0.2)], {})
    ranked = by_cosine(found, Similarity(unrelated=0.1, answering=0.3))
    assert [each.hit.chunk.chunk_id for each in ranked] == ["3", "1", "2"]
    assert ranked[0].total == pytest.approx(4)


# The command

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


def test_from_a_folder_to_a_table(
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
    assert "Similarity by these questions: unrelated=" in printed
    assert "curve with the model's Similarity: STEEPNESS " in printed
    assert "never found" not in printed
    details = [json.loads(line) for line in written.read_text().splitlines()]
    assert len(details) == 3 * len(QUESTIONS)
    assert details[0]["way"] == "hybrid"
    assert details[0]["ranks"] == [1]
    assert details[0]["passages"][0]["file"] == "guide/tides.md"
    assert details[2]["ranks"] == []


def test_what_cannot_be_calibrated_is_said(
    own_book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_book / "later.md").write_text("---\ndraft: true\n---\n\nNot yet.\n")
    path = tmp_path / "questions.jsonl"
    path.write_text('{"question": "When?", "file": "later.md", "text": "Not yet."}')
    main([str(own_book), str(path), "--calibrate"])
    printed = capsys.readouterr().out
    assert "not in the index, and so never found: later.md" in printed
    assert "no calibration: no question has an answer in the index" in printed


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["{book}", "{questions}", "--k", "51"], "no whole number from 1 to 50"),
        (["{book}/none", "{questions}"], "is not a folder"),
        (["{book}", "{questions}", "--details", "{book}/none/x"], "is not a folder"),
        (["{book}", "{questions}", "--model", "none"], "LOCAL_EMBEDDING_MODEL is 'none'"),
        (["{book}", "{book}/index.md"], "line 1: not a question"),
        (["{book}", "{followups}"], "there are no questions without a history"),
    ],
)
def test_a_call_that_cannot_be_answered(
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
