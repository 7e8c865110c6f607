import json
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.load import main
from benchmarks.load_clients import AnswerResult, find_problem
from benchmarks.load_figures import Run, summarize
from benchmarks.upstream import Script, stream
from tests.tiny_book import BOOK, write_book

QUESTIONS = [
    {"question": "When does the tide turn in the harbour?", "file": "guide/tides.md"},
    {"question": "Who won the football world cup in 1998?", "answerable": False},
]
ANSWER = "The tide turns [1]. So it is."


@pytest.mark.processes
def test_a_small_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = "\n".join(map(json.dumps, QUESTIONS))
    book = write_book(tmp_path / "book", {**BOOK, "questions.jsonl": asked})
    times = ["--embedding", "0.02", "--first-token", "0.05", "--rate", "500", "--tokens", "40"]
    main([str(book), "--streams", "2", "--rounds", "1", "--repeat", "1", *times])
    printed = capsys.readouterr()
    summary, _, header, _, row = printed.out.splitlines()
    assert summary.startswith("Questions per client: 1. Clients start over 0.1 s.")
    figures = dict(zip(cells(header), cells(row), strict=False))
    streams, p50, ratio, p95, _, gap, cpu, megabytes, whole, wrong_ones = cells(row)
    assert (streams, whole, wrong_ones) == ("2", "4", "0"), printed.err
    alone, through = map(float, p50.split(" / "))
    # No answer is faster than the script; with two clients none takes ten times as long.
    assert 69 <= alone <= 700
    assert 69 <= through <= 700
    assert float(ratio) == pytest.approx(through / alone, abs=0.02)
    assert all(float(late) >= 69 for late in p95.split(" / "))
    assert 1 <= float(gap) <= 500
    assert 0 < float(cpu) < 10_000
    assert 50 < float(megabytes) < 1_000
    assert len(figures) == len(cells(header)) - 1  # two columns are called "ratio"


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_scripted_answer() -> None:
    script = Script(tokens=300)
    tokens = script.answer()
    assert len(tokens) == 300
    assert "[1]" in "".join(tokens)
    assert "```sh\n" in "".join(tokens)
    pieces = stream(tokens)
    assert len(pieces) == 300
    assert find_problem(b"".join(pieces), "".join(tokens)) == ""
    assert find_problem(b"".join(pieces[:-1]), "".join(tokens)) == "broken off"
    assert find_problem(b"".join([*pieces[:7], *pieces[8:]]), "".join(tokens)) == "other words"


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ([{"type": "chunk", "content": ANSWER}, {"type": "done", "mode": "generated"}], ""),
        ([{"type": "chunk", "content": ANSWER}], "broken off"),
        (
            [
                {"type": "chunk", "content": "The tide turns [1](https://book.example/a#b)."},
                {"type": "citation", "citation": {"marker": 1}},
                {"type": "chunk", "content": " So it is."},
                {"type": "done", "mode": "generated"},
            ],
            "",
        ),
        ([{"type": "chunk", "content": "No."}, {"type": "done", "mode": "none"}], "mode none"),
        ([{"type": "error", "code": "BUSY", "error": "Later."}], "error BUSY"),
    ],
)
def test_answer_checks(events: list[dict[str, object]], problem: str) -> None:
    lines = [f"data: {json.dumps(event)}\n\n".encode() for event in events]
    body = b"".join(b"%x\r\n%s\r\n" % (len(line), line) for line in lines) + b"0\r\n\r\n"
    assert find_problem(b"HTTP/1.1 200 OK\r\n\r\n" + body, ANSWER) == problem


def test_failed_requests() -> None:
    assert find_problem(b"HTTP/1.1 429 Too Many Requests\r\n\r\n{}", ANSWER) == "status 429"
    assert find_problem(b"", ANSWER) == "no answer"


def test_summary_of_runs() -> None:
    def run(first: float, *problems: str, cpu: float = 0.0, megabytes: float = 0.0) -> Run:
        results = [AnswerResult(first, [0.02, 0.04], "") for _ in range(3)]
        return Run(
            [*results, *(AnswerResult(9.0, [], problem) for problem in problems)], cpu, megabytes
        )

    runs = [
        (run(0.2), run(0.3, cpu=0.06, megabytes=100)),
        (run(0.4), run(0.4, "status 500", cpu=0.12, megabytes=120)),
        (run(0.2, "broken off"), run(0.5, cpu=0.18, megabytes=110)),
    ]
    row = summarize(3, runs, Script(tokens=100))
    assert row.upstream == pytest.approx((200, 200))
    assert row.quire == pytest.approx((400, 400))
    assert row.ratios == pytest.approx((1.5, 1.5))  # of pairs, not of medians
    assert row.gap == pytest.approx(40)
    assert row.cpu == pytest.approx(400)  # 0.12 s for 300 tokens
    assert row.megabytes == 120
    assert row.whole == 18
    assert row.problems == Counter({"status 500": 1, "broken off": 1})
    assert row.markdown() == "| 3 | 200 / 400 | 1.50 | 200 / 400 | 1.50 | 40 | 400 | 120 | 18 | 2 |"
