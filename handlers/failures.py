"""Map every error to a JSON response."""

import logging
from http import HTTPStatus
from typing import cast

from quart import Quart, Response
from quart_rate_limiter import RateLimitExceeded
from werkzeug.exceptions import HTTPException

from handlers import respond, services
from lib.errors import QuireError, TooManyRequests

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


def register_failures(app: Quart) -> None:
    """Answer every error with `{"error", "code", "details"}` and its status."""
    app.register_error_handler(QuireError, _handle_quire_error)
    app.register_error_handler(HTTPException, _handle_http_exception)
    app.register_error_handler(Exception, _handle_unexpected)


async def _handle_quire_error(error: QuireError) -> Response:
    response = _respond_error(error.status, error.code, error.message, error.details)
    retry_after = error.retry_after
    if retry_after is None and error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        retry_after = _DEFAULT_RETRY_AFTER
    if retry_after is not None:
        response.headers["Retry-After"] = str(max(1, round(retry_after)))
    return response


async def _handle_http_exception(error: HTTPException) -> Response:
    if isinstance(error, RateLimitExceeded):
        seconds = cast(int, error.retry_after)
        return await _handle_quire_error(
            TooManyRequests(
                f"Too many requests. Please try again in {seconds} seconds.",
                details={"retry_after": seconds},
                retry_after=seconds,
            )
        )
    status = error.code or 500
    code, sentence = _HTTP_ERRORS.get(status, ("INVALID_REQUEST", "The request is not valid."))
    response = _respond_error(status, code, sentence, {})
    for name, value in error.get_headers():
        if name in ("Allow", "Location"):
            response.headers[name] = value
    return response


async def _handle_unexpected(error: Exception) -> Response:
    _log.error("unexpected exception in a handler", exc_info=error)
    return _respond_error(500, "INTERNAL", "Internal error; see the server's log.", {})


def _respond_error(status: int, code: str, sentence: str, details: dict[str, object]) -> Response:
    services().metrics.count_failure(code)
    return respond({"error": sentence, "code": code, "details": details}, status)
