"""Logging as text or JSON lines, never with a reader's words.

Lines written while a request is handled carry its id. Configured keys, and anything that looks like
a key, are redacted.
"""

import logging
import re
import secrets
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import msgspec

from lib.masking import REDACTED, key_redactor
from lib.settings import Settings

_access_log = logging.getLogger("access")

_KEY_PATTERN = re.compile(r"(?i)\bbearer\s++[^\s'\",]++|\bsk-[A-Za-z0-9_-]{4,}+")
_OWN_LOGGERS = ("access", "handlers", "lib", "quire")
"""Only these log at DEBUG: there, libraries log whole requests, with keys and questions."""
_VERBOSE_LOGGERS = ("httpx", "httpx2", "markdown_it")
"""They log each request or each rule."""
_LOGGED_ROUTES = ("/chat", "/search", "/ingest", "/ingest/archive")
"""Routes whose successful requests are logged at INFO; others at DEBUG."""

_Redact = Callable[[str], str]


@dataclass(slots=True)
class AccessRecord:
    """The access-log fields of one request, filled in while it is handled."""

    id: str
    method: str
    reader: str = "-"
    """A pseudonym that lasts a day (`DailyPseudonyms`), or the name of a key."""
    route: str = "other"
    """The URL rule, never the path, which may contain a reader's words."""
    status: int = 0
    seconds: float = 0.0
    mode: str = ""
    """The answer's mode (`lib.events.Done.mode`), "cached", or why it was interrupted."""
    first: float | None = None
    """Seconds to the first token."""
    tokens: int = 0
    call_id: int | str | None = None
    """The id of a JSON-RPC call, for the error that ends it. It is not logged."""
    when_over: Callable[[str], None] | None = None
    """Called at the end of the request with the code of the error that ended it early, or "" if the
    reader left."""


current_request: ContextVar[AccessRecord | None] = ContextVar("current_request", default=None)
"""The request being handled, also in its threads."""


def configure_logging(settings: Settings) -> None:
    """Log to stderr in the configured format."""
    handler = logging.StreamHandler()
    formatter = _JsonFormatter if settings.log_format == "json" else _TextFormatter
    handler.setFormatter(formatter(_redactor(settings)))
    handler.addFilter(_is_not_send_warning)
    logging.root.handlers = [handler]
    level = logging.getLevelNamesMapping()[settings.log_level]
    logging.root.setLevel(max(logging.INFO, level))
    for name in _OWN_LOGGERS:
        logging.getLogger(name).setLevel(level if level < logging.INFO else logging.NOTSET)
    for name in _VERBOSE_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.root.level))


def _is_not_send_warning(record: logging.LogRecord) -> bool:
    """False for asyncio's warning about each write to a closed connection."""
    return record.name != "asyncio" or record.msg != "socket.send() raised exception."


def _redactor(settings: Settings) -> _Redact:
    """A function that replaces configured keys and strings that look like keys."""
    redact_keys = key_redactor(settings.secrets)

    def redact(text: str) -> str:
        return _KEY_PATTERN.sub(REDACTED, redact_keys(text))

    return redact


class _TextFormatter(logging.Formatter):
    """`2025-01-31 12:00:00,000 INFO lib.ingest: the message id=...`, then the traceback."""

    def __init__(self, redact: _Redact) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._redact = redact

    def formatMessage(self, record: logging.LogRecord) -> str:
        # A line break in a value could forge a line.
        line = super().formatMessage(record).replace("\r", "\\r").replace("\n", "\\n")
        current = current_request.get()
        return f"{line} id={current.id}" if current else line

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(super().format(record))


class _JsonFormatter(logging.Formatter):
    """One object per line: `time`, `level`, `logger`, `message`, and if present `id`, the fields of
    an access line, and `exception`."""

    def __init__(self, redact: _Redact) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": self._redact(record.getMessage()),
        }
        if current := current_request.get():
            line["id"] = current.id
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self._redact(self.formatException(record.exc_info))
        return msgspec.json.encode(line).decode()


def write_access(done: AccessRecord) -> None:
    """Log a finished request: `POST /chat 200 generated 1.92s first 0.24s ...`."""
    level = logging.INFO if done.route in _LOGGED_ROUTES or done.status >= 400 else logging.DEBUG
    if not _access_log.isEnabledFor(level):
        return
    parts = (
        f"{done.method} {done.route} {done.status}",
        done.mode,
        f"{done.seconds:.2f}s",
        "" if done.first is None else f"first {done.first:.2f}s",
        f"{done.tokens} tokens" if done.tokens else "",
        f"reader={done.reader}",
    )
    record: dict[str, Any] = {
        "method": done.method,
        "route": done.route,
        "status": done.status,
        "mode": done.mode or None,
        "seconds": round(done.seconds, 3),
        "first_seconds": None if done.first is None else round(done.first, 3),
        "tokens": done.tokens,
        "reader": done.reader,
    }
    _access_log.log(level, "%s", " ".join(filter(None, parts)), extra={"fields": record})


class DailyPseudonyms:
    """Pseudonyms for addresses, by a secret that is replaced every day.

    Without a secret, all addresses could be hashed to find one.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._day = -1
        self._secret = b""

    def name(self, address: str) -> str:
        """Eight hexadecimal digits."""
        day = int(self._clock() // 86_400)
        if day != self._day:
            self._day, self._secret = day, secrets.token_bytes(16)
        return blake2b(address.encode(), key=self._secret, digest_size=4).hexdigest()
