from dataclasses import replace

import msgspec
import pytest

from lib.attribution import SentenceCheck
from lib.evaluation import Link, Outcome
from lib.evaluation_metrics import failures, metrics
from lib.events import ChatAnswer
from lib.golden import Place, Question
from lib.intervals import Estimate
from lib.turn_end import NOT_IN_BOOK

TIDE = Question("When does the tide turn?", ((Place("tides.md", 15, 40),),))
UNKNOWN = Question("Who composed the ninth symphony?")


def outcome(question: Question, *, rank: int | None = None, reason: str = "stop") -> Outcome:
    given = ChatAnswer(
        answer="It turns.",
        citations=[],
        session_id="s",
        response_time=0.1,
        tokens_used=120,
        finish_reason=reason,
        mode="generated",
    )
    return Outcome(question=question, ranks=(rank,) if question.answer else (), answer=given)


def value(estimate: Estimate | None) -> float:
    assert estimate is not None
    return estimate.value


def test_ranks_make_shares() -> None:
    measured = metrics([outcome(TIDE, rank=nth) for nth in (1, 2, 6, None)], [1, 5, 10])
    values = {name: value(measured[name].estimate) for name in ("hit@1", "hit@5", "hit@10", "mrr")}
    assert values == pytest.approx(
        {"hit@1": 0.25, "hit@5": 0.5, "hit@10": 0.75, "mrr": (1 + 1 / 2 + 1 / 6) / 4}
    )
    assert measured["hit@5"].n == 4


def test_to_refuse_is_right_or_wrong() -> None:
    refused = outcome(UNKNOWN, reason=NOT_IN_BOOK)
    too_shy = outcome(TIDE, rank=1, reason=NOT_IN_BOOK)
    too_bold = outcome(UNKNOWN)
    measured = metrics([refused, too_bold, too_shy, outcome(TIDE, rank=1)], [5])
    assert value(measured["refusal"].estimate) == 0.5
    assert value(measured["answered"].estimate) == 0.5
    assert failures(refused, 5) == []
    assert failures(too_shy, 5) == ["It was refused, though the book answers it."]
    assert failures(too_bold, 5) == ["It was answered, though the book does not."]


def test_sentences_that_nobody_can_judge_are_left_out() -> None:
    told = [
        SentenceCheck(sentence="It turns.", markers=[1], supported=each, score=0.5, quote=None)
        for each in (True, False, True, None)
    ]
    answered = outcome(TIDE, rank=1)
    assert answered.answer is not None
    given = msgspec.structs.replace(answered.answer, check=told)
    support = metrics([replace(answered, answer=given)], [5])["support"]
    assert value(support.estimate) == pytest.approx(2 / 3)
    assert support.n == 3


def test_only_links_that_were_given_can_lead_nowhere() -> None:
    links = [Link("https://a.example", True), Link("https://b.example", False), Link(None, False)]
    measured = metrics([Outcome(question=TIDE, ranks=(1,), links=links)], [5])
    assert value(measured["linked"].estimate) == pytest.approx(2 / 3)
    assert value(measured["links"].estimate) == 0.5
    assert metrics([Outcome(question=TIDE, ranks=(1,))], [5])["links"].estimate is None
