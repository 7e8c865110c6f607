import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.splitting import _line_pieces, _Piece, text_pieces
from lib.tokens import CountTokens, estimate_tokens
from tests.pages import SENTENCE, words


def shown(source: str, pieces: list[_Piece]) -> list[str]:
    return [source[piece.start : piece.stop] for piece in pieces]


fragments = st.sampled_from(
    [
        SENTENCE,
        "Dr. No, e.g. here. ",
        "字。",
        "漢字の文です。",
        "👩‍🚀",
        "नि",
        "word ",
        "x" * 60,
        " ",
        "\r\n",
        "\n\n",
        "`a. b` ",
        "[l. m](u) ",
        "$x + y$ ",
        "<b. c> ",
        "$",
        "`",
        "; ",
        "{1: 'a'}, ",
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(fragments, max_size=60).map("".join),
    st.integers(8, 60),
    st.sampled_from([words, estimate_tokens]),
)
def test_pieces_of_any_text_fit_and_leave_out_white_space_only(
    source: str, room: int, count: CountTokens
) -> None:
    at = 0
    for piece in text_pieces(source, room, count):
        assert not source[at : piece.start].strip()
        assert piece.start < piece.stop
        assert piece.cost == count(source[piece.start : piece.stop])
        assert piece.cost <= room or piece.stop - piece.start == 1
        at = piece.stop
    assert not source[at:].strip()


@pytest.mark.parametrize("repeated", [3, 10, 100])
def test_pieces_are_cut_between_sentences_and_nearly_of_one_size(repeated: int) -> None:
    pieces = list(text_pieces(SENTENCE * repeated, 60, words))
    assert all(text.endswith("bank.") for text in shown(SENTENCE * repeated, pieces))
    assert min(piece.cost for piece in pieces) > max(piece.cost for piece in pieces) / 2


def test_a_sentence_is_cut_only_if_it_does_not_fit() -> None:
    source = "Yes. " + "word " * 50 + "end. No. " + "more, " * 60 + "end. Well."
    pieces = shown(source, list(text_pieces(source, 60, words)))
    assert pieces[:2] == ["Yes.", "word " * 50 + "end."]
    assert all(piece.startswith(("No. more", "more", "Well.")) for piece in pieces[2:])


@pytest.mark.parametrize("whole", ["`a. b, c d`", "[a. b, c](u)", "$a + b, c$", '<a b="c, d. e">'])
def test_no_cut_goes_through_code_links_formulas_or_tags(whole: str) -> None:
    source = " ".join([whole] * 60)
    assert all(
        piece.count(whole) * (len(whole) + 1) == len(piece) + 1
        for piece in shown(source, list(text_pieces(source, 40, words)))
    )


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_an_empty_line_ends_a_sentence_and_a_line_does_not(newline: str) -> None:
    source = newline.join(["one two three four"] * 4) + newline * 2 + "five six seven eight"
    first, second = shown(source, list(text_pieces(source, 18, words)))
    assert (first.count("one"), second) == (4, "five six seven eight")


def test_what_costs_more_than_the_rest_is_cut_shorter_and_what_costs_less_longer() -> None:
    source = SENTENCE * 40 + "漢字の文です。" * 100
    pieces = list(text_pieces(source, 100, estimate_tokens))
    costs = [piece.cost for piece in pieces]
    assert max(costs) <= 100
    assert sorted(costs)[2] > 40  # the estimate adapts where the script changes


def test_a_text_is_not_counted_sentence_by_sentence() -> None:
    counted: list[str] = []

    def count(text: str) -> int:
        counted.append(text)
        return words(text)

    pieces = list(text_pieces(SENTENCE * 200, 100, count))
    assert len(counted) <= 1.2 * len(pieces) + 1


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(["", "x = 1", "    y(a, b, c)", "}", "word " * 30]), min_size=1),
    st.integers(8, 60),
)
def test_runs_of_any_lines_fit_and_leave_nothing_out(lines: list[str], room: int) -> None:
    runs = list(_line_pieces(lines, room, words, words("\n".join(lines))))
    assert [line for run in runs for line in lines[run.start : run.stop]] == lines
    for run in runs:
        assert run.cost == words("\n".join(lines[run.start : run.stop]))
        assert run.cost <= room or run.stop - run.start == 1


def test_lines_are_cut_where_something_begins_anew() -> None:
    lines = ["def f():", "    return 1", ""] * 30
    runs = list(_line_pieces(lines, 40, words, words("\n".join(lines))))
    assert len(runs) > 3
    assert all(lines[run.start] == "def f():" for run in runs)
