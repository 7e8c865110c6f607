"""The server's socket and limits. tests/test_stopping.py tests the shutdown."""

import asyncio
import json
import logging
import resource
import socket
import subprocess
import sys
from contextlib import ExitStack

import pytest

from handlers.middleware import STALLED_SECONDS
from handlers.serving import _MAX_FILES, _LimitedListener, _listen
from tests.api import listening
from tests.conftest import MakeSettings

IPV6 = socket.has_dualstack_ipv6()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="not on this system")
def test_the_system_gives_up_readers_who_do_not_read() -> None:
    with (
        _listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as taken,
    ):
        option = taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert option == STALLED_SECONDS * 1000


@pytest.mark.skipif(not IPV6, reason="not on this system")
def test_all_of_ipv6_is_ipv4_too() -> None:
    with (
        _listen("::", 0) as listener,
        socket.create_connection(("127.0.0.1", listener.getsockname()[1])),
    ):
        pass


def test_an_address_in_use_is_an_error() -> None:
    with _listen("127.0.0.1", 0) as listener, pytest.raises(OSError, match="in use"):
        _listen("127.0.0.1", listener.getsockname()[1])


FEW_FILES = """
import resource
from handlers.serving import _raise_file_limit

_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
_raise_file_limit()
print(*resource.getrlimit(resource.RLIMIT_NOFILE), hard)
"""


@pytest.mark.processes
def test_streams_do_not_end_at_the_shells_limit_of_files() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FEW_FILES], check=True, capture_output=True, text=True
    )
    soft, hard, before = map(int, ran.stdout.split())
    assert hard == before
    assert soft == (_MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES))


async def talk(address: str, data: bytes) -> bytes:
    """Send bytes, and return all that the server sends until it closes the connection."""
    host, _, port = address.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
NOT_HTTP_1 = {
    "an upgrade": HEALTH + b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    "a bad upgrade": HEALTH + b"Upgrade: h2c\r\nHTTP2-Settings: !\r\n\r\n",
    "an upgrade without settings": HEALTH + b"Upgrade: h2c\r\n\r\n",
    "prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    "a web socket": HEALTH.replace(b"close", b"close, upgrade")
    + b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "a bad web socket": HEALTH.replace(b"close", b"close, upgrade") + b"Upgrade: websocket\r\n\r\n",
    "nonsense": b"\x16\x03\x01\x02\0\x01\0\r\n\r\n",
}


async def test_other_protocols_are_not_spoken(
    make_settings: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(make_settings()) as address:
        for name, data in NOT_HTTP_1.items():
            answer = await talk(address, data)
            assert answer.startswith(b"HTTP/1.1 "), name
            assert b"HTTP/1.1 101" not in answer, name
            assert (b"uptime" in answer) is (b"Upgrade" in data), name
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


async def test_connections_are_limited(
    make_settings: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(make_settings(), connections=3) as address:
        host, _, port = address.removeprefix("http://").partition(":")
        opened = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
        for _ in range(2):
            head, _, body = (await talk(address, HEALTH + b"\r\n")).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: 5" in head
            assert json.loads(body)["code"] == "BUSY"
        for reader, writer in opened:
            writer.write(HEALTH + b"\r\n")
            assert b"uptime" in await reader.read()
            writer.close()
        assert b"uptime" in await talk(address, HEALTH + b"\r\n")
    assert [each.message for each in caplog.records if each.name == "handlers.serving"] == [
        "refusing connections: 3 are open"
    ]


def test_one_address_gets_a_part_of_all_connections() -> None:
    with _LimitedListener(_listen("127.0.0.1", 0), 3, 2) as listener, ExitStack() as stack:

        def connect(source: str) -> socket.socket:
            address = listener.getsockname()
            made = socket.create_connection(address, source_address=(source, 0), timeout=5)
            return stack.enter_context(made)

        for source in ("127.0.0.2", "127.0.0.2", "127.0.0.2", "127.0.0.3"):
            connect(source)
        accepted = [listener.accept() for _ in range(3)]
        assert [address[0] for _, address in accepted] == ["127.0.0.2", "127.0.0.2", "127.0.0.3"]
        refused = connect("127.0.0.4")
        with pytest.raises(BlockingIOError):
            listener.accept()
        assert refused.recv(12) == b"HTTP/1.1 503"
        for connection, _ in accepted:
            connection.close()
            connection.close()
        connect("127.0.0.2")
        with listener.accept()[0]:
            assert (listener._open, listener._open_by_reader) == (1, {"127.0.0.2": 1})
        assert (listener._open, listener._open_by_reader) == (0, {})


def test_a_flood_of_connections_gives_the_event_loop_its_turn() -> None:
    with _LimitedListener(_listen("127.0.0.1", 0), 0, 0) as listener, ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        with pytest.raises(BlockingIOError):
            listener.accept()
        assert next(listener._attempts) == 33


async def test_answers_are_sent_at_once() -> None:
    """With Nagle's algorithm, a second write would wait 40 ms for the reader's acknowledgement."""
    options = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        options.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listener = _LimitedListener(_listen("127.0.0.1", 0), 3, 3)
    address = listener.getsockname()
    async with await asyncio.start_server(answer, sock=listener):
        reader, writer = await asyncio.open_connection(*address)
        assert await reader.read() == b""
        writer.close()
    assert options[0] != 0
