"""The server-sent events of OpenAI's chat completions, parsed with no object for a token.

With a hundred readers at once, those would cost more than all the rest.
"""

import logging
from typing import Any

import msgspec

log = logging.getLogger(__name__)

LONGEST_LINE = 1_000_000  # bytes; a token's line has some hundreds
MOST_TOKENS = 100_000_000


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class Usage(msgspec.Struct):
    """What the server says that an answer took."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    usage: Usage | None = None
    error: Any = None


_decode_event = msgspec.json.Decoder(_Event).decode


def credible(usage: Usage) -> bool:
    """Whether an answer can have taken so many tokens: what is told is paid from the budget."""
    told = (usage.prompt_tokens, usage.completion_tokens)
    return all(tokens is None or 0 <= tokens <= MOST_TOKENS for tokens in told)


class EventReader:
    """What the lines of a stream say, as far as they have come."""

    __slots__ = ("_rest", "failed", "finish", "usage")

    def __init__(self) -> None:
        self._rest = b""
        self.finish: str | None = None
        """Why the answer ended."""
        self.usage = Usage()
        self.failed = False
        """The server said so, or sends a line without end; nothing is read any more."""

    def feed(self, data: bytes) -> str:
        """The text in the lines that are whole now."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        self.failed = len(self._rest) > LONGEST_LINE
        texts: list[str] = []
        for line in lines:
            event = read_line(line)
            if event is None:
                continue
            if event.error is not None:
                self.failed = True
                break
            self.usage = event.usage or self.usage
            for choice in event.choices[:1]:
                if choice.delta.content:
                    texts.append(choice.delta.content)
                self.finish = choice.finish_reason or self.finish
        return "".join(texts)


def read_line(line: bytes) -> _Event | None:
    """The event of one line of the stream; None for all that carries none."""
    if not line.startswith(b"data:"):
        return None
    payload = line[5:].strip()
    if payload in (b"", b"[DONE]"):
        return None
    try:
        return _decode_event(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        log.warning("the language model sent a line that is no event; it was left out")
        return None
