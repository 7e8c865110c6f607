"""A layer around the application that ends open streams when the server is told to stop.

Without it one open stream keeps the process from ending, for ever on Python 3.12 and later: the
server waits for the stream, and the stream for its model.
"""

import asyncio

from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    Scope,
)


class Drain:
    """Passes everything on until `close`; from then on every open request hears that its reader
    has gone, which ends it as a reader's leaving would."""

    def __init__(self, app: ASGIFramework) -> None:
        self._app = app
        self._closed = asyncio.Event()

    def close(self) -> None:
        self._closed.set()

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        closed = asyncio.ensure_future(self._closed.wait())

        async def receive_until_closed() -> ASGIReceiveEvent:
            message = asyncio.ensure_future(receive())
            try:
                await asyncio.wait((message, closed), return_when=asyncio.FIRST_COMPLETED)
                if message.done():
                    return message.result()
                return {"type": "http.disconnect"}
            finally:
                message.cancel()

        try:
            await self._app(scope, receive_until_closed, send)
        finally:
            closed.cancel()
