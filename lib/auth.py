"""Keys of the admin and of readers, and the client address that limits count by."""

import hmac
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

_log = logging.getLogger(__name__)

_CHECK_SECONDS: Final = 1.0
_MAX_FILE_BYTES: Final = 1_000_000
_NAMED_KEY = re.compile(r"([A-Za-z0-9_.-]{1,64}+):(.*+)")


def has_key(given: str, keys: Iterable[str]) -> bool:
    """Whether `given` is one of `keys`, compared in constant time. Empty keys never match."""
    # `compare_digest` accepts only ASCII in str, but any bytes.
    matches = [hmac.compare_digest(given.encode(), key.encode()) for key in keys if key]
    return bool(given) and any(matches)


def bearer(authorization: str) -> str:
    """The key of an `Authorization: Bearer` header; empty for any other value."""
    scheme, _, key = authorization.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def client_address(remote: str, forwarded_for: str, hops: int) -> str:
    """The reader's address, as written by the outermost of `hops` trusted proxies.

    Each trusted proxy appends its client to `X-Forwarded-For`, so the reader is `hops` entries from
    the right. Clients can forge everything to the left of it. An IPv6 reader is identified by the
    /64, the smallest network that one customer gets.
    """
    seen = [part.strip() for part in forwarded_for.split(",") if part.strip()]
    chosen = seen[-min(hops, len(seen))] if hops and seen else remote
    address = _parse_address(chosen)
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or IPv6Network((address, 64), strict=False))
    return str(address or "unknown")


def is_loopback(address: str) -> bool:
    """Whether an address is of this machine."""
    found = _parse_address(address)
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return found is not None and found.is_loopback


def is_local_host(host: str) -> bool:
    """Whether a `Host` header is an address or a name that public DNS cannot have.

    `.internal` is reserved for private networks (ICANN, 2024). A container reaches its host as
    `host.docker.internal` or `host.containers.internal`, and seems to be a local program.
    """
    if _parse_address(host):
        return True
    name = host.partition(":")[0].lower().rstrip(".")
    return name == "localhost" or name.endswith((".localhost", ".internal"))


def wider_network(address: str) -> str:
    """The /48 around a /64 from `client_address`; empty for any other address."""
    try:
        return str(IPv6Network(address).supernet(new_prefix=48))
    except ValueError:
        return ""


def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an address with optional port and brackets; None if it is invalid."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class _NamedKey:
    """A key, and the name that identifies its reader in limits and logs."""

    name: str
    key: str = field(repr=False)


class Keys:
    """The valid keys of readers. `file` is read again when it changes.

    The file has one key per line, `name:key` or the key alone; empty lines and lines that start
    with # are skipped. Keys with the same name belong to one reader, so a new key can be issued
    before the old one is removed. An invalid file is logged and changes nothing.
    """

    def __init__(
        self,
        configured: Sequence[str],
        file: Path | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._secret = secrets.token_bytes(32)
        self._configured = [parse_key(entry) for entry in configured]
        self._file = file
        self._clock = clock
        self._checked_at = -float("inf")
        self._seen: tuple[int, ...] = ()
        self._names = self._by_digest(self._configured)

    def name(self, given: str) -> str:
        """The name of the reader with this key; empty for an invalid key.

        Looks up a keyed hash, which callers cannot predict, so the time reveals nothing about keys.
        """
        self._refresh()
        return self._names.get(self._digest(given), "") if given else ""

    def _digest(self, key: str) -> bytes:
        return hmac.digest(self._secret, key.encode("utf-8", "surrogatepass"), "sha256")

    def _by_digest(self, keys: Iterable[_NamedKey]) -> Mapping[bytes, str]:
        return {self._digest(each.key): each.name for each in keys}

    def _refresh(self) -> None:
        """Check the file once a second; a `stat` takes microseconds."""
        now = self._clock()
        if self._file is None or now - self._checked_at < _CHECK_SECONDS:
            return
        self._checked_at = now
        seen = _stamp(self._file)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            found = _read_keys(self._file)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            _log.error("API_KEYS_FILE is invalid; keys are unchanged: %s", reason)
            return
        self._names = self._by_digest([*self._configured, *found])
        _log.info("read %d keys from API_KEYS_FILE", len(found))


def parse_key(entry: str) -> _NamedKey:
    """Parse `name:key` or a key, whose name is then a hash. Raises `ValueError` without a key."""
    named = _NAMED_KEY.fullmatch(entry)
    name, key = named.groups() if named else ("", entry)
    if not key or not key.isprintable() or any(c.isspace() for c in key):
        raise ValueError("keys of printable characters without white space, as key or name:key")
    return _NamedKey(name or blake2b(key.encode(), digest_size=4).hexdigest(), key)


def stored_admin_key(file: Path) -> str:
    """Read the admin key in `file`, after making it if there is none. Only the owner can read it.

    Raises `OSError`, and `ValueError` if the file holds no key.
    """
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=file.parent, suffix=".key") as new:  # of mode 600
            new.write(f"{secrets.token_urlsafe(32)}\n".encode())
            new.flush()
            os.fsync(new.fileno())
            with suppress(FileExistsError):  # of a server that starts at the same time
                os.link(new.name, file)
    for each in _read_keys(file):
        return each.key
    raise ValueError("it has no key")


def _read_keys(file: Path) -> list[_NamedKey]:
    """Read a file of keys. Raises `OSError`, and `ValueError` without any key in its message."""
    with file.open("rb") as opened:
        content = opened.read(_MAX_FILE_BYTES + 1)
    if len(content) > _MAX_FILE_BYTES:
        raise ValueError(f"it has more than {_MAX_FILE_BYTES} bytes")
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    keys = []
    for number, line in enumerate(lines, start=1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        try:
            keys.append(parse_key(entry))
        except ValueError as error:
            raise ValueError(f"line {number} must be {error}") from None
    return keys


def _stamp(file: Path) -> tuple[int, ...]:
    """A value that changes when the file is changed, created or removed."""
    try:
        stat = file.stat()
    except OSError:
        return (-1,)
    return (stat.st_mtime_ns, stat.st_ino, stat.st_size)
