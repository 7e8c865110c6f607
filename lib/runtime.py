"""Work of some milliseconds on the event loop, cut in slices between which the others have a turn.

A thread is no cheaper place for work in Python: it and the event loop want the same interpreter,
and hand it to and fro. With a hundred streams open, that cost three times the work itself.

Work that is done once and shared by all who wait for it.

How long the event loop is held up, and what has to be looked at a few times a second.

Memory that is not needed any more, given back to the system; and what stays.

A C library keeps what was freed for the next time it is asked. After loading a model or ingesting a
book that is tens of megabytes, for which there is no next time.

Files that are whole or not there.
"""

import asyncio
import ctypes
import gc
import mmap
import os
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from time import perf_counter
from typing import Any, Final, Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """The result of `begin()`, started by the first `get()` and shared by the others.

    A caller that is cancelled does not cancel it for the rest. After a failure, which all who
    waited see, the next `get()` begins anew.
    """

    def __init__(self, begin: Callable[[], Awaitable[T]]) -> None:
        self._begin = begin
        self._task: asyncio.Task[T] | None = None

    @property
    def done(self) -> bool:
        """Whether the result is there."""
        return self.value is not None

    @property
    def value(self) -> T | None:
        """The result if it is there."""
        task = self._task
        if task is None or not task.done() or task.cancelled() or task.exception():
            return None
        return task.result()

    async def get(self) -> T:
        if self._task is None or (self._task.done() and self.value is None):
            self._task = asyncio.ensure_future(self._run())
        return await asyncio.shield(self._task)

    async def _run(self) -> T:
        return await self._begin()


CONCURRENT_JOBS: Final = 1
"""Piece of work. Were a hundred answers checked together, since they ended together, each turn of
the loop would take a hundred slices; so those who wait for their first word go first."""
SLICE_SECONDS: Final = 0.001

_places: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def run_cooperatively(work: Generator[Any, None, T], seconds: float = SLICE_SECONDS) -> T:
    """What `work` returns. It runs for `seconds`, and then to its next `yield`, at a time."""
    async with _places.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(CONCURRENT_JOBS)):
        until = perf_counter() + seconds
        while True:
            try:
                next(work)
            except StopIteration as end:
                result: T = end.value
                return result
            if perf_counter() >= until:
                await asyncio.sleep(0)
                until = perf_counter() + seconds


def run_to_end(work: Generator[Any, None, T]) -> T:
    """The same without an event loop."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result


BEAT_SECONDS = 0.25
REMEMBERED_SECONDS = 60.0


class LoopMonitor:
    """Wakes every quarter of a second. How late it wakes is how late everything else does."""

    def __init__(self) -> None:
        self._late: deque[float] = deque([0.0], int(REMEMBERED_SECONDS / BEAT_SECONDS))

    @property
    def lag(self) -> float:
        """Seconds, at the last beat."""
        return self._late[-1]

    @property
    def worst(self) -> float:
        """Seconds, in the last minute."""
        return max(self._late)

    async def beat(self, *each: Callable[[], None]) -> None:
        """Go on until cancelled, calling `each` at every beat."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + BEAT_SECONDS
            await asyncio.sleep(BEAT_SECONDS)
            self._late.append(max(0.0, loop.time() - due))
            for call in each:
                call()


def trim_heap() -> None:
    """Give freed memory back, where the C library can (glibc). Takes some milliseconds."""
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def freeze_heap() -> None:
    """Leave out of the search for garbage what is there now and stays for good: to look through it
    again and again would stop the event loop for 10 ms each time."""
    gc.collect()
    gc.freeze()


def release_pages(mapping: mmap.mmap) -> None:
    """Let go of a file's pages that were read; those that are needed again are read again."""
    if hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step that a crash cannot halve."""
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
