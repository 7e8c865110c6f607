"""Malformed requests for the chaos test."""

import random
from collections.abc import Callable, Sequence
from typing import Final

from benchmarks.chaos_wire import any_address, request


def mistaken(
    name: str, body: bytes, **changes: str
) -> Callable[[random.Random], tuple[str, bytes]]:
    """Make a generator of well-formed requests with an invalid body."""

    def make(draw: random.Random) -> tuple[str, bytes]:
        address = any_address(draw)
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
