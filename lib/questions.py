"""Questions to offer to readers, made from the book's headings: starters and follow-ups.

A heading is worth asking if it says something by itself. Most rules need no words of a language: a
heading that several pages have, such as "Overview" or "See also", says little, and so does a single
word.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

import regex

from lib.citations import Citation
from lib.contents import Contents, Heading
from lib.errors import QuireError
from lib.languages import (
    question_language,
    question_words,
    small_words,
    word_meaning,
    words,
)
from lib.runtime import SingleFlight, run_cooperatively

_MAX_FOLLOW_UPS: Final = 3
_REACH: Final = 3
"""A heading at most so many places before or after a cited one is beside it."""
_MAX_STARTERS: Final = 4
_MAX_TRIED: Final = 16
"""Headings that are asked to find the starters."""
_OPENING_PAGES: Final = 500
"""Pages from the beginning of the book that starters are taken from."""
_LONGEST_QUESTION: Final = 100
_LONGEST_HEADING: Final = 60
_FEWEST_WORDS: Final = 2
_FEWEST_IN_QUESTION: Final = 3
"""Words of a question, also those of little meaning: "Problems?" and "What's next?" say little."""
_SPECIFIC: Final = (3, 5)
"""Fewest and most words of a heading that says much in a line."""
_QUESTION_MARK: Final = regex.compile(r"[?？؟]\Z")
_NO_QUESTION: Final = regex.compile(
    r"""\A\W*+\d        # a numbered step, a date
    | \A\w++\s\d        # Step 1
    | \d\.\d            # a version
    | \b(?:19|20)\d\d\b # a year
    | [(){}\[\]<>=$\\;|`@*_/] | :: | --  # code
    | [:：]\Z           # a label
    """,
    regex.VERBOSE,
)


def follow_ups(contents: Contents, cited: Sequence[Citation], asked: Iterable[str]) -> list[str]:
    """Return up to `_MAX_FOLLOW_UPS` headings beside those that an answer cites.

    They stand on the same pages, the nearest first, and after the cited one before those above it.
    `asked` are the questions of the conversation.
    """
    near: list[tuple[int, str]] = []
    for path in dict.fromkeys(each.source.file_path for each in cited):
        if page := contents.by_path.get(path):
            headings = page.flat
            places = [_place(each, headings) for each in cited if each.source.file_path == path]
            near += (
                (_distance(number, place), headings[number].text)
                for place in dict.fromkeys(places)
                for number in range(max(0, place - _REACH), place + _REACH + 1)
                if number < len(headings) and number not in places
            )
    near.sort(key=lambda each: each[0])
    known = [frozenset(words(question)) for question in asked]
    taken = {each.source.heading.casefold() for each in cited}
    found: list[str] = []
    for _, text in near:
        if len(found) == _MAX_FOLLOW_UPS:
            break
        again = any(question.issuperset(words(text)) for question in known)
        if not again and text.casefold() not in taken and _is_worth_asking(text, contents):
            taken.add(text.casefold())
            found.append(text)
    return found


def _place(citation: Citation, headings: Sequence[Heading]) -> int:
    """The index of the cited heading; -1 for the text before the first one."""
    source = citation.source
    return next(
        (
            number
            for number, each in enumerate(headings)
            if each.text == source.heading and _anchor(each.url) == _anchor(source.url)
        ),
        -1,
    )


def _anchor(url: str | None) -> str:
    return (url or "").partition("#")[2]


def _distance(number: int, place: int) -> int:
    """1 for the next heading, 2 for the one before, 3 for the next but one, and so on."""
    return 2 * (number - place) - 1 if number > place else 2 * (place - number)


def _is_worth_asking(heading: str, contents: Contents) -> bool:
    """Whether a heading says by itself what it is about."""
    if heading.casefold() in contents.repeated:
        return False
    meaning = _meaning(heading, contents.language)
    if _QUESTION_MARK.search(heading):
        several = meaning >= _FEWEST_WORDS or len(question_words(heading)) >= _FEWEST_IN_QUESTION
        return len(heading) <= _LONGEST_QUESTION and meaning > 0 and several
    return (
        len(heading) <= _LONGEST_HEADING
        and meaning >= _FEWEST_WORDS
        and not _NO_QUESTION.search(heading)
    )


def _meaning(heading: str, language: str) -> float:
    """Count the words that mean something. `language` is that of the book."""
    spoken = question_language(heading, (language,))
    return sum(word_meaning(word, spoken) for word in words(heading))


class Starters:
    """Starter questions of the published book, found once per generation of the index."""

    def __init__(self, find_page: Callable[[str], Awaitable[str | None]]) -> None:
        """`find_page` returns the file that answers a question; None if no one does."""
        self._find_page = find_page
        self._contents: Contents | None = None
        self._finding: SingleFlight[tuple[str, ...]] | None = None

    async def of(self, contents: Contents, max_wait: float) -> Sequence[str]:
        """The starters; none if they are not found after `max_wait` seconds."""
        if self._finding is None or contents is not self._contents:
            self._contents = contents
            self._finding = SingleFlight(partial(_find_starters, contents, self._find_page))
        with suppress(TimeoutError, QuireError):
            async with asyncio.timeout(max_wait):
                return await self._finding.get()
        return ()

    async def close(self) -> None:
        if self._finding:
            await self._finding.cancel()


async def _find_starters(
    contents: Contents, find_page: Callable[[str], Awaitable[str | None]]
) -> tuple[str, ...]:
    """Choose up to `_MAX_STARTERS` headings that their own page answers.

    Questions come first, then other headings, each from another page as far as there are enough.
    Raises the errors of `find_page`.
    """
    chosen: list[_Candidate] = []
    used: set[int] = set()
    tried = 0
    for each in await run_cooperatively(_candidates(contents)):
        if len(chosen) == _MAX_STARTERS or tried == _MAX_TRIED:
            break
        if each.page in used and not each.further:
            continue
        tried += 1
        if await find_page(each.text) == contents.pages[each.page].file_path:
            chosen.append(each)
            used.add(each.page)
    chosen.sort(key=lambda each: (not each.question, each.page))
    return tuple(each.text for each in chosen)


class _Candidate(NamedTuple):
    text: str
    page: int
    """Place in `Contents.pages`."""
    question: bool
    specific: bool
    """Whether a question opens like one, and another heading has neither few words nor many."""
    further: bool = False
    """Whether a better one of its page is before it."""


def _candidates(contents: Contents) -> Generator[None, None, list[_Candidate]]:
    """Sort the headings worth asking: those to try first come first.

    First the questions, one of each page, from the beginning of the book; then the best other
    headings of each of its parts. A book's index page and its own title tell nothing new.
    """
    questions: list[_Candidate] = []
    others: list[_Candidate] = []
    further: list[_Candidate] = []
    pages = contents.pages[: contents.listed or _OPENING_PAGES][:_OPENING_PAGES]
    for place, page in enumerate(pages):
        texts = dict.fromkeys([page.title, *(each.text for each in page.headings)])
        found = [
            _candidate(text, place, contents) for text in texts if _is_worth_asking(text, contents)
        ]
        for kind, wanted in ((questions, True), (others, False)):
            own = [each for each in found if each.question is wanted]
            own.sort(key=lambda each: not each.specific)
            first = 1 if wanted or place else 0
            kind += own[:first]
            further += (each._replace(further=True) for each in own[first:])
        yield
    size = math.ceil(len(pages) / _MAX_STARTERS)
    turns: Counter[int] = Counter()
    ordered = []
    for each in sorted(others, key=lambda each: (not each.specific, each.page)):
        part = each.page // size
        ordered.append((turns[part], part, each))
        turns[part] += 1
    questions.sort(key=lambda each: not each.specific)
    further.sort(key=lambda each: not each.question)
    return [*questions, *(each for _, _, each in sorted(ordered)), *further]


def _candidate(text: str, page: int, contents: Contents) -> _Candidate:
    if _QUESTION_MARK.search(text):
        # "How", "Why" and the like are such words, at the beginning in most languages.
        spoken = question_language(text, (contents.language,))
        return _Candidate(text, page, True, question_words(text)[0] in small_words(spoken))
    meaning = _meaning(text, contents.language)
    return _Candidate(text, page, False, _SPECIFIC[0] <= meaning <= _SPECIFIC[1])
