"""The client of a Qdrant server: its timeouts, and what is sent again after a failure.

Imports the client's package, which takes most of a second: import this module in a thread.
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

Send = Callable[[httpx.Request], Awaitable[httpx.Response]]

DEFAULT_PORT = 6333
TIMEOUT = 10  # seconds a request may take that nothing else is said of
PASSING = frozenset({429, 502, 503, 504})
"""Statuses of a server that is busy or on its way up."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request is sent again, and how long is waited between.

    Pauses in seconds, doubled each time and drawn from their upper half, so that not all who were
    refused at once come back at once.
    """

    retries: int
    first_pause: float
    longest_pause: float
    """Also of those that a server asks for with Retry-After."""
    timeout: float | None = None
    """Seconds that each attempt may take, if not `TIMEOUT`."""

    def pause(self, attempt: int, asked: float | None) -> float | None:
        """Before the repeat after `attempt` (from 0); None where the server asks for too much."""
        if asked is not None and asked > self.longest_pause:
            return None
        drawn = min(self.first_pause * float(2**attempt), self.longest_pause)
        return (asked or 0.0) + drawn * (1 + random.random()) / 2


READING = RetryPolicy(retries=2, first_pause=0.1, longest_pause=1.0)
"""A reader waits."""
INGESTING = RetryPolicy(retries=5, first_pause=0.5, longest_pause=30.0, timeout=60.0)
"""A server that is busy may take its time, and what was embedded is paid for."""
POLICIES = (
    (r"GET ", READING),
    (r"POST .*/points/query/batch$", READING),
    (r"POST .*/points(/scroll)?$", INGESTING),
    # Points have names, a field is indexed once, metadata is set: twice is as good as once.
    (r"PUT .*/(points|index)$", INGESTING),
    (r"PATCH ", INGESTING),
    (r"DELETE ", INGESTING),
)
"""Not among them: to make a collection, which is refused the second time, and to switch the alias,
which another ingestion may have switched on in between."""


def connect(url: str, api_key: str, grpc_port: int = 0) -> AsyncQdrantClient:
    """A client for the server at `url`; nothing is sent yet. `grpc_port` 0: HTTP alone."""
    client = AsyncQdrantClient(
        url=url,
        # The client would turn an explicit 443 into its own default.
        port=urlsplit(url).port or DEFAULT_PORT,
        grpc_port=grpc_port or 6334,
        prefer_grpc=bool(grpc_port),
        api_key=api_key or None,
        timeout=TIMEOUT,
        check_compatibility=False,  # it would ask, blocking, before the server is up
    )
    client.http.client.add_middleware(send_with_retries)
    return client


async def send_with_retries(request: httpx.Request, send: Send) -> httpx.Response:
    """Send, and repeat what is safe to repeat while the server is busy or the connection breaks."""
    policy = policy_for(request)
    if policy and policy.timeout:
        request.extensions["timeout"] = httpx.Timeout(policy.timeout, connect=TIMEOUT).as_dict()
    for attempt in count():
        response, failure, asked = None, None, None
        try:
            response = await send(request)
        except ResponseHandlingException as error:
            if not connection_broke(error.source):
                raise
            failure = error
        else:
            if response.status_code not in PASSING:
                return response
            asked = retry_after(response)
        pause = None
        if policy and attempt < policy.retries:
            pause = policy.pause(attempt, asked)
        if pause is None:
            break
        await asyncio.sleep(pause)
    if response is None:
        assert failure is not None
        raise failure
    return response


def policy_for(request: httpx.Request) -> RetryPolicy | None:
    """None for what must not be sent twice."""
    line = f"{request.method} {request.url.path}"
    return next((policy for pattern, policy in POLICIES if re.match(pattern, line)), None)


def connection_broke(error: Exception) -> bool:
    """Whether to try anew makes sense; who has waited for an answer in vain waits no longer."""
    return isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError | httpx.ConnectTimeout)


def retry_after(response: httpx.Response) -> float | None:
    """Seconds; None where the server names none, or a date."""
    value = response.headers.get("Retry-After", "")
    return float(value) if re.fullmatch(r"[0-9]{1,6}", value) else None
