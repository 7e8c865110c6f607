"""The book that is ingested: its folder, the site it is built into, and the files that count."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from lib.chunking import CHUNKER_VERSION
from lib.documents import DocumentLimits
from lib.errors import InvalidRequest
from lib.sites.site import Site
from lib.sparse import SPARSE_VERSION

REPOSITORY_LEVELS = 4
"""So far above the content folder the top of its repository is looked for."""


@dataclass(frozen=True, slots=True)
class Book:
    """What is ingested: a folder, the site it is built into, the files that count."""

    root: Path
    site: Site
    paths: Sequence[str]
    limits: DocumentLimits
    chunk_tokens: int

    @property
    def chunker(self) -> str:
        """What decides how a file is cut, and how its words are weighted."""
        return f"{CHUNKER_VERSION}/{self.chunk_tokens}/{SPARSE_VERSION}"

    @property
    def content(self) -> str:
        """Which book this is."""
        return digest([str(self.root)])

    def site_hash(self) -> str:
        """What decides addresses beside the pages themselves."""
        try:
            summary = (self.root / "SUMMARY.md").read_bytes().hex()
        except OSError:
            summary = ""
        return digest([repr(self.site), summary])


def content_folder(configured: Path, wanted: str | None) -> Path:
    """The real path of the folder to ingest.

    `wanted` is relative to the content folder, or absolute and inside it. Raises `InvalidRequest`.
    """
    root = configured.resolve()
    if not root.is_dir():
        raise InvalidRequest("The content folder does not exist: check BOOK_CONTENT_PATH.")
    if not wanted:
        return root
    problem = InvalidRequest(
        "The field content_path must name a folder inside the content folder.",
        details={"field": "content_path"},
    )
    try:
        # What older clients send, "./book_content", is relative to where the server runs.
        inside = [
            path
            for path in ((root / wanted).resolve(), Path(wanted).resolve())
            if path.is_relative_to(root) and path.is_dir()
        ]
    except (OSError, ValueError):  # too long a name, for one
        raise problem from None
    if not inside:
        raise problem
    return inside[0]


def boundary(root: Path, site: Site) -> Path:
    """The folder outside of which no page may include a file: the site's repository.

    Its top is the nearest folder with a `.git`, else where the site's configuration lies, if that
    is above the content folder; else the content folder itself.
    """
    for folder in [root, *root.parents][: REPOSITORY_LEVELS + 1]:
        if (folder / ".git").exists():
            return folder
    config = site.config_file
    if config is not None and root.is_relative_to(config.parent):
        return config.parent
    return root


def digest(parts: Iterable[str]) -> str:
    """A hash of texts, in order; 32 hexadecimal digits."""
    hashed = blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        hashed.update(len(data).to_bytes(8, "big") + data)
    return hashed.hexdigest()
