"""Which questions ask for the book as a whole."""

import pytest

from lib.about_book import is_about_the_book


@pytest.mark.parametrize(
    "question",
    [
        "What is this book about?",
        "Summarise the book",
        "Give me an overview of the documentation, please.",
        "Which topics does this guide cover?",
        "Tell me about this book",
        "¿De qué trata este libro?",
        "De quoi parle ce livre ?",
        "Worum geht es in diesem Buch?",
        "О чём эта книга?",
        "یہ کتاب کس بارے میں ہے؟",
    ],
)
def test_a_question_for_the_whole_book(question: str) -> None:
    assert is_about_the_book(question)


@pytest.mark.parametrize(
    "question",
    [
        "What does the book say about tides?",
        "What is a mutex?",
        "Tell me about this chapter on sensors",
        "What is this?",
        "Summarise the rules for fenders",
        "Which guide rail holds the door?",
        "How do I build the documentation?",
        "",
    ],
)
def test_a_question_for_something_in_it(question: str) -> None:
    assert not is_about_the_book(question)
