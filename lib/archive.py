"""A docs folder pushed as a `.tar.gz` or `.zip`, unpacked without trusting a byte of it.

Nothing is written outside the target, no link or device is made, and neither the headers' sizes
nor the compression is believed: bytes are counted as they are written.
"""

import gzip
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO
from uuid import uuid4

from lib.documents import DocumentLimits
from lib.errors import InvalidRequest

COPY_BYTES = 64 * 1024
MAX_READ_BYTES = 1 << 20
MAX_DIRECTORY_BYTES = 16 << 20
ZIP_TAIL_BYTES = 66_000
"""A zip's last record begins so near its end at the most."""
MAX_ENTRIES_PER_FILE = 10
"""Images and other files that are no pages may be so many times more than pages."""

Entry = tuple[str, Callable[[], IO[bytes] | None]]


def unpack(archive: Path, target: Path, limits: DocumentLimits) -> None:
    """Replace the folder `target` by what the archive holds, whole or not at all.

    Raises `InvalidRequest` for what is no archive, is cut off, too large, or names a place
    outside, a link or a device.
    """
    beside = target.with_name(f"{target.name}.{uuid4().hex[:8]}")
    try:
        beside.mkdir(parents=True)
        try:
            if zipfile.is_zipfile(archive):
                check_directory(archive)
                with zipfile.ZipFile(archive) as opened:
                    write(zip_entries(opened), beside, limits)
            else:
                with (
                    SmallReads(archive) as unpacked,
                    tarfile.open(fileobj=unpacked, mode="r:") as stream,
                ):
                    write(tar_entries(stream), beside, limits)
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk, not the archive
            raise InvalidRequest(
                "The body is not a whole .tar.gz or .zip archive; it may have been cut off."
            ) from None
        # What zipfile raises for a method it lacks, for a password, and for names in no encoding.
        except (NotImplementedError, RuntimeError, UnicodeError):
            raise InvalidRequest(
                "The archive is encrypted or packed in a way that cannot be read."
            ) from None
        replace(target, beside)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write(entries: Iterator[Entry], folder: Path, limits: DocumentLimits) -> None:
    """Write the files below `folder`, as long as they stay within the limits."""
    left, count = limits.max_total_bytes, 0
    for name, opened in entries:
        path = safe_path(name, limits.max_depth)
        count += 1
        if count > limits.max_files * MAX_ENTRIES_PER_FILE:
            raise InvalidRequest("The archive holds too many files.")
        source = opened()
        if source is None:
            continue
        file = folder / path
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with source, file.open("wb") as out:
                while data := source.read(COPY_BYTES):
                    left -= len(data)
                    if left < 0:
                        raise InvalidRequest(
                            "The archive is larger than "
                            f"{limits.max_total_bytes} bytes when unpacked."
                        )
                    out.write(data)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise InvalidRequest(f"The archive has {name!r} as a file and as a folder.") from None


def tar_entries(stream: tarfile.TarFile) -> Iterator[Entry]:
    for member in stream:
        if member.isdir():
            safe_name(member.name)
        elif member.isfile():
            yield member.name, partial(stream.extractfile, member)
        else:
            raise InvalidRequest(
                f"The archive holds {safe_name(member.name)!r}, which is a link or a device; "
                "only files and folders are taken."
            )


def zip_entries(archive: zipfile.ZipFile) -> Iterator[Entry]:
    for info in archive.infolist():
        kind = (info.external_attr >> 16) & 0o170000
        if kind not in (0, 0o100000, 0o040000):
            raise InvalidRequest(
                f"The archive holds {safe_name(info.filename)!r}, which is a link or a device; "
                "only files and folders are taken."
            )
        if info.is_dir():
            safe_name(info.filename)
        else:
            yield info.filename, partial(archive.open, info)


def check_directory(archive: Path) -> None:
    """Refuse a zip whose table of contents alone would fill the memory, which is where it goes."""
    with archive.open("rb") as file:
        file.seek(-min(archive.stat().st_size, ZIP_TAIL_BYTES), 2)
        tail = file.read()
    at = tail.rfind(b"PK\5\6")
    size = int.from_bytes(tail[at + 12 : at + 16], "little")
    if at < 0 or size > MAX_DIRECTORY_BYTES:  # also what stands there for a zip64
        raise InvalidRequest("The archive holds too many files.")


class SmallReads(gzip.GzipFile):
    """A compressed stream that refuses to hand out much at once.

    A tar's extended headers may say that they are gigabytes long, and are read whole.
    """

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MAX_READ_BYTES:
            raise InvalidRequest("The archive has a header of a size that no docs folder needs.")
        return super().read(size)


def safe_path(name: str, max_depth: int) -> PurePosixPath:
    """The place of an entry inside the target. Raises `InvalidRequest`."""
    path = PurePosixPath(safe_name(name))
    if len(path.parts) > max_depth:
        raise InvalidRequest(f"The archive is nested deeper than {max_depth} folders.")
    if not path.parts or any(len(part.encode()) > 255 for part in path.parts):
        raise InvalidRequest("The archive holds a file whose name cannot be used.")
    return path


def safe_name(name: str) -> str:
    """`name` if it stays inside. Raises `InvalidRequest`."""
    path = PurePosixPath(name)
    bad = "\0" in name or "\\" in name or ":" in name.partition("/")[0]
    if bad or path.is_absolute() or ".." in path.parts:
        raise InvalidRequest(f"The archive holds {name[:200]!r}, which lies outside of it.")
    return name


def replace(target: Path, beside: Path) -> None:
    """Put the folder `beside` in the place of `target`."""
    old = target.with_name(f"{beside.name}.old")
    if target.exists():
        target.rename(old)
    beside.rename(target)
    shutil.rmtree(old, ignore_errors=True)
