"""The errors a caller may see, as one small tree.

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

Every message is a sentence for a person: no vendor's words, no key, no path outside the content
folder. Settings and documents have errors of their own (`lib.settings.SettingsError`,
`lib.documents.DocumentError`), which never travel over HTTP.

What every server that speaks the OpenAI API has in common: how its failures are told.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class QuireError(Exception):
    """Base of all errors that are answered to a caller: a status, a stable code, a sentence."""

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
        """Seconds after which trying again makes sense; sent as `Retry-After`."""


class InvalidRequest(QuireError):
    status = 400
    code = "INVALID_REQUEST"


class Unauthorized(QuireError):
    status = 401
    code = "UNAUTHORIZED"


class Forbidden(QuireError):
    """A page of an origin that may not call would spend what its reader's browser never shows."""

    status = 403
    code = "FORBIDDEN"


class NotFound(QuireError):
    status = 404
    code = "NOT_FOUND"


class Conflict(QuireError):
    """It cannot be done now because something else is under way."""

    status = 409
    code = "CONFLICT"


class UnsupportedMediaType(QuireError):
    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"


class TooManyRequests(QuireError):
    status = 429
    code = "RATE_LIMITED"


class IndexNotReady(QuireError):
    """There is no index yet: nothing was ingested, or the first ingestion still runs."""

    status = 503
    code = "INDEX_NOT_READY"


class IndexOutdated(QuireError):
    """The index was made with another embedding model or version, and must be built anew."""

    status = 503
    code = "INDEX_OUTDATED"


class StoreUnavailable(QuireError):
    """The Qdrant server cannot be reached, refuses the key, or answered with an error."""

    status = 503
    code = "STORE_UNAVAILABLE"


class IndexUnreadable(StoreUnavailable):
    """The store is there, but another version made its index, or it is damaged: build it anew."""

    code = "INDEX_UNREADABLE"
    embedding_model: str | None = None
    """Of the vectors that a new index can take over; None where that is not known."""


class RedisUnavailable(QuireError):
    """Redis cannot be reached, refuses the password, or answered with an error."""

    status = 503
    code = "REDIS_UNAVAILABLE"


class Stopping(QuireError):
    """The server was told to stop, and takes nothing new."""

    status = 503
    code = "STOPPING"


class BodyTimedOut(QuireError):
    """The request did not arrive whole in the time that a request may take."""

    status = 408
    code = "REQUEST_TIMEOUT"


class TimedOut(QuireError):
    """The answer was not ready in the time that a request may take, or its reader stalled."""

    status = 504
    code = "TIMED_OUT"


class Busy(QuireError):
    """As many answers are being written as may be at once, and enough readers wait already."""

    status = 503
    code = "BUSY"


class UpstreamError(QuireError):
    """The language model or the embedding service failed."""

    status = 502
    code = "UPSTREAM_ERROR"


AUTH_STATUSES = (401, 403)


def upstream_error(
    service: str, status: int | None = None, *, retry_after: float | None = None
) -> UpstreamError:
    """The sentence for a failure of `service` ("The language model", "The embedding service").

    `status` is the HTTP status it answered with, None when it did not answer at all. What the
    server wrote itself is never repeated: it may hold the key, or the reader's text.
    """
    match status:
        case None:
            what = "cannot be reached"
        case 401 | 403:
            what = "refuses the configured key"
        case 404:
            what = "does not know the configured model or address"
        case 408 | 504:
            what = "took too long"
        case 429:
            what = "takes no more requests for now: a rate limit or a quota is reached"
        case _ if status >= 500:
            what = "has a problem of its own"
        case _:
            what = "did not accept the request"
    details = {} if status is None else {"upstream_status": status}
    return UpstreamError(f"{service} {what}.", details=details, retry_after=retry_after)
