"""Find the pages of a content folder, read them, and unpack pushed archives.

Hidden files, dependencies, build outputs and partials are skipped silently: no generator
publishes them. Anything else that cannot be read becomes one line in `Discovery.errors`, so that
one bad file never fails an ingestion.

`unpack` takes a `.tar.gz` or `.zip` and trusts none of it. It writes only below the target,
creates no links or devices, and counts bytes as it writes them, because headers can lie. It does
not use `tarfile.data_filter`: that strips a leading slash instead of refusing it, allows links
inside the folder, and does not cover zip files.
"""

import gzip
import hashlib
import os
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Final
from uuid import uuid4

from pathspec import GitIgnoreSpec

from lib.errors import InvalidRequest

_IGNORE_FILE: Final = ".quireignore"
"""Optional list of files to skip, in gitignore syntax, at the content root."""

_SUFFIXES: Final = frozenset({".md", ".mdx", ".markdown"})
_NEVER: Final = frozenset("node_modules bower_components __pycache__ venv site-packages".split())
# Folders that no generator publishes.
_NEVER_UNDERSCORED: Final = frozenset(
    "_build _data _drafts _includes _layouts _sass _site _static _templates".split()
)
# A folder with one of these names is a build output only if it contains one of _OUTPUT_SIGNS:
# it may also be a chapter about building.
_OUTPUTS: Final = frozenset({"_build", "_site", "build", "dist", "out", "public", "site", "target"})
_OUTPUT_SIGNS: Final = ("index.html", "404.html", "sitemap.xml", "CACHEDIR.TAG", ".buildinfo")
_IGNORE_BYTES: Final = 100_000

_COPY_BYTES: Final = 64 * 1024
_MAX_READ_BYTES: Final = 1 << 20
_MAX_DIRECTORY_BYTES: Final = 16 << 20
_ZIP_TAIL_BYTES: Final = 66_000
"""The end-of-directory record of a zip starts within this distance of the end."""
_MAX_ENTRIES_PER_FILE: Final = 10
"""Archive entries allowed per page of MAX_FILES: images and the like count too."""

_TOO_MANY: Final = "The archive has too many files. Send only the docs folder."
_NOT_A_FILE: Final = (
    "The archive contains {!r}, a link or a device. Only files and folders are allowed."
)


class DocumentError(Exception):
    """Reason why a file cannot be read: one sentence, without the file name."""


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    max_files: int = 20_000
    max_file_bytes: int = 2_000_000
    max_total_bytes: int = 500_000_000
    max_depth: int = 32
    """Levels of folders below the content root."""


@dataclass(frozen=True, slots=True)
class Document:
    path: str
    """POSIX, relative to the content root."""
    text: str
    """The decoded file, with byte order mark and CR LF, so that offsets match the file on disk."""
    sha256: str
    """Hex digest of the file's bytes."""


@dataclass(frozen=True, slots=True)
class _Discovery:
    paths: tuple[str, ...]
    """Sorted, POSIX, relative to the content root."""
    errors: tuple[str, ...]
    """Lines of the form `file: problem`."""


_DEFAULT_LIMITS: Final = DocumentLimits()


def discover(
    root: Path, limits: DocumentLimits = _DEFAULT_LIMITS, *, underscored: bool = False
) -> _Discovery:
    """List the pages below `root`. Raises `DocumentError` if `root` cannot be listed.

    Skips hidden files, dependencies, build outputs and matches of `.quireignore`. Partials
    (`_name`) are skipped unless `underscored`, because some generators publish them. Symbolic
    links are reported as errors: they may lead out of the folder. Drafts are included: only the
    front matter marks them (`is_draft`).
    """
    if not root.is_dir():
        raise DocumentError("the content folder does not exist or is not a folder")
    errors: list[str] = []
    ignored = _ignore_rules(root, errors)
    paths: list[str] = []
    total = 0
    for path, size in _walk(root, limits, ignored, errors, underscored):
        if len(paths) >= limits.max_files:
            errors.append(
                f"{path}: skipped, with all files after it: more than {limits.max_files} files "
                "(MAX_FILES)"
            )
            break
        if size == 0:
            errors.append(f"{path}: the file is empty")
            continue
        if size > limits.max_file_bytes:
            errors.append(f"{path}: {_too_large(size, limits)}")
            continue
        if total + size > limits.max_total_bytes:
            errors.append(
                f"{path}: skipped, with all files after it: together they exceed "
                f"{limits.max_total_bytes} bytes (MAX_TOTAL_BYTES)"
            )
            break
        total += size
        paths.append(path)
    return _Discovery(tuple(sorted(paths)), tuple(errors))


def read_document(root: Path, path: str, limits: DocumentLimits = _DEFAULT_LIMITS) -> Document:
    """Read one page.

    Raises `DocumentError` for a path outside `root`, a symbolic link, and a file that is missing,
    empty, too large, binary or not UTF-8.
    """
    data = _read_bytes(_resolve(root, path), limits)
    return Document(path, _decode(data), hashlib.sha256(data).hexdigest())


