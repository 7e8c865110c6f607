"""Unpack pushed archives, `.tar.gz` and `.zip`, without trusting anything in them.

Only files and folders below the target are written, and bytes are counted as they are written,
because headers can lie. Tar is read here, because `tarfile` takes quadratic time for some headers
before Python 3.12.6.
"""

import errno
import fcntl
import os
import re
import shutil
import struct
import zipfile
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import IO, Final
from uuid import uuid4

from lib.documents import HTML_SUFFIXES, IGNORE_FILE, MARKDOWN_SUFFIXES, DocumentLimits
from lib.errors import InvalidRequest
from lib.sites.built import has_signs_of_build

_BUILT_SIGN: Final = ".nojekyll"
"""Left in place of the other signs of a built site (`lib.sites.built`)."""
UPLOAD_PREFIX: Final = "archive-"
"""Prefix of the names of uploads that wait to be unpacked."""

_PIECE: Final = 64 * 1024
_BLOCK: Final = 512
_MAX_HEADER_BYTES: Final = 1 << 20
_MAX_DIRECTORY_BYTES: Final = 16 << 20
_MAX_PATH_BYTES: Final = 1_000
_MAX_ENTRIES_PER_FILE: Final = 10
"""Archive entries and folders allowed per page of MAX_FILES: images and the like count too."""
_ZIP_TAIL_BYTES: Final = 66_000
"""The end-of-directory record of a zip starts within this distance of the end."""
_NAME_ERRORS: Final = frozenset(
    {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}
)
_FORBIDDEN: Final = re.compile(r"[\x00-\x1f\x7f\\]|^[^/]*:")

_DAMAGED: Final = (
    "The body is not a complete .tar.gz or .zip archive. If it was truncated, send it again."
)
_TOO_MANY: Final = "The archive has too many files. Send only the docs folder."
_TOO_LARGE: Final = "The unpacked archive exceeds {} bytes (MAX_TOTAL_BYTES)."
_NOT_A_FILE: Final = (
    "The archive contains {!r}, a link or a device. Only files and folders are allowed."
)

_Entry = tuple[bytes | str, Iterator[bytes] | None]
"""Path, and contents; None for a folder. The contents must be read before the next entry."""


