import itertools
import math
import random
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import indent
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.book import Book, BookReader, _stored_chunks
from lib.chunking import chunk_page
from lib.documents import Document, DocumentLimits
from lib.embedding import Similarity
from lib.markdown import parse_page
from lib.ranking import (
    _ALWAYS_KEPT_MARGIN,
    _MAX_JOINED,
    _MIN_SHARE_OF_BEST,
    Passage,
    Ranked,
    _normalize_text,
    cached_per_passage,
    max_bm25,
    parse_query,
    rank,
    select_passages,
    sort_key,
    weigh_terms,
)
from lib.sentences import split_passage
from lib.sites.router import PageAddress
from lib.sites.site import Site
from lib.source import SourcePage
from lib.store import FILTERS, Candidates, Hit, Section, StoredChunk
from lib.terms import CEILING, SparseVector, document_vectors, query_vector, terms
from tests.pages import words
from tests.passages import passage_of_sections
from tests.stores import chunk, make_manifest

SIMILARITY = Similarity(unrelated=0.1, answering=0.5)
TWO_TERMS = SparseVector([1, 2], [1.0, 1.0])
RARITY = {1: 3.0, 2: 1.0}
MOST = CEILING * 4.0
CHUNKS = 100
BOOK = make_manifest("g", CHUNKS)


def hit(number: int, *, cosine: float = 0.0, bm25: float = 0.0, text: str = "text") -> Hit:
    return Hit(chunk(number, text=text), cosine, bm25)


def scores(
    *hits: Hit,
    question: str = "words",
    terms: SparseVector = TWO_TERMS,
    similarity: Similarity | None = SIMILARITY,
) -> list[float]:
    """Return the scores of the hits, in their order."""
    ranked = rank(parse_query(question), [terms], Candidates(hits, RARITY), BOOK, similarity)
    assert [each.score for each in ranked] == sorted((r.score for r in ranked), reverse=True)
    by_id = {each.hit.chunk.chunk_id: each.score for each in ranked}
    return [by_id[each.chunk.chunk_id] for each in hits]


def rising(values: Sequence[float]) -> bool:
    return all(later > earlier for earlier, later in itertools.pairwise(values))


def test_a_nearer_chunk_scores_higher() -> None:
    for bm25 in (0.0, MOST / 2):
        # Only within the range of the similarity scale.
        hits = [hit(n, cosine=0.05 + n / 20, bm25=bm25) for n in range(10)]
        assert rising(scores(*hits))


def test_a_chunk_with_more_of_the_words_scores_higher() -> None:
    for similarity in (SIMILARITY, None):
        hits = [hit(n, cosine=0.3, bm25=MOST * n / 10) for n in range(11)]
        assert rising(scores(*hits, similarity=similarity))


@given(
    st.lists(st.tuples(st.floats(-1, 1), st.floats(0, MOST)), min_size=1, max_size=20),
    st.sampled_from(["words", '"text"', '"no" "text"']),
    st.sampled_from([SIMILARITY, None]),
)
def test_a_score_is_between_0_and_1(
    pairs: list[tuple[float, float]], question: str, similarity: Similarity | None
) -> None:
    hits = [hit(n, cosine=c, bm25=b) for n, (c, b) in enumerate(pairs)]
    for score in scores(*hits, question=question, similarity=similarity):
        assert 0 < score < 1


def test_the_scale_says_what_fits_and_what_does_not() -> None:
    [nothing, half, all_of_it] = scores(
        hit(0, cosine=SIMILARITY.unrelated),
        hit(1, cosine=SIMILARITY.answering, bm25=MOST / 3),
        hit(2, cosine=SIMILARITY.answering, bm25=MOST),
    )
    assert nothing < 0.05 < half < 0.95 < all_of_it


