import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lib.extractive import (
    MAX_CHARACTERS,
    MAX_CODE_CHARACTERS,
    MAX_PASSAGES,
    MAX_SENTENCES,
    extract,
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


def test_code_alone_stands_under_its_heading() -> None:
    listing = replace(passage("radio --channel 9\n"), kind="code", heading="Calling")
    [found] = extract("How do I call by radio?", [listing])
    [sentence] = found.sentences
    assert (sentence.text, sentence.code) == ("Calling", "```\nradio --channel 9\n```")


RULES = "The harbour has rules:\n\n- Moor at the quay.\n- Pay the master.\n\nGulls like fish.\n"


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What are the rules?", ["The harbour has rules:", "Moor at the quay.", "Pay the master."]),
        ("Whom do I pay?", ["The harbour has rules:", "Pay the master."]),
    ],
)
def test_a_list_is_read_with_what_announces_it(question: str, expected: list[str]) -> None:
    assert [text for _, text in sentences(question, RULES)][: len(expected)] == expected


def test_what_announces_nothing_stays_away() -> None:
    cut_off = "The harbour has two rules. The rules are these:\n"
    assert sentences("What are the rules?", cut_off) == [(1, "The harbour has two rules.")]


def test_the_sentence_behind_the_one_that_names_the_subject_comes_along() -> None:
    text = "The bell stands on the pier. It is made of bronze. Gulls like fish. Ships come late.\n"
    assert sentences("What is the bell made of?", text)[:2] == [
        (1, "The bell stands on the pier."),
        (1, "It is made of bronze."),
    ]


def test_the_heading_tells_what_a_sentence_is_about() -> None:
    one = replace(passage("It weighs nine tons. Gulls like it.\n"), heading="Bell")
    other = replace(passage("It weighs two tons. Gulls like it.\n"), heading="Anchor")
    found = extract("What does the bell weigh?", [other, one])
    assert found[0].number == 2


def test_a_question_in_another_language_gets_the_best_passage() -> None:
    found = sentences("Combien pèse la cloche du port de Quire?", TIDES, "Quire is a harbour.\n")
    assert {number for number, _ in found} == {1}


def test_nothing_is_extracted_from_nothing() -> None:
    assert extract("tide?", []) == []
    assert extract("tide?", [passage("")]) == []
    assert extract("tide?", [passage("# Only\n\n## Headings\n")]) == []


def test_a_question_without_a_word_of_the_book_still_gets_the_best_passage() -> None:
    found = sentences("xyzzy plugh", TIDES, MOORING)
    assert found
    assert {number for number, _ in found} == {1}


def test_a_sentence_that_stands_twice_is_quoted_once() -> None:
    found = [text for _, text in sentences("tide turns six hours", TIDES, TIDES)]
    assert found.count("The tide turns every six hours.") == 1


WORDS = st.sampled_from(
    "tide turns hours moon boat `code` **bold** quay. When? 潮。 [a](b)".split()
)
TEXT = st.lists(WORDS, max_size=40).map(" ".join)


@given(TEXT, st.lists(TEXT, max_size=6))
def test_its_bounds_hold(question: str, texts: list[str]) -> None:
    found = extract(question, [passage(text) for text in texts])
    assert len(found) <= MAX_PASSAGES
    quoted = [sentence for each in found for sentence in each.sentences]
    assert len(quoted) <= MAX_SENTENCES
    assert len(quoted) == 1 or sum(len(each.text) for each in quoted) <= MAX_CHARACTERS
    assert sum(len(each.code) for each in quoted) <= MAX_CODE_CHARACTERS
    assert len({each.number for each in found}) == len(found)
    for each in found:
        assert each.sentences
        assert 1 <= each.number <= len(texts)


@given(st.text(), st.lists(st.text(max_size=80), max_size=3))
def test_no_text_raises(question: str, texts: list[str]) -> None:
    extract(question, [passage(text, "a.mdx") for text in texts])
