"""Search the index: embed a query, fetch candidates, rank them, select passages."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import msgspec

from lib.budget import BudgetExhausted
from lib.embedding import Embedder, Similarity, Vectors, query_embedder
from lib.errors import (
    IndexNotReady,
    IndexOutdated,
    RedisUnavailable,
    StoreUnavailable,
    UpstreamError,
)
from lib.ranking import (
    SHOWN_SHARE,
    ParsedQuery,
    Passage,
    Ranked,
    parse_query,
    rank,
    select_passages,
)
from lib.reranking import Reranker
from lib.store import INDEX_FORMAT, Candidates, Manifest, Store
from lib.terms import SparseVector, merge_vectors, query_vector, without_small_words

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
    min_share: float = SHOWN_SHARE,
    reranker: Reranker | None = None,
) -> SearchResult:
    """Search for the `k` best passages, best first.

    `only` as in `Store.search`, `min_share` as in `select_passages`.

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
    return replace(found, passages=select_passages(found.ranked, k, min_share))


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
    store: Store,
    manifest: Manifest,
    text: str,
    n: int,
    embed: Callable[[str], Awaitable[Vectors | None]],
    *,
    only: Mapping[str, str] | None = None,
) -> Lookup:
    """Fetch the candidates for a query; `n` and `only` as in `Store.search`.

    Without a vector from `embed`, only words are searched. Restrictions in the query that exclude
    everything are read as words. Raises the errors of `embed` and the store.
    """
    parsed = parse_query(text)
    for query in (parsed, ParsedQuery(text, {}, parsed.phrases)):
        vector = await embed(query.text)
        plain = without_small_words(query.text, manifest.languages)
        asked = [query_vector(plain, language) for language in manifest.languages]
        restricted = {**query.only, **(only or {})}
        found = await store.search(vector, merge_vectors(asked), n, only=restricted)
        if found.hits or not query.only:
            break
    return Lookup(query, asked, found, vector is not None)


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
