"""The framing of server-sent events: the only place that knows it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

PING = b": ping\n\n"
_encoder = msgspec.json.Encoder()


class Ping(msgspec.Struct, frozen=True):
    """Nothing for the reader: it keeps proxies from cutting a silent stream."""


def frame(event: Any) -> bytes:
    """One event as bytes. JSON has no line breaks of its own, so one data line is enough."""
    if isinstance(event, Ping):
        return PING
    return b"data: " + _encoder.encode(event) + b"\n\n"


async def frames(events: AsyncGenerator[Any, None]) -> AsyncGenerator[bytes, None]:
    """Frame each event; what is awaited inside is closed when the reader goes."""
    async with aclosing(events):
        async for event in events:
            yield frame(event)
