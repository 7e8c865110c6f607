"""The files of one generation of the embedded store: Qdrant's segments."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.errors import IndexUnreadable, StoreUnavailable
from lib.store import DENSE, SPARSE

if TYPE_CHECKING:
    from qdrant_edge import EdgeShard

SCROLL_LIMIT = 5_000
DAMAGED = (
    "The index cannot be read: its files are damaged, or another version of Quire made them. "
    "Ingest the book again."
)
BLOCK = 65_536
ZEROS = bytes(BLOCK)
READ_AT_MOST = 1 << 29
SHARED_MEMORY = "/dev/shm"
"""Containers can write there even when everything else in them is read-only."""


def create_shard(path: Path, dimension: int) -> "EdgeShard":
    from qdrant_edge import (
        Distance,
        EdgeConfig,
        EdgeShard,
        EdgeSparseVectorParams,
        EdgeVectorParams,
        Modifier,
        TurboQuantQuantizationConfig,
    )

    (path / "shard").mkdir()
    vectors = EdgeVectorParams(
        size=dimension,
        distance=Distance.Cosine,
        # Read as needed, and as fast: else 32 MB are taken at once, however few the vectors.
        on_disk=True,
        # Half a byte a number besides, which is what a search of a large book reads.
        quantization_config=TurboQuantQuantizationConfig(),
    )
    config = EdgeConfig(
        vectors={DENSE: vectors},
        sparse_vectors={SPARSE: EdgeSparseVectorParams(modifier=Modifier.Idf)},
        wal_enabled=False,
        # The one segment is searched by one thread anyway; more of them only wait for each other.
        max_search_threads=1,
    )
    return EdgeShard.create(str(path / "shard"), config)


def open_shard(path: Path) -> "EdgeShard":
    """Raises `StoreUnavailable` for one that the engine cannot read."""
    folder = path / "shard"
    if all(os.access(each, os.W_OK) for each in folder.rglob("*")):
        return load(folder)
    # The engine opens each file for writing, even to read it. Of a copy it needs only the open
    # files, so nothing is left behind however the process ends.
    try:
        with tempfile.TemporaryDirectory(prefix="quire-", dir=temporary_folder()) as copy:
            copy_files(folder, Path(copy))
            return load(Path(copy))
    except OSError as error:
        raise StoreUnavailable(
            "The index lies where nothing can be written, and the copy that is read instead "
            f"cannot be made: {error.strerror or 'the disk refused'}. See QDRANT_PATH, or TMPDIR "
            "for the copy."
        ) from error


def load(folder: Path) -> "EdgeShard":
    from qdrant_edge import EdgeShard

    try:
        return EdgeShard.load(str(folder))
    except Exception as error:  # the engine raises nothing more specific
        raise IndexUnreadable(DAMAGED) from error


def read_through(folder: Path) -> None:
    """Have the system read the files below `folder` into its memory, half a gigabyte at the most.

    The engine reads a page when it needs it, and a disk takes a tenth of a millisecond for each:
    of a large book, hundreds of searches would wait for hundreds.
    """
    block, left = memoryview(bytearray(16 * BLOCK)), READ_AT_MOST
    for begin, end, file in written(folder):
        file.seek(begin)
        while begin < end and left > 0:
            read = file.readinto(block[: end - begin])
            begin += read or end
            left -= read


def written(folder: Path) -> Iterator[tuple[int, int, FileIO]]:
    """The parts of the files below `folder` that are on the disk, where the system tells them.

    Not the zeros that the engine reserves: read, they would take memory.
    """
    for each in folder.rglob("*"):
        # Where nothing follows, the system says that there is no such place.
        with suppress(OSError, AttributeError), FileIO(each) as file:
            end = 0
            while True:
                begin = file.seek(end, os.SEEK_DATA)
                end = file.seek(begin, os.SEEK_HOLE)
                yield begin, end, file


def temporary_folder() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:  # it has tried them all
        return SHARED_MEMORY


def copy_files(source: Path, target: Path) -> None:
    """The files below `source` without their permissions, and without what holds only zeros.

    The engine reserves a hundred megabytes for the smallest index, which would be on the disk then,
    or in memory where the temporary folder is.
    """
    target.mkdir(exist_ok=True)
    for each in source.rglob("*"):
        there = target / each.relative_to(source)
        if each.is_dir():
            there.mkdir(parents=True, exist_ok=True)
            continue
        with each.open("rb", buffering=0) as old, there.open("wb") as new:
            while block := old.read(BLOCK):
                if block == ZEROS[: len(block)]:
                    new.seek(len(block), os.SEEK_CUR)
                else:
                    new.write(block)
            new.truncate()


def payloads(shard: "EdgeShard", field: str) -> "Iterator[tuple[str, Any]]":
    """The id of every point, and one field of its payload."""
    from qdrant_edge import ScrollRequest

    offset = None
    while True:
        records, offset = shard.scroll(
            ScrollRequest(offset=offset, limit=SCROLL_LIMIT, with_payload=[field])
        )
        for record in records:
            yield str(record.id), (record.payload or {}).get(field)
        if offset is None:
            return
