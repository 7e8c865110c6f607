"""Create a Qdrant client with timeouts and retries.

Importing the client's package takes most of a second: import this module in a thread.
"""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from urllib.parse import urlsplit

import httpx
from qdrant_client import AsyncQdrantClient
from qdrant_client.http.exceptions import ResponseHandlingException

_DEFAULT_PORT = 6333
_TIMEOUT = 10
"""Seconds per request, unless its retry policy says otherwise."""
_TRANSIENT_STATUSES = frozenset({429, 502, 503, 504})
_RETRIED_ERRORS = (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ConnectTimeout)
"""Not a read timeout, which has cost enough time."""


@dataclass(frozen=True, slots=True)
class _RetryPolicy:
    """Number of retries, and exponential backoff with jitter, in seconds."""

    retries: int
    first_pause: float
    longest_pause: float
    """Applies to a server's Retry-After as well."""
    timeout: float | None = None
    """Seconds per attempt; None for `_TIMEOUT`."""

    def pause(self, attempt: int, retry_after: float | None) -> float | None:
        """Pause after `attempt` (from 0); None if the server asks for too long a pause."""
        if retry_after is not None and retry_after > self.longest_pause:
            return None
        backoff = min(self.first_pause * float(2**attempt), self.longest_pause)
        return (retry_after or 0.0) + backoff * (1 + random.random()) / 2


_READING = _RetryPolicy(retries=2, first_pause=0.1, longest_pause=1.0)
"""Short, because a reader waits."""
_INGESTING = _RetryPolicy(retries=5, first_pause=0.5, longest_pause=30.0, timeout=60.0)
"""Patient, because the embeddings were paid for."""
_POLICIES = (
    (r"GET ", _READING),
    (r"POST .*/points/query/batch$", _READING),
    (r"POST .*/points(/scroll)?$", _INGESTING),
    # Idempotent: points have ids, a field is indexed once, metadata is set.
    (r"PUT .*/(points|index)$", _INGESTING),
    (r"PATCH ", _INGESTING),
    (r"DELETE ", _INGESTING),
)
"""Not retried: creating a collection, which fails the second time, and switching the alias, which
another ingestion may have switched in between."""


def connect(url: str, api_key: str, grpc_port: int = 0) -> AsyncQdrantClient:
    """Create a client for the server at `url`; sends nothing yet. `grpc_port` 0: HTTP only."""
    client = AsyncQdrantClient(
        url=url,
        # The client would replace an explicit 443 by its default.
        port=urlsplit(url).port or _DEFAULT_PORT,
        grpc_port=grpc_port or 6334,
        prefer_grpc=bool(grpc_port),
        api_key=api_key or None,
        timeout=_TIMEOUT,
        # For a server on this machine, the client would open a connection for each request.
        limits=httpx.Limits(max_connections=100, max_keepalive_connections=20),
        check_compatibility=False,  # a blocking request before the server is up
    )
    client.http.client.add_middleware(_send_with_retries)
    return client


async def _send_with_retries(
    request: httpx.Request, send: Callable[[httpx.Request], Awaitable[httpx.Response]]
) -> httpx.Response:
    """Send; retry idempotent requests if the server is busy or the connection breaks."""
    policy = _policy_for(request)
    if policy and policy.timeout:
        request.extensions["timeout"] = httpx.Timeout(policy.timeout, connect=_TIMEOUT).as_dict()
    for attempt in count():
        response, failure, retry_after = None, None, None
        try:
            response = await send(request)
        except ResponseHandlingException as error:
            if not isinstance(error.source, _RETRIED_ERRORS):
                raise
            failure = error
        else:
            if response.status_code not in _TRANSIENT_STATUSES:
                return response
            retry_after = _retry_after(response)
        pause = None
        if policy and attempt < policy.retries:
            pause = policy.pause(attempt, retry_after)
        if pause is None:
            break
        await asyncio.sleep(pause)
    if response is None:
        assert failure is not None
        raise failure
    return response


def _policy_for(request: httpx.Request) -> _RetryPolicy | None:
    """None for a request that must not be sent twice."""
    line = f"{request.method} {request.url.path}"
    return next((policy for pattern, policy in _POLICIES if re.match(pattern, line)), None)


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds; None without the header or for a date."""
    value = response.headers.get("Retry-After", "")
    return float(value) if re.fullmatch(r"[0-9]{1,6}", value) else None
