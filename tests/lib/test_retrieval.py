"""Follow-ups, questions about the whole book, and the passages retrieved for them."""

from collections.abc import AsyncIterator
from dataclasses import replace

import msgspec
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from lib.embedding import Embedder, Vectors
from lib.errors import UpstreamError
from lib.ingest import Ingestion, IngestRequest
from lib.ranking import Ranked
from lib.retrieval import (
    _CITED_PAGE_BONUS,
    _MAX_CONTEXT_CHARACTERS,
    _boost_pages,
    _cited_pages,
    _fuse,
    _interpret,
    _Interpretation,
    _is_about_the_book,
    _margin,
    _names_the_book,
    retrieve_passages,
)
from lib.search import search_passages
from lib.services import make_local_embedder, make_store
from lib.sessions import Message
from lib.settings import MULTILINGUAL, load_settings
from lib.store import Hit, Manifest, Store
from lib.terms import terms
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
    assert found.in_context == f"{before} {question}"
    assert found.weight < 0.5


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
    assert _interpret(question, after("What is the Zero Moment Point?")).weight > 0.5


@pytest.mark.parametrize("question", ["What is shadowing?", "I am in Sacramento."])
def test_a_short_question_may_be_meant_either_way(question: str) -> None:
    before = "What does opt-level do?"
    found = _interpret(question, after(before))
    assert found.in_context == f"{before} {question}"
    assert 0.2 <= found.weight <= 0.5


@pytest.mark.parametrize(
    ("question", "weight"),
    [
        ("And so " + "it is as it is, " * 10 + "or is it?", 1.0),
        ("Why?", 0.0),
        ("And then?", 0.0),
        ("Does it make sense to use them together rather than separately?", 0.15),
        ("They sound similar in function.", 0.09),
        ("Anything special I have to do for a 6 year old child?", 0.5),
        ("How many passengers may a sailing boat with a licence for coastal waters carry?", 1.0),
    ],
)
def test_the_more_a_question_means_the_more_it_stands_by_itself(
    question: str, weight: float
) -> None:
    found = _interpret(question, after("What is a mutex?"))
    assert found.weight == pytest.approx(weight)
    assert (found.in_context == question) is (weight == 1)


def test_the_subject_is_carried_through_several_exchanges() -> None:
    history = after("What is Rc<T>?", "And can I use it from several threads?")
    assert _interpret("Why not?", history) == _Interpretation(
        "What is Rc<T>? And can I use it from several threads? Why not?", 0.0
    )
    history = after("How do I get an order?", "Where do I file it?", "I live abroad.")
    assert _interpret("And now?", history).in_context == (
        "How do I get an order? Where do I file it? I live abroad. And now?"
    )


def test_what_was_asked_before_a_new_subject_is_forgotten() -> None:
    history = after("What is the Zero Moment Point?", "How long are translation jobs kept on disk?")
    assert _interpret("And why?", history).in_context == (
        "How long are translation jobs kept on disk? And why?"
    )


@given(st.text(), st.lists(st.text(max_size=2_000), max_size=4))
def test_readings_end_in_the_question_and_stay_short(question: str, before: list[str]) -> None:
    found = _interpret(question, after(*before))
    assert 0 <= found.weight <= 1
    assert found.in_context.endswith(question)
    assert len(found.in_context) <= _MAX_CONTEXT_CHARACTERS + 1 + len(question)
    assert _interpret(question, []) == _Interpretation(question, 1.0)


def test_a_long_question_is_carried_by_its_words_that_mean_something() -> None:
    before = "I would like to know what it is that the " + "scheduler " * 60 + "does?"
    found = _interpret("And why?", after(before)).in_context
    assert found.startswith("like know scheduler ")
    assert found.endswith("scheduler And why?")


