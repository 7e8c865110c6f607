"""Search the index: embed a query, fetch candidates, rank them, select passages."""

import itertools
import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal

import msgspec

from lib.budget import BudgetExhausted
from lib.completion import BookWords
from lib.embedding import Embedder, Similarity, Vectors, query_embedder
from lib.errors import (
    IndexNotReady,
    IndexOutdated,
    RedisUnavailable,
    StoreUnavailable,
    UpstreamError,
)
from lib.languages import ENGLISH, IS_UNSPACED, WORD, split_words, stop_words
from lib.ranking import (
    ParsedQuery,
    Passage,
    Ranked,
    parse_query,
    rank,
    select_passages,
    sort_key,
)
from lib.reranking import Reranker
from lib.store import INDEX_FORMAT, Candidates, Manifest, Searchable, Store
from lib.terms import (
    SparseVector,
    merge_vectors,
    query_vector,
    term_number,
    terms,
    without_small_words,
)

_log = logging.getLogger(__name__)

MAX_QUERY_CHARACTERS = 1_000
CANDIDATES = 30
"""Minimum number of chunks fetched by vectors and by words each."""
DEFAULT_SEARCH_K = 10
_MAX_FILTER = 2_000
MAX_SEARCH_K = 50

_PassageKind = Literal["prose", "code", "table"]
Query = Annotated[
    str,
    msgspec.Meta(
        description="1 to 1000 characters after trimming.",
        extra_json_schema={"pattern": r"^\s*[^\s\u0000]([^\u0000]{0,998}[^\s\u0000])?\s*$"},
    ),
]
_PassageCount = Annotated[int, msgspec.Meta(ge=1, le=MAX_SEARCH_K)]


class SearchRequest(msgspec.Struct, kw_only=True):
    """A search of the book."""

    query: Query
    k: _PassageCount | None = None
    top_k: Annotated[_PassageCount, msgspec.Meta(description="Alias of k.")] | None = None
    file_path: (
        Annotated[str, msgspec.Meta(max_length=_MAX_FILTER, description="Only this file.")] | None
    ) = None
    chapter: (
        Annotated[str, msgspec.Meta(max_length=_MAX_FILTER, description="Only this chapter.")]
        | None
    ) = None
    kind: (
        Annotated[_PassageKind, msgspec.Meta(description="Only prose, code or tables.")] | None
    ) = None
    version: (
        Annotated[str, msgspec.Meta(max_length=_MAX_FILTER, description="Only this version.")]
        | None
    ) = None
    locale: (
        Annotated[str, msgspec.Meta(max_length=_MAX_FILTER, description="Only this locale.")] | None
    ) = None

    typing: Annotated[
        bool,
        msgspec.Meta(
            description="The query is being typed: search by words only, at no cost, and complete "
            "the last word."
        ),
    ] = False

    def only(self) -> dict[str, str]:
        """The restrictions, in the form of `Store.search`."""
        fields = ("file_path", "chapter", "kind", "version", "locale")
        return {field: value for field in fields if (value := getattr(self, field))}


class SearchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The passages that match the query, best first."""

    query: str
    passages: list[Passage]


@dataclass(frozen=True, slots=True)
class Lookup:
    """The candidates for a query, before ranking."""

    query: ParsedQuery
    asked: Sequence[SparseVector]
    """The question's terms in each language of the book."""
    found: Candidates
    has_vector: bool
    """Whether the query was embedded."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The passages of a search, with the data that they were selected from."""

    passages: list[Passage]
    lookup: Lookup
    ranked: Sequence[Ranked]
    """All ranked chunks, including those that were not selected."""
    manifest: Manifest
    similarity: Similarity | None
    """None if only words were compared."""
    embedding_tokens: int
    """Estimated tokens billed."""


