"""Write the question log in one thread, in batches, so that no answer waits for the disk.

Changes are queued in memory and committed together, about twice a second. While the file cannot be
written (full disk, lock, read-only folder), they stay in the queue, writing is retried after a
pause, and one warning is logged. Changes beyond the queue's limit are dropped and counted. A
damaged file is moved aside. The thread starts with the first change, or to maintain an existing
file.
"""

import asyncio
import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from lib.errors import LogUnavailable, QuireError, Stopping, TimedOut

_T = TypeVar("_T")
_Change = Callable[[sqlite3.Connection], Any]

_log = logging.getLogger(__name__)

BUSY_SECONDS: Final = 5.0
"""How long to wait for another process that writes."""
MAINTENANCE_SECONDS: Final = 3_600.0
_BATCH_SECONDS: Final = 0.5
"""How long a change waits for others to join its transaction."""
_SLICE_SECONDS: Final = 0.2
"""Maintenance yields to changes after this time."""
_PAUSE_SECONDS: Final = 15.0
"""Pause before the next attempt while the file cannot be written."""
_MAX_QUEUED: Final = 5_000
_WAIT_SECONDS: Final = 10.0
"""Timeout of callers, because a disk can hang."""
_CLOSE_SECONDS: Final = 1.0
"""The server exits within five seconds."""

_LOCKED: Final = "Another process keeps the file locked."
_CLOSED: Final = "The file cannot be opened. Check the owner of the file and of its folder."
_DAMAGED: Final = "The file is damaged."
_PROBLEMS: Final = {
    sqlite3.SQLITE_FULL: "The disk is full.",
    sqlite3.SQLITE_IOERR: "The disk reports an error.",
    sqlite3.SQLITE_READONLY: "The file or its folder is read-only.",
    sqlite3.SQLITE_PERM: _CLOSED,
    sqlite3.SQLITE_CANTOPEN: _CLOSED,
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_PROTOCOL: _LOCKED,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}


def for_caller(error: Exception) -> Exception:
    """Translate an error of the file or its disk to `LogUnavailable`. Others stay as they are."""
    problem = None if isinstance(error, QuireError) else _describe(error)
    return LogUnavailable(f"The question log cannot be used. {problem}") if problem else error


def _describe(error: Exception) -> str | None:
    """Describe a problem of the file or its disk. None if the error has another cause."""
    if isinstance(error, LogUnavailable):
        return error.message
    if isinstance(error, OSError):
        return f"{os.strerror(error.errno or 0)}."
    return _PROBLEMS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)  # the primary code


def pragma(connection: sqlite3.Connection, name: str) -> int:
    """Read a numeric pragma, such as "page_count"."""
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def file_bytes(connection: sqlite3.Connection) -> int:
    """Size of the file without the write-ahead log."""
    return pragma(connection, "page_count") * pragma(connection, "page_size")


@dataclass(frozen=True, slots=True)
class _Awaited:
    """A change in a transaction of its own, or None for a flush."""

    change: _Change | None
    done: "Future[Any]"


