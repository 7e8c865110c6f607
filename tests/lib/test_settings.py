"""Settings from the environment: every variable, valid and invalid."""

import dataclasses
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.pricing import PRICES, Price
from lib.settings import (
    Settings,
    SettingsError,
    ToolText,
    load_settings,
    setting_names,
    unknown_settings,
)

ROOT = Path(__file__).parents[2]

# Variable, what is set, what is read.
GOOD: list[tuple[str, str, Any]] = [
    ("MCP_NAME", "Acme docs", "Acme docs"),
    ("MCP_DESCRIPTION", "About Acme.", "About Acme."),
    ("MCP_TOOLS", '{"ask": {"name": "ask.acme"}}', {"ask": ToolText(name="ask.acme")}),
    ("MCP_TOOLS", '{"read_page": {"description": "x"}}', {"read_page": ToolText(description="x")}),
    ("OPENAI_API_KEY", "sk-abc", "sk-abc"),
    ("OPENAI_API_KEY", " sk-abc\n", "sk-abc"),
    ("OPENAI_BASE_URL", "http://localhost:11434/v1/", "http://localhost:11434/v1"),
    ("OPENAI_MODEL", "llama3.2", "llama3.2"),
    ("OPENAI_TOKEN_LIMIT_FIELD", "MAX_TOKENS", "max_tokens"),
    ("OPENAI_TIMEOUT", "600", 600),
    ("MAX_OUTPUT_TOKENS", "16", 16),
    ("MAX_OUTPUT_TOKENS", "32000", 32_000),
    ("OPENAI_EMBEDDING_MODEL", "nomic-embed-text", "nomic-embed-text"),
    ("EMBEDDING_PROVIDER", "Local", "local"),
    ("LOCAL_EMBEDDING_MODEL", "Multilingual", "multilingual"),
    ("RERANK_URL", "https://api.cohere.com/v2/rerank", "https://api.cohere.com/v2/rerank"),
    ("RERANK_MODEL", "rerank-v3.5", "rerank-v3.5"),
    ("RERANK_API_KEY", "abc", "abc"),
    ("RERANK_TIMEOUT", "30", 30),
    ("PROMPT_ADDITION", "Our readers are nurses.", "Our readers are nurses."),
    ("ANSWER_CACHE_SIZE", "0", 0),
    ("TEXT_FRAGMENTS", "no", False),
    ("PRICES", '{"m": [1, 2.5], "e": [0.02]}', PRICES | {"m": Price(1, 2.5), "e": Price(0.02)}),
    ("DAILY_TOKENS", "1000000", 1_000_000),
    ("DAILY_USD", "0.50", 0.5),
    ("READER_DAILY_TOKENS", "20000", 20_000),
    ("MAX_CONCURRENT_ANSWERS", "4", 4),
    ("QDRANT_URL", "https://x.cloud.qdrant.io:6333", "https://x.cloud.qdrant.io:6333"),
    ("QDRANT_API_KEY", "abc", "abc"),
    ("QDRANT_PATH", "/var/quire", Path("/var/quire")),
    ("QDRANT_COLLECTION", "my-book_1", "my-book_1"),
    ("REDIS_URL", "redis://cache", "redis://cache"),
    ("REDIS_URL", "redis://:p%40ss@10.0.0.5:6380/2", "redis://:p%40ss@10.0.0.5:6380/2"),
    ("REDIS_URL", "rediss://u:p@[::1]:6380", "rediss://u:p@[::1]:6380"),
    ("REDIS_URL", "rediss://x?ssl_ca_certs=/ca.pem", "rediss://x?ssl_ca_certs=/ca.pem"),
    ("QDRANT_QUANTIZATION", "Binary", "binary"),
    ("QDRANT_ON_DISK", "true", True),
    ("QDRANT_GRPC_PORT", "6334", 6334),
    ("BOOK_CONTENT_PATH", "../docs", Path("../docs")),
    ("SITE_URL", "https://book.example/docs/", "https://book.example/docs"),
    ("SITE_SOURCE", "HTML", "html"),
    ("SITE_GENERATOR", "MkDocs", "mkdocs"),
    ("SITE_OPTIONS", '{"base_url": "/book/"}', {"base_url": "/book/"}),
    ("BOOK_TITLE", "The harbour", "The harbour"),
    (
        "STARTER_QUESTIONS",
        " When does the tide  turn? | | Opening hours|",
        ("When does the tide turn?", "Opening hours"),
    ),
    ("SITE_BUILD", "../build", Path("../build")),
    ("SITE_CHECK_PATH", "../build/sitemap.xml", Path("../build/sitemap.xml")),
    ("CHUNK_TOKENS", "50", 50),
    ("MAX_FILES", "1", 1),
    ("MAX_FILE_BYTES", "1000", 1000),
    ("MAX_TOTAL_BYTES", "10000000000", 10_000_000_000),
    ("MAX_DEPTH", "100", 100),
    ("MAX_ARCHIVE_BYTES", "1000", 1000),
    ("ALLOWED_ORIGINS", "https://A.example/, http://b:1", ("https://a.example", "http://b:1")),
    ("ALLOWED_ORIGINS", "https://a.example,https://a.example,", ("https://a.example",)),
    ("ADMIN_API_KEY", "clé", "clé"),
    ("API_KEYS", " one, two ,,", ("one", "two")),
    ("API_KEYS", "ann:one,two", ("ann:one", "two")),
    ("API_KEYS_FILE", "/run/secrets/readers", Path("/run/secrets/readers")),
    ("REQUIRE_ORIGIN", "yes", True),
    ("RATE_LIMIT_ENABLED", "off", False),
    ("RATE_LIMIT_ENABLED", "YES", True),
    ("TRUSTED_PROXY_HOPS", "2", 2),
    ("API_HOST", "127.0.0.1", "127.0.0.1"),
    ("API_PORT", "0", 0),
    ("STREAM_TIMEOUT", "86400", 86_400),
    ("LOG_LEVEL", "debug", "DEBUG"),
    ("LOG_FORMAT", "JSON", "json"),
    ("METRICS_PUBLIC", "true", True),
    ("QUESTION_LOG", "30d", 30),
    ("QUESTION_LOG", "off", 0),
    ("MAX_LOG_MB", "5", 5),
]

