"""The question log: what readers asked and how it was answered, in an SQLite file beside the index.

Off unless `QUESTION_LOG` sets how long to keep entries. It holds the fields of `LoggedQuestion`,
with personal data masked (`lib.masking`), and no address, key, session id or user agent.

One thread writes (`lib.question_log_writer`). Each reader has a connection of its own and sees a
consistent snapshot (WAL). Other processes may read and write the same file.
"""

import asyncio
import logging
import math
import os
import sqlite3
import time
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from lib.errors import LogUnavailable, NotFound, QuireError, Stopping, TimedOut
from lib.languages import normalize
from lib.masking import mask
from lib.question_log_writer import (
    BUSY_SECONDS,
    MAINTENANCE_SECONDS,
    LogWriter,
    file_bytes,
    for_caller,
    pragma,
)

_T = TypeVar("_T")

_log = logging.getLogger(__name__)

FILE_NAME: Final = "questions.sqlite3"
"""In the folder `QDRANT_PATH`, with two more files of SQLite while it is open."""

NO_LOG: Final = "There is no question log. Set QUESTION_LOG=30d to keep one."

_READERS: Final = 2
"""Concurrent queries. Further ones wait."""
_READ_SECONDS: Final = 10.0
_STEPS: Final = 20_000
"""SQLite instructions between checks of the time limit, about a millisecond."""
_DAY_MS: Final = 24 * 3_600_000
_CLOCK_SECONDS: Final = 60.0
"""If the wall clock and the monotonic clock differ by more, the wall clock was changed."""
_FILL: Final = 0.9
"""A file over its limit is reduced to this share of the limit."""
_JOURNAL_BYTES: Final = 4_000_000
"""SQLite's write-ahead log is truncated to this size."""
_DELETED: Final = 100
"""Entries deleted per transaction, which takes some milliseconds."""
_FREED: Final = 250
"""Pages of the file freed per transaction."""

Outcome = Literal["answered", "refused", "declined", "failed", "left", "small_talk"]
"""answered: by the model or with quotes. refused: no passage seemed to answer, so the model was not
asked. declined: the model found no answer in the passages. failed: an error. left: the reader left
before the end."""