def test_words_that_the_book_has_not_lower_the_score() -> None:
    one = hit(0, cosine=0.3, bm25=2.0)
    unseen = SparseVector([1, 2, 3], [1.0] * 3)
    [known], [with_unseen] = scores(one), scores(one, terms=unseen)
    assert with_unseen < known
    # Each counts as much as a word of a single chunk.
    rarest = math.log((CHUNKS + 0.5) / 0.5 + 1)
    found = Candidates([one], RARITY)
    assert max_bm25(TWO_TERMS, found, CHUNKS) == pytest.approx(CEILING * 4.0)
    assert max_bm25(unseen, found, CHUNKS) == pytest.approx(CEILING * (4.0 + rarest))


def test_only_words_that_the_book_has_not() -> None:
    ranked = rank(
        parse_query("words"),
        [TWO_TERMS],
        Candidates([hit(0), hit(1, cosine=0.5)], {}),
        BOOK,
        SIMILARITY,
    )
    assert [each.hit.cosine for each in ranked] == [0.5, 0.0]


def first_of(question: str, *chunks: StoredChunk) -> str:
    """Return the text of the best of these chunks, which hold the same share of the words."""
    asked = query_vector(question)
    hits = [Hit(each, 0.3, 2.0) for each in chunks]
    found = Candidates(hits, dict.fromkeys(asked.indices, 2.0))
    return rank(parse_query(question), [asked], found, BOOK, SIMILARITY)[0].hit.chunk.text


@pytest.mark.parametrize(
    "other", ["Moor at the quay, Mooring", "Mooring in storms", "Mooring, anchors and tides"]
)
def test_a_chunk_whose_heading_asks_the_same_comes_first(other: str) -> None:
    right = chunk(9, text="Two lines hold a boat.", heading="Mooring")
    assert first_of("How does mooring work?", chunk(1, heading=other), right) == right.text


def test_a_heading_that_is_the_question_comes_before_one_that_asks_the_same() -> None:
    right = chunk(9, text="None.", heading="What is not protected")
    others = [chunk(n, heading=each) for n, each in enumerate(["What is protected", "Protected"])]
    assert first_of("What is not protected", *others, right) == right.text


@pytest.mark.parametrize(
    ("question", "heading"),
    [
        ("How many lines?", "Ropes"),
        ("Mooring", "Mooring"),
        ("Which fee?", "Fees"),
        ("Why?", "Ropes"),
        ("Harbour", "Harbour"),
        ("How many lines in the harbour?", "Ropes"),
    ],
)
def test_a_hit_has_the_label_of_its_best_section(question: str, heading: str) -> None:
    text = "## Ropes\n\nTwo lines moor it.\n\n## Mooring\n\nSee below.\n\n## Fees\n\nNone."
    first, *rest = passage_of_sections(text).sections
    bare = Section(start_char=0, heading="Harbour", section="", url=None)
    sections = (msgspec.structs.replace(first, above=(bare,)), *rest)
    joined = chunk(0, text=text, start_char=0, end_char=len(text), sections=sections)
    asked = query_vector(question)
    found = Candidates([Hit(joined, 0.3, 1.0)], dict.fromkeys(asked.indices, 2.0))
    [passage] = select_passages(rank(parse_query(question), [asked], found, BOOK, SIMILARITY), 1)
    assert passage.heading == heading


def test_a_heading_without_text_of_its_own_counts_and_a_comment_in_code_does_not() -> None:
    right = chunk(9, text="## Mooring\n\n### With two lines\n\nThey hold a boat.")
    wrong = chunk(1, text="Do it.\n\n```sh\n# Mooring\nmoor\n```\n")
    assert first_of("mooring", wrong, right) == right.text


LINKING = "For a later upgrade, see [Upgrade](../deploy.md#new-versions) and [all](deploy.md)."
LINKED = "### New versions\n\nPull the image."


def test_the_text_of_a_link_is_another_name_of_the_heading_it_leads_to() -> None:
    chunks = chunk(1, text=LINKING), chunk(9, text=LINKED, heading="New versions")
    asked = query_vector("How do I upgrade?")
    hits = [Hit(each, 0.3, 1.0 * (each is chunks[0])) for each in chunks]
    found = Candidates(hits, dict.fromkeys(asked.indices, 2.0))
    ranked = rank(parse_query("How do I upgrade?"), [asked], found, BOOK, SIMILARITY)
    assert ranked[0].hit.chunk.text == LINKED
    weights = weigh_terms("How do I upgrade boats?", found, ranked, ["english"])
    assert weights.keys() == {"boat", *terms("new versions")}
    assert [*weigh_terms("Which image?", found, ranked, ["english"])] == ["imag"]