# Variable, what is set, what the sentence says is allowed.
BAD = [
    ("MCP_NAME", "x" * 201, "200 characters"),
    ("MCP_DESCRIPTION", "x" * 2001, "2000 characters"),
    ("MCP_TOOLS", "ask", "JSON"),
    ("MCP_TOOLS", '{"tell": {}}', "search_docs"),
    ("MCP_TOOLS", '{"ask": []}', "JSON"),
    ("MCP_TOOLS", '{"ask": {"title": "x"}}', "JSON"),
    ("MCP_TOOLS", '{"ask": {"name": 5}}', "JSON"),
    ("MCP_TOOLS", '{"ask": {"name": "a b"}}', "letters"),
    ("MCP_TOOLS", '{"ask": {"name": "search_docs"}}', "different names"),
    ("MCP_TOOLS", '{"ask": {"description": "%s"}}' % ("x" * 2001), "2000 characters"),
    ("OPENAI_BASE_URL", "localhost:11434", "http"),
    ("OPENAI_TOKEN_LIMIT_FIELD", "tokens", "max_tokens, max_completion_tokens"),
    ("OPENAI_TIMEOUT", "0", "600"),
    ("MAX_OUTPUT_TOKENS", "15", "16"),
    ("MAX_OUTPUT_TOKENS", "many", "32000"),
    ("EMBEDDING_PROVIDER", "cohere", "openai, local"),
    ("LOCAL_EMBEDDING_MODEL", "nowhere", "multilingual or a folder"),
    ("PROMPT_ADDITION", "x" * 2001, "2000 characters"),
    ("ANSWER_CACHE_SIZE", "-1", "100000"),
    ("TEXT_FRAGMENTS", "maybe", "true or false"),
    ("PRICES", "0.4", "JSON"),
    ("PRICES", '{"m": 0.4}', "dollars"),
    ("DAILY_TOKENS", "-1", "1000000000000"),
    ("DAILY_USD", "$5", "US dollars"),
    ("READER_DAILY_TOKENS", "some", "0"),
    ("MAX_CONCURRENT_ANSWERS", "0", "1"),
    ("QDRANT_URL", "x.cloud.qdrant.io", "https://"),
    ("QDRANT_COLLECTION", "my book", "letters"),
    ("QDRANT_QUANTIZATION", "product", "none, scalar, binary"),
    ("QDRANT_ON_DISK", "maybe", "true or false"),
    ("QDRANT_GRPC_PORT", "65536", "65535"),
    ("SITE_URL", "book.example", "https://"),
    ("SITE_GENERATOR", "gatsby", "docusaurus"),
    ("SITE_OPTIONS", "base_url=/book/", "JSON"),
    ("SITE_OPTIONS", "[" * 5000, "JSON"),
    ("CHUNK_TOKENS", "49", "50"),
    ("MAX_FILES", "0", "1"),
    ("MAX_FILE_BYTES", "2MB", "1000"),
    ("MAX_TOTAL_BYTES", "-5", "1000"),
    ("MAX_DEPTH", "101", "100"),
    ("MAX_ARCHIVE_BYTES", "999", "1000"),
    ("ALLOWED_ORIGINS", "*", "without *"),
    ("REQUIRE_ORIGIN", "maybe", "true or false"),
    ("RATE_LIMIT_ENABLED", "maybe", "true or false"),
    ("TRUSTED_PROXY_HOPS", "-1", "0"),
    ("TRUSTED_PROXY_HOPS", "11", "10"),
    ("API_PORT", "65536", "65535"),
    ("API_PORT", "1" * 5000, "65535"),
    ("STREAM_TIMEOUT", "9", "10"),
    ("LOG_LEVEL", "loud", "DEBUG"),
    ("LOG_FORMAT", "xml", "text, json"),
    ("METRICS_PUBLIC", "maybe", "true or false"),
    ("QUESTION_LOG", "30", "off, or days such as 30d"),
    ("QUESTION_LOG", "9999d", "at most 3650d"),
    ("MAX_LOG_MB", "0", "a whole number from 1"),
    ("RERANK_MODEL", "rerank-v3.5", "model.onnx"),
    ("RERANK_TIMEOUT", "0", "1"),
]

