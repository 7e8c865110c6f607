"""How the load and chaos tests ask through each interface, and read its answers."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

HAS_TEXT: Final = re.compile(
    rb'"(?:content|delta|message)":"[^"]|(?:^|\n)[0-9a-f]+\r\n(?!data: |: |\r\n)'
)
"""Matches events with text, of all interfaces and of the upstream, and chunks of Markdown."""
_LINK: Final = re.compile(r"(\[\d+\])\([^)\s]*\)")
_SOURCES: Final = "\n## Sources\n"
"""Begins the end of an answer in Markdown."""
_MCP_VERSION: Final = "2026-07-28"

Exchange = tuple[bytes, ...]
"""Requests, sent in sequence on one connection. The response to the last one is a stream."""


def _request(path: str, body: Any = None, headers: str = "") -> bytes:
    """Encode a request: POST with a body, else GET. Each of the `headers` ends with CRLF."""
    content = b"" if body is None else msgspec.json.encode(body)
    if content:
        headers += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    return (
        f"{'POST' if content else 'GET'} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n"
    ).encode() + content


def _completions(question: str) -> bytes:
    messages = [{"role": "user", "content": question}]
    return _request(
        "/v1/chat/completions", {"model": "quire", "messages": messages, "stream": True}
    )


def _ui(question: str) -> bytes:
    message = {"id": "1", "role": "user", "parts": [{"type": "text", "text": question}]}
    return _request("/ui/chat", {"id": "1", "messages": [message], "trigger": "submit-message"})


def _mcp(question: str) -> bytes:
    meta = {
        "progressToken": 1,
        "io.modelcontextprotocol/protocolVersion": _MCP_VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": "ask", "arguments": {"question": question}, "_meta": meta}
    return _request(
        "/mcp",
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params},
        "Accept: application/json, text/event-stream\r\n"
        f"MCP-Protocol-Version: {_MCP_VERSION}\r\nMcp-Method: tools/call\r\nMcp-Name: ask\r\n",
    )


UPSTREAM: Final = "upstream"
INTERFACES: Final[Mapping[str, Callable[[str], Exchange]]] = {
    UPSTREAM: lambda question: (
        _request("/v1/embeddings", {"input": [question]}),
        _request("/v1/chat/completions", {"messages": [], "stream": True}),
    ),
    "chat": lambda question: (_request("/chat", {"question": question}),),
    "completions": lambda question: (_completions(question),),
    "ui": lambda question: (_ui(question),),
    "ask": lambda question: (_request(f"/ask?q={quote(question)}"),),
    "mcp": lambda question: (_mcp(question),),
}
"""The requests of a question to the upstream itself, and through each interface of the server."""


def find_problem(received: bytes, answer: str) -> str:
    """Return the problem with an answer, or an empty string."""
    head, _, body = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        return f"status {head[9:12].decode()}" if head else "no answer"
    kind = "markdown" if b"\r\ncontent-type: text/markdown" in head else "events"
    said, problem = read_answer(kind, b"".join(_dechunked(body)))
    if problem:
        return problem
    right = _LINK.sub(r"\1", said).strip() == answer.strip()
    return "" if right else "other words"


def read_answer(kind: str, content: bytes) -> tuple[str, str]:
    """Return the text of an answer, and its problem or an empty string.

    `kind` contains markdown, or it is a stream of events. `content` is the body.
    """
    if "markdown" in kind:
        said, sources, _ = content.decode().partition(_SOURCES)
        ended = bool(sources)
    else:
        said, ended = "", False
        for event in _events(content):
            match event:
                case (
                    {"type": "chunk", "content": str(text)}
                    | {"choices": [{"delta": {"content": str(text)}}]}
                    | {"type": "text-delta", "delta": str(text)}
                    | {"method": "notifications/progress", "params": {"message": str(text)}}
                ):
                    said += text
                case {"type": "done", "mode": str(mode)} if mode != "generated":
                    return said, f"mode {mode}"
                case {"type": "error"} | {"error": {}} | {"result": {"isError": True}}:
                    return said, f"error {event.get('code', event)}"
                case (
                    {"type": "done" | "finish"}
                    | {"choices": [{"finish_reason": "stop"}]}
                    | {"result": {}}
                ):
                    ended = True
    return said, "" if ended else "broken off"


def _dechunked(body: bytes) -> Iterator[bytes]:
    at = 0
    while (end := body.find(b"\r\n", at)) > 0:
        size = int(body[at:end], 16)
        yield body[end + 2 : end + 2 + size]
        at = end + 2 + size + 2


def _events(content: bytes) -> Iterable[Any]:
    for line in content.split(b"\n"):
        if line.startswith(b"data: {"):
            yield msgspec.json.decode(line[6:])
