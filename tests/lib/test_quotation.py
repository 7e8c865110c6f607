"""What an extractive answer looks like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lib.citations import Citation, Citations
from lib.extractive import Extract
from lib.passages import Passage
from lib.quotation import plain, quoted
from lib.sentences import Sentence

PASSAGES = [
    Passage(
        chunk_id=name,
        text=name,
        file_path="a.md",
        chapter="",
        section="",
        heading="",
        url=None,
        start_char=0,
        end_char=1,
        score=0.5,
    )
    for name in "ab"
]


def text_of(*extracts: Extract) -> str:
    pieces = quoted(extracts, Citations(PASSAGES))
    return "".join(piece for piece in pieces if isinstance(piece, str))


def test_sentences_of_a_paragraph_stand_together_and_others_apart() -> None:
    sentences = (Sentence("One.", block=0), Sentence("Two.", block=0), Sentence("Three.", block=1))
    assert text_of(Extract(1, sentences)) == "One. [1] Two. [1]\n\nThree. [1]\n\n"


def test_items_are_a_list() -> None:
    sentences = (
        Sentence("Two lines:", block=0),
        Sentence("A bow line.", block=1, listed=True),
        Sentence("It is long.", block=1, listed=True),
        Sentence("A stern line.", block=2, listed=True),
    )
    assert text_of(Extract(1, sentences)) == (
        "Two lines: [1]\n\n- A bow line. [1] It is long. [1]\n- A stern line. [1]\n\n"
    )


def test_code_follows_its_sentence_whole() -> None:
    code = "```sh\nmake\n```"
    sentences = (Sentence("Run it.", code), Sentence("Then wait.", block=1))
    assert text_of(Extract(1, sentences)) == f"Run it. [1]\n\n{code}\n\nThen wait. [1]\n\n"


def test_code_that_nothing_announces_has_its_marker_below() -> None:
    code = "```sh\nmake\n```"
    assert text_of(Extract(1, (Sentence("", code),))) == f"{code}\n\n[1]\n\n"


def test_a_source_is_cited_after_its_first_marker_once() -> None:
    extracts = (Extract(2, (Sentence("One."), Sentence("Two."))), Extract(1, (Sentence("Three."),)))
    pieces = list(quoted(extracts, Citations(PASSAGES)))
    cited = [piece for piece in pieces if isinstance(piece, Citation)]
    assert [(each.marker, each.chunk_id) for each in cited] == [(1, "b"), (2, "a")]
    assert pieces.index(cited[0]) == pieces.index("One. [1]") + 1


@pytest.mark.parametrize("text", ["Vec<T> and *args", "a[0] `x` __init__ _x_", "# no heading"])
def test_what_looks_like_markup_is_shown_as_it_is(text: str) -> None:
    assert shown(plain(text)) == text


@given(st.text(st.sampled_from("ab _*`<>[]\\#-+1.)~!&"), min_size=1, max_size=20))
def test_whatever_a_sentence_holds(text: str) -> None:
    text = " ".join(text.split())
    if text:
        assert shown(plain(text)) == text


def shown(markdown: str) -> str:
    [_, inline, _] = MarkdownIt("commonmark").parse(markdown)
    assert all(token.type in ("text", "text_special") for token in inline.children or [])
    return "".join(token.content for token in inline.children or [])
