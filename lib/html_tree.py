"""Parse the bytes of an HTML file into a tree, as browsers do."""

from selectolax.lexbor import LexborHTMLParser


def parse_html(data: bytes) -> LexborHTMLParser:
    """Parse a file."""
    return LexborHTMLParser(data)
