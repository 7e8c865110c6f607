"""The server: one process that listens, and that ends in time when it is told to."""

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

log = logging.getLogger(__name__)

GRACE_SECONDS = 2.0
"""So long open streams may go on after the server was told to stop."""
CONNECTIONS_SECONDS = 0.5
"""For connections to be closed, once what ran on them has ended."""
PATIENCE_SECONDS = 0.75
"""For the server to have come so far that it closes the application."""
LEAVE_SECONDS = 4.5
"""After which the process ends whatever hangs: a thread, or a reader who does not read."""
BACKLOG = 1024
"""Connections that may wait to be taken: with fewer, some of a burst come a second late."""
MOST_FILES = 65_536
"""Open at once. A stream takes two, the reader's connection and the model's, and Hypercorn keeps an
idle connection for five seconds after its reader has closed it: the usual thousand is soon gone."""


def serve(settings: Settings, app: Quart) -> None:
    """Serve until told to stop. Raises `OSError` where the address cannot be listened on."""
    listener = listen(settings.api_host, settings.api_port)
    allow_files()
    # While an ingestion's threads work, the event loop waits for so long each time it has to wake.
    sys.setswitchinterval(0.0005)
    freeze_heap()
    # Each connection that was closed leaves a cycle of some 7 KB: by the interpreter's own last
    # threshold, tens of megabytes of them would lie about.
    gc.set_threshold(5_000, 5, 2)
    asyncio.run(run(app, listener))


def allow_files() -> None:
    """Let this process open as many files as the system has for it, where that is more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        # Some systems have a limit besides, which they do not tell.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def listen(host: str, port: int) -> socket.socket:
    """A socket whose connections break when their reader takes nothing for a while."""
    six = ":" in host
    listener = socket.create_server(
        (host, port),
        family=socket.AF_INET6 if six else socket.AF_INET,
        backlog=BACKLOG,
        dualstack_ipv6=six and socket.has_dualstack_ipv6(),
    )
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # Of a closed connection the system keeps what is not sent yet; nobody else would ever
        # give up a reader who holds the connection and reads nothing.
        listener.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * STALLED_SECONDS)
        )
    return listener


async def run(app: Quart, listener: socket.socket) -> None:
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.backlog = BACKLOG
    config.graceful_timeout = CONNECTIONS_SECONDS
    config.accesslog = None  # the middleware writes its own
    config.errorlog = logging.getLogger("hypercorn.error")
    middleware: Middleware = app.extensions["middleware"]
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    loop.set_exception_handler(complain)

    def tell() -> None:
        told.set()
        watchdog = threading.Timer(LEAVE_SECONDS, leave)
        watchdog.daemon = True
        watchdog.start()

    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, tell)

    async def stop() -> None:
        await told.wait()
        await middleware.drain(GRACE_SECONDS)
        loop.call_later(PATIENCE_SECONDS, give_up)

    def give_up() -> None:
        if not app.shutdown_event.is_set():
            server.cancel()

    server = asyncio.create_task(serve_app(app, config, shutdown_trigger=stop))
    try:
        await server
    except asyncio.CancelledError:
        # On Python 3.12 and later the server waits for its last connection for ever.
        await app.shutdown()


def complain(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Of all but connections that broke or were given up: asyncio takes that for an error."""
    error = context.get("exception")
    broke = "transport" in context and isinstance(error, OSError)
    if not broke and not isinstance(error, asyncio.CancelledError):
        loop.default_exception_handler(context)


def leave() -> None:
    """From a thread of its own, which runs even while others hang."""
    log.warning("not everything has ended in time; leaving all the same")
    os._exit(0)
