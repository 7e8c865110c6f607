"""Text and JSON lines, access lines, redaction and pseudonyms."""

import asyncio
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from lib.logs import (
    _OWN_LOGGERS,
    AccessRecord,
    DailyPseudonyms,
    configure_logging,
    current_request,
    write_access,
)
from lib.settings import Settings

REDACTED = "[redacted]"
SETTINGS = Settings(
    openai_api_key="the-model-key",
    qdrant_api_key="the-store-key",
    admin_api_key="clé-d'admin",
    api_keys=("one-key", "one-key-more", "x", "ann:key-of-her"),
)


@pytest.fixture
def handled() -> Iterator[AccessRecord]:
    note = AccessRecord("the-id", "POST", "ab12cd34", "/chat", 200, 1.916, "generated", 0.238, 312)
    token = current_request.set(note)
    yield note
    current_request.reset(token)


def formatter(form: str) -> logging.Formatter:
    """The formatter that `configure_logging` installs."""
    handlers, level = logging.root.handlers, logging.root.level
    configure_logging(replace(SETTINGS, log_format=form))
    made = logging.root.handlers[0].formatter
    logging.root.handlers = handlers
    logging.root.setLevel(level)
    assert made is not None
    return made


def record(message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("lib.x", logging.ERROR, "x.py", 1, message, args, info)


@pytest.mark.parametrize(
    "secret",
    [
        "the-model-key",
        "the-store-key",
        "clé-d'admin",
        "one-key",
        "one-key-more",
        "key-of-her",
        "Bearer any-thing",
        "bearer\tany-thing",
        "sk-proj_0123456789",
    ],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_no_key_is_written_not_even_in_a_traceback(secret: str, form: str) -> None:
    try:
        try:
            raise ValueError(f"header {secret}!")
        except ValueError as error:
            raise RuntimeError("outside") from error
    except RuntimeError as error:
        line = formatter(form).format(record("sent %s.", secret, error=error))
    assert secret not in line
    assert "more" not in line
    assert line.count(REDACTED) >= 2
    assert "RuntimeError: outside" in line


def test_without_keys_nothing_is_replaced() -> None:
    line = formatter("text").format(record("a task, an ask-me, x"))
    assert line.endswith("lib.x: a task, an ask-me, x")


def test_a_text_line_is_one_line(handled: AccessRecord) -> None:
    line = formatter("text").format(record("a\r\n2025 INFO forged"))
    assert line.endswith(r"ERROR lib.x: a\r\n2025 INFO forged id=the-id")
    assert "\n" not in line


def test_a_json_line(handled: AccessRecord) -> None:
    try:
        raise ZeroDivisionError("oh")
    except ZeroDivisionError as error:
        line = formatter("json").format(record("failed: %d", 5, error=error))
    assert "\n" not in line
    told = json.loads(line)
    assert told["exception"].endswith("ZeroDivisionError: oh")
    assert {name: told[name] for name in ("level", "logger", "message", "id")} == {
        "level": "ERROR",
        "logger": "lib.x",
        "message": "failed: 5",
        "id": "the-id",
    }


def test_the_access_line_is_text(handled: AccessRecord, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    write_access(handled)
    [line] = caplog.records
    assert (
        formatter("text")
        .format(line)
        .endswith("POST /chat 200 generated 1.92s first 0.24s 312 tokens reader=ab12cd34 id=the-id")
    )
    told = json.loads(formatter("json").format(line))
    assert (told["route"], told["first_seconds"], told["tokens"]) == ("/chat", 0.238, 312)


@pytest.mark.parametrize(
    ("route", "status", "level"),
    [
        ("/chat", 200, logging.INFO),
        ("/search", 200, logging.INFO),
        ("/ingest", 200, logging.INFO),
        ("/health", 200, logging.DEBUG),
        ("/assets/<path:filename>", 200, logging.DEBUG),
        ("other", 404, logging.INFO),
        ("/health", 503, logging.INFO),
    ],
)
def test_what_is_worth_a_line(
    caplog: pytest.LogCaptureFixture, route: str, status: int, level: int
) -> None:
    caplog.set_level("DEBUG")
    write_access(AccessRecord("id", "GET", route=route, status=status))
    assert [each.levelno for each in caplog.records] == [level]


def test_a_name_lasts_a_day_and_tells_nothing() -> None:
    now = 0.0
    names, others = DailyPseudonyms(lambda: now), DailyPseudonyms(lambda: now)
    first = names.name("203.0.113.9")
    assert len(first) == 8
    assert names.name("203.0.113.9") == first != names.name("203.0.113.8")
    assert others.name("203.0.113.9") != first  # the address alone does not determine it
    now = 86_399.0
    assert names.name("203.0.113.9") == first
    now = 86_400.0
    assert names.name("203.0.113.9") != first


@pytest.fixture
def restored() -> Iterator[None]:
    before, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers = before
    logging.root.setLevel(level)
    for name in _OWN_LOGGERS:
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.mark.usefixtures("restored")
def test_the_settings_decide(capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("text", "json"):
        configure_logging(Settings(log_format=form, log_level="WARNING", admin_api_key="geheim"))
        logging.getLogger("any").info("not this")
        logging.getLogger("any").warning("with geheim in it")
    text, line = sys_stderr(capsys)
    assert text.endswith(f"WARNING any: with {REDACTED} in it")
    assert json.loads(line)["message"] == f"with {REDACTED} in it"


@pytest.mark.usefixtures("restored")
def test_libraries_do_not_log_what_they_send(capsys: pytest.CaptureFixture[str]) -> None:
    """At DEBUG, hpack logs header values, and openai whole prompts."""
    configure_logging(Settings(log_level="DEBUG"))
    for name in ("hpack.hpack", "h2.stream", "hypercorn.error", "openai._base_client", "httpx"):
        logging.getLogger(name).debug("a question")
    for name in ("lib.answer", "handlers.failures", "quire", "access"):
        logging.getLogger(name).debug("a step")
    assert [line.rpartition(" DEBUG ")[2] for line in sys_stderr(capsys)] == [
        "lib.answer: a step",
        "handlers.failures: a step",
        "quire: a step",
        "access: a step",
    ]


@pytest.mark.usefixtures("restored")
async def test_a_reader_who_leaves_is_no_warning(capsys: pytest.CaptureFixture[str]) -> None:
    """An access line says it already."""
    configure_logging(Settings())
    server = await asyncio.start_server(leave, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"a piece of an answer")
        with suppress(ConnectionError):
            assert await reader.read() == b""
        for _ in range(20):
            writer.write(b"a piece of an answer")
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    assert sys_stderr(capsys) == []


async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.transport.abort()


def sys_stderr(capsys: Any) -> list[str]:
    sys.stderr.flush()
    return list(capsys.readouterr().err.splitlines())