@pytest.mark.parametrize(
    "definition",
    [
        "Gulls like fish. A fender is a cushion.",
        "What hangs there\nis called a *fender* here.",
        "Words:\n\n- Fender: a cushion",
        "| Fender | a cushion |",
    ],
)
def test_a_definition_comes_before_a_mention(definition: str) -> None:
    mention = "Hang out each\nfender. We saw what a fender is."
    assert (
        first_of("What is a fender?", chunk(1, text=mention), chunk(9, text=definition))
        == definition
    )


def test_a_chunk_with_the_phrase_scores_higher() -> None:
    hits = [
        hit(0, cosine=0.3, bm25=2.0, text="At spring a tide turns."),
        hit(1, cosine=0.3, bm25=2.0, text="At the Spring\n  TIDE it turns."),
    ]
    without, with_phrase = scores(*hits, question='turns at "spring tide"')
    assert without < with_phrase
    [one, other] = scores(*hits, question="turns at spring tide")
    assert one == other == without


def test_a_chunk_with_both_phrases_scores_higher_than_one_with_one() -> None:
    texts = ["neither", "the neap tide", "the spring tide and the neap tide"]
    hits = [hit(n, text=text) for n, text in enumerate(texts)]
    assert rising(scores(*hits, question='"spring tide" "neap tide"'))


def test_words_that_stand_side_by_side_as_in_the_question_score_higher() -> None:
    texts = ["the tide of this spring", "a spring tide"]
    terms = query_vector("spring tide")
    found = Candidates(
        [hit(n, bm25=2.0, text=text) for n, text in enumerate(texts)],
        dict.fromkeys(terms.indices, 2.0),
    )
    [first, second] = rank(parse_query("When is spring tide?"), [terms], found, BOOK, None)
    assert first.hit.chunk.text == texts[1]
    assert first.score > second.score


def test_without_similarity_the_cosine_says_nothing() -> None:
    one, other = scores(hit(0, cosine=0.9, bm25=2), hit(1, cosine=0.0, bm25=2), similarity=None)
    assert one == other


def test_a_question_in_another_language_is_answered_by_what_is_near() -> None:
    terms = query_vector("Wann kommt die Flut in den Hafen?")
    found = Candidates(
        [hit(0, cosine=SIMILARITY.unrelated), hit(1, cosine=SIMILARITY.answering)], {}
    )
    german = parse_query("Wann kommt die Flut in den Hafen?")
    [near, far] = rank(german, [terms], found, BOOK, SIMILARITY)
    assert near.hit.cosine == SIMILARITY.answering
    assert near.score > 0.5 > far.score


def test_ties_come_in_the_order_of_their_ids() -> None:
    hits = [hit(n) for n in range(20)]
    ranked = rank(parse_query("words"), [TWO_TERMS], Candidates(hits, RARITY), BOOK, None)
    ids = [each.hit.chunk.chunk_id for each in ranked]
    assert ids == sorted(ids)


def test_nothing_found_is_nothing_ranked() -> None:
    assert rank(parse_query("words"), [TWO_TERMS], Candidates([], {}), BOOK, SIMILARITY) == []


def test_a_page_in_another_language_lowers_no_score() -> None:
    """The question is stemmed in each language of the book."""
    question, text = "What is the fender of the harbour used for?", "Fenders of a harbour. " * 20
    [document] = document_vectors([text])
    weights = dict(zip(document.indices, document.values, strict=True))

    def asked(*languages: str) -> Ranked:
        terms = [query_vector(question, language) for language in languages]
        indices = {index for each in terms for index in each.indices}
        rarity = {term: 3.0 for term in indices if term in weights}
        bm25 = sum(weights[term] * rarity[term] for term in rarity)
        found = Candidates([hit(0, bm25=bm25)], rarity)
        manifest = make_manifest("g", CHUNKS, languages=languages)
        return rank(parse_query(question), terms, found, manifest, None)[0]

    alone = asked("english").score
    assert alone > 0.8
    assert asked("english", "french").score > 0.8 * alone


