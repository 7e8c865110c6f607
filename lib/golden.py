"""Read golden questions: questions with known answers, one JSON object per line.

    {"question": "When does the tide turn?", "file": "tides.md", "text": "turns every six hours"}
    {"question": "How strong is the current?", "file": "tides.md", "heading": "Currents"}
    {"question": "And at night?", "file": "tides.md", "history": ["When does the tide turn?"]}
    {"question": "How deep is the Dead Sea?", "answerable": false}

`text` is a quote from the file that answers the question, white space ignored; all its occurrences
count. `heading` restricts the answer to that section and its subsections. With neither, any passage
of the file counts. `history` holds earlier questions; `id` and `category` are free. Unknown fields
are ignored.

An answer in several parts has `spans` instead of `file`: a list of objects with `file` and `text`.
A span may have `start` and `end` (characters of the file) instead of or beside its text, and
alternatives: `alts`, pairs of start and end in the same file, and `also`, a list of spans. With
`"level": "file"`, any passage of the spans' files counts.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

import msgspec

from lib.documents import HTML_SUFFIXES, DocumentError, DocumentLimits, read_document
from lib.markdown import parse_page
from lib.markdown_page import Flavour
from lib.ranking import Passage
from lib.search import MAX_QUERY_CHARACTERS

_ENOUGH_CHARACTERS: Final = 100
"""Of a long place, this many characters count as found."""
_FLAVOURS: Final[tuple[Flavour, ...]] = ("commonmark", "mdx", "myst")

_SEPARATOR: Final = " > "
"""Between the headings of a path."""

_TextOf = Callable[[str], str]
"""Returns the text of a file of the book. Raises `BadQuestions`."""


class _AnswerSpan(msgspec.Struct):
    """A part of an answer, as written in the file of questions."""

    file: str
    text: str | None = None
    heading: str | None = None
    start: int | None = None
    end: int | None = None
    alts: list[tuple[int, int]] = []
    also: list["_AnswerSpan"] = []


class _QuestionRow(msgspec.Struct):
    """A question, as written in the file of questions."""

    question: str
    file: str | None = None
    text: str | None = None
    heading: str | None = None
    spans: list[_AnswerSpan] = []
    id: str = ""
    category: str | None = None
    answerable: bool = True
    level: str | None = None
    history: list[str] = []


class _Found(Protocol):
    """A part of a file, such as a `Passage`."""

    @property
    def file_path(self) -> str: ...

    @property
    def start_char(self) -> int: ...

    @property
    def end_char(self) -> int: ...


class _Cited(_Found, Protocol):
    @property
    def heading(self) -> str:
        """Its path, as `lib.ranking.join_headings` writes it."""


@dataclass(frozen=True, slots=True)
class GoldPlace:
    """Characters of a file that answer; with `whole`, any part of the file does."""

    file: str
    start: int
    end: int
    whole: bool = False

    def hit_by(self, found: _Found) -> bool:
        """Whether `found` contains half of the characters, or `_ENOUGH_CHARACTERS`."""
        if found.file_path != self.file:
            return False
        common = min(found.end_char, self.end) - max(found.start_char, self.start)
        return common > 0 and (
            self.whole or common >= min(_ENOUGH_CHARACTERS, (self.end - self.start) / 2)
        )


GoldPlaces = tuple[GoldPlace, ...]
"""Alternative places of one part of an answer."""


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    answer: tuple[GoldPlaces, ...] = ()
    """The parts of the answer; empty for an unanswerable question."""
    category: str = ""
    id: str = ""
    history: tuple[str, ...] = ()
    """Earlier questions, oldest first."""


class BadQuestions(Exception):
    """Invalid questions. The message has a line for each."""


def read_questions(
    files: Iterable[Path], root: Path, limits: DocumentLimits | None = None
) -> list[Question]:
    """Read questions about the book in the folder `root`. Raises `BadQuestions`."""
    read: list[Question] = []
    wrong: list[str] = []

    @cache
    def text_of(file: str) -> str:
        try:
            return read_document(root, file, limits or DocumentLimits()).text
        except DocumentError as error:
            raise BadQuestions(f"{file}: {error}") from None

    for path in files:
        try:
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            wrong.append(f"{path} cannot be read: {reason}")
            continue
        for number, line in enumerate(lines, 1):
            try:
                if line.strip():
                    read.append(_parse_question(line, text_of))
            except BadQuestions as error:
                wrong.append(f"{path}, line {number}: {error}")
    if not read and not wrong:
        wrong.append("there are no questions")
    if wrong:
        raise BadQuestions("\n".join(wrong))
    return read


def _parse_question(line: str, text_of: _TextOf) -> Question:
    """Parse a line of a file of questions. Raises `BadQuestions`."""
    try:
        row = msgspec.json.decode(line, type=_QuestionRow)
    except msgspec.MsgspecError as error:
        raise BadQuestions(f"not a question: {error}") from None
    asked = [row.question.strip(), *(each.strip() for each in row.history)]
    if not all(1 <= len(each) <= MAX_QUERY_CHARACTERS for each in asked):
        raise BadQuestions(f"a question has to have 1 to {MAX_QUERY_CHARACTERS} characters")
    answer: tuple[GoldPlaces, ...] = ()
    if row.answerable:
        # With `spans`, `file` and `heading` are only descriptive.
        spans = row.spans or ([_AnswerSpan(row.file, row.text, row.heading)] if row.file else [])
        if not spans:
            raise BadQuestions("it needs a `file`, or `spans`, or `answerable` false")
        whole = row.level == "file"
        answer = tuple(tuple(_find_places(span, text_of, whole=whole)) for span in spans)
    return Question(asked[0], answer, row.category or "", row.id, tuple(asked[1:]))


def _find_places(span: _AnswerSpan, text_of: _TextOf, *, whole: bool) -> list[GoldPlace]:
    """Find the places of a part of an answer. Raises `BadQuestions`."""
    text = text_of(span.file)
    whole = whole or (not span.heading and span.text is None and span.start is None)
    if whole:
        found = [(0, len(text))]
    elif span.start is not None and span.end is not None:
        found = [(span.start, span.end)]
        if span.text is not None and text[span.start : span.end] != span.text:
            raise BadQuestions(
                f"{span.file} has another text at {span.start} to {span.end}: "
                f"{_shorten(text[span.start : span.end])}"
            )
    else:
        found = _find_ranges(span, text)
    found += span.alts
    for start, end in found:
        if not 0 <= start < end <= len(text):
            raise BadQuestions(f"{span.file} has no characters {start} to {end}")
    return [
        *(GoldPlace(span.file, start, end, whole) for start, end in found),
        *(place for other in span.also for place in _find_places(other, text_of, whole=whole)),
    ]


def _find_ranges(span: _AnswerSpan, text: str) -> list[tuple[int, int]]:
    """Find the heading's sections, the quote, or the quote below the heading in `text`."""
    sections = [(0, len(text))]
    below = ""
    if span.heading:
        sections = _find_sections(span.heading, text)
        below = f" below the heading {_shorten(span.heading)}"
        if not sections:
            raise BadQuestions(f"{span.file} does not have the heading {_shorten(span.heading)}")
    if span.text is None:
        return sections
    if not span.text.strip():
        raise BadQuestions("the `text` of an answer is empty")
    found = [
        (start, end)
        for start, end in _find_quotes(span.text, text)
        if any(first <= start and end <= last for first, last in sections)
    ]
    if not found:
        raise BadQuestions(f"{span.file} does not have the quote {_shorten(span.text)}{below}")
    return found


