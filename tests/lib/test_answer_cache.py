"""Cache keys, expiry and eviction of cached answers."""

from dataclasses import replace
from typing import Any

import pytest

from lib.answer_cache import AnswerCache, AnswerKey, normalise_question
from lib.citations import Citation, _Source
from lib.events import Cited, Done, TextDelta

KEY = AnswerKey(
    home="",
    question="why tides",
    generation="g",
    model="m",
    prompt="1:",
    k=5,
    context_window=3000,
    page="",
)
END = Done(session_id="s", response_time=1.0, tokens_used=9, finish_reason="stop", mode="generated")
SOURCE = _Source(chapter="Sea", section="", heading="Tides", file_path="sea.md", url=None)
CITED = Cited(
    citation=Citation(marker=1, text="t", source=SOURCE, relevance_score=1.0, chunk_id="c")
)


@pytest.mark.parametrize(
    "written",
    [
        "What is caf\u00e9 X?",
        "what is  cafe\u0301 X",
        " What\u00a0is caf\u00e9 X\uff1f\n",
    ],
)
def test_a_question_is_the_same_however_it_is_written(written: str) -> None:
    assert normalise_question(written) == "what is caf\u00e9 X"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("why tides", "why no tides"),
        ("what is -v", "what is -V"),
        ("x\u00b2", "x2"),
        ("\uff21", "A"),
        ("\u2460", "1"),
        ("what is empty??", "what is empty?"),
        ("what is ?", "what is"),
        ("Vec", "vec"),
        ("what is not!", "what is not"),
        ("stra\u00dfe", "strasse"),
        ("c", "c++"),
    ],
)
def test_questions_that_may_differ_share_no_answer(one: str, other: str) -> None:
    assert normalise_question(one) != normalise_question(other)


@pytest.mark.parametrize(
    "other",
    [
        {"question": "why boats"},
        {"generation": "h"},
        {"model": "n"},
        {"prompt": "1:Be brief."},
        {"k": 4},
        {"context_window": 1000},
        {"page": "sea"},
    ],
)
def test_what_decided_an_answer_tells_it_from_others(other: dict[str, Any]) -> None:
    cache = AnswerCache(2)
    cache.put(KEY, [TextDelta(content="a")], END)
    assert cache.get(replace(KEY, **other)) is None


def test_the_answers_used_longest_ago_and_old_ones_go() -> None:
    now = 0.0
    cache = AnswerCache(2, seconds=10, clock=lambda: now)
    keys = [replace(KEY, question=question) for question in "abc"]
    for key in keys:
        cache.put(key, [TextDelta(content="a")], END)
    assert [cache.get(key) is not None for key in keys] == [False, True, True]
    now = 10.0
    assert cache.get(keys[2]) is None


def test_a_cache_without_room_keeps_nothing() -> None:
    cache = AnswerCache(0)
    cache.put(KEY, [TextDelta(content="a")], END)
    assert cache.get(KEY) is None
