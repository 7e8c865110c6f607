"""Conversations in memory: limited in number, size and age, and lost on restart by design."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, Protocol
from uuid import uuid4

import msgspec
from cachetools import TTLCache

SESSION_SECONDS = 30 * 60
_MAX_SESSIONS = 10_000
_SESSION_BYTES = 3_000
"""Size that the limit counts with. A longer session counts as several."""
MAX_EXCHANGES = 3
_MIN_ID_CHARACTERS = 16
_MIN_DISTINCT_CHARACTERS = 6
_MAX_MESSAGE_CHARACTERS = 4_000


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["user", "assistant"]
    content: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[Message, ...]).decode


class Sessions(Protocol):
    """Store of the last exchanges of each conversation, by `conversation_key`. Never raises."""

    def __len__(self) -> int:
        """Number of sessions in the memory of this process."""

    async def history(self, key: str) -> tuple[Message, ...]:
        """Questions and answers, oldest first; empty for an unknown one."""

    async def remember(self, key: str, question: str, answer: str) -> None:
        """Append a complete exchange atomically, and restart the session's expiry."""


class MemorySessions:
    """Sessions of one process. The least recently used is evicted first."""

    def __init__(
        self,
        *,
        max_sessions: int = _MAX_SESSIONS,
        seconds: float = SESSION_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # As bytes: one emoji makes a str four times as large.
        self._histories: TTLCache[str, bytes] = TTLCache(
            max_sessions * _SESSION_BYTES,
            seconds,
            timer=clock,
            getsizeof=lambda history: max(_SESSION_BYTES, len(history)),
        )

    def __len__(self) -> int:
        return len(self._histories)

    async def history(self, key: str) -> tuple[Message, ...]:
        return self._history(key)

    async def remember(self, key: str, question: str, answer: str) -> None:
        history = (*self._history(key), *exchange_of(question, answer))
        self._histories[key] = _encode(history[-2 * MAX_EXCHANGES :])

    def _history(self, key: str) -> tuple[Message, ...]:
        history = self._histories.get(key)
        return _decode(history) if history is not None else ()


def exchange_of(question: str, answer: str) -> tuple[Message, Message]:
    """The two messages of an exchange, truncated to what is kept."""
    return (
        Message("user", question[:_MAX_MESSAGE_CHARACTERS]),
        Message("assistant", answer[:_MAX_MESSAGE_CHARACTERS]),
    )


def recent_messages(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The last messages of a conversation that its client keeps, truncated as a session is."""
    return tuple(
        Message(each.role, each.content[:_MAX_MESSAGE_CHARACTERS])
        for each in messages[-2 * MAX_EXCHANGES :]
    )


def conversation_key(reader: str, session_id: str) -> str:
    """The key of a conversation in `Sessions`: only `reader` can continue it.

    Empty for an id that others could guess, so that nothing is kept.
    """
    if len(session_id) < _MIN_ID_CHARACTERS or len(set(session_id)) < _MIN_DISTINCT_CHARACTERS:
        return ""
    return blake2b(f"{reader} {session_id}".encode(), digest_size=16).hexdigest()


def new_session_id() -> str:
    return str(uuid4())
