"""The one map from errors to JSON."""

import logging
from http import HTTPStatus
from typing import cast

from quart import Quart, Response
from quart_rate_limiter import RateLimitExceeded
from werkzeug.exceptions import HTTPException

from handlers import respond, services
from lib.errors import QuireError, TooManyRequests

log = logging.getLogger(__name__)

LATER_SECONDS = 5.0
"""Where nothing better is known of when what is not there will be."""

# Sentences for what the framework itself refuses; the rest is a bad request.
HTTP_FAILURES = {
    404: ("NOT_FOUND", "There is nothing at this address. /docs lists what there is."),
    405: ("METHOD_NOT_ALLOWED", "This address does not take that method."),
    408: ("REQUEST_TIMEOUT", "The request did not arrive in time."),
    413: ("BODY_TOO_LARGE", "The body is too large."),
    414: ("INVALID_REQUEST", "The address is too long."),
}


def register_failures(app: Quart) -> None:
    """Answer every error with `{"error", "code", "details"}` and the right status."""
    app.register_error_handler(QuireError, quire_error)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Exception, unexpected)


async def quire_error(error: QuireError) -> Response:
    response = failure(error.status, error.code, error.message, error.details)
    retry_after = error.retry_after
    if retry_after is None and error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        retry_after = LATER_SECONDS
    if retry_after is not None:
        response.headers["Retry-After"] = str(max(1, round(retry_after)))
    return response


async def http_error(error: HTTPException) -> Response:
    if isinstance(error, RateLimitExceeded):
        seconds = cast(int, error.retry_after)
        return await quire_error(
            TooManyRequests(
                f"Too many questions; please try again in {seconds} seconds.",
                details={"retry_after": seconds},
                retry_after=seconds,
            )
        )
    status = error.code or 500
    code, sentence = HTTP_FAILURES.get(status, ("INVALID_REQUEST", "The request is not valid."))
    response = failure(status, code, sentence, {})
    for name, value in error.get_headers():
        if name in ("Allow", "Location"):
            response.headers[name] = value
    return response


async def unexpected(error: Exception) -> Response:
    log.error("an error of the program", exc_info=error)
    return failure(500, "INTERNAL", "The server made a mistake; its log says more.", {})


def failure(status: int, code: str, sentence: str, details: dict[str, object]) -> Response:
    services().metrics.count_failure(code)
    return respond({"error": sentence, "code": code, "details": details}, status)
