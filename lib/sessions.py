"""Conversations: bounded in number, size and time, and lost on restart by design."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import uuid4

import msgspec
from cachetools import TTLCache

SESSION_SECONDS = 30 * 60
MAX_SESSIONS = 10_000
SESSION_BYTES = 3_000
"""A longer one takes the place of several."""
MAX_EXCHANGES = 3
MAX_MESSAGE_CHARACTERS = 4_000


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["user", "assistant"]
    content: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[Message, ...]).decode


class Sessions(Protocol):
    """The last exchanges of each conversation. Never raises."""

    def __len__(self) -> int:
        """How many are in the memory of this process."""

    async def history(self, session_id: str) -> tuple[Message, ...]:
        """Oldest first, question and answer in turn; empty for a session that is not known."""

    async def remember(self, session_id: str, question: str, answer: str) -> None:
        """Append a finished exchange, whole or not at all, and begin the session's time anew."""


class MemorySessions:
    """Of one process. The one used longest ago goes first."""

    def __init__(
        self,
        *,
        max_sessions: int = MAX_SESSIONS,
        seconds: float = SESSION_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # As bytes: one emoji makes a text in memory four times as large.
        self._histories: TTLCache[str, bytes] = TTLCache(
            max_sessions * SESSION_BYTES,
            seconds,
            timer=clock,
            getsizeof=lambda history: max(SESSION_BYTES, len(history)),
        )

    def __len__(self) -> int:
        return len(self._histories)

    async def history(self, session_id: str) -> tuple[Message, ...]:
        return self._history(session_id)

    async def remember(self, session_id: str, question: str, answer: str) -> None:
        history = (*self._history(session_id), *exchange_of(question, answer))
        self._histories[session_id] = _encode(history[-2 * MAX_EXCHANGES :])

    def _history(self, session_id: str) -> tuple[Message, ...]:
        history = self._histories.get(session_id)
        return _decode(history) if history is not None else ()


def exchange_of(question: str, answer: str) -> tuple[Message, Message]:
    """As much of both as is kept."""
    return (
        Message("user", question[:MAX_MESSAGE_CHARACTERS]),
        Message("assistant", answer[:MAX_MESSAGE_CHARACTERS]),
    )


def new_session_id() -> str:
    return str(uuid4())
