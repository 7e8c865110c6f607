"""How the text of an environment variable becomes a value.

Each function takes what is set, without white space around it, and returns what it means or raises
`ValueError`, whose message says what is allowed: it ends a sentence that begins with the variable's
name. No message repeats the text, which may be a key.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from lib.auth import parse_key
from lib.pricing import PRICES, Price

MAX_ADDITION: Final = 2_000
MULTILINGUAL: Final = "multilingual"
LOCAL_MODELS: Final = (MULTILINGUAL, "english")
REDIS_OPTIONS: Final = frozenset({"ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_keyfile"})


def short_text(raw: str) -> str:
    if len(raw) > MAX_ADDITION:
        raise ValueError(f"at most {MAX_ADDITION} characters")
    return raw


def api_key(raw: str) -> str:
    # A key with a stray newline would otherwise travel, whole, inside an HTTP client's error.
    if not raw.isprintable() or any(c.isspace() for c in raw):
        raise ValueError("a key of printable characters without white space")
    return raw


def reader_keys(raw: str) -> tuple[str, ...]:
    """`key` or `name:key`, separated by commas."""
    entries = tuple(part.strip() for part in raw.split(",") if part.strip())
    for entry in entries:
        parse_key(entry)
    return entries


def flag(raw: str) -> bool:
    match raw.lower():
        case "true" | "1" | "yes" | "on":
            return True
        case "false" | "0" | "no" | "off":
            return False
    raise ValueError("true or false")


def whole_number(low: int, high: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,15}", raw) or not low <= int(raw) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(raw)

    return parse


def one_of(allowed: tuple[str, ...], fold: Callable[[str], str]) -> Callable[[str], str]:
    """One of the words `allowed`, which are as `fold` writes them."""

    def parse(raw: str) -> str:
        if fold(raw) not in allowed:
            raise ValueError("one of " + ", ".join(allowed))
        return fold(raw)

    return parse


def local_model(raw: str) -> str:
    """The name of a model that comes with the program, or the folder of another one."""
    if raw.lower() in LOCAL_MODELS:
        return raw.lower()
    folder = Path(raw)
    try:
        complete = any(folder.rglob("*.onnx")) and (folder / "tokenizer.json").is_file()
    except OSError:  # too long a name, for one
        complete = False
    if not complete:
        raise ValueError(
            " or ".join(LOCAL_MODELS) + ", or a folder that holds model.onnx and tokenizer.json"
        )
    return raw


def http_url(raw: str) -> str:
    """Without slashes at its end."""
    expected = "an address that begins with http:// or https://"
    try:
        parts = urlsplit(raw)
        _ = parts.port  # a port that is no number is noticed only here
    except ValueError:
        raise ValueError(expected) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", raw):
        raise ValueError(expected)
    return raw.rstrip("/")


def redis_url(raw: str) -> str:
    expected = (
        "an address such as redis://:password@host:6379/0, or rediss:// for TLS; after a ? only "
        + ", ".join(sorted(REDIS_OPTIONS))
    )
    try:
        parts = urlsplit(raw)
        _ = parts.port
        options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    except ValueError:
        raise ValueError(expected) from None
    if (
        parts.scheme not in ("redis", "rediss")
        or not parts.hostname
        or not re.fullmatch(r"/?[0-9]{0,5}", parts.path)
        or not options.keys() <= REDIS_OPTIONS
        or (options and parts.scheme == "redis")
        or parts.fragment
        or re.search(r"\s", raw)
    ):
        raise ValueError(expected)
    return raw


def exact_origins(raw: str) -> tuple[str, ...]:
    """Separated by commas; in lower case, each once."""
    origins = []
    for part in (p.strip() for p in raw.split(",")):
        if not part:
            continue
        # Exact origins only: a wildcard cannot be combined with credentials, which existing
        # widgets send, and a pattern is too easily wider than it looks.
        if not re.fullmatch(r"https?://[^\s/*?#@]+", part.rstrip("/"), re.IGNORECASE):
            raise ValueError(
                "exact origins such as https://book.example.org, separated by commas, without a "
                "path and without *"
            )
        origins.append(part.rstrip("/").lower())
    return tuple(dict.fromkeys(origins))


def collection_name(raw: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", raw):
        raise ValueError("1 to 64 letters, digits, _ and -")
    return raw


def json_object(raw: str) -> Mapping[str, Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ValueError('a JSON object such as {"base_url": "/book/"}')
    return value


def price_table(raw: str) -> Mapping[str, Price]:
    """`PRICES` with what the JSON adds to them and replaces: input and output, or input alone."""
    table = json_object(raw)
    expected = 'a JSON object such as {"gpt-4.1-mini": [0.4, 1.6]}: US dollars for a million tokens'
    try:
        return PRICES | {model: Price(*map(_dollars, each)) for model, each in table.items()}
    except (TypeError, ValueError):
        raise ValueError(expected) from None


def _dollars(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
        raise ValueError
    return float(value)


def dollars_a_day(raw: str) -> float:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", raw):
        raise ValueError("US dollars such as 0.50, at most 999999; 0 for no limit")
    return float(raw)
