"""Read a book in a process of its own, which may hang, crash or run out of memory.

The process (`lib.worker`) has limits on time and memory, and a lower priority than the server. When
it ends, another one continues. A page at a limit is reported. After any other end the page is read
once more, because another program may have ended the process.
"""

import asyncio
import logging
import os
import signal
import socket
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from lib.book import PreparedChunk, Survey
from lib.errors import InvalidRequest, QuireError
from lib.link_check import BrokenLink
from lib.runtime import PROGRAM_FOLDER, child_command, child_environment
from lib.settings import Settings
from lib.sites.sitemap import SitemapError
from lib.store import Ledger
from lib.worker import (
    CPU_SECONDS,
    MEMORY_BYTES,
    OUT_OF_MEMORY,
    Check,
    Checked,
    Compare,
    FileRead,
    Open,
    Opened,
    Read,
    Unreadable,
    encode,
)

_log = logging.getLogger(__name__)

_MODULE: Final = "lib.worker"
_STEP_SECONDS: Final = 60.0
"""Limit for a page, and for the site: enough for 1 MB of tables on a tenth of a core."""
_SURVEY_SECONDS: Final = 600.0
_EXIT_SECONDS: Final = 5.0
_MAX_LOST: Final = 100
"""Processes that may end during one ingestion."""
_LIMITS: Final = {
    -signal.SIGXCPU: f"reading takes more than {CPU_SECONDS} seconds of processor time",
    OUT_OF_MEMORY: f"reading takes more than {MEMORY_BYTES >> 20} MB of memory",
}


class _Lost(Exception):
    """The process has ended. `repeat`: another one may succeed."""

    def __init__(self, reason: str, *, repeat: bool) -> None:
        super().__init__(reason)
        self.repeat = repeat


@dataclass(frozen=True, slots=True)
class _Connection:
    process: Process
    stream: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, request: object) -> None:
        self.writer.write(encode(request))
        await self.writer.drain()

    async def receive(self, answer: Any) -> Any:
        size = int.from_bytes(await self.stream.readexactly(4), "big")
        return msgspec.msgpack.decode(await self.stream.readexactly(size), type=answer)

    async def close(self) -> None:
        self.writer.close()
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


