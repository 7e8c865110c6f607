"""Event loop, memory, files, HTTP and child processes: what several modules need of the system."""

import asyncio
import ctypes
import gc
import mmap
import os
import resource
import signal
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import aiohttp

_T = TypeVar("_T")

_SLICE_SECONDS: Final = 0.001
_TICK_SECONDS = 0.25
_REMEMBERED_SECONDS = 60.0

_NICE: Final = 10
PROGRAM_FOLDER: Final = Path(__file__).parents[1]
"""Working directory of child processes."""

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


class SingleFlight(Generic[_T]):
    """Single flight: concurrent callers share one execution of `begin()`, later ones its result.

    Cancelling a caller does not cancel the others. An exception reaches every waiting caller;
    the next `get()` starts again. `begin()` never returns None.
    """

    def __init__(self, begin: Callable[[], Awaitable[_T]]) -> None:
        self._begin = begin
        self._task: asyncio.Task[_T] | None = None

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def value(self) -> _T | None:
        """The result; None before it is available."""
        task = self._task
        if task is None or not task.done() or task.cancelled() or task.exception():
            return None
        return task.result()

    def start(self) -> "asyncio.Task[_T]":
        """Begin unless it is running or has a result."""
        if self._task is None or (self._task.done() and self.value is None):
            self._task = asyncio.create_task(self._run())
            # Every caller may be gone: mark the exception as retrieved, or asyncio logs it.
            self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._task

    async def get(self) -> _T:
        return await asyncio.shield(self.start())

    async def cancel(self) -> None:
        """Cancel the execution and wait for its end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self) -> _T:
        return await self._begin()


async def run_cooperatively(work: Generator[Any, None, _T], seconds: float = _SLICE_SECONDS) -> _T:
    """Cooperative scheduling: run CPU work on the event loop in slices of about `seconds`.

    A slice ends at the first `yield` of `work` after that time. Returns the generator's value.

    A thread would compete with the event loop for the interpreter lock. With 100 open streams that
    tripled the cost (benchmarks/load.py). One piece of work runs at a time: 100 answers that end
    together would otherwise take 100 slices between two turns of the other tasks.
    """
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        until = perf_counter() + seconds
        while True:
            try:
                next(work)
            except StopIteration as end:
                result: _T = end.value
                return result
            if perf_counter() >= until:
                await asyncio.sleep(0)
                until = perf_counter() + seconds


def run_to_end(work: Generator[Any, None, _T]) -> _T:
    """Run `work` without an event loop and return its value."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: _T = end.value
            return result


class LoopMonitor:
    """Measure the event loop's lag: how late a timer fires, four times a second."""

    def __init__(self) -> None:
        self._lags: deque[float] = deque([0.0], int(_REMEMBERED_SECONDS / _TICK_SECONDS))

    @property
    def lag(self) -> float:
        """Seconds, at the last tick."""
        return self._lags[-1]

    @property
    def worst_lag(self) -> float:
        """Seconds, in the last minute."""
        return max(self._lags)

    async def run(self, *callbacks: Callable[[], None]) -> None:
        """Measure until cancelled; call `callbacks` at every tick."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _TICK_SECONDS
            await asyncio.sleep(_TICK_SECONDS)
            self._lags.append(max(0.0, loop.time() - due))
            for callback in callbacks:
                callback()


def trim_heap() -> None:
    """Return freed memory to the system (glibc only). Takes some milliseconds.

    The allocator keeps tens of megabytes after loading a model or ingesting a book.
    """
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def freeze_heap() -> None:
    """Exclude the current objects from garbage collection.

    A pass over them would block the event loop for 10 ms each time.
    """
    gc.collect()
    gc.freeze()


def release_pages(mapping: mmap.mmap) -> None:
    """Drop a mapped file's pages from memory; the system reads them again when needed."""
    if hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


async def open_http() -> "aiohttp.ClientSession":
    """Open a pool of HTTP connections without timeouts, which callers set."""
    # The import takes 0.1 s: not on the event loop, and only where it is used.
    await asyncio.to_thread(__import__, "aiohttp")
    await asyncio.to_thread(__import__, "encodings.idna")  # used by the first host lookup
    import aiohttp

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
        # A timer reset for each packet costs as much as reading the packet.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5.0),
    )


def network_errors() -> tuple[type[Exception], ...]:
    """The exceptions of a pool from `open_http`."""
    import aiohttp

    return aiohttp.ClientError, TimeoutError, OSError


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the file `path` by `content`, durably and in one step."""
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def child_command(module: str) -> list[str]:
    """The command that runs a module of this program in another process."""
    return [sys.executable, "-W", "ignore", "-m", module]


def child_environment() -> dict[str, str]:
    """The environment of a child process, without the server's keys."""
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with suppress(FileNotFoundError):  # no temporary folder is writable
        environment["TMPDIR"] = tempfile.gettempdir()
    return environment


def become_child() -> None:
    """Give the server precedence over this process, which the server ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICE)
    if sys.platform == "linux":
        # Where memory runs out, the system ends this process and not the server.
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_resource(which: int, value: int) -> None:
    """Limit a resource of this process, as far as it is not limited more."""
    hard = resource.getrlimit(which)[1]
    resource.setrlimit(which, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def lower_thread_priority() -> None:
    """Let other threads go first. Linux only: elsewhere, the priority is the process's."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        nice = os.getpriority(os.PRIO_PROCESS, thread) + _NICE
        os.setpriority(os.PRIO_PROCESS, thread, nice)