@pytest.mark.parametrize(
    ("text", "rest", "only"),
    [
        ("tide", "tide", {}),
        ("  spring   tide ", "  spring   tide ", {}),
        ("tide file:guide/tides.md", "tide", {"paths": "guide/tides.md"}),
        ("path:Guide/ tide", "tide", {"paths": "guide"}),
        ("FILE:/guide/ tide  times", "tide times", {"paths": "guide"}),
        ('chapter:"The Harbour" tide', "tide", {"chapter": "The Harbour"}),
        ("kind:code radio", "radio", {"kind": "code"}),
        ("version:2.0 locale:de tide", "tide", {"version": "2.0", "locale": "de"}),
        ("lang:pt-BR tide", "tide", {"locale": "pt-BR"}),
        ("file:a file:b tide", "tide", {"paths": "b"}),
        ("how does version: work", "how does version: work", {}),
        ("profile:a tide", "profile:a tide", {}),
        ("see file:a:b tide", "see file:a:b tide", {}),
        ("file:a, tide", "tide", {"paths": "a,"}),
        ("xfile:a tide", "xfile:a tide", {}),
    ],
)
def test_restrictions(text: str, rest: str, only: dict[str, str]) -> None:
    query = parse_query(text)
    assert (query.text, query.only) == (rest, only)
    assert {*query.only} <= {*FILTERS}


@pytest.mark.parametrize("text", ["file:guide", "kind:code version:2", "lang:de ?!", 'file:"a b"'])
def test_a_question_that_is_only_a_restriction_is_words(text: str) -> None:
    query = parse_query(text)
    assert query.text == text
    assert query.only == {}


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ('"spring tide"', ("spring tide",)),
        ('when is "Spring\n  TIDE" and “neap tide”?', ("spring tide", "neap tide")),
        ("«marée basse»", ("marée basse",)),
        ('file:a "spring tide"', ("spring tide",)),
        ('chapter:"The Harbour" tide', ()),
        ('""', ()),
        ('"  "', ()),
        ('"unclosed phrase', ()),
        ('an "x" in it', ()),
        ("don't and can't", ()),
    ],
)
def test_phrases(text: str, phrases: tuple[str, ...]) -> None:
    assert parse_query(text).phrases == phrases


@given(st.text(max_size=200) | st.from_regex(r"( |file:|\"|kind:|a|«|»|/){1,30}", fullmatch=True))
def test_whatever_is_typed(text: str) -> None:
    query = parse_query(text)
    assert query.text == text or query.only
    assert all(query.only.values()) or "paths" in query.only
    assert all(phrase and phrase == _normalize_text(phrase) for phrase in query.phrases)
    assert {*query.only} <= {*FILTERS}


def test_what_reads_the_same_is_equal() -> None:
    assert (
        _normalize_text(" Straße\n\tNR. 5 ") == _normalize_text("STRASSE nr. 5") == "strasse nr. 5"
    )


ROOT = Path(__file__).parents[2]


def page(
    texts: Sequence[str],
    *,
    path: str = "a.md",
    gap: str | None = "\n\n",
    headings: Sequence[str] = (),
) -> list[StoredChunk]:
    """Make the chunks of a file that consists of `texts` separated by `gap`, under one heading or
    several."""
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
    """Rank in this order, with no hit far behind the best."""
    return [Ranked(Hit(each, 0.0, 0.0), 1 - n / 1_000) for n, each in enumerate(chunks)]


def texts(found: Sequence[Passage]) -> list[str]:
    return [each.text for each in found]


