"""From a question to passages."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from lib.budget import BudgetExhausted
from lib.embedding import Embedder, Similarity, Vectors
from lib.errors import IndexNotReady, IndexOutdated, RedisUnavailable, UpstreamError
from lib.ranking import ParsedQuery, Passage, Ranked, parse_query, rank, select_passages
from lib.store import INDEX_FORMAT, Candidates, Manifest, Store
from lib.terms import SparseVector, merge_vectors, query_vector, without_small_words

log = logging.getLogger(__name__)

MAX_QUERY_CHARACTERS = 1_000
CANDIDATES = 30
"""Chunks that meaning and words each bring forward, at the least."""
DEFAULT_K = 10

Kind = Literal["prose", "code", "table"]
Query = Annotated[
    str,
    msgspec.Meta(
        description="1 to 1000 characters after trimming.",
        extra_json_schema={"pattern": r"^\s*[^\s\u0000]([^\u0000]{0,998}[^\s\u0000])?\s*$"},
    ),
]
PassageCount = Annotated[int, msgspec.Meta(ge=1, le=50)]


class SearchRequest(msgspec.Struct, kw_only=True):
    """What to look for in the book."""

    query: Query
    k: PassageCount | None = None
    top_k: Annotated[PassageCount, msgspec.Meta(description="Another name of k.")] | None = None
    file_path: Annotated[str, msgspec.Meta(description="Only passages of this file.")] | None = None
    chapter: Annotated[str, msgspec.Meta(description="Only this chapter.")] | None = None
    kind: Annotated[Kind, msgspec.Meta(description="Only prose, code or tables.")] | None = None
    version: Annotated[str, msgspec.Meta(description="Only this version of it.")] | None = None
    locale: Annotated[str, msgspec.Meta(description="Only pages in this locale.")] | None = None

    def only(self) -> dict[str, str]:
        """The restrictions, as `Store.search` takes them."""
        wanted = {
            "file_path": self.file_path,
            "chapter": self.chapter,
            "kind": self.kind,
            "version": self.version,
            "locale": self.locale,
        }
        return {field: value for field, value in wanted.items() if value}


class SearchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The passages that fit the query, best first."""

    query: str
    passages: list[Passage]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found, and what it rests on."""

    passages: list[Passage]
    looked: "Lookup"
    ranked: Sequence[Ranked]
    """The chunks behind the passages, and those that were left out."""
    manifest: Manifest
    similarity: Similarity | None
    """None where words alone decided."""
    embedding_tokens: int
    """About what it cost."""


async def search_passages(
    embedder: Embedder,
    store: Store,
    query: str,
    k: int,
    *,
    only: Mapping[str, str] | None = None,
) -> SearchResult:
    """The `k` passages that fit `query` best, best first; `only` as in `Store.search`.

    Restrictions in the query itself (`lib.ranking`) hold as well, unless nothing is left by them:
    then they are words like others. While the embedder is away, or may cost nothing more today,
    words alone decide. Raises `IndexNotReady` and `IndexOutdated` when there is nothing fit to be
    searched, and whatever the store raises.
    """
    manifest = check_index(await store.manifest(), embedder)
    tokens = 0

    async def embed(text: str) -> Vectors | None:
        nonlocal tokens
        paid = embedder.billable_tokens(text)
        try:
            vector = await embedder.embed_query(text)
        except (BudgetExhausted, RedisUnavailable):
            return None
        except UpstreamError as error:
            tokens += paid
            # A breaker that is open says so for every reader: once was enough.
            level = logging.DEBUG if error.retry_after else logging.WARNING
            log.log(level, "searching by words alone: %s", error.message)
            return None
        tokens += paid
        return vector

    looked = await look_up(store, manifest, query, max(CANDIDATES, 4 * k), embed, only=only)
    similarity = embedder.similarity if looked.with_meaning else None
    ranked = rank(looked.query, looked.asked, looked.found, manifest, similarity)
    return SearchResult(select_passages(ranked, k), looked, ranked, manifest, similarity, tokens)


@dataclass(frozen=True, slots=True)
class Lookup:
    """Chunks with what words and meaning say of them, before anything is decided."""

    query: ParsedQuery
    asked: Sequence[SparseVector]
    """The question's terms, as each language of the book has them."""
    found: Candidates
    with_meaning: bool
    """Whether the question had a vector."""


async def look_up(
    store: Store,
    manifest: Manifest,
    text: str,
    n: int,
    embed: Callable[[str], Awaitable[Vectors | None]],
    *,
    only: Mapping[str, str] | None = None,
) -> Lookup:
    """What the index has for a question; `n` and `only` as in `Store.search`.

    Where `embed` gives no vector, only words are looked for. Restrictions in the question itself
    that leave nothing are taken as words. Raises what `embed` and the store raise.
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


def check_index(manifest: Manifest | None, embedder: Embedder) -> Manifest:
    """The manifest of an index that `embedder`'s vectors may be compared with."""
    if manifest is None:
        raise IndexNotReady(
            "The book is not indexed yet. If an ingestion is running, try again when it is done; "
            "else start one with POST /ingest or `python main.py ingest`."
        )
    if manifest.index_format != INDEX_FORMAT:
        raise IndexOutdated(
            "The index was made by another version of Quire. Ingest the book again: "
            "`python main.py ingest`, or POST /ingest."
        )
    if manifest.embedding_model != embedder.model_id:
        raise IndexOutdated(
            f"The index was made with the embedding model {manifest.embedding_model}, but "
            f"{embedder.model_id} is configured now. Ingest the book again: "
            "`python main.py ingest`, or POST /ingest."
        )
    return manifest
