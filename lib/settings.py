"""The configuration: one frozen object, read once from a mapping of environment variables.

Every variable is a field of `Settings` and carries its name in capitals (`api_port` is `API_PORT`).
A value that cannot be used stops the start with a sentence that names the variable, what was read
and what is allowed. Keys are stripped of white space and never shown, not even in a `repr`.

Variables by an older or another name, and misspelt ones.

How the text of an environment variable becomes a value.

Each function takes what is set, without white space around it, and returns what it means or raises
`ValueError`, whose message says what is allowed: it ends a sentence that begins with the variable's
name. No message repeats the text, which may be a key.
"""

import difflib
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, urlsplit

from lib.auth import parse_key
from lib.documents import DocumentLimits
from lib.pricing import PRICES, Price
from lib.sites.site import GENERATORS

RENAMED = {
    "OPENAI_API_BASE": "OPENAI_BASE_URL",
    "OPENAI_MODEL_NAME": "OPENAI_MODEL",
    "QDRANT_COLLECTION_NAME": "QDRANT_COLLECTION",
}
"""Old name to new: a setting that is renamed gets its line here, and both work from then on."""
OTHERS = frozenset({"API_KEY"})
"""Names that are near to one of ours and belong to other programs."""
NEAR = 0.87
"""Share of letters in common (`difflib`): a slip of the finger, not another word."""


