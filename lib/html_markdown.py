"""Convert an element of HTML to Markdown."""

from collections.abc import Mapping
from typing import NamedTuple

from selectolax.lexbor import LexborNode


class Converted(NamedTuple):
    """Markdown, and the ids of its headings by the offset of their line in it."""

    markdown: str
    anchors: Mapping[int, str]


def to_markdown(content: LexborNode, url: str) -> Converted:
    """Convert `content`, whose relative links count from `url`."""
    parts: list[str] = []
    anchors: dict[int, str] = {}
    at = 0
    for node in content.css("h1,h2,h3,h4,h5,h6,p,li"):
        text = " ".join(node.text().split())
        if node.tag in ("h1", "h2", "h3", "h4", "h5", "h6"):
            text = f"{'#' * int(node.tag[1])} {text}"
            if node.id:
                anchors[at] = node.id
        parts.append(text)
        at += len(text) + 2
    return Converted("\n\n".join(parts), anchors)
