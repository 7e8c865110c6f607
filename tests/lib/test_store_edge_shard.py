"""An index on a read-only disk, as in a container with a read-only root file system.

A real read-only mount, in a process of its own: permissions alone do not stop the user root.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from io import FileIO
from pathlib import Path

import pytest

from lib.store import new_generation
from lib.store_edge import EdgeStore
from lib.store_edge_shard import _copy_files, _data_ranges, preload_files
from tests.stores import MODEL, chunk, publish, random_vectors

ROOT = Path(__file__).parents[2]
REFUSED = 99
"""A way to seek that no file system knows."""
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
LOOK = """
import asyncio, json, sys, tempfile
from pathlib import Path
from lib.errors import StoreUnavailable
from lib.store import all_urls, new_generation
from lib.store_edge import EdgeStore
from tests.stores import chunk, nearest, publish, random_vectors

async def look():
    store = EdgeStore(Path(sys.argv[1]))
    await store.open()
    try:
        found = await nearest(store, random_vectors(3)[1], 2)
        print(json.dumps([hit.chunk.chunk_id for hit in found]))
        print(len(await store.ledger()), len(await all_urls(store)))
        await publish(store, [chunk(9)], random_vectors(1))
    except StoreUnavailable as error:
        print(error.message)
    await store.close()

asyncio.run(look())
tempfile.tempdir = "/proc"
asyncio.run(look())
"""


def read_only(folder: Path, code: str, **environment: str) -> list[str]:
    """Run `code` with `folder` read-only; return the lines that it prints."""
    rights = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", "--mount", *rights, "sh", "-c", READ_ONLY, str(folder)]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine lets the tests mount nothing")
    done = subprocess.run(
        [*command, sys.executable, "-c", code, str(folder)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(params=["files", "packed"])
async def index(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "index"
    store = EdgeStore(folder)
    await store.open()
    await publish(store, [chunk(n) for n in range(3)], random_vectors(3))
    await store.close()
    if request.param == "packed":
        await asyncio.to_thread(pack, folder)
    return folder


def pack(index: Path) -> None:
    """Pack the shard as the Dockerfile does."""
    (shard,) = index.glob("generations/*/shard")
    command = ["tar", "--sparse", "-C", str(shard), "-cf", f"{shard}.tar", "."]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("tar cannot pack sparse files here")
    shutil.rmtree(shard)


async def test_an_index_that_cannot_be_written_is_read_if_there_is_room_for_a_copy(
    index: Path, tmp_path: Path
) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    found, counts, refusal, no_room = read_only(index, LOOK, TMPDIR=str(copies))
    assert json.loads(found)[0] == chunk(1).chunk_id
    assert counts == "1 3"
    assert refusal == ("The index folder cannot be used: Read-only file system. See QDRANT_PATH.")
    assert not list(copies.iterdir())
    assert "on a read-only disk" in no_room
    assert "TMPDIR" in no_room
    assert str(index) not in no_room


async def test_a_packed_index_is_small_and_its_vectors_are_reused(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    store = EdgeStore(folder)
    await store.open()
    vectors = random_vectors(3)
    await publish(store, [chunk(n) for n in range(3)], vectors)
    await store.close()
    await asyncio.to_thread(pack, folder)
    assert sum(each.st_size for each in stats(folder)) < 1_000_000
    (folder / "current").unlink()  # leaves the builder no other source
    store = EdgeStore(folder)
    await store.open()
    builder = await store.build(new_generation(), MODEL)
    lent = await builder.reuse_vectors([chunk(1).content_hash])
    assert lent[chunk(1).content_hash] == pytest.approx(vectors[1], abs=1e-6)
    await builder.discard()
    await store.close()


async def test_what_is_taken_over_can_be_written_and_is_small(index: Path) -> None:
    protect(index)
    store = EdgeStore(index)
    generation = new_generation()
    builder = await store.build(generation, MODEL)
    await builder.copy_unchanged(without=[])
    its = stats(index / "generations" / generation)
    assert all(each.st_mode & 0o200 for each in its)
    assert sum(each.st_blocks * 512 for each in its) < 5_000_000
    assert sum(each.st_size for each in its) > 50_000_000
    await builder.discard()
    await store.close()


def protect(folder: Path) -> None:
    for path in folder.rglob("shard/**/*"):
        if path.is_file():
            path.chmod(0o444)


def stats(folder: Path) -> list[os.stat_result]:
    return [path.stat() for path in folder.rglob("*")]


def test_files_are_read_through_whatever_they_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken").symlink_to(tmp_path / "none")
    path = tmp_path / "folder" / "holes"
    places = [3 << 20, 5 << 20, 8 << 20]
    with path.open("wb") as file:
        for place in places:
            file.seek(place)
            file.write(b"data" * 1_000)
        file.truncate(9 << 20)
    with FileIO(path) as old:
        found = list(_data_ranges(old))
        assert [begin for begin, _ in found] == places
        assert all(4_000 <= end - begin < 1 << 20 for begin, end in found)
        monkeypatch.setattr(os, "SEEK_DATA", REFUSED)
        assert list(_data_ranges(old)) == [(0, 9 << 20)]
        monkeypatch.delattr(os, "SEEK_DATA")
        assert list(_data_ranges(old)) == [(0, 9 << 20)]
    preload_files(tmp_path)
    monkeypatch.undo()
    preload_files(tmp_path)


@pytest.mark.parametrize("way", [os.SEEK_DATA, REFUSED])
def test_a_copy_is_sparse_even_where_zeros_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: int
) -> None:
    monkeypatch.setattr(os, "SEEK_DATA", way)
    path = tmp_path / "source" / "folder" / "zeros"
    path.parent.mkdir(parents=True)
    content = bytes(300_000) + b"data" + bytes(3 << 20)
    path.write_bytes(content)
    _copy_files(tmp_path / "source", tmp_path / "copy")
    copy = tmp_path / "copy" / "folder" / "zeros"
    assert copy.read_bytes() == content
    assert copy.stat().st_blocks * 512 < 200_000