def _find_sections(heading: str, text: str) -> list[tuple[int, int]]:
    """Find every section with that heading, or the whole page for its title."""
    wanted = _fold_heading(heading)
    for flavour in _FLAVOURS:  # the site's flavour is unknown here
        page = parse_page(text, flavour)
        found: list[tuple[int, int]] = []
        for at, here in enumerate(page.headings, 1):
            if _fold_heading(here.text) == wanted:
                later = (each.start for each in page.headings[at:] if each.level <= here.level)
                found.append((here.start, next(later, len(text))))
        if found:
            return found
        if _fold_heading(page.title) == wanted:
            return [(0, len(text))]
    return []


def _find_quotes(quote: str, text: str) -> list[tuple[int, int]]:
    """Find every occurrence of `quote` in `text`, ignoring differences in white space."""
    pattern = r"\s+".join(map(re.escape, quote.split()))
    return [found.span() for found in re.finditer(pattern, text)]


def write_question(
    question: str, history: Sequence[str], cited: _Cited | None, text: str = ""
) -> bytes:
    """Write a line that `read_questions` accepts, without its end.

    `cited` answers the question; None if the book does not. `text`: that of its file, if it can be
    read. The line has the heading if the file has it and its section contains `cited`. In a page of
    HTML, whose headings are not read, the whole page answers.
    """
    row: dict[str, object] = {"question": question[:MAX_QUERY_CHARACTERS].strip()}
    if cited is None:
        row["answerable"] = False
    else:
        row["file"] = cited.file_path
        if heading := _heading_of(cited, text):
            row["heading"] = heading
    if history:
        row["history"] = [each[:MAX_QUERY_CHARACTERS].strip() for each in history]
    return msgspec.json.encode(row)


def _heading_of(cited: _Cited, text: str) -> str:
    """The heading whose section contains `cited`; empty without one."""
    if PurePosixPath(cited.file_path).suffix.lower() in HTML_SUFFIXES:
        return ""
    *above, heading = cited.heading.split(_SEPARATOR)
    while True:
        for start, end in _find_sections(heading, text):
            if GoldPlace(cited.file_path, start, end).hit_by(cited):
                return heading
        if not above:
            return ""
        # The separator may be part of a heading.
        heading = f"{above.pop()}{_SEPARATOR}{heading}"


def find_ranks(answer: Iterable[GoldPlaces], found: Sequence[Passage]) -> tuple[int | None, ...]:
    """Return for each part of the answer the rank, from 1, of the first passage that hits it."""
    return tuple(
        next((nth for nth, each in enumerate(found, 1) if any(p.hit_by(each) for p in gold)), None)
        for gold in answer
    )


def recall(places_found: Sequence[int | None], first: int) -> float:
    """Return the share of an answer's parts that the first passages hit."""
    return sum(nth is not None and nth <= first for nth in places_found) / len(places_found)


def _fold_heading(heading: str) -> str:
    return " ".join(heading.split()).casefold()


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