def is_draft(front_matter: Mapping[str, object]) -> bool:
    """Tell whether the front matter says `draft: true` or, as in Jekyll, `published: false`."""
    return _is_set(front_matter.get("draft"), True) or _is_set(front_matter.get("published"), False)


def _is_set(value: object, wanted: bool) -> bool:
    if isinstance(value, str):  # quoted: `draft: "true"`
        return value.strip().lower() == str(wanted).lower()
    return value is wanted


def _resolve(root: Path, path: str) -> Path:
    pure = PurePosixPath(path)
    if not path or "\0" in path or "\\" in path or pure.is_absolute() or ".." in pure.parts:
        raise DocumentError("the path is outside the content folder")
    target = root
    for part in pure.parts:
        target = target / part
        if target.is_symlink():
            raise DocumentError("the path is or contains a symbolic link")
    return target


def _read_bytes(file: Path, limits: DocumentLimits) -> bytes:
    # the file may have been replaced by a link or a pipe since it was listed
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        if not file.is_file():
            raise DocumentError("no such file")
        descriptor = os.open(file, flags)
        with os.fdopen(descriptor, "rb") as stream:
            data = stream.read(limits.max_file_bytes + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the name is not valid"
        raise DocumentError(f"the file cannot be read: {reason}") from error
    if len(data) > limits.max_file_bytes:
        raise DocumentError(_too_large(len(data), limits, at_least=True))
    return data


def _too_large(size: int, limits: DocumentLimits, *, at_least: bool = False) -> str:
    more = "at least " if at_least else ""
    return f"the file has {more}{size} bytes; the limit is {limits.max_file_bytes} (MAX_FILE_BYTES)"


def _decode(data: bytes) -> str:
    if not data.strip(b"\xef\xbb\xbf \t\r\n"):
        raise DocumentError("the file is empty")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DocumentError("the file is UTF-16; save it as UTF-8")
    # A single NUL may be a typo; many mean an image or archive with the wrong extension.
    if data.count(0) > max(1, len(data) // 1000):
        raise DocumentError("the file is binary, not text")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DocumentError(
            f"the file is not valid UTF-8 (line {line}); save it as UTF-8"
        ) from error


def _ignore_rules(root: Path, errors: list[str]) -> GitIgnoreSpec | None:
    file = root / _IGNORE_FILE
    if file.is_symlink() or not file.is_file():
        return None
    try:
        text = _decode(_read_bytes(file, DocumentLimits(max_file_bytes=_IGNORE_BYTES)))
        return GitIgnoreSpec.from_lines(text.removeprefix("\ufeff").splitlines())
    except DocumentError as error:
        if str(error) != "the file is empty":
            errors.append(f"{_IGNORE_FILE}: {error}")
    except (ValueError, re.error) as error:  # raised by pathspec for a bad pattern
        errors.append(f"{_IGNORE_FILE}: invalid pattern: {error}")
    return None


def _walk(
    root: Path,
    limits: DocumentLimits,
    ignored: GitIgnoreSpec | None,
    errors: list[str],
    underscored: bool,
) -> Iterator[tuple[str, int]]:
    """Yield pages and their sizes in bytes, folder by folder in order of name."""
    folders: list[tuple[str, int]] = [("", 0)]
    while folders:
        folder, depth = folders.pop()
        try:
            with os.scandir(root / folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            if not folder:
                raise DocumentError("the content folder cannot be listed") from error
            errors.append(f"{folder}: the folder cannot be listed: {error.strerror}")
            continue
        below: list[tuple[str, int]] = []
        for entry in entries:
            name = entry.name
            path = f"{folder}/{name}" if folder else name
            if name.startswith(".") or name in _NEVER:
                continue
            if name.startswith("_") and (not underscored or name in _NEVER_UNDERSCORED):
                continue
            try:
                name.encode("utf-8")
            except UnicodeEncodeError:
                errors.append(f"{ascii(path)[1:-1]}: the name is not valid UTF-8")
                continue
            is_link = entry.is_symlink()
            is_folder = entry.is_dir(follow_symlinks=False)
            is_page = not is_folder and os.path.splitext(name)[1].lower() in _SUFFIXES
            if not (is_link or is_folder or is_page):
                continue
            if ignored is not None and ignored.match_file(path + "/" if is_folder else path):
                continue
            if is_link:
                if is_page or os.path.isdir(entry.path):
                    errors.append(f"{path}: symbolic links are not followed; replace it by a copy")
            elif is_folder:
                if name in _OUTPUTS and any(
                    Path(entry.path, sign).exists() for sign in _OUTPUT_SIGNS
                ):
                    continue
                if depth >= limits.max_depth:
                    errors.append(
                        f"{path}: skipped: more than {limits.max_depth} levels deep (MAX_DEPTH)"
                    )
                else:
                    below.append((path, depth + 1))
            elif entry.is_file(follow_symlinks=False):
                yield path, entry.stat(follow_symlinks=False).st_size
        folders.extend(reversed(below))


_Entry = tuple[str, Callable[[], IO[bytes] | None]]


def unpack(archive: Path, target: Path, limits: DocumentLimits) -> None:
    """Replace the folder `target` with the contents of the archive, completely or not at all.

    Raises `InvalidRequest` if the archive is invalid, truncated or too large, or contains a path
    outside the folder, a link or a device.
    """
    beside = target.with_name(f"{target.name}.{uuid4().hex[:8]}")
    try:
        beside.mkdir(parents=True)
        if zipfile.is_zipfile(archive):
            _check_directory(archive)
            with zipfile.ZipFile(archive) as opened:
                _write(_zip_entries(opened), beside, limits)
        else:
            with _SmallReads(archive) as small, tarfile.open(fileobj=small, mode="r:") as stream:
                _write(_tar_entries(stream), beside, limits)
        old = target.with_name(f"{beside.name}.old")
        if target.exists():
            target.rename(old)
        beside.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # a disk error, not a bad archive
        raise InvalidRequest(
            "The body is not a complete .tar.gz or .zip archive. "
            "If it was truncated, send it again."
        ) from None
    # zipfile raises these for unknown compression, a password and undecodable names
    except (NotImplementedError, RuntimeError, UnicodeError):
        raise InvalidRequest(
            "The archive is encrypted or uses an unsupported compression. "
            "Send a plain .zip or .tar.gz."
        ) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write(entries: Iterator[_Entry], folder: Path, limits: DocumentLimits) -> None:
    """Write the files below `folder`. Raises `InvalidRequest` above a limit."""
    left = limits.max_total_bytes
    for count, (name, opened) in enumerate(entries, 1):
        path = _safe_path(name, limits.max_depth)
        if count > limits.max_files * _MAX_ENTRIES_PER_FILE:
            raise InvalidRequest(_TOO_MANY)
        source = opened()
        if source is None:
            continue  # a folder
        file = folder / path
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with source, file.open("wb") as out:
                while data := source.read(_COPY_BYTES):
                    left -= len(data)
                    if left < 0:
                        raise InvalidRequest(
                            f"The unpacked archive exceeds {limits.max_total_bytes} bytes "
                            "(MAX_TOTAL_BYTES)."
                        )
                    out.write(data)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise InvalidRequest(
                f"The archive has both a file and a folder named {name!r}."
            ) from None


def _tar_entries(stream: tarfile.TarFile) -> Iterator[_Entry]:
    for member in stream:
        if not (member.isfile() or member.isdir()):
            raise InvalidRequest(_NOT_A_FILE.format(member.name[:200]))
        yield member.name, partial(stream.extractfile, member)


def _zip_entries(archive: zipfile.ZipFile) -> Iterator[_Entry]:
    for info in archive.infolist():
        if (info.external_attr >> 16) & 0o170000 not in (0, 0o100000, 0o040000):
            raise InvalidRequest(_NOT_A_FILE.format(info.filename[:200]))
        yield info.filename, partial(archive.open, info) if not info.is_dir() else lambda: None


def _check_directory(archive: Path) -> None:
    """Refuse a zip with a huge directory: `ZipFile` reads all of it into memory."""
    with archive.open("rb") as file:
        file.seek(-min(archive.stat().st_size, _ZIP_TAIL_BYTES), 2)
        tail = file.read()
    at = tail.rfind(b"PK\5\6")
    size = int.from_bytes(tail[at + 12 : at + 16], "little")
    if at < 0 or size > _MAX_DIRECTORY_BYTES:  # also true of a zip64, which has 0xFFFFFFFF here
        raise InvalidRequest(_TOO_MANY)


class _SmallReads(gzip.GzipFile):
    """Gzip stream that refuses large reads.

    `tarfile` reads extended headers in one piece, and they may claim to be gigabytes long.
    """

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _MAX_READ_BYTES:
            raise InvalidRequest(
                "The archive has an oversized header. Create it again with tar or zip."
            )
        return super().read(size)


def _safe_path(name: str, max_depth: int) -> PurePosixPath:
    """Return the path of an entry inside the target. Raises `InvalidRequest`."""
    path = PurePosixPath(name)
    bad = "\0" in name or "\\" in name or ":" in name.partition("/")[0]
    if bad or path.is_absolute() or ".." in path.parts:
        raise InvalidRequest(f"The archive contains the path {name[:200]!r}, which is not allowed.")
    if len(path.parts) > max_depth:
        raise InvalidRequest(f"The archive is more than {max_depth} folders deep (MAX_DEPTH).")
    if any(len(part.encode()) > 255 for part in path.parts):
        raise InvalidRequest("The archive contains a file name longer than 255 bytes.")
    return path
