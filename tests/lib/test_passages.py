import itertools
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lib.book import Book
from lib.book_reader import BookReader
from lib.documents import DocumentLimits
from lib.passages import KEPT_SHARE, MAX_JOINED, SLACK, Passage, kept, passages
from lib.ranking import Ranked
from lib.sites.site import Site
from lib.store import Hit, StoredChunk
from tests.stores import chunk

ROOT = Path(__file__).parents[2]


def page(
    texts: Sequence[str],
    *,
    path: str = "a.md",
    gap: str | None = "\n\n",
    headings: Sequence[str] = (),
) -> list[StoredChunk]:
    """The chunks of a file that is nothing but `texts`, with `gap` between them, under one heading
    or each under its own."""
    chunks, at = [], 0
    for number, text in enumerate(texts):
        chunks.append(
            chunk(
                number,
                path,
                text=text,
                before=gap if number else None,
                start_char=at,
                end_char=at + len(text),
                heading=headings[number] if headings else "H",
                url=f"https://b.example/{path}#{headings[number] if headings else 'h'}",
                kind="code" if number % 2 else "prose",
            )
        )
        at += len(text) + len(gap or "\n\n")
    return chunks


def ranked(chunks: Iterable[StoredChunk]) -> list[Ranked]:
    """In this order, the first with the best score, none far behind."""
    return [Ranked(Hit(each, 0.0, 0.0), 1 - n / 1_000) for n, each in enumerate(chunks)]


def texts(found: Sequence[Passage]) -> list[str]:
    return [each.text for each in found]


ONE, TWO, THREE, FOUR = "The tide turns.", "A boat is moored.", "Hang three fenders.", "Call first."
FILE = f"{ONE}\n\n{TWO}\n\n{THREE}\n\n{FOUR}"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2)])
def test_neighbours_are_joined_in_whichever_order_they_are_found(order: Sequence[int]) -> None:
    chunks = page([ONE, TWO, THREE, FOUR])
    [passage] = passages(ranked(chunks[n] for n in order), 10)
    assert passage.text == FILE[: FILE.index(FOUR) - 2]
    assert (passage.start_char, passage.end_char) == (0, len(passage.text))


def test_readers_of_the_same_place_share_its_text() -> None:
    """Hundreds of answers at once hold their passages."""
    one, other = (passages(ranked(page([ONE, TWO, THREE])), 10) for _ in range(2))
    assert len(one) == len(other) == 1
    assert one[0].text is other[0].text


def test_of_joined_chunks_the_best_says_what_the_passage_is() -> None:
    chunks = page([ONE, TWO, THREE])
    [passage] = passages(ranked(chunks[n] for n in (1, 2, 0)), 10)
    best = chunks[1]
    for name in ("chunk_id", "file_path", "chapter", "section", "heading", "url", "kind"):
        assert getattr(passage, name) == getattr(best, name)
    assert passage.score == Ranked(Hit(best, 0.0, 0.0), 1.0).score
    assert passage.kind == "code"


def test_what_stands_under_another_heading_is_another_passage() -> None:
    """A claim leads to the heading that it was found below, not to one beside it."""
    chunks = page([ONE, TWO, THREE], headings=["A", "A", "B"])
    found = passages(ranked(chunks[n] for n in (1, 2, 0)), 10)
    assert [(each.heading, each.text) for each in found] == [("A", f"{ONE}\n\n{TWO}"), ("B", THREE)]


def test_what_is_apart_stays_apart() -> None:
    chunks = page([ONE, TWO, THREE, FOUR])
    assert texts(passages(ranked([chunks[0], chunks[2]]), 10)) == [ONE, THREE]
    others = page([FOUR], path="b.md")
    assert texts(passages(ranked([chunks[2], *others]), 10)) == [THREE, FOUR]
    # The place of one file beside that of another.
    other = page([ONE, TWO], path="b.md")
    assert texts(passages(ranked([chunks[0], other[1]]), 10)) == [ONE, TWO]


def test_nothing_is_joined_where_the_file_goes_on_otherwise() -> None:
    assert texts(passages(ranked(page([ONE, TWO], gap=None)), 10)) == [ONE, TWO]
    assert texts(passages(ranked(reversed(page([ONE, TWO], gap=None))), 10)) == [TWO, ONE]


def test_two_runs_that_meet_are_no_gap_in_either() -> None:
    """The chunk between two that were found joins one of them."""
    chunks = page([ONE, TWO, THREE])
    found = passages(ranked(chunks[n] for n in (0, 2, 1)), 10)
    assert texts(found) == [f"{ONE}\n\n{TWO}", THREE]


def test_a_join_that_would_be_too_long_is_not_made() -> None:
    just = "a" * (MAX_JOINED - len(TWO) - 2)
    assert texts(passages(ranked(page([just, TWO])), 10)) == [f"{just}\n\n{TWO}"]
    assert texts(passages(ranked(page([just + "a", TWO])), 10)) == [just + "a", TWO]
    # The gap counts too: it is part of the text.
    assert len(passages(ranked(page([just, TWO], gap="\n\n\n")), 10)) == 2


