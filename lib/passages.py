"""From ranked chunks to what a reader gets: no text twice, neighbours joined."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

import msgspec

from lib.ranking import Ranked
from lib.store import StoredChunk
from lib.terms import terms_of_chunk

T = TypeVar("T")

MAX_JOINED: Final = 2_000
"""Characters up to which neighbours are joined."""
KEPT_SHARE: Final = 0.57
"""A chunk with less than this share of the best one's sum is left out: it would only cost the
reader's time and the model's tokens. Of the right answers, 1 in a hundred is lost so."""
SLACK: Final = 0.1
"""So far behind the best one it is always kept: where all sums are small, shares say little."""
TEXTS_KEPT: Final = 256
SAME: Final = 0.9
"""Share of common terms from which two texts are the same to a reader."""


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A retrieved text: one chunk, or neighbours under the same heading.

    `text` is the file's own `[start_char:end_char]`, in characters. `kind` says what the chunk in
    it that fits best is: prose, code or table; `language` is the code's. `score` says how likely
    it answers.
    """

    chunk_id: str
    text: str
    file_path: str
    chapter: str
    section: str
    heading: str
    url: str | None
    start_char: int
    end_char: int
    kind: str = "prose"
    language: str = ""
    version: str = ""
    locale: str = ""
    score: Annotated[float, msgspec.Meta(ge=0, le=1)]


def kept(most: int) -> Callable[[Callable[[Passage], T]], Callable[[Passage], T]]:
    """Remember what a function makes of a passage, for the `most` that were used last: readers ask
    for the same places. It may not look at the score or the id, which differ by question."""

    def decorate(read: Callable[[Passage], T]) -> Callable[[Passage], T]:
        remembered = functools.lru_cache(maxsize=most)(read)

        @functools.wraps(read)
        def ask(passage: Passage) -> T:
            return remembered(msgspec.structs.replace(passage, chunk_id="", score=0.0))

        return ask

    return decorate


@dataclass(slots=True)
class _Run:
    """Neighbouring chunks of one file, in order, and the one that was found first."""

    best: Ranked
    chunks: list[StoredChunk]

    def joined_with(self, chunk: StoredChunk) -> list[StoredChunk] | None:
        """With `chunk` at one of its ends, if it belongs there and there is room."""
        first, last = self.chunks[0], self.chunks[-1]
        if place(chunk) != place(first):
            return None
        if chunk.ordinal == last.ordinal + 1:
            joined = [*self.chunks, chunk]
        elif chunk.ordinal == first.ordinal - 1:
            joined = [chunk, *self.chunks]
        else:
            return None
        whole = all(later.before is not None for later in joined[1:])
        return (
            joined if whole and joined[-1].end_char - joined[0].start_char <= MAX_JOINED else None
        )

    def passage(self) -> Passage:
        best, first = self.best.hit.chunk, self.chunks[0]
        texts = [text for each in self.chunks[1:] for text in (each.before or "", each.text)]
        return Passage(
            chunk_id=best.chunk_id,
            text=joined(first.text, *texts),
            file_path=best.file_path,
            chapter=best.chapter,
            section=best.section,
            heading=best.heading,
            url=best.url,
            start_char=first.start_char,
            end_char=self.chunks[-1].end_char,
            kind=best.kind,
            language=best.language,
            version=best.version,
            locale=best.locale,
            score=self.best.score,
        )


@functools.lru_cache(maxsize=TEXTS_KEPT)
def joined(*texts: str) -> str:
    """Remembered, so that readers who ask for the same places share it: hundreds of answers are
    written at once, and each holds its passages until its end."""
    return "".join(texts)


def passages(ranked: Iterable[Ranked], k: int) -> list[Passage]:
    """At most `k` of those that are not far behind the best; best first.

    A chunk whose neighbour is already there joins it, which leaves its place to another; one that
    says the same as one before it (in another version of the book, say) is left out.
    """
    runs: list[_Run] = []
    seen: list[frozenset[str]] = []
    best: float | None = None
    for each in ranked:
        best = each.total if best is None else best
        if runs and each.total < min(KEPT_SHARE * best, best - SLACK):
            break
        chunk = each.hit.chunk
        bag = frozenset(terms_of_chunk(chunk.text))
        if any(alike(bag, other) for other in seen):
            continue
        run, joined = next(
            ((run, joined) for run in runs if (joined := run.joined_with(chunk))), (None, None)
        )
        if run is not None and joined is not None:
            run.chunks = joined
        elif len(runs) == k:
            break
        else:
            runs.append(_Run(each, [chunk]))
        seen.append(bag)
    return [run.passage() for run in runs]


def place(chunk: StoredChunk) -> tuple[str, str | None, str, str]:
    """The heading that a chunk stands under. Only what stands under one is joined: a claim from
    the passage leads to the very heading it was found below."""
    return chunk.file_path, chunk.url, chunk.section, chunk.heading


def alike(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether a reader who has read one text gains nothing from the other."""
    both = len(one & other)
    return both > 0 and both >= SAME * max(len(one), len(other))
