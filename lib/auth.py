"""Readers' keys: whose a key is. From the configuration, and from a file that may change.

Who is calling: keys, and the address a limit is counted for.
"""

import hmac
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Final

NOBODY = "unknown"


def has_key(given: str, keys: Iterable[str]) -> bool:
    """Whether `given` is one of `keys`, in a time that tells nothing about them.

    An empty key in the configuration means that there is none, never that all may pass.
    """
    # Bytes, since the comparison of text refuses characters outside ASCII.
    matches = [hmac.compare_digest(given.encode(), key.encode()) for key in keys if key]
    return bool(given) and any(matches)


def bearer(authorization: str) -> str:
    """The key of an `Authorization: Bearer` header; empty where it has another form."""
    scheme, _, key = authorization.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def is_local(remote: str, *, forwarded: bool) -> bool:
    """Whether the call comes from this machine itself, not through a proxy that runs on it."""
    address = parse_address(remote)
    return address is not None and address.is_loopback and not forwarded


def client_address(remote: str, forwarded_for: str, hops: int) -> str:
    """The reader's address for counting: the last that a trusted proxy has written.

    Each of `hops` trusted proxies appends whom it saw to X-Forwarded-For, so the reader stands
    `hops` places from the right; whatever is left of that, anyone can invent. An IPv6 reader is
    counted by their /64, the smallest network that one customer gets.
    """
    seen = [part.strip() for part in forwarded_for.split(",") if part.strip()]
    chosen = remote
    if hops and seen:
        chosen = seen[-hops] if len(seen) >= hops else seen[0]
    address = parse_address(chosen)
    if address is None:
        return NOBODY
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(IPv6Network((address, 64), strict=False))
    return str(address)


def wider_network(address: str) -> str:
    """The /48 around a reader's /64, as `client_address` tells it; empty for all others."""
    try:
        return str(IPv6Network(address).supernet(new_prefix=48))
    except ValueError:
        return ""


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address in `text`, a port or brackets around it left out; None where there is none."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


log = logging.getLogger(__name__)

CHECK_SECONDS: Final = 1.0
MAX_FILE_BYTES: Final = 1_000_000
_NAMED = re.compile(r"([A-Za-z0-9_.-]{1,64}):(.*)")


@dataclass(frozen=True, slots=True)
class NamedKey:
    """A key, and the name that its reader is counted and told apart by."""

    name: str
    key: str = field(repr=False)


class Keys:
    """The keys that hold now. Those of `file` are read again when it changes.

    The file has a key a line, `name:key` or the key alone; empty lines and those that begin with #
    are passed over. Two keys of one name are one reader: a new key may be given out before the old
    one is taken away. A file that cannot be read or understood changes nothing, and is logged.
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
        """Of the reader whose key `given` is; empty for what is no key.

        What is looked up is a keyed hash, which a caller cannot steer: the time that it takes
        tells nothing about the keys, however many there are.
        """
        self._refresh()
        return self._names.get(self._digest(given), "") if given else ""

    def _digest(self, key: str) -> bytes:
        return hmac.digest(self._secret, key.encode("utf-8", "surrogatepass"), "sha256")

    def _by_digest(self, keys: Iterable[NamedKey]) -> Mapping[bytes, str]:
        return {self._digest(each.key): each.name for each in keys}

    def _refresh(self) -> None:
        """A look at the file's date costs microseconds, and is taken once a second."""
        now = self._clock()
        if self._file is None or now - self._checked_at < CHECK_SECONDS:
            return
        self._checked_at = now
        seen = stamp(self._file)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            found = read_keys(self._file)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            log.error("API_KEYS_FILE cannot be used, so keys stay as they were: %s", reason)
            return
        self._names = self._by_digest([*self._configured, *found])
        log.info("API_KEYS_FILE has %d keys", len(found))


def parse_key(entry: str) -> NamedKey:
    """`name:key`, or a key alone, which is named by a hash. Raises `ValueError` without a key."""
    named = _NAMED.fullmatch(entry)
    name, key = named.groups() if named else ("", entry)
    if not key or not key.isprintable() or any(c.isspace() for c in key):
        raise ValueError("keys of printable characters without white space, as key or name:key")
    return NamedKey(name or blake2b(key.encode(), digest_size=4).hexdigest(), key)


def read_keys(file: Path) -> list[NamedKey]:
    """The keys of a file. Raises `OSError`, and `ValueError` which names no key."""
    with file.open("rb") as opened:
        content = opened.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"it has more than {MAX_FILE_BYTES} bytes")
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


def stamp(file: Path) -> tuple[int, ...]:
    """What changes when the file does, or when it comes or goes."""
    try:
        found = file.stat()
    except OSError:
        return (-1,)
    return (found.st_mtime_ns, found.st_ino, found.st_size)
