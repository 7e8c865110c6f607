"""Static files: read once, compressed once, and served from memory.

Hypercorn does not compress, and files compressed at build time would be in the repository twice.
"""

import gzip
import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from quart import Response, abort, request

IMMUTABLE = "public, max-age=31536000, immutable"
"""`Cache-Control` of a file whose address changes with its content."""

_CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    compressed: bytes
    digest: str


async def send_file(folder: Path, name: str, cache_control: str) -> Response:
    """Answer with a file directly in `folder`. Raises 404 without such a script or style sheet."""
    file = _find(folder, name)
    if file is None:
        abort(404)
    response = Response(file.content, content_type=_CONTENT_TYPES[Path(name).suffix])
    if request.accept_encodings.quality("gzip") > 0:
        response.set_data(file.compressed)
        response.headers["Content-Encoding"] = "gzip"
    response.vary.add("Accept-Encoding")
    response.headers["Cache-Control"] = cache_control
    response.set_etag(file.digest, weak=True)  # the same for both encodings
    await response.make_conditional(request)
    return response


def _find(folder: Path, name: str) -> _File | None:
    path = folder / name
    # os.path: a name too long for the file system is no error there
    if path.parent != folder or path.suffix not in _CONTENT_TYPES or not os.path.isfile(path):
        return None
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _read(path: Path, _changed: int) -> _File:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:16]
    return _File(content, gzip.compress(content, mtime=0), digest)
