"""Conversations, kept in memory and lost on restart by design: bounded in number, size and time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from uuid import uuid4

from cachetools import TTLCache

SESSION_SECONDS = 30 * 60
MAX_SESSIONS = 10_000
MAX_EXCHANGES = 3
MAX_MESSAGE_CHARACTERS = 4_000


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["user", "assistant"]
    content: str


class Sessions:
    """The last exchanges of each conversation. The one used longest ago goes first."""

    def __init__(
        self,
        *,
        max_sessions: int = MAX_SESSIONS,
        seconds: float = SESSION_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._histories: TTLCache[str, tuple[Message, ...]] = TTLCache(
            max_sessions, seconds, timer=clock
        )

    def __len__(self) -> int:
        return len(self._histories)

    def history(self, session_id: str) -> tuple[Message, ...]:
        """Oldest first, question and answer in turn; empty for a session that is not known."""
        return self._histories.get(session_id, ())

    def remember(self, session_id: str, question: str, answer: str) -> None:
        """Append a finished exchange, whole or not at all, and begin the session's time anew."""
        exchange = (
            Message("user", question[:MAX_MESSAGE_CHARACTERS]),
            Message("assistant", answer[:MAX_MESSAGE_CHARACTERS]),
        )
        history = (*self.history(session_id), *exchange)
        self._histories[session_id] = history[-2 * MAX_EXCHANGES :]


def new_session_id() -> str:
    return str(uuid4())
