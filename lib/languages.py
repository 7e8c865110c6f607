"""Language identification, and the word lists of languages.toml.

Pages and questions are identified differently. `page_language` decides how a whole page is stemmed,
so it wants to be sure and falls back to English. A question is short: `question_language` guesses
from the script, else from the most small words.
"""

import contextlib
import functools
import re
import tomllib
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec
import regex
from stop_words import get_stop_words

ENGLISH: Final = "english"

_UNSPACED: Final = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
# `\w` of this library counts vowel signs as letters: Hindi words stay whole.
WORD: Final = regex.compile(
    rf"[{_UNSPACED}]++|[\w--[{_UNSPACED}]]++(?:(?:::|\.|->|-|/)[\w--[{_UNSPACED}]]++)*+", regex.V1
)
ASCII_WORD: Final = re.compile(r"\w++(?:(?:::|\.|->|-|/)\w++)*+", re.ASCII)
"""Finds the same in ASCII text, in a quarter of the time."""
IS_UNSPACED: Final = regex.compile(rf"[{_UNSPACED}]")
_QUESTION_WORD: Final = regex.compile(r"[\w--_]++(?:['’][\w--_]++)*+", regex.V1)
_LETTER: Final = regex.compile(r"\p{L}")
_ARABIC: Final = regex.compile(r"\p{Arabic}")

# The two letters become marks in NFKD.
_MARK: Final = r"[\p{M}\uFF9E\uFF9F]"
_LONG_RUN: Final = regex.compile(rf"({_MARK}{{30}}){_MARK}++")

_SAMPLE: Final = 2_000
"""Characters that suffice to identify the language of a page."""
_CLEAR_LEAD: Final = 1.5
_FEWEST: Final = 3
"""Small words needed to identify a language by them."""
_FEWEST_POINTS: Final = 0.3
"""Small words needed to identify a question's language; one of four languages counts 1/4."""
_TIE: Final = 0.01
_MAX_HEADER: Final = 500
"""Characters that are read of an `Accept-Language` header."""
_LONG_LIST: Final = 500
"""Longer lists of stop words also hold words that name things..."""
_SHORT_WORD: Final = 4
"""...but hardly any of at most so many letters."""


def normalize(form: Literal["NFC", "NFD", "NFKC", "NFKD"], text: str) -> str:
    """Normalise Unicode text, with at most 30 combining marks in a row.

    Sorting a run of marks takes quadratic time. 30 is the limit of the Stream-Safe Text Format
    (Unicode Standard Annex 15).
    """
    if text.isascii():
        return text
    return unicodedata.normalize(form, _LONG_RUN.sub(r"\1", text))


