"""GET /book/<path>: the pages of a book that Quire serves itself."""

from http import HTTPStatus

from quart import Blueprint, Response, request

from handlers import services
from handlers.html import send_page
from lib.errors import QuireError

_FORMS_OF_ERRORS = ("application/json", "text/html")

blueprint = Blueprint("book", __name__)


@blueprint.get("/book")
async def folder() -> Response:
    return Response(status=HTTPStatus.PERMANENT_REDIRECT, headers={"Location": "book/"})


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
