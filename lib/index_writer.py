"""The writing of a new index: chunks embedded in batches, several at once."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.book_reader import Piece
from lib.embedding import Embedder
from lib.store import GenerationBuilder

GRACE_SECONDS = 3.0


@dataclass(slots=True)
class Counts:
    """Chunks written so far, by where their vectors came from."""

    embedded: int = 0
    reused: int = 0
    tokens: int = 0
    """Estimated, of the texts that were embedded."""


class IndexWriter:
    """Embeds pieces in batches and adds them to a generation.

    With `lend`, a piece whose content an earlier generation holds takes its vector from there.
    """

    def __init__(
        self,
        embedder: Embedder,
        builder: GenerationBuilder,
        counts: Counts,
        *,
        batch_size: int,
        lend: bool,
    ) -> None:
        self._embedder = embedder
        self._builder = builder
        self._counts = counts
        self._batch_size = batch_size
        self._lend = lend
        self._waiting: list[Piece] = []
        self._running: set[asyncio.Task[None]] = set()

    async def write(self, pieces: Sequence[Piece]) -> None:
        """Take pieces; returns when there is room for more. Raises what an earlier batch raised."""
        self._waiting.extend(pieces)
        while len(self._waiting) >= self._batch_size:
            batch = self._waiting[: self._batch_size]
            del self._waiting[: self._batch_size]
            await self._begin(batch)

    async def finish(self) -> None:
        """Write what waits."""
        if self._waiting:
            await self._begin(self._waiting)
        while self._running:
            await self._settle()

    async def stop(self) -> None:
        """End what still runs after a failure.

        It is given a moment to arrive and be kept, since it is paid for already; none if this is
        cancelled.
        """
        try:
            if self._running:
                await asyncio.wait(self._running, timeout=GRACE_SECONDS)
        finally:
            for task in self._running:
                task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _begin(self, batch: Sequence[Piece]) -> None:
        if len(self._running) >= self._embedder.concurrency:
            await self._settle()
        task = asyncio.create_task(self._write(batch))
        task.add_done_callback(see)
        self._running.add(task)

    async def _settle(self) -> None:
        """Until one batch is done."""
        finished, self._running = await asyncio.wait(
            self._running, return_when=asyncio.FIRST_COMPLETED
        )
        failures = [error for task in finished if (error := task.exception())]
        if failures:
            raise failures[0]

    async def _write(self, batch: Sequence[Piece]) -> None:
        # A text that stands twice in the batch is embedded once.
        texts = {piece.chunk.content_hash: piece.embed_text for piece in batch}
        vectors = dict(await self._builder.lend(texts)) if self._lend else {}
        reused = sum(piece.chunk.content_hash in vectors for piece in batch)
        fresh = [content_hash for content_hash in texts if content_hash not in vectors]
        if fresh:
            rows = await self._embedder.embed_documents([texts[key] for key in fresh])
            vectors.update(zip(fresh, rows, strict=True))
        await self._builder.add(
            [piece.chunk for piece in batch],
            np.stack([vectors[piece.chunk.content_hash] for piece in batch]),
            [piece.terms for piece in batch],
        )
        self._counts.reused += reused
        self._counts.embedded += len(batch) - reused
        self._counts.tokens += sum(
            {p.chunk.content_hash: p.chunk.tokens for p in batch}[key] for key in fresh
        )


def see(task: asyncio.Task[None]) -> None:
    """The first failure is raised; nobody may be left to look at the others."""
    if not task.cancelled():
        task.exception()
