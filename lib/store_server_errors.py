"""Translate errors of a Qdrant server into messages that tell the author what to do.

The server's own words only select a message and are never repeated: anyone may have written them.
"""

import json
import re
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from lib.errors import StoreUnavailable

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient

OLDEST_VERSION: Final = "1.16"
"""The first release whose collections have metadata."""
TOO_OLD: Final = f"The Qdrant server is too old. Quire needs Qdrant {OLDEST_VERSION} or later."

_CLOUD: Final = ".cloud.qdrant.io"
_UNREACHABLE: Final = "The Qdrant server cannot be reached. Check QDRANT_URL and its port."
_PAUSED: Final = (
    "The Qdrant Cloud cluster does not answer. Free clusters pause after a week without use: "
    "resume it in the Qdrant console. Otherwise check QDRANT_URL."
)
_UNKNOWN_HOST: Final = "The host name in QDRANT_URL is unknown. Check its spelling."
_TIMED_OUT: Final = "The Qdrant server takes too long to answer. Try again later."
_NOT_QDRANT: Final = (
    "The server at QDRANT_URL is not a Qdrant server. Check the address and its port (default "
    "6333)."
)
_NOT_HTTP: Final = (
    "The server at QDRANT_URL does not speak HTTP. Check the port (6334 is for gRPC) and whether "
    "the address must begin with https://."
)
_NOT_TLS: Final = (
    "The server at QDRANT_URL does not speak TLS. Check the port and whether the address must "
    "begin with http://."
)
_BAD_CERTIFICATE: Final = (
    "The certificate of the Qdrant server is not valid for the host name in QDRANT_URL, or its "
    "issuer is not trusted here."
)
_REFUSED_KEY: Final = "The Qdrant server refuses the key. Check QDRANT_API_KEY."
_FORBIDDEN_KEY: Final = (
    "The Qdrant server refuses the key. Check QDRANT_API_KEY and whether the key may write: each "
    "ingestion creates a collection, so a key (JWT) limited to one collection is not enough. It "
    'needs manage access to all collections ("access": "m").'
)
_LOCKED: Final = "The Qdrant server is locked for writing. Readers keep the present index."
_NO_COLLECTION: Final = (
    'Collection "{}" not found on the Qdrant server. Run an ingestion to create it.'
)
_TOO_MANY: Final = "The Qdrant server accepts no more requests for now. Try again later."
_BUSY: Final = "The Qdrant server is starting or overloaded. Try again later."
_FULL: Final = (
    "The Qdrant server has no room left on disk or in memory. Delete unused collections, or give "
    "it more."
)
_READ_ONLY: Final = "The disk of the Qdrant server is read-only. Readers keep the present index."
_PLAN_LIMIT: Final = (
    "A limit of the Qdrant server's plan or strict mode is reached. Delete unused collections, or "
    "raise the limit."
)
_STRICT: Final = (
    "The strict mode of the Qdrant server refuses this request: a field has no index there, or "
    "Quire asks for more than it allows. Ingest with force_reindex (--force in the shell)."
)
_STRICT_LIMIT: Final = (
    "The strict mode of the Qdrant server refuses this request: it exceeds the limit of {}. Raise "
    "{} in the strict_mode_config of the collection."
)
_NUMBER: Final = r"(\d[\d.]{0,19})"
_SIZE: Final = rf"({_NUMBER[1:-1]}MB)"
_EXCEEDED: Final = f'Limit exceeded {_NUMBER} > {_NUMBER} for "%s"'
_STRICT_LIMITS: Final = {
    "max_query_limit": _EXCEEDED % "limit",
    "search_max_batchsize": _EXCEEDED % "search batch size",
    "upsert_max_batchsize": _EXCEEDED % "upsert limit",
    "search_max_oversampling": _EXCEEDED % "oversampling",
    "max_timeout": _EXCEEDED % "timeout",
    "filter_max_conditions": rf"Filter condition limit reached \({_NUMBER} > {_NUMBER}\)",
    "condition_max_size": rf"Condition size limit reached \({_NUMBER} > {_NUMBER}\)",
    "max_payload_index_count": rf"maximum number of payload indices \({_NUMBER}\)",
    "max_points_count": rf"Max points count limit of {_NUMBER} reached",
    "max_collection_vector_size_bytes": rf"Max vector storage size limit of {_SIZE} reached",
    "max_collection_payload_size_bytes": rf"Max payload storage size limit of {_SIZE} reached",
}
"""Qdrant's error text by setting; the last number is the limit."""
_REASONS: Final = (
    (r"No space left|Insufficient storage|[Oo]ut of memory|(Disk|memory) usage is at", _FULL),
    (r"Read-only file system", _READ_ONLY),
    (r"Storage locked", _LOCKED),
    (r"\bMax .*limit", _PLAN_LIMIT),
    (r"Index required but not found|[Ll]imit exceeded|disabled!|is forbidden", _STRICT),
)
"""Patterns in Qdrant's error texts, whatever the status."""
_STATUSES: Final = {
    401: _REFUSED_KEY,
    403: _FORBIDDEN_KEY,
    405: _NOT_QDRANT,
    408: _TIMED_OUT,
    429: _TOO_MANY,
    501: _NOT_QDRANT,
    507: _FULL,
}
_GRPC_STATUSES: Final = {
    "UNAUTHENTICATED": _REFUSED_KEY,
    "PERMISSION_DENIED": _FORBIDDEN_KEY,
    "NOT_FOUND": _NO_COLLECTION,
    "UNIMPLEMENTED": TOO_OLD,
    "DEADLINE_EXCEEDED": _TIMED_OUT,
    "RESOURCE_EXHAUSTED": _TOO_MANY,
}


