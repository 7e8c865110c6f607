import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from lib.sparse import (
    CEILING,
    NEIGHBOUR_SHARE,
    SparseVector,
    document_vectors,
    number,
    query_vector,
    together,
)

ROOT = Path(__file__).parents[2]


def weights(vector: SparseVector) -> dict[int, float]:
    return dict(zip(vector.indices, vector.values, strict=True))


def weight(term: str, *texts: str, of: int = 0) -> float:
    """Of `term` in one of the chunks of a page; 0 where it has none."""
    return weights(document_vectors(texts)[of]).get(number(term), 0.0)


FILLER = " ".join(f"filler{letter}" for letter in "abcdefghijklmnop")


def test_a_term_that_is_repeated_counts_more_but_less_each_time() -> None:
    # Of one length, so that nothing but the repetition differs.
    texts = [" ".join(["tide"] * n + ["harbour"] * (40 - n)) for n in range(1, 40)]
    rising = [weight("tide", text) for text in texts]
    steps = [later - earlier for earlier, later in itertools.pairwise(rising)]
    assert all(step > 0 for step in steps)
    assert all(later < earlier for earlier, later in itertools.pairwise(steps))
    assert 0 < rising[0] < rising[-1] < CEILING
    assert weight("tide", "tide " * 10_000) < CEILING


def test_a_term_in_a_long_text_counts_less() -> None:
    assert weight("tide", "tide") > weight("tide", f"tide {FILLER}") > 0


def test_a_neighbour_s_terms_count_a_share() -> None:
    page = ["alpha alpha", "beta", "gamma", "delta"]
    [of_alpha, of_beta, of_gamma, of_delta] = [weights(v) for v in document_vectors(page)]
    assert {*of_alpha} == {number("alpha"), number("beta")}
    assert {*of_beta} == {number("alpha"), number("beta"), number("gamma")}
    assert {*of_gamma} == {number("beta"), number("gamma"), number("delta")}
    assert {*of_delta} == {number("gamma"), number("delta")}
    assert 0 < of_alpha[number("beta")] < of_beta[number("beta")]


def test_a_neighbour_s_share_is_one_of_occurrences() -> None:
    """A term once in each of both neighbours counts as two shares of one occurrence."""
    middle = weights(document_vectors(["tide", "beta", "tide"])[1])
    assert {*middle} == {number("tide"), number("beta")}
    slack = CEILING / middle[number("beta")] - 1  # of its one occurrence
    shares = 2 * NEIGHBOUR_SHARE
    assert middle[number("tide")] == pytest.approx(shares * CEILING / (shares + slack))


def test_both_have_what_they_share() -> None:
    assert weight("tide", "the tide", "tides") > weight("tide", "the tide", "beta")


def test_texts_without_words() -> None:
    assert document_vectors([]) == []
    assert document_vectors(["", "---", "the of"]) == [SparseVector([], [])] * 3
    assert weight("tide", "---", "tide") > 0  # its neighbour's


def test_a_page_is_stemmed_in_its_language() -> None:
    [vector] = document_vectors(["die Häuser"], "german")
    assert vector.indices == [number("haus")]


def test_no_term_twice() -> None:
    for vector in (*document_vectors([FILLER * 3, FILLER]), query_vector(FILLER * 3)):
        assert len({*vector.indices}) == len(vector.indices) == len(vector.values) > 0
        assert all(0 <= index < 2**32 for index in vector.indices)


def test_a_question_has_every_term_once() -> None:
    vector = query_vector("Tides: when does the tide turn, the tide?")
    assert vector == SparseVector([number("tide"), number("turn")], [1.0, 1.0])


def test_a_question_of_small_words_only_keeps_them() -> None:
    vector = query_vector("What is it?")
    assert vector == SparseVector([*map(number, ("what", "is", "it"))], [1.0] * 3)
    assert query_vector("???").indices == [number("???")]


def test_a_question_is_stemmed_in_every_language_of_the_book() -> None:
    each = [query_vector("moored boat", language) for language in ("english", "french")]
    vector = together(each)
    assert {*vector.indices} == {*each[0].indices, *each[1].indices}
    assert len(vector.indices) == len(vector.values) == 3  # "boat" is the same in both


def test_the_numbers_are_the_same_in_every_process() -> None:
    """They are kept in the index."""
    assert number("tide") == 0xBE56230C
    code = "from lib.sparse import document_vectors as d; print(d(['the tide turns', 'a boat']))"
    seeds = [{"PYTHONHASHSEED": seed} for seed in ("1", "2")]
    shown = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, check=True
        ).stdout
        for env in seeds
    }
    assert shown == {f"{document_vectors(['the tide turns', 'a boat'])}\n".encode()}


def test_a_lone_surrogate_has_a_number() -> None:
    assert number("\ud800") >= 0
