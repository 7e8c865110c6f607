"""Which files of a site's folder are its pages, and their text as it stands on disk.

A content folder holds more than pages: build outputs, dependencies, hidden files, partials. What
is left out silently is what no generator would publish; what ought to be readable and is not
becomes one line in `Discovery.errors`, so that one bad file never stops a book.

A docs folder pushed as a `.tar.gz` or `.zip`, unpacked without trusting a byte of it.

Nothing is written outside the target, no link or device is made, and neither the headers' sizes
nor the compression is believed: bytes are counted as they are written.
"""

import gzip
import hashlib
import os
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

IGNORE_FILE: Final = ".quireignore"
"""An author's own list of files to leave out, in gitignore's syntax, at the content root."""

_SUFFIXES: Final = frozenset({".md", ".mdx", ".markdown"})
_NEVER: Final = frozenset(
    {"node_modules", "bower_components", "__pycache__", "venv", "site-packages"}
)
# Folders that no generator publishes pages from.
_NEVER_UNDERSCORED: Final = frozenset(
    {
        "_build",
        "_data",
        "_drafts",
        "_includes",
        "_layouts",
        "_sass",
        "_site",
        "_static",
        "_templates",
    }
)
# Outputs of a site's build. A folder of one of these names may as well hold pages (a chapter on
# how to build): it is an output if the files in it say so.
_OUTPUTS: Final = frozenset({"_build", "_site", "build", "dist", "out", "public", "site", "target"})
_OUTPUT_SIGNS: Final = ("index.html", "404.html", "sitemap.xml", "CACHEDIR.TAG", ".buildinfo")
_IGNORE_BYTES: Final = 100_000


class DocumentError(Exception):
    """Why a file cannot be read: one sentence, which does not repeat the file's name."""


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    max_files: int = 20_000
    max_file_bytes: int = 2_000_000
    max_total_bytes: int = 500_000_000
    max_depth: int = 32
    """Folders below the content root."""


@dataclass(frozen=True, slots=True)
class Document:
    path: str
    """POSIX, relative to the content root."""
    text: str
    """The file's own characters: byte order mark and CR LF are kept, so that an offset counts
    Unicode characters in the file as it stands on disk."""
    sha256: str
    """Hexadecimal, of the file's bytes."""


@dataclass(frozen=True, slots=True)
class Discovery:
    paths: tuple[str, ...]
    """Sorted, POSIX, relative to the content root."""
    errors: tuple[str, ...]
    """`file: what is wrong with it`."""


DEFAULT_LIMITS: Final = DocumentLimits()


def discover(
    root: Path, limits: DocumentLimits = DEFAULT_LIMITS, *, underscored: bool = False
) -> Discovery:
    """The pages below `root`. Raises `DocumentError` if `root` is no folder that can be listed.

    Left out: hidden files and folders, dependencies, build outputs, and what `.quireignore`
    matches; without `underscored` also partials (`_name`), which some generators publish and
    others build in. Symbolic links are refused and named in the errors, for they may lead
    out of the folder. Whether a page is a draft stands in its front matter (`is_draft`).
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
                f"{path}: left out with all that follow it: more than {limits.max_files} files"
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
                f"{path}: left out with all that follow it: the files are together larger than "
                f"{limits.max_total_bytes} bytes"
            )
            break
        total += size
        paths.append(path)
    return Discovery(tuple(sorted(paths)), tuple(errors))


def read_document(root: Path, path: str, limits: DocumentLimits = DEFAULT_LIMITS) -> Document:
    """Read one page. Raises `DocumentError` for a path that leaves `root`, a symbolic link, and a
    file that is missing, empty, too large, binary or not UTF-8."""
    data = _read_bytes(_resolve(root, path), limits)
    return Document(path, _decode(data), hashlib.sha256(data).hexdigest())


def is_draft(front_matter: Mapping[str, object]) -> bool:
    """Whether a page's front matter keeps it from being published (`draft: true`, and Jekyll's
    `published: false`)."""
    return _says(front_matter.get("draft"), True) or _says(front_matter.get("published"), False)


def _says(value: object, wanted: bool) -> bool:
    if isinstance(value, str):  # `draft: "true"`
        return value.strip().lower() == str(wanted).lower()
    return value is wanted


def _resolve(root: Path, path: str) -> Path:
    pure = PurePosixPath(path)
    if not path or "\0" in path or "\\" in path or pure.is_absolute() or ".." in pure.parts:
        raise DocumentError("the path leads out of the content folder")
    target = root
    for part in pure.parts:
        target = target / part
        if target.is_symlink():
            raise DocumentError("the file is a symbolic link or lies behind one")
    return target


def _read_bytes(file: Path, limits: DocumentLimits) -> bytes:
    # O_NOFOLLOW and O_NONBLOCK: what was a file when it was listed may be a link or a pipe now.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        if not file.is_file():
            raise DocumentError("there is no such file")
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
    return f"the file has {more}{size} bytes, more than the {limits.max_file_bytes} allowed"


def _decode(data: bytes) -> str:
    if not data.strip(b"\xef\xbb\xbf \t\r\n"):
        raise DocumentError("the file is empty")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DocumentError("the file is encoded in UTF-16; save it as UTF-8")
    # A lone NUL can be a slip in a text; many are an image or an archive with the wrong name.
    if data.count(0) > max(1, len(data) // 1000):
        raise DocumentError("the file is binary, not text")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DocumentError(f"the file is not valid UTF-8 (line {line})") from error


def _ignore_rules(root: Path, errors: list[str]) -> GitIgnoreSpec | None:
    file = root / IGNORE_FILE
    if file.is_symlink() or not file.is_file():
        return None
    try:
        text = _decode(_read_bytes(file, DocumentLimits(max_file_bytes=_IGNORE_BYTES)))
        return GitIgnoreSpec.from_lines(text.removeprefix("\ufeff").splitlines())
    except DocumentError as error:
        if str(error) != "the file is empty":
            errors.append(f"{IGNORE_FILE}: {error}")
    except ValueError as error:  # pathspec's pattern errors are ValueErrors
        errors.append(f"{IGNORE_FILE}: a pattern is not valid: {error}")
    return None


def _walk(
    root: Path,
    limits: DocumentLimits,
    ignored: GitIgnoreSpec | None,
    errors: list[str],
    underscored: bool,
) -> Iterator[tuple[str, int]]:
    """Pages and their sizes in bytes, folder by folder in order of name."""
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
                    errors.append(f"{path}: symbolic links are not followed")
            elif is_folder:
                if name in _OUTPUTS and _is_output(Path(entry.path)):
                    continue
                if depth >= limits.max_depth:
                    errors.append(f"{path}: the folder lies deeper than {limits.max_depth} levels")
                else:
                    below.append((path, depth + 1))
            elif entry.is_file(follow_symlinks=False):
                yield path, entry.stat(follow_symlinks=False).st_size
        folders.extend(reversed(below))


def _is_output(folder: Path) -> bool:
    """Whether a build wrote `folder`: then it holds what only a build puts there."""
    return any((folder / sign).exists() for sign in _OUTPUT_SIGNS)


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
