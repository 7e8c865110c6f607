"""Retrieve passages for a question, using the conversation to resolve follow-ups.

"And how is it tuned?" contains nothing to search for. Two signs identify such a question without a
model: few words with a meaning of their own, and words that continue a conversation ("and", "what
about") or refer to it ("it", "the second one"). The previous question is then prepended, together
with the context of that one.

A short question without such words, like "What is shadowing?", is ambiguous. Both readings are
searched and their passages interleaved.

A question about the whole book, like "What is this book about?", gets the book's opening page,
since no passage contains its words.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import regex

from lib.embedding import Embedder
from lib.languages import (
    ENGLISH,
    book_question_words,
    languages,
    most_spoken,
    opening_phrases,
    question_language,
    question_words,
    small_words,
    unspaced_pointing,
    word_meaning,
)
from lib.ranking import Passage, Ranked, select_passages, sort_key
from lib.refusal import answerability_signals, is_answerable
from lib.reranking import Reranker
from lib.sanitizer_syntax import RESOLVED_MARKER, link_target
from lib.search import SearchResult, search_passages
from lib.sessions import Message
from lib.store import Manifest, Store

_BOOK_OPENINGS: Final = (
    "index readme intro introduction preface foreword overview about welcome home".split()
)
"""Usual file names of a page that introduces a book, the likeliest first."""

_WORD: Final = regex.compile(r"[\p{L}\p{M}']++")


def _is_about_the_book(question: str) -> bool:
    """Whether a question is about the book as a whole."""
    words = [word.casefold() for word in _WORD.findall(question)]
    book, about, fillers = book_question_words()
    rest = [word for word in words if word not in fillers]
    books = [word for word in rest if book.fullmatch(word)]
    asked = [word for word in rest if about.fullmatch(word)]
    return bool(books) and bool(asked) and set(rest) == {*books, *asked}


_MAX_MEANINGFUL_AFTER_OPENING: Final = 5
"""Maximum meaningful words in a question that opens like a follow-up ("and", "what about")."""
_MAX_MEANINGFUL_WITH_POINTER: Final = 4
"""Maximum meaningful words in a question with a pointing word ("it", "that")."""
_MAX_MEANINGFUL_IF_AMBIGUOUS: Final = 3
"""Maximum meaningful words in an ambiguous question."""
_MAX_WORDS: Final = 40
"""Maximum words of a follow-up."""
_MAX_CONTEXT_CHARACTERS: Final = 300
"""Maximum characters of prepended questions, so that the new question keeps the larger part."""
_CITED_PAGE_BONUS: Final = 0.1
"""Added to the sum of a chunk on a page that the last answer cited; follow-ups rarely leave it."""

_MARKER: Final = re.compile(RESOLVED_MARKER)


def _interpret(question: str, history: Sequence[Message]) -> tuple[str, ...]:
    """Return the one or two texts to search for, given `history` (oldest first).

    A question that stands alone is returned unchanged. Of two texts, the question without
    context comes first, or the one with the shorter context.
    """
    asked = [message.content for message in history if message.role == "user"]
    found: tuple[str, ...] = ()
    for each in [*asked, question]:
        found = _interpret_after(each, found)
    return found


def _interpret_after(question: str, before: Sequence[str]) -> tuple[str, ...]:
    """Return the texts to search for, given those of the previous question."""
    if not before:
        return (question,)
    needed = _needs_context(question, before[-1])
    if needed is None:
        return question, _prepend_context(before[-1], question)
    return tuple(_prepend_context(each, question) for each in before) if needed else (question,)


def _prepend_context(before: str, question: str) -> str:
    """Prepend the previous question, reduced to its meaningful words if it is long."""
    if len(before) > _MAX_CONTEXT_CHARACTERS:
        small = small_words(question_language(before[:_MAX_CONTEXT_CHARACTERS]))
        plain = " ".join(word for word in before.split() if word.casefold() not in small)
        plain = plain[:_MAX_CONTEXT_CHARACTERS]
        before = plain.rpartition(" ")[0] or plain
    return f"{before} {question}"


def _needs_context(question: str, before: str) -> bool | None:
    """Whether a question depends on the previous one; None if its words do not tell."""
    found = question_words(question)
    if len(found) > _MAX_WORDS:
        return False
    language = most_spoken(found)
    if language == ENGLISH:  # also the default without evidence
        language = most_spoken([*question_words(before[:_MAX_CONTEXT_CHARACTERS]), *found])
    known = languages()[language]
    opening, pointing = known.opening.split(), known.pointing.split()
    meaning = [word_meaning(word, language) for word in found]
    if (found[:1] and found[0] in opening) or question.casefold().startswith(opening_phrases()):
        return sum(meaning) <= _MAX_MEANINGFUL_AFTER_OPENING
    # A pointing word may refer to something earlier in the same question.
    points = any(
        word in pointing and (sum(meaning[:place]) <= 1 or place == len(found) - 1)
        for place, word in enumerate(found)
    )
    if points or any(each in question for each in unspaced_pointing()):
        return sum(meaning) <= _MAX_MEANINGFUL_WITH_POINTER
    return None if sum(meaning) <= _MAX_MEANINGFUL_IF_AMBIGUOUS else False


def _cited_pages(history: Sequence[Message]) -> frozenset[str]:
    """Return the addresses, without anchors, of the pages that the last answer links to."""
    answers = [message.content for message in history if message.role == "assistant"]
    links = [found["url"] or "" for found in _MARKER.finditer(answers[-1])] if answers else []
    return frozenset(_page_address(url) for url in links if url.startswith(("http://", "https://")))


def _page_address(url: str) -> str:
    return url.partition("#")[0]


def _boost_pages(ranked: Iterable[Ranked], pages: Collection[str]) -> list[Ranked]:
    """Raise the sums of the hits on `pages` and sort again, best first."""
    moved = (
        replace(each, total=each.total + _CITED_PAGE_BONUS)
        if (url := each.hit.chunk.sections[0].url) and _page_address(link_target(url)) in pages
        else each
        for each in ranked
    )
    return sorted(moved, key=sort_key)


def _interleave(found: Sequence[Sequence[Passage]], k: int) -> list[Passage]:
    """Merge the passages of one or two texts, at most `k`, without overlaps.

    Two of the first text follow one of the second: most ambiguous questions stand alone.
    """
    if len(found) == 1:
        return list(found[0][:k])
    first, second = found
    chosen: list[Passage] = []
    for place in range(max(len(first), len(second))):
        for passage in (*first[2 * place : 2 * place + 2], *second[place : place + 1]):
            if not any(_do_overlap(passage, each) for each in chosen):
                chosen.append(passage)
    return chosen[:k]


def _do_overlap(one: Passage, other: Passage) -> bool:
    return one.file_path == other.file_path and (
        max(one.start_char, other.start_char) < min(one.end_char, other.end_char)
    )


@dataclass(frozen=True, slots=True)
class _Retrieval:
    reading: str
    """The question with its context, as it was searched: its spelling corrected."""
    passages: list[Passage]
    """Best first."""
    answerable: bool
    """Whether the book seems to answer the question."""
    manifest: Manifest
    embedding_tokens: int


async def retrieve_passages(
    embedder: Embedder,
    store: Store,
    question: str,
    history: Sequence[Message],
    k: int,
    *,
    reranker: Reranker | None = None,
) -> _Retrieval:
    """Retrieve `k` passages for `question`, which may refer to `history` (oldest first).

    Raises the errors of `lib.search.search_passages`.
    """
    search = partial(search_passages, embedder, store, k=k, reranker=reranker)
    if _is_about_the_book(question) and (opening := await _retrieve_opening(search, question)):
        return opening
    texts = _interpret(question, history)
    found = await asyncio.gather(*map(search, texts))
    # A follow-up most likely concerns the pages of the last answer.
    pages = _cited_pages(history) if texts != (question,) else frozenset[str]()
    chosen = [
        select_passages(_boost_pages(each.ranked, pages), k) if pages else each.passages
        for each in found
    ]
    return _Retrieval(
        reading=found[0].lookup.query.text,
        passages=_interleave(chosen, k),
        answerable=any(map(_has_answer, found)),
        manifest=found[0].manifest,
        embedding_tokens=sum(each.embedding_tokens for each in found),
    )


async def _retrieve_opening(
    search: Callable[..., Awaitable[SearchResult]], question: str
) -> _Retrieval | None:
    """Retrieve the book's introduction; None if no file has one of the usual names."""
    for name in _BOOK_OPENINGS:
        found = await search(question, only={"paths": name}, reranker=None)
        if found.passages:
            # Each folder may have such a file; the book's own is the highest.
            highest = min(passage.file_path.count("/") for passage in found.passages)
            shown = [each for each in found.passages if each.file_path.count("/") == highest]
            shown.sort(key=lambda passage: passage.start_char)
            return _Retrieval(question, shown, True, found.manifest, found.embedding_tokens)
    return None


def _has_answer(result: SearchResult) -> bool:
    lookup = result.lookup
    if lookup.query.only:  # with a restriction, any result counts
        return bool(result.passages)
    signals = answerability_signals(
        lookup.query, lookup.asked, lookup.found, result.manifest, result.similarity
    )
    return bool(result.passages) and is_answerable(signals)
