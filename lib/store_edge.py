"""The embedded store: Qdrant's own engine inside this process, an index in a folder.

A shard is written without a write-ahead log, flushed after each batch, and never changed after it
was published; a published one may therefore be open in several processes at once. What lies where
is told in `lib.edge_folder`.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from lib.edge_builder import EdgeBuilder
from lib.edge_folder import EdgeFolder
from lib.embedding import Vectors
from lib.errors import StoreUnavailable
from lib.sparse import SparseVector
from lib.store import Found, GenerationBuilder, Ledger, Manifest

P = ParamSpec("P")
T = TypeVar("T")
FEW_CHUNKS = 5_000
"""So many are searched in a millisecond, where the engine holds the interpreter anyway: the way
into a thread and back would cost readers more than it saves them."""


class EdgeStore:
    """Keeps generations below `folder`; every call into the engine runs in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = EdgeFolder(folder)
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="store")
        self._builder_thread = ThreadPoolExecutor(1, thread_name_prefix="store-builder")

    async def open(self) -> None:
        await self.in_thread(self._folder.clean)

    async def manifest(self) -> Manifest | None:
        live = self._folder.known() or await self.in_thread(self._folder.current)
        return live.manifest if live else None

    async def search(
        self,
        vector: Vectors | None,
        terms: SparseVector,
        n: int,
        *,
        only: Mapping[str, str] | None = None,
    ) -> Found:
        live = self._folder.known()
        if live and live.manifest.chunks <= FEW_CHUNKS:
            return or_unavailable(partial(live.searching.search, vector, terms, n, only or {}))
        return await self.in_thread(self._search, vector, terms, n, only or {})

    async def ledger(self) -> Ledger:
        return await self.in_thread(self._folder.ledger)

    async def urls(self) -> set[str]:
        return await self.in_thread(self._folder.urls)

    async def build(self, generation: str, embedding_model: str) -> GenerationBuilder:
        building = asyncio.ensure_future(
            self.in_builder_thread(self._build, generation, embedding_model)
        )
        try:
            return await asyncio.shield(building)
        except asyncio.CancelledError:
            # The thread goes on and takes the lock, which nobody would ever let go.
            await (await building).abandon()
            raise

    async def reachable(self) -> bool:
        return True

    async def close(self) -> None:
        self._folder.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        # What it has begun it brings to an end: it may hold the lock.
        self._builder_thread.shutdown(wait=False)

    async def in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `call` in a thread of the readers'."""
        return await run_in(self._threads, partial(call, *args, **kwargs))

    async def in_builder_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `call` in the builder's own thread: readers do not stand in line behind it."""
        return await run_in(self._builder_thread, partial(call, *args, **kwargs))

    def afterwards(self, call: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Have the builder's thread do `call` when it has nothing before it."""
        self._builder_thread.submit(call, *args, **kwargs)

    def _build(self, generation: str, embedding_model: str) -> EdgeBuilder:
        path, lock = self._folder.begin(generation, embedding_model)
        return EdgeBuilder(self, self._folder, path, embedding_model, lock)

    def _search(
        self, vector: Vectors | None, terms: SparseVector, n: int, only: Mapping[str, str]
    ) -> Found:
        live = self._folder.current()
        if live is None:
            return Found((), {})
        return live.searching.search(vector, terms, n, only)


async def run_in(threads: ThreadPoolExecutor, call: Callable[[], T]) -> T:
    """Await `call` in one of `threads`, a disk's errors put into a sentence."""
    return await asyncio.get_running_loop().run_in_executor(threads, or_unavailable, call)


def or_unavailable(call: Callable[[], T]) -> T:
    """What `call` returns. Raises `StoreUnavailable` where the disk fails it."""
    try:
        return call()
    except OSError as error:
        raise StoreUnavailable(
            "The folder of the index cannot be used: "
            f"{error.strerror or 'the disk refused'}. See QDRANT_PATH."
        ) from error
