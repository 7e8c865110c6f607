"""The question log: what readers asked and how it was answered, in an SQLite file beside the index.

It is off unless `QUESTION_LOG` says for how long to keep entries. It holds no address, key, session
id or user agent: only what `LoggedQuestion` lists, with personal data masked (`lib.masking`).

One thread writes, in batches, so that an answer never waits for the disk. Everyone else reads
through connections of their own, which see a consistent state (WAL). Another process may read and
write the same file.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from lib.errors import NotFound

_T = TypeVar("_T")

FILE_NAME: Final = "questions.sqlite3"
"""In the folder `QDRANT_PATH`, with two more files of SQLite while it is open."""

NO_LOG: Final = "There is no question log. Set QUESTION_LOG=30d to keep one."

_BUSY_SECONDS: Final = 5.0
"""Wait so long for another process that writes."""

Outcome = Literal["answered", "refused", "declined", "failed", "left", "small_talk"]
"""answered: by the model or with quotes. refused: no passage seemed to answer, so the model was not
asked. declined: the model found no answer in the passages. failed: an error. left: the reader left
before the end."""

SCHEMA_VERSION: Final = 1
SCHEMA: Final = """
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
    position INTEGER NOT NULL,     -- from 1, best first
    place_id INTEGER NOT NULL REFERENCES places,
    start_char INTEGER NOT NULL,   -- in the file
    end_char INTEGER NOT NULL,
    score REAL NOT NULL,
    cited INTEGER NOT NULL,        -- 0: only retrieved
    PRIMARY KEY (question_id, position)
) WITHOUT ROWID;
CREATE INDEX passages_by_place ON passages (place_id);
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
    heading: str
    """Chapter, section and heading (`lib.ranking.join_headings`)."""
    url: str | None
    start_char: int
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
    """Of a question without a good answer, if it was embedded and nothing in it was masked."""
    vector_model: str = ""


class LogState(msgspec.Struct, frozen=True, kw_only=True):
    """What the log holds, and whether it can be written."""

    bytes: int
    questions: int
    oldest: int | None
    """Time of the oldest entry, in milliseconds since 1970."""
    lost: int
    """Entries that were not written since the start."""
    problem: str | None
    """Why nothing can be written or read now."""


class LogReader:
    """Reads the log of this or another process. Nothing is created."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def read(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run `query` in a thread with a read-only connection, in one transaction.

        The connection's rows are `sqlite3.Row`. Raises `NotFound` if there is no log, and another
        `QuireError` if it cannot be read or `query` takes too long.
        """
        return await asyncio.to_thread(self._read, query)

    def _read(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        with closing(self._connect()) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("BEGIN")
            return query(connection)

    def _connect(self) -> sqlite3.Connection:
        if not self.path.is_file():
            return self._without_file()
        address = f"{self.path.resolve().as_uri()}?mode=ro"
        return sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)

    def _without_file(self) -> sqlite3.Connection:
        raise NotFound(NO_LOG)


class QuestionLog(LogReader):
    """Writes the log in one thread. Without a disk, entries are lost with a warning."""

    def __init__(self, path: Path, *, days: int, max_bytes: int) -> None:
        super().__init__(path)
        self._days = days
        self._max_bytes = max_bytes
        self._thread = ThreadPoolExecutor(1, "question-log")
        self._connection: sqlite3.Connection | None = None

    def _without_file(self) -> sqlite3.Connection:
        """An empty log: the file is created for the first entry."""
        connection = sqlite3.connect(":memory:")
        connection.executescript(SCHEMA)
        return connection

    def add(self, entry: LoggedQuestion) -> None:
        """Queue an entry. Takes microseconds."""
        self._thread.submit(self._write, partial(_insert, entry))

    def vote(self, answer: int, vote: str, reason: str | None, note: str | None) -> None:
        """Queue a reader's vote on an answer that was added before. `note` is masked already."""
        self._thread.submit(self._write, partial(_vote, answer, vote, reason, note))

    async def write(self, change: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run `change` in the writing thread, in a transaction of its own. Raises its errors."""
        return await asyncio.wrap_future(self._thread.submit(self._write, change))

    async def state(self) -> LogState:
        """Describe the log. Raises nothing."""
        questions, oldest = await self.read(
            lambda connection: tuple(
                connection.execute("SELECT count(*), min(asked_at) FROM questions").fetchone()
            )
        )
        size = self.path.stat().st_size if self.path.is_file() else 0
        return LogState(bytes=size, questions=questions, oldest=oldest, lost=0, problem=None)

    async def flush(self) -> None:
        """Write everything queued so far, without the usual delay of half a second."""
        await asyncio.wrap_future(self._thread.submit(lambda: None))

    async def close(self) -> None:
        """Write what is queued, and close the file."""
        await self.flush()
        await asyncio.to_thread(self._thread.shutdown)
        if self._connection:
            self._connection.close()

    def _write(self, change: Callable[[sqlite3.Connection], _T]) -> _T:
        if self._connection is None:
            self._connection = _open(self.path)
        with self._connection:
            return change(self._connection)


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        connection.executescript(SCHEMA + f"PRAGMA user_version = {SCHEMA_VERSION};")
    return connection


def _insert(entry: LoggedQuestion, connection: sqlite3.Connection) -> None:
    columns = msgspec.structs.asdict(entry)
    for name in ("passages", "vector", "vector_model"):
        del columns[name]
    columns["folded"] = fold(entry.question)
    names = ", ".join(columns)
    values = ", ".join(f":{name}" for name in columns)
    inserted = connection.execute(f"INSERT INTO questions ({names}) VALUES ({values})", columns)
    question = inserted.lastrowid
    for position, each in enumerate(entry.passages, 1):
        place = (each.file_path, each.heading, each.url or "")
        connection.execute(
            "INSERT OR IGNORE INTO places (file_path, heading, url) VALUES (?, ?, ?)", place
        )
        connection.execute(
            "INSERT INTO passages SELECT ?, ?, id, ?, ?, ?, ? FROM places"
            " WHERE file_path = ? AND heading = ? AND url = ?",
            (question, position, each.start_char, each.end_char, each.score, each.cited, *place),
        )
    if entry.vector:
        connection.execute(
            "INSERT INTO vectors VALUES (?, ?, ?)", (question, entry.vector_model, entry.vector)
        )


def _vote(
    answer: int, vote: str, reason: str | None, note: str | None, connection: sqlite3.Connection
) -> None:
    connection.execute(
        "UPDATE questions SET vote = ?, reason = ?, note = ?, folded = folded || ' ' || ?"
        " WHERE answer = ?",
        (vote, reason, note, fold(note or ""), answer),
    )


def fold(text: str) -> str:
    """Prepare a text for full-text search: without case, marks and the width of characters."""
    return text.casefold()


def pack_vector(vector: npt.NDArray[np.float32]) -> bytes:
    """Round a vector to int8, the largest number of which is 127. The cosines stay."""
    largest = max(float(np.abs(vector).max()), 1e-12)
    packed: bytes = np.rint(vector * (127 / largest)).astype(np.int8).tobytes()
    return packed
