"""Compare the scores of both stores with a direct computation."""

import functools
import math
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib.embedding import Vectors
from lib.store import FILTERS, Candidates, Store, StoredChunk, new_generation
from lib.store_edge import EdgeStore
from lib.store_edge_shard import ShardSearch, _dense_search_params, open_shard
from lib.terms import _MAX_ASKED, SparseVector, document_vectors, query_vector
from tests.store_kinds import STORE_KINDS, open_stores
from tests.stores import (
    DIMENSION,
    MODEL,
    chunk,
    make_ledger,
    make_manifest,
    publish,
    random_vectors,
    sparse_vectors,
)

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure:UserWarning")

FILES_OF = 10
"""Chunks in the generated books."""


@pytest.fixture(params=STORE_KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with open_stores(request.param, tmp_path) as make:
        made = make()
        await made.open()
        yield made


@dataclass(frozen=True)
class Expected:
    """Scores of chunks, computed one by one."""

    chunks: list[StoredChunk]
    vectors: Vectors
    terms: list[SparseVector]

    @functools.cached_property
    def weights(self) -> list[dict[int, float]]:
        return [dict(zip(each.indices, each.values, strict=True)) for each in self.terms]

    @functools.cached_property
    def having(self) -> Counter[int]:
        """Return the number of chunks with a term."""
        return Counter(term for each in self.weights for term in each)

    def rarity(self, terms: SparseVector) -> dict[int, float]:
        return {
            term: math.log((len(self.chunks) - had + 0.5) / (had + 0.5) + 1)
            for term in terms.indices
            if (had := self.having[term])
        }

    def bm25(self, terms: SparseVector) -> dict[str, float]:
        rarity = self.rarity(terms)
        return {
            chunk.chunk_id: sum(rarity[term] * weights.get(term, 0.0) for term in rarity)
            for chunk, weights in zip(self.chunks, self.weights, strict=True)
        }

    def cosine(self, vector: Vectors) -> dict[str, float]:
        scores = (self.vectors @ vector).tolist()
        return {chunk.chunk_id: score for chunk, score in zip(self.chunks, scores, strict=True)}


# Some in most chunks, some in few; in letters only, so that each is one term.
VOCABULARY = [
    f"{consonant}{vowel}{other}{second}k"
    for consonant in "bdfgklmn"
    for vowel in "aeiou"
    for other in "prtz"
    for second in "aou"
]


@functools.cache
def made_up(count: int) -> Expected:
    """Make a book of `count` chunks with common and rare words."""
    random = np.random.default_rng(3)
    shares = 1 / np.arange(1, len(VOCABULARY) + 1) ** 0.5
    chunks: list[StoredChunk] = []
    terms: list[SparseVector] = []
    for start in range(0, count, FILES_OF):
        texts = [
            " ".join(random.choice(VOCABULARY, random.integers(5, 60), p=shares / shares.sum()))
            for _ in range(FILES_OF)
        ]
        terms += document_vectors(texts)
        path = f"{start}.md"
        chunks += [chunk(n, path, text=text, ordinal=n) for n, text in enumerate(texts)]
    return Expected(chunks, random_vectors(count), terms)


async def published(store: Store, book: Expected) -> None:
    await publish(store, book.chunks, book.vectors, book.terms)


QUESTIONS = [
    f"{VOCABULARY[0]} {VOCABULARY[200]}",
    f"{VOCABULARY[470]} unheardof",
    " ".join(VOCABULARY[40:60]),
    VOCABULARY[3],
]


async def test_both_scores_are_those_of_brute_force(store: Store) -> None:
    """Return the scores of each hit of either query."""
    book, n = made_up(2_000), 50
    await published(store, book)
    found_by_one = {"cosine": 0, "bm25": 0}
    for question, vector in zip(QUESTIONS, random_vectors(len(QUESTIONS), seed=2), strict=True):
        terms = query_vector(question)
        found = await store.search(vector, terms, n)
        cosine, bm25 = book.cosine(vector), book.bm25(terms)
        for hit in found.hits:
            assert hit.cosine == pytest.approx(cosine[hit.chunk.chunk_id], abs=1e-5)
            assert hit.bm25 == pytest.approx(bm25[hit.chunk.chunk_id], rel=1e-4)
        ids = {hit.chunk.chunk_id for hit in found.hits}
        assert len(ids) == len(found.hits) <= 2 * n
        near, wordy = best(cosine, n), best(bm25, n)
        assert near <= ids
        assert {key for key in wordy if bm25[key] > 0} <= ids
        found_by_one["cosine"] += len(near - wordy)
        found_by_one["bm25"] += len(wordy - near)
    assert all(found_by_one.values())


def best(scores: Mapping[str, float], n: int) -> set[str]:
    """Check the `n` best; ties with the last one may be missing."""
    ordered = sorted(scores.values(), reverse=True)
    return {key for key, score in scores.items() if score > ordered[n] + 1e-5}


async def test_a_chunk_without_the_words_has_no_bm25(store: Store) -> None:
    chunks = [chunk(0, text="the harbour"), chunk(1, text="the tide")]
    vectors = np.eye(2, DIMENSION, dtype=np.float32)
    await publish(store, chunks, vectors)
    found = await store.search(vectors[0], query_vector("tide"), 1)
    by_number = {hit.chunk.ordinal: hit for hit in found.hits}
    assert by_number[0].cosine == pytest.approx(1)  # found by the vector
    assert by_number[0].bm25 == 0
    assert by_number[1].cosine == pytest.approx(0)  # found by the word
    assert by_number[1].bm25 > 0


async def test_rarity_is_the_share_of_chunks_that_have_a_term(store: Store) -> None:
    book = made_up(300)
    await published(store, book)
    for question in QUESTIONS:
        terms = query_vector(question)
        for vector in (None, random_vectors(1)[0]):
            found = await store.search(vector, terms, 1)
            assert found.rarity == pytest.approx(book.rarity(terms), rel=1e-4)
    assert "unheardof" in QUESTIONS[1]
    assert len(book.rarity(query_vector(QUESTIONS[1]))) == 1
    unknown = query_vector("unheardof neverseen")
    assert await store.search(None, unknown, 5) == Candidates([], {})
    found = await store.search(random_vectors(1)[0], unknown, 5)
    assert len(found.hits) == 5
    assert {hit.bm25 for hit in found.hits} == {0}
    assert found.rarity == {}


async def test_without_a_vector_words_alone_decide(store: Store) -> None:
    book = made_up(300)
    await published(store, book)
    for question in QUESTIONS:
        terms = query_vector(question)
        found = await store.search(None, terms, 20)
        bm25 = book.bm25(terms)
        assert {hit.cosine for hit in found.hits} == {0}
        assert len(found.hits) == min(20, sum(score > 0 for score in bm25.values()))
        ids = {hit.chunk.chunk_id for hit in found.hits}
        assert {key for key in best(bm25, 20) if bm25[key] > 0} <= ids
        for hit in found.hits:
            assert hit.bm25 == pytest.approx(bm25[hit.chunk.chunk_id], rel=1e-4)
            assert hit.chunk in book.chunks


async def test_a_chunk_without_words_is_kept_and_found(store: Store) -> None:
    """For example a table of dashes in a page without headings."""
    chunks = [chunk(0, text="---"), chunk(1, text="the tide")]
    terms = sparse_vectors(chunks)
    assert terms[0].indices == []
    vectors = np.eye(2, DIMENSION, dtype=np.float32)
    await publish(store, chunks, vectors, terms)
    found = await store.search(vectors[0], query_vector("tide"), 2)
    assert [hit.chunk for hit in found.hits] == sorted(chunks, key=lambda each: each.chunk_id)
    generation = new_generation()
    builder = await store.build(generation, MODEL)
    await builder.copy_unchanged(without=[])
    await builder.publish(make_manifest(generation, 2), make_ledger(chunks))
    assert_same(await store.search(vectors[0], query_vector("tide"), 2), found)


VALUES: dict[str, tuple[dict[str, Any], str]] = {
    "file_path": ({"file_path": "guide/a.md"}, "guide/a.md"),
    "paths": ({"paths": ["guide/a.md", "a", "guide"]}, "a"),
    "chapter": ({"chapter": "The harbour — 潮"}, "The harbour — 潮"),
    "kind": ({"kind": "code"}, "code"),
    "version": ({"version": "2.0"}, "2.0"),
    "locale": ({"locale": "pt-BR"}, "pt-BR"),
}


async def test_every_field_restricts_both_queries(store: Store) -> None:
    assert {*VALUES} == {*FILTERS}
    chunks = [chunk(n, text="the tide") for n in range(4)]
    for n, (changes, _) in enumerate(VALUES.values(), start=10):
        chunks.append(chunk(n, **({"file_path": f"{n}.md", "text": "the tide"} | changes)))
    await publish(store, chunks, random_vectors(len(chunks)))
    terms = query_vector("tide")
    whole = await store.search(None, terms, 1)
    for n, (field, (_, value)) in enumerate(VALUES.items(), start=10):
        for vector in (random_vectors(1)[0], None):
            found = await store.search(vector, terms, 50, only={field: value})
            assert [hit.chunk.ordinal for hit in found.hits] == [n], field
            assert found.hits[0].bm25 > 0
            # The rarity of a word does not depend on the restriction.
            assert found.rarity == pytest.approx(whole.rarity, rel=1e-6)
            for other in ("x" + value, value[:-1]):
                found = await store.search(vector, terms, 50, only={field: other})
                assert found.hits == [], field


async def test_each_of_the_names_of_a_file_finds_it(store: Store) -> None:
    chunks = [
        chunk(0, paths=["guide/tides.md", "tides.md", "tides", "guide"]),
        chunk(1, paths=["guide/odd.md", "odd.md", "odd", "guide"]),
        chunk(2, paths=["index.md", "index"]),
    ]
    await publish(store, chunks, random_vectors(3))
    for name, numbers in {"tides": {0}, "odd.md": {1}, "guide": {0, 1}, "guide/": set()}.items():
        found = await store.search(None, query_vector("text"), 9, only={"paths": name})
        assert {hit.chunk.ordinal for hit in found.hits} == numbers
    both = {"paths": "guide", "file_path": "a.md"}
    found = await store.search(None, query_vector("text"), 9, only=both)
    assert {hit.chunk.ordinal for hit in found.hits} == {0, 1}


async def test_the_engines_agree(tmp_path: Path) -> None:
    book, found = made_up(300), []
    for kind in STORE_KINDS:
        async with open_stores(kind, tmp_path / kind) as make:
            store = make()
            await store.open()
            await published(store, book)
            found.append(
                [
                    await store.search(vector, query_vector(question), 300, only=only)
                    for question in QUESTIONS
                    for vector in (None, *random_vectors(2, seed=4))
                    for only in ({}, {"paths": "20.md"}, {"version": "none"})
                ]
            )
    for edge, *others in zip(*found, strict=True):
        for other in others:
            assert_same(edge, other)
    assert sum(len(each.hits) for each in found[0]) > 1_000


def assert_same(one: Candidates, other: Candidates) -> None:
    assert [hit.chunk for hit in one.hits] == [hit.chunk for hit in other.hits]
    for name in ("cosine", "bm25"):
        scores = [getattr(hit, name) for hit in one.hits]
        assert [getattr(hit, name) for hit in other.hits] == pytest.approx(
            scores, rel=1e-5, abs=1e-6
        )
    assert one.rarity == pytest.approx(other.rarity, rel=1e-5)


@pytest.mark.parametrize("gone", [[], ["0.md", "110.md", "120.md"]], ids=str)
async def test_what_was_taken_over_is_found_by_its_words(store: Store, gone: list[str]) -> None:
    """The index equals one built from scratch; words of deleted chunks are gone."""
    book = made_up(300)
    await published(store, book)
    places = [n for n, each in enumerate(book.chunks) if each.file_path not in gone]
    left = Expected(
        [book.chunks[n] for n in places],
        book.vectors[places],
        [book.terms[n] for n in places],
    )
    generation = new_generation()
    builder = await store.build(generation, MODEL)
    await builder.copy_unchanged(without=gone)
    await builder.publish(make_manifest(generation, len(places)), make_ledger(left.chunks))
    for question in QUESTIONS:
        terms = query_vector(question)
        found = await store.search(None, terms, 300)
        scored = {key: score for key, score in left.bm25(terms).items() if score > 0}
        assert {hit.chunk.chunk_id: hit.bm25 for hit in found.hits} == pytest.approx(
            scored, rel=1e-4
        )
        assert found.rarity == pytest.approx(left.rarity(terms), rel=1e-4)


async def test_what_is_lent_are_dense_vectors_only(store: Store) -> None:
    """A chunk with changed neighbours has new terms but the same dense vector."""
    old = chunk(1, text="the tide turns")
    await publish(store, [old], random_vectors(1))
    generation = new_generation()
    builder = await store.build(generation, MODEL)
    lent = (await builder.reuse_vectors([old.content_hash]))[old.content_hash]
    assert lent.shape == (DIMENSION,)
    assert lent.dtype == np.float32
    await builder.add([old], lent[np.newaxis], document_vectors(["a lighthouse"]))
    await builder.publish(make_manifest(generation, 1), make_ledger([old]))
    [hit] = (await store.search(lent, query_vector("lighthouse"), 5)).hits
    assert hit.bm25 > 0
    assert hit.cosine == pytest.approx(1, abs=1e-5)
    assert await store.search(None, query_vector("tide"), 5) == Candidates([], {})


async def test_a_question_of_very_many_terms(store: Store) -> None:
    """A thousand Chinese characters: each is half of two terms."""
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 1_000)))
    await publish(store, [chunk(0, text=text[:500]), chunk(1)], random_vectors(2))
    terms = query_vector(text)
    assert len(terms.indices) == _MAX_ASKED
    found = await store.search(random_vectors(1)[0], terms, 50)
    assert len(found.rarity) == _MAX_ASKED
    assert max(found.hits, key=lambda hit: hit.bm25).chunk.ordinal == 0


