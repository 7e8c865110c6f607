"""What an answer is to rest on: passages for a question in the midst of a conversation."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from lib.about_book import OPENINGS, is_about_the_book
from lib.embedding import Embedder
from lib.passages import Passage, passages
from lib.refusal import evidence, is_small_talk, worth_reading
from lib.retrieval import cited_pages, merged, nearer, readings
from lib.search import Retrieved, retrieve
from lib.sessions import Message
from lib.store import Manifest, Store


@dataclass(frozen=True, slots=True)
class Grounds:
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


async def find_grounds(
    embedder: Embedder, store: Store, question: str, history: Sequence[Message], k: int
) -> Grounds:
    """The `k` passages for `question`, which may lean on `history` (oldest first).

    Raises what `lib.search.retrieve` raises.
    """
    if is_about_the_book(question) and (
        opening := await find_opening(embedder, store, question, k)
    ):
        return opening
    texts = readings(question, history)
    found = await asyncio.gather(*(retrieve(embedder, store, text, k) for text in texts))
    # Who goes on about the last answer means its pages rather than others.
    pages = cited_pages(history) if texts != (question,) else frozenset[str]()
    chosen = [passages(nearer(each.ranked, pages), k) if pages else each.passages for each in found]
    return Grounds(
        reading=texts[0],
        passages=merged(chosen, k),
        worth_reading=not is_small_talk(question) and any(map(is_worth_reading, found)),
        manifest=found[0].manifest,
        embedding_tokens=sum(each.embedding_tokens for each in found),
    )


async def find_opening(embedder: Embedder, store: Store, question: str, k: int) -> Grounds | None:
    """The passages in which the book says what it is about; None where no file is named so."""
    for name in OPENINGS:
        found = await retrieve(embedder, store, question, k, only={"paths": name})
        if found.passages:
            # Folders may have such a file each; the book's own lies highest. A page begins with
            # what matters.
            highest = min(passage.file_path.count("/") for passage in found.passages)
            shown = [each for each in found.passages if each.file_path.count("/") == highest]
            shown.sort(key=lambda passage: passage.start_char)
            return Grounds(question, shown, True, found.manifest, found.embedding_tokens)
    return None


def is_worth_reading(retrieved: Retrieved) -> bool:
    looked = retrieved.looked
    if looked.query.only:  # who names a page wants what it has
        return bool(retrieved.passages)
    known = evidence(
        looked.query, looked.asked, looked.found, retrieved.manifest, retrieved.similarity
    )
    return bool(retrieved.passages) and worth_reading(known)