class _Language(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One section of languages.toml, which documents the fields."""

    not_in_book: str
    nearest: str
    ask_me: str
    welcome: str
    codes: tuple[str, ...] = ()
    stemmed: bool = False
    script: str = "Latin"
    letters: str = ""
    unspaced: bool = False
    stop_words: str | None = None
    opening: str = ""
    opening_phrases: tuple[str, ...] = ()
    pointing: str = ""
    small: str = ""
    small_talk: tuple[str, ...] = ()
    thanks: tuple[str, ...] = ()
    book: str = ""
    about: str = ""
    about_fillers: str = ""
    refusal_subjects: str = ""
    refusal_denials: str = ""
    refusals: tuple[str, ...] = ()
    negations: str = ""
    negation_limits: str = ""
    numbers: str = ""
    opposites: str = ""
    abbreviations: str = ""
    final_abbreviations: str = ""
    sentence_openers: str = ""


@functools.cache
def languages() -> dict[str, _Language]:
    """Every language by its English name. Parsing takes about 4 ms."""
    text = Path(__file__).with_name("languages.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, _Language])


@functools.cache
def _language_codes() -> dict[str, str]:
    """Locale code to name."""
    return {code: name for name, each in languages().items() for code in each.codes}


@functools.cache
def _stemmed_languages() -> dict[str, str]:
    """Languages with a stemmer and stop words: locale code to name."""
    return {
        code: name for code, name in sorted(_language_codes().items()) if languages()[name].stemmed
    }


def load() -> None:
    """Build the tables, which takes about 20 ms, before a question needs them."""
    is_foreign("the", (ENGLISH,))


# Words


def split_words(text: str) -> list[str]:
    """The words of `text` in order; a name from code is one word."""
    found: list[str] = (ASCII_WORD if text.isascii() else WORD).findall(text)
    return found


def words(text: str) -> list[str]:
    """`split_words` in lower case."""
    return [word.casefold() for word in split_words(text)]


def question_words(text: str) -> list[str]:
    """The words of a question in lower case; contractions stay whole."""
    return [word.casefold().replace("’", "'") for word in _QUESTION_WORD.findall(text)]


@functools.cache
def stop_words(language: str) -> frozenset[str]:
    """Words that search leaves out. `language` must have a stemmer."""
    if (own := languages()[language].stop_words) is not None:
        return frozenset(own.split())
    listed = get_stop_words(language)
    if len(listed) > _LONG_LIST:
        listed = [word for word in listed if len(word) <= _SHORT_WORD]
    return frozenset(listed)


@functools.cache
def small_words(language: str) -> frozenset[str]:
    """Words of a language that mean little by themselves; none for an unknown language, or one
    without spaces."""
    known = languages().get(language)
    if known is None or known.unspaced:
        return frozenset()
    listed = stop_words(language) if known.stemmed else frozenset[str]()
    return listed | frozenset(f"{known.opening} {known.pointing} {known.small}".split())


def word_meaning(word: str, language: str) -> float:
    """1 for a word that means something by itself, else 0. In a script without spaces, two
    characters count as a word."""
    if IS_UNSPACED.match(word):
        return len(word) / 2
    if word in small_words(language) or word.endswith("n't"):
        return 0.0
    parts = [part for part in word.split("'") if len(part) > 1]
    return float(any(part not in small_words(language) for part in parts))


# Identification


@functools.lru_cache(maxsize=2_000)  # readers ask for the same pages
def page_language(text: str, locale: str = "") -> str:
    """Identify the language of a text for stemming: one of `_stemmed_languages()`.

    The locale decides, else a script that only one of them uses, else the text's stop words.
    English when unclear, because names and code are the same in every language.
    """
    known = _stemmed_languages().get(locale.replace("_", "-").partition("-")[0].lower())
    if known:
        return known
    sample = text[:_SAMPLE]
    letters = len(_LETTER.findall(sample))
    for language, script in _unique_scripts():
        if letters and 2 * len(_letters_of(script).findall(sample)) > letters:
            return language
    owners = _stop_word_languages()
    counts: Counter[str] = Counter()
    points: defaultdict[str, float] = defaultdict(float)
    for word in words(sample):
        for language in owners.get(word, ()):
            counts[language] += 1
            points[language] += 1 / len(owners[word])  # a word of one language says most
    best = max(points, key=lambda language: points[language], default=ENGLISH)
    if counts[best] < min(_FEWEST, len(sample.split()) / 2):
        return ENGLISH
    return best if counts[best] > _CLEAR_LEAD * counts[ENGLISH] else ENGLISH


def may_be_in(text: str, names: Sequence[str]) -> bool:
    """Whether `text` may be in one of the languages: its script is theirs, and its stop words, if
    any, do not clearly belong to another language."""
    scripts = {languages()[name].script for name in names}
    letters = len(_LETTER.findall(text))
    own = sum(len(_letters_of(script).findall(text)) for script in scripts)
    if 2 * own < letters:
        return False
    language = page_language(text)
    return language == ENGLISH or language in names


def question_language(text: str, likely: Sequence[str] = ()) -> str:
    """Identify the language of a question by its script, else as `most_spoken`."""
    for language, letters in _identifying_letters():
        if letters.search(text):
            return language
    found = most_spoken(question_words(text), likely)
    if _ARABIC.search(text) and found not in ("persian", "urdu"):
        return "arabic"
    return found


def most_spoken(words: Sequence[str], likely: Sequence[str] = ()) -> str:
    """The language that has the most of `words` among its small words.

    A word of several languages says less. The first language of `likely`, else English, is the
    answer if the words say too little, and the first one that has as many words wins a tie.
    """
    likely = (*likely, ENGLISH)
    points: defaultdict[str, float] = defaultdict(float)
    for word in words:
        owners = _small_word_languages().get(word, ())
        for language in owners:
            points[language] += 1 / len(owners)
    most = max(points.values(), default=0.0)
    if most < _FEWEST_POINTS or len(words) < 2:
        return likely[0]
    tied = sorted(name for name, score in points.items() if score > most - _TIE)
    return next((name for name in likely if name in tied), tied[0])


def is_foreign(text: str, names: Sequence[str]) -> bool:
    """Whether a question seems to be in none of the book's languages."""
    return not may_be_in(text, names) or question_language(text, names) not in names


def accepted_languages(header: str) -> list[str]:
    """The languages of an `Accept-Language` header, the preferred one first."""
    weighted = []
    for each in header[:_MAX_HEADER].split(","):
        code, _, quality = each.strip().partition(";q=")
        with contextlib.suppress(ValueError):
            weighted.append((float(quality or 1), language_of_code(code)))
    weighted.sort(key=lambda each: -each[0])
    return [name for weight, name in weighted if name and weight > 0]


def language_of_code(code: str) -> str:
    """The language of a locale code such as `de-AT`; empty if unknown."""
    return _language_codes().get(code.replace("_", "-").partition("-")[0].lower(), "")


@functools.cache
def _identifying_letters() -> list[tuple[str, "regex.Pattern[str]"]]:
    return [(n, regex.compile(each.letters)) for n, each in languages().items() if each.letters]


@functools.cache
def _letters_of(script: str) -> "regex.Pattern[str]":
    return regex.compile(rf"(?=\p{{L}})\p{{Script={script}}}")


@functools.cache
def _unique_scripts() -> list[tuple[str, str]]:
    """Stemmed languages, each with a script that no other one uses."""
    names = sorted(set(_stemmed_languages().values()))
    users = Counter(languages()[name].script for name in names)
    return [(n, languages()[n].script) for n in names if users[languages()[n].script] == 1]


@functools.cache
def _stop_word_languages() -> dict[str, list[str]]:
    """Stop word to languages; single letters are left out, because code is full of them."""
    found: dict[str, list[str]] = {}
    for language in dict.fromkeys(_stemmed_languages().values()):
        for word in stop_words(language):
            if len(word) > 1:
                found.setdefault(word, []).append(language)
    return found


@functools.cache
def _small_word_languages() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for language in sorted(languages()):
        for word in small_words(language):
            found.setdefault(word, []).append(language)
    return found


# Phrases of all languages together


@functools.cache
def opening_phrases() -> tuple[str, ...]:
    """Beginnings of follow-up questions."""
    return tuple(phrase for each in languages().values() for phrase in each.opening_phrases)


@functools.cache
def unspaced_pointing() -> tuple[str, ...]:
    """Pointing words of the languages that are written without spaces."""
    return tuple(
        word for each in languages().values() if each.unspaced for word in each.pointing.split()
    )


@functools.cache
def small_talk() -> dict[str, dict[str, str]]:
    """Greetings, thanks and the like, in lower case and without punctuation, the longest first:
    the reply to each, by language."""
    replies: dict[str, dict[str, str]] = {}
    for name, each in languages().items():
        for phrases, reply in ((each.small_talk, each.ask_me), (each.thanks, each.welcome)):
            for phrase in phrases:
                replies.setdefault(phrase.casefold(), {})[name] = reply
    return {phrase: replies[phrase] for phrase in sorted(replies, key=len, reverse=True)}


@functools.cache
def book_question_words() -> tuple["regex.Pattern[str]", "regex.Pattern[str]", frozenset[str]]:
    """Of questions about the book as a whole: words for the book, words for what is asked of it,
    and fillers."""
    every = languages().values()
    book = "|".join(each.book for each in every if each.book)
    about = "|".join(each.about for each in every if each.about)
    patterns = regex.compile(book, regex.IGNORECASE), regex.compile(about, regex.IGNORECASE)
    return (*patterns, words_of_all("about_fillers"))


@functools.cache
def refusal_pattern() -> "regex.Pattern[str]":
    """Matches the sentence in which a model says that the book has no answer."""
    patterns = []
    for each in languages().values():
        if each.refusal_denials:
            patterns.append(rf"(?:{each.refusal_subjects}).{{0,60}}?(?:{each.refusal_denials})")
        patterns += [p.replace("{subject}", each.refusal_subjects) for p in each.refusals]
    return regex.compile("|".join(patterns), regex.IGNORECASE)


@functools.cache
def words_of_all(field: str) -> frozenset[str]:
    """The words that any language has in a field of space-separated words."""
    return frozenset(word for each in languages().values() for word in getattr(each, field).split())


@functools.cache
def number_words() -> dict[str, str]:
    """Number words to digits."""
    return {
        word: str(value)
        for each in languages().values()
        for value, word in enumerate(each.numbers.split())
    }


@functools.cache
def opposites() -> tuple[tuple[str, str], ...]:
    """Pairs of words with opposite meanings."""
    pairs = (pair.split("/") for each in languages().values() for pair in each.opposites.split())
    return tuple((one, other) for one, other in pairs)