class Reader:
    """Reads the book that `book` describes."""

    book: Opened

    def __init__(self, request: Open) -> None:
        self._request = request
        self.root = Path(os.fsdecode(request.root))
        self._connection: _Connection | None = None
        self._lost = 0

    async def open(self) -> None:
        """Find the site and the pages. Raises `QuireError`.

        Configuration files that end the process are not used.
        """
        problems: list[str] = []
        for attempt in range(3):
            try:
                async with self._step("the site", _STEP_SECONDS):
                    break
            except _Lost as lost:
                problem = lost
                if attempt or not lost.repeat:
                    self._request = msgspec.structs.replace(self._request, generator="none")
                    problems = [f"The site's configuration cannot be read: {lost}."]
        else:
            raise QuireError(f"The book cannot be read: {problem}. See the server log.")
        self.book = msgspec.structs.replace(self.book, errors=[*problems, *self.book.errors])
        self._request = msgspec.structs.replace(self._request, paths=self.book.paths)

    async def survey(self, ledger: Ledger) -> Survey:
        """Compare the pages with the index. Raises `QuireError`."""
        # without the chunks, which are most of it
        files = {path: msgspec.structs.replace(file, chunks={}) for path, file in ledger.items()}
        while True:
            try:
                async with self._step("the index", _SURVEY_SECONDS) as connection:
                    await connection.send(Compare(files))
                    survey: Survey = await connection.receive(Survey)
                    return survey
            except _Lost as lost:
                if not lost.repeat:
                    raise QuireError(f"The pages cannot be compared: {lost}.") from None

    async def read(self, paths: Sequence[str]) -> AsyncIterator[FileRead]:
        """Yield each of these pages, in order. Raises `QuireError`."""
        left, tried, asked = deque(paths), "", None
        # the first page that needs it reads all of the build
        seconds = _SURVEY_SECONDS if self._request.build else _STEP_SECONDS
        while left:
            started = False
            try:
                async with self._step(left[0], seconds) as connection:
                    started = True
                    if connection is not asked:
                        await connection.send(Read([*left]))
                        asked = connection
                    chunks: list[PreparedChunk] = []
                    while not (part := await connection.receive(FileRead)).complete:
                        chunks += part.chunks
                page = msgspec.structs.replace(part, chunks=chunks)
            except _Lost as lost:
                if lost.repeat and not (started and left[0] == tried):
                    tried = left[0] if started else tried
                    continue
                page = FileRead(path=left[0], errors=[f"{left[0]}: {lost}"])
            left.popleft()
            yield page

    async def check(self, urls: Collection[str], place: Path) -> Sequence[BrokenLink]:
        """Return the addresses that a built site or a sitemap lacks, in order.

        Raises `SitemapError` if they cannot be checked, and `QuireError`.
        """
        request = Check([*urls], _encoded(place))
        while True:
            try:
                async with self._step("the links", _SURVEY_SECONDS) as connection:
                    await connection.send(request)
                    answer: Checked = await connection.receive(Checked)
                break
            except _Lost as lost:
                if not lost.repeat:
                    raise QuireError(f"The links cannot be checked: {lost}.") from None
        if answer.problem:
            raise SitemapError(answer.problem)
        return answer.broken

    async def close(self) -> None:
        if connection := self._connection:
            self._connection = None
            await connection.close()

    @asynccontextmanager
    async def _step(self, name: str, seconds: float) -> AsyncIterator[_Connection]:
        """Lend the process, started if there is none. Raises `_Lost`, `QuireError`."""
        try:
            async with asyncio.timeout(seconds):
                yield self._connection or await self._start()
            return
        except TimeoutError:
            lost = _Lost(f"reading takes more than {seconds:g} seconds", repeat=False)
        except (EOFError, OSError):
            lost = await self._reason()
        await self.close()
        self._lost += 1
        _log.warning("the reading process ended at %s: %s", name, lost)
        if self._lost > _MAX_LOST:
            raise QuireError(f"More than {_MAX_LOST} pages cannot be read. Last, {name}: {lost}.")
        raise lost

    async def _start(self) -> _Connection:
        """Start a process and open the book in it."""
        try:
            ours, theirs = socket.socketpair()
            with ours, theirs:
                process = await _start_process(theirs)
                stream, writer = await asyncio.open_connection(sock=ours.dup())
        except OSError as error:
            problem = f"The reading process cannot be started: {error.strerror}."
            raise QuireError(problem) from None
        self._connection = connection = _Connection(process, stream, writer)
        await connection.send(self._request)
        book = await connection.receive(Opened | Unreadable)
        if isinstance(book, Unreadable):
            raise InvalidRequest(f"The book cannot be read: {book.problem}.")
        if self._request.paths is None:
            self.book = book
        return connection

    async def _reason(self) -> _Lost:
        """Wait for the process to end and tell why it did."""
        assert self._connection
        process = self._connection.process
        with suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_SECONDS):
                await process.wait()
        code = process.returncode or 0
        if limit := _LIMITS.get(code):
            return _Lost(limit, repeat=False)
        if process.stderr and (lines := (await process.stderr.read()).splitlines()):
            _log.warning("the reading process said: %s", lines[-1].decode(errors="replace"))
        end = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return _Lost(f"reading ended with {end}", repeat=True)


def _encoded(path: Path) -> bytes:
    """The absolute path: the process runs in another folder."""
    return os.fsencode(path.absolute())


@asynccontextmanager
async def open_reader(settings: Settings, root: Path) -> AsyncIterator[Reader]:
    """Open the book in the folder `root`. Raises `QuireError`."""
    reader = Reader(
        Open(
            root=os.fsencode(root),
            site_url=settings.site_url,
            source=settings.site_source,
            build=_encoded(settings.site_build) if settings.site_build else b"",
            generator=settings.site_generator,
            options=settings.site_options,
            limits=settings.limits,
            chunk_tokens=settings.chunk_tokens,
        )
    )
    try:
        await reader.open()
        yield reader
    finally:
        await reader.close()


async def _start_process(channel: socket.socket) -> Process:
    """Start `lib.worker` on a channel, without the server's environment, which has its keys."""
    return await asyncio.create_subprocess_exec(
        *child_command(_MODULE),
        stdin=channel.fileno(),
        stdout=DEVNULL,
        stderr=PIPE,
        cwd=PROGRAM_FOLDER,
        env=child_environment(),
    )
