"""POST /search and GET /search"""

from collections.abc import Mapping

import msgspec
from quart import Blueprint, Response
from quart_rate_limiter import rate_limit

from handlers import SEARCH_ERRORS, body, operation, query, require_known_origin, respond, services
from handlers.limits import SEARCH_BURST, limits, reader
from lib.api import Operation, trimmed
from lib.ranking import Passage
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
        statuses=SEARCH_ERRORS,
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
        statuses=SEARCH_ERRORS,
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
    return respond(SearchAnswer(query=text, passages=await find_passages(text, k, request.only())))


async def find_passages(query: str, k: int, only: Mapping[str, str]) -> list[Passage]:
    """Find the best `k` passages for the request's reader, of the fields in `only`."""
    found = await search_passages(
        services().embedder.charged_to(await reader()),
        services().store,
        query,
        k,
        only=only,
        reranker=services().chat.reranker,
    )
    return found.passages
