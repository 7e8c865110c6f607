"""Words as search compares them: lower case, stemmed, without the words every sentence has."""

import re
import threading

import Stemmer

_WORD = re.compile(r"[^\W_]+")
_STOP_WORDS = frozenset(
    """a about an and any are as at be been but by can could did do does for from had has have how
    i if in into is it its just may me more most my no not of on or our out should so some such
    than that the their them then there these they this those to up us use used using was we were
    what when where which who whom whose why will with would you your""".split()
)
_local = threading.local()  # a stemmer keeps state and is not safe to share between threads


def terms(text: str) -> list[str]:
    """The stemmed words of `text` in order, stop words left out."""
    stems: list[str] = _stemmer().stemWords([w for w in words(text) if w not in _STOP_WORDS])
    return stems


def words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _stemmer() -> Stemmer.Stemmer:
    if not hasattr(_local, "stemmer"):
        _local.stemmer = Stemmer.Stemmer("english")
    stemmer: Stemmer.Stemmer = _local.stemmer
    return stemmer
