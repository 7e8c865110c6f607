"""HTTP endpoints, one per module, and what they share.

A handler parses the request into a struct, awaits one call of `lib`, and responds.
"""

from collections.abc import Callable
from typing import Final, TypeVar, cast

import msgspec
from quart import Request, Response, current_app, request

from lib.api import Operation, decode_body, decode_query
from lib.auth import bearer, has_key, is_local_host, is_loopback
from lib.errors import Forbidden, InvalidRequest, NotFound, UnsupportedMediaType
from lib.origins import Origins
from lib.question_log import NO_LOG, QuestionLog
from lib.services import Services
from lib.settings import Settings

_R = TypeVar("_R", bound=msgspec.Struct)
_View = TypeVar("_View", bound=Callable[..., object])

SEARCH_ERRORS: Final = {
    403: "The origin of the page is not allowed.",
    503: "There is no usable index.",
}
"""Error responses of a route that searches the book."""
LOG_ERRORS: Final = {
    401: "The admin key is missing or wrong.",
    404: "There is no question log.",
}
"""Error responses of a route that reads the question log."""
OPERATION = "operation"
_MAX_PARAMETERS = 100


def services() -> Services:
    """The services of the running application."""
    return cast(Services, current_app.extensions["services"])


def question_log() -> QuestionLog:
    """The question log. Raises `NotFound` if the author keeps none."""
    log = services().question_log
    if log is None:
        raise NotFound(NO_LOG)
    return log


def allowed_origins() -> Origins:
    """The origins whose pages may call."""
    return cast(Origins, current_app.extensions["origins"])


def operation(described: Operation) -> Callable[[_View], _View]:
    """Decorator: describe a route for the OpenAPI document."""

    def mark(view: _View) -> _View:
        setattr(view, OPERATION, described)
        return view

    return mark


async def body(form: type[_R]) -> _R:
    """Decode the JSON body. Raises `InvalidRequest` and `UnsupportedMediaType`."""
    data = cast(bytes, await request.get_data(as_text=False))
    if data and not request.is_json:
        raise UnsupportedMediaType(
            "The body must be JSON, sent with the header Content-Type: application/json."
        )
    return decode_body(data, form)


def query(form: type[_R]) -> _R:
    """Decode the query string. Raises `InvalidRequest`."""
    if request.query_string.count(b"&") > _MAX_PARAMETERS:
        raise InvalidRequest("The query string has too many parameters.")
    return decode_query(request.args.to_dict(), form)


def respond(answer: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(answer), status, content_type="application/json")


async def never_store(response: Response) -> Response:
    """Keep a response out of every cache: for `Blueprint.after_request`."""
    response.headers["Cache-Control"] = "no-store"
    return response


def api_key(request: Request) -> str:
    """The key in the `Authorization` or `X-API-Key` header; empty without one."""
    return bearer(request.headers.get("Authorization", "")) or request.headers.get("X-API-Key", "")


def require_known_origin() -> None:
    """Refuse requests from pages of other origins. Raises `Forbidden`.

    Their browser would block the answer anyway, but only after it has cost tokens. Programs send no
    `Origin` and are allowed unless `REQUIRE_ORIGIN` is set.
    """
    origin = request.headers.get("Origin", "").lower()
    # Browsers send this header instead of Origin with a same-origin GET, and with an image or a
    # link of another page. It is "none" if a person has typed the address.
    site = request.headers.get("Sec-Fetch-Site", "").lower()
    if services().settings.require_origin and not (origin or site == "same-origin"):
        raise Forbidden("Requests must come from a page of an allowed origin. See REQUIRE_ORIGIN.")
    if not origin and site in ("cross-site", "same-site"):
        raise Forbidden("Another site's page must send its origin, as `fetch` does.")
    if origin and not is_own_origin(origin) and origin not in allowed_origins():
        raise Forbidden("The origin of this page is not allowed. See ALLOWED_ORIGINS.")


def require_trusted_origin() -> None:
    """Like `require_known_origin`, for interfaces that no page of Quire's own calls.

    A page can make the name of its own host lead to this machine (DNS rebinding). Its requests then
    seem to be Quire's own, so only pages of allowed origins may call, and Quire's own if the host
    is an address or `localhost`. Raises `Forbidden`.
    """
    origin = request.headers.get("Origin", "").lower()
    is_local_page = is_own_origin(origin) and is_local_host(request.host)
    if origin and origin not in allowed_origins() and not is_local_page:
        raise Forbidden("The origin of this page is not allowed. See ALLOWED_ORIGINS.")
    if _is_rebound():
        raise Forbidden(
            "The host name of this request is not local, although its sender is. A reverse proxy "
            "on this machine must add X-Forwarded-For."
        )
    require_known_origin()


def _is_rebound() -> bool:
    """Whether a local program, such as a browser, has called by a name that is not local.

    A proxy on this machine does so as well, but says whom it calls for.
    """
    if any(name in request.headers for name in ("Forwarded", "X-Forwarded-For", "Via")):
        return False
    return is_loopback(request.remote_addr or "") and not is_local_host(request.host)


def is_own_origin(origin: str) -> bool:
    """Whether it is that of Quire's own pages. The scheme may differ: a proxy may terminate TLS."""
    return origin.partition("://")[2] == request.host.lower()


def own_address() -> str:
    """The address of Quire's own page, as the caller knows it."""
    secure = request.headers.get("X-Forwarded-Proto", "").strip().lower() == "https"
    return f"{'https' if secure else request.scheme}://{request.host}/"


def has_admin_key(settings: Settings, request: Request) -> bool:
    """Whether the request has the admin key. `handlers.limits` also limits guesses."""
    return has_key(api_key(request), (settings.admin_api_key,))
