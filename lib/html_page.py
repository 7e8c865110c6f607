"""Read a page of a built site as Markdown, with the ids of its headings."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from lib.html_content import find_content, marks_text
from lib.html_markdown import to_markdown
from lib.html_tree import parse_html


@dataclass(frozen=True, slots=True)
class _HtmlPage:
    markdown: str = ""
    title: str = ""
    anchors: Mapping[int, str] = field(default_factory=dict)
    """Ids of headings by the offset of the heading's line in `markdown`."""
    language: str = ""
    version: str = ""
    canonical: str = ""
    """Address that the page names as its own, as written; empty without one."""
    marked: bool = False
    """Whether it marks its text with `data-pagefind-body`."""
    left_out: str = ""
    """Why the page is not indexed; empty for a page with text."""


def read_html_page(data: bytes, *, url: str = "", repeated: Collection[str] = ()) -> _HtmlPage:
    """Read a page. `url` is its address; blocks in `repeated` are on nearly every page.

    Raises `DocumentError` for a file that would take too much time or memory.
    """
    tree = parse_html(data)
    marked = marks_text(tree)  # before the tree is reduced to the text
    page = find_content(tree, url, repeated)
    markdown, anchors = to_markdown(page.element, url) if page.element else ("", {})
    return _HtmlPage(
        markdown,
        page.title,
        anchors,
        page.language,
        page.head.version,
        page.head.canonical,
        marked,
        page.left_out,
    )
