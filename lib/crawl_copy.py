"""The stored copy of a site that was read from the web.

::

    journal     one JSON object a line: the run, then each page when it has been read
    pages/      the folder to ingest: HTML files at the paths of their addresses, and a sitemap.xml
                with the exact addresses

A run that is killed goes on where it stopped, and the next run asks for changed pages only.
"""

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes
from uuid import uuid4
from xml.sax.saxutils import escape

import msgspec

from lib.archives import lock_folder
from lib.documents import HTML_SUFFIXES
from lib.runtime import write_atomically

_SUFFIXES: Final = tuple(HTML_SUFFIXES)
_INDEX: Final = "index.html"
_MAX_NAME_BYTES: Final = 240
_MAX_PATH_BYTES: Final = 1_000
_FORBIDDEN: Final = re.compile(r"[\x00-\x1f\x7f\\]")
_RESUME_SECONDS: Final = 3 * 86_400.0
"""A run that ended early is resumed so long; afterwards every page is asked for again."""
_JOURNAL: Final = "journal"


class _Run(msgspec.Struct, frozen=True, tag="run"):
    """A run, complete or not."""

    url: str
    """Address that was to be read."""
    site: str
    """Address of the site, with the path that all pages are below."""
    began: float
    """Unix time."""
    complete: bool = False


class StoredPage(msgspec.Struct, frozen=True, omit_defaults=True, tag="page"):
    """A page that the sitemap lists, and the result of reading it."""

    path: str
    """Path of its address in the sitemap, percent-encoded."""
    read_at: float
    """Unix time."""
    address: str = ""
    """Path of its address after redirects."""
    file: str = ""
    """Its file below `pages`; empty if there is none."""
    size: int = 0
    """Bytes of the file."""
    sha256: str = ""
    etag: str = ""
    modified: str = ""
    """`Last-Modified`."""
    problem: str = ""
    """Why it could not be read, or has no file."""
    failed: bool = False
    """Whether the site or the network is the reason."""


class StoredSite:
    """The copy of one site, which one process writes at a time."""

    def __init__(
        self, folder: Path, url: str, site: str, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Open the copy in `folder`, or begin one. Raises `OSError`."""
        self.root = pages_folder(folder)
        self.pages: dict[str, StoredPage] = {}
        """By `StoredPage.path`."""
        self._folder = folder
        self._clock = clock
        self.root.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("*.new"):
            leftover.unlink()
        self._run = _Run(url, site, clock())
        run, pages = _read_journal(folder)
        if run is not None and run.site == site:
            self.pages = pages
            if not run.complete and 0 <= clock() - run.began < _RESUME_SECONDS:
                self._run = run
        self._compact()
        self._journal = (folder / _JOURNAL).open("ab", buffering=0)

    def close(self) -> None:
        self._journal.close()

    @property
    def site_url(self) -> str:
        return self._run.site

    def now(self) -> float:
        return self._clock()

    def is_done(self, page: StoredPage) -> bool:
        """Whether this run read a page before it was resumed."""
        recent = page.read_at >= self._run.began and not page.failed
        return recent and (not page.file or self.has_file(page))

    def has_file(self, page: StoredPage) -> bool:
        """Whether the file of a page is as it was stored."""
        try:
            return bool(page.file) and _hash((self.root / page.file).read_bytes()) == page.sha256
        except OSError:
            return False

    def write(self, file: str, data: bytes) -> str:
        """Store the file of a page and return its hash. Raises `OSError`."""
        target, beside = self.root / file, self._folder / f"{uuid4().hex}.new"
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_bytes(data)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
        return _hash(data)

    def add(self, page: StoredPage) -> None:
        """Record the result for a page. Raises `OSError`."""
        self.pages[page.path] = page
        self._journal.write(_line(page))

    def finish(self, origin: str, listed: Sequence[str]) -> None:
        """End the run: remove what the sitemap no longer lists. Raises `OSError`."""
        self.pages = {path: self.pages[path] for path in listed if path in self.pages}
        stored = [page for page in self.pages.values() if page.file]
        addresses = "".join(
            f"<url><loc>{escape(origin + page.address)}</loc></url>\n" for page in stored
        )
        sitemap = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{addresses}</urlset>\n'
        )
        write_atomically(self.root / "sitemap.xml", sitemap.encode())
        _remove_others(self.root, {page.file for page in stored} | {"sitemap.xml"})
        self._run = msgspec.structs.replace(self._run, complete=True)
        self._compact()

    def _compact(self) -> None:
        """Write the journal anew, with one line for each page."""
        lines = [_line(self._run), *map(_line, self.pages.values())]
        write_atomically(self._folder / _JOURNAL, b"".join(lines))


def pages_folder(folder: Path) -> Path:
    """The folder to ingest."""
    return folder / "pages"


def site_of(folder: Path) -> str:
    """The address of the site with a copy in `folder`; empty without one."""
    run, _ = _read_journal(folder)
    return run.site if run else ""


def last_copy(copies: Path) -> str:
    """The address that the latest complete copy in the folder was read from; empty without one."""
    runs = (_read_journal(folder)[0] for folder in _folders(copies))
    complete = [run for run in runs if run and run.complete]
    return max(complete, key=lambda run: run.began).url if complete else ""


def remove_other_copies(copies: Path, root: Path) -> None:
    """Remove all copies but that with the pages in `root`, and those that are being written."""
    for folder in _folders(copies):
        if pages_folder(folder) != root and (unlock := lock_folder(folder)):
            shutil.rmtree(folder, ignore_errors=True)
            unlock()


def _folders(copies: Path) -> list[Path]:
    return [folder for folder in copies.iterdir() if folder.is_dir()] if copies.is_dir() else []


def file_name(path: str, base: str) -> str:
    """The file below `pages` for a path below `base`; empty if it cannot be a file's name."""
    inner = path.removeprefix(base)
    try:
        name = unquote_to_bytes(inner).decode()
    except UnicodeDecodeError:
        return ""
    if not name or name.endswith("/"):
        name += _INDEX
    elif not name.lower().endswith(_SUFFIXES):
        name += ".html"
    parts = name.split("/")
    safe = (
        "%2f" not in inner.lower()
        and not _FORBIDDEN.search(name)
        and all(part not in ("", ".", "..") for part in parts)
        and all(len(part.encode()) <= _MAX_NAME_BYTES for part in parts)
        and len(name.encode()) <= _MAX_PATH_BYTES
    )
    return name if safe else ""


def _read_journal(folder: Path) -> tuple[_Run | None, dict[str, StoredPage]]:
    """The last run and its pages. Damaged lines, such as one cut short, are skipped."""
    decoder = msgspec.json.Decoder(_Run | StoredPage)
    run, pages = None, dict[str, StoredPage]()
    for line in _lines(folder / _JOURNAL):
        try:
            found = decoder.decode(line)
        except msgspec.MsgspecError:
            continue
        if isinstance(found, _Run):
            run = found
        else:
            pages[found.path] = found
    return run, pages


def _lines(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as stream:
            yield from stream
    except FileNotFoundError:
        return


def _line(entry: _Run | StoredPage) -> bytes:
    return msgspec.json.encode(entry) + b"\n"


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _remove_others(root: Path, keep: set[str]) -> None:
    """Remove all files but those in `keep`, and the folders that are empty then."""
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            file = Path(folder, name)
            if file.relative_to(root).as_posix() not in keep:
                file.unlink()
        if Path(folder) != root and not os.listdir(folder):
            os.rmdir(folder)