_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE questions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    asked_at INTEGER NOT NULL,     -- milliseconds since 1970
    answer INTEGER,                -- key of the answer's id, for its vote; null for small talk
    conversation TEXT NOT NULL,    -- random, as long-lived as the conversation
    question TEXT NOT NULL,        -- masked
    folded TEXT NOT NULL,          -- the question and the note for full-text search
    language TEXT NOT NULL,        -- a name in lib/languages.toml
    interface TEXT NOT NULL,       -- the route: /chat, /mcp, ...
    outcome TEXT NOT NULL,
    mode TEXT NOT NULL,            -- generated, extractive, cached or none
    fallback TEXT NOT NULL,        -- why quotes replace the model's answer
    code TEXT NOT NULL,            -- of the error, if it failed
    stands_alone INTEGER NOT NULL, -- 0 for a follow-up that means little by itself
    supported INTEGER NOT NULL,    -- sentences by their check
    unsupported INTEGER NOT NULL,
    unknown INTEGER NOT NULL,
    first_ms INTEGER,              -- to the first token; null if it was not streamed
    total_ms INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    embedding_tokens INTEGER NOT NULL,
    cost_usd REAL,                 -- null if the price is unknown
    vote TEXT,                     -- up or down
    reason TEXT,
    note TEXT                      -- masked
);
CREATE INDEX questions_by_time ON questions (asked_at);
CREATE UNIQUE INDEX questions_by_answer ON questions (answer) WHERE answer IS NOT NULL;
-- Pages and headings of the book, each stored once.
CREATE TABLE places (
    id INTEGER PRIMARY KEY,
    file_path TEXT NOT NULL,
    heading TEXT NOT NULL,         -- chapter > section > heading
    url TEXT NOT NULL,             -- empty without one
    UNIQUE (file_path, heading, url)
);
CREATE TABLE passages (
    question_id INTEGER NOT NULL REFERENCES questions ON DELETE CASCADE,
    position INTEGER NOT NULL,     -- from 1, in the order of citations, or nearest first
    place_id INTEGER NOT NULL REFERENCES places,
    start_char INTEGER NOT NULL,   -- in the file
    end_char INTEGER NOT NULL,
    score REAL NOT NULL,
    cited INTEGER NOT NULL,        -- 0: only retrieved
    PRIMARY KEY (question_id, position)
) WITHOUT ROWID;
CREATE INDEX passages_by_place ON passages (place_id, cited);
-- Embeddings of questions that `lib.gaps` compares.
CREATE TABLE vectors (
    question_id INTEGER PRIMARY KEY REFERENCES questions ON DELETE CASCADE,
    model TEXT NOT NULL,           -- `Embedder.model_id`
    vector BLOB NOT NULL           -- of `pack_vector`
);
"""


class LoggedPassage(msgspec.Struct, frozen=True, kw_only=True):
    """A passage that an answer cites, or that was nearest to a question without an answer."""

    file_path: str
    heading: Annotated[str, msgspec.Meta(description="Chapter > section > heading.")]
    url: str | None
    start_char: Annotated[int, msgspec.Meta(description="Offset in the file, in characters.")]
    end_char: int
    score: float
    cited: bool


class LoggedQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A question and how it was answered. The columns of the table of questions explain each."""

    asked_at: int
    answer: int | None
    conversation: str
    question: str
    language: str
    interface: str
    outcome: Outcome
    mode: str = "none"
    fallback: str = ""
    code: str = ""
    stands_alone: bool = True
    supported: int = 0
    unsupported: int = 0
    unknown: int = 0
    first_ms: int | None = None
    total_ms: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    embedding_tokens: int = 0
    cost_usd: float | None = 0.0
    passages: tuple[LoggedPassage, ...] = ()
    vector: bytes = b""
    """Of a question without a good answer, if it was embedded. It is not stored if something in the
    question was masked."""
    vector_model: str = ""


class _LogState(msgspec.Struct, frozen=True, kw_only=True):
    """Size and state of the log."""

    bytes: int
    questions: int
    oldest: int | None
    """Time of the oldest entry, in milliseconds since 1970."""
    lost: int
    """Entries lost since the start."""
    problem: str | None
    """Why the log cannot be written or read now."""


