"""Run the server: one process that listens, and exits within seconds of SIGTERM."""

import asyncio
import gc
import itertools
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import h11
import msgspec
from hypercorn.asyncio import serve as serve_app
from hypercorn.config import Config, Sockets
from hypercorn.protocol.h11 import H11Protocol
from quart import Quart

from handlers.middleware import STALLED_SECONDS, Middleware
from lib.auth import client_address
from lib.runtime import freeze_heap
from lib.settings import Settings

_log = logging.getLogger(__name__)

_GRACE_SECONDS = 2.0
"""Open streams may go on for this long after SIGTERM."""
_CONNECTIONS_SECONDS = 0.5
"""For connections to close after their requests have ended."""
_SHUTDOWN_SECONDS = 0.75
"""Before the server task is cancelled, if it has not begun to shut down the application."""
_EXIT_SECONDS = 4.5
"""After this the process exits even if a thread or a reader hangs."""
_BACKLOG = 1024
"""Pending connections. With a shorter queue, some connections of a burst wait a second."""
_MAX_FILES = 65_536
"""Open files. A stream takes two, the reader's connection and the model's, and Hypercorn keeps an
idle connection for five seconds. The usual limit of 1,024 is soon reached."""
_MAX_CONNECTIONS = 4_000
"""Some 30 KB each. Fewer if the system allows fewer open files."""
_ADDRESS_SHARE = 4
"""One address gets a quarter of all connections."""
_ATTEMPTS_PER_TURN = 32
"""Connections that the event loop accepts or refuses in a row, so that a flood does not hold it."""
_WARNING_SECONDS = 60.0
_REFUSAL_BODY = msgspec.json.encode(
    {"error": "Too many open connections. Try again in a moment.", "code": "BUSY", "details": {}}
)
_REFUSAL = (
    b"HTTP/1.1 503 \r\nContent-Type: application/json\r\nRetry-After: 5\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(_REFUSAL_BODY), _REFUSAL_BODY)
)


