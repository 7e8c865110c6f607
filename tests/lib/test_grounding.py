from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from lib.embedding import Embedder, Vectors
from lib.errors import UpstreamError
from lib.grounding import find_grounds
from lib.ingest import Ingestion, IngestRequest
from lib.services import make_local_embedder, make_store
from lib.sessions import Message
from lib.setting_values import MULTILINGUAL
from lib.settings import load_settings
from lib.store import Store

PAGES = {
    "kettle.md": "# The kettle\n\nThe kettle boils water in two minutes.\n\n## Cleaning\n\n"
    "Clean it with a cloth every month.\n\n## Warranty\n\nThe warranty lasts three years.\n",
    "toaster.md": "# The toaster\n\nThe toaster browns two slices of bread at once.\n\n"
    "## Cleaning\n\nClean it with a brush every month.\n\n## Warranty\n\nThe warranty lasts one "
    "year.\n",
    "lamp.md": "# The lamp\n\nThe lamp shines for a thousand hours.\n\n## Bulbs\n\n"
    "Any bulb of forty watts fits.\n",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def book(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Embedder, Store]]:
    folder = tmp_path_factory.mktemp("book")
    for name, text in PAGES.items():
        (folder / name).write_text(text)
    settings = replace(
        load_settings(
            {
                "BOOK_CONTENT_PATH": str(folder),
                "SITE_URL": "https://b.example",
                "SITE_GENERATOR": "mkdocs",
            }
        ),
        qdrant_path=tmp_path_factory.mktemp("index"),
    )
    embedder, store = make_local_embedder(MULTILINGUAL), make_store(settings)
    ingestion = Ingestion(settings, embedder, store)
    await ingestion.start(IngestRequest())
    await ingestion.wait()
    yield embedder, store
    await embedder.close()
    await store.close()


def exchange(question: str, answer: str = "Yes. [1](https://b.example/x#y)") -> list[Message]:
    return [Message("user", question), Message("assistant", answer)]


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_follow_up_finds_what_its_subject_has(book: tuple[Embedder, Store]) -> None:
    for subject, page in (("kettle", "kettle.md"), ("toaster", "toaster.md")):
        history = exchange(f"What does the {subject} do?")
        found = await find_grounds(*book, "and how long is the warranty?", history, 1)
        assert found.passages[0].file_path == page
        assert found.worth_reading


async def test_of_two_pages_that_fit_the_one_that_was_cited_wins(
    book: tuple[Embedder, Store],
) -> None:
    for page in ("kettle", "toaster"):
        first = await find_grounds(*book, f"What does the {page} do?", [], 1)
        url = first.passages[0].url
        history = exchange("Which things are there in the kitchen?", f"That one. [1]({url})")
        found = await find_grounds(*book, "and how is it cleaned?", history, 1)
        assert found.passages[0].file_path == f"{page}.md"


async def test_a_new_subject_is_found_whatever_was_said_before(
    book: tuple[Embedder, Store],
) -> None:
    question = "Which bulbs of how many watts fit into the lamp?"
    history = exchange("What does the kettle do?") + exchange("and how is it cleaned?")
    alone = await find_grounds(*book, question, [], 3)
    after = await find_grounds(*book, question, history, 3)
    assert after == alone
    assert after.passages[0].file_path == "lamp.md"


async def test_what_the_book_does_not_have(book: tuple[Embedder, Store]) -> None:
    for question in ("Who painted the Starry Night in 1889?", "Thank you!"):
        found = await find_grounds(*book, question, [], 3)
        assert not found.worth_reading
        assert found.passages


async def test_who_names_a_file_gets_its_passages(book: tuple[Embedder, Store]) -> None:
    found = await find_grounds(*book, "file:lamp Starry Night painter", [], 3)
    assert found.worth_reading
    assert {each.file_path for each in found.passages} == {"lamp.md"}


class Away:
    """An embedder whose service does not answer."""

    def __init__(self, embedder: Embedder) -> None:
        self.model_id, self.similarity = embedder.model_id, embedder.similarity
        self.concurrency = embedder.concurrency
        self.load, self.embed_documents = embedder.load, embedder.embed_documents
        self.paid_tokens, self.close = embedder.paid_tokens, embedder.close

    async def embed_query(self, text: str) -> Vectors:
        raise UpstreamError("away")


async def test_words_alone_tell_while_the_embedder_is_away(book: tuple[Embedder, Store]) -> None:
    embedder, store = Away(book[0]), book[1]
    for question, worth in (
        ("How long does the warranty of the kettle last?", True),
        ("Who painted the Starry Night in 1889?", False),
    ):
        found = await find_grounds(embedder, store, question, [], 3)
        assert found.worth_reading is worth
