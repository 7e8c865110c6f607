"""POST /search and GET /search"""

import msgspec
from quart import Blueprint, Response
from quart_rate_limiter import rate_limit

from handlers import body, operation, query, require_known_origin, respond, services
from handlers.limits import SEARCH_BURST, limits
from lib.api import Operation, trimmed
from lib.search import (
    DEFAULT_K,
    MAX_QUERY_CHARACTERS,
    Query,
    SearchAnswer,
    SearchRequest,
    search_passages,
)

blueprint = Blueprint("search", __name__)

FAILURES = {
    403: "A page of a foreign origin.",
    503: "There is no index that can be searched.",
}


class SearchQuery(SearchRequest, kw_only=True):
    """The same request as a query string."""

    query: Query = msgspec.field(name="q")


@blueprint.post("/search")
@rate_limit(limits=limits(SEARCH_BURST))
@operation(
    Operation(
        "The passages that fit a query, best first.",
        body=SearchRequest,
        answer=SearchAnswer,
        statuses=FAILURES,
    )
)
async def search() -> Response:
    require_known_origin()
    return await found(await body(SearchRequest), "query")


@blueprint.get("/search")
@rate_limit(limits=limits(SEARCH_BURST))
@operation(
    Operation(
        "The same for a link or a shell.",
        query=SearchQuery,
        answer=SearchAnswer,
        statuses={400: "A parameter is not valid.", **FAILURES},
    )
)
async def search_by_link() -> Response:
    require_known_origin()
    return await found(query(SearchQuery), "q")


async def found(request: SearchRequest, field: str) -> Response:
    text = trimmed(request.query, field, MAX_QUERY_CHARACTERS)
    await services().chat.until_indexed()
    retrieved = await search_passages(
        services().embedder,
        services().store,
        text,
        request.k or request.top_k or DEFAULT_K,
        only=request.only(),
    )
    return respond(SearchAnswer(query=text, passages=retrieved.passages))