class LogWriter:
    """The writing thread and its queue.

    `prepare` readies a new connection in autocommit mode. `maintain` is a generator of short
    transactions. It runs after each batch; hourly, and at the start if there is a file, its second
    argument is True.
    """

    def __init__(
        self,
        path: Path,
        *,
        prepare: Callable[[sqlite3.Connection], None],
        maintain: Callable[[sqlite3.Connection, bool], Iterator[None]],
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self.damaged = path.with_name(f"{path.name}.damaged")
        """Where a damaged file is kept."""
        self.bytes = 0
        """Size of the file after the last batch."""
        self.problem: str | None = None
        """Why nothing can be written now."""
        self._prepare = prepare
        self._maintain = maintain
        self._elapsed = elapsed
        self._queue: SimpleQueue[_Change | _Awaited | None] = SimpleQueue()
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self._ended: Future[None] = Future()
        self._closing = False
        self._warned = False
        self._lost_before = 0
        # Changed by the event loop:
        self._queued = 0
        self._dropped = 0
        # Changed by the thread, which alone uses the rest:
        self._finished = 0
        self._refused = 0
        self._pending: deque[_Change | _Awaited] = deque()
        self._flushes: list[Future[Any]] = []
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._maintaining: Iterator[None] | None = None
        self._maintenance_at = self._retry_at = elapsed()
        self._moved_at = float("-inf")

    @property
    def written(self) -> int:
        """Changes that were written since the start."""
        return self._finished - self._refused

    @property
    def lost(self) -> int:
        """Changes that were dropped or failed since the start."""
        return self._dropped + self._refused

    @property
    def has_queued(self) -> bool:
        """Whether changes wait to be written."""
        return self._queued > self._finished

    def start(self) -> None:
        """Start the thread. It maintains an existing file first."""
        if self._thread is None and not self._closing:
            thread = threading.Thread(target=self._run, name="question-log", daemon=True)
            with suppress(RuntimeError):  # no more threads: the next change tries again
                thread.start()
                self._thread = thread

    def put(self, change: Callable[[sqlite3.Connection], object]) -> None:
        """Queue a change. Takes microseconds, and never waits or raises."""
        full = self._queued - self._finished >= _MAX_QUEUED
        if full and not self._closing:
            self._warn("The disk does not respond.")
        if full or self._closing:
            self._dropped += 1
            return
        self._queued += 1
        self._queue.put(change)
        if self._thread is None:
            self.start()

    async def run(self, change: Callable[[sqlite3.Connection], _T]) -> _T:
        """Write `change` now, in a transaction of its own, and return its result.

        Raises its errors, `LogUnavailable` and `TimedOut`.
        """
        result: _T = await self._wait_for(change)
        return result

    async def flush(self) -> None:
        """Try to write queued changes now, then run maintenance."""
        if self._thread is not None:
            with suppress(QuireError):
                await self._wait_for(None)

    async def close(self) -> None:
        """Write queued changes and close the file, unless the disk hangs."""
        running, self._closing = self._thread and not self._closing, True
        if not running:
            return
        self._queue.put(None)
        self._hurry.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await asyncio.wrap_future(self._ended)
        if left := self._queued - self._finished:
            _log.warning("Entries of the question log that were not written: %d", left)

    async def _wait_for(self, change: _Change | None) -> Any:
        if self._closing:
            raise Stopping("The server is shutting down.")
        awaited = _Awaited(change, Future())
        self._queue.put(awaited)
        self._hurry.set()
        self.start()
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                return await asyncio.wrap_future(awaited.done)
        except TimeoutError:
            raise TimedOut("The question log could not be written in time.") from None

    def _warn(self, problem: str) -> None:
        """Log the start of an outage, once."""
        if not self._warned:
            self._warned = True
            self._lost_before = self.lost
            _log.warning(
                "Cannot write the question log: %s Answers are not affected. "
                "Up to %d entries wait in memory; further ones are lost.",
                problem,
                _MAX_QUEUED,
            )

    # In the thread

    def _run(self) -> None:
        going = True
        while going:
            going = self._collect()
            awaited = any(isinstance(each, _Awaited) for each in self._pending)
            if awaited or not going or self._elapsed() >= self._retry_at:
                self._attempt(going)
        self._disconnect()
        if self._ended.set_running_or_notify_cancel():
            self._ended.set_result(None)

    def _collect(self) -> bool:
        """Take all queued changes; wait for the first, then briefly for more. False at the end."""
        behind = self._maintaining is not None
        due = self._retry_at
        if not behind and not self._pending:
            due = max(due, self._maintenance_at)
        items: list[_Change | _Awaited | None] = []
        with suppress(Empty):
            items.append(self._queue.get(timeout=max(0.0, due - self._elapsed())))
            if not behind:
                self._hurry.wait(_BATCH_SECONDS)
            self._hurry.clear()
            while True:
                items.append(self._queue.get_nowait())
        self._pending.extend(each for each in items if each is not None)
        return None not in items

    def _attempt(self, maintain: bool) -> None:
        try:
            used = self._write_pending()
            if maintain:
                used |= self._maintain_a_while()
            if used:
                self._recover()
        except Exception as error:  # the thread must survive every error
            if self._move_aside(error):
                self._attempt(maintain)
            else:
                self._pause(error)
        for each in self._flushes:
            each.set_result(None)
        self._flushes.clear()

    def _write_pending(self) -> bool:
        """Write pending changes. Returns whether the file was used."""
        used = False
        while self._pending:
            first = self._pending[0]
            if not isinstance(first, _Awaited):
                self._write_batch()
                used = True
            else:
                self._pending.popleft()
                used = self._write_awaited(first) or used
        return used

    def _write_batch(self) -> None:
        """Write changes in one transaction. A change that fails does not affect the others."""
        batch = list(takewhile(lambda each: not isinstance(each, _Awaited), self._pending))
        failed: Exception | None = None
        refused = 0
        with self._transaction() as connection:
            for change in batch:
                assert not isinstance(change, _Awaited)
                connection.execute("SAVEPOINT change")
                try:
                    change(connection)
                except Exception as error:  # a bug must not lose the other entries
                    if _describe(error):
                        raise
                    connection.execute("ROLLBACK TO change")
                    failed = error
                    refused += 1
                connection.execute("RELEASE change")
        for _ in batch:
            self._pending.popleft()
        self._refused += refused
        self._finished += len(batch)
        if failed:  # its text may contain a reader's words
            _log.error("Entries of the question log lost: %d (%s)", refused, type(failed).__name__)

    def _write_awaited(self, awaited: _Awaited) -> bool:
        if not awaited.done.set_running_or_notify_cancel():
            return False
        if awaited.change is None:
            self._flushes.append(awaited.done)
            return False
        try:
            with self._transaction() as connection:
                result = awaited.change(connection)
        except Exception as error:  # whatever it is, the caller gets it
            awaited.done.set_exception(for_caller(error))
            if _describe(error):
                raise
        else:
            awaited.done.set_result(result)
        return True

    def _maintain_a_while(self) -> bool:
        """Run maintenance for `_SLICE_SECONDS`. Returns whether the file was used."""
        now = self._elapsed()
        due = now >= self._maintenance_at
        if self._maintaining is None:
            if self._connection is None and not (due and self.path.is_file()):
                if due:
                    self._maintenance_at = now + MAINTENANCE_SECONDS
                return False
            self._maintaining = self._maintain(self._connected(), due)
        until = time.perf_counter() + _SLICE_SECONDS
        for _ in self._maintaining:
            if time.perf_counter() > until:
                break
        else:
            self._maintaining = None
            if due:
                self._maintenance_at = now + MAINTENANCE_SECONDS
        if self._connection is not None:
            self.bytes = file_bytes(self._connection)
        return True

    def _recover(self) -> None:
        """End an outage."""
        self.problem = None
        if self._warned:
            self._warned = False
            lost = self.lost - self._lost_before
            _log.warning("The question log can be written again. Entries lost: %d", lost)

    def _pause(self, error: Exception) -> None:
        """Start or extend an outage."""
        self._disconnect()
        self._retry_at = self._elapsed() + _PAUSE_SECONDS
        problem = _describe(error)
        if problem is None:
            _log.error("unexpected error of the question log", exc_info=error)
        self.problem = problem or f"{type(error).__name__}."
        self._warn(self.problem)
        for each in self._pending:
            if isinstance(each, _Awaited) and each.done.set_running_or_notify_cancel():
                if each.change is None:
                    self._flushes.append(each.done)
                else:
                    each.done.set_exception(for_caller(error))
        self._pending = deque(each for each in self._pending if not isinstance(each, _Awaited))

    def _move_aside(self, error: Exception) -> bool:
        """Move a damaged file aside. Returns whether writing can continue with a new one."""
        now = self._elapsed()
        # A disk that damages every new file must not overwrite the first damaged one.
        if _describe(error) != _DAMAGED or now - self._moved_at < MAINTENANCE_SECONDS:
            return False
        self._disconnect()
        if self._file == self._identify():  # otherwise, another process was first
            try:
                self.path.replace(self.damaged)
                for suffix in ("-wal", "-shm"):
                    self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            except OSError:
                return False
            _log.warning(
                "The question log was damaged. It is kept as %s, and a new one was started.",
                self.damaged.name,
            )
        self._moved_at = now
        return True

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connected()
        # IMMEDIATE: after a read, SQLite would not wait for another process.
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
            self.bytes = file_bytes(connection)
        except BaseException:  # rolled back and raised again
            with suppress(sqlite3.Error):  # SQLite may have rolled back itself
                connection.execute("ROLLBACK")
            raise

    def _connected(self) -> sqlite3.Connection:
        """The connection to the file, which is created if it is missing."""
        if self._connection is not None and self._file != self._identify():
            self._disconnect()  # deleted or replaced
        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch(mode=0o600)  # SQLite's other files get the same mode
            self._file = self._identify()
            with ExitStack() as unless_prepared:
                connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
                unless_prepared.callback(connection.close)
                self._prepare(connection)
                unless_prepared.pop_all()
            self._connection = connection
        return self._connection

    def _disconnect(self) -> None:
        self._maintaining = None
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _identify(self) -> tuple[int, int] | None:
        """Device and inode of the file."""
        with suppress(FileNotFoundError):
            found = self.path.stat()
            return found.st_dev, found.st_ino
        return None
