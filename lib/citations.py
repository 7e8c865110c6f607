"""Markers in an answer, resolved to the passages behind them while the answer streams.

The prompt numbers the passages; a model cites them as `[2]`, or in one of the other forms that
models write: `[1, 3]`, `[^1]`, `【1】`, `[Source 1]`. Readers see `[1](address)`, numbered in order
of appearance. A marker without a passage behind it never reaches them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from lib.passages import Passage

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
    """The numbering of one answer: which passages it has cited so far, in which order."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = passages
        self._markers: dict[int, int] = {}

    def cite(self, number: int) -> tuple[str, Citation | None]:
        """The reader's marker for passage `number` (from 1), and its citation the first time.

        An empty marker for a number without a passage.
        """
        if not 1 <= number <= len(self._passages):
            return "", None
        passage = self._passages[number - 1]
        first = number not in self._markers
        marker = self._markers.setdefault(number, len(self._markers) + 1)
        # Without the site's own address there is only a path, which a chat elsewhere cannot open.
        linked = passage.url is not None and passage.url.startswith(("http://", "https://"))
        shown = f"[{marker}]({link_target(passage.url or '')})" if linked else f"[{marker}]"
        return shown, citation(marker, passage) if first else None


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


def excerpt(text: str) -> str:
    """The beginning of `text` on one line, cut between words."""
    line = " ".join(text.split())
    if len(line) <= EXCERPT_CHARACTERS:
        return line
    return line[:EXCERPT_CHARACTERS].rsplit(" ", 1)[0].rstrip(" ,;:") + " …"


def link_target(url: str) -> str:
    """`url` so that it cannot end a Markdown link's parentheses early."""
    return quote(url, safe="/:?#[]@!$&'*+,;=%~-._")


_SPECIAL = re.compile(r"[`~\[【\n]")
_NUMBERS = (
    r"\s*(?:\^|#|(?:sources?|passages?|ref)\s*#?)?\s*(\d{1,3}(?:\s*(?:,|;|-|–|&|and)\s*\d{1,3})*)"
)
_MARKER = re.compile(rf"\[{_NUMBERS}\s*\]|【{_NUMBERS}\s*(?:†[^】\n]{{0,40}})?】", re.IGNORECASE)
_LINK_TARGET = re.compile(r"\([^()\s]*\)")
_FENCE = re.compile(r"(`{3,}|~{3,})")
# Longer than this, a bracket that has not closed is no marker.
_LONGEST_MARKER = 60
_LONGEST_TARGET = 500


@dataclass(slots=True)
class _Code:
    """Whether the text stands inside code, where brackets mean something else."""

    fence: str = ""
    span: int = 0
    line_start: bool = True
    """Nothing but white space since the last line break."""


class MarkerResolver:
    """Turns the deltas of a model into the reader's text and citations.

    The result does not depend on where the deltas were cut: what may still become a marker is
    held back until the next one decides.
    """

    def __init__(self, citations: Citations) -> None:
        self._citations = citations
        self._held = ""
        self._code = _Code()

    def feed(self, delta: str) -> list[str | Citation]:
        """The next pieces for the reader."""
        return self._resolve(delta, final=False)

    def finish(self) -> list[str | Citation]:
        """What was held back at the end."""
        return self._resolve("", final=True)

    def _resolve(self, delta: str, *, final: bool) -> list[str | Citation]:
        text, self._held = self._held + delta, ""
        pieces: list[str | Citation] = []
        plain: list[str] = []
        for piece in self._scan(text, final):
            if isinstance(piece, str):
                plain.append(piece)
            else:
                pieces.append("".join(plain))
                pieces.append(piece)
                plain.clear()
        pieces.append("".join(plain))
        return [piece for piece in pieces if piece]

    def _scan(self, text: str, final: bool) -> Iterator[str | Citation]:
        code, at = self._code, 0
        while at < len(text):
            found = _SPECIAL.search(text, at)
            upto = found.start() if found else len(text)
            before = text[at:upto]
            if not found and not final:
                # A marker that is left out takes the space before it along; hold it.
                before = before.rstrip(" ")
                self._held = text[at + len(before) : upto]
            if before.strip():
                code.line_start = False
            if not found:
                yield before
                return
            char = text[upto]
            if char in "[【" and not code.fence and not code.span:
                end, markers = self._marker(text, upto, final)
                if end < 0:
                    yield before.rstrip(" ")
                    self._held = text[at + len(before.rstrip(" ")) :]
                    return
                if markers is None:
                    yield before + char
                else:
                    shown = list(self._shown(markers))
                    yield before if shown else before.rstrip(" ")
                    yield from shown
                code.line_start = False
                at = end
                continue
            if char in "`~":
                run = len(text) - upto - len(text[upto:].lstrip(char))
                if upto + run == len(text) and not final:
                    yield before
                    self._held = text[upto:]
                    return
                self._toggle(char * run)
                yield before + char * run
                at = upto + run
                continue
            if char == "\n":
                if code.line_start:
                    code.span = 0  # a span of code does not reach over an empty line
                code.line_start = True
            yield before + char
            at = upto + 1

    def _toggle(self, run: str) -> None:
        """Enter or leave code at a run of backticks or tildes."""
        code = self._code
        if code.fence:
            if code.line_start and run.startswith(code.fence):
                code.fence = ""
        elif code.line_start and not code.span and len(run) >= 3:
            code.fence = run
        elif run[0] == "`":
            if not code.span:
                code.span = len(run)
            elif code.span == len(run):
                code.span = 0
        code.line_start = False

    def _marker(self, text: str, start: int, final: bool) -> tuple[int, list[int] | None]:
        """Where the marker at `start` ends and which passages it names.

        `(-1, None)` while that cannot be known; `(start + 1, None)` when it is no marker.
        """
        match = _MARKER.match(text, start)
        if match is None:
            tail = text[start : start + _LONGEST_MARKER + 1]
            closed = re.search(r"[\]】\n]", tail[1:])
            if not final and not closed and len(tail) <= _LONGEST_MARKER:
                return -1, None
            return start + 1, None
        end = match.end()
        # Some models add a target of their own: it goes, and so must be seen whole.
        if end == len(text) and not final:
            return -1, None
        if text.startswith("(", end):
            target = _LINK_TARGET.match(text, end)
            if target:
                end = target.end()
            elif not final and _may_be_target(text[end + 1 :]):
                return -1, None
        return end, expand(match[1] or match[2])

    def _shown(self, numbers: Sequence[int]) -> Iterator[str | Citation]:
        for number in numbers:
            marker, new = self._citations.cite(number)
            if marker:
                yield marker
            if new:
                yield new


def _may_be_target(tail: str) -> bool:
    return len(tail) < _LONGEST_TARGET and not re.search(r"[\s()]", tail)


def expand(numbers: str) -> list[int]:
    """`"1, 3-5"` as `[1, 3, 4, 5]`; a range over more than ten is taken as its ends."""
    found: list[int] = []
    for part in re.split(r"\s*(?:,|;|&|and)\s*", numbers.lower()):
        ends = [int(end) for end in re.split(r"\s*[-–]\s*", part)]
        if len(ends) == 2 and ends[0] < ends[1] <= ends[0] + 10:
            ends = list(range(ends[0], ends[1] + 1))
        found.extend(ends)
    return list(dict.fromkeys(found))
