"""Malformed requests for the chaos test."""

import random
from collections.abc import Callable, Sequence
from typing import Final

from benchmarks.chaos_http import new_address, request

PATHS: Final = ("/chat", "/search", "/v1/chat/completions", "/ui/chat", "/mcp")


def invalid_body(
    name: str, body: bytes, **changes: str
) -> Callable[[random.Random], tuple[str, bytes]]:
    """Return a factory of well-formed requests with an invalid body."""

    def make(rng: random.Random) -> tuple[str, bytes]:
        address = new_address(rng)
        path = changes.get("path") or rng.choice(PATHS)
        kind = changes.get("kind", "application/json")
        return name, request(changes.get("method", "POST"), path, body, address=address, kind=kind)

    return make


def noise(rng: random.Random) -> tuple[str, bytes]:
    return "noise", rng.randbytes(rng.randint(1, 300)) + b"\r\n\r\n"


def flipped_bytes(rng: random.Random) -> tuple[str, bytes]:
    data = bytearray(request("POST", "/chat", b'{"question": "When?"}', address="192.0.2.1"))
    for _ in range(rng.randint(1, 5)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return "flipped_bytes bytes", bytes(data)


MALFORMED: Final[Sequence[Callable[[random.Random], tuple[str, bytes]]]] = (
    noise,
    flipped_bytes,
    invalid_body("broken JSON", b'{"question": "When'),
    invalid_body("deep", b'{"question": ' + b"[" * 100_000),
    invalid_body("deep and closed", b"[" * 5_000 + b"]" * 5_000),
    invalid_body("huge", b'{"question": "' + b"a" * 400_000 + b'"}'),
    invalid_body("long", b'{"question": "' + b"a" * 5_000 + b'"}'),
    invalid_body("wrong types", b'{"question": 7, "query": [], "k": "five", "session_id": {}}'),
    invalid_body("null", b"null"),
    invalid_body("list", b"[1, 2]"),
    invalid_body("not UTF-8", b'{"question": "\xff\xfe", "query": "\xff"}'),
    invalid_body("lone surrogate", b'{"question": "\\ud800 tide", "query": "\\ud800 tide"}'),
    invalid_body("batch", b"[" + b'{"jsonrpc": "2.0"},' * 10_000 + b"{}]", path="/mcp"),
    invalid_body("no headers", b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}', path="/mcp"),
    invalid_body("wrong messages", b'{"messages": [{"role": "user", "content": [7]}, 7]}'),
    invalid_body("no question", b"", path="/ask?q=%20&page=%ff", method="GET"),
    invalid_body("NUL", b'{"question": "a\\u0000b", "query": "a\\u0000b"}'),
    invalid_body("out of range", b'{"question": "tide", "query": "tide", "k": 1e400}'),
    invalid_body("bad session", b'{"question": "tide", "session_id": "../../etc"}', path="/chat"),
    invalid_body("no JSON", b"question=tide", kind="application/x-www-form-urlencoded"),
    invalid_body("odd charset", b'{"question": "tide"}', kind="application/json; charset=rot13"),
    invalid_body("unknown path", b"{}", path="/" + "a" * 5_000),
    invalid_body("odd path", b"", path="/%ff%00..%2f..%2fetc", method="GET"),
    invalid_body("odd query", b"", path="/search?q=%ff%00&k=-1&k=2", method="GET"),
    invalid_body("wrong method", b"{}", method="PUT"),
    invalid_body("no method", b"{}", method="BREW"),
    invalid_body("no admin", b'{"force_reindex": true}', path="/ingest"),
    invalid_body("no status", b"", path="/ingest/status?task_id=none", method="GET"),
    lambda rng: ("half a body", request("POST", "/chat", b"{" * 40, address="192.0.2.2")[:-7]),
    lambda rng: (
        "endless chunks",
        b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + b"ffff\r\n%b\r\n" % (b"a" * 65_535) * 6,
    ),
    lambda rng: (
        "two lengths",
        b"POST /chat HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ),
    lambda rng: ("large head", b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n"),
)
