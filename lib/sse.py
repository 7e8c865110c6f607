"""The framing of server-sent events: the only place that knows it."""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import msgspec

from lib.errors import QuireError

log = logging.getLogger(__name__)

CONTENT_TYPE = "text/event-stream"
PING = b": ping\n\n"
MISTAKE = "The server made a mistake; its log says more. The answer is not complete."
_encoder = msgspec.json.Encoder()


class Ping(msgspec.Struct, frozen=True):
    """Nothing for the reader: it keeps proxies from cutting a silent stream."""


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="error"):
    """The end of an answer that broke after its first piece; in place of done."""

    error: str
    code: str


def frame(event: Any) -> bytes:
    """One event as bytes. JSON has no line breaks of its own, so one data line is enough."""
    if isinstance(event, Ping):
        return PING
    return b"data: " + _encoder.encode(event) + b"\n\n"


def last_words(error: QuireError) -> bytes:
    """The event that ends a stream which breaks off."""
    return frame(Failed(error=error.message, code=error.code))


async def frames(
    events: AsyncGenerator[Any, None], see: Callable[[Any], None]
) -> AsyncGenerator[bytes, None]:
    """Frame each event, shown to `see` first; what is awaited inside is closed when the reader
    goes.

    An error of the program ends the stream with an event: its status was sent long ago, and the
    framework would take a `TimeoutError` for its own and say nothing.
    """
    try:
        async with aclosing(events):
            async for event in events:
                see(event)
                yield frame(event)
    except Exception:  # whatever it is, the reader is told that the answer is not complete
        log.exception("an error of the program in the midst of a stream")
        failed = Failed(error=MISTAKE, code=QuireError.code)
        see(failed)
        yield frame(failed)