def test_a_hit_is_ranked_by_its_sums_in_both_readings() -> None:
    hits = [Hit(chunk(n), 0.0, 0.0) for n in range(3)]
    own = hits[1].chunk.sections[0]
    alone = [Ranked(hits[0], 1.0), Ranked(hits[1], 0.5)]
    in_context = [Ranked(hits[1], 0.8, label=own), Ranked(hits[2], 0.7)]
    found = _fuse(alone, in_context, 0.25)
    assert [each.hit for each in found] == [hits[1], hits[2], hits[0]]
    assert [each.total for each in found] == pytest.approx([0.725, 0.525, 0.25])
    assert [each.label for each in found] == [own, None, None]
    assert _fuse(alone, in_context, 0.75)[1].label is None


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
    found = await retrieve_passages(*book, question, history, 3)
    assert found.passages[0].file_path == "lamp.md"
    assert (found.answerable, [*found.asked]) == (True, terms(question))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_question_that_a_heading_answers_needs_no_conversation(
    book: tuple[Embedder, Store],
) -> None:
    question = "and which bulbs fit?"
    history = exchange("How is the kettle cleaned every month?")
    found = await retrieve_passages(*book, question, history, 3)
    assert (found.passages[0].file_path, [*found.asked]) == ("lamp.md", terms(question))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_conversation_makes_no_other_subject_answerable(
    book: tuple[Embedder, Store],
) -> None:
    history = exchange("How is the kettle cleaned?")
    for question in ("And pizza?", "What about marathons?", "Who painted it?", "and tennis then?"):
        assert not (await retrieve_passages(*book, question, history, 3)).answerable
    for question in ("And then?", "Why?", "How often?", "And the toaster?", "what about the bulbs"):
        assert (await retrieve_passages(*book, question, history, 3)).answerable


@pytest.mark.asyncio(loop_scope="module")
async def test_sentences_are_weighed_with_what_a_question_depends_on(
    book: tuple[Embedder, Store],
) -> None:
    history = exchange("How long does the warranty last?")
    found = await retrieve_passages(*book, "I have a toaster.", history, 3)
    assert found.passages[0].file_path == "toaster.md"
    assert [*found.asked] == terms("How long does the warranty last? I have a toaster.")


@pytest.mark.asyncio(loop_scope="module")
async def test_what_the_book_does_not_have(book: tuple[Embedder, Store]) -> None:
    for question in (
        "Who painted the Starry Night in 1889?",
        "谁是法国总统？",
        "¿Quién ganó el mundial de 2018?",
    ):
        found = await retrieve_passages(*book, question, [], 3)
        assert not found.answerable
        assert found.passages
    for question in (
        "How is the kettle cleaned, reader 4711?",
        "how long is the waranty of the kettel",
        "怎么清洁水壶？",
        "¿Cómo se limpia el hervidor?",
    ):
        assert (await retrieve_passages(*book, question, [], 3)).answerable


@pytest.mark.asyncio(loop_scope="module")
async def test_who_names_a_file_gets_its_passages(book: tuple[Embedder, Store]) -> None:
    found = await retrieve_passages(*book, "file:lamp Starry Night painter", [], 3)
    assert found.answerable
    assert {each.file_path for each in found.passages} == {"lamp.md"}


@pytest.mark.asyncio(loop_scope="module")
async def test_the_shift_of_the_book_counts(
    book: tuple[Embedder, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = await book[1].manifest()
    assert manifest is not None

    async def shifted() -> Manifest:
        return msgspec.structs.replace(manifest, refusal_shift=50.0)

    assert (await retrieve_passages(*book, "How is the kettle cleaned?", [], 3)).answerable
    monkeypatch.setattr(book[1], "manifest", shifted)
    assert not (await retrieve_passages(*book, "How is the kettle cleaned?", [], 3)).answerable


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("question", "answerable"), [("Bulbs?", True), ("Watts?", False)])
async def test_a_heading_that_asks_the_same_makes_a_question_answerable(
    book: tuple[Embedder, Store],
    monkeypatch: pytest.MonkeyPatch,
    question: str,
    answerable: bool,
) -> None:
    result = await search_passages(*book, question, 3)
    without = replace(result, ranked=[replace(each, heading=0.0) for each in result.ranked])
    shift = result.manifest.refusal_shift + _margin(without) + 1.0

    async def shifted() -> Manifest:
        return msgspec.structs.replace(result.manifest, refusal_shift=shift)

    monkeypatch.setattr(book[1], "manifest", shifted)
    found = await retrieve_passages(*book, question, [], 3)
    assert found.answerable == answerable


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("question", "rarity", "named"),
    [("What is a kettle?", 0.1, True), ("kettle", 1.0, False), ("The kettle?", 0.1, False)],
)
async def test_the_subject_of_the_book_is_a_word_of_all_chunks_but_no_heading(
    book: tuple[Embedder, Store], question: str, rarity: float, named: bool
) -> None:
    result = await search_passages(*book, question, 3)
    found = result.lookup.found
    found = replace(found, rarity=dict.fromkeys(found.rarity, rarity))
    assert _names_the_book(replace(result, lookup=replace(result.lookup, found=found))) == named


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
