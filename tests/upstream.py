"""A scripted OpenAI-compatible server on a free local port.

A chat reply is a list of steps, written byte for byte. A test can cut a delta in the middle of a
character, send invalid JSON, drop the connection or stay silent. Embeddings are hashed bags of
words, good enough to search with.
"""

import asyncio
import base64
import json
import re
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

DIMENSION = 64


@dataclass(frozen=True)
class Drop:
    """Abort the connection in the middle of the reply."""


@dataclass(frozen=True)
class Hang:
    """Send nothing more and keep the connection open."""


@dataclass(frozen=True)
class Status:
    """An HTTP error status with a JSON error, instead of a stream."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = "vendor text with sk-secret-of-the-vendor"


@dataclass(frozen=True)
class Body:
    """A complete response with status 200 and any content."""

    content: bytes
    content_type: str = "application/json"


Step = bytes | asyncio.Event | Drop | Hang
Reply = Sequence[Step] | Status | Body


def event(payload: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(payload, ensure_ascii=False).encode() + b"\n\n"


def delta(text: str) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})


def finish(reason: str = "stop") -> bytes:
    return event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})


def usage(prompt: int, completion: int) -> bytes:
    """The last chunk, without choices, as OpenAI sends it."""
    return event(
        {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}}
    )


DONE = b"data: [DONE]\n\n"


def answer(*deltas: str, reason: str = "stop") -> list[Step]:
    """A complete reply: role, deltas, finish reason, usage (100 and 20), [DONE]."""
    role = event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
    return [role, *map(delta, deltas), finish(reason), usage(100, 20), DONE]


def cut(reply: Sequence[Step], size: int) -> list[Step]:
    """Split the bytes of a reply into steps of `size` bytes."""
    whole = b"".join(step for step in reply if isinstance(step, bytes))
    return [whole[at : at + size] for at in range(0, len(whole), size)]


def bag_of_words(text: str) -> npt.NDArray[np.float32]:
    """Return a `(DIMENSION,) float32` vector, similar for texts that share words."""
    vector = np.full(DIMENSION, 1e-3, np.float32)
    for word in re.findall(r"\w+", text.lower()):
        vector[zlib.crc32(word.encode()) % DIMENSION] += 1
    return vector


@dataclass(frozen=True)
class RecordedRequest:
    """A received request."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names are in lower case."""
    body: Any


class Upstream:
    """The requests that the server received, and its scripted replies.

    Each request takes one of `replies` or `embedding_replies`. When these are empty, the server
    answers like a healthy one.
    """

    def __init__(self) -> None:
        self.base_url = ""
        self.requests: list[RecordedRequest] = []
        self.replies: deque[Reply] = deque()
        self.embedding_replies: deque[Reply | Callable[[list[str]], Reply]] = deque()
        self.models_reply: Reply = Body(b'{"object": "list", "data": []}')
        self.vector: Callable[[str], npt.NDArray[np.float32]] = bag_of_words
        self.embedding_encoding = "base64"
        self.embedding_gate: asyncio.Event | None = None
        """Embedding requests wait until it is set."""
        self.disconnects = 0
        """Connections that the client closed before the reply was complete."""
        self._changed = asyncio.Condition()

    def chats(self) -> list[Any]:
        """Return the bodies of the chat requests."""
        return [r.body for r in self.requests if r.path == "/v1/chat/completions"]

    def embedded(self) -> list[list[str]]:
        """Return the texts of each embedding request."""
        return [list(r.body["input"]) for r in self.requests if r.path == "/v1/embeddings"]

    async def until(self, predicate: Callable[["Upstream"], bool]) -> None:
        """Wait until `predicate` is true for this server. Checked after each request."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: predicate(self))

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, path, _ = head.split(" ", 2)
        lines = head.split("\r\n")[1:]
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines if line)
        }
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        recorded = RecordedRequest(method, path, headers, json.loads(raw) if raw else None)
        async with self._changed:
            self.requests.append(recorded)
            self._changed.notify_all()
        # Every reply closes its connection, so any read that returns means a disconnect.
        disconnected = asyncio.create_task(reader.read(1))
        reply = asyncio.create_task(self._reply(writer, await self._choose(recorded)))
        try:
            await asyncio.wait((disconnected, reply), return_when=asyncio.FIRST_COMPLETED)
            if not reply.done() or isinstance(reply.exception(), ConnectionError):
                async with self._changed:
                    self.disconnects += 1
                    self._changed.notify_all()
        finally:
            for task in (disconnected, reply):
                task.cancel()
            with suppress(ConnectionError):
                await asyncio.gather(disconnected, reply, return_exceptions=True)

    async def _choose(self, recorded: RecordedRequest) -> Reply:
        match recorded.path:
            case "/v1/chat/completions":
                return self.replies.popleft() if self.replies else answer("The answer [1].")
            case "/v1/embeddings":
                if self.embedding_gate:
                    await self.embedding_gate.wait()
                texts = list(recorded.body["input"])
                chosen = self.embedding_replies.popleft() if self.embedding_replies else None
                if callable(chosen):
                    return chosen(texts)
                return chosen if chosen is not None else self.embeddings(texts)
            case "/v1/models":
                return self.models_reply
        return Status(404)

    def embeddings(self, texts: Sequence[str]) -> Body:
        """A healthy response. Rows are in reverse order, to test that `index` is used."""
        rows = []
        for index, text in enumerate(texts):
            row = self.vector(text)
            encoded: Any = row.tolist()
            if self.embedding_encoding == "base64":
                encoded = base64.b64encode(row.astype("<f4").tobytes()).decode()
            rows.append({"object": "embedding", "index": index, "embedding": encoded})
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        body = {"object": "list", "data": rows[::-1], "model": "m", "usage": usage}
        return Body(json.dumps(body).encode())

    async def _reply(self, writer: asyncio.StreamWriter, reply: Reply) -> None:
        match reply:
            case Status():
                error = json.dumps({"error": {"message": reply.message, "type": "t"}}).encode()
                await send(writer, reply.status, "application/json", reply.headers, error)
            case Body():
                await send(writer, 200, reply.content_type, {}, reply.content)
            case _:
                await self._stream(writer, reply)

    async def _stream(self, writer: asyncio.StreamWriter, steps: Sequence[Step]) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        started = False
        for step in steps:
            match step:
                case bytes():
                    if not started:
                        writer.write(
                            head + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                        )
                        started = True
                    writer.write(b"%x\r\n%b\r\n" % (len(step), step))
                    await writer.drain()
                    await asyncio.sleep(0)  # so that the client reads each step separately
                case asyncio.Event():
                    await step.wait()
                case Drop():
                    writer.transport.abort()
                    return
                case Hang():
                    await asyncio.Event().wait()
        writer.write(
            (b"" if started else head + b"Content-Length: 0\r\n\r\n") + b"0\r\n\r\n" * started
        )
        await writer.drain()


async def send(
    writer: asyncio.StreamWriter,
    status: int,
    content_type: str,
    headers: Mapping[str, str],
    body: bytes,
) -> None:
    all_headers = {
        "Content-Type": content_type,
        "Content-Length": str(len(body)),
        "Connection": "close",
        **headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in all_headers.items())
    writer.write(f"HTTP/1.1 {status} Scripted\r\n{lines}\r\n".encode() + body)
    await writer.drain()


@asynccontextmanager
async def running_upstream() -> AsyncIterator[Upstream]:
    upstream = Upstream()
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await upstream.handle(reader, writer)
        finally:
            tasks.discard(task)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    upstream.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield upstream
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
