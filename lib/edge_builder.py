"""A generation of the embedded store while it is written."""

import asyncio
import contextlib
import shutil
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec
import numpy as np

from lib.edge_folder import EdgeFolder, Generation
from lib.edge_shard import copy_files, create_shard, open_shard, payloads
from lib.embedding import Vectors
from lib.errors import IndexUnreadable, StoreUnavailable
from lib.sparse import SparseVector
from lib.store import DENSE, SPARSE, Ledger, Manifest, StoredChunk, check_dimension
from lib.store_edge_shard import as_sparse

if TYPE_CHECKING:
    from qdrant_edge import EdgeShard

    from lib.store_edge import EdgeStore


class EdgeBuilder:
    """Writes one generation and holds the lock meanwhile."""

    def __init__(
        self,
        store: "EdgeStore",
        folder: EdgeFolder,
        path: Path,
        embedding_model: str,
        lock: IO[bytes],
    ) -> None:
        self._store = store
        self._folder = folder
        self._path = path
        self._embedding_model = embedding_model
        self._lock = lock
        self._shard: EdgeShard | None = None
        self.dimension = 0
        self._lenders: list[tuple[EdgeShard, dict[str, str]]] | None = None
        # An awaiting task may be cancelled while its thread goes on; the lock keeps the next
        # call from meeting it half-way.
        self._busy = threading.Lock()
        self._ended = False

    async def lend(self, content_hashes: Collection[str]) -> Mapping[str, Vectors]:
        return await self._store.in_builder_thread(self._lend, content_hashes)

    async def inherit(self, without: Collection[str]) -> None:
        await self._store.in_builder_thread(self._inherit, without)

    async def add(
        self, chunks: Sequence[StoredChunk], vectors: Vectors, terms: Sequence[SparseVector]
    ) -> None:
        await self._store.in_builder_thread(self._add, chunks, vectors, terms)

    async def publish(self, manifest: Manifest, ledger: Ledger) -> None:
        await self._store.in_builder_thread(self._publish, manifest, ledger)

    async def abandon(self) -> None:
        ending = asyncio.ensure_future(self._store.in_builder_thread(self._abandon))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            # Taken out of the thread's queue, it would never let the lock go.
            await ending
            raise

    def _lend(self, content_hashes: Collection[str]) -> Mapping[str, Vectors]:
        with self._busy:
            if self._lenders is None:
                self._lenders = list(self._open_lenders())
        lent: dict[str, Vectors] = {}
        for shard, known in self._lenders:
            ids = {known[h]: h for h in content_hashes if h in known and h not in lent}
            for record in shard.retrieve(list(ids), with_payload=False, with_vector=[DENSE]):
                if isinstance(record.vector, dict):
                    vector = np.array(record.vector[DENSE], dtype=np.float32)
                    lent[ids[str(record.id)]] = vector
        return lent

    def _open_lenders(self) -> "Iterator[tuple[EdgeShard, dict[str, str]]]":
        live = self._folder.readable()
        if live is not None and live.manifest.embedding_model == self._embedding_model:
            yield live.shard, self._hashes_of(live)
        for path in self._folder.other_lenders(self._embedding_model):
            # One that was killed before its first flush, or is damaged, has nothing to lend.
            with contextlib.suppress(StoreUnavailable):
                if path != self._path and (path / "shard").exists():
                    shard = open_shard(path)
                    yield shard, {h: chunk for chunk, h in payloads(shard, "content_hash")}

    def _hashes_of(self, live: Generation) -> dict[str, str]:
        """By content hash, the id of a chunk."""
        try:
            records = self._folder.ledger().values()
        except IndexUnreadable:
            return {h: chunk for chunk, h in payloads(live.shard, "content_hash")}
        return {h: chunk for record in records for chunk, h in record.chunks.items()}

    def _inherit(self, without: Collection[str]) -> None:
        from qdrant_edge import FieldCondition, Filter, MatchAny, UpdateOperation

        live = self._folder.current()
        if live is None:
            return
        with self._busy:
            # A published shard is never written again, so its files can be copied as they are.
            copy_files(live.path / "shard", self._path / "shard")
            self._shard = open_shard(self._path)
            self.dimension = live.manifest.dimension
            if without:
                gone = Filter(must=[FieldCondition("file_path", match=MatchAny(list(without)))])
                self._shard.update(UpdateOperation.delete_points_by_filter(gone))
                self._shard.flush()

    def _add(
        self, chunks: Sequence[StoredChunk], vectors: Vectors, terms: Sequence[SparseVector]
    ) -> None:
        from qdrant_edge import Point, UpdateOperation

        points = [
            Point(
                chunk.chunk_id,
                {DENSE: vector.tolist(), SPARSE: as_sparse(weights)},
                msgspec.to_builtins(chunk),
            )
            for chunk, vector, weights in zip(chunks, vectors, terms, strict=True)
        ]
        with self._busy:
            if self._ended:
                return
            if self._shard is None:
                self.dimension = vectors.shape[1]
                self._shard = create_shard(self._path, self.dimension)
            check_dimension(vectors.shape[1], self.dimension)
            self._shard.update(UpdateOperation.upsert_points(points))
            self._shard.flush()

    def _publish(self, manifest: Manifest, ledger: Ledger) -> None:
        with contextlib.ExitStack() as ending:
            ending.callback(self._lock.close)
            with self._busy:
                self._ended = True
                self._let_go()
                keep = self._folder.publish(self._path, manifest, ledger)
            # Old generations may be hundreds of megabytes: nobody has to wait until they are gone.
            self._store.afterwards(self._tidy, keep)
            ending.pop_all()

    def _tidy(self, keep: set[Path]) -> None:
        with self._lock:
            self._folder.remove_others(keep)

    def _abandon(self) -> None:
        with self._busy:
            if not self._ended:
                self._ended = True
                empty = self._shard is None
                self._let_go()
                if empty:
                    shutil.rmtree(self._path, ignore_errors=True)
                self._lock.close()

    def _let_go(self) -> None:
        self._lenders = []
        if self._shard is not None:
            self._shard.close()
            self._shard = None
