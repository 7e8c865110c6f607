import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.evaluation import Outcome, Plan, _EvaluatedLink
from lib.evaluation_report import (
    _escape_xml,
    _Report,
    format_json,
    format_junit,
    format_text,
    make_report,
)
from lib.events import ChatAnswer
from lib.golden import GoldPlace, Question
from lib.pricing import Usage
from lib.ranking import Passage

TIDE = Question("When does it turn?", ((GoldPlace("tides.md", 15, 40),),), "fact", "tide")
DEPTH = Question("How deep is it?", ((GoldPlace("depth.md", 0, 9, whole=True),),), "fact", "depth")
UNKNOWN = Question("Who composed the ninth?", (), "not in the book")
PASSAGE = Passage(
    chunk_id="1",
    text="It turns.",
    file_path="tides.md",
    chapter="Tides",
    section="Times",
    heading="Times",
    url="https://book.example/tides#times",
    start_char=15,
    end_char=40,
    score=0.75,
)
ANSWER = ChatAnswer(
    answer="It turns. \x1b[31m",
    citations=[],
    session_id="s",
    response_time=0.1,
    tokens_used=120,
    finish_reason="stop",
    mode="generated",
    usage=Usage(prompt_tokens=100, completion_tokens=20, embedding_tokens=7, cost_usd=0.001),
)
RIGHT = Outcome(
    question=TIDE,
    found=[PASSAGE],
    ranks=(1,),
    links=[_EvaluatedLink(PASSAGE.url, True)],
    answer=ANSWER,
    search_seconds=0.01,
    first_seconds=0.2,
    total_seconds=0.5,
)
NOT_FOUND = replace(RIGHT, question=DEPTH, ranks=(None,), total_seconds=1.5)
BOLD = replace(RIGHT, question=UNKNOWN, ranks=(), links=[])
BROKEN = Outcome(question=TIDE, error="The answer broke off.")


def report(*outcomes: Outcome, thresholds: Mapping[str, float] | None = None) -> _Report:
    plan = Plan(k=3, concurrency=1, answers=True)
    return make_report(outcomes, plan, thresholds or {}, {"embedder": "words"})


def test_the_table() -> None:
    lines = format_text(report(RIGHT, NOT_FOUND, BOLD, thresholds={"hit@5": 0.8})).splitlines()
    assert lines[0] == "2 answerable questions, 1 not, 0 errors"
    rows = {line.split("  ")[0]: line.split() for line in lines}
    assert rows["hit@3"] == ["hit@3", "0.500", "[0.09", "0.91]", "of", "2"]
    assert rows["links"] == ["links", "1.000", "[0.34", "1.00]", "of", "2"]
    assert rows["whole answer"] == ["whole", "answer", "500", "ms", "1400", "ms"]
    assert rows["fact"] == ["fact", "2", "1"]
    assert rows["not in the book"][-2:] == ["1", "0"]
    assert "answers: 3 generated" in lines
    assert "tokens: 300 prompt, 60 completion, 21 embedding" in lines
    assert "cost: about $0.0030, $0.001000 an answer" in lines
    assert "  depth: The first 3 passages do not contain the answer." in lines
    assert "  Who composed the ninth?: Answered, although the book does not answer it." in lines
    assert lines[-1] == "hit@5 is 0.500, below 0.8."


def test_a_price_that_is_not_known_leaves_the_sum_unknown() -> None:
    unknown = msgspec.structs.replace(ANSWER, usage=Usage(prompt_tokens=9, cost_usd=None))
    found = report(RIGHT, replace(RIGHT, answer=unknown))
    assert "cost: not known; see PRICES" in format_text(found)
    assert json.loads(format_json(found))["usage"]["cost_usd"] is None
    assert "US dollars" not in format_junit(found).decode()


def test_a_long_list_of_wrong_ones_is_cut() -> None:
    lines = format_text(report(*[NOT_FOUND] * 25)).splitlines()
    assert sum(line.startswith("  depth:") for line in lines) == 20
    assert lines[-1] == "  ... and 5 more"


@pytest.mark.parametrize(
    ("outcomes", "thresholds", "passed"),
    [
        ([RIGHT, NOT_FOUND], {}, True),
        ([RIGHT, NOT_FOUND], {"hit@5": 0.5, "mrr": 0.5}, True),
        ([RIGHT, NOT_FOUND], {"hit@5": 0.5, "mrr": 0.51}, False),
        ([RIGHT, NOT_FOUND], {"hit@7": 0.6}, False),
        ([RIGHT], {"refusal": 0.0}, False),  # not measured
        ([replace(RIGHT, answer=None)], {"answered": 0.0}, False),
        ([RIGHT, BROKEN], {}, False),
    ],
)
def test_what_passes(outcomes: list[Outcome], thresholds: dict[str, float], passed: bool) -> None:
    assert report(*outcomes, thresholds=thresholds).passed is passed


def test_the_json() -> None:
    whole = json.loads(format_json(report(RIGHT, BROKEN, BOLD, thresholds={"links": 1.0})))
    assert whole["passed"] is False
    assert whole["errors"] == 1
    assert whole["metrics"]["hit@1"]["value"] == 0.5
    assert whole["metrics"]["hit@1"]["n"] == 2
    assert whole["seconds"]["first_words"] == pytest.approx({"p50": 0.2, "p95": 0.2})
    right, broken, bold = whole["questions"]
    assert right["wrong"] == []
    assert right["passages"][0]["url"] == PASSAGE.url
    assert broken["wrong"] == ["The answer broke off."]
    assert broken["answer"] is None
    assert bold["answerable"] is False
    unmeasured = json.loads(format_json(report(BOLD)))["metrics"]["links"]
    assert unmeasured == {"value": None, "low": None, "high": None, "n": 0}


def test_the_junit_xml() -> None:
    suite = ET.fromstring(format_junit(report(RIGHT, NOT_FOUND, BROKEN, BOLD)))[0]
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["4", "2", "1"]
    properties = {each.get("name"): each.get("value") for each in suite.iter("property")}
    assert properties["hit@5"] == "0.3333"
    assert properties["embedder"] == "words"
    assert properties["cost, US dollars"] == "0.003000"
    right, missing, broken, bold = suite.iter("testcase")
    assert (right.get("classname"), right.get("name"), len(right)) == ("fact", "tide", 0)
    assert bold.get("name") == "Who composed the ninth?"
    failure = missing.find("failure")
    assert failure is not None
    assert failure.get("message") == "The first 3 passages do not contain the answer."
    assert failure.text is not None
    assert "Answered in depth.md\n" in failure.text
    assert "1. tides.md: Tides > Times (score 0.75)" in failure.text
    assert "It turns. \\x1b[31m" in failure.text
    error = broken.find("error")
    assert error is not None
    assert error.get("message") == "The answer broke off."


def test_what_cannot_be_judged_is_left_out() -> None:
    searched = [replace(each, answer=None) for each in (RIGHT, BOLD)]
    plan = Plan(k=3, concurrency=1, answers=False)
    found = make_report(searched, plan, {}, {})
    assert "not in the book" not in format_text(found)
    suite = ET.fromstring(format_junit(found))[0]
    assert suite.get("skipped") == "1"
    assert [case.find("skipped") is not None for case in suite.iter("testcase")] == [False, True]


@given(st.text())
def test_any_text_can_be_held_by_xml(text: str) -> None:
    element = ET.Element("e", name=_escape_xml(text))
    element.text = _escape_xml(text)
    read = ET.fromstring(ET.tostring(element, encoding="utf-8"))
    assert read.get("name") == _escape_xml(text)
