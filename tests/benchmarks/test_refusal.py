import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.refusal import KEPT, QuestionResult, fit, main
from lib.refusal import AnswerabilitySignals, answerability_margin
from lib.settings import setting_names

PAGE = "# Tides\n\nThe tide turns every six hours.\n\n# Moon\n\nThe moon pulls at the sea.\n"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in setting_names():
        monkeypatch.delenv(name, raising=False)


def asked(
    number: int, answerable: bool, coverage: float, nearest: float, file: str = "q"
) -> QuestionResult:
    return QuestionResult(
        book=f"book{number % 2}",
        file=file,
        model="m",
        question=str(number),
        answerable=answerable,
        score=0.5,
        evidence=AnswerabilitySignals(coverage, 0.9, 5, nearest, 0.2, foreign=False),
        words=AnswerabilitySignals(coverage, 0.9, 5, None, 0.0, foreign=False),
    )


def sample(seed: int = 1) -> list[QuestionResult]:
    """Two hundred questions of each class, overlapping; answerable ones are nearer."""
    random = np.random.default_rng(seed)
    return [
        asked(n, answerable, *(0.5 + 0.25 * answerable + 0.15 * random.normal(size=2)))
        for n in range(400)
        for answerable in [n < 200]
    ]


def test_weights_favour_informative_features() -> None:
    found = fit(sample(), "own")
    assert found is not None
    weights = dict(zip(found.names, found.weights, strict=True))
    assert weights["coverage"] > 1
    assert weights["nearest"] > 1
    assert abs(weights["known"]) < 1e-3  # the same for all


def test_threshold_keeps_its_share_of_every_file() -> None:
    # The small file of hard questions sets the threshold, not the large one.
    hard = [asked(n, True, 0.45 + n / 200, 0.45, "hard") for n in range(20)]
    everything = [*sample(), *hard]
    found = fit(everything, "own")
    assert found is not None
    for file in ("q", "hard"):
        of = [each for each in everything if each.answerable and each.file == file]
        assert np.mean([found.passes(each.evidence) for each in of]) >= KEPT
    others = [each for each in everything if not each.answerable]
    assert np.mean([found.passes(each.evidence) for each in others]) < 0.9


def test_weights_are_optimised_at_the_threshold() -> None:
    # Overall, nearness speaks against an answer; at the threshold it alone speaks for one.
    random = np.random.default_rng(2)
    about = 0.02 * random.normal(size=200)
    easy = [asked(n, True, 0.9, 0.2 + about[n], "easy") for n in range(200)]
    hard = [asked(n, True, 0.1, 0.9 + about[n], "hard") for n in range(40)]
    hopeless = [asked(n, False, 0.1, 1.0 + about[n]) for n in range(200)]
    others = [asked(n, False, 0.3, 0.5 + about[n]) for n in range(100)]
    found = fit([*easy, *hard, *hopeless, *others], "own")
    assert found is not None
    assert not any(found.passes(each.evidence) for each in others)


def test_one_class_alone_cannot_be_fitted() -> None:
    assert fit([each for each in sample() if each.answerable], "own") is None


def test_report_and_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = tmp_path / "book"
    book.mkdir()
    (book / "tides.md").write_text(PAGE)
    own, others, details = tmp_path / "own.jsonl", tmp_path / "others.jsonl", tmp_path / "d.jsonl"
    quote = "every six hours"
    lines = [
        {"question": "When does the tide turn?", "file": "tides.md", "text": quote},
        {"question": "And then?", "file": "tides.md", "text": quote, "history": ["When?"]},
        {"question": "Who painted The Starry Night?", "answerable": False},
    ]
    own.write_text("\n".join(map(json.dumps, lines)))
    others.write_text(json.dumps({"question": "How do I bake sourdough bread?", "file": "x"}))
    main([str(book), str(own), "--elsewhere", str(others), "--details", str(details)])
    printed = capsys.readouterr().out
    assert "own (1, 1)" in printed
    assert "others (elsewhere) (0, 1)" in printed
    rows = [json.loads(line) for line in details.read_text().splitlines()]
    assert [row["answerable"] for row in rows] == [True, False, False]
    assert [answerability_margin(AnswerabilitySignals(**row["evidence"])) >= 0 for row in rows] == [
        True,
        False,
        False,
    ]
    main(["--fit", str(details)])
    assert "own: nearest=" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["no-such-folder", "q.jsonl"]])
def test_missing_folder_is_an_error(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)


def test_invalid_file_is_named(tmp_path: Path) -> None:
    others = tmp_path / "others.jsonl"
    others.write_text("{}")
    with pytest.raises(SystemExit, match=r"others\.jsonl"):
        main([str(tmp_path), "--elsewhere", str(others)])
