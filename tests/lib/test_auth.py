"""Keys of readers, and client addresses."""

import logging
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.auth import (
    _MAX_FILE_BYTES,
    Keys,
    bearer,
    client_address,
    has_key,
    is_local_host,
    is_loopback,
    parse_key,
    stored_admin_key,
    wider_network,
)
from tests.clock import Clock


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def test_named_and_bare_keys() -> None:
    keys = Keys(["ann:one", "two", "ann:three", "bob:clé", "a/b:c"])
    assert keys.name("one") == keys.name("three") == "ann"
    assert keys.name("clé") == "bob"
    assert keys.name("two") == parse_key("two").name != ""
    assert "two" not in keys.name("two")
    assert keys.name("a/b:c")  # names contain no slash
    for wrong in ("", "ann", "ann:one", "ONE", "one ", "onE", "\ud800", "ключ", "x" * 100_000):
        assert keys.name(wrong) == ""


@given(st.text(), st.lists(st.from_regex(r"[!-~]{1,9}", fullmatch=True)))
def test_a_key_is_known_exactly_when_it_is_one(given_key: str, entries: list[str]) -> None:
    valid = []
    for entry in entries:
        try:
            valid.append(parse_key(entry))
        except ValueError:
            assert entry.endswith(":")
    keys = Keys([f"{each.name}:{each.key}" for each in valid])
    assert bool(keys.name(given_key)) == (given_key in {each.key for each in valid})
    assert all(keys.name(each.key) for each in valid)


def test_no_key_is_in_a_repr() -> None:
    assert "geheim" not in repr(parse_key("ann:geheim"))


