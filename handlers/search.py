"""POST /search and GET /search"""

from typing import Annotated

import msgspec
from quart import Blueprint, Response

from handlers import body, operation, query, respond, services
from lib.openapi import Operation
from lib.requests import trimmed
from lib.search import DEFAULT_K, MAX_QUERY_CHARACTERS, SearchAnswer, SearchRequest, retrieve

blueprint = Blueprint("search", __name__)

FAILURES = {
    502: "The embedding service failed.",
    503: "There is no index that can be searched.",
}


class SearchQuery(msgspec.Struct, kw_only=True):
    """The same request as a query string."""

    q: Annotated[
        str,
        msgspec.Meta(
            description="1 to 1000 characters after trimming.",
            extra_json_schema={"pattern": r"^\s*[^\s\u0000]([^\u0000]{0,998}[^\s\u0000])?\s*$"},
        ),
    ]
    k: Annotated[int, msgspec.Meta(ge=1, le=50)] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=1, le=50, description="Another name of k.")] | None = None
    file_path: Annotated[str, msgspec.Meta(description="Only passages of this file.")] | None = None


@blueprint.post("/search")
@operation(
    Operation(
        "The passages that fit a query, best first.",
        body=SearchRequest,
        answer=SearchAnswer,
        statuses=FAILURES,
    )
)
async def search() -> Response:
    return await found(await body(SearchRequest))


@blueprint.get("/search")
@operation(
    Operation(
        "The same for a link or a shell.",
        query=SearchQuery,
        answer=SearchAnswer,
        statuses={400: "A parameter is not valid.", **FAILURES},
    )
)
async def search_by_link() -> Response:
    asked = query(SearchQuery)
    return await found(
        SearchRequest(query=asked.q, k=asked.k, top_k=asked.top_k, file_path=asked.file_path)
    )


async def found(request: SearchRequest) -> Response:
    text = trimmed(request.query, "query", MAX_QUERY_CHARACTERS)
    passages = await retrieve(
        services().embedder,
        services().store,
        text,
        request.k or request.top_k or DEFAULT_K,
        file_path=request.file_path or None,
    )
    return respond(SearchAnswer(query=text, passages=passages))
