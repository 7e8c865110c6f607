"""Find the pages of a content folder and read them.

Hidden files, dependencies, build outputs and partials are skipped silently: no generator
publishes them. Anything else that cannot be read becomes one line in `Discovery.errors`, so that
one bad file never fails an ingestion.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from lib.sites.globs import GitIgnore, gitignore

IGNORE_FILE: Final = ".quireignore"
"""Optional list of files to skip, in gitignore syntax, at the content root."""

MARKDOWN_SUFFIXES: Final = frozenset({".md", ".mdx", ".markdown"})
HTML_SUFFIXES: Final = frozenset({".html", ".htm", ".xhtml"})
_SUFFIXES: Final = MARKDOWN_SUFFIXES | HTML_SUFFIXES
HTML_FACTOR: Final = 5
"""How much larger than its text a file of HTML may be: it has navigation and markup too."""
_NEVER: Final = frozenset("node_modules bower_components __pycache__ venv site-packages".split())
# Folders that no generator publishes.
_NEVER_UNDERSCORED: Final = frozenset(
    "_build _data _drafts _includes _layouts _sass _site _static _templates".split()
)
# Folders of a built site without pages: bundles, copies of the sources and listings of code.
_NEVER_BUILT: Final = frozenset("_static _sources _modules _next _astro _nuxt _app".split())
_LISTING: Final = re.compile(r"\.rs\.html\Z|_8[a-z]++_source\.html\Z")
"""Source code as rustdoc and Doxygen list it."""
# A folder with one of these names is a build output only if it contains one of _OUTPUT_SIGNS:
# it may also be a chapter about building.
_OUTPUTS: Final = frozenset({"_build", "_site", "build", "dist", "out", "public", "site", "target"})
_OUTPUT_SIGNS: Final = ("index.html", "404.html", "sitemap.xml", "CACHEDIR.TAG", ".buildinfo")
_IGNORE_BYTES: Final = 100_000


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
class Discovery:
    paths: tuple[str, ...]
    """Sorted, POSIX, relative to the content root."""
    errors: tuple[str, ...]
    """Lines of the form `file: problem`."""
    others: int = 0
    """Pages of the other kind, HTML or Markdown."""
    outputs: tuple[str, ...] = ()
    """Folders that were skipped as outputs of a build."""


_DEFAULT_LIMITS: Final = DocumentLimits()


def _is_html(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in HTML_SUFFIXES


def discover(
    root: Path,
    limits: DocumentLimits = _DEFAULT_LIMITS,
    *,
    underscored: bool = False,
    html: bool = False,
) -> Discovery:
    """List the pages below `root`. Raises `DocumentError` if `root` cannot be listed.

    The pages are Markdown, or with `html` those of a built site. Skips hidden files, dependencies,
    build outputs and matches of `.quireignore`. Partials (`_name`) are skipped unless
    `underscored`, because some generators publish them. Symbolic links are reported as errors: they
    may lead out of the folder. Drafts are included: only the front matter marks them (`is_hidden`).
    """
    if not root.is_dir():
        raise DocumentError("the content folder does not exist or is not a folder")
    errors: list[str] = []
    outputs: list[str] = []
    ignored = _ignore_rules(root, errors)
    paths: list[str] = []
    total = others = 0
    most = limits.max_total_bytes * (HTML_FACTOR if html else 1)
    for path, size in _walk(root, limits, ignored, errors, outputs, underscored, html):
        if _is_html(path) != html:
            others += 1
            continue
        if len(paths) >= limits.max_files:
            errors.append(
                f"{path}: skipped, with all files after it: more than {limits.max_files} files "
                "(MAX_FILES)"
            )
            break
        if size == 0:
            errors.append(f"{path}: the file is empty")
            continue
        if size > file_limit(path, limits):
            errors.append(f"{path}: {_too_large(size, file_limit(path, limits))}")
            continue
        if total + size > most:
            errors.append(
                f"{path}: skipped, with all files after it: together they exceed {most} bytes "
                "(MAX_TOTAL_BYTES)"
            )
            break
        total += size
        paths.append(path)
    return Discovery(tuple(sorted(paths)), tuple(errors), others, tuple(outputs))


def read_document(root: Path, path: str, limits: DocumentLimits = _DEFAULT_LIMITS) -> Document:
    """Read one page.

    Raises `DocumentError` for a path outside `root`, a symbolic link, and a file that is missing,
    empty, too large, binary or not UTF-8.
    """
    data = read_bytes(root, path, limits.max_file_bytes)
    return Document(path, _decode(data), sha256(data))


def read_bytes(root: Path, path: str, most: int) -> bytes:
    """Read one file of at most `most` bytes. Raises `DocumentError` as `read_document` does, but
    for its contents."""
    return _read_file(_resolve(root, path), most)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file_limit(path: str, limits: DocumentLimits) -> int:
    """Bytes that a page may have."""
    return limits.max_file_bytes * (HTML_FACTOR if _is_html(path) else 1)


def is_hidden(front_matter: Mapping[str, object]) -> bool:
    """Tell whether the front matter keeps a page from readers.

    With `draft: true`, Jekyll's `published: false`, Docusaurus' `unlisted: true`, which leaves a
    page out of every list and search, or `search: {exclude: true}` of Material for MkDocs.
    """
    search = front_matter.get("search")
    return (
        _is_set(front_matter.get("draft"), True)
        or _is_set(front_matter.get("unlisted"), True)
        or _is_set(front_matter.get("published"), False)
        or (isinstance(search, Mapping) and _is_set(search.get("exclude"), True))
    )


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


def _read_file(file: Path, most: int) -> bytes:
    # the file may have been replaced by a link or a pipe since it was listed
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        if not file.is_file():
            raise DocumentError("no such file")
        descriptor = os.open(file, flags)
        with os.fdopen(descriptor, "rb") as stream:
            data = stream.read(most + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the name is not valid"
        raise DocumentError(f"the file cannot be read: {reason}") from error
    if len(data) > most:
        raise DocumentError(_too_large(len(data), most, at_least=True))
    return data


def _too_large(size: int, most: int, *, at_least: bool = False) -> str:
    more = "at least " if at_least else ""
    return f"the file has {more}{size} bytes; the limit is {most} (MAX_FILE_BYTES)"


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


def _is_built(folder: Path) -> bool:
    """Whether a folder looks like the output of a build."""
    return any((folder / sign).exists() for sign in _OUTPUT_SIGNS)


def _ignore_rules(root: Path, errors: list[str]) -> GitIgnore | None:
    file = root / IGNORE_FILE
    if file.is_symlink() or not file.is_file():
        return None
    try:
        text = _decode(_read_file(file, _IGNORE_BYTES))
        rules = gitignore(text.removeprefix("\ufeff"))
    except DocumentError as error:
        if str(error) != "the file is empty":
            errors.append(f"{IGNORE_FILE}: {error}")
        return None
    errors.extend(f"{IGNORE_FILE}: {problem}" for problem in rules.problems)
    return rules


def _walk(
    root: Path,
    limits: DocumentLimits,
    ignored: GitIgnore | None,
    errors: list[str],
    outputs: list[str],
    underscored: bool,
    html: bool,
) -> Iterator[tuple[str, int]]:
    """Yield pages of both kinds and their sizes in bytes, folder by folder in order of name."""
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
            if html:
                if name in _NEVER_BUILT or _LISTING.search(name):
                    continue
            elif name.startswith("_") and (not underscored or name in _NEVER_UNDERSCORED):
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
            if ignored is not None and ignored.matches(path + "/" if is_folder else path):
                continue
            if is_link:
                if (is_page and _is_html(name) == html) or os.path.isdir(entry.path):
                    errors.append(f"{path}: symbolic links are not followed; replace it by a copy")
            elif is_folder:
                if not html and name in _OUTPUTS and _is_built(Path(entry.path)):
                    outputs.append(path)
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
