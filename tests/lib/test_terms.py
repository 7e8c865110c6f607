import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.terms import (
    ENGLISH,
    LANGUAGES,
    language_of,
    may_be_in,
    stop_words,
    terms,
    without_small_words,
    words,
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


@pytest.mark.parametrize("language", sorted({*LANGUAGES.values()} - {"greek"}))
def test_every_language_has_a_stemmer_and_small_words(language: str) -> None:
    small = min(stop_words(language), key=len)
    assert terms(f"{small} python", language)[-1].startswith("p")
    assert len(stop_words(language)) > 50


def test_greek_has_a_stemmer() -> None:
    assert terms("τα σχοινιά", "greek") != terms("τα σχοινιά")


PAGES = {
    "german": "Das Boot wird mit zwei Leinen am Kai festgemacht, damit es nicht abtreibt.",
    "french": "Le bateau est amarré au quai avec deux lignes, pour qu'il ne dérive pas.",
    "spanish": "El barco se amarra al muelle con dos cabos para que no se vaya con la marea.",
    "italian": "La barca è ormeggiata alla banchina con due cime, perché non si allontani.",
    "portuguese": "O barco é amarrado ao cais com dois cabos para que não se afaste com a maré.",
    "russian": "Лодка привязана к причалу двумя концами, чтобы её не унесло.",
    "dutch": "De boot ligt met twee lijnen aan de kade, zodat hij niet wegdrijft.",
    "polish": "Łódź jest przywiązana do nabrzeża dwiema linami, aby nie odpłynęła.",
    "swedish": "Båten förtöjs vid kajen med två linor så att den inte driver bort.",
    "hindi": "नाव को दो रस्सियों से घाट पर बाँधा जाता है ताकि वह बह न जाए।",
    "arabic": "يتم ربط القارب بالرصيف بحبلين حتى لا ينجرف مع التيار، وهذا من أهم الأمور.",
    "english": "A boat is moored with two lines at the quay so that it does not drift.",
}


@pytest.mark.parametrize(("language", "text"), PAGES.items(), ids=PAGES)
def test_small_words_tell_the_language(language: str, text: str) -> None:
    assert language_of(text) == language
    assert language_of(f"# {text.upper()}\n\n```python\nmoor(line)\n```\n") == (language)


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("de", "german"),
        ("de-AT", "german"),
        ("pt_BR", "portuguese"),
        ("PT-br", "portuguese"),
        ("en-GB", "english"),
        ("nb", "norwegian"),
        # None that is known: the text tells.
        ("zh-CN", "french"),
        ("latest", "french"),
        ("", "french"),
    ],
)
def test_the_locale_tells_before_the_text(locale: str, language: str) -> None:
    assert language_of(PAGES["french"], locale) == language


@pytest.mark.parametrize(
    "text",
    [
        "",
        "東京都は大きい",
        "def main() -> None:\n    for i in range(3):\n        print(i)\n",
        "SELECT d.name FROM dock AS d WHERE d.open IN (SELECT o FROM hours)",
        "name: build\non: [push]\njobs:\n  test:\n    runs-on: ubuntu-latest\n",
    ],
    ids=lambda text: text[:12],
)
def test_what_tells_no_language_is_english(text: str) -> None:
    assert language_of(text) == ENGLISH


@pytest.mark.parametrize(
    ("text", "languages", "may"),
    [
        (PAGES["english"], ["english"], True),
        (PAGES["german"], ["english"], False),
        (PAGES["german"], ["english", "german"], True),
        (PAGES["english"], ["german"], True),  # half of all words are at home everywhere
        (PAGES["russian"], ["english"], False),
        (PAGES["russian"], ["english", "russian"], True),
        (PAGES["hindi"], ["hindi"], True),
        (PAGES["hindi"], ["english"], False),
        ("東京都は大きい", ["english"], False),
        ("QDRANT_URL useState", ["english"], True),
        ("QDRANT_URL", ["russian"], False),
        ("404", ["russian"], True),
        ("", ["english"], True),
    ],
)
def test_whether_a_question_may_be_in_the_book_s_language(
    text: str, languages: list[str], may: bool
) -> None:
    assert may_be_in(text, languages) is may


@pytest.mark.parametrize(
    "text",
    [
        "| a | b |\n|---|---|\n| 1 | 2 |\n",
        "fn main() { let mut n = 0; while n < 10 { n += 1; } }",
        "Frees memory. `void free(void *p)`; see `calloc(n, m)`, `realloc(p, n)`. C90, C++.",
    ],
)
def test_single_letters_tell_no_language(text: str) -> None:
    """One page in a hundred of a reference of C++ is taken for French or Romanian."""
    assert language_of(text) == ENGLISH


def test_greek_is_told() -> None:
    text = (
        "Το σκάφος δένεται στην προβλήτα με δύο σχοινιά για να μην παρασυρθεί. Όταν η παλίρροια "
        "αλλάζει, τα σχοινιά πρέπει να ελεγχθούν ξανά από τον καπετάνιο, γιατί χαλαρώνουν."
    )
    assert language_of(text) == "greek"


def test_two_ways_of_writing_an_accent_are_one_word() -> None:
    assert terms(unicodedata.normalize("NFD", "café")) == terms("café")


def test_small_words_of_every_language_of_the_book_are_left_out() -> None:
    text = "What is the use of fenders, et les lignes?"
    assert terms(without_small_words(text, ["english"])) == terms("use fenders et les lignes")
    assert terms(without_small_words(text, ["english", "french"])) == terms("fenders lignes")
    assert without_small_words("What is it?", ["english"]) == "What is it?"
