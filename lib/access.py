"""Who is calling: keys, and the address a limit is counted for."""

import hmac
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

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
