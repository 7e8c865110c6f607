"""GET /, GET /docs and GET /openapi.json"""

from pathlib import Path

from quart import Blueprint, Response, current_app, send_from_directory

from handlers import OPERATION, operation, respond
from lib.api import Operation, openapi_document

_ASSETS = Path(__file__).with_name("assets")
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)

blueprint = Blueprint("pages", __name__, static_folder=str(_ASSETS), static_url_path="/assets")


@blueprint.get("/")
@operation(Operation("A page to ask questions.", content_type="text/html"))
async def home() -> Response:
    return await _send_page("home.html")


@blueprint.get("/docs")
@operation(Operation("This API as a page.", content_type="text/html"))
async def docs() -> Response:
    return await _send_page("docs.html")


@blueprint.get("/openapi.json")
@operation(Operation("This API as an OpenAPI document."))
async def openapi() -> Response:
    return respond(openapi_document(_described_routes()))


def _described_routes() -> list[tuple[str, str, Operation]]:
    """`(method, path, operation)` of all public routes."""
    routes = []
    for rule in current_app.url_map.iter_rules():
        described = getattr(current_app.view_functions[rule.endpoint], OPERATION, None)
        if described is not None:
            methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
            routes += [(method, rule.rule, described) for method in methods]
    return sorted(routes, key=lambda route: (route[1], route[0]))


async def _send_page(name: str) -> Response:
    response = await send_from_directory(_ASSETS, name)
    response.headers["Content-Security-Policy"] = _CONTENT_SECURITY_POLICY
    return response
