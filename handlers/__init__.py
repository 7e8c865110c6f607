"""One module an endpoint: parse into a typed request, await one call of `lib`, respond."""

from collections.abc import Callable
from typing import TypeVar, cast

import msgspec
from quart import Request, Response, current_app, request

from lib.api import Operation, decode_body, decode_query
from lib.auth import bearer, has_key, is_local
from lib.errors import Forbidden, Unauthorized, UnsupportedMediaType
from lib.services import Services
from lib.settings import Settings

R = TypeVar("R", bound=msgspec.Struct)
View = TypeVar("View", bound=Callable[..., object])

FORWARDING_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via")
OPERATION = "operation"


def services() -> Services:
    """The collaborators that `create_app` opened."""
    return cast(Services, current_app.extensions["services"])


def operation(described: Operation) -> Callable[[View], View]:
    """Say what a route takes and gives, for the OpenAPI document."""

    def mark(view: View) -> View:
        setattr(view, OPERATION, described)
        return view

    return mark


async def body(form: type[R]) -> R:
    """The request's JSON as `form`. Raises `InvalidRequest` and `UnsupportedMediaType`."""
    data = cast(bytes, await request.get_data(as_text=False))
    if data and not request.is_json:
        raise UnsupportedMediaType(
            "The body must be JSON, sent with the header Content-Type: application/json."
        )
    return decode_body(data, form)


def query(form: type[R]) -> R:
    """The query string as `form`. Raises `InvalidRequest`."""
    return decode_query(request.args.to_dict(), form)


def respond(answer: msgspec.Struct | dict[str, object], status: int = 200) -> Response:
    return Response(msgspec.json.encode(answer), status, content_type="application/json")


def given_key() -> str:
    """The key of the request that is being handled."""
    return key_of(request)


def key_of(request: Request) -> str:
    """The key that a request carries, in either header."""
    return bearer(request.headers.get("Authorization", "")) or request.headers.get("X-API-Key", "")


def require_known_origin() -> None:
    """Refuse pages of foreign origins before anything is spent. Raises `Forbidden`.

    Their browsers would keep the answer from them, but only once it is made. What is no browser
    sends no origin, and may call unless the settings say otherwise.
    """
    origin = request.headers.get("Origin", "").lower()
    # Of a GET by a page of its own, a browser tells only that.
    named = origin or request.headers.get("Sec-Fetch-Site") == "same-origin"
    if services().settings.require_origin and not named:
        raise Forbidden("Only pages of known origins may call. See REQUIRE_ORIGIN.")
    # The page that Quire itself serves may, whatever the scheme: a proxy may end TLS before it.
    own = origin.partition("://")[2] == request.host.lower()
    if origin and not own and origin not in services().settings.origins:
        raise Forbidden("Pages of this origin may not call. See ALLOWED_ORIGINS.")


def require_admin() -> None:
    """Let the author pass. Raises `Unauthorized` with the reason."""
    if is_admin(services().settings, request):
        return
    if services().settings.admin_api_key:
        raise Unauthorized("This needs the admin key, as `Authorization: Bearer <key>`.")
    raise Unauthorized(
        "No ADMIN_API_KEY is configured, so this is open only to the machine itself."
    )


def is_admin(settings: Settings, request: Request) -> bool:
    """Whether the author calls: by key, or where none is configured, from the machine itself."""
    if settings.admin_api_key:
        return has_key(key_of(request), (settings.admin_api_key,))
    forwarded = any(name in request.headers for name in FORWARDING_HEADERS)
    return is_local(request.remote_addr or "", forwarded=forwarded)