def test_a_chunk_that_is_too_long_by_itself_is_whole() -> None:
    long = "word " * MAX_JOINED
    assert texts(passages(ranked(page([long])), 10)) == [long]


def test_what_was_said_before_is_left_out() -> None:
    old = page([f"{ONE} {TWO}"], path="v1/a.md")
    new = page([f"{ONE.upper()}\n\n* {TWO}"], path="v2/a.md")
    other = page([THREE], path="b.md")
    found = passages(ranked([*old, *new, *other]), 10)
    assert [each.file_path for each in found] == ["v1/a.md", "b.md"]


def test_what_only_resembles_another_is_kept() -> None:
    names = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda my nu xi".split()
    most = page([" ".join(names)], path="a.md"), page([" ".join(names[:11])], path="b.md")
    assert len(passages(ranked([*most[0], *most[1]]), 10)) == 2
    nearly = page([" ".join(names[:-1])], path="c.md")
    assert len(passages(ranked([*most[0], *nearly]), 10)) == 1


def test_texts_without_words_are_no_duplicates() -> None:
    chunks = [chunk(n, f"{n}.md", text=text) for n, text in enumerate(("---", "***"))]
    assert texts(passages(ranked(chunks), 10)) == ["---", "***"]


@pytest.mark.parametrize("k", [1, 3, 10])
def test_at_most_k(k: int) -> None:
    chunks = [chunk(n, f"{n}.md", text=f"Lamp number{n * 'x'} burns.") for n in range(8)]
    found = passages(ranked(chunks), k)
    assert [each.chunk_id for each in found] == [each.chunk_id for each in chunks[:k]]


def test_a_neighbour_takes_no_place() -> None:
    pages = page([ONE, TWO]), page([THREE, FOUR], path="b.md")
    found = passages(ranked([*pages[0], *pages[1]]), 2)
    assert texts(found) == [f"{ONE}\n\n{TWO}", f"{THREE}\n\n{FOUR}"]


def with_totals(chunks: Sequence[StoredChunk], *totals: float) -> list[Ranked]:
    return [Ranked(Hit(c, 0.0, 0.0), t) for c, t in zip(chunks, totals, strict=True)]


APART = [chunk(n, f"{n}.md", text=text) for n, text in enumerate((ONE, TWO, THREE, FOUR))]


def test_what_is_far_behind_the_best_is_left_out() -> None:
    limit = 0.8 * KEPT_SHARE
    found = passages(with_totals(APART, 0.8, limit + 0.01, limit - 0.01, 0.1), 10)
    assert texts(found) == [ONE, TWO]


def test_a_neighbour_far_behind_the_best_does_not_join() -> None:
    assert texts(passages(with_totals(page([ONE, TWO]), 0.8, 0.1), 10)) == [ONE]


def test_where_little_fits_nothing_is_far_behind() -> None:
    for best in (0.1, 0.0, -0.1):
        found = passages(with_totals(APART, best, best, best - SLACK / 2, best - 2 * SLACK), 10)
        assert texts(found) == [ONE, TWO, THREE]


def test_nothing_ranked_is_no_passage() -> None:
    assert passages([], 5) == []
    assert passages(ranked(page([ONE])), 0) == []


@pytest.fixture(scope="module")
def real() -> list[StoredChunk]:
    """The chunks of a real book: Quire's own."""
    root = ROOT / "book_content"
    paths = sorted(path.name for path in root.glob("*.md"))
    book = Book(root, Site("none"), paths, DocumentLimits(), 120)
    return [piece.chunk for piece in BookReader(book).read(paths).pieces]


@pytest.mark.parametrize("seed", range(20))
def test_the_text_is_the_file_s_own(real: list[StoredChunk], seed: int) -> None:
    found = random.Random(seed).sample(real, 150)
    made = passages(ranked(found), 100)
    spans: dict[str, list[Any]] = {}
    for each in made:
        text = (ROOT / "book_content" / each.file_path).read_bytes().decode()
        assert each.text == text[each.start_char : each.end_char]
        spans.setdefault(each.file_path, []).append((each.start_char, each.end_char))
    for places in spans.values():
        ordered = sorted(places)
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ordered))
    lengths = {each.chunk_id: len(each.text) for each in real}
    assert all(len(e.text) <= max(MAX_JOINED, lengths[e.chunk_id]) for e in made)
    assert any(len(e.text) > lengths[e.chunk_id] for e in made)


def test_what_is_read_from_a_passage_is_kept_whatever_was_asked(real: list[StoredChunk]) -> None:
    read: list[str] = []

    @kept(2)
    def length(passage: Passage) -> int:
        read.append(passage.text)
        return len(passage.text)

    one, two, three = passages(ranked(real[:20:7]), 3)
    for each in (one, two, msgspec.structs.replace(one, score=0.25, chunk_id="other"), two):
        assert length(each) == len(each.text)
    assert read == [one.text, two.text]
    length(three)
    length(one)  # two at the most: the one that was used last stays
    assert read == [one.text, two.text, three.text, one.text]