def lock_folder(folder: Path) -> Callable[[], None] | None:
    """Lock the folder in which a push is unpacked and ingested; create it if it is missing.

    Returns the function that unlocks it, or None while another push holds the lock, in this process
    or another one. The lock ends with the process, even if it is killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return partial(os.close, descriptor)


def remove_leftovers(folder: Path) -> None:
    """Remove the files of a push that was killed, unless another process is unpacking one."""
    found = [*folder.glob(f"{UPLOAD_PREFIX}*"), *folder.glob("content.*")]
    unlock = lock_folder(folder) if found else None
    if unlock is None:
        return
    for path in found:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    unlock()


def unpack(archive: Path, target: Path, limits: DocumentLimits, *, whole: bool = False) -> None:
    """Replace the folder `target` with the contents of the archive, completely or not at all.

    The folder counts as a repository of its own, so that its pages include nothing outside it. Of a
    built site only the pages are written, unless `whole`: images and bundles are most of it.
    Raises `InvalidRequest` if the archive is invalid, truncated or too large, or contains a path
    outside the folder, a link or a device.
    """
    beside = target.with_name(f"{target.name}.{uuid4().hex[:8]}")
    try:
        beside.mkdir(parents=True)
        with archive.open("rb") as file:
            entries = _tar_entries if file.read(2) == b"\x1f\x8b" else _zip_entries
            built = None if whole else _built_site(_names(entries(file, limits), limits))
            _write(entries(file, limits), beside, limits, built)
        content = beside / (built or "")
        (content / ".git").touch()
        if built is not None:
            (content / _BUILT_SIGN).touch()
        old = target.with_name(f"{beside.name}.old")
        if target.exists():
            target.rename(old)
        content.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _names(entries: Iterator[_Entry], limits: DocumentLimits) -> set[PurePosixPath]:
    """The files in an archive."""
    files = set[PurePosixPath]()
    for count, (name, contents) in enumerate(entries, 1):
        if count > limits.max_files * _MAX_ENTRIES_PER_FILE:
            raise InvalidRequest(_TOO_MANY)
        if contents is not None:
            files.add(_safe_path(name, limits.max_depth))
            deque(contents, maxlen=0)  # a tar is read in order
    return files


def _built_site(files: set[PurePosixPath]) -> str | None:
    """The folder of the built site in an archive: the top or the only folder there. None if the
    archive is no built site."""
    tops = {part for path in files for part in path.parts[:1]} - {"__MACOSX"}
    folder = next(iter(tops)) if len(tops) == 1 else ""
    inside = {path.relative_to(folder) for path in files if path.is_relative_to(folder)}
    known = {path.as_posix() for file in inside for path in (file, *file.parents)}
    suffixes = Counter(path.suffix.lower() for path in inside)
    html, markdown = (
        sum(suffixes[suffix] for suffix in each) for each in (HTML_SUFFIXES, MARKDOWN_SUFFIXES)
    )
    return folder if has_signs_of_build(known.__contains__) and html >= markdown else None


def _is_read(path: PurePosixPath) -> bool:
    """Whether a file of a built site is read."""
    is_page = path.suffix.lower() in HTML_SUFFIXES | MARKDOWN_SUFFIXES
    is_sitemap = path.suffix == ".xml" and path.name.startswith("sitemap")
    return is_page or is_sitemap or path.name == IGNORE_FILE


def _write(
    entries: Iterator[_Entry], folder: Path, limits: DocumentLimits, built: str | None
) -> None:
    """Write the files below `folder`. Raises `InvalidRequest` above a limit."""
    left, written = limits.max_total_bytes, 0
    made: set[PurePosixPath] = set()
    for count, (name, contents) in enumerate(entries, 1):
        path = _safe_path(name, limits.max_depth)
        if count + len(made) > limits.max_files * _MAX_ENTRIES_PER_FILE:
            raise InvalidRequest(_TOO_MANY)
        if contents is None:
            continue  # a folder
        if built is not None and not _is_read(path):
            deque(contents, maxlen=0)
            continue
        try:
            if path.parent not in made:
                (folder / path.parent).mkdir(parents=True, exist_ok=True)
                made.update(path.parents)
            with (folder / path).open("xb") as out:
                for data in contents:
                    left -= len(data)
                    if left < 0:
                        raise InvalidRequest(_TOO_LARGE.format(limits.max_total_bytes))
                    out.write(data)
        except OSError as error:
            if error.errno not in _NAME_ERRORS:
                raise
            raise InvalidRequest(
                f"The archive cannot be unpacked at {str(path)[:200]!r}: {error.strerror}. "
                "Each name must be unique, also without regard to case."
            ) from None
        written += 1
    if not written:
        raise InvalidRequest("The archive has no files. Send the docs folder.")


def _safe_path(name: bytes | str, max_depth: int) -> PurePosixPath:
    """Return the path of an entry inside the target. Raises `InvalidRequest`."""
    try:
        data = name.encode() if isinstance(name, str) else name
        name = data.decode()
    except UnicodeError:
        raise InvalidRequest("The archive contains a file name that is not UTF-8.") from None
    path = PurePosixPath(name)
    if _FORBIDDEN.search(name) or path.is_absolute() or ".." in path.parts:
        raise InvalidRequest(f"The archive contains the path {name[:200]!r}, which is not allowed.")
    if len(path.parts) > max_depth:
        raise InvalidRequest(f"The archive is more than {max_depth} folders deep (MAX_DEPTH).")
    if len(data) > _MAX_PATH_BYTES or any(len(part.encode()) > 255 for part in path.parts):
        raise InvalidRequest(
            "The archive contains a file name longer than 255 bytes, or a path longer than "
            f"{_MAX_PATH_BYTES}."
        )
    return path


def _tar_entries(file: IO[bytes], limits: DocumentLimits) -> Iterator[_Entry]:
    tar = _Tar(file, limits.max_total_bytes)
    extended: dict[bytes, bytes] = {}  # pax records and the long name of the next entry
    while (header := tar.read(_BLOCK)).strip(b"\0"):
        kind, size = header[156:157], _number(header[124:136])
        if _number(header[148:156]) != sum(header[:148]) + 8 * 0x20 + sum(header[156:]):
            raise InvalidRequest(_DAMAGED)
        if kind in b"xXgLK":
            if size > _MAX_HEADER_BYTES:
                raise InvalidRequest("The archive has an oversized header. Create it again.")
            data = b"".join(tar.contents(size))
            if kind == b"L":
                extended[b"path"] = data.rstrip(b"\0")
            elif kind in b"xX":
                extended |= _pax_records(data)
            continue
        path, prefix = (header[i : i + n].split(b"\0")[0] for i, n in ((0, 100), (345, 155)))
        if prefix and header[257:263] == b"ustar\0":
            path = prefix + b"/" + path
        path = extended.get(b"path", path)
        if b"size" in extended:
            size = _number(extended[b"size"], 10)
        sparse = any(key.startswith(b"GNU.sparse.") for key in extended)
        if sparse or kind not in (b"0", b"\0", b"5", b"7"):
            raise InvalidRequest(_NOT_A_FILE.format(path[:200].decode(errors="replace")))
        extended = {}
        folder = kind == b"5" or path.endswith(b"/")
        yield path, None if folder else tar.contents(size)
    tar.finish()


class _Tar:
    """Reads the bytes of a compressed tar."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self._pieces = _gunzip(file, limit)
        self._held = bytearray()

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes. Raises `InvalidRequest` at the end."""
        while len(self._held) < size:
            data = next(self._pieces, None)
            if data is None:
                raise InvalidRequest(_DAMAGED)
            self._held += data
        data = bytes(self._held[:size])
        del self._held[:size]
        return data

    def contents(self, size: int) -> Iterator[bytes]:
        """Yield the contents of an entry, and skip its padding."""
        for start in range(0, size, _PIECE):
            yield self.read(min(_PIECE, size - start))
        self.read(-size % _BLOCK)

    def finish(self) -> None:
        """Check the rest, which includes the checksum of the gzip stream."""
        if any(data.strip(b"\0") for data in chain((bytes(self._held),), self._pieces)):
            raise InvalidRequest(_DAMAGED)


def _gunzip(file: IO[bytes], limit: int) -> Iterator[bytes]:
    """Yield pieces of up to `_PIECE` bytes. Raises `InvalidRequest` above `limit` bytes in all."""
    stream, piece, left = zlib.decompressobj(16 + zlib.MAX_WBITS), b"", limit
    file.seek(0)
    while not stream.eof:
        piece = piece or file.read(_PIECE)
        try:
            data = stream.decompress(piece, _PIECE)
        except zlib.error:
            raise InvalidRequest(_DAMAGED) from None
        if not (piece or data):
            raise InvalidRequest(_DAMAGED)
        piece = stream.unconsumed_tail
        left -= len(data)
        if left < 0:
            raise InvalidRequest(_TOO_LARGE.format(limit))
        yield data
    for piece in chain((stream.unused_data,), iter(partial(file.read, _PIECE), b"")):
        if piece.strip(b"\0"):
            raise InvalidRequest(_DAMAGED)


def _number(field: bytes, base: int = 8) -> int:
    """Parse a number: digits, or in a tar header also binary with the first bit set."""
    if base == 8 and field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0") or b"0"
    if not digits.isdigit() or len(digits) > 20 or (base == 8 and digits.strip(b"01234567")):
        raise InvalidRequest(_DAMAGED)
    return int(digits, base)


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    """Parse records of the form `length key=value\\n`; the length is that of the whole record."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(data) and data[at]:
        space = data.find(b" ", at, at + 21)
        end = at + _number(data[at : max(at, space)], 10)
        key, equals, value = data[space + 1 : end].partition(b"=")
        if not at < space < end <= len(data) or not equals or not value.endswith(b"\n"):
            raise InvalidRequest(_DAMAGED)
        records[key] = value[:-1]
        at = end
    return records


