"""Render a page of a book as HTML, for the pages that Quire serves itself.

The page is parsed as for the index, so that every heading has the id that citations link to, and
the text is what they quote. The HTML has no element, address or attribute of the author's own: tags
are left out as in the index, images are their alternative text, links lead to pages of the book, to
http(s) and mailto.
"""

import os
import posixpath
import resource
import sys
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import msgspec
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from lib.documents import is_hidden
from lib.markdown import code_label, is_directive, parse_tokens
from lib.markdown_page import Heading
from lib.markdown_rules import (
    has_markup,
    html_text,
    inline_tokens,
    parser_for,
    scan_limit,
    tokens_text,
    without_attributes,
)
from lib.runtime import become_child, limit_resource
from lib.sites.anchors import anchors
from lib.sites.quire import GENERATOR, PAGE_SUFFIXES
from lib.sites.site import Site
from lib.source_markdown import flavour_of

RENDERER: Final = "lib.rendering"
"""The program that renders one page: a `RenderRequest` as standard input, msgpack."""

_SITE: Final = Site(GENERATOR)
_CPU_SECONDS: Final = 40
_MEMORY_BYTES: Final = 512 << 20
"""Limit of the program's address space."""
_CONTAINERS: Final = (
    "blockquote bullet_list dd dl dt em list_item ordered_list paragraph s strong".split()
)
_PLAIN: Final = frozenset(
    ["softbreak", *(f"{name}_{end}" for name in _CONTAINERS for end in ("open", "close"))]
)
"""Tokens that are rendered as markdown-it does."""


class RenderRequest(msgspec.Struct, frozen=True, kw_only=True):
    text: str
    path: str
    addresses: Mapping[str, str]
    """Of all pages by path, relative to the folder of the pages, unencoded."""


class RenderedPage(msgspec.Struct, frozen=True, kw_only=True):
    html: str
    title: str
    has_title: bool
    """Whether the HTML has a heading of the first level."""


def render_page(request: RenderRequest) -> RenderedPage | None:
    """Render a page; None for a draft."""
    text, path = request.text, request.path
    flavour = flavour_of(_SITE, path)
    page, tokens, env = parse_tokens(text, flavour)
    if is_hidden(page.front_matter):
        return None
    env["scan"] = scan_limit(text)  # inline markup is parsed a second time
    parser = parser_for(flavour)
    ids = anchors(_SITE, page, text)
    renderer = _Renderer(parser, page.headings, ids, path, request.addresses)
    return RenderedPage(
        html=renderer.render(tokens, parser.options, env),
        title=page.title,
        has_title=any(each.level == 1 for each in page.headings),
    )


