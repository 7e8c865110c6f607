"""POST /search and GET /search"""

import msgspec
from quart import Blueprint, Response
from quart_rate_limiter import rate_limit

from handlers import body, operation, query, require_known_origin, respond, services
from handlers.limits import SEARCH_BURST, limits, reader
from lib.api import Operation, trimmed
from lib.search import (
    DEFAULT_SEARCH_K,
    MAX_QUERY_CHARACTERS,
    Query,
    SearchAnswer,
    SearchRequest,
    search_passages,
    search_while_typing,
)

blueprint = Blueprint("search", __name__)

_ERRORS = {
    403: "The origin of the page is not allowed.",
    503: "There is no usable index.",
}


class SearchQuery(SearchRequest, kw_only=True):
    """`SearchRequest` as a query string."""

    query: Query = msgspec.field(name="q")


@blueprint.post("/search")
@rate_limit(limits=limits(SEARCH_BURST))
@operation(
    Operation(
        "Search for passages, best first.",
        body=SearchRequest,
        answer=SearchAnswer,
        statuses=_ERRORS,
    )
)
async def search() -> Response:
    require_known_origin()
    return await _search(await body(SearchRequest), "query")


@blueprint.get("/search")
@rate_limit(limits=limits(SEARCH_BURST))
@operation(
    Operation(
        "Search with a query string.",
        query=SearchQuery,
        answer=SearchAnswer,
        statuses={400: "A parameter is invalid.", **_ERRORS},
    )
)
async def search_by_link() -> Response:
    require_known_origin()
    return await _search(query(SearchQuery), "q")


async def _search(request: SearchRequest, field: str) -> Response:
    text = trimmed(request.query, field, MAX_QUERY_CHARACTERS)
    k = request.k or request.top_k or DEFAULT_SEARCH_K
    await services().chat.until_indexed()
    if request.typing:
        passages = await search_while_typing(
            services().words,
            services().store,
            text,
            k,
            finished=request.query[-1:].isspace(),
            only=request.only(),
        )
        return respond(SearchAnswer(query=text, passages=passages))
    retrieved = await search_passages(
        services().embedder.charged_to(await reader()),
        services().store,
        text,
        k,
        only=request.only(),
        reranker=services().chat.reranker,
    )
    return respond(SearchAnswer(query=text, passages=retrieved.passages))
