"""Readers ask the same first questions: whole answers of the model, kept for a while.

A first question has nothing before it in its conversation and no marked text, so its answer
depends on the book and the configuration alone. An answer is kept by all that decided it; a new
index makes every older answer unreachable.
"""

import time
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cachetools import TTLCache

from lib.events import Cited, Done, TextDelta

KEPT_SECONDS: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """All that an answer to a first question depends on."""

    question: str
    generation: str
    """Of the index."""
    model: str
    prompt: str
    """What stands in it besides question and passages."""
    k: int
    context_window: int
    page: str


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The events of a complete answer."""

    pieces: tuple[TextDelta | Cited, ...]
    done: Done


class AnswerCache:
    """The answers that were used last. `size` 0 keeps none."""

    def __init__(
        self,
        size: int,
        *,
        seconds: float = KEPT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kept: TTLCache[AnswerKey, KeptAnswer] = TTLCache(size, seconds, timer=clock)

    def get(self, key: AnswerKey) -> KeptAnswer | None:
        return self._kept.get(key)

    def keep(self, key: AnswerKey, pieces: Sequence[TextDelta | Cited], done: Done) -> None:
        """Keep an answer; a cache without room leaves it."""
        if self._kept.maxsize:
            self._kept[key] = KeptAnswer(tuple(pieces), done)


def same_question(question: str) -> str:
    """What two questions have in common that differ only in their writing."""
    folded = unicodedata.normalize("NFKC", question).casefold()
    return " ".join(folded.split()).rstrip(" ?!.؟。？！")
