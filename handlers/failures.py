"""Map every error to a response, in the format of the protocol that the caller speaks."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, cast

from quart import Quart, Response, current_app, request
from quart_rate_limiter import RateLimitExceeded
from werkzeug.exceptions import HTTPException

from handlers import respond, services
from handlers.limits import too_many_requests
from lib.errors import QuireError
from lib.events import CONTENT_TYPE, encode_error

_log = logging.getLogger(__name__)

_DEFAULT_RETRY_AFTER = 5
"""Seconds, for a 503 without a better estimate."""

# Errors raised by the framework. Others become INVALID_REQUEST.
_HTTP_ERRORS = {
    404: ("NOT_FOUND", "Not found. See /docs for the endpoints."),
    405: ("METHOD_NOT_ALLOWED", "This method is not allowed here."),
    408: ("REQUEST_TIMEOUT", "The request did not arrive in time."),
    413: ("BODY_TOO_LARGE", "The body is too large."),
    414: ("INVALID_REQUEST", "The URL is too long."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error as its caller may see it."""

    status: int
    code: str
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)


def _own_body(failure: Failure) -> object:
    return {"error": failure.message, "code": failure.code, "details": failure.details}


def _own_end(failure: Failure) -> bytes:
    return encode_error(failure.message, failure.code)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorFormat:
    """How a protocol reports an error; the defaults are Quire's own format."""

    body: Callable[[Failure], object] = _own_body
    """The JSON body of a response."""
    end_stream: Callable[[Failure], bytes] = _own_end
    """The last bytes of a stream that is interrupted."""
    stream_type: str = CONTENT_TYPE
    """The content type of its streams."""


class ErrorFormats:
    """The error formats of the paths that begin with each prefix; others have Quire's own."""

    def __init__(self, by_prefix: Mapping[str, ErrorFormat]) -> None:
        self._by_prefix = by_prefix

    def of(self, path: str) -> ErrorFormat:
        for prefix, chosen in self._by_prefix.items():
            if path.startswith(prefix):
                return chosen
        return _OWN_FORMAT


def as_failure(error: QuireError) -> Failure:
    return Failure(
        status=error.status, code=error.code, message=error.message, details=error.details
    )


_OWN_FORMAT = ErrorFormat()


def register_failures(app: Quart, formats: ErrorFormats) -> None:
    """Answer every error in the format of its path, with its status."""
    app.extensions["error_formats"] = formats
    app.register_error_handler(QuireError, _handle_quire_error)
    app.register_error_handler(HTTPException, _handle_http_exception)
    app.register_error_handler(Exception, _handle_unexpected)


async def _handle_quire_error(error: QuireError) -> Response:
    response = _respond_error(as_failure(error))
    retry_after = error.retry_after
    if retry_after is None and error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        retry_after = _DEFAULT_RETRY_AFTER
    if retry_after is not None:
        response.headers["Retry-After"] = str(max(1, round(retry_after)))
    return response


async def _handle_http_exception(error: HTTPException) -> Response:
    if isinstance(error, RateLimitExceeded):
        return await _handle_quire_error(too_many_requests(cast(int, error.retry_after)))
    status = error.code or 500
    code, sentence = _HTTP_ERRORS.get(status, ("INVALID_REQUEST", "The request is not valid."))
    response = _respond_error(Failure(status=status, code=code, message=sentence))
    for name, value in error.get_headers():
        if name in ("Allow", "Location"):
            response.headers[name] = value
    return response


async def _handle_unexpected(error: Exception) -> Response:
    _log.error("unexpected exception in a handler", exc_info=error)
    message = "Internal error; see the server's log."
    return _respond_error(Failure(status=500, code="INTERNAL", message=message))


def _respond_error(failure: Failure) -> Response:
    services().metrics.count_failure(failure.code)
    formats = cast(ErrorFormats, current_app.extensions["error_formats"])
    return respond(formats.of(request.path).body(failure), failure.status)
