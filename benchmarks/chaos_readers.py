"""The readers of the chaos run, over plain sockets: good ones, and all that can go wrong with one.

What they see that must never be is a problem of the run; all else is counted.
"""

import asyncio
import json
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.chaos_upstream import AT_LENGTH, SECRET

ADMIN_KEY: Final = "the-admin-key"
SESSIONS: Final = 120
PATIENCE: Final = 90.0
"""Seconds after which a request that is not over counts as hung."""
BROKEN: Final = (ConnectionError, asyncio.IncompleteReadError)
EXPECTED: Final = (200, 400, 401, 404, 405, 408, 411, 413, 414, 415, 429, 431, 501, 502, 503, 504)
TOPICS: Final = (
    "Is it so that the tide turns every six hours and the water rises four metres at spring tide",
    "Why is a boat moored in the harbour with two lines and a spring at the quay",
    "Why do three fenders hang at the side of the quay, not two fenders",
    "Does the current in the entrance run at three knots when the tide falls",
    "Is the harbour office open from eight to six, each day that the harbour is open",
)
"""Of so many words of the book that a secret more does not make them foreign to it."""
FOLLOW_UPS: Final = ("And when does the tide fall?", "And at the quay?", "Tell me more about it.")


@dataclass
class Crowd:
    """Who asks, whom, and what came of it."""

    port: int
    draw: random.Random
    problems: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    remembered: int = 0
    """Answers that held the secret of an earlier question."""
    lingering: bool = True
    """Whether some connections are kept alive: the server then sees late that they were closed."""
    stopping: bool = False
    """Whether the server was told to stop, which may cut what is open."""
    sessions: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    """Secrets, each of one session; who asks in a session holds it."""

    def __post_init__(self) -> None:
        for _ in range(SESSIONS):
            self.sessions.put_nowait(f"secret{self.draw.getrandbits(48):012x}")

    def problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)

    def saw(self, kind: str, status: int, body: bytes = b"") -> None:
        self.statuses[f"{kind} {status}"] += 1
        if status not in EXPECTED:
            self.problem(f"{kind}: status {status} {body[:200]!r}")


@dataclass
class Wire:
    """A connection of a reader."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)

    async def head(self) -> int:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:])
        self.headers = {name.lower(): value.strip() for name, _, value in pairs}
        self.status = int(lines[0].split()[1])
        return self.status

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body. Raises `asyncio.IncompleteReadError` where it is cut."""
        if self.headers.get("transfer-encoding") != "chunked":
            yield await self.reader.readexactly(int(self.headers.get("content-length", 0)))
            return
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            yield await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)

    async def body(self) -> bytes:
        return b"".join([piece async for piece in self.pieces()])


@asynccontextmanager
async def connected(crowd: Crowd, data: bytes = b"", *, buffer: int = 0) -> AsyncIterator[Wire]:
    """A connection on which `data` was sent, aborted at the end."""
    plain = socket.socket()
    if buffer:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    plain.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", crowd.port))
    except OSError:
        plain.close()
        raise
    # With a limit as large as the buffer, who does not read is not read for either.
    reader, writer = await asyncio.open_connection(sock=plain, limit=buffer or 1 << 20)
    writer.write(data)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


