"""The origin of a web address, as browsers write it."""

import pytest

from lib.origins import Origins, origin_of


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Book.Example/docs/", "https://book.example"),
        ("https://book.example:443", "https://book.example"),
        ("http://book.example:80/a", "http://book.example"),
        ("https://book.example:8443", "https://book.example:8443"),
        ("http://localhost:3000/", "http://localhost:3000"),
        ("https://user:secret@book.example/", "https://book.example"),
        ("https://b\u00fccher.example", "https://xn--bcher-kva.example"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        ("", ""),
        ("/docs/", ""),
        ("//book.example", ""),
        ("ftp://book.example", ""),
        ("javascript:alert(1)", ""),
        ("https://", ""),
        ("https://*", ""),
        ("https://book example", ""),
        ("https://book.example:port", ""),
        ("https://book.example:99999", ""),
        ("https://" + "\u00fc" * 100_000, ""),
        ("https://[", ""),
    ],
)
def test_the_origin_of_an_address(url: str, origin: str) -> None:
    assert origin_of(url) == origin


def test_no_address_is_no_origin() -> None:
    origins = Origins((), follows_site=True)
    assert "" not in origins
    origins.learn("not an address")
    assert "" not in origins
    assert [*origins] == []
    origins.learn("https://book.example/docs")
    assert "https://book.example" in origins
    assert [*origins] == ["https://book.example"]
