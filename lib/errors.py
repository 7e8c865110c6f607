"""The errors that callers may see, as one tree.

::

    QuireError                    500 INTERNAL
    ├── InvalidRequest            400 INVALID_REQUEST
    ├── Unauthorized              401 UNAUTHORIZED
    ├── Forbidden                 403 FORBIDDEN
    ├── NotFound                  404 NOT_FOUND
    ├── Conflict                  409 CONFLICT
    ├── UnsupportedMediaType      415 UNSUPPORTED_MEDIA_TYPE
    ├── TooManyRequests           429 RATE_LIMITED
    ├── IndexNotReady             503 INDEX_NOT_READY
    ├── IndexOutdated             503 INDEX_OUTDATED
    ├── StoreUnavailable          503 STORE_UNAVAILABLE
    │   └── IndexUnreadable       503 INDEX_UNREADABLE
    ├── RedisUnavailable          503 REDIS_UNAVAILABLE
    ├── LogUnavailable            503 LOG_UNAVAILABLE
    ├── Busy                      503 BUSY
    ├── Stopping                  503 STOPPING
    ├── BodyTimedOut              408 REQUEST_TIMEOUT
    ├── TimedOut                  504 TIMED_OUT
    └── UpstreamError             502 UPSTREAM_ERROR

Every message is a sentence for people, without a vendor's text, a key, or a path outside the
content folder. `lib.settings.SettingsError` and `lib.documents.DocumentError` are separate: they
never appear in an HTTP response.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class QuireError(Exception):
    """Base of all errors in responses: a status, a stable code, a message."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = dict(details or {})
        self.retry_after = retry_after
        """Seconds, sent as `Retry-After`."""

    def __init_subclass__(cls, *, code: str, status: int | None = None) -> None:
        cls.code = code
        cls.status = status or cls.status


class InvalidRequest(QuireError, status=400, code="INVALID_REQUEST"):
    """The request is malformed, or a field is out of range."""


class Unauthorized(QuireError, status=401, code="UNAUTHORIZED"):
    """The admin key is missing or wrong."""


class Forbidden(QuireError, status=403, code="FORBIDDEN"):
    """The origin of the page is not allowed."""


class NotFound(QuireError, status=404, code="NOT_FOUND"):
    """The resource does not exist."""


class Conflict(QuireError, status=409, code="CONFLICT"):
    """Another operation is running that excludes this one, or it was done before."""


class UnsupportedMediaType(QuireError, status=415, code="UNSUPPORTED_MEDIA_TYPE"):
    """The body is not JSON."""


class TooManyRequests(QuireError, status=429, code="RATE_LIMITED"):
    """The rate limit is exceeded."""


class IndexNotReady(QuireError, status=503, code="INDEX_NOT_READY"):
    """No index yet: nothing was ingested, or the first ingestion is running."""


class IndexOutdated(QuireError, status=503, code="INDEX_OUTDATED"):
    """The index was built with another embedding model or version and must be rebuilt."""


class StoreUnavailable(QuireError, status=503, code="STORE_UNAVAILABLE"):
    """The Qdrant server cannot be reached, refuses the key, or answered with an error."""


class IndexUnreadable(StoreUnavailable, code="INDEX_UNREADABLE"):
    """The index is damaged or was built by another version, and must be rebuilt."""

    embedding_model: str | None = None
    """Model of the vectors, which a new index can reuse; None if unknown."""


class RedisUnavailable(QuireError, status=503, code="REDIS_UNAVAILABLE"):
    """Redis cannot be reached, refuses the password, or answered with an error."""


class LogUnavailable(QuireError, status=503, code="LOG_UNAVAILABLE"):
    """The question log cannot be read or written."""


class Stopping(QuireError, status=503, code="STOPPING"):
    """The server is shutting down and accepts no new requests."""


class BodyTimedOut(QuireError, status=408, code="REQUEST_TIMEOUT"):
    """The request body did not arrive within the time limit."""


class TimedOut(QuireError, status=504, code="TIMED_OUT"):
    """The answer was not ready within the time limit, or its reader stalled."""


class Busy(QuireError, status=503, code="BUSY"):
    """All slots for answers are in use, and the queue is full or too slow."""


class UpstreamError(QuireError, status=502, code="UPSTREAM_ERROR"):
    """The language model or the embedding service failed."""


_UPSTREAM_PROBLEMS = {
    None: "cannot be reached",
    401: "rejected the configured key",
    403: "rejected the configured key",
    404: "does not know the configured model or address",
    408: "took too long",
    429: "accepts no more requests for now: a rate limit or quota is reached",
    504: "took too long",
}


def upstream_error(
    service: str, status: int | None = None, *, retry_after: float | None = None
) -> UpstreamError:
    """Make the error for a failure of `service` ("The language model", "The embedding service").

    `status`: its HTTP status, None if it did not respond. Its own message is never repeated: it
    may contain the key or the reader's text.
    """
    other = "reported an internal error" if (status or 0) >= 500 else "rejected the request"
    details = {} if status is None else {"upstream_status": status}
    message = f"{service} {_UPSTREAM_PROBLEMS.get(status, other)}."
    return UpstreamError(message, details=details, retry_after=retry_after)
