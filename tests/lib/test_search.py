"""Spelling of questions."""

import time

import pytest

from lib.languages import ENGLISH
from lib.ranking import parse_query
from lib.search import _correct_spelling, _edit_distance, _without_unknown_numbers
from lib.store import Candidates, Hit
from lib.terms import term_number, terms
from tests.stores import chunk

BOOK = "The supported generators stack. A quaternion turns vectors between orientations."


def corrected(question: str, text: str = BOOK) -> str:
    rarity = {term_number(term): 1.0 for term in terms(text)}
    found = Candidates([Hit(chunk(0, text=text), 0.5, 1.0)], rarity)
    return _correct_spelling(parse_query(question), found, [ENGLISH])


@pytest.mark.parametrize(
    ("question", "meant"),
    [
        ("whch genertors are suported?", "which generators are supported?"),
        ("quaternian betwen Vectros", "quaternion between vectors"),
        ("Which generator turns?", "Which generator turns?"),  # known by their stems
        ("Who plays football?", "Who plays football?"),
        ("Does Slack work?", "Does Slack work?"),  # a short word with another letter
        ('"the suported ones"', '"the suported ones"'),  # looked for as it is
        ("支持的生成器", "支持的生成器"),
        ("GENERTOR_NAME gen3rtors", "GENERTOR_NAME gen3rtors"),
    ],
)
def test_a_misspelt_word_becomes_the_book_s(question: str, meant: str) -> None:
    assert corrected(question) == meant


def test_the_likelier_slip_decides() -> None:
    assert (
        corrected("What do usesr see?", "Users see. It uses, uses, uses.") == "What do users see?"
    )


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [("tide", "tide", 0), ("tdie", "tide", 1), ("tid", "tide", 1), ("tidal", "tide", 2)],
)
def test_a_swap_is_one_mistake(one: str, other: str, distance: int) -> None:
    assert _edit_distance(one, other) == distance


def test_many_unknown_words_take_little_time() -> None:
    text = " ".join(
        f"w{'abcdefghij'[n % 10] * 9}{'klmnopqrst'[n // 10 % 10] * 9}" for n in range(9_000)
    )
    question = " ".join(f"w{'a' * 8}{letter}{'k' * 8}" for letter in "bcdefghijklmnop")
    began = time.process_time()
    corrected(question, text)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    ("question", "rest"),
    [
        ("How do 3 generators stack, reader 44?", "How do 3 generators stack, reader ?"),
        ("Which generators stack 1,024 vectors in 2.5-7?", "Which generators stack , vectors in ?"),
        ("v2 of the generators", "v2 of the generators"),
        ("44", "44"),
    ],
)
def test_a_number_that_the_book_lacks_is_left_out(question: str, rest: str) -> None:
    known = {term_number(term): 1.0 for term in terms(f"{BOOK} 3")}
    assert _without_unknown_numbers(question, Candidates([], known)) == rest
