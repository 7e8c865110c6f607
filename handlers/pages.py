"""The pages for people, GET / and GET /docs, and the document behind the latter, /openapi.json."""

from pathlib import Path

from quart import Blueprint, Response, current_app, send_from_directory

from handlers import OPERATION, operation, respond
from lib.api import Operation, document

ASSETS = Path(__file__).with_name("assets")
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)

blueprint = Blueprint("pages", __name__, static_folder=str(ASSETS), static_url_path="/assets")


@blueprint.get("/")
@operation(Operation("A page that says what this is and lets a person ask.", html=True))
async def home() -> Response:
    return await page("home.html")


@blueprint.get("/docs")
@operation(Operation("This interface, readable.", html=True))
async def docs() -> Response:
    return await page("docs.html")


@blueprint.get("/openapi.json")
@operation(Operation("This interface, for programs."))
async def openapi() -> Response:
    return respond(document(described_routes()))


def described_routes() -> list[tuple[str, str, Operation]]:
    """`(method, path, operation)` of every route that a caller may use."""
    routes = []
    for rule in current_app.url_map.iter_rules():
        described = getattr(current_app.view_functions[rule.endpoint], OPERATION, None)
        if described is not None:
            methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
            routes += [(method, rule.rule, described) for method in methods]
    return sorted(routes, key=lambda route: (route[1], route[0]))


async def page(name: str) -> Response:
    response = await send_from_directory(ASSETS, name)
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response
