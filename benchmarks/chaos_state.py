"""Shared state of the chaos test's clients: questions, sessions, statistics and problems."""

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from benchmarks.chaos_http import new_address, request
from benchmarks.load_interfaces import INTERFACES, UPSTREAM

SESSIONS: Final = 120
EXPECTED: Final = (200, 400, 401, 404, 405, 408, 411, 413, 414, 415, 429, 431, 501, 502, 503, 504)
TOPICS: Final = (
    "Is it so that the tide turns every six hours and the water rises four metres at spring tide",
    "Why is a boat moored in the harbour with two lines and a spring at the quay",
    "Why do three fenders hang at the side of the quay, not two fenders",
    "Does the current in the entrance run at three knots when the tide falls",
    "Is the harbour office open from eight to six, each day that the harbour is open",
)
"""Many words of the book, so that an added secret does not make a question unanswerable."""


@dataclass
class ChaosState:
    """The server's port, the clients' sessions, and all observations so far."""

    port: int
    rng: random.Random
    problems: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    """Last events of streams, and modes of JSON answers."""
    remembered: int = 0
    """Answers with the secret of an earlier question."""
    keep_alive: bool = True
    """Keep some connections alive. The server then notices late that they were closed."""
    stopping: bool = False
    """SIGTERM was sent, so open connections may break."""
    sessions: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    """One secret per session. A client takes a secret while it uses the session."""

    def __post_init__(self) -> None:
        for _ in range(SESSIONS):
            self.sessions.put_nowait(self.new_secret())

    def new_secret(self) -> str:
        """Return a secret that no session has."""
        return f"secret{self.rng.getrandbits(48):012x}"

    def topic(self) -> str:
        return self.rng.choice(TOPICS)

    def chat(self, address: str = "", **fields: object) -> bytes:
        """Return a chat request, from a new client address by default."""
        body = json.dumps(fields).encode()
        data = request("POST", "/chat", body, address=address or new_address(self.rng))
        persistent = self.keep_alive and self.rng.random() < 0.5
        return data.replace(b"Connection: close\r\n", b"") if persistent else data

    def ask(self, question: str) -> tuple[str, bytes]:
        """Return an interface at random and its request, from a new client address."""
        name = self.rng.choice([each for each in INTERFACES if each != UPSTREAM])
        (data,) = INTERFACES[name](question)
        sender = f"\r\nX-Forwarded-For: {new_address(self.rng)}\r\nConnection: close\r\n"
        return name, data.replace(b"\r\n", sender.encode(), 1)

    def report(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)

    def record(self, kind: str, status: int, body: bytes = b"") -> None:
        self.statuses[f"{kind} {status}"] += 1
        if status not in EXPECTED:
            self.report(f"{kind}: status {status} {body[:200]!r}")
