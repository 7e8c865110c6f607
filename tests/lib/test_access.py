import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.access import (
    NOBODY,
    bearer,
    client_address,
    has_key,
    is_local,
    parse_address,
    wider_network,
)


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


@pytest.mark.parametrize("remote", ["127.0.0.1", "127.1.2.3", "::1", "[::1]:80", "127.0.0.1:80"])
def test_the_machine_itself_is_local_unless_it_forwards(remote: str) -> None:
    assert is_local(remote, forwarded=False)
    assert not is_local(remote, forwarded=True)


@pytest.mark.parametrize("remote", ["", "localhost", "10.0.0.1", "0.0.0.0", "fe80::1", "<local>"])
def test_others_are_not_local(remote: str) -> None:
    assert not is_local(remote, forwarded=False)


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
        ("unknown", 1, NOBODY),
        ("198.51.100.300", 1, NOBODY),
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
    assert parse_address(text) is None


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("fe80::/64", "fe80::/48"),
        ("198.51.100.1", ""),
        ("key:ann", ""),
        ("admin", ""),
        (NOBODY, ""),
    ],
)
def test_the_network_around_a_reader_s(address: str, network: str) -> None:
    assert wider_network(address) == network
