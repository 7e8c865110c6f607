"""Starters and follow-ups, made from headings."""

import asyncio
from collections.abc import Sequence

import pytest

from lib.citations import Citation, _Source
from lib.contents import Contents, Page, _encode, _Packed
from lib.errors import StoreUnavailable
from lib.languages import ENGLISH
from lib.questions import Starters, _is_worth_asking, follow_ups

SITE = "https://b.example"


def make_page(path: str, *headings: str, title: str = "Page") -> Page:
    """`>` before a heading puts it under the one before."""
    packed = [
        _Packed(text.lstrip(">"), f"#{number}", not text.startswith(">"))
        for number, text in enumerate(headings)
    ]
    return Page(
        file_path=path,
        title=title,
        url=f"{SITE}/{path}",
        version="",
        locale="",
        packed=_encode(packed),
    )


def make_contents(
    *pages: Page, repeated: Sequence[str] = (), language: str = ENGLISH, listed: int = 0
) -> Contents:
    return Contents(
        generation="g",
        pages=pages,
        listed=listed,
        title="",
        language=language,
        by_path={each.file_path: each for each in pages},
        complete=True,
        repeated=frozenset(repeated),
    )


def cite(page: Page, heading: str, marker: int = 1) -> Citation:
    urls = {each.text: each.url for each in page.flat}
    source = _Source(
        chapter=page.title,
        section="",
        heading=heading,
        file_path=page.file_path,
        url=urls.get(heading, page.url),
    )
    return Citation(marker=marker, text="", source=source, relevance_score=1, chunk_id="c")


TIDES = make_page(
    "tides.md",
    "Spring tides rise",
    "Neap tides rest",
    ">Height of water",
    ">Time of slack",
    "Currents in channels",
    "Tables of tides",
    "Reading a tide gauge",
    title="Tides",
)
MOORING = make_page("mooring.md", "Lines and springs", "Fenders between boats", title="Mooring")
BOOK = make_contents(TIDES, MOORING)


def test_the_headings_after_under_and_before_follow() -> None:
    assert follow_ups(BOOK, [cite(TIDES, "Neap tides rest")], []) == [
        "Height of water",
        "Spring tides rise",
        "Time of slack",
    ]


def test_an_introduction_is_followed_by_the_first_headings() -> None:
    assert follow_ups(BOOK, [cite(TIDES, "Tides")], []) == [
        "Spring tides rise",
        "Neap tides rest",
        "Height of water",
    ]


def test_cited_headings_do_not_follow() -> None:
    cited = [cite(TIDES, "Spring tides rise"), cite(TIDES, "Neap tides rest", 2)]
    found = follow_ups(BOOK, cited, [])
    assert found[0] == "Height of water"
    assert not {"Spring tides rise", "Neap tides rest"} & {*found}


def test_what_was_asked_does_not_follow() -> None:
    asked = ["Neap tides rest?", "How can the height of the water be told?"]
    assert follow_ups(BOOK, [cite(TIDES, "Spring tides rise")], asked) == ["Time of slack"]


def test_several_pages_take_turns() -> None:
    cited = [cite(TIDES, "Tables of tides"), cite(MOORING, "Lines and springs", 2)]
    assert follow_ups(BOOK, cited, []) == [
        "Reading a tide gauge",
        "Fenders between boats",
        "Currents in channels",
    ]


def test_far_headings_do_not_follow() -> None:
    page = make_page("a.md", "Cited heading", *["Notes"] * 5, "Far away heading")
    assert follow_ups(make_contents(page), [cite(page, "Cited heading")], []) == []


@pytest.mark.parametrize("cited", [[], [cite(make_page("gone.md", "A"), "A")]])
def test_without_a_known_page_nothing_follows(cited: list[Citation]) -> None:
    assert follow_ups(BOOK, cited, []) == []


@pytest.mark.parametrize(
    "heading",
    [
        "Opening hours of the office",
        "How do I moor a boat?",
        "What is Ownership?",
        "Boats, tides and quays",
        "Wie wird ein Boot festgemacht?",
        "الإبحار في الميناء",
        "ما هو المد والجزر؟",
        "潮汐是什么？",
        "係留の方法",
    ],
)
def test_a_heading_that_says_something_is_worth_asking(heading: str) -> None:
    assert _is_worth_asking(heading, BOOK)