def find_variable(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """The value of the setting `name` and the variable that has it; empty where none has.

    The new name wins over an old one.
    """
    for each in (name, *(old for old, new in RENAMED.items() if new == name)):
        if raw := environ.get(each, "").strip():
            return raw, each
    return "", name


def complaints(environ: Mapping[str, str], names: Collection[str]) -> list[str]:
    """Sentences for the log about variables that are old, or look like misspelt `names`.

    No value is shown, since it may be a key.
    """
    found = []
    for old, new in RENAMED.items():
        if environ.get(old, "").strip():
            if environ.get(new, "").strip():
                found.append(f"{old} is not read, since {new}, its new name, is set as well.")
            else:
                found.append(f"{old} is now called {new}: rename it; the old name still works.")
    for name in environ.keys() - set(names) - RENAMED.keys() - OTHERS:
        family = name.partition("_")[0] + "_"
        relatives = [each for each in names if each.startswith(family)]
        found.extend(
            f"{name} is no setting and is not read: is {meant} meant?"
            for meant in difflib.get_close_matches(name, relatives, n=1, cutoff=NEAR)
        )
    return sorted(found)


MAX_ADDITION: Final = 2_000
MULTILINGUAL: Final = "multilingual"
REMOVED_MODEL: Final = "english"
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
    """`multilingual`, or the folder of another model."""
    own_model = "a folder that holds model.onnx and tokenizer.json"
    if raw.lower() == MULTILINGUAL:
        return MULTILINGUAL
    if raw.lower() == REMOVED_MODEL:
        raise ValueError(f"{MULTILINGUAL}, which replaces {REMOVED_MODEL}, or {own_model}")
    folder = Path(raw)
    try:
        complete = any(folder.rglob("*.onnx")) and (folder / "tokenizer.json").is_file()
    except OSError:  # too long a name, for one
        complete = False
    if not complete:
        raise ValueError(f"{MULTILINGUAL} or {own_model}")
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


EmbeddingProvider = Literal["openai", "local"]
TokenLimitField = Literal["max_tokens", "max_completion_tokens"]
Quantization = Literal["none", "scalar", "binary"]

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
LOG_FORMATS = ("text", "json")
LOCAL_ORIGINS = tuple(
    f"http://{host}:{port}"
    for host in ("localhost", "127.0.0.1")
    # Docusaurus, Hugo, Vite dev and preview, VitePress, MkDocs and Sphinx, Jekyll
    for port in (3000, 1313, 5173, 4173, 8000, 4000)
)
OPENAI_BASE_URL = "https://api.openai.com/v1"


class SettingsError(Exception):
    """A variable has a value that cannot be used. The message is for the person who set it."""


def _setting(
    default: Any, parse: Callable[[str], Any], *, secret: bool = False, fallback: str = ""
) -> Any:
    """`fallback` is a variable that is read when the setting's own is not set."""
    metadata = {"parse": parse, "secret": secret, "fallback": fallback}
    return field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment says, checked and typed. `.env.example` explains each variable."""

    openai_api_key: str = _setting("", api_key, secret=True)
    openai_base_url: str = _setting("", http_url)
    openai_model: str = _setting("gpt-4.1-mini", str)
    openai_token_limit_field: TokenLimitField | None = _setting(
        None, one_of(("max_tokens", "max_completion_tokens"), str.lower)
    )
    openai_timeout: int = _setting(30, whole_number(1, 600))
    max_output_tokens: int = _setting(800, whole_number(16, 32_000))
    openai_embedding_model: str = _setting("text-embedding-3-small", str)
    embedding_provider: EmbeddingProvider | None = _setting(
        None, one_of(("openai", "local"), str.lower)
    )

    local_embedding_model: str = _setting(MULTILINGUAL, local_model)
    prompt_addition: str = _setting("", short_text)
    answer_cache_size: int = _setting(500, whole_number(0, 100_000))
    text_fragments: bool = _setting(True, flag)
    prices: Mapping[str, Price] = field(
        default_factory=lambda: PRICES, metadata={"parse": price_table, "secret": False}
    )
    daily_tokens: int = _setting(0, whole_number(0, 10**12))
    daily_usd: float = _setting(0.0, dollars_a_day)
    reader_daily_tokens: int = _setting(0, whole_number(0, 10**12))
    max_concurrent_answers: int = _setting(600, whole_number(1, 100_000))

    qdrant_url: str = _setting("", http_url)
    qdrant_api_key: str = _setting("", api_key, secret=True)
    qdrant_path: Path = _setting(Path("./qdrant_data"), Path)
    qdrant_collection: str = _setting("quire", collection_name)
    qdrant_quantization: Quantization = _setting(
        "none", one_of(("none", "scalar", "binary"), str.lower)
    )
    qdrant_on_disk: bool = _setting(False, flag)
    qdrant_grpc_port: int = _setting(0, whole_number(0, 65_535))
    redis_url: str = _setting("", redis_url, secret=True)

    book_content_path: Path = _setting(Path("./book_content"), Path)
    site_url: str = _setting("", http_url)
    site_generator: str = _setting("auto", one_of(("auto", *GENERATORS, "none"), str.lower))
    site_options: Mapping[str, Any] = field(
        default_factory=dict, metadata={"parse": json_object, "secret": False}
    )
    site_check_path: Path | None = _setting(None, Path)
    chunk_tokens: int = _setting(270, whole_number(50, 2_000))
    max_files: int = _setting(20_000, whole_number(1, 1_000_000))
    max_file_bytes: int = _setting(2_000_000, whole_number(1_000, 100_000_000))
    max_total_bytes: int = _setting(500_000_000, whole_number(1_000, 10_000_000_000))
    max_depth: int = _setting(32, whole_number(1, 100))
    max_archive_bytes: int = _setting(50_000_000, whole_number(1_000, 1_000_000_000))

    allowed_origins: tuple[str, ...] | None = _setting(None, exact_origins)
    admin_api_key: str = _setting("", api_key, secret=True)
    api_keys: tuple[str, ...] = _setting((), reader_keys, secret=True)
    api_keys_file: Path | None = _setting(None, Path)
    require_origin: bool = _setting(False, flag)
    rate_limit_enabled: bool = _setting(True, flag)
    trusted_proxy_hops: int = _setting(0, whole_number(0, 10))

    api_host: str = _setting("0.0.0.0", str)
    # Cloud Run, Render, Railway and Koyeb tell a container its port in PORT.
    api_port: int = _setting(7860, whole_number(0, 65_535), fallback="PORT")
    stream_timeout: int = _setting(900, whole_number(10, 86_400))
    log_level: str = _setting("INFO", one_of(LOG_LEVELS, str.upper))
    log_format: str = _setting("text", one_of(LOG_FORMATS, str.lower))
    metrics_public: bool = _setting(False, flag)

    @property
    def has_model(self) -> bool:
        """Whether a language model is configured: a key, or a server of one's own."""
        return bool(self.openai_api_key or self.openai_base_url)

    @property
    def embeddings_from(self) -> EmbeddingProvider:
        """Where vectors come from: as configured, else by whether there is a key."""
        return self.embedding_provider or ("openai" if self.openai_api_key else "local")

    @property
    def model_base_url(self) -> str:
        return self.openai_base_url or OPENAI_BASE_URL

    @property
    def token_limit_field(self) -> TokenLimitField:
        """OpenAI's newer models know only the new name, most other servers only the old one."""
        if self.openai_token_limit_field:
            return self.openai_token_limit_field
        is_openai = urlsplit(self.model_base_url).hostname == "api.openai.com"
        return "max_completion_tokens" if is_openai else "max_tokens"

    @property
    def limits(self) -> DocumentLimits:
        """How much of a content folder is read."""
        return DocumentLimits(
            max_files=self.max_files,
            max_file_bytes=self.max_file_bytes,
            max_total_bytes=self.max_total_bytes,
            max_depth=self.max_depth,
        )

    @property
    def origins(self) -> tuple[str, ...]:
        """Origins whose browsers may call: as configured, else the site's own and local ones."""
        if self.allowed_origins is not None:
            return self.allowed_origins
        if not self.site_url:
            return LOCAL_ORIGINS
        site = urlsplit(self.site_url)
        return (f"{site.scheme}://{site.netloc}".lower(), *LOCAL_ORIGINS)


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read every variable that `environ` has, by an old name too; an empty one is not set.

    Raises `SettingsError` for the first that cannot be used, or where two contradict each other.
    """
    values: dict[str, Any] = {}
    for each in fields(Settings):
        raw, name = find_variable(environ, each.name.upper())
        if not raw and (fallback := each.metadata.get("fallback")):
            raw, name = environ.get(fallback, "").strip(), fallback
        if not raw:
            continue
        try:
            values[each.name] = each.metadata["parse"](raw)
        except ValueError as error:
            # An address may hold a name and a password.
            told = re.sub(r"^(\w+://)?.*@", r"\1[hidden]@", raw, flags=re.DOTALL)
            shown = "a value that is not shown" if each.metadata["secret"] else repr(told[:200])
            raise SettingsError(f"{name} is {shown}, but must be {error}.") from None
    settings = Settings(**values)
    if settings.embeddings_from == "openai" and not settings.has_model:
        raise SettingsError(
            "EMBEDDING_PROVIDER is 'openai', but neither OPENAI_API_KEY nor OPENAI_BASE_URL is "
            "set. Set one of them, or EMBEDDING_PROVIDER=local."
        )
    if settings.daily_usd and settings.has_model:
        used = [settings.openai_model]
        if settings.embeddings_from == "openai":
            used.append(settings.openai_embedding_model)
        for model in used:
            if model not in settings.prices:
                raise SettingsError(
                    f"DAILY_USD is set, but the price of {model!r} is not known. Add it to PRICES: "
                    "0 for a model that costs nothing."
                )
    return settings


def setting_names() -> tuple[str, ...]:
    """The name of every variable that is read, in the order of `Settings`."""
    return tuple(each.name.upper() for each in fields(Settings))
