"""Publishing with the embedded store, as readers in the same process see it."""

from pathlib import Path

import pytest

import lib.store_edge
from lib.errors import Conflict, IndexUnreadable, StoreUnavailable, UpstreamError
from lib.store import new_generation
from lib.store_edge import EdgeStore, _EdgeBuilder, _open_warm
from tests.stores import MODEL, chunk, publish, random_vectors, sparse_vectors


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


async def begin(store: EdgeStore, count: int) -> _EdgeBuilder:
    """Begin a generation with some chunks; the caller ends it."""
    builder = await store.build(new_generation(), MODEL)
    assert isinstance(builder, _EdgeBuilder)
    chunks = [chunk(number) for number in range(count)]
    await builder.add(chunks, random_vectors(count), sparse_vectors(chunks))
    return builder


@pytest.mark.processes
@pytest.mark.usefixtures("writing_process")
async def test_the_writing_process_ends_with_the_generation(tmp_path: Path) -> None:
    store = EdgeStore(tmp_path)
    manifest = await publish(store, [chunk(1)], random_vectors(1))
    assert await store.manifest() == manifest
    builder = await begin(store, 2)
    process = builder._writer._process
    assert process.poll() is None
    await builder.discard()
    assert process.returncode == 0
    assert await store.manifest() == manifest
    await store.close()


@pytest.mark.usefixtures("writing_process")
@pytest.mark.processes
async def test_a_killed_writing_process_fails_one_build(tmp_path: Path) -> None:
    store = EdgeStore(tmp_path)
    first = await publish(store, [chunk(9)], random_vectors(1))
    builder = await begin(store, 3)
    process = builder._writer._process
    process.kill()
    with pytest.raises(StoreUnavailable, match="ended with exit code -9"):
        await builder.add([chunk(4)], random_vectors(1), sparse_vectors([chunk(4)]))
    await builder.discard()
    assert await store.manifest() == first
    again = await store.build(new_generation(), MODEL)
    hashes = [chunk(number).content_hash for number in range(5)]
    assert (await again.reuse_vectors(hashes)).keys() == set(hashes[:3])
    await again.discard()
    await store.close()


@pytest.mark.usefixtures("writing_process")
async def test_the_writing_process_reports_errors(tmp_path: Path) -> None:
    store = EdgeStore(tmp_path)
    builder = await begin(store, 1)
    with pytest.raises(UpstreamError, match="dimension"):
        await builder.add([chunk(2)], random_vectors(1)[:, :3], sparse_vectors([chunk(2)]))
    await builder.discard()
    await store.close()


@pytest.mark.processes
@pytest.mark.usefixtures("writing_process")
async def test_while_the_writing_process_runs_no_other_build_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.store_edge, "_LOCK_SECONDS", 0)
    store = EdgeStore(tmp_path)
    builder = await begin(store, 1)
    builder._lock.close()  # as if the server had been killed
    with pytest.raises(Conflict):
        await store.build(new_generation(), MODEL)
    builder._writer.close()
    await (await store.build(new_generation(), MODEL)).discard()
    await store.close()


async def test_a_file_is_read_without_reading_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filtering reads every chunk and holds the interpreter lock meanwhile."""
    store = EdgeStore(tmp_path)
    chunks = [chunk(number, f"{number % 3}.md") for number in range(30)]
    await publish(store, chunks, random_vectors(30))
    with monkeypatch.context() as patch:
        patch.setattr("qdrant_edge.ScrollRequest", None)
        assert await store.chunks_of("1.md") == chunks[1::3]
        assert await store.chunks_of("9.md") == []
    await publish(store, chunks[:1], random_vectors(1))
    assert await store.chunks_of("1.md") == []
    assert await store.chunks_of("0.md") == chunks[:1]
    await store.close()