class _Renderer(RendererHTML):
    """Renders one page. Each method renders the tokens of its name; others, but for `_PLAIN`, show
    nothing."""

    def __init__(
        self,
        parser: MarkdownIt,
        headings: Sequence[Heading],
        ids: Sequence[str | None],
        path: str,
        addresses: Mapping[str, str],
    ) -> None:
        super().__init__(parser)
        self._parser = parser
        self._headings = iter(zip(headings, ids, strict=True))
        self._heading: Heading | None = None
        self._path = path
        self._addresses = addresses
        self._links: list[bool] = []
        """The open links; False for one that is left out."""

    def render(self, tokens: Sequence[Token], options: Any, env: Any) -> str:
        return "".join(self._render_token(tokens, at, options, env) for at in range(len(tokens)))

    def renderInline(self, tokens: Sequence[Token], options: Any, env: Any) -> str:
        return self.render(tokens, options, env)

    def _render_token(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        kind = tokens[at].type
        if kind in self.rules:
            return str(self.rules[kind](tokens, at, options, env))
        return self.renderToken(tokens, at, options, env) if kind in _PLAIN else ""

    def _inline(self, source: str, options: Any, env: Any) -> str:
        if not has_markup(env, source) and "  \n" not in source:
            return escape(source)
        parsed = inline_tokens(self._parser, env, source)
        return escape(source) if parsed is None else self.render(parsed, options, env)

    def inline(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        if self._heading:
            source, self._heading = self._heading.source, None
        else:
            source = tokens[at].content
        return "" if is_directive(source) else self._inline(source, options, env)

    def heading_open(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        self._heading, anchor = next(self._headings)
        name = f' id="{escape(anchor)}"' if anchor else ""
        return f"<{tokens[at].tag}{name}>"

    def heading_close(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return f"</{tokens[at].tag}>\n"

    def fence(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        language, title = code_label(tokens[at])
        label = f' data-language="{escape(language)}"' if language else ""
        caption = f'<p class="caption">{escape(title)}</p>\n' if title else ""
        # focusable, because the keyboard could not scroll it
        return (
            f'{caption}<pre tabindex="0"{label}><code>{escape(tokens[at].content)}</code></pre>\n'
        )

    def code_block(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return self.fence(tokens, at, options, env)

    def hr(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return "<hr>\n"

    def math(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return f'<pre tabindex="0" class="math">{escape(tokens[at].content)}</pre>\n'

    def table(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        header, *rows = tokens[at].meta["rows"]

        def row(cells: Sequence[str], tag: str) -> str:
            inner = (f"<{tag}>{self._inline(cell, options, env)}</{tag}>" for cell in cells)
            return f"<tr>{''.join(inner)}</tr>\n"

        body = "".join(row(cells, "td") for cells in rows)
        return (
            f'<div class="table" tabindex="0"><table>\n<thead>\n{row(header, "th")}</thead>\n'
            f"<tbody>\n{body}</tbody>\n</table></div>\n"
        )

    def html_block(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return _paragraph(escape(html_text(tokens[at].content)))

    def marker(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        shown = self._inline(tokens[at].content, options, env)
        return _paragraph(f"<strong>{shown}</strong>" if shown else "")

    def expression(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return _paragraph(escape(tokens[at].content))

    def container_open(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return f'<div class="note">\n{self.marker(tokens, at, options, env)}'

    def container_close(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return "</div>\n"

    def footnote_reference_open(
        self, tokens: Sequence[Token], at: int, options: Any, env: Any
    ) -> str:
        label = escape(f"[^{tokens[at].meta['label']}]")
        return f'<div class="footnote">\n<p><strong>{label}</strong></p>\n'

    footnote_reference_close = container_close

    def text(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return escape(without_attributes(tokens[at].content))

    def text_special(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return escape(tokens[at].content)

    def code_inline(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return f"<code>{escape(tokens[at].content)}</code>"

    formula = code_inline

    def hardbreak(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return "<br>\n"

    def tag(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return ("<br>" if tokens[at].tag == "br" else "") + escape(tokens[at].content)

    def image(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return escape(tokens_text(tokens[at].children or ()))

    def link_open(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        address = self._address(str(tokens[at].attrs.get("href", "")))
        self._links.append(address is not None)
        if address is None:
            return ""
        outside = ' rel="nofollow noopener"' if address.startswith("http") else ""
        return f'<a href="{escape(address)}"{outside}>'

    def link_close(self, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
        return "</a>" if self._links.pop() else ""

    def _address(self, href: str) -> str | None:
        """The address of a link on this page; None for one that leads nowhere or is unsafe."""
        try:
            parts = urlsplit(href)
        except ValueError:
            return None
        if parts.scheme or parts.netloc:
            web = parts.scheme in ("http", "https") and parts.netloc
            return href if web or parts.scheme == "mailto" else None
        fragment = f"#{parts.fragment}" if parts.fragment else ""
        if not parts.path:
            return fragment or None
        folder = posixpath.dirname(self._path)
        path = posixpath.normpath(posixpath.join("/", folder, unquote(parts.path))).lstrip("/")
        found = next((each for each in _files(path) if each in self._addresses), None)
        if found is None:
            return None
        up = "../" * self._addresses.get(self._path, "").count("/")
        return (up or "./") + quote(self._addresses[found]) + fragment


def _files(path: str) -> list[str]:
    """The files that a link to `path` may mean."""
    names = [path, posixpath.join(path, "index"), posixpath.join(path, "README")]
    return [path, *(name + suffix for name in names for suffix in PAGE_SUFFIXES)]


def _paragraph(html: str) -> str:
    return f"<p>{html}</p>\n" if html else ""


def _main() -> None:
    become_child()
    limit_resource(resource.RLIMIT_CPU, _CPU_SECONDS)
    if sys.platform == "linux":
        limit_resource(resource.RLIMIT_AS, _MEMORY_BYTES)
    try:
        request = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=RenderRequest)
        sys.stdout.buffer.write(msgspec.msgpack.encode(render_page(request)))
    except MemoryError:
        os._exit(1)


if __name__ == "__main__":
    _main()
