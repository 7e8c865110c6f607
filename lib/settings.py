"""Settings: one frozen object, read from a mapping of environment variables.

Each field of `Settings` is a variable of the same name in capitals (`api_port` is `API_PORT`). An
invalid value stops the start with a message that names the variable, its value and what is allowed.
Keys are stripped of white space and never shown, not even in a `repr`.
"""

import difflib
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, urlsplit

from lib.auth import parse_key
from lib.documents import DocumentLimits
from lib.origins import LOCAL_ORIGINS, origin_of
from lib.pricing import PRICES, Price
from lib.sites.built import SITE_SOURCES
from lib.sites.generators import GENERATORS

MULTILINGUAL: Final = "multilingual"
_MAX_ADDITION: Final = 2_000
_MAX_TITLE: Final = 200
_MAX_QUESTIONS: Final = 6
_MAX_QUESTION: Final = 200
_MAX_DAYS: Final = 3_650
_REDIS_OPTIONS: Final = frozenset({"ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_keyfile"})


def _short_text(most: int) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if len(raw) > most:
            raise ValueError(f"at most {most} characters")
        return raw

    return parse


def _questions(raw: str) -> tuple[str, ...]:
    """Up to `_MAX_QUESTIONS` questions, separated by `|`."""
    questions = tuple(text for part in raw.split("|") if (text := " ".join(part.split())))
    if len(questions) > _MAX_QUESTIONS or any(len(each) > _MAX_QUESTION for each in questions):
        raise ValueError(
            f"at most {_MAX_QUESTIONS} questions of {_MAX_QUESTION} characters, separated by |"
        )
    return questions


def _api_key(raw: str) -> str:
    # HTTP clients repeat a header with a stray newline in their exceptions, key included.
    if not raw.isprintable() or any(c.isspace() for c in raw):
        raise ValueError("a key of printable characters without white space")
    return raw


def _reader_keys(raw: str) -> tuple[str, ...]:
    """Comma-separated entries, each `key` or `name:key`."""
    entries = tuple(part.strip() for part in raw.split(",") if part.strip())
    for entry in entries:
        parse_key(entry)
    return entries


def _flag(raw: str) -> bool:
    match raw.lower():
        case "true" | "1" | "yes" | "on":
            return True
        case "false" | "0" | "no" | "off":
            return False
    raise ValueError("true or false")


def _whole_number(low: int, high: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,15}", raw) or not low <= int(raw) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(raw)

    return parse


def _days(raw: str) -> int:
    if raw.lower() in ("off", "false", "no", "0", "0d"):
        return 0
    if not re.fullmatch(r"[0-9]{1,4}d", raw) or not 1 <= int(raw[:-1]) <= _MAX_DAYS:
        raise ValueError(f"off, or days such as 30d, at most {_MAX_DAYS}d")
    return int(raw[:-1])


def _one_of(*allowed: str) -> Callable[[str], str]:
    """Parse one of `allowed` in any case."""

    def parse(raw: str) -> str:
        for each in allowed:
            if each.lower() == raw.lower():
                return each
        raise ValueError("one of " + ", ".join(allowed))

    return parse


_MODEL_FOLDER: Final = "a folder that holds model.onnx and tokenizer.json"


def _is_model_folder(raw: str) -> bool:
    """Whether `lib.embedding_local.find_model` finds a model."""
    folder = Path(raw)
    with suppress(OSError, ValueError):  # for example, the name is too long
        weights = [*folder.glob("*.onnx"), *folder.glob("onnx/*.onnx")]
        found = len(weights) == 1 or any(each.name == "model.onnx" for each in weights)
        return found and (folder / "tokenizer.json").is_file()
    return False


def _local_model(raw: str) -> str:
    """Accept `multilingual` or the folder of another model."""
    if raw.lower() == MULTILINGUAL:
        return MULTILINGUAL
    if _is_model_folder(raw):
        return raw
    raise ValueError(f"{MULTILINGUAL} or {_MODEL_FOLDER}")


def _http_url(raw: str) -> str:
    """Strip trailing slashes."""
    expected = "an address that starts with http:// or https://"
    try:
        parts = urlsplit(raw)
        _ = parts.port  # raises ValueError for an invalid port
    except ValueError:
        raise ValueError(expected) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", raw):
        raise ValueError(expected)
    return raw.rstrip("/")


def _redis_url(raw: str) -> str:
    expected = (
        "an address such as redis://:password@host:6379/0, or rediss:// for TLS; options after ?: "
        + ", ".join(sorted(_REDIS_OPTIONS))
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
        or not options.keys() <= _REDIS_OPTIONS
        or (options and parts.scheme == "redis")
        or parts.fragment
        or re.search(r"\s", raw)
    ):
        raise ValueError(expected)
    return raw