async def test_an_embedded_store_without_an_index_finds_nothing(tmp_path: Path) -> None:
    store = EdgeStore(tmp_path / "index")
    await store.open()
    assert await store.search(None, query_vector("tide"), 5) == Candidates((), {})
    await store.close()


async def test_the_same_question_is_searched_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Embedded engine only: a server's collection may change under its readers."""
    monkeypatch.setattr(ShardSearch, "warm_up", lambda _: None)  # searches as well
    store = EdgeStore(tmp_path)
    chunks = [chunk(number, text=f"boat number{number}") for number in range(3)]
    await publish(store, chunks, random_vectors(3))
    boat, second = query_vector("boat"), query_vector("number2")
    one, other = random_vectors(2)
    first = await store.search(one, boat, 5)
    searched: list[Candidates] = []
    own = ShardSearch._search

    def count(*asked: Any) -> Candidates:
        searched.append(own(*asked))
        return searched[-1]

    monkeypatch.setattr(ShardSearch, "_search", count)
    assert await store.search(one.copy(), query_vector("boat"), 5) is first
    assert not searched
    assert await store.search(other, boat, 5) is searched[-1]
    assert await store.search(None, boat, 5) is searched[-1]
    assert await store.search(one, second, 5) is searched[-1]
    assert await store.search(one, boat, 2) is searched[-1]
    assert await store.search(one, boat, 5, only={"kind": "code"}) is searched[-1]
    assert len(searched) == 5
    await publish(store, chunks, random_vectors(3))
    assert await store.search(one, boat, 5) is not first
    await store.close()


