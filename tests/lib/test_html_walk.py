import pytest
from selectolax.lexbor import LexborHTMLParser

from lib.html_markdown import to_markdown
from lib.html_walk import Converter

URL = "https://example.org/docs/a.html"


@pytest.mark.parametrize(
    ("href", "address"),
    [
        ("b.html", "https://example.org/docs/b.html"),
        ("#x", "https://example.org/docs/a.html#x"),
        ("//other.example/a (b)", "https://other.example/a%20%28b%29"),
        ("mailto:a@b.c", "mailto:a@b.c"),
        (" java\nscript:alert(1)", ""),
        ("//[", ""),
        ("data:text/html,x", ""),
        ("?a=1&lt;=2", "https://example.org/docs/a.html?a=1&amp;lt;=2"),
    ],
)
def test_addresses_are_absolute(href: str, address: str) -> None:
    def enter(*_: object) -> None:
        return None

    assert Converter(URL, enter, enter).address(href) == address


def test_long_text_becomes_several_paragraphs() -> None:
    body = LexborHTMLParser(f"<p>{'word ' * 10_000}").body
    assert body is not None
    paragraphs = to_markdown(body, URL).markdown.split("\n\n")
    assert max(map(len, paragraphs)) < 20_000
    assert " ".join(paragraphs).split() == ["word"] * 10_000