SECRETS = [
    ("OPENAI_API_KEY", "sk-geheim 1"),
    ("OPENAI_API_KEY", "sk-geheim\u200b"),
    ("QDRANT_API_KEY", "geheim\tx"),
    ("RERANK_API_KEY", "geheim x"),
    ("ADMIN_API_KEY", "geheim\nx"),
    ("API_KEYS", "good,geheim x"),
    ("API_KEYS", "geheim:"),
    ("REDIS_URL", "geheim"),
    ("REDIS_URL", "redis://:geheim@host:port"),
]


@pytest.mark.parametrize(("name", "raw", "read"), GOOD)
def test_a_good_value_is_read(name: str, raw: str, read: Any) -> None:
    others = {"RERANK_URL": "http://reranker"} if name == "RERANK_MODEL" else {}
    settings = load_settings(others | {name: raw})
    assert getattr(settings, name.lower()) == read


@pytest.mark.parametrize(
    ("variables", "port"),
    [
        ({"PORT": "8080"}, 8080),
        ({"PORT": "8080", "API_PORT": ""}, 8080),
        ({"PORT": "8080", "API_PORT": "9000"}, 9000),
        ({"PORT": ""}, 7860),
    ],
)
def test_port_is_read_when_api_port_is_not_set(variables: dict[str, str], port: int) -> None:
    assert load_settings(variables).api_port == port


