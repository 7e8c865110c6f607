"""The writing of a new index: chunks embedded in batches, several at once, then published."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from lib.book import Piece
from lib.embedding import Embedder, Vectors
from lib.errors import InvalidRequest, UpstreamError
from lib.store import GenerationBuilder, Manifest, Store, new_generation


@dataclass(slots=True)
class Counts:
    """Chunks written so far, by where their vectors came from."""

    embedded: int = 0
    reused: int = 0


class IndexWriter:
    """Embeds pieces in batches, several at once, and writes them into a new generation.

    The generation is begun with the first vectors, since only they tell the dimension.
    """

    def __init__(
        self,
        embedder: Embedder,
        store: Store,
        known: Mapping[str, str],
        counts: Counts,
        batch_size: int,
    ) -> None:
        self._embedder = embedder
        self._store = store
        self._known = known
        self._counts = counts
        self._batch_size = batch_size
        self._waiting: list[Piece] = []
        self._running: set[asyncio.Task[None]] = set()
        self._generation = new_generation()
        self._dimension = 0
        self._builder: GenerationBuilder | None = None
        self._building = asyncio.Lock()

    async def write(self, pieces: Sequence[Piece]) -> None:
        """Take pieces; returns when there is room for more. Raises what an earlier batch raised."""
        self._waiting.extend(pieces)
        while len(self._waiting) >= self._batch_size:
            batch = self._waiting[: self._batch_size]
            del self._waiting[: self._batch_size]
            await self._begin(batch)

    async def publish(self, *, chunker: str, generator: str, documents: int) -> None:
        """Write what waits and let readers see the whole. Raises `InvalidRequest` for nothing."""
        if self._waiting:
            await self._begin(self._waiting)
        await self._settle(asyncio.ALL_COMPLETED)
        if self._builder is None:
            raise InvalidRequest(
                "There is no readable text in the content folder; the index stays as it was."
            )
        await self._builder.publish(
            Manifest(
                generation=self._generation,
                embedding_model=self._embedder.model_id,
                dimension=self._dimension,
                chunker=chunker,
                generator=generator,
                documents=documents,
                chunks=self._counts.embedded + self._counts.reused,
                created_at=datetime.now(UTC).isoformat(),
            )
        )

    async def discard(self) -> None:
        """Stop what runs and leave nothing behind."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)
        if self._builder is not None:
            await self._builder.discard()

    async def _begin(self, batch: Sequence[Piece]) -> None:
        if len(self._running) >= self._embedder.concurrency:
            await self._settle(asyncio.FIRST_COMPLETED)
        self._running.add(asyncio.create_task(self._write(batch)))

    async def _settle(self, when: str) -> None:
        if self._running:
            finished, self._running = await asyncio.wait(self._running, return_when=when)
            for task in finished:
                task.result()

    async def _write(self, batch: Sequence[Piece]) -> None:
        vectors = await self._reused(batch)
        # A text that stands twice in the batch is embedded once.
        fresh = {
            piece.chunk.content_hash: piece.embed_text
            for piece in batch
            if piece.chunk.content_hash not in vectors
        }
        reused = sum(piece.chunk.content_hash in vectors for piece in batch)
        if fresh:
            rows = await self._embedder.embed_documents(list(fresh.values()))
            vectors.update(zip(fresh, rows, strict=True))
        stacked = np.stack([vectors[piece.chunk.content_hash] for piece in batch])
        builder = await self._begun(stacked.shape[1])
        await builder.add([piece.chunk for piece in batch], stacked)
        self._counts.reused += reused
        self._counts.embedded += len(batch) - reused

    async def _reused(self, batch: Sequence[Piece]) -> dict[str, Vectors]:
        """By content hash, the vectors that the published generation has already."""
        wanted = {
            self._known[piece.chunk.content_hash]: piece.chunk.content_hash
            for piece in batch
            if piece.chunk.content_hash in self._known
        }
        if not wanted:
            return {}
        lent = await self._store.vectors(list(wanted))
        return {wanted[chunk_id]: vector for chunk_id, vector in lent.items()}

    async def _begun(self, dimension: int) -> GenerationBuilder:
        async with self._building:
            if self._builder is None:
                self._builder = await self._store.build(self._generation, dimension)
                self._dimension = dimension
        if dimension != self._dimension:
            raise UpstreamError(
                f"The embedding service sent vectors of {dimension} numbers after vectors of "
                f"{self._dimension}; the index stays as it was."
            )
        return self._builder
