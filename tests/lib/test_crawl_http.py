"""Connections are opened to the internet only, and responses are bounded."""

import gzip
import time
from ipaddress import ip_address

import pytest
from yarl import URL

from lib import crawl_http
from lib.crawl_http import (
    FetchError,
    InsideNetwork,
    SiteClient,
    _is_own,
    gunzip,
    is_outside,
    is_same_site,
)
from tests.static_site import LOOPBACK, Reply, Resolver, StaticSite


@pytest.mark.parametrize(
    "address",
    """
    0.0.0.0 0.1.2.3 10.1.2.3 100.64.0.1 100.100.100.200 127.0.0.1 127.255.0.1 168.63.129.16
    169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.1
    198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
    :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0:10.0.0.1
    64:ff9b::10.0.0.1 64:ff9b::169.254.169.254 64:ff9b:1::1 100::1 2001::1 2001:db8::1
    2002:7f00:1:: 2002:a9fe:a9fe:: 2002:c0a8:1:: 4000::1 fc00::1 fd00:ec2::254 fe80::1
    fe80::1%eth0 fec0::1 ff02::1 ff0e::1
    """.split(),
)
def test_addresses_inside_a_network(address: str) -> None:
    assert not is_outside(ip_address(address))


@pytest.mark.parametrize(
    "address",
    "1.1.1.1 8.8.8.8 172.32.0.1 192.0.1.1 2606:4700::1111 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 "
    "2002:808:808::".split(),
)
def test_addresses_on_the_internet(address: str) -> None:
    assert is_outside(ip_address(address))


def test_an_address_of_this_machine() -> None:
    assert _is_own(LOOPBACK)
    assert not _is_own(ip_address("192.0.2.1"))


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://book.example/a", True),
        ("http://book.example/a", True),
        ("https://www.book.example./a", True),
        ("https://BOOK.example:8443/", True),
        ("https://book.example:8444/", False),
        ("https://book.example.evil.example/", False),
        ("https://docs.book.example/", False),
        ("https://evil.example/@book.example/", False),
        ("https://me@book.example/", False),
        ("ftp://book.example/", False),
        ("//book.example/", False),
        ("/a", False),
        ("https://book.example/" + "a" * 2_000, False),
    ],
)
def test_addresses_of_one_site(url: str, same: bool) -> None:
    assert is_same_site(URL(url), URL("https://www.book.example:8443/docs/")) is same


def client(site: StaticSite, resolver: Resolver | None = None) -> SiteClient:
    return SiteClient(
        URL(site.origin),
        is_allowed=lambda address: address == LOOPBACK,
        resolver=resolver or Resolver("127.0.0.1"),
    )


@pytest.mark.parametrize("second", ["10.0.0.1", "::1", "169.254.169.254", "not an address"])
async def test_a_name_that_changes_its_address(site: StaticSite, second: str) -> None:
    """DNS rebinding: the address is checked where the connection is opened, and each time."""
    site.replies["/"] = Reply(b"x")
    async with client(site, Resolver("127.0.0.1", second)) as http:
        assert (await http.get(URL(site.origin + "/"), max_bytes=10)).body == b"x"
        http._session.connector.clear_dns_cache()  # type: ignore[union-attr]
        with pytest.raises(InsideNetwork):
            await http.get(URL(site.origin + "/"), max_bytes=10)
    assert len(site.requests) == 1


async def test_a_site_that_only_upgrades_to_https(site: StaticSite) -> None:
    site.replies["/"] = Reply(status=301, headers={"Location": "https://book.example/"})
    async with client(site) as http:
        http._session.connector._ssl = False  # type: ignore[union-attr]
        with pytest.raises(FetchError, match="cannot be reached"):  # port 443 of this machine
            await http.get(URL(site.origin + "/"), max_bytes=10)
    downgrade = SiteClient(URL("https://book.example/"))
    with pytest.raises(FetchError, match="from https to http"):
        downgrade._next(URL("https://book.example/"), "http://book.example/a")
    await downgrade._session.close()


async def test_a_bomb_is_not_unpacked(site: StaticSite) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    site.replies["/"] = Reply(bomb, headers={"Content-Encoding": "gzip"})
    began = time.process_time()
    async with client(site) as http:
        with pytest.raises(FetchError, match="more than 100000 bytes"):
            await http.get(URL(site.origin + "/"), max_bytes=100_000)
        site.replies["/"] = Reply(
            gzip.compress(b"x") + b"y" * 100_000, headers={"Content-Encoding": "gzip"}, endless=True
        )
        with pytest.raises(FetchError, match="gzip cannot be decompressed"):
            await http.get(URL(site.origin + "/"), max_bytes=100_000)
    assert time.process_time() - began < 2
    with pytest.raises(FetchError, match="more than 1000 bytes"):
        gunzip(bomb, 1_000)
    with pytest.raises(FetchError, match="end of its gzip is missing"):
        gunzip(bomb[:-1], 50_000_000)
    assert gunzip(bomb, 50_000_000) == bytes(50_000_000)


async def test_a_compressed_page(site: StaticSite) -> None:
    site.replies["/"] = Reply(gzip.compress(b"text"), headers={"Content-Encoding": "GZIP"})
    async with client(site) as http:
        assert (await http.get(URL(site.origin + "/"), max_bytes=4)).body == b"text"
    assert site.requests[0].headers["accept-encoding"] == "gzip"


async def test_a_slow_response_is_given_up(
    site: StaticSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crawl_http, "_TOTAL_SECONDS", 0.05)
    site.replies["/"] = Reply(b"x", hangs=True)
    async with client(site) as http:
        with pytest.raises(FetchError, match="does not answer in time") as raised:
            await http.get(URL(site.origin + "/"), max_bytes=100)
    assert raised.value.temporary


async def test_cookies_and_proxies_are_not_used(
    site: StaticSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    site.replies["/"] = Reply(b"x", headers={"Set-Cookie": "a=b"})
    async with client(site) as http:
        for _ in range(2):
            await http.get(URL(site.origin + "/"), max_bytes=100)
    assert "cookie" not in site.requests[1].headers