ONE, TWO, THREE, FOUR = "The tide turns.", "A boat is moored.", "Hang three fenders.", "Call first."
FILE = f"{ONE}\n\n{TWO}\n\n{THREE}\n\n{FOUR}"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2)])
def test_neighbours_are_joined_in_whichever_order_they_are_found(order: Sequence[int]) -> None:
    chunks = page([ONE, TWO, THREE, FOUR])
    [passage] = select_passages(ranked(chunks[n] for n in order), 10)
    assert passage.text == FILE[: FILE.index(FOUR) - 2]
    assert (passage.start_char, passage.end_char) == (0, len(passage.text))


def test_readers_of_the_same_place_share_its_text() -> None:
    """Hundreds of concurrent answers keep their passages in memory."""
    one, other = (select_passages(ranked(page([ONE, TWO, THREE])), 10) for _ in range(2))
    assert len(one) == len(other) == 1
    assert one[0].text is other[0].text


def test_of_joined_chunks_the_best_says_what_the_passage_is() -> None:
    chunks = page([ONE, TWO, THREE])
    [passage] = select_passages(ranked(chunks[n] for n in (1, 2, 0)), 10)
    best = chunks[1]
    for name in ("chunk_id", "file_path", "chapter", "kind"):
        assert getattr(passage, name) == getattr(best, name)
    assert passage.score == Ranked(Hit(best, 0.0, 0.0), 1.0).score
    assert passage.kind == "code"


def test_what_stands_under_another_heading_is_another_passage() -> None:
    """A claim links to its own heading, not to a neighbouring one."""
    chunks = page([ONE, TWO, THREE], headings=["A", "A", "B"])
    found = select_passages(ranked(chunks[n] for n in (1, 2, 0)), 10)
    assert [(each.heading, each.text) for each in found] == [("A", f"{ONE}\n\n{TWO}"), ("B", THREE)]


def test_what_is_apart_stays_apart() -> None:
    chunks = page([ONE, TWO, THREE, FOUR])
    assert texts(select_passages(ranked([chunks[0], chunks[2]]), 10)) == [ONE, THREE]
    others = page([FOUR], path="b.md")
    assert texts(select_passages(ranked([chunks[2], *others]), 10)) == [THREE, FOUR]
    # Equal headings in two files.
    other = page([ONE, TWO], path="b.md")
    assert texts(select_passages(ranked([chunks[0], other[1]]), 10)) == [ONE, TWO]


def test_nothing_is_joined_where_the_file_goes_on_otherwise() -> None:
    assert texts(select_passages(ranked(page([ONE, TWO], gap=None)), 10)) == [ONE, TWO]
    assert texts(select_passages(ranked(reversed(page([ONE, TWO], gap=None))), 10)) == [TWO, ONE]


def test_two_runs_that_meet_are_no_gap_in_either() -> None:
    """The chunk between two selected ones joins one of them."""
    chunks = page([ONE, TWO, THREE])
    found = select_passages(ranked(chunks[n] for n in (0, 2, 1)), 10)
    assert texts(found) == [f"{ONE}\n\n{TWO}", THREE]


def test_a_join_that_would_be_too_long_is_not_made() -> None:
    just = "a" * (_MAX_JOINED - len(TWO) - 2)
    assert texts(select_passages(ranked(page([just, TWO])), 10)) == [f"{just}\n\n{TWO}"]
    assert texts(select_passages(ranked(page([just + "a", TWO])), 10)) == [just + "a", TWO]
    # The gap counts too, because it is part of the text.
    assert len(select_passages(ranked(page([just, TWO], gap="\n\n\n")), 10)) == 2


def stored(text: str, budget: int) -> list[StoredChunk]:
    """The chunks of a page, as the index stores them."""
    document, page = Document("a.md", text, ""), parse_page(text, "commonmark")
    chunks = chunk_page(document, page, budget=budget, count_tokens=words)
    anchors = tuple(heading.text for heading in page.headings)
    source = SourcePage(document, page, PageAddress("/a", anchors))
    return list(_stored_chunks(source, chunks, ""))


