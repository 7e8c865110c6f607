"""Markers in an answer, resolved to the passages behind them while the answer streams.

The prompt numbers the passages; a model cites them as `[2]`, or in one of the other forms that
models write (`lib.markers`). Readers see `[1](address)`, numbered in order of appearance. A marker
without a passage behind it never reaches them, nor does a link that is not in the passages
(`lib.sanitizer`).
"""

import functools
from collections.abc import Sequence

import msgspec

from lib.addresses import Addresses, link_target
from lib.markers import expand
from lib.passages import TEXTS_KEPT, Passage
from lib.sanitizer import AnswerStream
from lib.text_fragments import markables, with_directive

__all__ = [
    "EXCERPT_CHARACTERS",
    "Citation",
    "Citations",
    "MarkerResolver",
    "Source",
    "citation",
    "excerpt",
    "expand",
    "link_target",
]

EXCERPT_CHARACTERS = 240


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a citation leads."""

    chapter: str
    section: str
    heading: str
    file_path: str
    url: str | None


class Citation(msgspec.Struct, frozen=True, kw_only=True):
    """A passage that the answer refers to."""

    marker: int
    text: str
    source: Source
    relevance_score: float
    chunk_id: str


class Citations:
    """The numbering of one answer: which passages it has cited so far, in which order.

    With `text_fragments`, a marker's link also marks the sentence on the page that says what the
    answer says before it.
    """

    def __init__(self, passages: Sequence[Passage], *, text_fragments: bool = True) -> None:
        self.passages = passages
        self._markers: dict[int, int] = {}
        self._markables = markables(passages) if text_fragments else None

    def cite(self, number: int, said: str = "") -> tuple[str, Citation | None]:
        """The reader's marker for passage `number` (from 1), and its citation the first time.

        `said` is the text of the line before it. An empty marker for a number without a passage.
        """
        if not 1 <= number <= len(self.passages):
            return "", None
        passage = self.passages[number - 1]
        first = number not in self._markers
        marker = self._markers.setdefault(number, len(self._markers) + 1)
        shown = f"[{marker}]"
        # Without the site's own address there is only a path, which a chat elsewhere cannot open.
        if passage.url is not None and passage.url.startswith(("http://", "https://")):
            target = link_target(passage.url)
            if self._markables is not None:
                target = with_directive(target, self._markables[number - 1].directive(said))
            shown += f"({target})"
        return shown, citation(marker, passage) if first else None


class MarkerResolver(AnswerStream[Citation]):
    """Turns the deltas of a model into the reader's text and citations."""

    def __init__(self, citations: Citations) -> None:
        passages = citations.passages
        addresses = (
            text
            for passage in passages
            for text in (passage.text, passage.url, (passage.url or "").partition("#")[0])
            if text
        )
        super().__init__(citations.cite, Addresses(addresses))


def citation(marker: int, passage: Passage) -> Citation:
    return Citation(
        marker=marker,
        text=excerpt(passage.text),
        source=Source(
            chapter=passage.chapter,
            section=passage.section,
            heading=passage.heading,
            file_path=passage.file_path,
            url=passage.url,
        ),
        relevance_score=passage.score,
        chunk_id=passage.chunk_id,
    )


@functools.lru_cache(maxsize=TEXTS_KEPT)
def excerpt(text: str) -> str:
    """The beginning of `text` on one line, cut between words. Remembered, as the text is."""
    line = " ".join(text.split())
    if len(line) <= EXCERPT_CHARACTERS:
        return line
    return line[:EXCERPT_CHARACTERS].rsplit(" ", 1)[0].rstrip(" ,;:") + " …"
