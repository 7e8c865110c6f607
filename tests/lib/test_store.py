"""One suite for both stores (`tests.stores`), and tests of the embedded one."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path

import msgspec
import numpy as np
import pytest

import lib.store_edge
import lib.store_server
from lib.errors import Conflict, StoreUnavailable, UpstreamError
from lib.services import make_store
from lib.settings import Settings
from lib.store import (
    FileRecord,
    Manifest,
    Store,
    StoredChunk,
    all_urls,
    generation_time,
    new_generation,
    page_text,
)
from lib.store_edge import EdgeStore
from lib.store_server import ServerStore
from lib.terms import SparseVector, query_vector
from tests.store_kinds import STORE_KINDS, MakeStore, open_stores
from tests.stores import (
    DIMENSION,
    MODEL,
    chunk,
    make_ledger,
    make_manifest,
    nearest,
    publish,
    random_vectors,
    sparse_vectors,
)

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure:UserWarning")

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=STORE_KINDS)
async def make(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[MakeStore]:
    """Stores of separate processes on the same index."""
    monkeypatch.setattr(lib.store_server, "_MANIFEST_SECONDS", 0)
    async with open_stores(request.param, tmp_path) as make_one:
        yield make_one


@pytest.fixture
async def store(make: MakeStore) -> Store:
    made = make()
    await made.open()
    return made


async def test_the_chunks_of_one_file_come_in_order(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.store_server, "SCROLL_LIMIT", 3)
    chunks = [chunk(n, path) for n in reversed(range(10)) for path in ("a.html", "b/a.html")]
    await publish(store, chunks, random_vectors(len(chunks)))
    found = await store.chunks_of("a.html")
    assert found == sorted(chunks[::2], key=lambda each: each.ordinal)
    assert await store.chunks_of("a") == []


def test_the_text_of_a_page_is_that_of_its_chunks_and_what_is_between() -> None:
    text = "\n# One\n\nTwo three four.\n\n---"
    spans = [(1, 6), (8, 17), (8, 17), (12, 23)]  # pieces of one line overlap
    chunks, end = list[StoredChunk](), 0
    for number, (start, stop) in enumerate(spans):
        before = text[end:start] if start >= end else None
        own = chunk(number, before=before, start_char=start, end_char=stop)
        chunks.append(msgspec.structs.replace(own, text=text[start:stop]))
        end = max(end, stop)
    chunks[-1] = msgspec.structs.replace(chunks[-1], after=text[end:])
    assert page_text(chunks) == text
    assert page_text([]) == ""


async def test_an_empty_store(store: Store) -> None:
    assert await store.chunks_of("a.md") == []
    assert await store.reachable()
    assert await store.manifest() is None
    assert await store.ledger() == {}
    assert await all_urls(store) == set()


async def test_published_chunks_are_found(store: Store) -> None:
    chunks, vectors = [chunk(n) for n in range(5)], random_vectors(5)
    manifest = await publish(store, chunks, vectors)
    assert await store.manifest() == manifest
    assert await store.ledger() == make_ledger(chunks)
    assert await all_urls(store) == {each.sections[0].url for each in chunks}
    for each, vector in zip(chunks, vectors, strict=True):
        [hit] = await nearest(store, vector, 1)
        assert hit.chunk == each
        assert hit.cosine == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("k", [1, 7, 50, 500])
async def test_the_search_agrees_with_brute_force(store: Store, k: int) -> None:
    chunks, vectors = [chunk(n) for n in range(300)], random_vectors(300)
    await publish(store, chunks, vectors)
    for query in random_vectors(5, seed=2):
        scores = vectors @ query
        expected = np.argsort(-scores)[:k]
        hits = await nearest(store, query, k)
        assert [hit.chunk.chunk_id for hit in hits] == [chunks[n].chunk_id for n in expected]
        assert [hit.cosine for hit in hits] == pytest.approx(scores[expected], abs=1e-5)


async def test_ties_have_a_stable_order(store: Store) -> None:
    chunks = [chunk(n) for n in range(20)]
    await publish(store, chunks, np.repeat(random_vectors(1), 20, axis=0))
    hits = await nearest(store, random_vectors(1)[0], 20)
    assert [hit.chunk.chunk_id for hit in hits] == sorted(each.chunk_id for each in chunks)


@pytest.mark.parametrize(
    ("only", "numbers"),
    [
        ({"file_path": "a.md"}, {0, 1}),
        ({"version": "2"}, {1, 2}),
        ({"locale": "de"}, {3}),
        ({"file_path": "a.md", "version": "2"}, {1}),
        ({"file_path": "none.md"}, set()),
        ({"file_path": "A.MD"}, set()),
        ({"file_path": "'; DROP"}, set()),
        ({}, {0, 1, 2, 3}),
    ],
)
async def test_the_search_can_be_restricted(
    store: Store, only: dict[str, str], numbers: set[int]
) -> None:
    chunks = [
        chunk(0, "a.md", version="1"),
        chunk(1, "a.md", version="2"),
        chunk(2, "b.md", version="2"),
        chunk(3, "b.md", locale="de"),
    ]
    await publish(store, chunks, random_vectors(4))
    hits = await nearest(store, random_vectors(1)[0], 50, only=only)
    assert {hit.chunk.start_char for hit in hits} == numbers


async def test_readers_do_not_see_an_unfinished_generation(store: Store) -> None:
    old = await publish(store, [chunk(1)], random_vectors(1))
    builder = await store.build(new_generation(), MODEL)
    await builder.add([chunk(2)], random_vectors(1, seed=9), sparse_vectors([chunk(2)]))
    assert await store.manifest() == old
    vector = random_vectors(1, seed=9)[0]
    hits = await nearest(store, vector, 10)
    assert [hit.chunk.start_char for hit in hits] == [1]
    found = await builder.search(vector, query_vector("chunk"), 10)
    assert [hit.chunk for hit in found.hits] == [chunk(2)]
    assert found.hits[0].cosine == pytest.approx(1.0)
    await builder.discard()
    assert await store.manifest() == old


async def test_a_new_generation_replaces_the_old_one_whole(store: Store) -> None:
    await publish(store, [chunk(n) for n in range(5)], random_vectors(5))
    new = await publish(store, [chunk(9)], random_vectors(1))
    assert await store.manifest() == new
    hits = await nearest(store, random_vectors(1)[0], 10)
    assert [hit.chunk.start_char for hit in hits] == [9]


async def test_another_process_that_publishes_is_followed(make: MakeStore) -> None:
    reader, writer = make(), make()
    await reader.open()
    assert await reader.manifest() is None
    for number in range(4):
        manifest = await publish(writer, [chunk(number)], random_vectors(1))
        assert await reader.manifest() == manifest
        [hit] = await nearest(reader, random_vectors(1)[0], 10)
        assert hit.chunk.start_char == number


async def test_a_search_under_way_outlives_the_change(make: MakeStore) -> None:
    reader, writer = make(), make()
    await publish(writer, [chunk(n) for n in range(50)], random_vectors(50))
    query = random_vectors(1)[0]
    searches = [asyncio.create_task(nearest(reader, query, 50)) for _ in range(20)]
    await publish(writer, [chunk(n) for n in range(50)], random_vectors(50))
    for hits in await asyncio.gather(*searches):
        assert len(hits) == 50


@pytest.mark.parametrize("gone", [[], ["b.md"], ["a.md", "b.md"], ["none.md"]])
async def test_unchanged_files_are_taken_over(store: Store, gone: list[str]) -> None:
    chunks = [chunk(n, path) for path in ("a.md", "b.md", "c.md") for n in range(3)]
    vectors = random_vectors(9)
    wordless = SparseVector([], [])
    await publish(store, chunks, vectors, [*sparse_vectors(chunks[:-1]), wordless])
    generation = new_generation()
    builder = await store.build(generation, MODEL)
    await builder.copy_unchanged(without=gone)
    new, new_vector = chunk(7, "new.md"), random_vectors(1, seed=5)
    await builder.add([new], new_vector, sparse_vectors([new]))
    assert builder.dimension == DIMENSION
    kept = [each for each in chunks if each.file_path not in gone]
    await builder.publish(make_manifest(generation, len(kept) + 1), make_ledger([*kept, new]))
    hits = await nearest(store, random_vectors(1)[0], 50)
    assert {hit.chunk.chunk_id for hit in hits} == {each.chunk_id for each in [*kept, new]}
    for each, vector in zip(chunks, vectors, strict=True):
        if each in kept:
            [hit] = await nearest(store, vector, 1)
            assert hit.chunk == each
    assert await store.ledger() == make_ledger([*kept, new])


async def test_copying_without_a_published_generation(store: Store) -> None:
    builder = await store.build(new_generation(), MODEL)
    await builder.copy_unchanged(without=[])
    assert builder.dimension == 0
    await builder.discard()


async def test_vectors_of_the_published_generation_are_reused(store: Store) -> None:
    chunks, vectors = [chunk(n) for n in range(4)], random_vectors(4)
    await publish(store, chunks, vectors)
    builder = await store.build(new_generation(), MODEL)
    lent = await builder.reuse_vectors([chunks[1].content_hash, chunks[3].content_hash, "unknown"])
    assert set(lent) == {chunks[1].content_hash, chunks[3].content_hash}
    assert lent[chunks[3].content_hash] == pytest.approx(vectors[3], abs=1e-6)
    await builder.discard()


async def test_vectors_of_a_discarded_generation_are_reused(make: MakeStore) -> None:
    """The vectors of an interrupted run were paid for."""
    builder = await make().build(new_generation(), MODEL)
    vectors = random_vectors(2)
    await builder.add([chunk(1), chunk(2)], vectors, sparse_vectors([chunk(1), chunk(2)]))
    await builder.discard()
    store = make()
    await store.open()
    assert await store.manifest() is None
    builder = await store.build(new_generation(), MODEL)
    lent = await builder.reuse_vectors([chunk(2).content_hash])
    assert lent[chunk(2).content_hash] == pytest.approx(vectors[1], abs=1e-6)
    await builder.discard()


async def test_vectors_of_another_model_are_not_reused(store: Store) -> None:
    await publish(store, [chunk(1)], random_vectors(1), model="other/model")
    abandoned = await store.build(new_generation(), "third/model")
    await abandoned.add([chunk(2)], random_vectors(1), sparse_vectors([chunk(2)]))
    await abandoned.discard()
    builder = await store.build(new_generation(), MODEL)
    assert await builder.reuse_vectors([chunk(1).content_hash, chunk(2).content_hash]) == {}
    await builder.discard()


async def test_vectors_of_another_length_are_refused(store: Store) -> None:
    builder = await store.build(new_generation(), MODEL)
    await builder.add([chunk(1)], random_vectors(1), sparse_vectors([chunk(1)]))
    with pytest.raises(UpstreamError, match="vectors of dimension 3"):
        await builder.add([chunk(2)], np.ones((1, 3), np.float32), sparse_vectors([chunk(2)]))
    await builder.discard()


async def test_the_same_chunk_twice_is_one(store: Store) -> None:
    vectors = random_vectors(2)
    await publish(store, [chunk(1), chunk(1)], vectors)
    assert len(await nearest(store, vectors[0], 10)) == 1


async def test_many_chunks_at_once(store: Store) -> None:
    chunks = [chunk(n, f"{n % 7}.md") for n in range(700)]
    await publish(store, chunks, random_vectors(700))
    assert await store.ledger() == make_ledger(chunks)


async def test_the_first_batches_may_come_at_once(store: Store) -> None:
    """Batches overlap if the embedder takes several requests at a time."""
    chunks, vectors = [chunk(n) for n in range(40)], random_vectors(40)
    generation = new_generation()
    builder = await store.build(generation, MODEL)
    terms = sparse_vectors(chunks)
    parts = [slice(at, at + 10) for at in range(0, 40, 10)]
    await asyncio.gather(*(builder.add(chunks[part], vectors[part], terms[part]) for part in parts))
    await builder.publish(make_manifest(generation, 40), make_ledger(chunks))
    assert len(await nearest(store, vectors[0], 50)) == 40


async def test_what_the_points_do_not_tell_is_kept(store: Store) -> None:
    generation = new_generation()
    builder = await store.build(generation, MODEL)
    german = chunk(2, "de.md", file_hash="f")
    chunks = [chunk(1), german]
    await builder.add(chunks, random_vectors(2), sparse_vectors(chunks))
    kept = {german.chunk_id: german.content_hash}
    ledger = make_ledger([chunk(1)]) | {
        "draft.md": FileRecord(file_hash="d"),
        "b.md": FileRecord(file_hash="b", includes=["x.md"], problems=["odd"]),
        "de.md": FileRecord(file_hash="f", language="german", chunks=kept),
    }
    await builder.publish(make_manifest(generation, 1), ledger)
    assert await store.ledger() == ledger


def test_the_settings_choose_the_store(tmp_path: Path) -> None:
    assert isinstance(make_store(Settings(qdrant_path=tmp_path)), EdgeStore)
    assert isinstance(make_store(Settings(qdrant_url="http://localhost:6333")), ServerStore)


def test_names_of_generations() -> None:
    names = [new_generation() for _ in range(50)]
    assert len(set(names)) == 50
    assert all(generation_time(name) is not None for name in names)
    for other in ("", "book", "20261122", "20261122T190000", "x-20261122T190000-abcdef"):
        assert generation_time(other) is None


def test_a_manifest_survives_its_encoding() -> None:
    manifest = make_manifest("g", 5)
    assert msgspec.json.decode(msgspec.json.encode(manifest), type=Manifest) == manifest


# --- The embedded store -------------------------------------------------------------------------


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[EdgeStore]:
    made = EdgeStore(tmp_path / "index")
    await made.open()
    yield made
    await made.close()


def generations_in(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "index" / "generations").glob("*"))


async def test_only_one_builds_at_a_time(
    edge: EdgeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.store_edge, "_LOCK_SECONDS", 0.05)
    builder = await edge.build(new_generation(), MODEL)
    other = EdgeStore(tmp_path / "index")
    with pytest.raises(Conflict, match="Another process"):
        await other.build(new_generation(), MODEL)
    await builder.discard()
    await (await other.build(new_generation(), MODEL)).discard()
    await other.close()


async def test_a_builder_waits_for_one_that_only_cleans_up(edge: EdgeStore, tmp_path: Path) -> None:
    lock = lib.store_edge._acquire_lock(tmp_path / "index" / "building.lock")
    assert lock is not None
    building = asyncio.create_task(edge.build(new_generation(), MODEL))
    await asyncio.sleep(0)
    assert not building.done()
    lock.close()
    await (await building).discard()


async def test_a_killed_builder_leaves_the_lock_and_the_index(
    edge: EdgeStore, tmp_path: Path
) -> None:
    old = await publish(edge, [chunk(1)], random_vectors(1))
    code = f"""