def test_a_bad_port_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^PORT is 'web'\. It must be a whole number"):
        load_settings({"PORT": "web"})


def test_every_variable_is_tried() -> None:
    assert {name for name, _, _ in GOOD} == set(setting_names())


@pytest.mark.parametrize(("name", "raw", "allowed"), BAD)
def test_a_bad_value_is_refused_in_a_sentence(name: str, raw: str, allowed: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({name: raw})
    message = str(caught.value)
    assert message.startswith(name)
    assert raw[:200] in message
    assert allowed in message.partition("must be")[2]
    assert len(message) < 500


@pytest.mark.parametrize(("name", "raw"), SECRETS)
def test_a_bad_secret_is_not_shown(name: str, raw: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({name: raw})
    assert str(caught.value).startswith(name)
    assert "geheim" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("QDRANT_URL", "ftp://name:geheim@host"),
        ("QDRANT_URL", "name:ge/heim@host:6333"),
        ("OPENAI_BASE_URL", "https://geheim@host:port"),
        ("ALLOWED_ORIGINS", "https://name:geheim@host"),
    ],
)
def test_a_password_in_an_address_is_not_shown(name: str, raw: str) -> None:
    with pytest.raises(SettingsError, match=r"\[hidden\]@host") as caught:
        load_settings({name: raw})
    assert "heim" not in str(caught.value)
    assert "name" not in str(caught.value)


def test_a_bad_address_of_redis_is_told_what_is_allowed() -> None:
    with pytest.raises(SettingsError, match=r"^REDIS_URL .*hidden.* redis://.* rediss://.*\.$"):
        load_settings({"REDIS_URL": "localhost:6379"})


def test_no_secret_is_in_a_repr() -> None:
    names = {name for name, _ in SECRETS}
    settings = load_settings(dict.fromkeys(names, "geheim") | {"REDIS_URL": "redis://:geheim@host"})
    assert "geheim" not in repr(settings)
    assert "geheim" not in f"{settings}"
    secret = {f.name.upper() for f in dataclasses.fields(Settings) if not f.repr}
    keys = {n for n in setting_names() if "KEY" in n} - {"API_KEYS_FILE"} | {"REDIS_URL"}
    assert secret == names == keys


@pytest.mark.parametrize("name", setting_names())
@pytest.mark.parametrize("raw", ["", " ", "\n"])
def test_an_empty_value_is_no_value(name: str, raw: str) -> None:
    assert load_settings({name: raw}) == Settings()


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().api_port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("environ", "provider", "has_model"),
    [
        ({}, "local", False),
        ({"OPENAI_API_KEY": "k"}, "openai", True),
        ({"OPENAI_API_KEY": "k", "EMBEDDING_PROVIDER": "local"}, "local", True),
        ({"OPENAI_BASE_URL": "http://x/v1"}, "local", True),
        ({"OPENAI_BASE_URL": "http://x/v1", "EMBEDDING_PROVIDER": "openai"}, "openai", True),
        ({"EMBEDDING_PROVIDER": "local"}, "local", False),
    ],
)
def test_what_answers_and_embeds(environ: dict[str, str], provider: str, has_model: bool) -> None:
    settings = load_settings(environ)
    assert settings.embeddings_from == provider
    assert settings.has_model is has_model


