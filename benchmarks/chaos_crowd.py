"""The readers of the chaos run together: what they ask about, and what came of it."""

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
"""Of so many words of the book that a secret more does not make them foreign to it."""


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
            self.sessions.put_nowait(self.secret())

    def secret(self) -> str:
        """One that no session has."""
        return f"secret{self.draw.getrandbits(48):012x}"

    def topic(self) -> str:
        return self.draw.choice(TOPICS)

    def chat(self, address: str = "", **fields: object) -> bytes:
        """The request of a reader whom no limit knows yet, unless an `address` is given."""
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
