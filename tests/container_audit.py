"""Print, as JSON, everything that should not be in the image. Runs inside it, as root.

Uses only the standard library, because the image has no test packages.
"""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

USER = 1000
INDEX = Path("/app/qdrant_data")
BUILD_FOLDERS = ("/opt", "/app", "/etc", "/root", "/home", "/usr/local", "/var", "/tmp")
UNWANTED = (
    *("/app/.env", "/app/.git", "/app/tests", "/app/qdrant_data/quire/spending.json"),
    *("/root/.cache", "/usr/bin/gcc", "/usr/bin/cc", "/usr/local/bin/pip", "/opt/quire/bin/pip"),
)


def files() -> Iterator[Path]:
    for top in BUILD_FOLDERS:
        for folder, _, names in os.walk(top):
            yield Path(folder)
            yield from (Path(folder, name) for name in names)


def wrong_owner(path: Path) -> bool:
    """Only the index may belong to the user. Nothing may be world-writable."""
    status = path.lstat()
    writable = status.st_mode & stat.S_IWOTH and not stat.S_ISLNK(status.st_mode)
    return (status.st_uid == USER) != path.is_relative_to(INDEX) or bool(
        writable and not status.st_mode & stat.S_ISVTX
    )


def without_bytecode(source: Path) -> bool:
    """Whether the module has no unchecked hash-based bytecode, which loads without its source."""
    found = (source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc")
    return not any(path.read_bytes()[4:8] == b"\1\0\0\0" for path in found)


sources = [*Path("/opt/quire/lib").rglob("*.py"), *Path("/app").rglob("*.py")]
print(
    json.dumps(
        {
            "sources": len(sources),
            "without_bytecode": [str(path) for path in sources if without_bytecode(path)],
            "wrong_owner": [str(path) for path in files() if wrong_owner(path)],
            "unwanted": [path for path in UNWANTED if os.path.exists(path)],
        }
    )
)
