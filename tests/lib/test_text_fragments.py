from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.text_fragments import Markable, last_sentence, text_directive, with_directive
from tests.lib.test_citations import passage

TIDES = """## Tides

The tide turns every six hours and a quarter at the old stone quay. Spring tides are higher. It
depends on the moon-phase, too.

| Port | Height |
|---|---|
| Hull | six metres |
"""


@pytest.mark.parametrize(
    ("said", "directive"),
    [
        (
            "At the quay the tide turns every six hours and a quarter",
            "text=The%20tide%20turns%20every,the%20old%20stone%20quay",
        ),
        ("Yes. Spring tides are higher than others ", "text=Spring%20tides%20are%20higher"),
        (
            "It depends on the phase of the moon.",
            "text=It%20depends%20on%20the%20moon%2Dphase%2C%20too",
        ),
        ("Boats need fenders.", ""),
        ("", ""),
        ("[1](https://b.example/a)", ""),
    ],
)
def test_the_sentence_that_says_the_same_is_marked(said: str, directive: str) -> None:
    assert Markable(passage(1, text=TIDES)).directive(said) == directive


def test_nothing_is_marked_where_two_sentences_say_it() -> None:
    text = "Spring tides are higher in summer. Spring tides are higher in winter."
    assert Markable(passage(1, text=text)).directive("Spring tides are higher") == ""


@pytest.mark.parametrize(
    "sentence", ["The `tide` turns early.", "It's the tide.", "So -- the tide.", "Tide turns"]
)
def test_a_sentence_that_a_page_may_show_otherwise_is_not_named(sentence: str) -> None:
    assert text_directive(sentence.replace("`", ""), sentence) == ""


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_directive_is_one_piece_of_an_address(text: str) -> None:
    directive = text_directive(text, " ".join(text.split()))
    if directive:
        named = directive.removeprefix("text=").split(",")
        assert all(unquote(each) in " ".join(text.split()) for each in named)
        assert not set(directive.removeprefix("text=")) & set(" ()<>&-#\"'")


@pytest.mark.parametrize(
    ("url", "marked"),
    [
        ("https://b.example/a#h", "https://b.example/a#h:~:text=x"),
        ("https://b.example/a", "https://b.example/a#:~:text=x"),
        ("https://b.example/#/a?id=h", "https://b.example/#/a?id=h"),
    ],
)
def test_where_the_directive_stands(url: str, marked: str) -> None:
    assert with_directive(url, "text=x") == marked
    assert with_directive(url, "") == url


@pytest.mark.parametrize(
    ("said", "last"),
    [
        ("One. Two three ", "Two three"),
        ("One. Two. ", "Two."),
        ("One [1](https://b.example). Two [2]", "Two"),
        ("第一。第二", "第二"),
    ],
)
def test_last_sentence(said: str, last: str) -> None:
    assert last_sentence(said).strip() == last
