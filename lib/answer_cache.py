"""Cache of complete model answers to first questions.

A first question has no conversation before it and no selected text, so its answer depends on the
book and the configuration alone. The key holds everything that decides an answer; a new index
makes all older entries unreachable.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cachetools import TTLCache

from lib.events import Cited, Done, TextDelta
from lib.languages import normalize, question_language, small_words

_MAX_AGE_SECONDS: Final = 24 * 3600
_QUESTION_MARKS: Final = ("?", "？", "؟")


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """Everything that the answer to a first question depends on."""

    question: str
    """Normalised by `normalise_question`."""
    generation: str
    """Of the index."""
    model: str
    prompt: str
    """Identifies the prompt without question and passages."""
    k: int
    context_window: int
    page: str
    home: str
    """Links to pages that this server serves begin with it; empty if they are relative."""


@dataclass(frozen=True, slots=True)
class _CachedAnswer:
    """The events of a complete answer."""

    pieces: tuple[TextDelta | Cited, ...]
    done: Done


class AnswerCache:
    """The `size` most recently used answers; 0 disables the cache."""

    def __init__(
        self,
        size: int,
        *,
        seconds: float = _MAX_AGE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._answers: TTLCache[AnswerKey, _CachedAnswer] = TTLCache(size, seconds, timer=clock)

    def get(self, key: AnswerKey) -> _CachedAnswer | None:
        return self._answers.get(key)

    def put(self, key: AnswerKey, pieces: Sequence[TextDelta | Cited], done: Done) -> None:
        if self._answers.maxsize:
            self._answers[key] = _CachedAnswer(tuple(pieces), done)


def normalise_question(question: str) -> str:
    """Normalise white space, composed characters, and how the question begins and ends.

    Other differences can matter: `-v` and `-V`, `x²` and `x2`, `empty?` and `empty`.
    """
    words = normalize("NFC", question).split()
    if words and words[0].lower() in small_words(question_language(question)):
        words[0] = words[0].lower()
    text = " ".join(words)
    # One question mark: a second one belongs to a name.
    return text[:-1] if text[-1:] in _QUESTION_MARKS and text[-2:-1].isalnum() else text
