from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.passages import Passage
from lib.ranking import Ranked
from lib.retrieval import (
    MAX_CARRIED,
    SAME_PAGE,
    cited_pages,
    merged,
    nearer,
    overlap,
    readings,
)
from lib.sessions import Message
from lib.store import Hit
from tests.passages import passage_at
from tests.stores import chunk


def after(*questions: str) -> list[Message]:
    return [
        message
        for question in questions
        for message in (Message("user", question), Message("assistant", "An answer. [1]"))
    ]


@pytest.mark.parametrize(
    ("before", "question"),
    [
        ("What is a mutex?", "And what must a thread do before it may touch what is inside?"),
        ("What does the Kalman filter do?", "And what variant of it do we use otherwise?"),
        ("What is a PID controller?", "and how is it tuned?"),
        ("What is a PID controller?", "Why?"),
        ("How do I sort a list?", "And in Python?"),
        ("Which filters are there?", "what about the second one?"),
        ("Which filters are there?", "yes, tell me more"),
        ("Which filters are there?", "Tell me more about the first one"),
        ("What is a background task?", "how do I add one?"),
        ("When did the Black Death reach Marseille?", "And England?"),
        ("Which package signs tokens?", "Which package do I need for that?"),
        ("¿Qué es Rc<T>?", "¿Y se puede usar con varios hilos?"),
        ("Was macht opt-level?", "Und was ist der Standardwert?"),
        ("What do topics do?", "Und was ist mit services?"),
        ("Qu'est-ce qu'un jeton ?", "Et comment le signer ?"),
        ("کالمن فلٹر کیا ہے؟", "اور غیر خطی نظاموں کے لیے؟"),
        ("什么是所有权？", "那它怎么移动？"),
        ("所有権とは何ですか？", "それはなぜですか？"),
    ],
)
def test_a_question_that_leans_takes_the_one_before_it_along(before: str, question: str) -> None:
    found = readings(question, after(before))
    assert found[-1] == f"{before} {question}"
    if len(found) == 2:  # a single word may be a subject of its own
        assert found[0] == question


@pytest.mark.parametrize(
    "question",
    [
        "How do I read command line arguments?",
        "What does the compiler assume when Cargo.toml has no edition key?",
        "How many requests a minute may hit the auth endpoints?",
        "Can I lock just one part of a record against edits and leave the rest changeable?",
        "My script mostly sits waiting for a website to answer. What style of coding suits that?",
        "Where is Polonia Warsaw's home venue?",
        "¿Qué edicto abolió el protestantismo en Francia?",
        "1901 में वारसॉ के निवासियों में कितने प्रतिशत कैथोलिक थे?",
        "ما هو المستوى الثاني من التقسيم الإقليمي في بولندا؟",
    ],
)
def test_a_question_that_stands_on_its_own_stays_as_it_is(question: str) -> None:
    assert readings(question, after("What is the Zero Moment Point?")) == (question,)


@pytest.mark.parametrize("question", ["What is shadowing?", "What's the catch?"])
def test_a_short_question_may_be_meant_either_way(question: str) -> None:
    before = "What does opt-level do?"
    assert readings(question, after(before)) == (question, f"{before} {question}")


def test_a_paragraph_leans_on_nothing() -> None:
    question = "And so " + "it is as it is, " * 10 + "or is it?"
    assert readings(question, after("What is a mutex?")) == (question,)


def test_the_subject_is_carried_through_several_exchanges() -> None:
    history = after("What is Rc<T>?", "And can I use it from several threads?")
    assert readings("Why not?", history) == (
        "What is Rc<T>? And can I use it from several threads? Why not?",
    )


def test_what_was_asked_before_a_new_subject_is_forgotten() -> None:
    history = after("What is the Zero Moment Point?", "How long are translation jobs kept on disk?")
    assert readings("And why?", history) == (
        "How long are translation jobs kept on disk? And why?",
    )


def test_both_readings_of_a_short_question_are_carried_on() -> None:
    history = after("What does opt-level do?", "What is shadowing?")
    assert readings("And why?", history) == (
        "What is shadowing? And why?",
        "What does opt-level do? What is shadowing? And why?",
    )


@given(st.text(), st.lists(st.text(max_size=2_000), max_size=4))
def test_readings_end_in_the_question_and_stay_short(question: str, before: list[str]) -> None:
    found = readings(question, after(*before))
    assert 1 <= len(found) <= 2
    assert all(each.endswith(question) for each in found)
    assert all(len(each) <= MAX_CARRIED + 1 + len(question) for each in found)
    assert readings(question, []) == (question,)


def test_a_long_question_is_carried_by_its_words_that_mean_something() -> None:
    before = "I would like to know what it is that the " + "scheduler " * 60 + "does?"
    (found,) = readings("And why?", after(before))
    assert found.startswith("like know scheduler ")
    assert found.endswith("scheduler And why?")


def places(passages: Sequence[Passage]) -> list[int]:
    return [each.start_char for each in passages]


def test_the_first_reading_gives_two_passages_for_one_of_the_second() -> None:
    first = [passage_at("a.md", n, n + 10) for n in (0, 10, 20, 30)]
    second = [passage_at("a.md", n, n + 10) for n in (100, 110, 120)]
    assert places(merged([first, second], 5)) == [0, 10, 100, 20, 30]
    assert places(merged([first], 3)) == [0, 10, 20]
    assert places(merged([[], second], 2)) == [100, 110]


def test_no_text_comes_twice() -> None:
    first, second = (
        [passage_at("a.md", 0, 50)],
        [passage_at("a.md", 40, 90), passage_at("b.md", 0, 50), passage_at("a.md", 50, 90)],
    )
    found = merged([first, second], 5)
    assert [(each.file_path, each.start_char) for each in found] == [
        ("a.md", 0),
        ("b.md", 0),
        ("a.md", 50),
    ]
    assert not any(overlap(a, b) for n, a in enumerate(found) for b in found[:n])


ANSWER = "Drop it. [1](https://b.example/a%20b/#drop) And [see](https://elsewhere.example/) [2]."


def test_pages_are_those_that_the_last_answer_cites() -> None:
    history = [*after("Before?"), Message("user", "How?"), Message("assistant", ANSWER)]
    assert cited_pages(history) == {"https://b.example/a%20b/"}
    assert cited_pages(after("How?")) == frozenset()
    assert cited_pages([]) == frozenset()


def test_hits_on_a_cited_page_move_up() -> None:
    urls = ("https://b.example/c/#x", "https://b.example/a b/#y", None)
    ranked = [Ranked(Hit(chunk(n, url=url), 0.0, 0.0), 1 - n / 20) for n, url in enumerate(urls)]
    found = nearer(ranked, cited_pages([Message("assistant", ANSWER)]))
    assert [each.hit.chunk.url for each in found] == [urls[1], urls[0], urls[2]]
    assert found[0].total == ranked[1].total + SAME_PAGE
    assert nearer(ranked, ()) == ranked
