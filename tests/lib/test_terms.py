import itertools
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.languages import _stemmed_languages, stop_words, words
from lib.terms import (
    _NEIGHBOUR_SHARE,
    CEILING,
    SparseVector,
    document_vectors,
    merge_vectors,
    query_vector,
    term_number,
    terms,
    without_small_words,
)


@pytest.mark.parametrize(
    ("name", "whole", "parts"),
    [
        ("useState", "usestate", ["state"]),
        ("std::sync::Mutex", "std::sync::mutex", ["std", "sync", "mutex"]),
        ("max_retries", "max_retries", ["max", "retri"]),
        ("QDRANT_URL", "qdrant_url", ["qdrant", "url"]),
        ("HTTPServer", "httpserver", ["http", "server"]),
        ("shard->flush", "shard->flush", ["shard", "flush"]),
        ("--force-reindex", "force-reindex", ["forc", "reindex"]),
        ("config/site.yml", "config/site.yml", ["config", "site", "yml"]),
        ("utf8", "utf8", ["utf", "8"]),
        ("v2.10", "v2.10", ["v", "2", "10"]),
    ],
)
def test_a_name_counts_whole_and_in_its_parts(name: str, whole: str, parts: list[str]) -> None:
    assert terms(name) == [*parts, whole]
    assert words(name) == [whole]


@given(st.text(st.characters(max_codepoint=127) | st.sampled_from("aB0_.:/-> ")))
def test_what_else_a_text_holds_does_not_change_its_words(text: str) -> None:
    assert words(f"{text} \N{LATIN SMALL LETTER E WITH ACUTE}")[:-1] == words(text)


def test_a_name_in_one_part_counts_once() -> None:
    assert terms("Mutex __init__ _private") == ["mutex", "init", "privat"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('the `||>` and "?." <=> (...) 日本 =>', ["||>", "?.", "<=>", "...", "日本", "=>"]),
        ("What is ||>?", ["||>"]),
        ("What is ...?", ["..."]),
        ("C#, C++ or C.", ["c", "c#", "c", "c++", "c"]),
        ("boats... boat -- boat?! |---|---| a?.b `:::::`", ["boat", "boat", "boat", "b"]),
    ],
)
def test_names_made_of_signs_are_terms(text: str, expected: list[str]) -> None:
    assert terms(text) == expected
    assert terms(without_small_words(text, ["english"])) == expected


def test_small_words_are_left_out_and_the_rest_is_stemmed() -> None:
    assert terms("How are the boats moored? The mooring of a BOAT.") == [
        *["boat", "moor"],
        *["moor", "boat"],
    ]
    assert terms("the of and") == []
    assert terms("— … !?") == []


def test_words_that_name_things_are_no_small_words() -> None:
    """Of the usual English list, which technical books would miss."""
    assert len(terms("help open state system page end")) == 6


def test_hindi_words_keep_their_vowel_signs() -> None:
    assert words("विद्यार्थी हिन्दी में पढ़ते हैं") == ["विद्यार्थी", "हिन्दी", "में", "पढ़ते", "हैं"]
    assert len(terms("विद्यार्थी हिन्दी में", "hindi")) == 2  # the last one is small


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("東京都は", ["東京", "京都", "都は"]),
        ("水", ["水"]),
        ("안녕하세요", ["안녕", "녕하", "하세", "세요"]),
        ("カメラ", ["カメ", "メラ"]),
        ("用Python写代码", ["用", "python", "写代", "代码"]),
    ],
)
def test_scripts_without_spaces_are_cut_into_pairs(text: str, found: list[str]) -> None:
    assert terms(text) == found


def test_each_language_has_its_own_stems() -> None:
    assert terms("Die Häuser stehen im Hafen", "german") == ["haus", "steh", "haf"]
    assert terms("les bateaux sont amarrés", "french") == ["bateau", "amarr"]
    assert terms("moored", "french") != terms("moored", "english")


@pytest.mark.parametrize("language", sorted({*_stemmed_languages().values()} - {"greek"}))
def test_every_language_has_a_stemmer_and_small_words(language: str) -> None:
    small = min(stop_words(language), key=len)
    assert terms(f"{small} python", language)[-1].startswith("p")
    assert len(stop_words(language)) > 50


