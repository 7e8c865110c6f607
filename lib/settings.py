"""The configuration: one frozen object, read once from a mapping of environment variables.

Every variable is a field of `Settings` and carries its name in capitals (`api_port` is `API_PORT`).
A value that cannot be used stops the start with a sentence that names the variable, what was read
and what is allowed. Keys are stripped of white space and never shown, not even in a `repr`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from lib.documents import DocumentLimits
from lib.pricing import PRICES, Price
from lib.renamed import find_variable
from lib.setting_values import (
    MULTILINGUAL,
    api_key,
    collection_name,
    dollars_a_day,
    exact_origins,
    flag,
    http_url,
    json_object,
    local_model,
    one_of,
    price_table,
    reader_keys,
    redis_url,
    short_text,
    whole_number,
)
from lib.sites.site import GENERATORS

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
