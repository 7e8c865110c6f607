"""ASGI middleware: limits of every request, independent of its handler.

A body is cut at its limit. A request ends at its deadline. A reader who stops reading loses the
answer. Every response has a request id. A draining server takes no new requests.

The middleware ends a request by telling the application that its client disconnected. That cancels
the handler and frees everything behind it.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Collection, Container
from contextlib import suppress
from typing import cast
from uuid import uuid4

import msgspec
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    HTTPDisconnectEvent,
    HTTPRequestEvent,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
    HTTPScope,
    Scope,
)
from werkzeug.exceptions import BadHost

from handlers.failures import ErrorFormat, ErrorFormats, as_failure
from lib.auth import client_address
from lib.errors import BodyTimedOut, InvalidRequest, QuireError, Stopping, TimedOut
from lib.events import INTERNAL_ERROR
from lib.logs import AccessRecord, DailyPseudonyms, current_request, write_access
from lib.metrics import Metrics
from lib.settings import Settings

_log = logging.getLogger(__name__)

EXPOSED_HEADERS = (
    "Retry-After",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "X-Session-Id",
    "X-Request-Id",
)
"""Response headers that pages of allowed origins may read."""
STALLED_SECONDS = 30.0
"""A reader who takes no data for this long loses the connection."""
_REQUEST_SECONDS = 60.0
"""For a whole request with its body. Answers and archives have `STREAM_TIMEOUT` instead."""
_LAST_WORDS_SECONDS = 0.5
"""For the final bytes of an interrupted answer: its reader may be what blocks it."""
_LEAVING_SECONDS = 1.0
"""For an application to end after its client has left. Then it is cancelled: in Python 3.11,
`asyncio.wait_for` can lose Quart's cancellation, and the answer would be paid for to its end."""
_STOPPING_RETRY_SECONDS = 5
_EVENTS_PER_TURN = 64
"""Yield to the event loop after this many events. A cached answer would otherwise not yield before
its end."""
_CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a reader who left before the answer."""
_SERVED_WHILE_STOPPING = ("/health", "/metrics")
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

_Headers = list[tuple[bytes, bytes]]


class Middleware:
    """Wraps the application. Call `check` regularly to drop stalled readers."""

    def __init__(
        self,
        app: ASGIFramework,
        settings: Settings,
        metrics: Metrics,
        *,
        origins: Container[str],
        body_limit: Callable[[str], int],
        slow_paths: Collection[str],
        error_formats: ErrorFormats,
    ) -> None:
        """`body_limit`: bytes by path. `slow_paths` have `settings.stream_timeout` seconds."""
        self.draining = False
        self._app = app
        self._metrics = metrics
        self._origins = origins
        self._stream_timeout = settings.stream_timeout
        self._trusted_proxy_hops = settings.trusted_proxy_hops
        self._body_limit = body_limit
        self._slow_paths = frozenset(slow_paths)
        self._error_formats = error_formats
        self._names = DailyPseudonyms()
        self._active: set[_ActiveRequest] = set()
        self._idle = asyncio.Event()

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        note = AccessRecord(_request_id(scope), scope["method"], self._reader(scope))
        token = current_request.set(note)
        request = _ActiveRequest(
            receive,
            send,
            limit=self._body_limit(path),
            seconds=self._stream_timeout if path in self._slow_paths else _REQUEST_SECONDS,
            error_format=self._error_formats.of(path),
            headers=[
                (b"x-request-id", note.id.encode()),
                (b"x-content-type-options", b"nosniff"),
            ],
        )
        began = time.perf_counter()
        self._active.add(request)
        self._idle.clear()
        try:
            await self._handle(scope, request)
        finally:
            self._active.discard(request)
            if not self._active:
                self._idle.set()
            note.seconds = time.perf_counter() - began
            self._report(note, request)
            current_request.reset(token)

    @property
    def streams(self) -> int:
        """Number of open streams of answers."""
        return sum(request.streaming for request in self._active)

    def check(self) -> None:
        """Drop readers who have taken no data for `STALLED_SECONDS`."""
        now = asyncio.get_running_loop().time()
        for request in tuple(self._active):
            if request.sending_since is not None and now - request.sending_since > STALLED_SECONDS:
                request.close(TimedOut("The reader took too long."))

    async def drain(self, grace: float) -> None:
        """Refuse new requests; close those still active after `grace` seconds."""
        self.draining = True
        if not self._active:
            return
        await self._wait_until_idle(grace)
        for request in tuple(self._active):
            request.close(Stopping("The server is shutting down. Please ask again in a moment."))
        await self._wait_until_idle(_LAST_WORDS_SECONDS)

    async def _handle(self, scope: HTTPScope, request: "_ActiveRequest") -> None:
        if (
            self.draining
            and scope["path"] not in _SERVED_WHILE_STOPPING
            and scope["method"] != "OPTIONS"
        ):
            request.closed_by = Stopping(
                "The server is shutting down. Please try again in a moment.",
                retry_after=_STOPPING_RETRY_SECONDS,
            )
        else:
            try:
                async with request.running:
                    await self._app(scope, request.receive, request.send)
            except BadHost:  # the framework looks at it before any handler of errors
                request.closed_by = InvalidRequest("The header Host is not a valid name.")
            except QuireError as interruption:  # of a stream that had begun
                request.closed_by = interruption
                _log.warning("response interrupted: %s", interruption.message)
            except Exception:
                if not request.running.expired():
                    # The reader gets an answer below, and the server goes on.
                    _log.exception("unhandled exception outside the handlers")
        if request.ended or request.disconnected:
            return
        error = request.closed_by or QuireError(INTERNAL_ERROR)
        self._metrics.count_failure(error.code)
        if not request.started:
            await request.respond(error, self._cors(scope))
        elif request.streaming:
            await request.end_stream(error)

    def _cors(self, scope: HTTPScope) -> _Headers:
        """CORS headers for responses made here, so that an allowed page can read them."""
        headers = [(b"vary", b"Origin")]
        origin = _header(scope, b"origin")
        if origin in self._origins:
            headers += [
                (b"access-control-allow-origin", origin.encode("latin-1")),
                (b"access-control-allow-credentials", b"true"),
                (b"access-control-expose-headers", ", ".join(EXPOSED_HEADERS).encode()),
            ]
        return headers

    def _reader(self, scope: HTTPScope) -> str:
        remote = (scope.get("client") or ("",))[0]
        forwarded = _header(scope, b"x-forwarded-for")
        return self._names.name(client_address(remote, forwarded, self._trusted_proxy_hops))

    def _report(self, note: AccessRecord, request: "_ActiveRequest") -> None:
        note.status = request.status or _CLIENT_CLOSED_REQUEST
        if request.closed_by:
            note.mode = request.closed_by.code.lower()
        elif request.started and not request.ended:
            note.mode = "left" if request.disconnected else "broken"
        if note.when_over:
            note.when_over(request.end_code)
            note.when_over = None  # tasks started by the request keep its record
        self._metrics.count_request(note.route, note.method, note.status)
        write_access(note)

    async def _wait_until_idle(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()


class _ActiveRequest:
    """The two ASGI channels of a request, and its progress.

    Passing an event on creates no object: a token costs one more call and one look at the clock.
    The application always waits in `receive`, to notice when its client leaves. So `receive` is the
    place to tell it that the request is over.
    """

    def __init__(
        self,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        *,
        limit: int,
        seconds: float,
        error_format: ErrorFormat,
        headers: _Headers,
    ) -> None:
        """`limit`: bytes of the body; `seconds`: for the whole request; `headers`: added to the
        response."""
        self._receive = receive
        self._send = send
        self._bytes_left = limit
        self._now = asyncio.get_running_loop().time
        self._deadline = self._now() + seconds
        self._error_format = error_format
        self._headers = headers
        self._waiting: asyncio.Timeout | None = None
        self._body_complete = False
        self._events_sent = 0
        self.running = asyncio.timeout(None)
        """Ends the application, soon after it was told that its client disconnected."""
        self.status = 0
        self.streaming = False
        self.ended = False
        self.disconnected = False
        """Whether the reader has left."""
        self.sending_since: float | None = None
        """Start of the `send` that is waiting for the reader, on the event loop's clock."""
        self.closed_by: QuireError | None = None
        """Why the server ended the request early; None if it did not."""

    @property
    def started(self) -> bool:
        return self.status != 0

    @property
    def end_code(self) -> str:
        """Code of the error that ended the request early; empty if the reader left."""
        if self.closed_by:
            return self.closed_by.code
        return "" if self.disconnected else QuireError.code

    def close(self, reason: QuireError) -> None:
        """Tell the application that its client disconnected. Only the first reason counts."""
        if self.closed_by is None:
            self.closed_by = reason
            if self._waiting is not None and not self._waiting.expired():
                self._waiting.reschedule(self._now())

    async def receive(self) -> ASGIReceiveEvent:
        """The next event from the reader.

        The body is cut one byte after its limit, so that the application sees that it is too large.
        What follows is read and dropped until the reader disconnects.
        """
        while self.closed_by is None:
            try:
                async with asyncio.timeout_at(self._deadline) as self._waiting:
                    event = await self._receive()
            except TimeoutError:
                self.closed_by = self.closed_by or self._timed_out()
                break
            finally:
                self._waiting = None
            if event["type"] != "http.request":
                self.disconnected = True
                break
            if self._bytes_left >= 0:
                return self._cut(event)
        if self.running.when() is None:
            self.running.reschedule(self._now() + _LEAVING_SECONDS)
        return HTTPDisconnectEvent(type="http.disconnect")

    async def send(self, event: ASGISendEvent) -> None:
        if event["type"] == "http.response.start":
            event = self._start(event)
        self.sending_since = self._now()
        await self._send(event)
        self.sending_since = None
        self._events_sent += 1
        if not self._events_sent % _EVENTS_PER_TURN:
            await asyncio.sleep(0)
        if event["type"] == "http.response.body" and not event.get("more_body"):
            self.ended = True

    async def respond(self, error: QuireError, headers: _Headers) -> None:
        """Answer in place of the application."""
        body = msgspec.json.encode(self._error_format.body(as_failure(error)))
        own = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        if error.retry_after is not None:
            own.append((b"retry-after", b"%d" % error.retry_after))
        start = HTTPResponseStartEvent(
            type="http.response.start", status=error.status, headers=[*own, *headers]
        )
        await self._send_last(start, body)

    async def end_stream(self, error: QuireError) -> None:
        """End a stream with the reason why it is incomplete."""
        if self.sending_since is None:
            await self._send_last(None, self._error_format.end_stream(as_failure(error)))

    async def _send_last(self, start: HTTPResponseStartEvent | None, body: bytes) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                if start is not None:
                    await self.send(start)
                await self.send(
                    HTTPResponseBodyEvent(type="http.response.body", body=body, more_body=False)
                )

    def _start(self, event: HTTPResponseStartEvent) -> HTTPResponseStartEvent:
        self.status = event["status"]
        headers = [*event["headers"], *self._headers]
        types = [value for name, value in headers if name == b"content-type"]
        self.streaming = self._error_format.stream_type.encode() in types
        return cast(HTTPResponseStartEvent, {**event, "headers": headers})

    def _cut(self, event: HTTPRequestEvent) -> HTTPRequestEvent:
        body = event["body"]
        self._bytes_left -= len(body)
        self._body_complete = not event["more_body"]
        if self._bytes_left >= 0:
            return event
        # The application answers 413 itself: sending from within `receive` would deadlock.
        self._body_complete = True
        return HTTPRequestEvent(
            type="http.request", body=body[: len(body) + self._bytes_left + 1], more_body=False
        )

    def _timed_out(self) -> QuireError:
        if self._body_complete:
            return TimedOut("The answer was not ready in time.")
        return BodyTimedOut("The request did not arrive in time.")


def _request_id(scope: HTTPScope) -> str:
    given = _header(scope, b"x-request-id")
    return given if _REQUEST_ID.fullmatch(given) else uuid4().hex


def _header(scope: HTTPScope, name: bytes) -> str:
    """All values of a header, joined by commas; empty if there is none."""
    return b",".join(value for key, value in scope["headers"] if key == name).decode("latin-1")