def serve(settings: Settings, app: Quart) -> None:
    """Serve until SIGINT or SIGTERM. Raises `OSError` if the address is not available."""
    listener = _listen(settings.api_host, settings.api_port)
    total = min(_MAX_CONNECTIONS, _raise_file_limit() // 3)
    each = total if settings.trusted_proxy_hops else total // _ADDRESS_SHARE
    host = settings.api_host
    host = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    _log.info("Open http://%s:%d/ in a browser.", host, listener.getsockname()[1])
    # The event loop waits this long for the interpreter lock while an ingestion's threads work.
    sys.setswitchinterval(0.0005)
    freeze_heap()
    # A closed connection leaves a reference cycle of about 7 KB. With the default thresholds of
    # the oldest generation, tens of megabytes would accumulate.
    gc.set_threshold(5_000, 5, 2)
    asyncio.run(_run(app, _server_config(_LimitedListener(listener, total, each))))


def _raise_file_limit() -> int:
    """Raise the soft limit of open files as far as the system allows, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < limit:
        # Some systems have an additional limit that they do not report.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] % (1 << 31)  # infinite: -1


def _listen(host: str, port: int) -> socket.socket:
    """Open a socket that drops connections whose reader takes no data for a while."""
    six = ":" in host
    listener = socket.create_server(
        (host, port),
        family=socket.AF_INET6 if six else socket.AF_INET,
        backlog=_BACKLOG,
        dualstack_ipv6=six and socket.has_dualstack_ipv6(),
    )
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # The system keeps unsent data of a closed connection. Without this option it would do so
        # while a reader holds the connection open and reads nothing.
        listener.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * STALLED_SECONDS)
        )
    return listener


class _LimitedListener(socket.socket):
    """A listening socket that accepts `total` connections, and `each` from one address.

    Others are answered 503 and closed before the server spends memory on them. `each` counts the
    networks of `lib.auth.client_address`.
    """

    def __init__(self, listener: socket.socket, total: int, each: int) -> None:
        super().__init__(listener.family, listener.type, listener.proto, listener.detach())
        self.setblocking(False)
        self._limits = (total, each)
        self._open = 0
        self._open_by_reader = Counter[str]()
        self._attempts = itertools.count(1)
        self._warned_at = -_WARNING_SECONDS

    def accept(self) -> tuple[socket.socket, Any]:
        while next(self._attempts) % _ATTEMPTS_PER_TURN:
            plain, address = super().accept()
            reader = client_address(address[0], "", 0)
            total, each = self._limits
            if self._open < total and self._open_by_reader[reader] < each:
                self._count(reader, 1)
                return _Connection(plain, partial(self._count, reader, -1)), address
            self._refuse(plain)
        raise BlockingIOError  # the event loop calls again after its other tasks

    def _count(self, reader: str, change: int) -> None:
        self._open += change
        self._open_by_reader[reader] += change
        if not self._open_by_reader[reader]:
            del self._open_by_reader[reader]

    def _refuse(self, connection: socket.socket) -> None:
        if time.monotonic() - self._warned_at >= _WARNING_SECONDS:
            self._warned_at = time.monotonic()
            _log.warning("refusing connections: %d are open", self._open)
        with connection, suppress(OSError):
            connection.setblocking(False)
            connection.send(_REFUSAL)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(65_536)  # closing with unread data would discard the answer


class _Connection(socket.socket):
    """An accepted socket that calls `closed` once when it is closed."""

    def __init__(self, plain: socket.socket, closed: Callable[[], None]) -> None:
        # With the protocol 0, asyncio would leave Nagle's algorithm on: 40 ms more for an answer.
        super().__init__(plain.family, plain.type, socket.IPPROTO_TCP, plain.detach())
        self._when_closed = closed

    def close(self) -> None:
        super().close()
        when_closed, self._when_closed = self._when_closed, lambda: None
        when_closed()


class _Config(Config):
    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener

    def create_sockets(self) -> Sockets:
        return Sockets([], [self._listener], [])


def _server_config(listener: socket.socket) -> Config:
    """Hypercorn's configuration for a server of HTTP/1.1 on `listener`."""
    # Without TLS no browser speaks HTTP/2, and no proxy needs it. A bad upgrade logs a traceback,
    # pings keep a connection open, and so does a bad WebSocket handshake. Hypercorn has no option.
    H11Protocol._check_protocol = _offer_nothing  # type: ignore[method-assign]
    H11Protocol._create_stream = _create_http_stream  # type: ignore[method-assign]
    config = _Config(listener)
    config.backlog = _BACKLOG
    config.graceful_timeout = _CONNECTIONS_SECONDS
    config.accesslog = None  # the middleware writes its own
    config.errorlog = logging.getLogger("hypercorn.error")
    return config


async def _offer_nothing(self: H11Protocol, event: h11.Request) -> None:
    """Do not switch to HTTP/2."""


_create_any_stream = H11Protocol._create_stream


async def _create_http_stream(self: H11Protocol, request: h11.Request) -> None:
    """Ignore `Upgrade`, as RFC 9110 (7.8) allows."""
    headers = [(name, value) for name, value in request.headers if name != b"upgrade"]
    if len(headers) < len(request.headers):
        request = h11.Request(
            method=request.method,
            target=request.target,
            headers=headers,
            http_version=request.http_version,
        )
    await _create_any_stream(self, request)


async def _run(app: Quart, config: Config) -> None:
    middleware: Middleware = app.extensions["middleware"]
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    loop.set_exception_handler(_handle_exception)

    def begin_shutdown() -> None:
        stopping.set()
        watchdog = threading.Timer(_EXIT_SECONDS, _exit)
        watchdog.daemon = True
        watchdog.start()

    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, begin_shutdown)

    async def drain() -> None:
        await stopping.wait()
        await middleware.drain(_GRACE_SECONDS)
        loop.call_later(_SHUTDOWN_SECONDS, cancel_server)

    def cancel_server() -> None:
        if not app.shutdown_event.is_set():
            server.cancel()

    server = asyncio.create_task(serve_app(app, config, shutdown_trigger=drain))
    try:
        await server
    except asyncio.CancelledError:
        # On Python 3.12 and later the server waits for its last connection without a limit.
        await app.shutdown()


def _handle_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log unhandled exceptions, except those of connections that were lost or cancelled."""
    error = context.get("exception")
    connection_lost = "transport" in context and isinstance(error, OSError)
    if not connection_lost and not isinstance(error, asyncio.CancelledError):
        loop.default_exception_handler(context)


def _exit() -> None:
    """Runs in its own thread, so that nothing can block it."""
    _log.warning("shutdown took too long; exiting anyway")
    os._exit(0)
