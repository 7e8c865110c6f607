import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lib.attribution import (
    _contradicts,
    _normalize_number,
    _read_statement,
    _spell_in_digits,
    check_answer,
    check_answer_in_steps,
)
from lib.ranking import Passage
from tests.passages import extract, make_passage, passage_of_sections

BELL = """## The bell

The bell of the harbour was cast in 1820 and weighs nine tons. It is made of bronze.
It does not ring at night, because the keeper sleeps.

- Ring it twice for fog.

```bash
ring --times 2
```
"""
TIDES = "## Tides\n\nThe tide turns every six hours. The moon causes it.\n"


def passage(text: str, heading: str = "") -> Passage:
    return make_passage(text, "harbour.md", chapter="Harbour", heading=heading)


CITED = {1: passage(BELL, "The bell"), 2: passage(TIDES, "Tides")}


@pytest.mark.parametrize(
    ("claim", "quote"),
    [
        (
            "The harbour’s bell weighs nine tons",
            "The bell of the harbour was cast in 1820 and weighs nine tons.",
        ),
        (
            "Cast in 1820, the bell weighs 9 tons",
            "The bell of the harbour was cast in 1820 and weighs nine tons.",
        ),
        ("The bell is made of bronze", "It is made of bronze."),
        (
            "At night the bell doesn't ring since the keeper sleeps",
            "It does not ring at night, because the keeper sleeps.",
        ),
        ("In fog, ring the bell twice", "Ring it twice for fog."),
        ("Run `ring --times 2`", "ring --times 2"),
    ],
)
def test_what_the_passage_says(claim: str, quote: str) -> None:
    [found] = check_answer(f"{claim} [1].", CITED)
    assert found.supported is True
    assert found.quote == quote


@pytest.mark.parametrize(
    "claim",
    [
        "The tide turns every six hours",
        "The bell of the harbour weighs eight tons",
        "The bell of the harbour was cast in 1920",
        "The bell of Hamburg was cast in 1820 and weighs nine tons",
        "The bell rings at night, because the keeper sleeps",
        "The bell is not made of bronze",
        "The keeper of the bell lives in a small house by the pier",
    ],
)
def test_what_it_does_not_say(claim: str) -> None:
    [found] = check_answer(f"{claim} [1].", CITED)
    assert found.supported is False
    assert found.quote is None


@pytest.mark.parametrize(
    "answer",
    [
        "The moon causes the tide [2].",
        "The moon causes the tide. [2]",
        "The moon causes the tide.[2] Nobody knows more.",
        "The moon [2] causes the tide.",
        "- The moon causes the tide [2](https://x.org/t#tides:~:text=the%20moon).",
        "Look: the tide is high.\n\nThe moon causes the tide. [2](https://x.org/t#tides)",
    ],
)
def test_a_sentence_answers_for_its_own_markers(answer: str) -> None:
    [found] = check_answer(answer, CITED)
    assert "moon" in found.sentence
    assert "[" not in found.sentence
    assert (found.markers, found.supported) == ([2], True)


def test_sentences_come_in_order() -> None:
    found = check_answer("The bell is of bronze [1]. Nobody rows. The moon causes it. [2]", CITED)
    assert [each.markers for each in found] == [[1], [2]]


def test_two_passages_support_together() -> None:
    claim = "The bell is made of bronze, and the moon causes the tide"
    alone, together = check_answer(f"{claim} [1]. {claim} [1][2].", CITED)
    assert (alone.markers, together.markers) == ([1], [1, 2])
    assert alone.score < together.score
    assert together.supported is True
    assert together.quote is not None
    assert "bronze" in together.quote
    assert "moon" in together.quote


@pytest.mark.parametrize(
    "answer",
    [
        "The moon. ",
        "See `tide[2]` here.",
        "The tide \ue007 turns.",
        "```\ntide[2]\n```\n",
        "The tide turns [7].",
    ],
)
def test_what_cites_nothing_is_not_checked(answer: str) -> None:
    assert check_answer(answer, CITED) == []


