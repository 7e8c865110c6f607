"""The language of a question, which is too short for `lib.terms.language_of`.

That one wants to be sure, since a whole page is stemmed by it. Here a guess is better than none:
the language that has most of the words among its small ones, where there is no script that tells.
"""

import functools
from collections import Counter
from collections.abc import Sequence
from typing import Final

import regex

from lib.followup_words import BY_LANGUAGE
from lib.terms import ENGLISH, LANGUAGES, may_be_in, stop_words

_WORD: Final = regex.compile(r"[\w--_]+(?:['’][\w--_]+)*", regex.V1)
_UNSPACED: Final = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
)
_BY_SCRIPT: Final = (
    ("japanese", regex.compile(r"[\p{Hiragana}\p{Katakana}]")),
    ("chinese", regex.compile(r"\p{Han}")),
    ("korean", regex.compile(r"\p{Hangul}")),
    ("thai", regex.compile(r"\p{Thai}")),
    ("greek", regex.compile(r"\p{Greek}{3}")),
    ("hindi", regex.compile(r"\p{Devanagari}")),
    ("ukrainian", regex.compile(r"[іїєґІЇЄҐ]")),
    ("russian", regex.compile(r"\p{Cyrillic}")),
    ("urdu", regex.compile(r"[ٹڈڑںےہ]")),
)
_ARABIC: Final = regex.compile(r"\p{Arabic}")


def words_of(text: str) -> list[str]:
    return [word.casefold().replace("’", "'") for word in _WORD.findall(text)]


def load() -> None:
    """Make the tables, which takes some 15 ms, before a question needs them."""
    is_foreign("the", (ENGLISH,))


def spoken(words: Sequence[str]) -> str:
    """The language that has most of `words` among its small ones; English where it has as many."""
    counts = Counter(language for word in words for language in _speakers().get(word, ()))
    most = max(counts.values(), default=0)
    if counts[ENGLISH] == most:
        return ENGLISH
    return next(language for language in BY_LANGUAGE if counts[language] == most)


@functools.cache
def _speakers() -> dict[str, list[str]]:
    """The languages of every small word."""
    speakers: dict[str, list[str]] = {}
    for language in BY_LANGUAGE:
        for word in small_words(language):
            speakers.setdefault(word, []).append(language)
    return speakers


def asked_in(text: str) -> str:
    """The language of a question by its script, else by its words."""
    for language, script in _BY_SCRIPT:
        if script.search(text):
            return language
    found = spoken(words_of(text))
    if _ARABIC.search(text) and found not in ("persian", "urdu"):
        return "arabic"
    return found


def is_foreign(text: str, languages: Sequence[str]) -> bool:
    """Whether a question seems to be in another language than all of the book's."""
    return not may_be_in(text, languages) or spoken(words_of(text)) not in languages


@functools.cache
def small_words(language: str) -> frozenset[str]:
    """The words of a language that mean little by themselves; none for one that is not known."""
    if language not in BY_LANGUAGE:
        return frozenset()
    known = BY_LANGUAGE[language]
    listed = stop_words(language) if language in LANGUAGES.values() else frozenset()
    return known.opening | known.pointing | known.small | listed


def meaning_of(word: str, language: str) -> float:
    """1 for a word that means something by itself, else 0. Of a script without spaces, two
    characters count as a word."""
    if _UNSPACED.match(word):
        return len(word) / 2
    if word in small_words(language) or word.endswith("n't"):
        return 0.0
    parts = [part for part in word.split("'") if len(part) > 1]
    return float(any(part not in small_words(language) for part in parts))
