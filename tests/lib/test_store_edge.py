"""Publishing with the embedded store, as readers in the same process see it."""

from pathlib import Path

import pytest

import lib.store_edge
from lib.errors import IndexUnreadable
from lib.store_edge import EdgeStore, _open_warm
from tests.stores import chunk, publish, random_vectors


async def test_readers_have_the_old_index_until_the_new_one_is_warm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = []

    def watched(path: Path) -> object:
        opened = _open_warm(path)
        published.append((tmp_path / "current").read_text())
        return opened

    store = EdgeStore(tmp_path)
    first = await publish(store, [chunk(1)], random_vectors(1))
    monkeypatch.setattr(lib.store_edge, "_open_warm", watched)
    second = await publish(store, [chunk(2)], random_vectors(1))
    assert published == [first.generation]
    assert await store.manifest() == second
    await store.close()


async def test_what_cannot_be_searched_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(path: Path) -> object:
        raise IndexUnreadable("damaged")

    store = EdgeStore(tmp_path)
    first = await publish(store, [chunk(1)], random_vectors(1))
    with monkeypatch.context() as context:
        context.setattr(lib.store_edge, "_open_warm", damaged)
        with pytest.raises(IndexUnreadable):
            await publish(store, [chunk(2)], random_vectors(1))
    assert await store.manifest() == first
    second = await publish(store, [chunk(2)], random_vectors(1))
    assert await store.manifest() == second
    await store.close()


async def test_an_index_whose_chunks_are_damaged_is_not_opened(tmp_path: Path) -> None:
    """The warm-up search finds the damage before any reader does."""
    store = EdgeStore(tmp_path)
    manifest = await publish(store, [chunk(number) for number in range(40)], random_vectors(40))
    await store.close()
    [payloads] = (tmp_path / "generations" / manifest.generation).rglob("payload_storage/page_0.*")
    with payloads.open("r+b") as file:
        file.write(b"\xa5" * 65_536)
    store = EdgeStore(tmp_path)
    with pytest.raises(IndexUnreadable, match="damaged"):
        await store.manifest()
    await store.close()