async def search_passages(
    embedder: Embedder,
    store: Store,
    query: str,
    k: int,
    *,
    only: Mapping[str, str] | None = None,
    reranker: Reranker | None = None,
) -> SearchResult:
    """Search for the `k` best passages, best first.

    `only` as in `Store.search`.

    Restrictions in the query (`lib.ranking`) apply too, unless they exclude everything: then they
    are read as words. The query is embedded with the index's model, which may not be the configured
    one. While that is unavailable or its budget is used up, only words are compared. Raises
    `IndexNotReady`, `IndexOutdated` and the errors of the store.
    """
    while True:
        manifest = check_index(await store.manifest())
        used = query_embedder(embedder, manifest.embedding_model)
        try:
            found = await _search_with(used, store, manifest, query, k, only)
        except StoreUnavailable as error:
            # A server refuses vectors of another dimension.
            refused = error.details.get("upstream_status") == 400
            if not refused or await _has_model_of(store, manifest):
                raise
        else:
            if await _has_model_of(store, manifest):
                break
    if reranker:
        found = replace(found, ranked=await reranker.rerank(found.lookup.query.text, found.ranked))
    return replace(found, passages=select_passages(found.ranked, k))


async def search_while_typing(
    words: BookWords,
    store: Store,
    query: str,
    k: int,
    *,
    finished: bool = False,
    only: Mapping[str, str] | None = None,
) -> list[Passage]:
    """Search by words only for the `k` best passages, best first; `only` as in `Store.search`.

    `finished`: whether the last word is complete. Otherwise a chunk counts with the completion that
    it matches best. Raises `IndexNotReady`, `IndexOutdated` and the errors of the store.
    """
    manifest = check_index(await store.manifest())
    best: dict[str, Ranked] = {}
    for text in [query] if finished else await words.complete(query, manifest):
        lookup = await look_up(store, manifest, text, max(CANDIDATES, 4 * k), _no_vector, only=only)
        for each in rank(lookup.query, lookup.asked, lookup.found, manifest, None):
            chunk_id = each.hit.chunk.chunk_id
            if chunk_id not in best or each.total > best[chunk_id].total:
                best[chunk_id] = each
    return select_passages(sorted(best.values(), key=sort_key), k)


async def _no_vector(_: str) -> None:
    return None


async def _has_model_of(store: Store, manifest: Manifest) -> bool:
    """Whether no index of another model, whose vectors differ, was published meanwhile."""
    now = await store.manifest()
    return now is None or now.embedding_model == manifest.embedding_model


async def _search_with(
    embedder: Embedder | None,
    store: Store,
    manifest: Manifest,
    query: str,
    k: int,
    only: Mapping[str, str] | None,
) -> SearchResult:
    """Fetch and rank the candidates; no passages are selected yet."""
    tokens = 0

    async def embed(text: str) -> Vectors | None:
        nonlocal tokens
        if embedder is None:
            return None
        paid = embedder.billable_tokens(text)
        try:
            vector = await embedder.embed_query(text)
        except (BudgetExhausted, RedisUnavailable):
            return None
        except UpstreamError as error:
            tokens += paid
            # An open circuit breaker raises for every reader; the first failure was logged.
            level = logging.DEBUG if error.retry_after else logging.WARNING
            _log.log(level, "Searching by words only: %s", error.message)
            return None
        tokens += paid
        if len(vector) != manifest.dimension:
            _log.warning("Searching by words only: the index has vectors of another dimension.")
            return None
        return vector

    lookup = await look_up(store, manifest, query, max(CANDIDATES, 4 * k), embed, only=only)
    similarity = embedder.similarity if embedder and lookup.has_vector else None
    ranked = rank(lookup.query, lookup.asked, lookup.found, manifest, similarity)
    return SearchResult([], lookup, ranked, manifest, similarity, tokens)


async def look_up(
    store: Searchable,
    manifest: Manifest,
    text: str,
    n: int,
    embed: Callable[[str], Awaitable[Vectors | None]],
    *,
    only: Mapping[str, str] | None = None,
) -> Lookup:
    """Fetch the candidates for a query; `n` and `only` as in `Store.search`.

    Without a vector from `embed`, only words are searched. Restrictions in the query that exclude
    everything are read as words, and misspelt words as those of the book. Numbers that the book
    lacks are left out. Raises the errors of `embed` and the store.
    """
    parsed = parse_query(text)

    async def search(query: ParsedQuery, vector: Vectors | None) -> Lookup:
        plain = without_small_words(query.text, manifest.languages)
        asked = [query_vector(plain, language) for language in manifest.languages]
        restricted = {**query.only, **(only or {})}
        found = await store.search(vector, merge_vectors(asked), n, only=restricted)
        return Lookup(query, asked, found, vector is not None)

    vector = await embed(parsed.text)
    lookup = await search(parsed, vector)
    if parsed.only and not lookup.found.hits:
        vector = await embed(text)
        lookup = await search(ParsedQuery(text, {}, parsed.phrases), vector)
    corrected = _correct_spelling(lookup.query, lookup.found, manifest.languages)
    plain = _without_unknown_numbers(corrected, lookup.found)
    if plain == lookup.query.text:
        return lookup
    if plain != corrected:
        vector = await embed(plain)
    return await search(replace(lookup.query, text=plain), vector)