def test_embeddings_without_a_key_contradict() -> None:
    with pytest.raises(SettingsError, match=r"EMBEDDING_PROVIDER.*OPENAI_API_KEY"):
        load_settings({"EMBEDDING_PROVIDER": "openai"})


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({}, None),
        ({"OPENAI_API_KEY": "k"}, None),
        ({"OPENAI_API_KEY": "k", "OPENAI_MODEL": "x"}, "x"),
        ({"OPENAI_BASE_URL": "http://x/v1", "OPENAI_MODEL": "x"}, "x"),
        ({"OPENAI_API_KEY": "k", "OPENAI_EMBEDDING_MODEL": "e"}, "e"),
        ({"OPENAI_BASE_URL": "http://x/v1", "OPENAI_EMBEDDING_MODEL": "e"}, None),
        ({"OPENAI_API_KEY": "k", "OPENAI_MODEL": "x", "PRICES": '{"x": [0]}'}, None),
    ],
)
def test_a_budget_of_money_needs_prices(environ: dict[str, str], missing: str | None) -> None:
    assert load_settings(environ)
    if missing is None:
        assert load_settings({**environ, "DAILY_USD": "1"}).daily_usd == 1.0
        return
    with pytest.raises(SettingsError, match=f"DAILY_USD.*'{missing}'.*PRICES"):
        load_settings({**environ, "DAILY_USD": "1"})


@pytest.mark.parametrize(
    ("environ", "field"),
    [
        ({"OPENAI_API_KEY": "k"}, "max_completion_tokens"),
        ({"OPENAI_BASE_URL": "http://localhost:11434/v1"}, "max_tokens"),
        ({"OPENAI_BASE_URL": "https://api.openai.com/v1"}, "max_completion_tokens"),
        ({"OPENAI_BASE_URL": "https://api.openai.com.evil.example/v1"}, "max_tokens"),
        (
            {"OPENAI_API_KEY": "k", "OPENAI_TOKEN_LIMIT_FIELD": "max_tokens"},
            "max_tokens",
        ),
    ],
)
def test_which_field_limits_the_answer(environ: dict[str, str], field: str) -> None:
    assert load_settings(environ).token_limit_field == field


def test_origins_are_the_site_s_and_local_ones() -> None:
    local = load_settings({}).origins
    assert all(re.match(r"http://(localhost|127\.0\.0\.1):\d+$", each) for each in local)
    site = load_settings({"SITE_URL": "https://Book.Example:8443/docs"})
    assert site.origins == ("https://book.example:8443", *local)
    own = load_settings({"SITE_URL": "https://b.example", "ALLOWED_ORIGINS": "https://a.example"})
    assert own.origins == ("https://a.example",)


def test_the_example_lists_exactly_the_settings() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^#? ?([A-Z_]+)=", text, re.MULTILINE)) == setting_names()


def test_the_example_shows_the_defaults() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    shown = dict(re.findall(r"^#? ?([A-Z_]+)=(\S*)", text, re.MULTILINE))
    assert load_settings(shown) == Settings()


@pytest.mark.parametrize(
    ("generator", "options", "message"),
    [
        ("auto", '{"doc_route": "/"}', "Did you mean docs_route?"),
        ("docusaurus", '{"trailing-slash": true}', "Did you mean trailing_slash?"),
        ("docusaurus", '{"Docs_Route": "/"}', "Did you mean docs_route?"),
        ("mkdocs", '{"docs_route": "/"}', "Options: base_url, use_directory_urls."),
        ("none", '{"clean_urls": true}', "Options: base_url."),
        ("auto", '{"": 1}', "Unknown option '' in SITE_OPTIONS for SITE_GENERATOR=auto."),
        ("auto", '{"trailing_slash": "false"}', "'trailing_slash' in SITE_OPTIONS must be true or"),
        ("mkdocs", '{"use_directory_urls": 0}', "must be true or false."),
        ("auto", '{"base_url": null}', "'base_url' in SITE_OPTIONS must be a string."),
    ],
)
def test_an_option_of_the_site_that_nobody_reads_is_refused(
    generator: str, options: str, message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"SITE_GENERATOR": generator, "SITE_OPTIONS": options})
    assert message in str(caught.value)


