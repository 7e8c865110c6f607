"""The layer between the server and the application.

What has to hold however a handler behaves: a body is cut at its limit, a request ends at its
deadline, a reader who does not read loses the answer, every answer has a request id, and a server
that was told to stop takes nothing new. Whatever ends a request here ends it as the reader's
leaving would, which frees everything behind it.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from uuid import uuid4

from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPScope,
    Scope,
)

from handlers.relay import Headers, Relay
from lib import events as sse
from lib.auth import client_address
from lib.errors import QuireError, Stopping, TimedOut
from lib.logs import DayNames, Exchange, exchange, write_access
from lib.metrics import Metrics
from lib.settings import Settings

log = logging.getLogger(__name__)

REQUEST_SECONDS = 60.0
"""For a whole request, its body included; answers and archives have `STREAM_TIMEOUT`."""
STALLED_SECONDS = 30.0
"""So long a reader may take nothing of what is sent."""
LAST_WORDS_SECONDS = 0.5
STOPPING_RETRY_SECONDS = 5
LEFT = 499
"""The status that is counted where the reader left before the answer, as nginx has it."""
SPARED = ("/health", "/metrics")
"""Answered while stopping too: they tell that it stops."""
REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Outer:
    """Wraps the application; `check` is to be called every now and then."""

    def __init__(
        self,
        app: ASGIFramework,
        settings: Settings,
        metrics: Metrics,
        *,
        body_limit: Callable[[str], int],
        slow_paths: Collection[str],
        exposed_headers: Collection[str],
    ) -> None:
        """`body_limit`: bytes by path. `slow_paths` have `settings.stream_timeout` seconds."""
        self.draining = False
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._body_limit = body_limit
        self._slow_paths = frozenset(slow_paths)
        self._exposed = ", ".join(exposed_headers).encode()
        self._names = DayNames()
        self._open: set[Relay] = set()
        self._idle = asyncio.Event()

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        note = Exchange(self._request_id(scope), scope["method"], self._reader(scope))
        token = exchange.set(note)
        relay = Relay(
            receive,
            send,
            limit=self._body_limit(scope["path"]),
            seconds=self._seconds(scope["path"]),
            headers=[
                (b"x-request-id", note.id.encode()),
                (b"x-content-type-options", b"nosniff"),
            ],
        )
        began = time.perf_counter()
        self._open.add(relay)
        self._idle.clear()
        try:
            await self._pass_on(scope, relay)
        finally:
            self._open.discard(relay)
            if not self._open:
                self._idle.set()
            note.seconds = time.perf_counter() - began
            self._tell(note, relay)
            exchange.reset(token)

    @property
    def streams(self) -> int:
        """How many event streams are open."""
        return sum(relay.streaming for relay in self._open)

    def check(self) -> None:
        """Let go of readers who take nothing."""
        now = asyncio.get_running_loop().time()
        for relay in tuple(self._open):
            if relay.sending_since is not None and now - relay.sending_since > STALLED_SECONDS:
                relay.close(TimedOut("The reader took too long."))

    async def drain(self, grace: float) -> None:
        """Take nothing new; what is open may end for `grace` seconds and is then closed."""
        self.draining = True
        if not self._open:
            return
        await self._wait_until_idle(grace)
        for relay in tuple(self._open):
            relay.close(Stopping("The server is being stopped. Please ask again in a moment."))
        await self._wait_until_idle(LAST_WORDS_SECONDS)

    async def _pass_on(self, scope: HTTPScope, relay: Relay) -> None:
        if self.draining and scope["path"] not in SPARED and scope["method"] != "OPTIONS":
            relay.why = Stopping(
                "The server is being stopped. Please try again in a moment.",
                retry_after=STOPPING_RETRY_SECONDS,
            )
        else:
            try:
                await self._app(scope, relay.receive, relay.send)
            except Exception:
                # Whatever it is, the reader gets an answer, and the server goes on.
                log.exception("an error outside of every handler")
        if relay.ended or relay.left:
            return
        error = relay.why or QuireError(sse.MISTAKE)
        self._metrics.failure(error.code)
        if not relay.started:
            await relay.answer(error, self._cors(scope))
        elif relay.streaming:
            await relay.break_off(error)

    def _cors(self, scope: HTTPScope) -> Headers:
        """What lets a browser of an allowed origin read an answer that is made here."""
        headers = [(b"vary", b"Origin")]
        origin = header(scope, b"origin")
        if origin in self._settings.origins:
            headers += [
                (b"access-control-allow-origin", origin.encode("latin-1")),
                (b"access-control-allow-credentials", b"true"),
                (b"access-control-expose-headers", self._exposed),
            ]
        return headers

    def _request_id(self, scope: HTTPScope) -> str:
        given = header(scope, b"x-request-id")
        return given if REQUEST_ID.fullmatch(given) else uuid4().hex

    def _reader(self, scope: HTTPScope) -> str:
        remote = (scope.get("client") or ("",))[0]
        forwarded = header(scope, b"x-forwarded-for")
        return self._names.name(
            client_address(remote, forwarded, self._settings.trusted_proxy_hops)
        )

    def _seconds(self, path: str) -> float:
        return self._settings.stream_timeout if path in self._slow_paths else REQUEST_SECONDS

    def _tell(self, note: Exchange, relay: Relay) -> None:
        note.status = relay.status or LEFT
        if relay.why:
            note.mode = relay.why.code.lower()
        elif relay.started and not relay.ended:
            note.mode = "left" if relay.left else "broken"
        self._metrics.request(note.route, note.method, note.status)
        write_access(note)

    async def _wait_until_idle(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()


def header(scope: HTTPScope, name: bytes) -> str:
    """All values of a header, joined by commas; empty where there is none."""
    return b",".join(value for key, value in scope["headers"] if key == name).decode("latin-1")
