import pytest

from lib.contradictions import contradicts, in_digits, number, told

NOTHING = told("")


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
    assert contradicts(told(claim), [told(source)], NOTHING, frozenset()) is expected


def test_a_number_may_stand_in_the_heading() -> None:
    claim = told("Pier 4 has a bell.")
    assert contradicts(claim, [told("The pier has a bell.")], NOTHING, frozenset())
    assert not contradicts(claim, [told("The pier has a bell.")], told("Pier 4"), frozenset())


def test_a_number_may_be_part_of_a_name() -> None:
    claim = told("Pier 4 has a bell.")
    elsewhere = told("Boats moor at Pier 4 by night.").numbered
    assert not contradicts(claim, [told("The pier has a bell.")], NOTHING, elsewhere)


@pytest.mark.parametrize(
    ("digits", "expected"),
    [("1,000", "1000"), ("2.0", "2"), ("2.50", "2.50"), ("3.10.2", "3.10.2"), ("1,5", "1,5")],
)
def test_one_form_of_a_number(digits: str, expected: str) -> None:
    assert number(digits) == expected


def test_numbers_in_letters() -> None:
    assert [in_digits(each) for each in ("six", "sixth", "6")] == ["6", "sixth", "6"]
