"""Shared state of the chaos clients: topics, sessions, counts and problems."""

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from benchmarks.chaos_wire import any_address, request

SESSIONS: Final = 120
EXPECTED: Final = (200, 400, 401, 404, 405, 408, 411, 413, 414, 415, 429, 431, 501, 502, 503, 504)
TOPICS: Final = (
    "Is it so that the tide turns every six hours and the water rises four metres at spring tide",
    "Why is a boat moored in the harbour with two lines and a spring at the quay",
    "Why do three fenders hang at the side of the quay, not two fenders",
    "Does the current in the entrance run at three knots when the tide falls",
    "Is the harbour office open from eight to six, each day that the harbour is open",
)
"""Long enough that an added secret does not make the question unanswerable."""


@dataclass
class Crowd:
    """Shared state of all clients."""

    port: int
    draw: random.Random
    problems: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    remembered: int = 0
    """Answers that contained the secret of an earlier question."""
    lingering: bool = True
    """Whether some connections are kept alive; the server notices their end later."""
    stopping: bool = False
    """Whether the server was told to stop, so that connections may break."""
    sessions: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    """The secrets of idle sessions. A client takes one while it asks."""

    def __post_init__(self) -> None:
        for _ in range(SESSIONS):
            self.sessions.put_nowait(self.secret())

    def secret(self) -> str:
        """Return a new secret."""
        return f"secret{self.draw.getrandbits(48):012x}"

    def topic(self) -> str:
        return self.draw.choice(TOPICS)

    def chat(self, address: str = "", **fields: object) -> bytes:
        """Build a chat request, from a new client address unless `address` is given."""
        body = json.dumps(fields).encode()
        data = request("POST", "/chat", body, address=address or any_address(self.draw))
        lingers = self.lingering and self.draw.random() < 0.5
        return data.replace(b"Connection: close\r\n", b"") if lingers else data

    def problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)

    def saw(self, kind: str, status: int, body: bytes = b"") -> None:
        self.statuses[f"{kind} {status}"] += 1
        if status not in EXPECTED:
            self.problem(f"{kind}: status {status} {body[:200]!r}")