def test_unknown_variables_are_ignored() -> None:
    assert load_settings({"PATH": "/bin", "api_port": "5"}) == Settings()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"QDRANT_ULR": "x"}, ["Unknown setting QDRANT_ULR. Did you mean QDRANT_URL?"]),
        ({"API_PROT": "1"}, ["Did you mean API_PORT?"]),
        ({"ALLOWED_ORIGIN": "x"}, ["Did you mean ALLOWED_ORIGINS?"]),
        ({"OPENAI_APIKEY": "x"}, ["Did you mean OPENAI_API_KEY?"]),
        ({"SITE_GENERATER": "x"}, ["Did you mean SITE_GENERATOR?"]),
        ({"OPNAI_API_KEY": "x"}, ["Did you mean OPENAI_API_KEY?"]),
        ({"SITEOPTIONS": "x"}, ["Did you mean SITE_OPTIONS?"]),
        ({"site_options": "x"}, ["Did you mean SITE_OPTIONS?"]),
        (dict.fromkeys(setting_names(), "x"), []),
    ],
)
def test_misspelt_settings_are_reported(environ: dict[str, str], expected: list[str]) -> None:
    messages = unknown_settings(environ)
    assert len(messages) == len(expected)
    for line, words in zip(messages, expected, strict=True):
        assert words in line


OTHER_PROGRAMS = """
API_KEY API_URL API_BASE API_TOKEN OPENAI_API_TYPE OPENAI_API_VERSION OPENAI_ORGANIZATION
OPENAI_ORG_ID OPENAI_PROJECT_ID OPENAI_LOG QDRANT__SERVICE__API_KEY QDRANT__SERVICE__GRPC_PORT
QDRANT_PORT QDRANT_SERVICE_HOST QDRANT_SERVICE_PORT QDRANT_PORT_6333_TCP QDRANT_PORT_6333_TCP_ADDR
QDRANT_HOST QDRANT_TEST_URL QDRANT_TEST_API_KEY QDRANT_OPENAPI
REDIS_HOST REDIS_PORT REDIS_PASSWORD LOG_FILE LOGNAME LOG_DIR MAX_TOKENS MAX_WORKERS
SITE_NAME SITE_ID SITE_PACKAGES PATH HOME HOSTNAME PORT SPACE_ID SPACE_HOST LANG LC_ALL
"""


def test_variables_of_other_programs_are_no_misspellings() -> None:
    assert unknown_settings(dict.fromkeys(OTHER_PROGRAMS.split(), "x")) == []


