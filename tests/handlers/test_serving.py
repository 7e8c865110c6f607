"""The server's socket and limits. tests/test_stopping.py tests the shutdown."""

import resource
import socket
import subprocess
import sys

import pytest

from handlers.middleware import STALLED_SECONDS
from handlers.serving import _MAX_FILES, _listen

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


def test_streams_do_not_end_at_the_shells_limit_of_files() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FEW_FILES], check=True, capture_output=True, text=True
    )
    soft, hard, before = map(int, ran.stdout.split())
    assert hard == before
    assert soft == (_MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES))