class LogReader:
    """Reads the log of this or another process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Not the event loop's own threads: a few long queries would occupy all of them.
        self._readers = ThreadPoolExecutor(_READERS, "question-log-reader")
        self._closing = False

    async def read(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run `query` in a thread with a read-only connection, in one transaction.

        The connection's rows are `sqlite3.Row`. Raises `NotFound` if there is no log,
        `LogUnavailable`, and `TimedOut` after 10 s.
        """
        if self._closing:
            raise Stopping("The server is shutting down.")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, query)

    def _read(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        until = time.monotonic() + _READ_SECONDS
        try:
            with closing(self._open() or self._without_file()) as connection:
                connection.row_factory = sqlite3.Row
                # One damaged byte must not make the whole log unreadable.
                connection.text_factory = partial(str, encoding="utf-8", errors="replace")
                connection.set_progress_handler(
                    lambda: self._closing or time.monotonic() > until, _STEPS
                )
                connection.execute("BEGIN")
                return query(connection)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                raise TimedOut(
                    "Reading the question log took too long. Choose a shorter period."
                ) from None
            raise for_caller(error) from error

    def _open(self) -> sqlite3.Connection | None:
        """Open the file. Returns None if it is missing or empty."""
        if not self.path.is_file():
            return None
        address = f"{self.path.resolve().as_uri()}?mode=ro"
        changes = self.path.with_name(f"{self.path.name}-wal")
        if not os.access(self.path.parent, os.W_OK) and not changes.exists():
            address += "&immutable=1"  # a copy on a read-only disk: SQLite can create no lock
        with ExitStack() as unless_kept:
            connection = sqlite3.connect(
                address, uri=True, timeout=BUSY_SECONDS, isolation_level=None
            )
            unless_kept.callback(connection.close)
            if _version(connection):
                unless_kept.pop_all()
                return connection
        return None

    def _without_file(self) -> sqlite3.Connection:
        raise NotFound(NO_LOG)


class QuestionLog(LogReader):
    """Writes the log. Problems of the disk do not affect answers (`LogWriter`).

    Before the first entry there is no file, and `read` sees an empty log.
    """

    def __init__(
        self,
        path: Path,
        *,
        days: int,
        max_bytes: int,
        mask: Callable[[str], str] = mask,
        clock: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`mask` replaces personal data in a question or a note before it is written."""
        super().__init__(path)
        self._mask = mask
        self._days = days
        self._max_bytes = max_bytes
        self._clock = clock
        self._elapsed = elapsed
        self._offset = clock() - elapsed()
        self._clock_unchanged_since = elapsed()
        self._erasing = False
        self._writer = LogWriter(path, prepare=_prepare, maintain=self._maintain, elapsed=elapsed)

    def start(self) -> None:
        """Start to expire the entries of earlier runs."""
        if self.path.is_file():
            self._writer.start()

    def add(self, entry: LoggedQuestion) -> None:
        """Queue an entry, which is masked later. Takes microseconds, and never waits or raises."""
        self._writer.put(partial(_insert, self._mask, entry))

    def vote(self, answer: int, vote: str, reason: str | None, note: str | None) -> None:
        """Queue a reader's vote on an answer that was added before. The first vote counts."""
        self._writer.put(partial(_vote, self._mask, answer, vote, reason, note))

    async def read(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """As `LogReader.read`. Questions that wait to be written are written first."""
        if self._writer.has_queued and not self.failing:
            await self.flush()
        return await super().read(query)

    async def delete(self, question: int) -> bool:
        """Delete a question with its passages and vector, and overwrite them on disk.

        Returns whether it existed. Raises the errors of `write`.
        """
        statement = "DELETE FROM questions WHERE id = ?"
        deleted = await self.write(lambda each: each.execute(statement, (question,)).rowcount)
        if deleted:
            self._erasing = True
            await self.flush()
        return bool(deleted)

    async def write(self, change: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run `change` in the writing thread, after queued changes, in a transaction of its own.

        Raises its errors, `LogUnavailable` and `TimedOut`.
        """
        return await self._writer.run(change)

    async def flush(self) -> None:
        """Try to write everything queued so far, without the usual delay of half a second."""
        await self._writer.flush()

    async def close(self) -> None:
        """Write queued changes and close the file, unless the disk hangs."""
        self._closing = True
        await self._writer.close()
        self._readers.shutdown(wait=False, cancel_futures=True)

    async def state(self) -> _LogState:
        """Describe the log. Never raises."""
        problem = self._writer.problem
        questions, oldest = 0, None
        query = "SELECT count(*), min(asked_at) FROM questions"
        try:
            questions, oldest = await self.read(lambda each: each.execute(query).fetchone())
        except QuireError as error:
            problem = problem or error.message
        return _LogState(
            bytes=self.bytes, questions=questions, oldest=oldest, lost=self.lost, problem=problem
        )

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return self._writer.bytes

    @property
    def written(self) -> int:
        """Entries and votes that were written since the start."""
        return self._writer.written

    @property
    def lost(self) -> int:
        """Entries and votes that were lost since the start."""
        return self._writer.lost

    @property
    def failing(self) -> bool:
        """Whether entries cannot be written now."""
        return self._writer.problem is not None

    def _without_file(self) -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:")
        connection.executescript(_SCHEMA)
        return connection

    def _maintain(self, connection: sqlite3.Connection, hourly: bool) -> Iterator[None]:
        """Delete expired entries and shrink a file over its limit, in short transactions."""
        if hourly and not self._clock_changed():
            yield from self._expire(connection)
        if file_bytes(connection) > self._max_bytes:
            yield from _delete_oldest(connection, _FILL * self._max_bytes)
        freed = False
        while pragma(connection, "freelist_count"):
            connection.execute(f"PRAGMA incremental_vacuum({_FREED})").fetchall()
            freed = True
            yield
        if freed:  # only a checkpoint shrinks the file
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        if self._erasing:  # the write-ahead log still has the deleted question
            connection.execute("PRAGMA busy_timeout = 0")
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            connection.execute(f"PRAGMA busy_timeout = {1e3 * BUSY_SECONDS:.0f}")
            self._erasing = bool(busy)

    def _clock_changed(self) -> bool:
        """Whether the clock was changed since the last call.

        A clock set forward for a while must not expire the whole log. A computer that slept looks
        the same; the next call, an hour later, decides.
        """
        offset = self._clock() - self._elapsed()
        changed = abs(offset - self._offset) > _CLOCK_SECONDS
        self._offset = offset
        if changed:
            self._clock_unchanged_since = self._elapsed()
            _log.info("The clock was changed. The question log expires old entries in an hour.")
        return changed

    def _expire(self, connection: sqlite3.Connection) -> Iterator[None]:
        now = round(1e3 * self._clock())
        oldest = now - self._days * _DAY_MS
        yield from _repeat(connection, "DELETE FROM questions", "asked_at < ?", oldest)
        # Written while the clock was ahead: they must not live longer than the others. At the
        # start the clock itself may be wrong, until it is set from the network.
        if self._elapsed() - self._clock_unchanged_since >= MAINTENANCE_SECONDS / 2:
            change = f"UPDATE questions SET asked_at = {now}"
            yield from _repeat(connection, change, "asked_at > ?", now)
        _delete_unused_places(connection)
        with suppress(OSError):
            if self._writer.damaged.stat().st_mtime * 1e3 < oldest:
                self._writer.damaged.unlink()


def _prepare(connection: sqlite3.Connection) -> None:
    """Create the schema in a new file, and set the connection's options."""
    connection.row_factory = sqlite3.Row
    _version(connection)
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    _use_wal(connection)
    connection.execute("PRAGMA synchronous = NORMAL")  # kill -9 loses nothing committed
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")  # a deleted question is overwritten
    connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_BYTES}")
    connection.execute("BEGIN IMMEDIATE")  # another process may create it too
    if not _version(connection):
        if connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise LogUnavailable("The file is another program's database.")
        for statement in _SCHEMA.split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log. SQLite does not wait if another process does so too."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _version(connection: sqlite3.Connection) -> int:
    """Version of the schema; 0 before it is created. Raises `LogUnavailable` if it is newer."""
    version = pragma(connection, "user_version")
    if version > _SCHEMA_VERSION:
        raise LogUnavailable("The question log was written by a newer version of Quire.")
    return version


def _delete_oldest(connection: sqlite3.Connection, max_bytes: float) -> Iterator[None]:
    max_pages = max_bytes / pragma(connection, "page_size")
    while pragma(connection, "page_count") - pragma(connection, "freelist_count") > max_pages:
        deleted = connection.execute(
            f"DELETE FROM questions WHERE id IN (SELECT id FROM questions ORDER BY id"
            f" LIMIT {_DELETED})"
        )
        _delete_unused_places(connection)
        if not deleted.rowcount:
            return
        yield


def _repeat(connection: sqlite3.Connection, change: str, where: str, value: int) -> Iterator[None]:
    """Apply `change` to the questions that `where` selects, some at a time."""
    some = f"SELECT id FROM questions WHERE {where} LIMIT {_DELETED}"
    while connection.execute(f"{change} WHERE id IN ({some})", (value,)).rowcount:
        yield


def _delete_unused_places(connection: sqlite3.Connection) -> None:
    connection.execute(
        "DELETE FROM places WHERE NOT EXISTS (SELECT 1 FROM passages WHERE place_id = places.id)"
    )


def _insert(
    mask: Callable[[str], str], entry: LoggedQuestion, connection: sqlite3.Connection
) -> None:
    columns = msgspec.structs.asdict(entry)
    columns["question"] = mask(entry.question)
    for name in ("passages", "vector", "vector_model"):
        del columns[name]
    columns["folded"] = fold(columns["question"])
    names = ", ".join(columns)
    values = ", ".join("?" * len(columns))
    inserted = connection.execute(
        # An entry is retried if the disk reports an error after the commit.
        f"INSERT INTO questions ({names}) VALUES ({values})"
        " ON CONFLICT (answer) WHERE answer IS NOT NULL DO NOTHING",
        [_storable(value) for value in columns.values()],
    )
    if not inserted.rowcount:
        return
    question = inserted.lastrowid
    for position, each in enumerate(entry.passages, 1):
        place = [_storable(value) for value in (each.file_path, each.heading, each.url or "")]
        numbers = [_storable(n) for n in (each.start_char, each.end_char, each.score, each.cited)]
        connection.execute(
            "INSERT OR IGNORE INTO places (file_path, heading, url) VALUES (?, ?, ?)", place
        )
        connection.execute(
            "INSERT INTO passages SELECT ?, ?, id, ?, ?, ?, ? FROM places"
            " WHERE file_path = ? AND heading = ? AND url = ?",
            (question, position, *numbers, *place),
        )
    if entry.vector and columns["question"] == entry.question:
        connection.execute(
            "INSERT INTO vectors VALUES (?, ?, ?)", (question, entry.vector_model, entry.vector)
        )


def _vote(
    mask: Callable[[str], str],
    answer: int,
    vote: str,
    reason: str | None,
    note: str | None,
    connection: sqlite3.Connection,
) -> None:
    note = _storable(mask(note.strip())) if note and not note.isspace() else None
    unvoted = "SELECT question FROM questions WHERE answer = ? AND vote IS NULL"
    found = connection.execute(unvoted, (answer,))
    if question := found.fetchone():
        connection.execute(
            "UPDATE questions SET vote = ?, reason = ?, note = ?, folded = ? WHERE answer = ?",
            (vote, reason, note, fold(f"{question[0]} {note or ''}"), answer),
        )


def _storable(value: Any) -> Any:
    """Replace what SQLite cannot store: lone surrogates, NUL, infinity, long integers."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode().replace("\0", "\ufffd")
    if isinstance(value, int):
        return max(-(2**63), min(value, 2**63 - 1))
    if isinstance(value, float) and not math.isfinite(value):
        return 0.0
    return value


def fold(text: str) -> str:
    """Normalise text for search: remove case, diacritics and full-width forms."""
    if text.isascii():
        return text.casefold()
    decomposed = normalize("NFKD", text)
    # Marks of the classes up to 9 distinguish letters in scripts of India and Japan.
    plain = "".join(c for c in decomposed if unicodedata.combining(c) < 10)
    folded = normalize("NFC", plain.casefold())
    return folded[: 4 * len(text)]  # U+FDFA alone becomes 18 letters


def pack_vector(vector: npt.NDArray[np.float32]) -> bytes:
    """Quantise a vector `(dimension,)` to `dimension` bytes, int8 with a maximum of 127.

    Cosines stay the same up to rounding.
    """
    largest = max(float(np.abs(vector).max()), 1e-12)
    packed: bytes = np.rint(vector * (127 / largest)).astype(np.int8).tobytes()
    return packed
