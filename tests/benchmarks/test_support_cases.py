from pathlib import Path

import pytest

from benchmarks.support_cases import Book, is_said, make_cases
from lib.golden import GoldPlace, Question
from tests.tiny_book import write_book

TIDES = """# Tides

The tide turns every six hours, because the moon draws the water of the sea.
It does not turn at night in the inner harbour of the town.
"""
BELLS = "# Bells\n\nThe bell of Carrick is made of bronze and was cast by Gaspar.\n"


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(write_book(tmp_path, {"tides.md": TIDES, "bells.md": BELLS}))


def about(text: str, page: str, file: str) -> Question:
    at = page.index(text)
    return Question("How often does the tide turn?", ((GoldPlace(file, at, at + len(text)),),))


def test_claims_cite_the_passages_around_the_answer(book: Book) -> None:
    questions = [about("every six hours", TIDES, "tides.md"), about("cast by", BELLS, "bells.md")]
    cases = list(make_cases(book, questions, ["every six hours", "Gaspar"]))
    of_tides = [case for case in cases if case.cited[0].file_path == "tides.md"]
    assert {case.cited for case in of_tides} == {tuple(book.passages("tides.md"))}
    (verbatim,) = (case.claim for case in of_tides if case.kind == "verbatim")
    assert verbatim in TIDES
    (foreign,) = (case.claim for case in of_tides if case.kind == "other file")
    assert foreign in BELLS
    (answered,) = (case.claim for case in of_tides if case.kind == "answered")
    assert answered == "the tide turn: every six hours."


@pytest.mark.parametrize(
    "question",
    [
        Question("Who?", ()),
        Question("Who?", ((GoldPlace("tides.md", 0, 9),),), history=("When?",)),
        Question("Who?", ((GoldPlace("tides.md", 0, 9, whole=True),),)),
    ],
)
def test_questions_without_claims(book: Book, question: Question) -> None:
    assert list(make_cases(book, [question], ["six hours"])) == []


def test_statements_of_the_passages_are_recognised() -> None:
    said = frozenset({"tide", "turn", "hour"})
    assert is_said(said, "The tide turns.")
    assert not is_said(said, "The bell of Carrick is made of bronze.")
