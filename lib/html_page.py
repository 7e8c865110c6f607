"""Read a page of a built site as Markdown, with the ids of its headings."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from lib.html_content import find_content
from lib.html_markdown import to_markdown
from lib.html_tree import parse_html


@dataclass(frozen=True, slots=True)
class HtmlPage:
    markdown: str
    title: str
    anchors: Mapping[int, str]
    """Ids of headings by the offset of the heading's line in `markdown`."""
    language: str = ""
    version: str = ""
    canonical: str = ""
    """Absolute address that the page names as its own; empty without one."""
    left_out: str = ""
    """Why the page is not indexed; empty for a page with text."""


def read_html_page(data: bytes, *, url: str = "", repeated: Collection[str] = ()) -> HtmlPage:
    """Read a page. `url` is its address; blocks in `repeated` are on nearly every page."""
    tree = parse_html(data)
    content = find_content(tree)
    if content is None:
        return HtmlPage("", "", {}, left_out="has no text")
    title = tree.css_first("title")
    markdown, anchors = to_markdown(content, url)
    return HtmlPage(markdown, title.text().strip() if title else "", anchors)
