"""What is sent as a whole: compressed once, and hashed for its ETag."""

import gzip
import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Packed:
    content: bytes
    compressed: bytes
    digest: str


def pack(content: bytes) -> Packed:
    """Compress what is to be sent, and hash it."""
    digest = hashlib.sha256(content).hexdigest()[:16]
    return Packed(content, gzip.compress(content, compresslevel=6, mtime=0), digest)