def test_the_file_is_read_again_when_it_changes(file: Path) -> None:
    file.write_text("# readers\n\nann:old\n  two  \n")
    clock = Clock()
    keys = Keys(["bob:configured"], file, clock=clock)
    assert keys.name("old") == "ann"
    assert keys.name("two")
    assert keys.name("configured") == "bob"
    assert keys.name("# readers") == ""

    file.write_text("ann:new\nann:old\n")
    clock.now += 0.9
    assert keys.name("new") == ""  # the file is checked once a second
    clock.now += 0.2
    assert keys.name("new") == keys.name("old") == "ann"

    beside = file.with_name("beside")
    beside.write_text("ann:new\nann:xyz\n")  # same size as before
    os.utime(beside, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    beside.replace(file)
    clock.now += 1
    assert keys.name("old") == ""
    assert keys.name("xyz") == "ann"

    file.write_text("")
    clock.now += 1
    assert keys.name("new") == ""
    assert keys.name("configured") == "bob"


@pytest.mark.parametrize(
    "broken",
    [
        b"ann:geheim\nbob:\n",
        b"ann:ge heim\n",
        b"geheim\xff\n",
        b"geheim\0x",
        b"x" * (_MAX_FILE_BYTES + 1),
        None,
    ],
)
def test_a_broken_file_keeps_the_old_keys(
    file: Path, broken: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text("ann:old")
    clock = Clock()
    keys = Keys([], file, clock=clock)
    assert keys.name("old") == "ann"
    if broken is None:
        file.unlink()
    else:
        file.write_bytes(broken)
    for _ in range(3):
        clock.now += 1
        assert keys.name("old") == "ann"
        assert keys.name("geheim") == ""
    assert caplog.text.count("API_KEYS_FILE is invalid") == 1
    assert "geheim" not in caplog.text
    assert str(file.parent) not in caplog.text
    file.write_text("ann:new")
    clock.now += 1
    assert keys.name("new") == "ann"
    assert keys.name("old") == ""


def test_a_file_that_comes_later(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    with caplog.at_level(logging.ERROR):
        keys = Keys([], file, clock=clock)
        assert keys.name("one") == ""
    assert "API_KEYS_FILE" in caplog.text
    file.write_text("\ufeffann:one\r\n")
    clock.now += 1
    assert keys.name("one") == "ann"


@pytest.mark.parametrize("given_key", ["a", "clé", "ключ", "x" * 10_000])
def test_the_same_key_passes(given_key: str) -> None:
    assert has_key(given_key, ("other", given_key))


@pytest.mark.parametrize("given_key", ["", "A", "a ", " a", "aa", "ä", "\0", "b,a"])
def test_another_key_does_not(given_key: str) -> None:
    assert not has_key(given_key, ("a", "b"))


@pytest.mark.parametrize("keys", [(), ("",), ("", "")])
@pytest.mark.parametrize("given_key", ["", "a"])
def test_an_empty_configured_key_lets_nobody_in(given_key: str, keys: tuple[str, ...]) -> None:
    assert not has_key(given_key, keys)


@given(st.text(), st.lists(st.text()))
def test_a_key_passes_exactly_when_it_is_one_of_them(given_key: str, keys: list[str]) -> None:
    assert has_key(given_key, keys) == (given_key != "" and given_key in keys)


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER   abc ", "abc"),
        ("Bearer", ""),
        ("Bearer ", ""),
        ("Basic abc", ""),
        ("abc", ""),
        ("", ""),
        ("Bearerabc", ""),
    ],
)
def test_bearer(header: str, key: str) -> None:
    assert bearer(header) == key


@pytest.mark.parametrize(
    ("forwarded", "hops", "address"),
    [
        ("", 0, "192.0.2.1"),
        ("198.51.100.1", 0, "192.0.2.1"),
        ("198.51.100.1", 1, "198.51.100.1"),
        ("203.0.113.5, 198.51.100.1", 1, "198.51.100.1"),
        ("203.0.113.5, 198.51.100.1", 2, "203.0.113.5"),
        ("9.9.9.9, 203.0.113.5, 198.51.100.1", 2, "203.0.113.5"),
        ("198.51.100.1", 2, "198.51.100.1"),
        ("", 1, "192.0.2.1"),
        (" , ,", 1, "192.0.2.1"),
        ("198.51.100.1:4711", 1, "198.51.100.1"),
        ("[2001:db8::1]:4711", 1, "2001:db8::/64"),
        ("2001:db8:1:2:3:4:5:6", 1, "2001:db8:1:2::/64"),
        ("::ffff:198.51.100.1", 1, "198.51.100.1"),
        ("fe80::1%eth0", 1, "fe80::/64"),
        ("unknown", 1, "unknown"),
        ("198.51.100.300", 1, "unknown"),
    ],
)
def test_the_address_a_reader_is_counted_by(forwarded: str, hops: int, address: str) -> None:
    assert client_address("192.0.2.1", forwarded, hops) == address


@given(st.text(), st.text(), st.integers(0, 10))
def test_no_header_raises(remote: str, forwarded: str, hops: int) -> None:
    assert client_address(remote, forwarded, hops)


@given(st.text(alphabet="0123456789., abc:"), st.ip_addresses(v=4))
def test_what_a_reader_invents_before_the_proxy_s_word_changes_nothing(
    invented: str, seen: object
) -> None:
    told = client_address("10.0.0.1", f"{invented}, {seen}", 1)
    assert told == client_address("10.0.0.1", str(seen), 1)


@pytest.mark.parametrize("text", ["", " ", "x", "1.2.3", "1.2.3.4.5", "[", "[]", ":", "::1::", "%"])
def test_what_is_no_address(text: str) -> None:
    assert client_address(text, "", 0) == "unknown"


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("fe80::/64", "fe80::/48"),
        ("198.51.100.1", ""),
        ("key:ann", ""),
        ("admin", ""),
        ("unknown", ""),
    ],
)
def test_the_network_around_a_reader_s(address: str, network: str) -> None:
    assert wider_network(address) == network


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_an_address_of_this_machine(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize("address", ["192.168.1.7", "::2", "::ffff:10.0.0.1", "localhost", ""])
def test_another_address(address: str) -> None:
    assert not is_loopback(address)


@pytest.mark.parametrize(
    "host",
    "localhost LOCALHOST:7860 localhost. quire.localhost:80 127.0.0.1:7860 [::1]:7860 "
    "192.168.1.7 host.docker.internal:7860 host.containers.internal".split(),
)
def test_a_local_host(host: str) -> None:
    assert is_local_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example:7860",
        "127.0.0.1.evil.example",
        "notlocalhost",
        "host.docker.internal.evil.example",
        "internal",
        "localhost@evil.example",
        "",
    ],
)
def test_a_host_that_may_lead_anywhere(host: str) -> None:
    assert not is_local_host(host)


def test_an_admin_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "index" / "admin.key"
    key = stored_admin_key(file)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", key)
    assert file.stat().st_mode & 0o777 == 0o600
    assert stored_admin_key(file) == key
    assert os.listdir(file.parent) == ["admin.key"]
    file.unlink()
    assert stored_admin_key(file) != key


def test_servers_that_start_together_have_one_admin_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "admin.key"
    first = stored_admin_key(file)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", lambda _: False)
        assert stored_admin_key(file) == first


@pytest.mark.parametrize("content", [b"", b"\n# none\n", b"two words", b"\xff", b"a\0b"], ids=str)
def test_a_file_without_an_admin_key_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "admin.key").write_bytes(content)
    with pytest.raises(ValueError, match=r"^(it|line) "):
        stored_admin_key(tmp_path / "admin.key")
