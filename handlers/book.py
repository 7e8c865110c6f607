"""GET /book/<path>: the pages of a book that Quire serves itself, and the Markdown of any page."""

import asyncio
from http import HTTPStatus
from typing import Final

from quart import Blueprint, Response, after_this_request, request
from quart.typing import ResponseTypes
from quart_rate_limiter import rate_limit

from handlers import operation, services
from handlers.html import send_page
from handlers.limits import MARKDOWN, SEARCH_BURST, count_markdown, limits
from handlers.links import Link, add_links
from handlers.static import send_packed
from lib.api import Operation
from lib.errors import QuireError
from lib.packing import pack
from lib.page_names import markdown_address

_FORMS_OF_ERRORS = ("application/json", "text/html")
_MARKDOWN: Final = "text/markdown"

blueprint = Blueprint("book", __name__)


@blueprint.get("/book")
async def folder() -> Response:
    return Response(status=HTTPStatus.PERMANENT_REDIRECT, headers={"Location": "book/"})


@blueprint.get("/book/<path:page>.md")
@rate_limit(limits=limits(SEARCH_BURST, MARKDOWN))
@operation(
    Operation(
        "The Markdown of a page. For a page of HTML, `start_char` and `end_char` count in it.",
        content_type=_MARKDOWN,
        statuses={404: "The book has no such page.", 503: "There is no usable index."},
        has_etag=True,
    )
)
async def markdown(page: str) -> Response:
    return await _send_markdown(await services().page_markdown.file_of(page), page)


@blueprint.get("/book/", defaults={"address": ""})
@blueprint.get("/book/<path:address>")
async def page(address: str) -> Response:
    after_this_request(_vary)
    try:
        if _prefers_markdown():
            await count_markdown()
            return await _send_markdown(await _file_at(address), address)
        found = await services().book_pages.page(address)
    except QuireError as error:
        if request.accept_mimetypes.best_match(_FORMS_OF_ERRORS) != "text/html":
            raise
        return await send_page(
            "error.html", status=error.status, depth=_depth(address), message=error.message
        )
    other = Link(markdown_address(found.link.file_path), "alternate", _MARKDOWN)
    return await send_page(
        "book.html",
        depth=found.depth,
        links=(other,),
        page=found,
        language=found.book.language,
    )


async def _send_markdown(path: str, address: str) -> Response:
    """Answer with the Markdown of a file at an address below /book/."""
    text = await services().page_markdown.of_file(path)
    packed = await asyncio.to_thread(pack, text.encode("utf-8", "surrogatepass"))
    response = await send_packed(packed, f"{_MARKDOWN}; charset=utf-8", "no-cache")
    public = await services().book_pages.public_address(path)
    add_links(response, _depth(address), *([Link(public, "canonical")] if public else []))
    return response


async def _file_at(address: str) -> str:
    """The file of a page of HTML at an address below /book/, else the file with this path."""
    own = await services().book_pages.file_at(address)
    return own or await services().page_markdown.file_of(address)


def _prefers_markdown() -> bool:
    """Whether the client names Markdown, and prefers HTML no more. Browsers do not name it."""
    accepted = request.accept_mimetypes
    named = [q for value, q in accepted if value.partition(";")[0].lower() == _MARKDOWN]
    return max(named, default=0) >= accepted["text/html"] and any(named)


def _depth(address: str) -> int:
    """Folders between the page at `/` and an address below /book/."""
    return 1 + address.count("/")


def _vary(response: ResponseTypes) -> ResponseTypes:
    response.vary.add("Accept")
    return response