def _exact_origins(raw: str) -> tuple[str, ...]:
    """Comma-separated origins, in lower case, without duplicates."""
    parts = [part.strip() for part in raw.split(",")]
    origins = dict.fromkeys(part.rstrip("/").lower() for part in parts if part)
    for origin in origins:
        # Exact origins only: browsers refuse a wildcard with credentials, which existing widgets
        # send, and a pattern easily matches more than intended.
        if not re.fullmatch(r"https?://[^\s/*?#@]+", origin):
            raise ValueError(
                "exact origins such as https://book.example.org, separated by commas, without a "
                "path and without *"
            )
    return tuple(origins)


def _collection_name(raw: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", raw):
        raise ValueError("1 to 64 letters, digits, _ and -")
    return raw


def _json_object(raw: str) -> Mapping[str, Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ValueError('a JSON object such as {"base_url": "/book/"}')
    return value


_MCP_TOOLS: Final = ("search_docs", "read_page", "ask")
_TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class ToolText:
    """How an MCP tool is presented to models; an empty field leaves the default."""

    name: str = ""
    description: str = ""


def _tool_texts(raw: str) -> Mapping[str, ToolText]:
    """The texts of MCP tools by their default names."""
    expected = (
        'a JSON object such as {"ask": {"name": "ask_acme", "description": "Ask about Acme."}}; '
        f"tools: {', '.join(_MCP_TOOLS)}; different names of 1 to 64 letters, digits, _, - and ., "
        f"descriptions of at most {_MAX_ADDITION} characters"
    )
    try:
        texts = {tool: ToolText(**fields) for tool, fields in _json_object(raw).items()}
    except TypeError:
        raise ValueError(expected) from None
    names = {texts[tool].name or tool if tool in texts else tool for tool in _MCP_TOOLS}
    if (
        not texts.keys() <= {*_MCP_TOOLS}
        or not all(_is_tool_text(each) for each in texts.values())
        or len(names) < len(_MCP_TOOLS)
    ):
        raise ValueError(expected)
    return texts


def _is_tool_text(text: ToolText) -> bool:
    return (
        isinstance(text.name, str)
        and isinstance(text.description, str)
        and (not text.name or bool(_TOOL_NAME.fullmatch(text.name)))
        and len(text.description) <= _MAX_ADDITION
    )


def _price_table(raw: str) -> Mapping[str, Price]:
    """`PRICES`, updated with `[input, output]` or `[input]` by model."""
    table = _json_object(raw)
    expected = 'a JSON object such as {"gpt-4.1-mini": [0.4, 1.6]}: US dollars per million tokens'
    try:
        return PRICES | {model: Price(*map(_dollars, each)) for model, each in table.items()}
    except (TypeError, ValueError):
        raise ValueError(expected) from None


def _dollars(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
        raise ValueError
    return float(value)


def _dollars_a_day(raw: str) -> float:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", raw):
        raise ValueError("US dollars such as 0.50, at most 999999; 0 for no limit")
    return float(raw)


_EmbeddingProvider = Literal["openai", "local"]
_TokenLimitField = Literal["max_tokens", "max_completion_tokens"]
Quantization = Literal["none", "scalar", "binary"]


class SettingsError(Exception):
    """A setting has an invalid value. The message is for the person who set it."""


def _setting(
    default: Any, parse: Callable[[str], Any], *, secret: bool = False, fallback: str = ""
) -> Any:
    """`fallback`: a variable that is read if the setting's own is not set."""
    metadata = {"parse": parse, "secret": secret, "fallback": fallback}
    return field(default_factory=lambda: default, repr=not secret, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Validated settings. `.env.example` explains each variable."""

    openai_api_key: str = _setting("", _api_key, secret=True)
    openai_base_url: str = _setting("", _http_url)
    openai_model: str = _setting("gpt-4.1-mini", str)
    openai_token_limit_field: _TokenLimitField | None = _setting(
        None, _one_of("max_tokens", "max_completion_tokens")
    )
    openai_timeout: int = _setting(30, _whole_number(1, 600))
    max_output_tokens: int = _setting(800, _whole_number(16, 32_000))
    openai_embedding_model: str = _setting("text-embedding-3-small", str)
    embedding_provider: _EmbeddingProvider | None = _setting(None, _one_of("openai", "local"))

    local_embedding_model: str = _setting(MULTILINGUAL, _local_model)
    rerank_url: str = _setting("", _http_url)
    rerank_model: str = _setting("", str)
    rerank_api_key: str = _setting("", _api_key, secret=True)
    rerank_timeout: int = _setting(1, _whole_number(1, 30))

    prompt_addition: str = _setting("", _short_text(_MAX_ADDITION))
    answer_cache_size: int = _setting(500, _whole_number(0, 100_000))
    text_fragments: bool = _setting(True, _flag)
    prices: Mapping[str, Price] = _setting(PRICES, _price_table)
    daily_tokens: int = _setting(0, _whole_number(0, 10**12))
    daily_usd: float = _setting(0.0, _dollars_a_day)
    reader_daily_tokens: int = _setting(0, _whole_number(0, 10**12))
    max_concurrent_answers: int = _setting(600, _whole_number(1, 100_000))

    qdrant_url: str = _setting("", _http_url)
    qdrant_api_key: str = _setting("", _api_key, secret=True)
    qdrant_path: Path = _setting(Path("./qdrant_data"), Path)
    qdrant_collection: str = _setting("quire", _collection_name)
    qdrant_quantization: Quantization = _setting("none", _one_of("none", "scalar", "binary"))
    qdrant_on_disk: bool = _setting(False, _flag)
    qdrant_grpc_port: int = _setting(0, _whole_number(0, 65_535))
    redis_url: str = _setting("", _redis_url, secret=True)

    book_content_path: Path = _setting(Path("./book_content"), Path)
    site_url: str = _setting("", _http_url)
    site_source: str = _setting("auto", _one_of("auto", *SITE_SOURCES))
    site_generator: str = _setting("auto", _one_of("auto", *GENERATORS, "none"))
    site_options: Mapping[str, Any] = _setting({}, _json_object)
    book_title: str = _setting("", _short_text(_MAX_TITLE))
    starter_questions: tuple[str, ...] = _setting((), _questions)
    site_build: Path | None = _setting(None, Path)
    site_check_path: Path | None = _setting(None, Path)
    chunk_tokens: int = _setting(270, _whole_number(50, 2_000))
    max_files: int = _setting(20_000, _whole_number(1, 1_000_000))
    max_file_bytes: int = _setting(2_000_000, _whole_number(1_000, 100_000_000))
    max_total_bytes: int = _setting(500_000_000, _whole_number(1_000, 10_000_000_000))
    max_depth: int = _setting(32, _whole_number(1, 100))
    max_archive_bytes: int = _setting(50_000_000, _whole_number(1_000, 1_000_000_000))

    allowed_origins: tuple[str, ...] | None = _setting(None, _exact_origins)
    admin_api_key: str = _setting("", _api_key, secret=True)
    api_keys: tuple[str, ...] = _setting((), _reader_keys, secret=True)
    api_keys_file: Path | None = _setting(None, Path)
    require_origin: bool = _setting(False, _flag)
    rate_limit_enabled: bool = _setting(True, _flag)
    trusted_proxy_hops: int = _setting(0, _whole_number(0, 10))

    mcp_name: str = _setting("", _short_text(_MAX_TITLE))
    mcp_description: str = _setting("", _short_text(_MAX_ADDITION))
    mcp_tools: Mapping[str, ToolText] = _setting({}, _tool_texts)

    api_host: str = _setting("0.0.0.0", str)
    # Cloud Run, Render, Railway and Koyeb pass the port in PORT.
    api_port: int = _setting(7860, _whole_number(0, 65_535), fallback="PORT")
    stream_timeout: int = _setting(900, _whole_number(10, 86_400))
    log_level: str = _setting("INFO", _one_of("DEBUG", "INFO", "WARNING", "ERROR"))
    log_format: str = _setting("text", _one_of("text", "json"))
    metrics_public: bool = _setting(False, _flag)
    question_log: int = _setting(0, _days)
    """Days to keep an entry; 0: no log."""
    max_log_mb: int = _setting(100, _whole_number(1, 100_000))

    @property
    def has_model(self) -> bool:
        """Whether a language model is configured, by a key or a server address."""
        return bool(self.openai_api_key or self.openai_base_url)

    @property
    def embeddings_from(self) -> _EmbeddingProvider:
        """Source of embeddings: as configured, else OpenAI if there is a key."""
        return self.embedding_provider or ("openai" if self.openai_api_key else "local")

    @property
    def model_base_url(self) -> str:
        return self.openai_base_url or "https://api.openai.com/v1"

    @property
    def token_limit_field(self) -> _TokenLimitField:
        """The request field that OpenAI's newer models need, or the one that other servers know."""
        if self.openai_token_limit_field:
            return self.openai_token_limit_field
        is_openai = urlsplit(self.model_base_url).hostname == "api.openai.com"
        return "max_completion_tokens" if is_openai else "max_tokens"

    @property
    def pushed_content(self) -> Path:
        """Folder of a book that was uploaded as an archive."""
        return (self.qdrant_path / self.qdrant_collection / "content").resolve()

    @property
    def crawled_content(self) -> Path:
        """Folder of the copies of sites that were read from the web."""
        return (self.qdrant_path / self.qdrant_collection / "crawled").resolve()

    @property
    def limits(self) -> DocumentLimits:
        """Size limits of a content folder."""
        return DocumentLimits(
            max_files=self.max_files,
            max_file_bytes=self.max_file_bytes,
            max_total_bytes=self.max_total_bytes,
            max_depth=self.max_depth,
        )

    @property
    def secrets(self) -> set[str]:
        """The configured keys and passwords. Named keys are included with and without the name."""
        found: set[str] = set()
        for each in fields(self):
            if each.metadata["secret"]:
                value = getattr(self, each.name)
                for entry in [value] if isinstance(value, str) else value:
                    found |= {entry, entry.partition(":")[2]}  # name:key
        return found - {""}

    @property
    def origins(self) -> tuple[str, ...]:
        """Allowed origins: as configured, else those of `SITE_URL` and local development.

        `lib.origins.Origins` adds that of the published book.
        """
        if self.allowed_origins is not None:
            return self.allowed_origins
        return (*filter(None, [origin_of(self.site_url)]), *LOCAL_ORIGINS)


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings from `environ`. An empty variable counts as not set.

    Raises `SettingsError` for an invalid value, or if two settings contradict each other.
    """
    values: dict[str, Any] = {}
    for each in fields(Settings):
        name = each.name.upper()
        raw = environ.get(name, "").strip()
        if not raw and (fallback := each.metadata["fallback"]):
            name, raw = fallback, environ.get(fallback, "").strip()
        if not raw:
            continue
        try:
            values[each.name] = each.metadata["parse"](raw)
        except ValueError as error:
            # An address may contain a user name and a password.
            redacted = re.sub(r"^(\w+://)?.*@", r"\1[hidden]@", raw, flags=re.DOTALL)
            shown = "not valid (value hidden)" if each.metadata["secret"] else repr(redacted[:200])
            raise SettingsError(f"{name} is {shown}. It must be {error}.") from None
    settings = Settings(**values)
    if settings.embeddings_from == "openai" and not settings.has_model:
        raise SettingsError(
            "EMBEDDING_PROVIDER is 'openai', but neither OPENAI_API_KEY nor OPENAI_BASE_URL is "
            "set. Set one of them, or EMBEDDING_PROVIDER=local."
        )
    _check_site_options(settings)
    folder = "" if settings.rerank_url else settings.rerank_model
    if folder and not _is_model_folder(folder):
        raise SettingsError(
            f"RERANK_MODEL is {folder[:200]!r}. Without RERANK_URL, it must be {_MODEL_FOLDER}."
        )
    if settings.daily_usd and settings.has_model:
        used = [settings.openai_model]
        if settings.embeddings_from == "openai":
            used.append(settings.openai_embedding_model)
        for model in used:
            if model not in settings.prices:
                raise SettingsError(
                    f"DAILY_USD is set, but the price of {model!r} is unknown. Add it to PRICES; "
                    "use 0 for a free model."
                )
    return settings


def _check_site_options(settings: Settings) -> None:
    generators = [each for each in GENERATORS.values() if each.name == settings.site_generator]
    if settings.site_generator == "auto":
        generators = list(GENERATORS.values())
    known: dict[str, type] = {"base_url": str}
    for generator in generators:
        known |= generator.options
    for name, value in settings.site_options.items():
        shown = repr(name[:100])
        if name not in known:
            near = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1)
            raise SettingsError(
                f"Unknown option {shown} in SITE_OPTIONS for SITE_GENERATOR="
                f"{settings.site_generator}. "
                + (f"Did you mean {near[0]}?" if near else f"Options: {', '.join(sorted(known))}.")
            )
        if not isinstance(value, known[name]):
            expected = "true or false" if known[name] is bool else "a string"
            raise SettingsError(f"The option {shown} in SITE_OPTIONS must be {expected}.")


def setting_names() -> tuple[str, ...]:
    """The names of all variables, in the order of `Settings`."""
    return tuple(each.name.upper() for each in fields(Settings))


_SIMILARITY = 0.87
"""Minimum ratio of `difflib`: a typing error, not another word."""


def unknown_settings(environ: Mapping[str, str]) -> list[str]:
    """Messages about variables that look like misspelt settings. They contain no value."""
    names = setting_names()
    messages: list[str] = []
    for name in environ.keys() - set(names) - {"API_KEY"}:  # other programs use it
        messages.extend(
            f"Unknown setting {name}. Did you mean {similar}?"
            for similar in difflib.get_close_matches(name.upper(), names, n=1, cutoff=_SIMILARITY)
        )
    return sorted(messages)
