"""One request on its way through the outer layer."""

import asyncio
from contextlib import suppress
from typing import cast

import msgspec
from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    HTTPDisconnectEvent,
    HTTPRequestEvent,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
)

from lib.errors import BodyTimedOut, QuireError, TimedOut
from lib.events import CONTENT_TYPE, last_words

LAST_WORDS_SECONDS = 0.5
"""For the end of an answer that was broken off: its reader may be the reason."""

TURN = 64
"""After so many pieces the others have their turn: an answer whose pieces are all there already
would else not let go of the event loop before its end."""

Headers = list[tuple[bytes, bytes]]


class Relay:
    """Both channels of a request, and how far it has come.

    Nothing is made for a message that passes: a token costs one more call and one look at the
    clock. The application always waits for the next message of its reader, as it has to hear of
    their leaving; so that is where it learns that the request is over.
    """

    def __init__(
        self,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        *,
        limit: int,
        seconds: float,
        headers: Headers,
    ) -> None:
        """`limit`: bytes of a body; `seconds`: for all of it; `headers`: for every answer."""
        self._receive = receive
        self._send = send
        self._room = limit
        self._now = asyncio.get_running_loop().time
        self._deadline = self._now() + seconds
        self._headers = headers
        self._waiting: asyncio.Timeout | None = None
        self._arrived = False
        self._sent = 0
        self.status = 0
        self.streaming = False
        self.ended = False
        self.left = False
        """Whether the reader has gone."""
        self.sending_since: float | None = None
        """By the loop's clock, while the reader is slower than the answer."""
        self.why: QuireError | None = None
        """What ended it before its time, if not the reader."""

    @property
    def started(self) -> bool:
        return self.status != 0

    def close(self, why: QuireError) -> None:
        """Tell the application that its reader has gone."""
        if self.why is None:
            self.why = why
            if self._waiting is not None and not self._waiting.expired():
                self._waiting.reschedule(self._now())

    async def receive(self) -> ASGIReceiveEvent:
        """The next message of the reader: no more of a body than its limit and one byte, by which
        the application sees that it is too large, and then nothing but that they have gone."""
        while self.why is None:
            try:
                async with asyncio.timeout_at(self._deadline) as self._waiting:
                    message = await self._receive()
            except TimeoutError:
                self.why = self.why or self._too_late()
                break
            finally:
                self._waiting = None
            if message["type"] != "http.request":
                self.left = True
                return message
            if self._room >= 0:
                return self._cut(message)
        return HTTPDisconnectEvent(type="http.disconnect")

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start":
            message = self._begin(message)
        self.sending_since = self._now()
        await self._send(message)
        self.sending_since = None
        self._sent += 1
        if not self._sent % TURN:
            await asyncio.sleep(0)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.ended = True

    async def answer(self, error: QuireError, headers: Headers) -> None:
        """Answer in the application's place."""
        body = msgspec.json.encode(
            {"error": error.message, "code": error.code, "details": error.details}
        )
        own = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        if error.retry_after is not None:
            own.append((b"retry-after", b"%d" % error.retry_after))
        start = HTTPResponseStartEvent(
            type="http.response.start", status=error.status, headers=[*own, *headers]
        )
        await self._last(start, body)

    async def break_off(self, error: QuireError) -> None:
        """End an event stream with an event that says why."""
        if self.sending_since is None:
            await self._last(None, last_words(error))

    async def _last(self, start: HTTPResponseStartEvent | None, body: bytes) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                if start is not None:
                    await self.send(start)
                await self.send(
                    HTTPResponseBodyEvent(type="http.response.body", body=body, more_body=False)
                )

    def _begin(self, message: HTTPResponseStartEvent) -> HTTPResponseStartEvent:
        self.status = message["status"]
        headers = [*message["headers"], *self._headers]
        kinds = [value for name, value in headers if name == b"content-type"]
        self.streaming = CONTENT_TYPE.encode() in kinds
        return cast(HTTPResponseStartEvent, {**message, "headers": headers})

    def _cut(self, message: HTTPRequestEvent) -> HTTPRequestEvent:
        body = message["body"]
        self._room -= len(body)
        self._arrived = not message["more_body"]
        if self._room >= 0:
            return message
        # The application answers 413 itself: an answer from within its own receiving would wait
        # for itself.
        self._arrived = True
        return HTTPRequestEvent(
            type="http.request", body=body[: len(body) + self._room + 1], more_body=False
        )

    def _too_late(self) -> QuireError:
        if self._arrived:
            return TimedOut("The answer was not ready in time.")
        return BodyTimedOut("The request did not arrive in time.")
