import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lib.book_reader import Piece
from lib.embedding import AroundEmbedder, Vectors
from lib.errors import UpstreamError
from lib.index_writer import Counts, IndexWriter
from lib.services import make_local_embedder
from lib.store import GenerationBuilder, new_generation
from lib.store_edge import EdgeStore
from tests.stores import chunk, terms_of


class Refusing(AroundEmbedder):
    """Refuses every text, once it may answer."""

    def __init__(self) -> None:
        super().__init__(make_local_embedder("english"))
        self._asked = 0
        self.asked_twice = asyncio.Event()
        self.may_answer = asyncio.Event()

    @property
    def concurrency(self) -> int:
        return 2

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        self._asked += 1
        if self._asked == 2:
            self.asked_twice.set()
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            raise UpstreamError("The embedding service hung up.") from None
        raise UpstreamError("The embedding service refuses.")


@pytest.fixture
async def builder(tmp_path: Path) -> AsyncIterator[GenerationBuilder]:
    store = EdgeStore(tmp_path)
    made = await store.build(new_generation(), "m")
    yield made
    await made.abandon()
    await store.close()


def pieces(count: int) -> list[Piece]:
    chunks = [chunk(number) for number in range(count)]
    return [
        Piece(each, each.text, terms) for each, terms in zip(chunks, terms_of(chunks), strict=True)
    ]


@pytest.mark.parametrize("cancelled", [False, True])
async def test_no_failure_is_left_unseen(builder: GenerationBuilder, cancelled: bool) -> None:
    unseen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
    embedder = Refusing()
    writer = IndexWriter(embedder, builder, Counts(), batch_size=1, lend=False)
    await writer.write(pieces(2))
    await embedder.asked_twice.wait()
    stopping = asyncio.create_task(writer.stop())
    await asyncio.sleep(0)
    if cancelled:  # as by a server that is stopped while an ingestion is
        stopping.cancel()
    else:
        embedder.may_answer.set()
    await asyncio.wait((stopping,))
    assert stopping.cancelled() is cancelled
    embedder.may_answer.set()
    if left := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(left)
    del writer, stopping, left
    gc.collect()
    assert not unseen
