"""Find the text of a page among its navigation, buttons and scripts."""

from selectolax.lexbor import LexborHTMLParser, LexborNode


def find_content(tree: LexborHTMLParser) -> LexborNode | None:
    """Return the element with the page's text; None if there is none."""
    for selector in ("article", "main", "[role=main]", "body"):
        if node := tree.css_first(selector):
            return node
    return None
