import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.extractive import (
    MAX_CODE_CHARACTERS,
    MAX_PASSAGES,
    MAX_SENTENCES,
    extract,
    split_passage,
)
from lib.passages import Passage

TIDES = "## Tides\n\nThe tide turns every six hours. The moon causes it. Gulls like fish.\n"
MOORING = "## Mooring\n\nA boat is moored with two lines. Hang fenders on the quay side.\n"


def passage(text: str, file_path: str = "a.md") -> Passage:
    return Passage(
        chunk_id=text[:20],
        text=text,
        file_path=file_path,
        chapter="",
        section="",
        heading="",
        url=None,
        start_char=0,
        end_char=len(text),
        score=0.5,
    )


def sentences(question: str, *texts: str) -> list[tuple[int, str]]:
    return [
        (each.number, sentence.text)
        for each in extract(question, [passage(text) for text in texts])
        for sentence in each.sentences
    ]


@pytest.mark.parametrize(
    ("question", "best"),
    [
        ("When does the tide turn?", (1, "The tide turns every six hours.")),
        ("What causes the tides, the moon?", (1, "The moon causes it.")),
        ("How is a boat moored?", (2, "A boat is moored with two lines.")),
        ("on which side of the quay do I hang fenders", (2, "Hang fenders on the quay side.")),
    ],
)
def test_the_sentence_that_answers_comes_along(question: str, best: tuple[int, str]) -> None:
    assert best in sentences(question, TIDES, MOORING)


def test_a_sentence_that_has_nothing_of_the_question_stays_away() -> None:
    found = sentences("When does the tide turn?", TIDES)
    assert (1, "Gulls like fish.") not in found


def test_the_words_are_the_book_s_own_without_markup() -> None:
    text = "The **tide** turns [every](x.md) `six` hours.\n"
    assert sentences("tide turns", text) == [(1, "The tide turns every six hours.")]


def test_headings_are_no_sentences() -> None:
    assert sentences("Tides", "## Tides and more tides\n") == []


def test_the_block_behind_a_sentence_comes_along() -> None:
    text = "Call the harbour by radio:\n\n```bash\nradio --channel 9\n```\n"
    [found] = extract("How do I call the harbour by radio?", [passage(text)])
    assert found.sentences[0].code == "```bash\nradio --channel 9\n```"


def test_a_block_too_long_to_quote_stays_away() -> None:
    text = f"Call the harbour by radio:\n\n```\n{'x' * MAX_CODE_CHARACTERS}\n```\n"
    [found] = extract("How do I call the harbour by radio?", [passage(text)])
    assert found.sentences[0].code == ""


def test_a_fence_inside_a_block_does_not_end_it() -> None:
    text = "Write a block like this one:\n\n````md\n```\ncode\n```\n````\n\nAnd go on.\n"
    [found] = extract("How do I write a block like this?", [passage(text)])
    code = found.sentences[0].code
    fence = code.partition("\n")[0].rstrip("abcdefghijklmnopqrstuvwxyz")
    assert code.endswith(f"\n{fence}")
    assert f"\n{fence}" not in code[: -len(fence) - 1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One thing here. Two things there.", 2),
        ("Version 3.2 of it is here.", 1),
        ("See e.g. the tide table.", 1),
        ("Is it safe? Yes, the harbour is safe!", 2),
        ("潮は六時間ごとに変わります。船は二本の綱で係留します。", 2),
        ("“Stop here.” The master said so.", 2),
    ],
)
def test_where_sentences_end(text: str, expected: int) -> None:
    found = split_passage(1, passage(text))
    assert len(found) <= expected
    assert "".join(s.text for s in found).replace(" ", "") in text.replace(" ", "")


def test_nothing_is_extracted_from_nothing() -> None:
    assert extract("tide?", []) == []
    assert extract("tide?", [passage("")]) == []
    assert extract("tide?", [passage("# Only\n\n## Headings\n")]) == []


def test_a_question_without_a_word_of_the_book_still_gets_the_best_passage() -> None:
    found = sentences("xyzzy plugh", TIDES, MOORING)
    assert found
    assert {number for number, _ in found} == {1}


def test_a_sentence_that_stands_twice_is_quoted_once() -> None:
    assert len(sentences("tide turns six hours", TIDES, TIDES)) == 1


WORDS = st.sampled_from(
    "tide turns hours moon boat `code` **bold** quay. When? 潮。 [a](b)".split()
)
TEXT = st.lists(WORDS, max_size=40).map(" ".join)


@given(TEXT, st.lists(TEXT, max_size=6))
def test_its_bounds_hold(question: str, texts: list[str]) -> None:
    found = extract(question, [passage(text) for text in texts])
    assert len(found) <= MAX_PASSAGES
    assert sum(len(each.sentences) for each in found) <= MAX_SENTENCES
    assert len({each.number for each in found}) == len(found)
    for each in found:
        assert each.sentences
        assert 1 <= each.number <= len(texts)
        assert all(sentence.number == each.number for sentence in each.sentences)


@given(st.text(), st.lists(st.text(max_size=80), max_size=3))
def test_no_text_raises(question: str, texts: list[str]) -> None:
    extract(question, [passage(text, "a.mdx") for text in texts])