def test_a_start_says_it_once_in_the_log() -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "QDRANT_ULR": "http://secret.example",
        "API_HOST": "256.256.256.256",  # so that it exits before serving
    }
    run = [sys.executable, "main.py"]
    done = subprocess.run(run, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.stderr.count("Unknown setting QDRANT_ULR. Did you mean QDRANT_URL?") == 1
    assert "WARNING" in done.stderr
    assert "secret" not in done.stderr


MORE_BAD = [
    ("MCP_NAME", "x" * 201, "200 characters"),
    ("MCP_DESCRIPTION", "x" * 2001, "2000 characters"),
    ("MCP_TOOLS", "ask", "JSON"),
    ("MCP_TOOLS", '{"tell": {}}', "search_docs"),
    ("MCP_TOOLS", '{"ask": []}', "JSON"),
    ("MCP_TOOLS", '{"ask": {"title": "x"}}', "JSON"),
    ("MCP_TOOLS", '{"ask": {"name": 5}}', "JSON"),
    ("MCP_TOOLS", '{"ask": {"name": "a b"}}', "letters"),
    ("MCP_TOOLS", '{"ask": {"name": "search_docs"}}', "different names"),
    ("MCP_TOOLS", '{"ask": {"description": "%s"}}' % ("x" * 2001), "2000 characters"),
    ("QDRANT_URL", "ftp://x", "http://"),
    ("QDRANT_URL", "http://", "http://"),
    ("QDRANT_URL", "http://x:port/v1", "http://"),
    ("QDRANT_URL", "http://[::1", "http://"),
    ("QDRANT_URL", "http://a b/v1", "http://"),
    ("PRICES", '{"m": ["0.4"]}', "dollars"),
    ("PRICES", '{"m": [true]}', "dollars"),
    ("PRICES", '{"m": [-1]}', "dollars"),
    ("PRICES", '{"m": []}', "dollars"),
    ("PRICES", '{"m": [1, 2, 3]}', "dollars"),
    ("DAILY_USD", "nan", "US dollars"),
    ("DAILY_USD", "-1", "US dollars"),
    ("DAILY_USD", "1000000", "999999"),
    ("CHUNK_TOKENS", "1e2", "from 50 to 2000"),
    ("API_PORT", "٨", "from 0 to 65535"),
    ("QDRANT_COLLECTION", "../x", "letters"),
    ("QDRANT_COLLECTION", "x" * 65, "64"),
    ("SITE_OPTIONS", "[1]", "JSON"),
    ("LOCAL_EMBEDDING_MODEL", "x" * 5_000, "multilingual or a folder"),
    ("ALLOWED_ORIGINS", "https://*.example.org", "without *"),
    ("ALLOWED_ORIGINS", "https://a.example,book.example", "exact origins"),
    ("ALLOWED_ORIGINS", "https://a.example/docs", "path"),
    ("ALLOWED_ORIGINS", "https://u@a.example", "exact origins"),
    ("REDIS_URL", "http://:geheim@host", "rediss://"),
    ("REDIS_URL", "redis://:geheim@", "rediss://"),
    ("REDIS_URL", "redis://:geheim@host/first", "rediss://"),
    ("REDIS_URL", "redis://:geheim@host?password=x", "ssl_ca_certs"),
    ("REDIS_URL", "redis://:geheim@host?ssl_ca_certs=/ca.pem", "rediss:// for TLS"),
    ("REDIS_URL", "redis://:geheim@host#0", "rediss://"),
    ("REDIS_URL", "rediss://:geheim@host?ssl_ca_certs", "rediss://"),
]


@pytest.mark.parametrize(("name", "raw", "allowed"), MORE_BAD)
def test_an_error_names_what_is_allowed(name: str, raw: str, allowed: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(allowed)) as caught:
        load_settings({name: raw})
    assert "geheim" not in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(raw: str) -> None:
    for name in setting_names():
        with suppress(SettingsError):
            load_settings({name: raw})


@pytest.mark.parametrize("name", ["LOCAL_EMBEDDING_MODEL", "RERANK_MODEL"])
def test_a_local_model_may_be_a_folder(tmp_path: Path, name: str) -> None:
    environ = {name: str(tmp_path)}
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").touch()
    with pytest.raises(SettingsError, match=r"tokenizer\.json"):
        load_settings(environ)
    (tmp_path / "tokenizer.json").touch()
    assert getattr(load_settings(environ), name.lower()) == str(tmp_path)
    for other in ("one.onnx", "two.onnx"):
        (tmp_path / other).touch()
    assert load_settings(environ)
    (tmp_path / "onnx" / "model.onnx").unlink()
    with pytest.raises(SettingsError, match=r"model\.onnx"):  # which of the two?
        load_settings(environ)


def test_prices_replace_and_add() -> None:
    prices = load_settings({"PRICES": '{"m": [1, 2.5], "gpt-4.1": [0.02]}'}).prices
    assert prices == PRICES | {"m": Price(1.0, 2.5), "gpt-4.1": Price(0.02)}


def test_keys_may_have_names() -> None:
    assert load_settings({"API_KEYS": " one, ann:two ,,"}).api_keys == ("one", "ann:two")
    with pytest.raises(SettingsError, match="without white space"):
        load_settings({"API_KEYS": "one,ann:t w o"})