def request(
    method: str, path: str, body: bytes = b"", *, address: str = "", kind: str = "application/json"
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: book", f"Content-Length: {len(body)}"]
    lines += ["Connection: close", *[f"Content-Type: {kind}"] * bool(body)]
    lines += [f"X-Forwarded-For: {address}"] * bool(address)
    lines += [f"Authorization: Bearer {ADMIN_KEY}"] * (not address)
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def chat(crowd: Crowd, address: str = "", **fields: object) -> bytes:
    """A question of a reader whom no limit knows yet, unless an `address` is given."""
    if not address:
        address = ".".join(str(crowd.draw.randrange(1, 255)) for _ in range(4))
    data = request("POST", "/chat", json.dumps(fields).encode(), address=address)
    lingers = crowd.lingering and crowd.draw.random() < 0.5
    return data.replace(b"Connection: close\r\n", b"") if lingers else data


def topic(crowd: Crowd) -> str:
    return crowd.draw.choice(TOPICS)


async def asked(crowd: Crowd, secret: str, question: str, *, stream: bool) -> bool:
    """Ask in the session of `secret`; whether the whole exchange will be remembered."""
    data = chat(crowd, question=question, session_id=f"s-{secret}", stream=stream)
    async with connected(crowd, data) as wire:
        status = await wire.head()
        body = await wire.body()
    kind = "stream" if stream else "whole"
    crowd.saw(kind, status, body)
    if status != 200:
        return False
    end, text = (ended if stream else read_whole)(crowd, body)
    found = set(SECRET.findall(text))
    for foreign in found - {secret}:
        crowd.problem(f"{foreign} in the session of {secret}: {text[:200]}")
    if end.get("session_id", f"s-{secret}") != f"s-{secret}":
        crowd.problem(f"{end['session_id']} in the session of {secret}")
    if wire.headers.get("x-session-id") != f"s-{secret}":
        crowd.problem(f"X-Session-Id {wire.headers.get('x-session-id')} for {secret}")
    if end.get("mode") == "generated":
        if secret not in found:
            crowd.problem(f"a generated answer without its secret {secret}: {text[:300]}")
        crowd.remembered += secret not in question
    return end.get("type") != "error"


def ended(crowd: Crowd, body: bytes) -> tuple[dict[str, Any], str]:
    """The last event of a stream and its text. None is a problem, as are several."""
    lines = body.decode().split("\n\n")
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    last = [each for each in events if each["type"] in ("done", "error")]
    if len(last) != 1 or events[-1] is not last[0]:
        crowd.problem(f"a stream with {len(last)} last events: {body[-300:]!r}")
        return {"type": "error"}, ""
    how = last[0].get("mode") or last[0].get("code")
    crowd.ends[f"{last[0]['type']} {how}"] += 1
    return last[0], "".join(each["content"] for each in events if each["type"] == "chunk")


def read_whole(crowd: Crowd, body: bytes) -> tuple[dict[str, Any], str]:
    answer = json.loads(body)
    crowd.ends[f"whole {answer['mode']}"] += 1
    return answer, answer["answer"]


async def converse(crowd: Crowd) -> None:
    """A few turns in one session. Only the first names the secret; what follows leans on it."""
    secret = await crowd.sessions.get()
    try:
        kept = await asked(crowd, secret, f"{topic(crowd)}, {secret}?", stream=True)
        for _ in range(crowd.draw.randrange(3) if kept else 0):
            stream = crowd.draw.random() < 0.7
            await asked(crowd, secret, crowd.draw.choice(FOLLOW_UPS), stream=stream)
    finally:
        crowd.sessions.put_nowait(secret)


async def twins(crowd: Crowd) -> None:
    """Two answers at once in one session."""
    secret = await crowd.sessions.get()
    try:
        both = (f"{topic(crowd)}, {secret}?", f"{topic(crowd)} for {secret}?")
        async with asyncio.TaskGroup() as group:
            for question in both:
                group.create_task(asked(crowd, secret, question, stream=crowd.draw.random() < 0.5))
    finally:
        crowd.sessions.put_nowait(secret)


async def ask_as_all(crowd: Crowd) -> None:
    """A first question that others have asked before, so from the cache."""
    async with connected(crowd, chat(crowd, question=f"{topic(crowd)}?")) as wire:
        status = await wire.head()
        body = await wire.body()
    crowd.saw("common", status, body)
    if status == 200 and SECRET.search(ended(crowd, body)[1]):
        crowd.problem(f"a secret in an answer for all: {body[:300]!r}")


async def leave(crowd: Crowd) -> None:
    """Go at any moment: before the head, in the midst of the answer, or halfway."""
    fields = {"question": f"{topic(crowd)}, secret{crowd.draw.getrandbits(48):012x}?"}
    async with connected(crowd, chat(crowd, **fields)) as wire:
        patience = crowd.draw.choice((0.0, 0.02, 0.2, 1.0))
        try:
            async with asyncio.timeout(patience * crowd.draw.random()):
                crowd.saw("leave", await wire.head())
                async for _ in wire.pieces():
                    pass
        except TimeoutError:
            if crowd.draw.random() < 0.2:
                wire.writer.write_eof()
                await asyncio.sleep(patience)


async def stall(crowd: Crowd) -> None:
    """Ask for much and read nothing of it for a while."""
    question = f"{topic(crowd)}, secret{crowd.draw.getrandbits(48):012x}, {AT_LENGTH}?"
    async with connected(crowd, chat(crowd, question=question), buffer=4096) as wire:
        crowd.saw("stall", await wire.head())
        await asyncio.sleep(crowd.draw.choice((1, 3, 8, 35)) * crowd.draw.random())


async def flood(crowd: Crowd) -> None:
    """More questions at once than one address may ask."""
    address = crowd.draw.choice(("198.51.100.7", "2001:db8:1:2::7"))

    async def one() -> None:
        async with connected(crowd, chat(crowd, address, question=f"{topic(crowd)}?")) as wire:
            status = await wire.head()
            crowd.saw("flood", status, await wire.body())
            if status == 429 and not {"retry-after", "ratelimit-limit"} <= wire.headers.keys():
                crowd.problem(f"a 429 with {dict(wire.headers)}")

    async with asyncio.TaskGroup() as group:
        for _ in range(30):
            group.create_task(one())


async def search(crowd: Crowd) -> None:
    words = crowd.draw.choice(("tide", "how%20many%20fenders", '"the%20quay"', "page:tides%20when"))
    address = ".".join(str(crowd.draw.randrange(1, 255)) for _ in range(4))
    data = request("GET", f"/search?q={words}&k={crowd.draw.randint(1, 50)}", address=address)
    async with connected(crowd, data) as wire:
        status = await wire.head()
        body = await wire.body()
    crowd.saw("search", status, body)
    if status == 200:
        json.loads(body)["passages"]


async def garbage(crowd: Crowd) -> None:
    """Bytes that no reader sends on purpose. Any answer will do but a mistake of the server."""
    name, data = crowd.draw.choice(GARBAGE)(crowd.draw)
    async with connected(crowd, data) as wire:
        try:
            async with asyncio.timeout(5):
                status = await wire.head()
                body = await wire.body()
        except TimeoutError:
            crowd.statuses[f"garbage ({name}) waited for"] += 1
            return
        except (*BROKEN, ValueError, IndexError):
            crowd.statuses[f"garbage ({name}) closed"] += 1
            return
    crowd.saw(f"garbage ({name})", status, body)


def mistaken(
    name: str, body: bytes, **changes: str
) -> Callable[[random.Random], tuple[str, bytes]]:
    """A well-formed request with a body that is wrong."""

    def make(draw: random.Random) -> tuple[str, bytes]:
        address = ".".join(str(draw.randrange(1, 255)) for _ in range(4))
        path = changes.get("path") or draw.choice(("/chat", "/search", "/chat"))
        kind = changes.get("kind", "application/json")
        return name, request(changes.get("method", "POST"), path, body, address=address, kind=kind)

    return make


def noise(draw: random.Random) -> tuple[str, bytes]:
    return "noise", draw.randbytes(draw.randint(1, 300)) + b"\r\n\r\n"


def flipped(draw: random.Random) -> tuple[str, bytes]:
    data = bytearray(request("POST", "/chat", b'{"question": "When?"}', address="192.0.2.1"))
    for _ in range(draw.randint(1, 5)):
        data[draw.randrange(len(data))] = draw.randrange(256)
    return "flipped bytes", bytes(data)


GARBAGE: Final[Sequence[Callable[[random.Random], tuple[str, bytes]]]] = (
    noise,
    flipped,
    mistaken("broken JSON", b'{"question": "When'),
    mistaken("deep", b'{"question": ' + b"[" * 100_000),
    mistaken("deep and closed", b"[" * 5_000 + b"]" * 5_000),
    mistaken("huge", b'{"question": "' + b"a" * 400_000 + b'"}'),
    mistaken("long", b'{"question": "' + b"a" * 5_000 + b'"}'),
    mistaken("wrong types", b'{"question": 7, "query": [], "k": "five", "session_id": {}}'),
    mistaken("null", b"null"),
    mistaken("list", b"[1, 2]"),
    mistaken("not UTF-8", b'{"question": "\xff\xfe", "query": "\xff"}'),
    mistaken("lone surrogate", b'{"question": "\\ud800 tide", "query": "\\ud800 tide"}'),
    mistaken("NUL", b'{"question": "a\\u0000b", "query": "a\\u0000b"}'),
    mistaken("out of range", b'{"question": "tide", "query": "tide", "k": 1e400}'),
    mistaken("bad session", b'{"question": "tide", "session_id": "../../etc"}', path="/chat"),
    mistaken("no JSON", b"question=tide", kind="application/x-www-form-urlencoded"),
    mistaken("odd charset", b'{"question": "tide"}', kind="application/json; charset=rot13"),
    mistaken("unknown path", b"{}", path="/" + "a" * 5_000),
    mistaken("odd path", b"", path="/%ff%00..%2f..%2fetc", method="GET"),
    mistaken("odd query", b"", path="/search?q=%ff%00&k=-1&k=2", method="GET"),
    mistaken("wrong method", b"{}", method="PUT"),
    mistaken("no method", b"{}", method="BREW"),
    mistaken("no admin", b'{"force_reindex": true}', path="/ingest"),
    mistaken("no status", b"", path="/ingest/status?task_id=none", method="GET"),
    lambda draw: ("half a body", request("POST", "/chat", b"{" * 40, address="192.0.2.2")[:-7]),
    lambda draw: (
        "endless chunks",
        b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + b"ffff\r\n%b\r\n" % (b"a" * 65_535) * 6,
    ),
    lambda draw: (
        "two lengths",
        b"POST /chat HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ),
    lambda draw: ("large head", b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n"),
)

Kind = Callable[[Crowd], Awaitable[None]]
SPENDING: Final[Mapping[Kind, int]] = {
    converse: 40,
    twins: 10,
    leave: 20,
    stall: 3,
    flood: 2,
    ask_as_all: 15,
}
OTHERS: Final[Mapping[Kind, int]] = {search: 20, garbage: 25}


async def go_on(crowd: Crowd, may_spend: Callable[[], bool]) -> None:
    """One reader after the other, for ever; those who make the model write only while they may."""
    while True:
        kinds = {**OTHERS, **(SPENDING if may_spend() else {})}
        kind = crowd.draw.choices(list(kinds), list(kinds.values()))[0]
        await guarded(crowd, kind)
        await asyncio.sleep(0.2 * crowd.draw.random())


async def guarded(crowd: Crowd, kind: Kind) -> None:
    """A reader, whose connection breaks only when the server stops, and who waits for so long."""
    name = getattr(kind, "__name__", "a reader")
    try:
        async with asyncio.timeout(PATIENCE):
            await kind(crowd)
    except* TimeoutError:
        crowd.problem(f"{name}: no end after {PATIENCE:.0f} seconds")
    except* (*BROKEN, OSError) as broken:
        if not crowd.stopping:
            crowd.problem(f"{name}: the connection broke: {broken.exceptions[0]!r}")
    except* (ValueError, KeyError) as wrong:
        crowd.problem(f"{name}: {wrong.exceptions[0]!r}")