import asyncio, os, pathlib, numpy
from lib.store_edge import EdgeStore
async def run():
    store = EdgeStore(pathlib.Path({str(tmp_path / "index")!r}))
    await store.build("20990101T000000-abcdef", "m")
    os.kill(os.getpid(), 9)
asyncio.run(run())
"""
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], cwd=ROOT)
    assert done.returncode == -9
    other = EdgeStore(tmp_path / "index")
    await other.open()
    assert await other.manifest() == old
    new = await publish(other, [chunk(2)], random_vectors(1))
    assert await edge.manifest() == new
    assert "20990101T000000-abcdef" not in generations_in(tmp_path)
    await other.close()


async def test_useless_generations_are_deleted(edge: EdgeStore, tmp_path: Path) -> None:
    names = [(await publish(edge, [chunk(n)], random_vectors(1))).generation for n in range(4)]
    assert generations_in(tmp_path) == sorted(names[-2:])  # another process may read the last


async def test_opening_clears_old_attempts(edge: EdgeStore, tmp_path: Path) -> None:
    live = await publish(edge, [chunk(0)], random_vectors(1))
    for day in range(1, 9):
        builder = await edge.build(f"2099010{day}T000000-abcdef", MODEL)
        await builder.add([chunk(day)], random_vectors(1), sparse_vectors([chunk(day)]))
        await builder.discard()
    other = EdgeStore(tmp_path / "index")
    await other.open()
    left = generations_in(tmp_path)
    assert live.generation in left
    assert len(left) == 1 + lib.store_edge._KEPT_ATTEMPTS
    assert await other.manifest() == live
    await other.close()


async def test_opening_leaves_what_another_builds(edge: EdgeStore, tmp_path: Path) -> None:
    builder = await edge.build("20000101T000000-abcdef", MODEL)
    await builder.add([chunk(1)], random_vectors(1), sparse_vectors([chunk(1)]))
    for day in range(1, 6):
        await asyncio.to_thread(os.makedirs, tmp_path / f"index/generations/2099010{day}T000000-a")
    other = EdgeStore(tmp_path / "index")
    await other.open()
    manifest = make_manifest("20000101T000000-abcdef", 1)
    await builder.publish(manifest, make_ledger([chunk(1)]))
    assert await other.manifest() == manifest
    await other.close()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *product(
            ("generations/{}/manifest.json", "generations/{}/files.json"),
            (b"", b"{", b"5", b'{"\xff": "\xff"}'),
        ),
        ("current", b"\xff\xfe"),
        ("current", bytes(22)),
    ],
)
async def test_damaged_files_are_reported(
    edge: EdgeStore, tmp_path: Path, name: str, content: bytes
) -> None:
    manifest = await publish(edge, [chunk(1)], random_vectors(1))
    damage(tmp_path / "index" / name.format(manifest.generation), content)
    other = EdgeStore(tmp_path / "index")
    await other.open()
    with pytest.raises(StoreUnavailable, match="damaged") as caught:
        await other.ledger()
    assert str(tmp_path) not in caught.value.message
    await publish(other, [chunk(2)], random_vectors(1))
    assert len(await other.ledger()) == 1
    await other.close()


async def test_damaged_segments_are_reported(edge: EdgeStore, tmp_path: Path) -> None:
    manifest = await publish(edge, [chunk(1)], random_vectors(1))
    shard = tmp_path / "index" / "generations" / manifest.generation / "shard"
    damage_all(shard)
    other = EdgeStore(tmp_path / "index")
    await other.open()
    with pytest.raises(StoreUnavailable):
        await nearest(other, random_vectors(1)[0], 1)
    await other.close()


def damage(path: Path, content: bytes) -> None:
    assert path.exists()
    path.write_bytes(content)


def damage_all(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(b"\0" * 10)


async def test_a_path_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = EdgeStore(tmp_path / "file" / "index")
    with pytest.raises(StoreUnavailable, match="QDRANT_PATH") as caught:
        await store.open()
    assert str(tmp_path) not in caught.value.message
    await store.close()


async def test_cancelling_in_the_midst_of_writing_does_no_harm(
    edge: EdgeStore, tmp_path: Path
) -> None:
    builder = await edge.build(new_generation(), MODEL)
    chunks = [chunk(n) for n in range(500)]
    writing = asyncio.create_task(builder.add(chunks, random_vectors(500), sparse_vectors(chunks)))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await builder.discard()
    await publish(edge, [chunk(1)], random_vectors(1))
    assert len(await nearest(edge, random_vectors(1)[0], 10)) == 1


async def test_a_builder_cancelled_while_it_gives_up_lets_the_lock_go(edge: EdgeStore) -> None:
    builder = await edge.build(new_generation(), MODEL)
    occupied = threading.Event()
    busy = asyncio.ensure_future(edge.in_builder_thread(occupied.wait))
    giving_up = asyncio.create_task(builder.discard())
    for _ in range(3):  # until it is in the thread's queue
        await asyncio.sleep(0)
    giving_up.cancel()
    await asyncio.sleep(0)
    occupied.set()
    await asyncio.wait((busy, giving_up))
    assert giving_up.cancelled()
    await (await edge.build(new_generation(), MODEL)).discard()


async def test_concurrent_readers_open_an_index_once(edge: EdgeStore, tmp_path: Path) -> None:
    await publish(edge, [chunk(1)], random_vectors(1))
    other = EdgeStore(tmp_path / "index")
    opened = await asyncio.gather(*(other.in_thread(other._folder.current) for _ in range(2)))
    assert opened[0] is opened[1] is not None
    await other.close()


async def test_a_replaced_index_is_a_source_only_for_another_model(edge: EdgeStore) -> None:
    """It stays for processes that still read it; reading it again takes a second."""
    await publish(edge, [chunk(1), chunk(2)], random_vectors(2))
    await publish(edge, [chunk(1)], random_vectors(1))
    assert await edge.in_thread(edge._folder.other_sources, MODEL) == []
    await publish(edge, [chunk(1)], random_vectors(1), model="test/other")
    [replaced] = await edge.in_thread(edge._folder.other_sources, MODEL)
    assert (replaced / "manifest.json").exists()
