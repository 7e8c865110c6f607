"""What goes wrong with a Qdrant server, as sentences of our own that a person can act on.

Nothing of the server's answer is repeated, since anybody may have written it: its words only
choose among the sentences.
"""

import json
import re
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lib.errors import StoreUnavailable

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient


OLDEST = "1.16"
"""The first release whose collections carry metadata."""
CLOUD = ".cloud.qdrant.io"

UNREACHABLE = "The Qdrant server cannot be reached: check QDRANT_URL, its port included."
PAUSED = (
    "The Qdrant Cloud cluster does not answer. It may be paused, as free clusters are after a week "
    "without use: wake it in the Qdrant console. Else check QDRANT_URL."
)
UNKNOWN_NAME = "The host name in QDRANT_URL is not known: check its spelling."
LATE = "The Qdrant server takes too long to answer; try again later."
FOREIGN = (
    "What answers at QDRANT_URL is not a Qdrant server: check the address and its port, by default "
    "6333."
)
NOT_HTTP = (
    "What answers at QDRANT_URL does not speak HTTP: check the port (6334 is that of gRPC), and "
    "whether the address must begin with https://."
)
NOT_TLS = (
    "What answers at QDRANT_URL does not speak TLS: check the port, and whether the address must "
    "begin with http://."
)
CERTIFICATE = (
    "The certificate of the Qdrant server is not valid for the host name in QDRANT_URL, or its "
    "issuer is not known here."
)
REFUSED_KEY = "The Qdrant server refuses the key: check QDRANT_API_KEY."
FORBIDDEN_KEY = (
    "The Qdrant server refuses the key: check QDRANT_API_KEY, and whether the key may write."
)
LOCKED = "The Qdrant server is locked for writing; readers keep the index they have."
NO_COLLECTION = "The Qdrant server has no such collection; ingest to build it anew."
TOO_OLD = f"The Qdrant server is too old: Quire needs Qdrant {OLDEST} or later."
TOO_MANY = "The Qdrant server takes no more requests for now; try again later."
BUSY = "The Qdrant server is starting or overloaded; try again later."
FULL = (
    "The Qdrant server has no room left, on its disk or in its memory: remove collections that are "
    "not needed, or give it more."
)
READ_ONLY = "The disk of the Qdrant server is read-only; readers keep the index they have."
LIMITED = (
    "A limit of the Qdrant server is reached, of its plan or of its strict mode: remove "
    "collections that are not needed, or raise the limit."
)
STRICT = (
    "The strict mode of the Qdrant server refuses this request: a field is not indexed there, or "
    "Quire asks for more than it allows. Ingest with force_reindex (--force in the shell)."
)
REASONS = (
    (r"No space left|Insufficient storage|[Oo]ut of memory|Resident memory usage", FULL),
    (r"Read-only file system", READ_ONLY),
    (r"Storage locked", LOCKED),
    (r"\bMax .*limit", LIMITED),
    (r"Index required but not found|[Ll]imit exceeded|disabled!|is forbidden", STRICT),
)
"""Patterns of Qdrant's own words, in whatever status they come."""


@asynccontextmanager
async def translated(client: "AsyncQdrantClient") -> AsyncIterator[None]:
    """Turn whatever the client raises into `StoreUnavailable` with a sentence of our own.

    Only where there is a client: these imports, while a thread still imports the package, would
    make the two wait for each other.
    """
    import grpc
    import httpx
    from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
    from qdrant_client.http.exceptions import (
        ApiException,
        ResponseHandlingException,
        UnexpectedResponse,
    )

    cloud = is_cloud(client)
    try:
        yield
    except UnexpectedResponse as error:
        status = error.status_code or 0
        raise StoreUnavailable(
            of_answer(status, error.content, cloud=cloud), details={"upstream_status": status}
        ) from None
    except QdrantException as error:  # the client's only ones: a 429 with a Retry-After
        seconds = error.retry_after_s if isinstance(error, ResourceExhaustedResponse) else None
        raise StoreUnavailable(
            TOO_MANY, details={"upstream_status": 429}, retry_after=seconds
        ) from None
    except ResponseHandlingException as error:
        raise StoreUnavailable(of_failure(error.source, cloud=cloud)) from None
    except grpc.aio.AioRpcError as error:
        raise StoreUnavailable(of_grpc(error.code().name, error.details(), cloud=cloud)) from None
    except (
        *(ApiException, httpx.HTTPError, ValueError, OSError, AssertionError),
        RecursionError,  # of JSON without an end
    ) as error:
        raise StoreUnavailable(of_failure(error, cloud=cloud)) from None


def is_cloud(client: "AsyncQdrantClient") -> bool:
    host = urlsplit(client.init_options.get("url") or "").hostname or ""
    return host.endswith(CLOUD)


def of_answer(status: int, content: bytes, *, cloud: bool = False) -> str:
    """What an answer without a result means to the author."""
    reason = qdrant_reason(content)
    for pattern, sentence in REASONS:
        if re.search(pattern, reason or ""):
            return sentence
    match status:
        case 401:
            return REFUSED_KEY
        case 403:
            return FORBIDDEN_KEY
        case 404 if reason is not None:
            return NO_COLLECTION
        case 404 if not content:
            return TOO_OLD  # it has no such route
        case 404:
            return PAUSED if cloud else FOREIGN
        case 405 | 501:
            return FOREIGN
        case 408:
            return LATE
        case 429:
            return TOO_MANY
        case 507:
            return FULL
        case 502 | 503 | 504:
            return PAUSED if cloud else BUSY
    return f"The Qdrant server answered with the status {status}."


def qdrant_reason(content: bytes) -> str | None:
    """The error in an answer of Qdrant's form; None for what nobody but Qdrant would call one."""
    try:
        reason = json.loads(content)["status"]["error"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    return reason if isinstance(reason, str) else None


def of_failure(error: BaseException, *, cloud: bool = False) -> str:
    """What it means that there was no answer, or one that cannot be read."""
    import httpx

    causes = list(chain(error))

    def among(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if among(socket.gaierror):
        return PAUSED if cloud else UNKNOWN_NAME
    if among(ssl.SSLCertVerificationError):
        return CERTIFICATE
    if among(ssl.SSLError):
        return NOT_TLS
    if among(httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout):
        return LATE
    if among(httpx.RemoteProtocolError) and "disconnected" not in str(error):
        return NOT_HTTP
    if among(httpx.TransportError, OSError):
        return PAUSED if cloud else UNREACHABLE
    return FOREIGN


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def of_grpc(code: str, words: str | None, *, cloud: bool = False) -> str:
    """The same for a status of gRPC, such as `UNAVAILABLE`."""
    for pattern, sentence in REASONS:
        if re.search(pattern, words or ""):
            return sentence
    match code:
        case "UNAUTHENTICATED":
            return REFUSED_KEY
        case "PERMISSION_DENIED":
            return FORBIDDEN_KEY
        case "NOT_FOUND":
            return NO_COLLECTION
        case "UNIMPLEMENTED":
            return TOO_OLD
        case "DEADLINE_EXCEEDED":
            return LATE
        case "RESOURCE_EXHAUSTED":
            return TOO_MANY
        case "UNAVAILABLE":
            return PAUSED if cloud else UNREACHABLE
    return f"The Qdrant server answered with the status {code}."
