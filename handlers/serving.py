"""Run the server: one process that listens, and exits within seconds of SIGTERM."""

import asyncio
import gc
import logging
import os
import resource
import signal
import socket
import sys
import threading
from contextlib import suppress
from typing import Any

from hypercorn.asyncio import serve as serve_app
from hypercorn.config import Config
from quart import Quart

from handlers.middleware import STALLED_SECONDS, Middleware
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


def serve(settings: Settings, app: Quart) -> None:
    """Serve until SIGINT or SIGTERM. Raises `OSError` if the address is not available."""
    listener = _listen(settings.api_host, settings.api_port)
    _raise_file_limit()
    host = settings.api_host
    host = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    _log.info("Open http://%s:%d/ in a browser.", host, listener.getsockname()[1])
    # The event loop waits this long for the interpreter lock while an ingestion's threads work.
    sys.setswitchinterval(0.0005)
    freeze_heap()
    # A closed connection leaves a reference cycle of about 7 KB. With the default thresholds of
    # the oldest generation, tens of megabytes would accumulate.
    gc.set_threshold(5_000, 5, 2)
    asyncio.run(_run(app, listener))


def _raise_file_limit() -> None:
    """Raise the soft limit of open files as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < limit:
        # Some systems have an additional limit that they do not report.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


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


async def _run(app: Quart, listener: socket.socket) -> None:
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.backlog = _BACKLOG
    config.graceful_timeout = _CONNECTIONS_SECONDS
    config.accesslog = None  # the middleware writes its own
    config.errorlog = logging.getLogger("hypercorn.error")
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