@asynccontextmanager
async def translate_qdrant_errors(
    client: "AsyncQdrantClient", collection: str
) -> AsyncIterator[None]:
    """Turn every error of the client into `StoreUnavailable` with one of our messages.

    Enter it only after the client was created: these imports would deadlock with a thread that is
    still importing the package.
    """
    import grpc
    import httpx
    from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
    from qdrant_client.http import exceptions

    host = urlsplit(client.init_options.get("url") or "").hostname or ""
    away = _PAUSED if host.endswith(_CLOUD) else None
    try:
        yield
    except exceptions.UnexpectedResponse as error:
        status = error.status_code or 0
        reason = _qdrant_reason(error.content)
        raise StoreUnavailable(
            _describe_response(status, reason, error.content, away).format(collection),
            details={"upstream_status": status} | _exceeded(reason),
        ) from None
    except QdrantException as error:  # its only subclass is a 429 with a Retry-After
        seconds = error.retry_after_s if isinstance(error, ResourceExhaustedResponse) else None
        raise StoreUnavailable(
            _TOO_MANY, details={"upstream_status": 429}, retry_after=seconds
        ) from None
    except exceptions.ResponseHandlingException as error:
        raise StoreUnavailable(_describe_failure(error.source, away)) from None
    except grpc.aio.AioRpcError as error:
        message = _describe_grpc_status(error.code().name, error.details(), away)
        raise StoreUnavailable(
            message.format(collection),
            details=_exceeded(error.details())
            | ({"upstream_status": 404} if error.code() is grpc.StatusCode.NOT_FOUND else {}),
        ) from None
    except (
        *(exceptions.ApiException, httpx.HTTPError, ValueError, OSError, AssertionError),
        RecursionError,  # of endlessly nested JSON
    ) as error:
        raise StoreUnavailable(_describe_failure(error, away)) from None


def _exceeded(reason: str | None) -> dict[str, str]:
    """The strict mode's setting and limit that a request exceeds, as details of the error."""
    for setting, pattern in _STRICT_LIMITS.items():
        if found := re.search(pattern, reason or ""):
            return {"setting": setting, "limit": found[found.re.groups]}
    return {}


def _describe_reason(reason: str | None) -> str | None:
    """Message for Qdrant's own error text, if it is known."""
    if exceeded := _exceeded(reason):
        setting, limit = exceeded.values()
        plan = _PLAN_LIMIT[:-1] + f" ({setting}: {limit})."
        refused = _STRICT_LIMIT.format(limit, setting)
        return plan if setting.startswith(("max_points", "max_collection")) else refused
    found = (message for pattern, message in _REASONS if re.search(pattern, reason or ""))
    return next(found, None)


def _describe_response(status: int, reason: str | None, content: bytes, away: str | None) -> str:
    """Message for an HTTP error status; `away` replaces "unreachable" for a cloud cluster."""
    if message := _describe_reason(reason):
        return message
    if status == 404:
        if reason is not None:
            return _NO_COLLECTION
        return (away or _NOT_QDRANT) if content else TOO_OLD  # empty: no such route
    if status in (502, 503, 504):
        return away or _BUSY
    return _STATUSES.get(status) or f"The Qdrant server answered with the status {status}."


def _qdrant_reason(content: bytes) -> str | None:
    """The error text of a response in Qdrant's form; None for any other response."""
    try:
        reason = json.loads(content)["status"]["error"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    return reason if isinstance(reason, str) else None


def _describe_failure(error: BaseException, away: str | None) -> str:
    """Message for a missing or unreadable response."""
    import httpx

    causes = list(_causes(error))

    def among(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if among(socket.gaierror):
        return away or _UNKNOWN_HOST
    if among(ssl.SSLCertVerificationError):
        return _BAD_CERTIFICATE
    if among(ssl.SSLError):
        return _NOT_TLS
    if among(httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout):
        return _TIMED_OUT
    if among(httpx.RemoteProtocolError) and "disconnected" not in str(error):
        return _NOT_HTTP
    if among(httpx.TransportError, OSError):
        return away or _UNREACHABLE
    return _NOT_QDRANT


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and its chain of causes."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _describe_grpc_status(code: str, details: str | None, away: str | None) -> str:
    """Message for a gRPC status such as `UNAVAILABLE`."""
    if message := _describe_reason(details):
        return message
    if code == "UNAVAILABLE":
        return away or _UNREACHABLE
    return _GRPC_STATUSES.get(code) or f"The Qdrant server answered with the status {code}."
