import pytest

from lib.html_head import read_head
from lib.html_tree import parse_html


@pytest.mark.parametrize(
    ("html", "title"),
    [
        ("<title>Tides</title>", "Tides"),
        ("<title>Tides | The sea</title>", "Tides"),
        ("<title> Tides\n- low and high - The sea</title>", "Tides - low and high"),
        ("<title>Tides &#8212; The sea 2.1 documentation</title>", "Tides"),
        ("<title>x</title><meta property=og:title content=Tides>", "Tides"),
        (
            "<meta property=og:title content='Low - high'><meta property=og:site_name content=Sea>",
            "Low - high",
        ),
        (
            "<meta property=og:title content='A | Sea'><meta property=og:site_name content=Sea>",
            "A",
        ),
        ("", ""),
    ],
)
def test_the_title_is_without_that_of_the_site(html: str, title: str) -> None:
    assert read_head(parse_html(html.encode())).title == title


@pytest.mark.parametrize(
    ("name", "content", "version"),
    [
        ("docusaurus_version", "0.85", "0.85"),
        ("docsearch:version", "2.0.0,latest", "2.0.0"),
        ("page-version", "5", "5"),
        ("readthedocs-version-slug", "stable", "stable"),
        ("generator", "Sphinx 7", ""),
    ],
)
def test_the_version_is_that_of_the_theme(name: str, content: str, version: str) -> None:
    head = read_head(parse_html(f"<meta name={name} content='{content}'>".encode()))
    assert head.version == version


def test_the_head_is_read() -> None:
    html = b"""<html lang=" de "><link rel="alternate canonical" href=" /a "><meta name=robots
    content=all><meta name=GoogleBot content="NoIndex, follow">"""
    head = read_head(parse_html(html))
    assert (head.language, head.canonical, head.noindex) == ("de", "/a", True)
