"""Static files: read once, compressed once, and served from memory.

Hypercorn does not compress, and files compressed at build time would be in the repository twice.
"""

import os
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path

from quart import Response, abort, request

from lib.packing import Packed, pack

ASSETS = Path(__file__).with_name("assets")
IMMUTABLE = "public, max-age=31536000, immutable"
"""`Cache-Control` of a file whose address changes with its content."""

_CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}


async def send_packed(
    packed: Packed, content_type: str, cache_control: str, *, status: int = 200
) -> Response:
    """Answer with one of both forms, or 304 if the browser has it."""
    response = Response(packed.content, status, content_type=content_type)
    if request.accept_encodings.quality("gzip") > 0:
        response.set_data(packed.compressed)
        response.headers["Content-Encoding"] = "gzip"
    response.vary.add("Accept-Encoding")
    response.headers["Cache-Control"] = cache_control
    if status == HTTPStatus.OK:
        response.set_etag(packed.digest, weak=True)  # the same for both forms
        await response.make_conditional(request)
    return response


async def send_file(folder: Path, name: str, cache_control: str, *, digest: str = "") -> Response:
    """Answer with a file directly in `folder`. Raises 404 without such a script or style sheet.

    With another `digest` than that of the file, browsers do not keep it: a page and its files may
    come from two versions of Quire.
    """
    packed = _find(folder, name)
    if packed is None:
        abort(404)
    if digest not in ("", packed.digest):
        cache_control = "no-cache"
    return await send_packed(packed, _CONTENT_TYPES[Path(name).suffix], cache_control)


def asset_address(name: str) -> str:
    """The address of one of Quire's own files, relative to the page at `/`."""
    packed = _find(ASSETS, name)
    assert packed is not None, name
    return f"assets/{packed.digest}/{name}"


def _find(folder: Path, name: str) -> Packed | None:
    path = folder / name
    # os.path: a name too long for the file system is no error there
    if path.parent != folder or path.suffix not in _CONTENT_TYPES or not os.path.isfile(path):
        return None
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _read(path: Path, _changed: int) -> Packed:
    return pack(path.read_bytes())
