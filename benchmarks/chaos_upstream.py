"""Scripted model server of the chaos test: echoes secrets, fails at random, counts tokens.

An answer contains every secret of the prompt, in pieces, so that a client can see which sessions
the prompt came from. A word is a token; the prompt is billed with the first one. The billed tokens
can then be compared with the spending that the server under test reports.
"""

import asyncio
import json
import random
import re
import zlib
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import numpy as np

DIMENSION: Final = 256
SECRET: Final = re.compile(r"secret[0-9a-f]{12}")
SLOWLY: Final = "slowly"
"""A question with this word is answered over minutes."""
AT_LENGTH: Final = "at length"
"""A question with these words gets an answer larger than the socket buffers."""

REFUSALS: Final = (400, 401, 404, 429, 500, 502, 503)
FAULTS: Final = ("status", "drop", "hang", "truncated", "malformed", "error", "half", "no usage")
EMBEDDING_FAULTS: Final = ("status", "drop", "hang", "garbage", "too few")
WORDS: Final = "the tide turns every six hours and the harbour knows it well".split()


class Upstream:
    """State and counters of the server. `rng` chooses faults and lengths."""

    def __init__(self, rng: random.Random) -> None:
        self.base_url = ""
        self.faulty = False
        self.outage = False
        """While set, every request fails."""
        self.billed = 0
        """Tokens of all prompts and answers, including interrupted answers."""
        self.largest_answer = 0
        """Maximum tokens of a prompt and its answer limit."""
        self.chat_requests = 0
        self.open_connections = 0
        self.disconnects = 0
        """Connections that the client closed during a reply."""
        self.faults: Counter[str] = Counter()
        self.mixed_prompts: list[str] = []
        """Prompts with the secrets of several sessions."""
        self._rng = rng

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close the connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = re.search(r"content-length: *(\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(length[1])) if length else b""
        disconnected = asyncio.create_task(reader.read(1))
        reply = asyncio.create_task(self._reply(head.split(" ")[1], body, writer))
        try:
            await asyncio.wait((disconnected, reply), return_when=asyncio.FIRST_COMPLETED)
            self.disconnects += not reply.done()
        finally:
            for task in (disconnected, reply):
                task.cancel()
            await asyncio.gather(disconnected, reply, return_exceptions=True)

    async def _reply(self, path: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        match path:
            case "/v1/chat/completions":
                await self._chat(json.loads(body), writer)
            case "/v1/embeddings":
                await self._embeddings(json.loads(body)["input"], writer)
            case _:
                await whole(writer, 503 if self.outage else 200, {"object": "list", "data": []})

    def _fault(self, kinds: Sequence[str], share: float) -> str:
        if self.outage:
            return self._rng.choice(("status", "drop", "hang"))
        return self._rng.choice(kinds) if self.faulty and self._rng.random() < share else ""

    async def _chat(self, asked: Any, writer: asyncio.StreamWriter) -> None:
        self.chat_requests += 1
        text = " ".join(message["content"] for message in asked["messages"])
        secrets = sorted(set(SECRET.findall(text)))
        if len(secrets) > 1:
            self.mixed_prompts.append(" ".join(secrets))
        prompt, most = len(text) // 4, asked["max_tokens"]
        self.largest_answer = max(self.largest_answer, prompt + most)
        question = text.rpartition("Question: ")[2]
        words = self.answer(secrets, question)[:most]
        fault = "" if SLOWLY in question else self._fault(FAULTS, 0.25)
        if fault:
            self.faults[fault] += 1
        if fault == "status":
            await whole(writer, self._rng.choice(REFUSALS), {"error": {"message": "no"}})
            return
        at = self._rng.randrange(len(words) + 1) if fault else -1
        pace = 0.5 if SLOWLY in question else self._rng.choice((0, 0.005, 0.02, 0.05))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
        writer.write(b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        for place, word in enumerate(words):
            if place == at and await self._fails(fault, writer):
                return
            self.billed += 1 + (prompt if place == 0 else 0)
            await send(writer, chunk({"delta": {"content": word}}))
            await asyncio.sleep(pace)
        if at == len(words) and await self._fails(fault, writer):
            return
        await send(writer, chunk({"delta": {}, "finish_reason": "stop"}))
        if fault != "no usage":
            used = {"prompt_tokens": prompt, "completion_tokens": len(words)}
            await send(writer, event({"choices": [], "usage": used}))
        await send(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _fails(self, fault: str, writer: asyncio.StreamWriter) -> bool:
        """Apply a fault. Returns whether it ends the answer."""
        match fault:
            case "drop":
                writer.transport.abort()
            case "hang":
                await self._hang()
                writer.transport.abort()
            case "truncated":
                writer.write(b"0\r\n\r\n")
                await writer.drain()
            case "error":
                await send(writer, event({"error": {"message": "overloaded"}}))
            case "half":
                await send(writer, b'data: {"choices": [{"delta": {"con')
                writer.transport.abort()
            case "malformed":
                await send(writer, b"data: {broken\n\n: a comment\n\nevent: \xff\n\n")
                return False
            case _:
                return False
        return True

    async def _hang(self) -> None:
        """Hang longer than the timeout of an answer, shorter than that of an ingestion."""
        for _ in range(200):
            if not self.faulty:
                break
            await asyncio.sleep(0.05)

    def answer(self, secrets: Sequence[str], question: str) -> list[str]:
        if AT_LENGTH in question:
            return ["The tide turns. " * 250 for _ in range(250)]
        longest = 400 if SLOWLY in question else 60
        words = [f"{word} " for word in WORDS * 40][: self._rng.randint(5, longest)]
        words[self._rng.randrange(len(words))] += "[1] "
        for secret in secrets:
            place, cut = self._rng.randrange(len(words) + 1), self._rng.randint(1, 17)
            words[place:place] = [" ", secret[:cut], secret[cut:], " "]
        return words

    async def _embeddings(self, texts: Sequence[str], writer: asyncio.StreamWriter) -> None:
        fault = self._fault(EMBEDDING_FAULTS, 0.04)
        if fault:
            self.faults[f"embedding {fault}"] += 1
        rows = [
            {"index": place, "embedding": b64encode(vector(text)).decode()}
            for place, text in enumerate(texts)
        ]
        match fault:
            case "status":
                await whole(writer, self._rng.choice(REFUSALS), {"error": {"message": "no"}})
            case "drop":
                writer.transport.abort()
            case "hang":
                await self._hang()
                writer.transport.abort()
            case "garbage":
                await whole(writer, 200, ["no vectors"])
            case _:
                await whole(writer, 200, {"data": rows[:-1] if fault else rows})


def vector(text: str) -> bytes:
    """Return a `(DIMENSION,) float32` vector of the words of a text, ignoring secrets."""
    counts = np.full(DIMENSION, 1e-3, "<f4")
    for word in re.findall(r"\w+", SECRET.sub("", text.lower())):
        counts[zlib.crc32(word.encode()) % DIMENSION] += 1
    return counts.tobytes()


def event(payload: object) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def chunk(choice: dict[str, object]) -> bytes:
    return event({"choices": [{"index": 0, **choice}]})


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))
    await writer.drain()


async def whole(writer: asyncio.StreamWriter, status: int, body: object) -> None:
    data = json.dumps(body).encode()
    writer.write(
        f"HTTP/1.1 {status} Scripted\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode()
        + data
    )
    await writer.drain()


@asynccontextmanager
async def serving(upstream: Upstream) -> AsyncIterator[None]:
    """Run the server on a free local port."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        upstream.open_connections += 1
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await upstream.handle(reader, writer)
        finally:
            upstream.open_connections -= 1
            tasks.discard(task)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=1024)
    upstream.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