def _zip_entries(file: IO[bytes], limits: DocumentLimits) -> Iterator[_Entry]:
    with _damage_refused():
        _check_directory(file)
        archive = zipfile.ZipFile(file)
        for info in archive.infolist():
            name = info.orig_filename  # `filename` ends at a NUL
            if (info.external_attr >> 16) & 0o170000 not in (0, 0o100000, 0o040000):
                raise InvalidRequest(_NOT_A_FILE.format(name[:200]))
            if info.flag_bits & 1 or info.compress_type not in (0, zipfile.ZIP_DEFLATED):
                raise InvalidRequest(
                    "The archive is encrypted or uses an unsupported compression. "
                    "Send a plain .zip or .tar.gz."
                )
            yield name, None if name.endswith("/") else _zip_contents(archive, info)


def _zip_contents(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with _damage_refused(), archive.open(info) as stream:
        yield from iter(partial(stream.read, _PIECE), b"")


@contextmanager
def _damage_refused() -> Iterator[None]:
    try:
        yield
    except InvalidRequest:
        raise
    except Exception:
        # zipfile raises a dozen types of exceptions for damaged archives
        raise InvalidRequest(_DAMAGED) from None


def _check_directory(file: IO[bytes]) -> None:
    """Refuse a directory that is huge, as `ZipFile` reads all of it, or ZIP64, which it prefers."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _ZIP_TAIL_BYTES))
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    directory, _, comment = struct.unpack_from("<2LH", tail, max(0, at) + 12)
    if at < 0 or at + 22 + comment != len(tail) or tail[max(0, at - 20) :].startswith(b"PK\6\7"):
        raise InvalidRequest(_DAMAGED)
    if directory > _MAX_DIRECTORY_BYTES:
        raise InvalidRequest(_TOO_MANY)
