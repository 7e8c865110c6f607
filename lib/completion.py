"""Complete the word that a reader is typing, with the words of the book."""

import asyncio
import logging
import math
import re
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from heapq import nlargest
from typing import Any, Final

from lib.errors import StoreUnavailable
from lib.languages import IS_UNSPACED, normalize, split_words
from lib.runtime import SingleFlight, run_cooperatively
from lib.store import Manifest, Store
from lib.terms import terms

_log = logging.getLogger(__name__)

_MOST: Final = 3
"""Completions, each of which is searched for."""
_SHORTEST: Final = 2
_LONGEST: Final = 40
_MAX_WORDS: Final = 200_000
"""Forms of words, about 30 MB."""
_HEADING_WEIGHT: Final = 100
"""A heading with a word counts as so many chunks with it."""
_WAIT_SECONDS: Final = 1.0
"""Longest wait of a reader while the words of a large book are read."""
_PAUSE_SECONDS: Final = 30.0
"""Pause after the index could not be read."""
_JOINTS: Final = re.compile(r"[:.>/-]++")
"""Between the words of a name from code (`lib.languages.WORD`)."""
_LAST: Final = "\U0010ffff"
"""Sorts after every character of a word."""


@dataclass(frozen=True, slots=True)
class _Words:
    """The words of one generation of the index, in lower case."""

    generation: str
    uses: Mapping[str, int]
    """Chunks with the word, and headings times `_HEADING_WEIGHT`."""
    ordered: Sequence[str]
    """The keys of `uses`."""
    names: Mapping[str, str]
    """Words that the book writes like `useState`, because their parts are terms too."""

    def complete(self, prefix: str, languages: Sequence[str]) -> list[str]:
        begin = bisect_left(self.ordered, prefix)
        end = bisect_left(self.ordered, prefix + _LAST)
        used_most = nlargest(5 * _MOST, self.ordered[begin:end], key=self.uses.__getitem__)
        whole = [prefix] if prefix in self.uses else []
        found: dict[tuple[str, ...], str] = {}
        for word in (*whole, *used_most):
            name = self.names.get(word, word)
            # Forms of one word find the same, and stop words find nothing.
            if stems := tuple(term for language in languages for term in terms(name, language)):
                found.setdefault(stems, name)
        return list(found.values())[: len(whole) + _MOST]


class BookWords:
    """The words of the published index, read when those of a generation are first needed."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._words = _Words("", {}, (), {})
        self._reading = SingleFlight(self._read)
        self._retry_at = -math.inf

    async def complete(self, text: str, manifest: Manifest) -> list[str]:
        """Return `text`, if its last word is one of the book, and `_MOST` completions at most.

        Only `text` if it does not end with a word, or if no known word begins with its last one.
        While a new index is read, the words are those of the previous one.
        """
        text = normalize("NFC", text)
        prefix = _last_word(text)
        if len(prefix) < _SHORTEST:
            return [text]
        if self._words.generation != manifest.generation and self._clock() >= self._retry_at:
            if not self._reading.running:
                self._reading = SingleFlight(self._read)
            with suppress(TimeoutError, StoreUnavailable):
                async with asyncio.timeout(_WAIT_SECONDS):
                    await self._reading.get()
        found = self._words.complete(prefix.casefold(), manifest.languages)
        return [text.removesuffix(prefix) + word for word in found] or [text]

    async def close(self) -> None:
        await self._reading.cancel()

    async def _read(self) -> _Words:
        try:
            manifest, uses = await self._store.manifest(), Counter[str]()
            async for batch in self._store.payloads(["text", "sections"]):
                await run_cooperatively(_count_in_steps(batch, uses))
        except StoreUnavailable as error:
            _log.warning("the words of the book cannot be read: %s", error.message)
            self._retry_at = self._clock() + _PAUSE_SECONDS
            raise
        generation = manifest.generation if manifest else ""
        self._words = await run_cooperatively(_group_in_steps(generation, uses))
        return self._words


def _last_word(text: str) -> str:
    """The word that `text` ends with; empty without one, and in a script without spaces."""
    words = split_words(text)
    last = _JOINTS.split(words[-1])[-1] if words else ""
    return last if text.endswith(last) and not IS_UNSPACED.match(last or " ") else ""


def _words_in(text: str) -> Iterator[str]:
    for name in {*split_words(text)}:
        if name.isascii() and name.isalnum():  # the usual case, and nothing to split
            yield name
        elif not IS_UNSPACED.match(name):
            yield from _JOINTS.split(name)


def _count_in_steps(
    payloads: Sequence[Mapping[str, Any]], uses: Counter[str]
) -> Generator[None, None, None]:
    """Add the words of chunks to `uses`, as they are written."""
    for payload in payloads:
        for text, weight in (
            (payload["text"], 1),
            *((section["heading"], _HEADING_WEIGHT) for section in payload["sections"]),
        ):
            for word in {*_words_in(text)}:
                if word in uses or (len(uses) < _MAX_WORDS and len(word) <= _LONGEST):
                    uses[word] += weight
        yield


def _group_in_steps(generation: str, uses: Mapping[str, int]) -> Generator[None, None, _Words]:
    """Group words that differ only in case."""
    total, most, names = Counter[str](), dict[str, int](), dict[str, str]()
    for word, count in uses.items():
        lower = word.casefold()
        total[lower] += count
        if count > most.get(lower, 0):
            most[lower] = count
            if word[1:].islower() or word.isupper():
                names.pop(lower, None)
            else:
                names[lower] = word
        yield
    return _Words(generation, total, sorted(total), names)