async def test_an_index_is_made_warm_without_and_with_chunks(tmp_path: Path) -> None:
    store = EdgeStore(tmp_path)
    await publish(store, [chunk(0)], random_vectors(1))
    generation = new_generation()
    builder = await store.build(generation, MODEL)
    await builder.copy_unchanged(without={chunk(0).content_hash})
    await builder.publish(make_manifest(generation, 0), make_ledger([]))
    await publish(store, [chunk(1)], random_vectors(1))
    await store.close()
    for path in (tmp_path / "generations").iterdir():
        warm, cold = ShardSearch(open_shard(path)), ShardSearch(open_shard(path))
        warm.warm_up()
        tide = query_vector("tide")
        assert warm.search(None, tide, 5, {}) == cold.search(None, tide, 5, {})


async def test_a_large_book_is_searched_in_brief_with_the_same_hits(tmp_path: Path) -> None:
    vectors, chunks = random_vectors(3_000), [chunk(number) for number in range(3_000)]
    store = EdgeStore(tmp_path)
    manifest = await publish(store, chunks, vectors)
    await store.close()
    shard = open_shard(tmp_path / "generations" / manifest.generation)
    exact, brief = ShardSearch(shard), ShardSearch(shard, exact_limit=2_999)
    assert _dense_search_params(shard, 3_000).exact
    assert not _dense_search_params(shard, 2_999).exact
    unknown = query_vector("zeppelin")
    for question in random_vectors(20, seed=7):
        found = [
            {
                hit.chunk.chunk_id: hit.cosine
                for hit in search.search(question, unknown, 30, {}).hits
            }
            for search in (exact, brief)
        ]
        assert found[1] == pytest.approx(found[0], abs=1e-6)
