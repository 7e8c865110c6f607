"""Scripted OpenAI-compatible server in a separate process, on a free local port.

It shares the processors with the measured server, so it must use little CPU time: every answer is
the same text, encoded once; one timer serves all streams; embeddings are bags of words.
"""

import asyncio
import itertools
import multiprocessing
import re
import zlib
from base64 import b64encode
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

import msgspec
import numpy as np

DIMENSION: Final = 1536

TEXT: Final = """\
The server listens on the port that API_PORT names, and on 7860 where none is set [1]. Set the \
variable before the start:

```sh
export API_PORT=8000  # any port from 0 to 65535
make run
```

From then on readers reach it at the new address [2], and so do the probes of whatever watches it. \
A proxy in front has to be told as well, since it goes on asking at the old port [1].

"""
"""The text of every answer, repeated up to the number of tokens."""

_WORD: Final = re.compile(r"[^\W\d_]{4,}")
"""Shorter words occur in every text."""
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_NOT_FOUND: Final = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Script:
    """Delays and length of the answers. Times in seconds."""

    embedding: float = 0.05
    first_token: float = 0.2
    rate: float = 50.0
    """Tokens per second."""
    tokens: int = 200

    @property
    def answer_seconds(self) -> float:
        """Time from the request to the last token."""
        return self.first_token + (self.tokens - 1) / self.rate

    def answer(self) -> list[str]:
        """Return the tokens of an answer: words and signs with the white space after them."""
        pieces = re.findall(r"(?:\w+|[^\w\s])\s*", TEXT)
        return list(itertools.islice(itertools.cycle(pieces), self.tokens))


def content_length(head: bytes) -> int:
    """Return the Content-Length of a head, or 0."""
    found = _LENGTH.search(head)
    return int(found[1]) if found else 0


@contextmanager
def running_upstream(script: Script) -> Iterator[str]:
    """Run the upstream and yield its base URL."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=run, args=(script, theirs), daemon=True)
    process.start()
    theirs.close()  # so that `recv` raises if the process ends early
    try:
        yield f"http://127.0.0.1:{ours.recv()}/v1"
    finally:
        process.terminate()
        process.join()


def run(script: Script, port: Connection) -> None:
    asyncio.run(serve(script, port))


async def serve(script: Script, port: Connection) -> None:
    routes = Routes(script)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: ClientConnection(routes), "127.0.0.1", 0, backlog=1024
    )
    port.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


class ClientConnection(asyncio.Protocol):
    """A connection of a client."""

    def __init__(self, routes: "Routes") -> None:
        self._routes = routes
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._unread += data
        head, sep, rest = self._unread.partition(b"\r\n\r\n")
        length = content_length(head)
        if sep and len(rest) >= length:
            self._unread = rest[length:]
            self._routes.reply(self._transport, head.split(b" ", 2)[1], rest[:length])


class Routes:
    """Answers requests by path, after the scripted delays."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._loop = asyncio.get_running_loop()
        self._streams = PacedStreams(stream(script.answer()), 1 / script.rate)

    def reply(self, caller: asyncio.Transport, path: bytes, body: bytes) -> None:
        match path:
            case b"/v1/chat/completions":
                self._loop.call_later(self._script.first_token, self._streams.begin, caller)
            case b"/v1/embeddings":
                vectors = embeddings(msgspec.json.decode(body)["input"])
                self._loop.call_later(self._script.embedding, caller.write, whole(vectors))
            case b"/v1/models":
                caller.write(whole({"object": "list", "data": []}))
            case _:
                caller.write(_NOT_FOUND)


class PacedStreams:
    """Sends the same pieces on many streams, one per stream every `interval` seconds.

    All intervals are equal, so a FIFO queue keeps the streams in order of their due times.
    """

    def __init__(self, pieces: Sequence[bytes], interval: float) -> None:
        self._pieces = pieces
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._due: deque[tuple[float, asyncio.Transport, int]] = deque()

    def begin(self, caller: asyncio.Transport) -> None:
        """Send the first piece now, and schedule the others."""
        idle = not self._due
        self._send(self._loop.time(), caller, 0)
        if idle and self._due:
            self._loop.call_at(self._due[0][0], self._go_on)

    def _send(self, due: float, caller: asyncio.Transport, number: int) -> None:
        if not caller.is_closing():
            caller.write(self._pieces[number])
            if number + 1 < len(self._pieces):
                self._due.append((due + self._interval, caller, number + 1))

    def _go_on(self) -> None:
        now = self._loop.time()
        while self._due and self._due[0][0] <= now:
            self._send(*self._due.popleft())
        if self._due:
            self._loop.call_at(self._due[0][0], self._go_on)


def embeddings(given: str | list[str]) -> dict[str, Any]:
    texts = [given] if isinstance(given, str) else given
    rows = [{"index": index, "embedding": embedding(text)} for index, text in enumerate(texts)]
    return {"object": "list", "data": rows}


def embedding(text: str) -> str:
    """Return a vector that is similar for texts with common words, base64-encoded.

    Otherwise the server would consider a question unanswerable and not ask the model.
    """
    places = [zlib.crc32(word.encode()) % DIMENSION for word in set(_WORD.findall(text.lower()))]
    vector = np.full(DIMENSION, 1e-3, "<f4")
    vector[places] = 1
    return b64encode(vector.tobytes()).decode()


def whole(answer: Any) -> bytes:
    """Encode a complete JSON response with its head."""
    body = msgspec.json.encode(answer)
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
    return f"{head}{len(body)}\r\n\r\n".encode() + body


def stream(tokens: Sequence[str]) -> list[bytes]:
    """Encode an answer as one piece per token, including the events before and after the text."""

    def event(delta: dict[str, str], finish: str | None = None) -> bytes:
        return framed({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    def framed(told: dict[str, Any]) -> bytes:
        common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1}
        return chunked(b"data: " + msgspec.json.encode(common | {"model": "scripted"} | told))

    def chunked(line: bytes) -> bytes:
        return b"%x\r\n%s\n\n\r\n" % (len(line) + 2, line)

    pieces = [event({"content": token}) for token in tokens]
    pieces[0] = _STREAM_HEAD + event({"role": "assistant", "content": ""}) + pieces[0]
    usage = {"prompt_tokens": 1000, "completion_tokens": len(tokens)}
    pieces[-1] += event({}, "stop") + framed({"choices": [], "usage": usage})
    pieces[-1] += chunked(b"data: [DONE]") + b"0\r\n\r\n"
    return pieces
