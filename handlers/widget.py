"""GET /widget.js and GET /widget/<file>: the widget, as `make widget` has built it.

Any page may load these files: they are public and the same for everyone. So they have CORS headers
of their own, without credentials.
"""

from quart import Blueprint, Response
from quart_cors import cors_exempt

from handlers.static import ASSETS, IMMUTABLE, send_file

_LOADER_CACHE = "public, max-age=600, stale-while-revalidate=86400"

blueprint = Blueprint("widget", __name__)


@blueprint.get("/widget.js")
@cors_exempt
async def loader() -> Response:
    return _share(await send_file(ASSETS, "widget.js", _LOADER_CACHE))


@blueprint.get("/widget/<name>")
@cors_exempt
async def file(name: str) -> Response:
    return _share(await send_file(ASSETS / "widget", name, IMMUTABLE))


def _share(response: Response) -> Response:
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response
