"""Read what a page of HTML says about itself, beside its text."""

import re
from dataclasses import dataclass
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode

ERROR_PAGE: Final = "is the page of errors (404)"
_VERSIONS: Final = tuple(
    "docusaurus_version docsearch:version page-version readthedocs-version-slug".split()
)
"""Names of the metadata in which generators and hosts give the version, the best first."""
_LONGEST_REDIRECT: Final = 500
"""Characters of a page, with its scripts, that only says where its text is."""
_SITE: Final = re.compile(r" (?:[|·•–—-]|::) ")
"""What stands in a title between that of the page and that of the site."""


@dataclass(frozen=True, slots=True)
class Head:
    title: str
    """The page's own, without that of the site."""
    language: str
    version: str
    canonical: str
    """As written."""
    redirects: bool
    noindex: bool

    def left_out(self, url: str) -> str:
        """Why the page is not indexed; empty if its text decides."""
        if self.redirects:
            return "redirects to another page"
        if url.endswith(("/404.html", "/404")):
            return ERROR_PAGE
        return "asks not to be indexed (noindex)" if self.noindex else ""


def read_head(tree: LexborHTMLParser) -> Head:
    meta: dict[str, str] = {}
    robots = ""
    for node in tree.css("meta[content]"):
        attributes = node.attributes
        keys = map(attributes.get, ("name", "property", "http-equiv"))
        name = next(filter(None, keys), "").lower()
        value = (attributes.get("content") or "").strip()
        meta.setdefault(name, value)
        robots += value.lower() if name in ("robots", "googlebot") else ""
    root, title = tree.css_first("html"), tree.css_first("head > title")
    canonical = tree.css_first("link[rel~=canonical]")
    site_title = meta.get("og:site_name", "")
    return Head(
        title=_own(meta.get("og:title") or (title.text() if title else ""), site_title),
        language=named_language(root) if root else "",
        version=next(filter(None, map(meta.get, _VERSIONS)), "").partition(",")[0],
        canonical=canonical.attrs.sget("href").strip() if canonical else "",
        redirects=_leads_away(meta.get("refresh", "")) or _redirects_without_script(tree),
        noindex="noindex" in robots,
    )


def named_language(node: LexborNode) -> str:
    return (node.attributes.get("lang") or "").strip()


def _own(title: str, site_title: str) -> str:
    title = " ".join(title.split())
    parts = _SITE.split(title)
    if len(parts) > 1 and site_title in ("", parts[-1]):
        return title[: -len(parts[-1]) - 1].rstrip(" |·•–—-:")
    return title


def _leads_away(refresh: str) -> bool:
    return "url=" in refresh.lower().replace(" ", "")


def _redirects_without_script(tree: LexborHTMLParser) -> bool:
    """Tell whether a page whose script redirects does so for readers without scripts."""
    hints = any("refresh" in node.text() for node in tree.css("head > noscript"))
    return hints and tree.body is not None and len(tree.body.text()) < _LONGEST_REDIRECT
