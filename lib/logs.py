"""What is written down: lines for a person or JSON for programs, and never a reader's words.

Every line that is written while a request is handled carries that request's id. Configured keys,
and whatever looks like one, are replaced before anything leaves the process.
"""

import logging
import re
import secrets
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import msgspec

from lib.settings import Settings

log = logging.getLogger("access")

REDACTED = "[redacted]"
SHORTEST_SECRET = 4
"""Characters; a shorter key would black out half of every line, and is guessed anyway."""
KEY_SHAPES = re.compile(r"(?i)\bbearer\s+[^\s'\",]+|\bsk-[A-Za-z0-9_-]{4,}")
CHATTY = ("httpx", "httpx2", "markdown_it")
"""A line for each request, or for each rule."""
NOTABLE = ("/chat", "/search", "/ingest", "/ingest/archive")
"""Routes whose every request is worth a line."""
DAY = 86_400

Redact = Callable[[str], str]


@dataclass(slots=True)
class Exchange:
    """A request and what became of it, filled in by whoever knows."""

    id: str
    method: str
    reader: str = "-"
    """Who asked, as a name that tells nothing about them and lasts a day."""
    route: str = "other"
    """The rule that matched, never the path: that may hold a reader's words."""
    status: int = 0
    seconds: float = 0.0
    mode: str = ""
    """How it was answered (`lib.events.Ending.mode`, cached), or what broke it off."""
    first: float | None = None
    """Seconds to the first piece of text."""
    tokens: int = 0


exchange: ContextVar[Exchange | None] = ContextVar("exchange", default=None)
"""The request that is being handled, also in the threads that work for it."""


def configure_logging(settings: Settings) -> None:
    """One handler, to stderr, in the form that the settings ask for."""
    handler = logging.StreamHandler()
    form = JsonLines if settings.log_format == "json" else TextLines
    handler.setFormatter(form(redactor(settings)))
    handler.addFilter(says_more_than_left)
    logging.root.handlers = [handler]
    logging.root.setLevel(settings.log_level)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.root.level))


def says_more_than_left(record: logging.LogRecord) -> bool:
    """Not of what asyncio warns for each piece that is sent to a reader who has gone."""
    return record.name != "asyncio" or record.msg != "socket.send() raised exception."


def redactor(settings: Settings) -> Redact:
    """Replaces every configured key, and what has the shape of one."""
    known: set[str] = set()
    for each in fields(settings):
        if each.metadata.get("secret"):
            value = getattr(settings, each.name)
            for entry in [value] if isinstance(value, str) else value:
                known |= {entry, entry.partition(":")[2]}  # a reader's key may have a name
    # The longer first: one key may begin like another.
    named = sorted((key for key in known if len(key) >= SHORTEST_SECRET), key=len, reverse=True)
    keys = re.compile("|".join(map(re.escape, named))) if named else None

    def redact(text: str) -> str:
        text = keys.sub(REDACTED, text) if keys else text
        return KEY_SHAPES.sub(REDACTED, text)

    return redact


class TextLines(logging.Formatter):
    """`2025-01-31 12:00:00,000 INFO lib.ingest: the message id=...`, tracebacks below."""

    def __init__(self, redact: Redact) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._redact = redact

    def formatMessage(self, record: logging.LogRecord) -> str:
        # A line break from outside could else forge a line.
        line = super().formatMessage(record).replace("\r", "\\r").replace("\n", "\\n")
        current = exchange.get()
        return f"{line} id={current.id}" if current else line

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(super().format(record))


class JsonLines(logging.Formatter):
    """One object a line: `time`, `level`, `logger`, `message`, and where there are any `id`, the
    fields of an access line, `exception`."""

    def __init__(self, redact: Redact) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": self._redact(record.getMessage()),
        }
        if current := exchange.get():
            line["id"] = current.id
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self._redact(self.formatException(record.exc_info))
        return msgspec.json.encode(line).decode()


def write_access(done: Exchange) -> None:
    """The line of a request that is over: `POST /chat 200 generated 1.92s first 0.24s ...`."""
    level = logging.INFO if done.route in NOTABLE or done.status >= 400 else logging.DEBUG
    if not log.isEnabledFor(level):
        return
    parts = [done.method, done.route, str(done.status), done.mode, f"{done.seconds:.2f}s"]
    if done.first is not None:
        parts.append(f"first {done.first:.2f}s")
    if done.tokens:
        parts.append(f"{done.tokens} tokens")
    parts.append(f"reader={done.reader}")
    told: dict[str, Any] = {
        "method": done.method,
        "route": done.route,
        "status": done.status,
        "mode": done.mode or None,
        "seconds": round(done.seconds, 3),
        "first_seconds": None if done.first is None else round(done.first, 3),
        "tokens": done.tokens,
        "reader": done.reader,
    }
    log.log(level, "%s", " ".join(filter(None, parts)), extra={"fields": told})


class DayNames:
    """Names for addresses: the same for a day, and then no longer, by a secret that is thrown
    away. Without it all addresses could be tried until one fits."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._day = -1
        self._secret = b""

    def name(self, address: str) -> str:
        """Eight hexadecimal digits."""
        day = int(self._clock() // DAY)
        if day != self._day:
            self._day, self._secret = day, secrets.token_bytes(16)
        return blake2b(address.encode(), key=self._secret, digest_size=4).hexdigest()