def test_greek_has_a_stemmer() -> None:
    assert terms("τα σχοινιά", "greek") != terms("τα σχοινιά")


def test_two_ways_of_writing_an_accent_are_one_word() -> None:
    assert terms(unicodedata.normalize("NFD", "café")) == terms("café")


def test_small_words_of_every_language_of_the_book_are_left_out() -> None:
    text = "What is the use of fenders, et les lignes?"
    assert terms(without_small_words(text, ["english"])) == terms("use fenders et les lignes")
    assert terms(without_small_words(text, ["english", "french"])) == terms("fenders lignes")
    assert without_small_words("What is it?", ["english"]) == "What is it?"


ROOT = Path(__file__).parents[2]


def weights(vector: SparseVector) -> dict[int, float]:
    return dict(zip(vector.indices, vector.values, strict=True))


def weight(term: str, *texts: str, of: int = 0) -> float:
    """Of `term` in one of the chunks of a page; 0 where it has none."""
    return weights(document_vectors(texts)[of]).get(term_number(term), 0.0)


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
    assert {*of_alpha} == {term_number("alpha"), term_number("beta")}
    assert {*of_beta} == {term_number("alpha"), term_number("beta"), term_number("gamma")}
    assert {*of_gamma} == {term_number("beta"), term_number("gamma"), term_number("delta")}
    assert {*of_delta} == {term_number("gamma"), term_number("delta")}
    assert 0 < of_alpha[term_number("beta")] < of_beta[term_number("beta")]


def test_a_neighbour_s_share_is_one_of_occurrences() -> None:
    """A term once in each of both neighbours counts as two shares of one occurrence."""
    middle = weights(document_vectors(["tide", "beta", "tide"])[1])
    assert {*middle} == {term_number("tide"), term_number("beta")}
    slack = CEILING / middle[term_number("beta")] - 1  # of its one occurrence
    shares = 2 * _NEIGHBOUR_SHARE
    assert middle[term_number("tide")] == pytest.approx(shares * CEILING / (shares + slack))


def test_both_have_what_they_share() -> None:
    assert weight("tide", "the tide", "tides") > weight("tide", "the tide", "beta")


def test_texts_without_words() -> None:
    assert document_vectors([]) == []
    assert document_vectors(["", "---", "the of"]) == [SparseVector([], [])] * 3
    assert weight("tide", "---", "tide") > 0  # its neighbour's


def test_a_page_is_stemmed_in_its_language() -> None:
    [vector] = document_vectors(["die Häuser"], "german")
    assert vector.indices == [term_number("haus")]


def test_no_term_twice() -> None:
    for vector in (*document_vectors([FILLER * 3, FILLER]), query_vector(FILLER * 3)):
        assert len({*vector.indices}) == len(vector.indices) == len(vector.values) > 0
        assert all(0 <= index < 2**32 for index in vector.indices)


def test_a_question_has_every_term_once() -> None:
    vector = query_vector("Tides: when does the tide turn, the tide?")
    assert vector == SparseVector([term_number("tide"), term_number("turn")], [1.0, 1.0])


def test_a_question_of_small_words_only_keeps_them() -> None:
    vector = query_vector("What is it?")
    assert vector == SparseVector([*map(term_number, ("what", "is", "it"))], [1.0] * 3)
    assert query_vector("???").indices == [term_number("??")]


def test_a_question_is_stemmed_in_every_language_of_the_book() -> None:
    each = [query_vector("moored boat", language) for language in ("english", "french")]
    vector = merge_vectors(each)
    assert {*vector.indices} == {*each[0].indices, *each[1].indices}
    assert len(vector.indices) == len(vector.values) == 3  # "boat" is the same in both


def test_the_numbers_are_the_same_in_every_process() -> None:
    """They are kept in the index."""
    assert term_number("tide") == 0xBE56230C
    code = "from lib.terms import document_vectors as d; print(d(['the tide turns', 'a boat']))"
    seeds = [{"PYTHONHASHSEED": seed} for seed in ("1", "2")]
    shown = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, check=True
        ).stdout
        for env in seeds
    }
    assert shown == {f"{document_vectors(['the tide turns', 'a boat'])}\n".encode()}


def test_a_lone_surrogate_has_a_number() -> None:
    assert term_number("\ud800") >= 0
