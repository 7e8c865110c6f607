import itertools
import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.embedding import Similarity
from lib.query import parse_query
from lib.ranking import Ranked, best_bm25, rank
from lib.sparse import CEILING, SparseVector, document_vectors, query_vector
from lib.store import Found, Hit
from tests.stores import chunk, manifest_of

SIMILARITY = Similarity(unrelated=0.1, answering=0.5)
TWO_TERMS = SparseVector([1, 2], [1.0, 1.0])
RARITY = {1: 3.0, 2: 1.0}
MOST = CEILING * 4.0
CHUNKS = 100
BOOK = manifest_of("g", CHUNKS)


def hit(number: int, *, cosine: float = 0.0, bm25: float = 0.0, text: str = "text") -> Hit:
    return Hit(chunk(number, text=text), cosine, bm25)


def scores(
    *hits: Hit,
    question: str = "words",
    terms: SparseVector = TWO_TERMS,
    similarity: Similarity | None = SIMILARITY,
) -> list[float]:
    """Of the hits, in their order."""
    ranked = rank(parse_query(question), [terms], Found(hits, RARITY), BOOK, similarity)
    assert [each.score for each in ranked] == sorted((r.score for r in ranked), reverse=True)
    by_id = {each.hit.chunk.chunk_id: each.score for each in ranked}
    return [by_id[each.chunk.chunk_id] for each in hits]


def rising(values: Sequence[float]) -> bool:
    return all(later > earlier for earlier, later in itertools.pairwise(values))


def test_a_nearer_chunk_scores_higher() -> None:
    for bm25 in (0.0, MOST / 2):
        # As far as the cosine tells anything.
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
    # Each as much as a word that a single chunk has.
    rarest = math.log((CHUNKS + 0.5) / 0.5 + 1)
    found = Found([one], RARITY)
    assert best_bm25(TWO_TERMS, found, CHUNKS) == pytest.approx(CEILING * 4.0)
    assert best_bm25(unseen, found, CHUNKS) == pytest.approx(CEILING * (4.0 + rarest))


def test_only_words_that_the_book_has_not() -> None:
    ranked = rank(
        parse_query("words"), [TWO_TERMS], Found([hit(0), hit(1, cosine=0.5)], {}), BOOK, SIMILARITY
    )
    assert [each.hit.cosine for each in ranked] == [0.5, 0.0]


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
    found = Found(
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
    found = Found([hit(0, cosine=SIMILARITY.unrelated), hit(1, cosine=SIMILARITY.answering)], {})
    german = parse_query("Wann kommt die Flut in den Hafen?")
    [near, far] = rank(german, [terms], found, BOOK, SIMILARITY)
    assert near.hit.cosine == SIMILARITY.answering
    assert near.score > 0.5 > far.score


def test_ties_come_in_the_order_of_their_ids() -> None:
    hits = [hit(n) for n in range(20)]
    ranked = rank(parse_query("words"), [TWO_TERMS], Found(hits, RARITY), BOOK, None)
    ids = [each.hit.chunk.chunk_id for each in ranked]
    assert ids == sorted(ids)


def test_nothing_found_is_nothing_ranked() -> None:
    assert rank(parse_query("words"), [TWO_TERMS], Found([], {}), BOOK, SIMILARITY) == []


def test_a_page_in_another_language_lowers_no_score() -> None:
    """The question's words are asked for as each language of the book would have them."""
    question, text = "What is the fender of the harbour used for?", "Fenders of a harbour. " * 20
    [document] = document_vectors([text])
    weights = dict(zip(document.indices, document.values, strict=True))

    def asked(*languages: str) -> Ranked:
        terms = [query_vector(question, language) for language in languages]
        indices = {index for each in terms for index in each.indices}
        rarity = {term: 3.0 for term in indices if term in weights}
        bm25 = sum(weights[term] * rarity[term] for term in rarity)
        found = Found([hit(0, bm25=bm25)], rarity)
        manifest = manifest_of("g", CHUNKS, languages=languages)
        return rank(parse_query(question), terms, found, manifest, None)[0]

    alone = asked("english").score
    assert alone > 0.8
    assert asked("english", "french").score > 0.8 * alone
