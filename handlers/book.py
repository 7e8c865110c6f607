"""GET /book/<path>: the pages of a book that Quire serves itself, and the Markdown of any page."""

import asyncio
from http import HTTPStatus

from quart import Blueprint, Response, request
from quart_rate_limiter import rate_limit

from handlers import operation, services
from handlers.html import send_page
from handlers.limits import SEARCH_BURST, limits
from handlers.static import pack, send_packed
from lib.api import Operation
from lib.errors import QuireError

_FORMS_OF_ERRORS = ("application/json", "text/html")

blueprint = Blueprint("book", __name__)


@blueprint.get("/book")
async def folder() -> Response:
    return Response(status=HTTPStatus.PERMANENT_REDIRECT, headers={"Location": "book/"})


@blueprint.get("/book/<path:page>.md")
@rate_limit(limits=limits(SEARCH_BURST))
@operation(
    Operation(
        "The Markdown of a page. For a page of HTML, `start_char` and `end_char` count in it.",
        content_type="text/markdown",
        statuses={404: "The book has no such page.", 503: "There is no usable index."},
        has_etag=True,
    )
)
async def markdown(page: str) -> Response:
    text = await services().page_markdown.of(page)
    packed = await asyncio.to_thread(pack, text.encode("utf-8", "surrogatepass"))
    return await send_packed(packed, "text/markdown; charset=utf-8", "no-cache")


@blueprint.get("/book/", defaults={"address": ""})
@blueprint.get("/book/<path:address>")
async def page(address: str) -> Response:
    try:
        found = await services().book_pages.page(address)
    except QuireError as error:
        if request.accept_mimetypes.best_match(_FORMS_OF_ERRORS) != "text/html":
            raise
        depth = 1 + address.count("/")
        return await send_page(
            "error.html", status=error.status, depth=depth, message=error.message
        )
    return await send_page("book.html", depth=found.depth, page=found, language=found.book.language)