def test_cut_code_is_completed_with_what_was_found_far_behind() -> None:
    code = "".join(f"step number {n} of it\n" for n in range(60))
    chunks = stored(f"# T\n\n1. Run it:\n\n   ```sh\n{indent(code, '   ')}   ```\n\n2. Go.\n", 80)
    assert len(chunks) > 4
    found = [Ranked(Hit(each, 0.0, 0.0), 1.0 if each.ordinal == 2 else 0.01) for each in chunks]
    [passage] = select_passages(sorted(found, key=sort_key), 10)
    assert [each.code for each in split_passage(passage)] == [f"```sh\n{code}```", ""]
    assert passage.text == passage.content


def test_code_too_long_to_be_joined_shows_that_it_goes_on() -> None:
    code = "".join(f"step number {n} of it\n" for n in range(600))
    first, *others = select_passages(ranked(stored(f"# T\n\n```sh\n{code}```\n", 80)), 10)
    assert first.content.startswith("# T\n\n```sh\nstep number 0 ")
    assert all(each.content.startswith("```sh\n…\nstep ") for each in others)
    assert all(each.content.endswith("\n…\n```") for each in (first, *others[:-1]))


def test_joined_rows_have_one_header() -> None:
    rows = "".join(f"| a{n} | {n} b{n} c{n} d{n} |\n" for n in range(24))
    chunks = stored(f"# T\n\n| Name | Use |\n|---|---|\n{rows}", 80)
    assert len(chunks) > 2
    [passage] = select_passages(ranked(chunks[1:]), 10)
    assert passage.content.startswith("| Name | Use |\n|---|---|\n| a")
    assert passage.content.count("Name") == 1
    assert {each.header for each in split_passage(passage)} == {("Name", "Use")}


def test_sections_begin_at_their_headings_and_gaps_show_nothing() -> None:
    text = "# T\n\n## One\n\nIt <!-- no --> begins.\n\n<!-- no -->\n\n## Two\n\nIt ends.\n"
    [passage] = select_passages(ranked(stored(text, 80)), 10)
    assert passage.content[: passage.section_starts[1]] == "# T\n\n## One\n\nIt  begins.\n\n"
    assert [each.text for each in split_passage(passage) if each.section == 1] == ["It ends."]
    gap = "\n\n<!-- no -->\n\n"
    [joined] = select_passages(ranked(page([ONE, TWO], gap=gap)), 10)
    assert (joined.text, joined.content) == (f"{ONE}{gap}{TWO}", f"{ONE}\n\n{TWO}")


def test_a_chunk_that_is_too_long_by_itself_is_whole() -> None:
    long = "word " * _MAX_JOINED
    assert texts(select_passages(ranked(page([long])), 10)) == [long]


def test_what_was_said_before_is_left_out() -> None:
    old = page([f"{ONE} {TWO}"], path="v1/a.md")
    new = page([f"{ONE.upper()}\n\n* {TWO}"], path="v2/a.md")
    other = page([THREE], path="b.md")
    found = select_passages(ranked([*old, *new, *other]), 10)
    assert [each.file_path for each in found] == ["v1/a.md", "b.md"]


def test_what_only_resembles_another_is_kept() -> None:
    names = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda my nu xi".split()
    most = page([" ".join(names)], path="a.md"), page([" ".join(names[:11])], path="b.md")
    assert len(select_passages(ranked([*most[0], *most[1]]), 10)) == 2
    nearly = page([" ".join(names[:-1])], path="c.md")
    assert len(select_passages(ranked([*most[0], *nearly]), 10)) == 1


def test_texts_without_words_are_no_duplicates() -> None:
    chunks = [chunk(n, f"{n}.md", text=text) for n, text in enumerate(("---", "***"))]
    assert texts(select_passages(ranked(chunks), 10)) == ["---", "***"]


@pytest.mark.parametrize("k", [1, 3, 10])
def test_at_most_k(k: int) -> None:
    chunks = [chunk(n, f"{n}.md", text=f"Lamp number{n * 'x'} burns.") for n in range(8)]
    found = select_passages(ranked(chunks), k)
    assert [each.chunk_id for each in found] == [each.chunk_id for each in chunks[:k]]