@pytest.mark.parametrize(
    "claim",
    [
        "Die Flut kommt alle paar Stunden, und das ist für die Fischer sehr wichtig",
        "Приливы происходят несколько раз в сутки",
        "潮は月によって引き起こされます",
        "Yes",
    ],
)
def test_what_words_cannot_tell(claim: str) -> None:
    [found] = check_answer(f"{claim} [2].", CITED)
    assert found.supported is None
    assert found.quote is None


def test_a_book_in_another_language() -> None:
    text = "Die Glocke des Hafens wiegt neun Tonnen und wurde im Jahr 1820 gegossen."
    german = {1: passage(text, "Die Glocke")}
    said, other = check_answer(
        "Die Glocke wiegt neun Tonnen [1]. Die Fischer des Hafens fahren nachts hinaus [1].",
        german,
    )
    assert said.supported is True
    assert other.supported is False


def test_an_extractive_answer_is_supported() -> None:
    passages = list(CITED.values())
    answer = "\n\n".join(
        f"{sentence.text} [{each.number}]"
        for each in extract("What is the bell made of, and what causes the tide?", passages)
        for sentence in each.sentences
    )
    found = check_answer(answer, CITED)
    assert len(found) > 1
    assert all(each.supported for each in found)


@pytest.mark.parametrize("markers", ["[1]", "[1][3]"])
def test_a_passage_without_a_sentence(markers: str) -> None:
    empty = passage("## Tides\n")
    [found] = check_answer(f"The tide turns {markers}.", {1: empty, 3: empty})
    assert found.supported is False


PIECES = [
    "- a [1]\n  ",
    "`\n[1]\n",
    "> [1]\n",
    "|a [1]|b|\n|-|-|\n",
    "a_[1]",
    "a. [1] ",
    "x [1][2]. ",
]


@pytest.mark.parametrize("piece", PIECES)
def test_no_answer_takes_long(piece: str) -> None:
    """In steps, so that other readers do not wait."""
    cited = {1: passage("a b. " * 400), 2: passage("- a\n" * 400)}
    check_answer("a [1][2].", cited)
    steps = check_answer_in_steps(piece * 4_000, cited)
    times = []
    with suppress(StopIteration):
        while True:
            began = time.process_time()
            next(steps)
            times.append(time.process_time() - began)
    assert sorted(times)[-2] < 0.03
    assert sum(times) < 1.5


def test_a_long_answer_is_checked_in_parts() -> None:
    line = "The tide turns twice a day [1]. It is high water then. "
    table = "| Tide |\n|---|\n| The tide turns twice a day [1] |\n\n"
    code = "```\nThe bell [1]\n\n" + "x\n" * 100 + "```\n\n"
    passages = {1: passage("The tide turns twice a day.")}
    found = check_answer(line * 60 + "\n\n" + code + table * 10, passages)
    assert {each.sentence for each in found} == {
        "The tide turns twice a day.",
        "Tide: The tide turns twice a day",
    }
    assert all(each.supported for each in found)


def test_it_takes_milliseconds() -> None:
    sentence = "The {} of the harbour was cast in {} and weighs {} tons, as people say. "
    names = "bell anchor lamp crane mast rudder buoy winch".split()
    cited = {
        n: passage("".join(sentence.format(name, 1800 + i, i) for i in range(16)), name)
        for n, name in enumerate(names, 1)
    }
    answer = " ".join(
        f"{sentence.format(name, 1803, 3)[:-2]} [{n}]." for n, name in enumerate(names, 1)
    )
    check_answer(answer, cited)
    began = time.process_time()
    found = check_answer(answer, cited)
    assert time.process_time() - began < 0.2  # measured: 15 ms; the machine may be busy
    assert [each.supported for each in found] == [True] * len(names)


