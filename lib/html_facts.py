"""Read what a page of a built site says about the site: its address, its links, its repeated parts.

Only the pages of a sample are read for that, before the book is.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode

from lib.html_content import list_blocks, marks_text
from lib.html_tree import parse_html
from lib.sites.built import PageFacts

_MAX_LINKS: Final = 300
_MAX_NAVIGATION: Final = 1_000
_CONTAINERS: Final = "nav, aside, [role=navigation], [class*=sidebar], [class*=toctree]"
_MAX_CONTAINERS: Final = 50
_FOLLOWING: Final = (
    "link[rel~=next], a[rel~=next], a.pagination-nav__link--next, a.pager-link.next, a.next-page"
)


def read_facts(path: str, data: bytes) -> PageFacts:
    """Read the facts of a page. Raises `lib.documents.DocumentError`."""
    tree = parse_html(data)
    root, title = tree.css_first("html"), tree.css_first("title")
    facts = PageFacts(
        path=path,
        canonical=_first(tree, "link[rel~=canonical]", "href"),
        og_url=_first(tree, "meta[property='og:url']", "content"),
        site_title=_first(tree, "meta[property='og:site_name']", "content"),
        title=" ".join(title.text().split()) if title else "",
        language=root.attrs.sget("lang").strip() if root else "",
        following=_first(tree, _FOLLOWING, "href"),
        links=list(dict.fromkeys(_links(tree, "a[href]")))[:_MAX_LINKS],
        navigation=_navigation(tree),
        marked=marks_text(tree),
    )
    repeated = list_blocks(tree)  # the last, because it reduces the tree
    return replace(facts, blocks=repeated.blocks, menus=repeated.menus)


def _first(tree: LexborHTMLParser, selector: str, attribute: str) -> str:
    node = tree.css_first(selector)
    return node.attrs.sget(attribute).strip() if node else ""


def _navigation(tree: LexborHTMLParser) -> Sequence[str]:
    """The links of the list with most of them: a sidebar, not the menus and versions above it."""
    lists = (
        _links(node, "a[href]")
        for node in tree.css(_CONTAINERS)[:_MAX_CONTAINERS]
        if node.css_first("main, article") is None
    )
    return max(lists, key=_number_inside, default=[])[:_MAX_NAVIGATION]


def _number_inside(links: Sequence[str]) -> tuple[int, int]:
    """Sort key: how many pages are linked by a path, how many in all."""
    return len({link for link in links if "://" not in link}), len({*links})


def _links(tree: LexborHTMLParser | LexborNode, selector: str) -> list[str]:
    found = (node.attrs.sget("href").strip() for node in tree.css(selector))
    return [link for link in found if link and not link.startswith("#")]
