import json
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.load import main
from benchmarks.load_clients import AnswerResult
from benchmarks.load_figures import Run, compare_interfaces, summarize
from benchmarks.load_interfaces import HAS_TEXT, find_problem
from benchmarks.upstream import Script, stream
from tests.tiny_book import BOOK, write_book

QUESTIONS = [
    {"question": "When does the tide turn in the harbour?", "file": "guide/tides.md"},
    {"question": "Who won the football world cup in 1998?", "answerable": False},
]
ANSWER = "The tide turns [1]. So it is."


TIMES = ["--embedding", "0.02", "--first-token", "0.05", "--rate", "500", "--tokens", "40"]


@pytest.fixture
def book(tmp_path: Path) -> str:
    asked = "\n".join(map(json.dumps, QUESTIONS))
    return str(write_book(tmp_path / "book", {**BOOK, "questions.jsonl": asked}))


@pytest.mark.processes
def test_a_small_run(book: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([book, "--streams", "2", "--rounds", "1", "--repeat", "1", *TIMES])
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


@pytest.mark.processes
def test_a_small_comparison(book: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["chat", "completions", "ui", "ask", "mcp"]
    small = ["--streams", "2", "--rounds", "1", "--repeat", "1", "--interface", ",".join(names)]
    main([book, *small, *TIMES])
    printed = capsys.readouterr()
    rows = [cells(line) for line in printed.out.splitlines()[4:]]
    assert [row[1] for row in rows] == names
    for _, _, p50, later, _, _, cpu, ratio, whole, wrong_ones in rows:
        assert (whole, wrong_ones) == ("2", "0"), printed.err
        assert float(p50) >= 69
        assert float(later) == pytest.approx(float(p50) - float(rows[0][2]), abs=1.1)
        assert float(ratio) == pytest.approx(float(cpu) / float(rows[0][6]), abs=0.02)


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
    assert find_problem(answered(*lines), ANSWER) == problem


PROGRESS = {"method": "notifications/progress", "params": {"message": ANSWER}}


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ([{"type": "text-delta", "delta": ANSWER}, {"type": "finish"}], ""),
        ([{"type": "text-delta", "delta": ANSWER}], "broken off"),
        ([PROGRESS, {"result": {"isError": False}}], ""),
        ([PROGRESS], "broken off"),
        ([{"result": {"isError": True}}], "error {'result': {'isError': True}}"),
        ([{"error": {"code": 503}}], "error {'error': {'code': 503}}"),
    ],
)
def test_answer_checks_of_other_interfaces(events: list[dict[str, object]], problem: str) -> None:
    lines = [f"data: {json.dumps(event)}\n\n".encode() for event in events]
    assert find_problem(answered(*lines), ANSWER) == problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"{ANSWER}\n\n## Sources\n\n1. [Tides](https://book.example/a)", ""),
        (ANSWER, "broken off"),
        ("No.\n\n## Sources\n", "other words"),
    ],
)
def test_markdown_answers(text: str, problem: str) -> None:
    received = answered(text.encode(), headers=b"content-type: text/markdown; charset=utf-8\r\n")
    assert find_problem(received, ANSWER) == problem


def answered(*pieces: bytes, headers: bytes = b"") -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n" + body + b"0\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b'20\r\ndata: {"type":"chunk","content":"The"}\n\n\r\n',
        b'20\r\ndata: {"choices":[{"delta":{"content":"The"}}]}\n\n\r\n',
        b'20\r\ndata: {"type":"text-delta","id":"1","delta":"The"}\n\n\r\n',
        b'20\r\ndata: {"params":{"message":"The"}}\n\n\r\n',
        b"3\r\nThe\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/markdown\r\n\r\n3\r\nThe\r\n",
    ],
)
def test_reads_with_text(data: bytes) -> None:
    assert HAS_TEXT.search(data)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n8\r\n: ping\n\n\r\n",
        b'20\r\ndata: {"choices":[{"delta":{"content":""}}]}\n\n\r\n',
        b'20\r\ndata: {"type":"start"}\n\n\r\n',
        b"0\r\n\r\n",
    ],
)
def test_reads_without_text(data: bytes) -> None:
    assert not HAS_TEXT.search(data)


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


def test_compared_interfaces() -> None:
    def run(first: float, cpu: float, *problems: str) -> Run:
        good = [AnswerResult(first, [], "")] * 2
        return Run([*good, *(AnswerResult(9.0, [], problem) for problem in problems)], cpu)

    runs = [
        [run(0.25, 0.02), run(0.252, 0.03)],
        [run(0.30, 0.04), run(0.31, 0.04)],
        [run(0.26, 0.02, "other words"), run(0.263, 0.024, "broken off")],
    ]
    chat, mcp = compare_interfaces(1, ["chat", "mcp"], runs, Script(tokens=100))
    assert chat.markdown() == "| 1 | chat | 260 | +0.0 | 260 | +0.0 | 100 | 1.00 | 6 | 1 |"
    assert mcp.markdown() == "| 1 | mcp | 263 | +3.0 | 263 | +3.0 | 150 | 1.20 | 6 | 1 |"
    assert mcp.problems == Counter({"broken off": 1})
