"""From a question to passages."""

from collections.abc import Mapping
from typing import Annotated

import msgspec

from lib.embedding import Embedder
from lib.errors import IndexNotReady, IndexOutdated
from lib.store import INDEX_FORMAT, Hit, Manifest, Store

MAX_QUERY_CHARACTERS = 1_000
DEFAULT_K = 10

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
    version: Annotated[str, msgspec.Meta(description="Only this version of it.")] | None = None
    locale: Annotated[str, msgspec.Meta(description="Only pages in this locale.")] | None = None


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A retrieved chunk. `text` is the file's own `[start_char:end_char]`, in characters.

    `kind` is what most of it is: prose, code or table; `language` is the code's.
    """

    chunk_id: str
    text: str
    file_path: str
    chapter: str
    section: str
    heading: str
    url: str | None
    start_char: int
    end_char: int
    kind: str = "prose"
    language: str = ""
    version: str = ""
    locale: str = ""
    score: Annotated[float, msgspec.Meta(ge=0, le=1)]


class SearchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The passages that fit the query, best first."""

    query: str
    passages: list[Passage]


async def retrieve(
    embedder: Embedder,
    store: Store,
    query: str,
    k: int,
    *,
    only: Mapping[str, str] | None = None,
) -> list[Passage]:
    """The `k` passages nearest to `query`, best first; `only` as in `Store.search`.

    Raises `IndexNotReady` and `IndexOutdated` when there is nothing fit to be searched, and
    whatever the embedder and the store raise.
    """
    check_index(await store.manifest(), embedder)
    vector = await embedder.embed_query(query)
    return [passage(hit) for hit in await store.search(vector, k, only=only)]


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


def passage(hit: Hit) -> Passage:
    chunk = hit.chunk
    return Passage(
        chunk_id=chunk.chunk_id,
        text=chunk.text,
        file_path=chunk.file_path,
        chapter=chunk.chapter,
        section=chunk.section,
        heading=chunk.heading,
        url=chunk.url,
        start_char=chunk.start_char,
        end_char=chunk.end_char,
        kind=chunk.kind,
        language=chunk.language,
        version=chunk.version,
        locale=chunk.locale,
        score=min(1.0, max(0.0, hit.score)),
    )
