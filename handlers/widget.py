"""GET /widget.js and GET /widget/<file>: the widget, as `make widget` has built it.

Any page may load these files: they are public and the same for everyone. So they have CORS headers
of their own, without credentials.
"""

import re

from quart import Blueprint, Response
from quart_cors import cors_exempt

from handlers.static import ASSETS, IMMUTABLE, send_file

_LOADER_CACHE = "public, max-age=600, stale-while-revalidate=86400"
_APP = re.compile(r"app-\w{1,20}\.js")

blueprint = Blueprint("widget", __name__)


@blueprint.get("/widget.js")
@cors_exempt
async def loader() -> Response:
    return _share(await send_file(ASSETS, "widget.js", _LOADER_CACHE))


@blueprint.get("/widget/<name>")
@cors_exempt
async def file(name: str) -> Response:
    folder, cache_control = ASSETS / "widget", IMMUTABLE
    if _APP.fullmatch(name) and not (folder / name).is_file():
        # That of another version, whose loader a browser has kept.
        name = next((app.name for app in folder.glob("app-*.js")), name)
        cache_control = "no-cache"
    return _share(await send_file(folder, name, cache_control))


def _share(response: Response) -> Response:
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response
