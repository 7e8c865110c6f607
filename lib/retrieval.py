"""A question that leans on the ones before it, made fit to be looked for on its own.

"And how is it tuned?" names nothing that search could find. Two signs tell such a question, without
asking a model: it has few words that mean something by themselves, and it has small words that lead
on from what was said ("and", "what about") or stand for it ("it", "the second one"). Then the
question before it is put in front, and before that the one which that leans on.

Where a question is short and has no such word, as "What's the catch?" and "What is shadowing?", it
may be either. Then both readings are looked for, and their passages taken in turn.

Questions about the book as a whole: "What is this book about?", "Summarise the docs".

No passage has their words, yet a reader asks nothing more often; the book's own opening answers.

What an answer is to rest on: passages for a question in the midst of a conversation.
"""

import asyncio
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
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
from lib.refusal import answerability_signals, is_answerable, is_small_talk
from lib.sanitizer_syntax import link_target
from lib.search import SearchResult, search_passages
from lib.sessions import Message
from lib.store import Manifest, Store

_BOOK_OPENINGS: Final = (
    "index",
    "readme",
    "intro",
    "introduction",
    "preface",
    "foreword",
    "overview",
    "about",
    "welcome",
    "home",
)
"""What the file is called that says what a book is about; the likeliest first."""

_WORD: Final = regex.compile(r"[\p{L}\p{M}']+")


def is_about_the_book(question: str) -> bool:
    """Whether a question asks for the book as a whole, and for nothing in it."""
    words = [word.casefold() for word in _WORD.findall(question)]
    book, about, fillers = book_question_words()
    rest = [word for word in words if word not in fillers]
    books = [word for word in rest if book.fullmatch(word)]
    asked = [word for word in rest if about.fullmatch(word)]
    return bool(books) and bool(asked) and set(rest) == {*books, *asked}


MAX_MEANINGFUL_AFTER_OPENING: Final = 5
"""Words with a meaning of their own in a question that opens like a follow-up, at the most."""
MAX_MEANINGFUL_WITH_POINTER: Final = 4
"""The same for a question that points to something without opening so..."""
MAX_MEANINGFUL_IF_AMBIGUOUS: Final = 3
"""...and for one that does neither, but may still be meant so."""
MAX_WORDS: Final = 40
"""In a question that may lean on another at all."""
MAX_CONTEXT_CHARACTERS: Final = 300
"""Characters of earlier questions that are put in front: what is new must stay the larger part."""
CITED_PAGE_BONUS: Final = 0.1
"""Added to the sum of a chunk whose page the answer before cited: follow-ups mostly stay there."""

_LINK: Final = re.compile(r"\[\d+\]\((https?://[^)\s]+)\)")


def interpret(question: str, history: Sequence[Message]) -> tuple[str, ...]:
    """What `question` may mean after `history` (oldest first): one text to look for, or two.

    The question itself where it stands on its own, and always without a history. Of two, the
    question itself is the first, or the longer of two contexts the second.
    """
    asked = [message.content for message in history if message.role == "user"]
    found: tuple[str, ...] = ()
    for each in [*asked, question]:
        found = interpret_after(each, found)
    return found


def interpret_after(question: str, before: Sequence[str]) -> tuple[str, ...]:
    """The readings of one question, after the readings of the one before it."""
    if not before:
        return (question,)
    leaning = needs_context(question, before[-1])
    if leaning is None:
        return question, prepend_context(before[-1], question)
    return tuple(prepend_context(each, question) for each in before) if leaning else (question,)


def prepend_context(before: str, question: str) -> str:
    """`question` behind the one before it, or behind the words of that which mean something."""
    if len(before) > MAX_CONTEXT_CHARACTERS:
        small = small_words(question_language(before[:MAX_CONTEXT_CHARACTERS]))
        plain = " ".join(word for word in before.split() if word.casefold() not in small)
        before = plain[:MAX_CONTEXT_CHARACTERS].rpartition(" ")[0] or plain[:MAX_CONTEXT_CHARACTERS]
    return f"{before} {question}"


