"""The opening of a page"""

import time

import pytest

from lib.opening import opening


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("# Tides\n\nThe **tide** turns [twice](a.md) a day. It `ebbs`.\n\nMore.\n",
         "The tide turns twice a day. It ebbs."),
        ("Welcome\n=======\n\nTo\nall of you.\n", "To all of you."),
        ("# Only a title\n", ""),
        ("", ""),
        ("# A\n\n- One\n- Two\n\nThen text.\n", "Then text."),
        ("# A\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nThen text.\n", "Then text."),
        ("# A\n\n```py\nx = 1\n```\n\nThen text.\n", "Then text."),
        ("# A\n\n[![CI](ci.svg)](ci) ![Docs](docs.svg)\n\nThen text.\n", "Then text."),
        ("# A\n\n![A ship](ship.png)\n", "A ship"),
        ("# A\n\nThe book. (All of it.) Its parts:\n\n- One\n", "The book. (All of it.)"),
        ("# A\n\nRun this:\n\n```sh\nmake\n```\n\nIt runs.\n", "It runs."),
        ("# A\n\nA list of all:\n\n- One\n", "A list of all:"),
        ("# A\n\n<div align=center>\n\nShown.\n\n</div>\n", "Shown."),
        ("# 潮\n\n潮汐每天两次。船靠岸。\n", "潮汐每天两次。 船靠岸。"),
        ("The energy is $E = mc^2$ here.\n", "The energy is $E = mc^2$ here."),
    ],
)  # fmt: skip
def test_the_first_paragraph_as_plain_text(markdown: str, expected: str) -> None:
    assert opening(markdown) == expected


def test_a_long_paragraph_is_cut_after_a_sentence_or_a_word() -> None:
    assert opening("One two. Three four. Five six seven.", 20) == "One two. Three four."
    assert opening("One, two, three and four hundred.", 10) == "One, two…"
    assert opening("x" * 500, 300) == "x" * 299 + "…"
    assert len(opening("Some words. " * 100)) <= 300
    assert opening("a" * 300) == "a" * 300


def test_a_large_page_takes_no_longer() -> None:
    began = time.process_time()
    for hostile in ("> " * 500_000, "*a " * 300_000, "[" * 1_000_000, "| a |\n" * 200_000):
        opening(hostile)
    assert time.process_time() - began < 2