@pytest.mark.parametrize(
    "heading",
    [
        "",
        "Introduction",
        "Overview",
        "FAQ",
        "The Overview",
        "Einleitung",
        "概要",
        "What's next?",
        "Problems?",
        "?",
        "1. Install the package",
        "2) Start the server",
        "Step 1: Install the package",
        "Version 2.0 of the server",
        "v1.2.3 released today",
        "Release notes of 2024",
        "2024-05-01 spring release",
        "fenders.hang(side) method",
        "`useState` hook",
        "std::vec module",
        "server --port option",
        "GET /widget/config.json file",
        "Parameters of the call:",
        "A heading of so many words that hardly anyone would read it in one line",
        "Is this a question of so many words that " + "very " * 20 + "few would read it?",
    ],
)
def test_a_heading_that_says_little_is_not(heading: str) -> None:
    assert not _is_worth_asking(heading, BOOK)


def test_a_heading_of_several_pages_says_little() -> None:
    assert _is_worth_asking("Further Reading", BOOK)
    book = make_contents(TIDES, repeated=["further reading"])
    assert not _is_worth_asking("Further Reading", book)


async def starters_of(contents: Contents, *, unanswered: Sequence[str] = ()) -> list[str]:
    """The starters, if all pages answer their headings except the `unanswered` ones."""
    answers = {
        text: page.file_path
        for page in contents.pages
        for text in [page.title, *(each.text for each in page.flat)]
        if text not in unanswered
    }

    async def find_page(question: str) -> str | None:
        return answers.get(question)

    return [*await Starters(find_page).of(contents, 10)]


async def test_questions_come_first_each_from_another_page() -> None:
    book = make_contents(
        make_page("index.md", "Why a harbour here?", "Who built the harbour?"),
        make_page("a.md", "Lines and springs", "How is a boat moored?"),
        make_page("b.md", "Fenders between boats", "Height of water"),
        make_page("c.md", "When does it open?"),
    )
    assert await starters_of(book) == [
        "Why a harbour here?",
        "How is a boat moored?",
        "When does it open?",
        "Fenders between boats",
    ]


async def test_questions_that_open_like_one_come_before_others() -> None:
    pages = [make_page(f"{n}.md", f"Why the harbour {n}?") for n in "abcd"]
    book = make_contents(make_page("faq.md", "Still got questions?"), *pages)
    assert await starters_of(book) == [f"Why the harbour {n}?" for n in "abcd"]


async def test_a_small_book_gives_several_of_a_page() -> None:
    headings = ["Why a harbour here?", "Lines and ropes", "Who built the harbour?"]
    book = make_contents(make_page("a.md", *headings))
    assert sorted(await starters_of(book)) == sorted(headings)


async def test_headings_come_from_all_parts_of_the_book() -> None:
    pages = [make_page(f"{n}.md", f"Harbour number {n} opening hours") for n in "abcdefghijklmnop"]
    found = await starters_of(make_contents(*pages))
    assert [text.split()[2] for text in found] == ["b", "e", "i", "m"]


async def test_only_pages_of_the_navigation_give_starters() -> None:
    pages = [make_page(f"{n}.md", f"Harbour number {n} opening hours") for n in "abcdefgh"]
    found = await starters_of(make_contents(*pages, listed=3))
    assert [text.split()[2] for text in found] == ["a", "b", "c"]


async def test_a_heading_that_quire_does_not_answer_is_no_starter() -> None:
    pages = [make_page(f"{n}.md", f"Why the harbour {n}?") for n in "abcdef"]
    book = make_contents(*pages)
    found = await starters_of(book, unanswered=["Why the harbour b?"])
    assert found == [f"Why the harbour {n}?" for n in "acde"]


async def test_a_heading_that_another_page_answers_is_no_starter() -> None:
    async def find_page(_question: str) -> str:
        return "other.md"

    assert [*await Starters(find_page).of(BOOK, 10)] == []


async def test_starters_are_found_once_and_never_waited_for_long() -> None:
    asked: list[str] = []
    free = asyncio.Event()

    async def find_page(question: str) -> str | None:
        asked.append(question)
        await free.wait()
        return "tides.md"

    starters = Starters(find_page)
    assert [*await starters.of(BOOK, 0.01)] == []
    free.set()
    first = await starters.of(BOOK, 10)
    assert first
    tried = len(asked)
    assert await starters.of(BOOK, 10) == first
    assert len(asked) == tried
    assert len(asked) <= 16
    await starters.close()


async def test_a_search_that_fails_gives_no_starters_and_is_repeated() -> None:
    failing = True

    async def find_page(_question: str) -> str | None:
        if failing:
            raise StoreUnavailable("The index cannot be reached.")
        return "mooring.md"

    starters = Starters(find_page)
    assert [*await starters.of(BOOK, 10)] == []
    failing = False
    assert [*await starters.of(BOOK, 10)] == ["Fenders between boats", "Lines and springs"]
