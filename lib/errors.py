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


class InvalidRequest(QuireError):
    status = 400
    code = "INVALID_REQUEST"


class Unauthorized(QuireError):
    status = 401
    code = "UNAUTHORIZED"


class Forbidden(QuireError):
    """The origin of the page is not allowed."""

    status = 403
    code = "FORBIDDEN"


class NotFound(QuireError):
    status = 404
    code = "NOT_FOUND"


class Conflict(QuireError):
    """Another operation is running that excludes this one."""

    status = 409
    code = "CONFLICT"


class UnsupportedMediaType(QuireError):
    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"


class TooManyRequests(QuireError):
    status = 429
    code = "RATE_LIMITED"


class IndexNotReady(QuireError):
    """No index yet: nothing was ingested, or the first ingestion is running."""

    status = 503
    code = "INDEX_NOT_READY"


class IndexOutdated(QuireError):
    """The index was built with another embedding model or version and must be rebuilt."""

    status = 503
    code = "INDEX_OUTDATED"


class StoreUnavailable(QuireError):
    """The Qdrant server cannot be reached, refuses the key, or answered with an error."""

    status = 503
    code = "STORE_UNAVAILABLE"


class IndexUnreadable(StoreUnavailable):
    """The index is damaged or was built by another version, and must be rebuilt."""

    code = "INDEX_UNREADABLE"
    embedding_model: str | None = None
    """Model of the vectors, which a new index can reuse; None if unknown."""


class RedisUnavailable(QuireError):
    """Redis cannot be reached, refuses the password, or answered with an error."""

    status = 503
    code = "REDIS_UNAVAILABLE"


class Stopping(QuireError):
    """The server is shutting down and accepts no new requests."""

    status = 503
    code = "STOPPING"


class BodyTimedOut(QuireError):
    """The request body did not arrive within the time limit."""

    status = 408
    code = "REQUEST_TIMEOUT"


class TimedOut(QuireError):
    """The answer was not ready within the time limit, or its reader stalled."""

    status = 504
    code = "TIMED_OUT"


class Busy(QuireError):
    """All slots for answers are in use, and the queue is full or too slow."""

    status = 503
    code = "BUSY"


class UpstreamError(QuireError):
    """The language model or the embedding service failed."""

    status = 502
    code = "UPSTREAM_ERROR"


def upstream_error(
    service: str, status: int | None = None, *, retry_after: float | None = None
) -> UpstreamError:
    """Make the error for a failure of `service` ("The language model", "The embedding service").

    `status`: its HTTP status, None if it did not respond. Its own message is never repeated: it
    may contain the key or the reader's text.
    """
    match status:
        case None:
            what = "cannot be reached"
        case 401 | 403:
            what = "rejected the configured key"
        case 404:
            what = "does not know the configured model or address"
        case 408 | 504:
            what = "took too long"
        case 429:
            what = "accepts no more requests for now: a rate limit or quota is reached"
        case _ if status >= 500:
            what = "reported an internal error"
        case _:
            what = "rejected the request"
    details = {} if status is None else {"upstream_status": status}
    return UpstreamError(f"{service} {what}.", details=details, retry_after=retry_after)