@given(st.text(), st.text())
def test_no_text_raises(answer: str, text: str) -> None:
    for each in check_answer(f"{answer} [1] {answer}", {1: replace(CITED[1], text=text)}):
        assert 0 <= each.score <= 1
        assert each.markers == [1]
        assert (each.quote is not None) == (each.supported is True)


NOTHING = _read_statement("")


@pytest.mark.parametrize(
    ("claim", "source", "expected"),
    [
        ("It weighs nine tons.", "The bell weighs 9 tons.", False),
        ("It weighs 1000 tons.", "The bell weighs 1,000.0 tons.", False),
        ("It weighs 8 tons.", "The bell weighs 9 tons.", True),
        ("It weighs eight tons.", "The bell weighs nine tons.", True),
        ("There are three rules.", "The rules are: moor, pay, go.", False),
        ("Boats may moor here.", "Boats may not moor here.", True),
        ("Boats may not moor here.", "Boats may moor here.", True),
        ("Boats can’t moor here.", "Boats may not moor here.", False),
        ("Boats not only moor here.", "Boats moor here.", False),
        ("Boats moor here.", "Gulls never sleep, eat or moor on a quay of stone.", False),
        ("The tide rises at night.", "The tide falls at night.", True),
        ("The tide rises and falls.", "The tide falls and rises.", False),
        ("The harbour is locked.", "The harbour is unlocked.", True),
        ("The passage is unsafe.", "The passage is safe.", True),
        ("Boats sail under the bridge.", "Boats sail to the der of it.", False),
        ("The bell rings before noon.", "The bell rings after noon.", True),
    ],
)
def test_what_turns_a_sentence_round(claim: str, source: str, expected: bool) -> None:
    assert (
        _contradicts(_read_statement(claim), [_read_statement(source)], NOTHING, frozenset())
        is expected
    )


def test_a_number_may_stand_in_the_heading() -> None:
    claim = _read_statement("Pier 4 has a bell.")
    assert _contradicts(claim, [_read_statement("The pier has a bell.")], NOTHING, frozenset())
    assert not _contradicts(
        claim, [_read_statement("The pier has a bell.")], _read_statement("Pier 4"), frozenset()
    )


def test_a_number_may_be_part_of_a_name() -> None:
    claim = _read_statement("Pier 4 has a bell.")
    elsewhere = _read_statement("Boats moor at Pier 4 by night.").numbered
    assert not _contradicts(claim, [_read_statement("The pier has a bell.")], NOTHING, elsewhere)


@pytest.mark.parametrize(
    ("digits", "expected"),
    [("1,000", "1000"), ("2.0", "2"), ("2.50", "2.50"), ("3.10.2", "3.10.2"), ("1,5", "1,5")],
)
def test_one_form_of_a_number(digits: str, expected: str) -> None:
    assert _normalize_number(digits) == expected


def test_numbers_in_letters() -> None:
    assert [_spell_in_digits(each) for each in ("six", "sixth", "6")] == ["6", "sixth", "6"]


def test_a_very_long_number_in_brackets_is_no_marker() -> None:
    """Python refuses to convert numbers of more than 4,300 digits."""
    text = f"The bell weighs nine tons [1]. See [{'1' * 5_000}]."
    assert [each.markers for each in check_answer(text, {1: passage(BELL)})] == [[1]]


def test_a_heading_supports_only_what_is_near_it() -> None:
    joined = passage_of_sections(
        "## Fog\n\nRing the bell twice.\n\n## Tides\n\nOne line. Two lines. Three lines.\n\n"
        "## Night\n\nThe keeper sleeps until six.\n"
    )
    claims = ["In the fog, ring the bell twice", "In the fog, the keeper sleeps until six"]
    answer = "".join(f"{claim} [1](https://b.example).\n\n" for claim in claims)
    fog, night = check_answer(answer, {1: joined})
    assert fog.score > night.score