def needs_context(question: str, before: str) -> bool | None:
    """Whether a question needs the one before it; None where its words do not tell."""
    found = question_words(question)
    if len(found) > MAX_WORDS:
        return False
    language = most_spoken(found)
    if language == ENGLISH:  # so it is, too, for want of a sign
        language = most_spoken([*question_words(before[:MAX_CONTEXT_CHARACTERS]), *found])
    known = languages()[language]
    opening, pointing = known.opening.split(), known.pointing.split()
    meaning = [word_meaning(word, language) for word in found]
    if (found[:1] and found[0] in opening) or question.casefold().startswith(opening_phrases()):
        return sum(meaning) <= MAX_MEANINGFUL_AFTER_OPENING
    # What a pointing word stands for may have been named before it in the question itself.
    points = any(
        word in pointing and (sum(meaning[:place]) <= 1 or place == len(found) - 1)
        for place, word in enumerate(found)
    )
    if points or any(each in question for each in unspaced_pointing()):
        return sum(meaning) <= MAX_MEANINGFUL_WITH_POINTER
    return None if sum(meaning) <= MAX_MEANINGFUL_IF_AMBIGUOUS else False


def cited_pages(history: Sequence[Message]) -> frozenset[str]:
    """Addresses, without their anchors, of the pages that the last answer links to."""
    answers = [message.content for message in history if message.role == "assistant"]
    return frozenset(map(page_address, _LINK.findall(answers[-1]))) if answers else frozenset()


def page_address(url: str) -> str:
    return url.partition("#")[0]


def boost_pages(ranked: Iterable[Ranked], pages: Collection[str]) -> list[Ranked]:
    """The hits anew in order, those on `pages` (`cited_pages`) moved up; best first."""
    moved = (
        replace(each, total=each.total + CITED_PAGE_BONUS)
        if each.hit.chunk.url and page_address(link_target(each.hit.chunk.url)) in pages
        else each
        for each in ranked
    )
    return sorted(moved, key=sort_key)


def interleave(found: Sequence[Sequence[Passage]], k: int) -> list[Passage]:
    """The best passages of one or two readings, at most `k`, no text twice.

    Two of the first for one of the second: of the questions whose words do not tell, most stand on
    their own.
    """
    if len(found) == 1:
        return list(found[0][:k])
    first, second = found
    chosen: list[Passage] = []
    for place in range(max(len(first), len(second))):
        for passage in (*first[2 * place : 2 * place + 2], *second[place : place + 1]):
            if not any(do_overlap(passage, each) for each in chosen):
                chosen.append(passage)
    return chosen[:k]


def do_overlap(one: Passage, other: Passage) -> bool:
    return one.file_path == other.file_path and (
        max(one.start_char, other.start_char) < min(one.end_char, other.end_char)
    )


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What was found for a question."""

    reading: str
    """The question, with what it leans on."""
    passages: list[Passage]
    """Best first."""
    worth_reading: bool
    """Whether the book seems to answer at all."""
    manifest: Manifest
    """Of the index."""
    embedding_tokens: int


async def retrieve_passages(
    embedder: Embedder, store: Store, question: str, history: Sequence[Message], k: int
) -> Retrieval:
    """The `k` passages for `question`, which may lean on `history` (oldest first).

    Raises what `lib.search.search_passages` raises.
    """
    if is_about_the_book(question) and (
        opening := await retrieve_opening(embedder, store, question, k)
    ):
        return opening
    texts = interpret(question, history)
    found = await asyncio.gather(*(search_passages(embedder, store, text, k) for text in texts))
    # Who goes on about the last answer means its pages rather than others.
    pages = cited_pages(history) if texts != (question,) else frozenset[str]()
    chosen = [
        select_passages(boost_pages(each.ranked, pages), k) if pages else each.passages
        for each in found
    ]
    return Retrieval(
        reading=texts[0],
        passages=interleave(chosen, k),
        worth_reading=not is_small_talk(question) and any(map(has_answer, found)),
        manifest=found[0].manifest,
        embedding_tokens=sum(each.embedding_tokens for each in found),
    )


async def retrieve_opening(
    embedder: Embedder, store: Store, question: str, k: int
) -> Retrieval | None:
    """The passages in which the book says what it is about; None where no file is named so."""
    for name in _BOOK_OPENINGS:
        found = await search_passages(embedder, store, question, k, only={"paths": name})
        if found.passages:
            # Folders may have such a file each; the book's own lies highest. A page begins with
            # what matters.
            highest = min(passage.file_path.count("/") for passage in found.passages)
            shown = [each for each in found.passages if each.file_path.count("/") == highest]
            shown.sort(key=lambda passage: passage.start_char)
            return Retrieval(question, shown, True, found.manifest, found.embedding_tokens)
    return None


def has_answer(retrieved: SearchResult) -> bool:
    looked = retrieved.looked
    if looked.query.only:  # who names a page wants what it has
        return bool(retrieved.passages)
    known = answerability_signals(
        looked.query, looked.asked, looked.found, retrieved.manifest, retrieved.similarity
    )
    return bool(retrieved.passages) and is_answerable(known)
