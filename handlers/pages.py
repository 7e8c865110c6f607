"""GET /, GET /docs and GET /openapi.json"""

from quart import Blueprint, Response, current_app

from handlers import OPERATION, operation, respond, services
from handlers.html import send_page
from handlers.static import ASSETS, IMMUTABLE, send_file
from lib.api import Operation, openapi_document

blueprint = Blueprint("pages", __name__)


@blueprint.get("/")
@operation(
    Operation("The book's contents, and a box to ask it.", content_type="text/html", has_etag=True)
)
async def home() -> Response:
    book = await services().book_pages.table()
    return await send_page("home.html", book=book, language=book.language)


@blueprint.get("/docs")
@operation(Operation("This API as a page.", content_type="text/html", has_etag=True))
async def docs() -> Response:
    return await send_page("docs.html")


@blueprint.get("/openapi.json")
@operation(Operation("This API as an OpenAPI document."))
async def openapi() -> Response:
    return respond(openapi_document(_described_routes()))


@blueprint.get("/assets/<digest>/<name>")
async def asset(digest: str, name: str) -> Response:
    return await send_file(ASSETS, name, IMMUTABLE, digest=digest)


def _described_routes() -> list[tuple[str, str, Operation]]:
    """`(method, path, operation)` of all public routes."""
    routes = []
    for rule in current_app.url_map.iter_rules():
        described = getattr(current_app.view_functions[rule.endpoint], OPERATION, None)
        if described is not None:
            methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
            routes += [(method, rule.rule, described) for method in methods]
    return sorted(routes, key=lambda route: (route[1], route[0]))
