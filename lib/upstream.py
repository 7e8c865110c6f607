"""What every server that speaks the OpenAI API has in common: how its failures are told."""

from lib.errors import UpstreamError

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