def _without_unknown_numbers(text: str, found: Candidates) -> str:
    """Leave out the numbers that the book lacks: they do not tell what a question is about."""
    gone = {
        word
        for word in split_words(text)
        if _NUMBER.fullmatch(word) and _is_unknown(word, ENGLISH, found)
    }
    rest = WORD.sub(lambda word: "" if word[0] in gone else word[0], text) if gone else text
    return rest if WORD.search(rest) else text


_NUMBER: Final = re.compile(r"\d[\d./-]*+")
_MAX_CORRECTED: Final = 5
"""Misspelt words of a question; each is looked for in every candidate."""
_SHORTEST_CORRECTED: Final = 4
_SHORT: Final = 5
"""A word of up to this many letters may only lack a letter, or have two swapped. With another
letter, it is more likely another word."""
_LONG: Final = 9
"""Words from this many letters may have two mistakes."""
_LONGEST_CORRECTED: Final = 30


def _correct_spelling(query: ParsedQuery, found: Candidates, languages: Sequence[str]) -> str:
    """Replace words that the book lacks by the most similar words of the candidates.

    Their vectors are near what the question means, so few other words are at risk.
    """
    if query.phrases:
        return query.text
    unknown = [
        word
        for word in dict.fromkeys(split_words(query.text))
        if _SHORTEST_CORRECTED <= len(word) <= _LONGEST_CORRECTED
        and word.isalpha()
        and not IS_UNSPACED.match(word)
        and all(_is_unknown(word, language, found) for language in languages)
    ]
    if not unknown:
        return query.text
    small = itertools.chain.from_iterable(map(stop_words, languages))
    text = " ".join([*(hit.chunk.content.casefold() for hit in found.hits), *small])
    fixes = {word: _most_similar(word, text) for word in unknown[:_MAX_CORRECTED]}
    return WORD.sub(lambda word: fixes.get(word[0], word[0]), query.text)


def _is_unknown(word: str, language: str, found: Candidates) -> bool:
    held = [term_number(term) for term in terms(word, language)]
    return bool(held) and not any(number in found.rarity for number in held)


def _most_similar(word: str, text: str) -> str:
    """Return the word of `text`, in lower case, of which `word` is probably a misspelling, else
    `word`."""
    lower, size = word.casefold(), len(word)
    most = 2 if size >= _LONG else 1
    # It begins with a letter, not with a condition, because that is found much faster.
    pattern = rf"{lower[0]}[^\W\d_]{{{max(1, size - most - 1)},{size + most - 1}}}\b"
    counts = Counter(
        found[0]
        for found in re.finditer(pattern, text)
        if not text[found.start() - 1 : found.start()].isalnum()
    )
    letters = set(lower)
    similar = []
    for other, count in counts.items():
        if len(letters ^ set(other)) <= 2 * most:  # else further away
            distance = _edit_distance(lower, other)
            common = len(other) > size or sorted(other) == sorted(lower)
            if distance <= most and (common or size > _SHORT):
                similar.append((distance, not common, -count, other))
    return min(similar)[-1] if similar else word


def _edit_distance(one: str, other: str) -> int:
    """Count the letters to insert, delete, replace or swap (optimal string alignment)."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, its in enumerate(other, 1):
            cost = min(last[j] + 1, row[-1] + 1, last[j - 1] + (letter != its))
            if i > 1 and j > 1 and one[i - 2] == its and letter == other[j - 2]:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]


def check_index(manifest: Manifest | None) -> Manifest:
    """Return the manifest if the index exists and this version of Quire can read it."""
    if manifest is None:
        raise IndexNotReady(
            "The book is not indexed yet. Start an ingestion with `python main.py ingest` or "
            "POST /ingest, or wait if one is running."
        )
    if manifest.index_format != INDEX_FORMAT:
        raise IndexOutdated(
            "The index was built by another version of Quire. Run `python main.py ingest` or "
            "POST /ingest."
        )
    return manifest