def test_a_neighbour_takes_no_place() -> None:
    pages = page([ONE, TWO]), page([THREE, FOUR], path="b.md")
    found = select_passages(ranked([*pages[0], *pages[1]]), 2)
    assert texts(found) == [f"{ONE}\n\n{TWO}", f"{THREE}\n\n{FOUR}"]


def with_totals(chunks: Sequence[StoredChunk], *totals: float) -> list[Ranked]:
    return [Ranked(Hit(c, 0.0, 0.0), t) for c, t in zip(chunks, totals, strict=True)]


APART = [chunk(n, f"{n}.md", text=text) for n, text in enumerate((ONE, TWO, THREE, FOUR))]


def test_what_is_far_behind_the_best_is_left_out() -> None:
    limit = 0.8 * _MIN_SHARE_OF_BEST
    found = select_passages(with_totals(APART, 0.8, limit + 0.01, limit - 0.01, 0.1), 10)
    assert texts(found) == [ONE, TWO]


def test_a_neighbour_far_behind_the_best_does_not_join() -> None:
    assert texts(select_passages(with_totals(page([ONE, TWO]), 0.8, 0.1), 10)) == [ONE]


def test_where_little_fits_nothing_is_far_behind() -> None:
    for best in (0.1, 0.0, -0.1):
        found = select_passages(
            with_totals(
                APART, best, best, best - _ALWAYS_KEPT_MARGIN / 2, best - 2 * _ALWAYS_KEPT_MARGIN
            ),
            10,
        )
        assert texts(found) == [ONE, TWO, THREE]


def test_nothing_ranked_is_no_passage() -> None:
    assert select_passages([], 5) == []
    assert select_passages(ranked(page([ONE])), 0) == []


@pytest.fixture(scope="module")
def real() -> list[StoredChunk]:
    """The chunks of the handbook."""
    root = ROOT / "book_content"
    paths = sorted(path.name for path in root.glob("*.md"))
    book = Book(root, Site(), paths, DocumentLimits(), 120)
    return [piece.chunk for piece in BookReader(book).read(paths).chunks]


@pytest.mark.parametrize("seed", range(20))
def test_the_text_is_the_file_s_own(real: list[StoredChunk], seed: int) -> None:
    found = random.Random(seed).sample(real, 150)
    made = select_passages(ranked(found), 100)
    spans: dict[str, list[Any]] = {}
    for each in made:
        text = (ROOT / "book_content" / each.file_path).read_bytes().decode()
        assert each.text == text[each.start_char : each.end_char]
        spans.setdefault(each.file_path, []).append((each.start_char, each.end_char))
    for places in spans.values():
        ordered = sorted(places)
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ordered))
    lengths = {each.chunk_id: len(each.text) for each in real}
    assert all(len(e.text) <= max(_MAX_JOINED, lengths[e.chunk_id]) for e in made)
    assert any(len(e.text) > lengths[e.chunk_id] for e in made)


def test_what_is_read_from_a_passage_is_kept_whatever_was_asked(real: list[StoredChunk]) -> None:
    read: list[str] = []

    @cached_per_passage(2)
    def length(passage: Passage) -> int:
        read.append(passage.text)
        return len(passage.text)

    one, two, three = select_passages(ranked(real[:20:7]), 3)
    for each in (one, two, msgspec.structs.replace(one, score=0.25, heading="Other"), two):
        assert length(each) == len(each.text)
    assert read == [one.text, two.text]
    length(three)
    length(one)  # at most two: the least recently used one is dropped
    assert read == [one.text, two.text, three.text, one.text]


def test_only_some_phrases_are_looked_for() -> None:
    """Each is compared with every candidate."""
    assert len(parse_query('"a b" ' * 100).phrases) == 10


@pytest.mark.parametrize("part", ["\u201ca", "\xaba", 'file:"', "file:a", '"'])
def test_no_query_takes_long(part: str) -> None:
    began = time.process_time()
    parse_query((part * 1_000)[:1_000])
    assert time.process_time() - began < 0.05
