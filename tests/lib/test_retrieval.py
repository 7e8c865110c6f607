"""Follow-ups, questions about the whole book, and the passages retrieved for them."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from lib.embedding import Embedder, Vectors
from lib.errors import UpstreamError
from lib.ingest import Ingestion, IngestRequest
from lib.ranking import Passage, Ranked
from lib.retrieval import (
    _CITED_PAGE_BONUS,
    _MAX_CONTEXT_CHARACTERS,
    _boost_pages,
    _cited_pages,
    _do_overlap,
    _interleave,
    _interpret,
    _is_about_the_book,
    retrieve_passages,
)
from lib.services import make_local_embedder, make_store
from lib.sessions import Message
from lib.settings import MULTILINGUAL, load_settings
from lib.store import Hit, Store
from tests.passages import passage_at
from tests.stores import chunk


def after(*questions: str) -> list[Message]:
    return [
        message
        for question in questions
        for message in (Message("user", question), Message("assistant", "An answer. [1]"))
    ]


@pytest.mark.parametrize(
    ("before", "question"),
    [
        ("What is a mutex?", "And what must a thread do before it may touch what is inside?"),
        ("What does the Kalman filter do?", "And what variant of it do we use otherwise?"),
        ("What is a PID controller?", "and how is it tuned?"),
        ("What is a PID controller?", "Why?"),
        ("How do I sort a list?", "And in Python?"),
        ("Which filters are there?", "what about the second one?"),
        ("Which filters are there?", "yes, tell me more"),
        ("Which filters are there?", "Tell me more about the first one"),
        ("What is a background task?", "how do I add one?"),
        ("When did the Black Death reach Marseille?", "And England?"),
        ("Which package signs tokens?", "Which package do I need for that?"),
        ("¿Qué es Rc<T>?", "¿Y se puede usar con varios hilos?"),
        ("Was macht opt-level?", "Und was ist der Standardwert?"),
        ("What do topics do?", "Und was ist mit services?"),
        ("Qu'est-ce qu'un jeton ?", "Et comment le signer ?"),
        ("کالمن فلٹر کیا ہے؟", "اور غیر خطی نظاموں کے لیے؟"),
        ("什么是所有权？", "那它怎么移动？"),
        ("所有権とは何ですか？", "それはなぜですか？"),
    ],
)
def test_a_question_that_leans_takes_the_one_before_it_along(before: str, question: str) -> None:
    found = _interpret(question, after(before))
    assert found[-1] == f"{before} {question}"
    if len(found) == 2:  # a single word may be a new subject
        assert found[0] == question


@pytest.mark.parametrize(
    "question",
    [
        "How do I read command line arguments?",
        "What does the compiler assume when Cargo.toml has no edition key?",
        "How many requests a minute may hit the auth endpoints?",
        "Can I lock just one part of a record against edits and leave the rest changeable?",
        "My script mostly sits waiting for a website to answer. What style of coding suits that?",
        "Where is Polonia Warsaw's home venue?",
        "¿Qué edicto abolió el protestantismo en Francia?",
        "1901 में वारसॉ के निवासियों में कितने प्रतिशत कैथोलिक थे?",
        "ما هو المستوى الثاني من التقسيم الإقليمي في بولندا؟",
    ],
)
def test_a_question_that_stands_on_its_own_stays_as_it_is(question: str) -> None:
    assert _interpret(question, after("What is the Zero Moment Point?")) == (question,)


@pytest.mark.parametrize("question", ["What is shadowing?", "What's the catch?"])
def test_a_short_question_may_be_meant_either_way(question: str) -> None:
    before = "What does opt-level do?"
    assert _interpret(question, after(before)) == (question, f"{before} {question}")


def test_a_paragraph_leans_on_nothing() -> None:
    question = "And so " + "it is as it is, " * 10 + "or is it?"
    assert _interpret(question, after("What is a mutex?")) == (question,)


def test_the_subject_is_carried_through_several_exchanges() -> None:
    history = after("What is Rc<T>?", "And can I use it from several threads?")
    assert _interpret("Why not?", history) == (
        "What is Rc<T>? And can I use it from several threads? Why not?",
    )


def test_what_was_asked_before_a_new_subject_is_forgotten() -> None:
    history = after("What is the Zero Moment Point?", "How long are translation jobs kept on disk?")
    assert _interpret("And why?", history) == (
        "How long are translation jobs kept on disk? And why?",
    )


def test_both_readings_of_a_short_question_are_carried_on() -> None:
    history = after("What does opt-level do?", "What is shadowing?")
    assert _interpret("And why?", history) == (
        "What is shadowing? And why?",
        "What does opt-level do? What is shadowing? And why?",
    )


@given(st.text(), st.lists(st.text(max_size=2_000), max_size=4))
def test_readings_end_in_the_question_and_stay_short(question: str, before: list[str]) -> None:
    found = _interpret(question, after(*before))
    assert 1 <= len(found) <= 2
    assert all(each.endswith(question) for each in found)
    assert all(len(each) <= _MAX_CONTEXT_CHARACTERS + 1 + len(question) for each in found)
    assert _interpret(question, []) == (question,)


def test_a_long_question_is_carried_by_its_words_that_mean_something() -> None:
    before = "I would like to know what it is that the " + "scheduler " * 60 + "does?"
    (found,) = _interpret("And why?", after(before))
    assert found.startswith("like know scheduler ")
    assert found.endswith("scheduler And why?")


def places(passages: Sequence[Passage]) -> list[int]:
    return [each.start_char for each in passages]


def test_the_first_reading_gives_two_passages_for_one_of_the_second() -> None:
    first = [passage_at("a.md", n, n + 10) for n in (0, 10, 20, 30)]
    second = [passage_at("a.md", n, n + 10) for n in (100, 110, 120)]
    assert places(_interleave([first, second], 5)) == [0, 10, 100, 20, 30]
    assert places(_interleave([first], 3)) == [0, 10, 20]
    assert places(_interleave([[], second], 2)) == [100, 110]


def test_no_text_comes_twice() -> None:
    first, second = (
        [passage_at("a.md", 0, 50)],
        [passage_at("a.md", 40, 90), passage_at("b.md", 0, 50), passage_at("a.md", 50, 90)],
    )
    found = _interleave([first, second], 5)
    assert [(each.file_path, each.start_char) for each in found] == [
        ("a.md", 0),
        ("b.md", 0),
        ("a.md", 50),
    ]
    assert not any(_do_overlap(a, b) for n, a in enumerate(found) for b in found[:n])


ANSWER = "Drop it. [1](https://b.example/a%20b/#drop) And [see](https://elsewhere.example/) [2]."


def test_pages_are_those_that_the_last_answer_cites() -> None:
    history = [*after("Before?"), Message("user", "How?"), Message("assistant", ANSWER)]
    assert _cited_pages(history) == {"https://b.example/a%20b/"}
    assert _cited_pages(after("How?")) == frozenset()
    assert _cited_pages([]) == frozenset()


def test_hits_on_a_cited_page_move_up() -> None:
    urls = ("https://b.example/c/#x", "https://b.example/a b/#y", None)
    ranked = [Ranked(Hit(chunk(n, url=url), 0.0, 0.0), 1 - n / 20) for n, url in enumerate(urls)]
    found = _boost_pages(ranked, _cited_pages([Message("assistant", ANSWER)]))
    assert [each.hit.chunk.sections[0].url for each in found] == [urls[1], urls[0], urls[2]]
    assert found[0].total == ranked[1].total + _CITED_PAGE_BONUS
    assert _boost_pages(ranked, ()) == ranked


@pytest.mark.parametrize(
    "question",
    [
        "What is this book about?",
        "Summarise the book",
        "Give me an overview of the documentation, please.",
        "Which topics does this guide cover?",
        "Tell me about this book",
        "¿De qué trata este libro?",
        "De quoi parle ce livre ?",
        "Worum geht es in diesem Buch?",
        "О чём эта книга?",
        "یہ کتاب کس بارے میں ہے؟",
    ],
)
def test_a_question_for_the_whole_book(question: str) -> None:
    assert _is_about_the_book(question)


@pytest.mark.parametrize(
    "question",
    [
        "What does the book say about tides?",
        "What is a mutex?",
        "Tell me about this chapter on sensors",
        "What is this?",
        "Summarise the rules for fenders",
        "Which guide rail holds the door?",
        "How do I build the documentation?",
        "",
    ],
)
def test_a_question_for_something_in_it(question: str) -> None:
    assert not _is_about_the_book(question)


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


@pytest.mark.asyncio(loop_scope="module")
async def test_a_follow_up_finds_what_its_subject_has(book: tuple[Embedder, Store]) -> None:
    for subject, page in (("kettle", "kettle.md"), ("toaster", "toaster.md")):
        history = exchange(f"What does the {subject} do?")
        found = await retrieve_passages(*book, "and how long is the warranty?", history, 1)
        assert found.passages[0].file_path == page
        assert found.answerable


@pytest.mark.asyncio(loop_scope="module")
async def test_of_two_pages_that_fit_the_one_that_was_cited_wins(
    book: tuple[Embedder, Store],
) -> None:
    for page in ("kettle", "toaster"):
        first = await retrieve_passages(*book, f"What does the {page} do?", [], 1)
        url = first.passages[0].url
        history = exchange("Which things are there in the kitchen?", f"That one. [1]({url})")
        found = await retrieve_passages(*book, "and how is it cleaned?", history, 1)
        assert found.passages[0].file_path == f"{page}.md"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_new_subject_is_found_whatever_was_said_before(
    book: tuple[Embedder, Store],
) -> None:
    question = "Which bulbs of how many watts fit into the lamp?"
    history = exchange("What does the kettle do?") + exchange("and how is it cleaned?")
    alone = await retrieve_passages(*book, question, [], 3)
    after = await retrieve_passages(*book, question, history, 3)
    assert after == alone
    assert after.passages[0].file_path == "lamp.md"


@pytest.mark.asyncio(loop_scope="module")
async def test_what_the_book_does_not_have(book: tuple[Embedder, Store]) -> None:
    for question in ("Who painted the Starry Night in 1889?", "Thank you!"):
        found = await retrieve_passages(*book, question, [], 3)
        assert not found.answerable
        assert found.passages


@pytest.mark.asyncio(loop_scope="module")
async def test_who_names_a_file_gets_its_passages(book: tuple[Embedder, Store]) -> None:
    found = await retrieve_passages(*book, "file:lamp Starry Night painter", [], 3)
    assert found.answerable
    assert {each.file_path for each in found.passages} == {"lamp.md"}


class Away:
    """An embedder whose service is unavailable."""

    def __init__(self, embedder: Embedder) -> None:
        self.model_id, self.similarity = embedder.model_id, embedder.similarity
        self.concurrency = embedder.concurrency
        self.load, self.embed_documents = embedder.load, embedder.embed_documents
        self.billable_tokens, self.close = embedder.billable_tokens, embedder.close

    async def embed_query(self, text: str) -> Vectors:
        raise UpstreamError("away")


@pytest.mark.asyncio(loop_scope="module")
async def test_words_alone_tell_while_the_embedder_is_away(book: tuple[Embedder, Store]) -> None:
    embedder, store = Away(book[0]), book[1]
    for question, worth in (
        ("How long does the warranty of the kettle last?", True),
        ("Who painted the Starry Night in 1889?", False),
    ):
        found = await retrieve_passages(embedder, store, question, [], 3)
        assert found.answerable is worth
