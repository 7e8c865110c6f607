"""Find the text of a page among its navigation, buttons and scripts.

The tables below hold all knowledge of themes, as simple selectors: `tag`, `.class`, `tag.class`,
`#id`, `[role=value]`. A class that ends with `_` stands for the names that CSS modules make of it
(`.codeLineNumber_`: `codeLineNumber_Tfdd`). A theme that is in no table needs only an `article` or
a `main` element. `data-pagefind-body` and `data-pagefind-ignore` decide where a site has them.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from operator import itemgetter
from typing import Final, Literal, NamedTuple, TypeAlias

from selectolax.lexbor import LexborHTMLParser, LexborNode

from lib.html_head import ERROR_PAGE, Head, named_language, read_head

NO_TEXT: Final = "has no text"
_CONTAINERS: Final = """
[data-pagefind-body]
[itemprop=articleBody]
.theme-doc-markdown           Docusaurus
article.md-content__inner     Material for MkDocs
.vp-doc .vt-doc               VitePress
.theme-default-content        VuePress
.sl-markdown-content          Starlight
#furo-main-content            Furo
article.bd-article            PyData
article.doc                   Antora
.td-content                   Docsy
article.markdown              Hugo Book
.post-content .entry-content  Jekyll's Minima and many blogs
#main-content                 Just the Docs
#book-main                    mdBook
.rst-content                  Read the Docs
#yui-main                     Django
div.body                      Sphinx
.markdown-section             GitBook, bookdown
.col-content                  TypeDoc
#doc-content                  Doxygen
.article-entry .post-body     Hexo
article
main [role=main]
#content .content #VPContent
"""

_DROPPED: Final = """
script style template noscript svg iframe object embed canvas audio video nav
form input select textarea button dialog menu
[role=navigation] [role=search] [role=banner] [role=contentinfo] [role=dialog] [role=tooltip]
[role=menu] [role=complementary]
.headerlink .header-anchor .hash-link .anchor-link .heading-anchor .anchorjs-link .sl-anchor-link
a.anchor .doc-anchor .heading-link .subheading-anchor a.header-link .td-heading-self-link
.toc .table-of-contents .toctree-wrapper #toc #TOC #markdown-toc .on-this-page .page-toc
.md-nav .theme-doc-toc-mobile .local-toc .tocwrapper .td-toc .book-toc .sphinxsidebar
.tsd-index-panel .tsd-breadcrumb .tsd-anchor-icon .tsd-sources .rustdoc-breadcrumbs .rustdoc-toolbar
a.src .rightside span.sub-heading .hideme
.hextra-page-context-menu .quarto-title-meta .book-post-date
.breadcrumb .breadcrumbs .wy-breadcrumbs .theme-doc-breadcrumbs
.pagination .pagination-nav .pager .prev-next .prev-next-area .prev-next-footer .page-nav .related
a.prev a.next a.previous .section-nav
.rst-footer-buttons .post-navigation .post-nav .nav-links .nav-wrapper .mobile-nav-chapters
.edit-link .edit-this-page .theme-edit-this-page .edit-page .edit-page-link .md-content__button
.viewcode-link .viewcode-back .last-updated .theme-last-updated .page-meta .post-meta .byline
.post-tags .tags .tag-list .md-tags .theme-doc-footer .md-source-file .md-source-date
.theme-doc-version-badge .theme-doc-version-banner .skip-link .skip-to-content .md-skip .VPSkipLink
.copybtn .copy-button .btn-clipboard .clipboard-button .code-copy .copy-code-button .clipboard-copy
.sr-only .visually-hidden .screen-reader-text .visuallyhidden .vh .boring
.share .share-buttons .social-share .giscus .utterances .comments #comments #disqus_thread
.print:hidden .hx:print:hidden .x:print:hidden .d-print-none .hidden-print .no-print .noprint
.hide-for-print .nextra-breadcrumb
.d-print-block .d-print-flex .print-only .only-print .show-for-print
.cookie-banner .cookie-consent .cookieconsent .cc-window #onetrust-consent-sdk
.newsletter .newsletter-form .feedback .feedback--prompt .md-feedback .helpful #feedback
.ad .ads .advertisement .carbonads #carbonads .ethical-ads .VPCarbonAds
div.vp-code-header span.lang .v-popper__popper p.collapsed p.expanded
"""

_LINE_NUMBERS: Final = """
td.linenos td.rouge-gutter td.gutter td.hljs-ln-numbers .linenodiv .lineno .linenos .lnt span.ln
.line-numbers-wrapper .line-numbers-rows .codeLineNumber_ .react-syntax-highlighter-line-number
.linenumber .line-number
"""

_ASIDES: Final = re.compile(
    r"note|tip|info|warn|danger|caution|important|admonition|callout|alert|hint|aside|attention"
    r"|error|success|example|quote|question|topic|sidebar|message"
)


_APART: Final = frozenset(("div", "hr", "p", "ul", "ol", "a", "section", "footer", "header"))
"""Elements that are no part of a sentence around a link."""
_ANCHOR_MARKS: Final = frozenset(("", "#", "##", "¶", "§", "🔗", "⚓", "∞", "\u200b"))
_ANCHOR_LABEL: Final = re.compile(
    r"(?:direct |copy )?link to |perma(?:nent )?link|section titled|anchor\b", re.IGNORECASE
)
"""Names for screen readers of links to a heading."""
_TERM_PATH: Final = re.compile(r"/(?:tags?|categor(?:y|ies)|authors)/[^/]++/?\Z")
_FURNITURE: Final = re.compile(
    r"(?:edit|improve) (?:this|the) (?:page|doc).{0,40}"
    r"|(?:edit|view)(?: this)?(?: page)? on git.{0,20}|suggest (?:an )?edits?.{0,20}"
    r"|report (?:an )?issue.{0,40}|(?:back to |return to )?top|(?:©|copyright ).{0,80}"
    r"|was this (?:page|article) helpful.{0,40}"
    r"|(?:built|made|powered|created) (?:with|by|using) .{0,40}",
    re.IGNORECASE,
)
"""The last lines of a page that are none of its text."""
_PAGEFIND: Final = "[data-pagefind-body]"
_LONGEST_LINE: Final = 120
_MOST_TRIMMED: Final = 40
_MOST_TAGS: Final = 50
_MOST_CANDIDATES: Final = 200
"""Elements that may be the text or the title of a page."""
_WRAPPERS: Final = frozenset("div section article main center".split())
_LINES: Final = frozenset("p span time a em small".split())
_HEADINGS: Final = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))


_LISTS: Final = {
    "lists pages by tag or date": """
html.docs-tags-list-page html.docs-tags-doc-list-page html.blog-tags-list-page html.blog-list-page
html.blog-tags-post-list-page html.blog-archive-page html.blog-authors-list-page
html.blog-authors-posts-page article.md-post--excerpt body.kind-taxonomy body.kind-term
body.td-taxonomy body.td-term
""",
    "is an index of names": "table.indextable #modindex-list",
    "has all pages in one (print)": "#print-site-page html.td-print body.td-print",
    "shows source code": ".viewcode-back body.src",
}
"""Why a page with an element that a selector finds is left out."""
_REASONS: Final = {
    selector: reason for reason, selectors in _LISTS.items() for selector in selectors.split()
}
_MORE: Final = re.compile(r"(?:read more|continue reading)\s?[→»›…]", re.IGNORECASE)
_EDIT: Final = re.compile(r"/(?:-/|_)?edit/|/issues/new(?:[/?]|\Z)|[?&]action=edit")
"""In the address of a link with which readers change a page or report an error in it."""
_DATE: Final = re.compile(
    r"\W*+(?:this )?(?:page )?(?:was )?last (?:updated|modified|edited|changed)"
    r"(?: (?:on|by|at)\b|:|\Z)",
    re.I,
)
_LONGEST_NOTE: Final = 80
_NEIGHBOURS: Final = 4
_MENUS: Final = ("div", "ol", "section", "ul")
_FEWEST_LINKS: Final = 3
_LIST_PATH: Final = re.compile(
    r"/(?:tags?|categor(?:y|ies)|archives?|authors|taxonom(?:y|ies))(?=[/.]|\Z)"
)
_NOT_FOUND: Final = re.compile(
    r"(?:error )?404(?:\W.{0,30})?|(?:oops\W{1,3})?(?:page )?not found\W{0,3}", re.IGNORECASE
)
_LONGEST_ERROR: Final = 300
_SEARCH_PATH: Final = re.compile(r"/search(?:/|\.html?|/index\.html?)?\Z")
_LONGEST_SEARCH_PAGE: Final = 300
"""Letters of the text of a page that is nothing but a search."""


def _ranks(table: str) -> dict[str, int]:
    lines = (line.split("  ")[0].split() for line in table.strip().splitlines())
    return {selector: rank for rank, line in enumerate(lines) for selector in line}


_RANKS: Final = _ranks(_CONTAINERS)
_DROP: Final = frozenset(_DROPPED.split())
_NUMBERS: Final = frozenset(_LINE_NUMBERS.split())
_GENERIC: Final = _RANKS["article"]
_NO_RANK: Final = len(_RANKS)
_MARKED: Final = ":is([class],[id],[role],article,main)"
_ON_PAPER: Final = {".print:block", ".print:flex"}
_KNOWN: Final = frozenset(
    {
        *_RANKS,
        *_DROP,
        *_NUMBERS,
        *_REASONS,
        *_ON_PAPER,
        ".hidden",
        ".section",
        ".text-delta",
        ".contents",
        ".topic",
        ".local",
    }
)
_LOOKED_AT: Final = _DROP | {"a", "aside", "footer"}
"""Elements that may be no text without an attribute."""
_LONGEST_CACHED: Final = 300
"""Characters of classes whose selectors are remembered."""


class _PageContent(NamedTuple):
    """A page without its furniture."""

    head: Head
    element: LexborNode | None = None
    """Contains nothing but the page's text. None if the page is left out."""
    title: str = ""
    language: str = ""
    left_out: str = ""


def marks_text(tree: LexborHTMLParser) -> bool:
    """Tell whether a page marks its text with `data-pagefind-body`."""
    return tree.css_first(_PAGEFIND) is not None


def find_content(
    tree: LexborHTMLParser, url: str = "", repeated: Collection[str] = ()
) -> _PageContent:
    """Reduce the tree to the page's text. `repeated` holds hashes of `list_blocks`."""
    head = read_head(tree)
    if (body := tree.body) is None:
        return _PageContent(head, left_out=NO_TEXT)
    containers, reason = _survey(tree)
    if reason := head.left_out(url) or reason:
        return _PageContent(head, left_out=reason)
    _keep_first_ids(tree)
    content = _read_content(body, containers)
    if repeated:
        _remove_repeated(content, repeated)
    _remove_path(content)
    _trim(content)
    if reason := _no_text_reason(content, url):
        return _PageContent(head, left_out=reason)
    heading = content.css_first("h1")
    title = " ".join(heading.text().split()) if heading else ""
    within = (content, *_ancestors(content))  # a page that is not translated names its own
    language = next(filter(None, map(named_language, within)), "")
    return _PageContent(head, content, title or head.title, language)


class _RepeatedBlocks(NamedTuple):
    """Hashes of a page's blocks, to count on how many pages they are."""

    blocks: Sequence[str]
    menus: Sequence[str]
    """Those that are little but links."""


def list_blocks(tree: LexborHTMLParser) -> _RepeatedBlocks:
    if (body := tree.body) is None:
        return _RepeatedBlocks((), ())
    content = _read_content(body, _survey(tree)[0])
    blocks = [each for block in _blocks(content) for each in (block, *_blocks(block))]
    menus = (block for block in blocks if block.tag in _MENUS and _is_menu(block))
    return _RepeatedBlocks(list(map(_hash, blocks)), list(map(_hash, menus)))


def _is_menu(block: LexborNode) -> bool:
    links = block.css("a[href]")
    return len(links) >= _FEWEST_LINKS and 5 * sum(map(_size, links)) > 4 * _size(block)


_Containers: TypeAlias = Mapping[int, Sequence[LexborNode]]
"""By rank: the elements that may be the text of the page."""


def _survey(tree: LexborHTMLParser) -> tuple[_Containers, str]:
    """Return elements that may be the text, and why the page is left out because of another."""
    found: dict[int, list[LexborNode]] = {}
    reason = ""
    for rank, selector in enumerate((_PAGEFIND, "[itemprop~=articleBody]")):
        if nodes := tree.css(selector):
            found[rank] = nodes
    for node in tree.css(_MARKED):
        if tokens := _known(node.tag or "", node.attributes):
            if (rank := min(_RANKS.get(each, _NO_RANK) for each in tokens)) < _NO_RANK:
                found.setdefault(rank, []).append(node)
            reason = reason or next((_REASONS[each] for each in tokens if each in _REASONS), "")
    return found, reason


def _read_content(body: LexborNode, containers: _Containers) -> LexborNode:
    content = _select(body, containers)
    _clean(content)
    return _densest(content) if content.tag == "body" else content


def _remove_repeated(content: LexborNode, repeated: Collection[str]) -> None:
    for block in _blocks(content):
        if _hash(block) in repeated:
            block.decompose()
        else:
            for part in _blocks(block):
                if _hash(part) in repeated:
                    part.decompose()


def _no_text_reason(content: LexborNode, url: str) -> str:
    """Why a page whose text is `content` is left out; empty for one that is kept."""
    if not _has_text(content):
        return NO_TEXT
    letters = _size(content)
    heading = content.css_first("h1")
    if letters < _LONGEST_ERROR and (
        url.removesuffix("index.html").endswith("/404/")
        or (heading and _NOT_FOUND.fullmatch(heading.text().strip()))
    ):
        return ERROR_PAGE
    if letters < _LONGEST_SEARCH_PAGE and _SEARCH_PATH.search(url):
        return "is a search page"
    if _LIST_PATH.search(url):
        links = sum(_size(link) for link in content.css("a[href]"))
        if 2 * links > letters - sum(map(_size, content.css("h1"))):
            return "lists pages by tag or date"
    return ""


def _size(node: LexborNode) -> int:
    """Count the characters that are displayed."""
    return len("".join(node.text().split()))


def _has_text(content: LexborNode) -> bool:
    """Tell whether there is a word outside of headings."""
    return _size(content) > sum(map(_size, content.css("h1,h2,h3,h4,h5,h6")))


def _keep_first_ids(tree: LexborHTMLParser) -> None:
    """Remove ids that a browser does not go to, because an earlier element has the same."""
    seen: set[str] = set()
    for node in tree.css("[id]"):
        name = node.attrs.sget("id")
        if name in seen:
            del node.attrs["id"]
        seen.add(name)


def _known(tag: str, attributes: Mapping[str, str | None]) -> frozenset[str]:
    """Selectors of the tables that match an element."""
    classes = attributes.get("class") or ""
    cached = len(classes) < _LONGEST_CACHED
    known = (_known_classes if cached else _known_classes.__wrapped__)(tag, classes)
    for name, form in (("id", "#{}"), ("role", "[role={}]")):
        if (value := attributes.get(name)) and (selector := form.format(value)) in _KNOWN:
            known = known | {selector}
    return known


@lru_cache(4_096)
def _known_classes(tag: str, classes: str) -> frozenset[str]:
    tokens = {tag}
    for name in classes.split():
        tokens.update((f".{name}", f"{tag}.{name}", f".{name.partition('_')[0]}_"))
    return frozenset(tokens & _KNOWN)


def _select(body: LexborNode, containers: _Containers) -> LexborNode:
    """Return the element with the page's text, without elements beside it."""
    for rank in sorted(containers):
        nodes = _outermost(containers[rank][:_MOST_CANDIDATES])
        if rank == _GENERIC and not _is_whole(nodes, body):
            continue
        if not any(map(_has_text, nodes)):
            continue
        if not any(node.tag == "h1" or node.css_first("h1, [itemprop=headline]") for node in nodes):
            nodes = _with_heading(nodes, body)
        return _join(nodes, body)
    main = body.css_first("main, [role=main]")
    return main if main is not None and main.css_first("h1") else body  # a list of titles


def _is_whole(articles: Sequence[LexborNode], body: LexborNode) -> bool:
    """Tell whether a page is one article: not a list of posts, nor a text with a card."""
    main = body.css_first("main, [role=main]")
    return len(articles) == 1 and (main is None or 3 * _prose(articles[0]) > _prose(main))


def _outermost(nodes: Iterable[LexborNode]) -> list[LexborNode]:
    inside: set[int] = set()
    result = []
    for node in nodes:
        if any(parent.mem_id in inside for parent in _ancestors(node)):
            continue
        inside.add(node.mem_id)
        result.append(node)
    return result


def _ancestors(node: LexborNode) -> Iterator[LexborNode]:
    while (parent := node.parent) is not None:
        yield parent
        node = parent


def _with_heading(nodes: list[LexborNode], body: LexborNode) -> list[LexborNode]:
    """Add the page's title, which some themes place beside the text."""
    if nodes[0].tag == "main":  # above it is the header of the site, in mdBook an h1
        return nodes
    levels: dict[int, int] = {}
    for level, ancestor in enumerate(_ancestors(nodes[0])):
        levels[ancestor.mem_id] = level
        if ancestor.tag in ("main", "body"):
            break
    nearest, title = len(levels), None
    for heading in filter(_is_title, body.css(":is(h1, [itemprop=headline])")[:_MOST_CANDIDATES]):
        around = (levels[each.mem_id] for each in _ancestors(heading) if each.mem_id in levels)
        if (level := next(around, nearest)) < nearest:
            nearest, title = level, heading
    return [title, *nodes] if title else nodes


def _is_title(heading: LexborNode) -> bool:
    """Tell whether a heading is not the site's name or logo, which is a link."""
    link = heading.css_first("a[href]")
    alone = link is not None and len(link.text().strip()) == len(heading.text().strip())
    return not alone or (link is not None and link.attrs.sget("href").startswith("#"))


def _join(nodes: Sequence[LexborNode], body: LexborNode) -> LexborNode:
    """Return the element that contains `nodes` and nothing else."""
    if len(nodes) == 1:
        return nodes[0]
    kept = {node.mem_id for node in nodes}
    paths = [[node, *_ancestors(node)] for node in nodes]
    shared = set.intersection(*({node.mem_id for node in path} for path in paths))
    common = next(node for node in paths[0] if node.mem_id in shared)
    through = {node.mem_id for path in paths for node in path}
    node: LexborNode | None = common.first_child
    while node is not None:
        if node.mem_id in through and node.mem_id not in kept:
            node = node.first_child or _after(node, common)
            continue
        following = _after(node, common)
        if node.mem_id not in kept:
            node.decompose()
        node = following
    return common


def _densest(body: LexborNode) -> LexborNode:
    """Return the element of an unknown theme with nearly all the prose."""
    content = body
    for _ in range(20):
        children = [(_prose(child), child) for child in content.iter()]
        most, child = max(children, key=itemgetter(0), default=(0, content))
        if most < 0.9 * _prose(content) or child.tag not in _WRAPPERS:
            break
        content = child
    if content.tag == "body" or content.css_first("h1") is not None:
        return content
    return _join(_with_heading([content], body), body)


def _prose(node: LexborNode) -> int:
    """Count the characters that are not in links."""
    return _size(node) - sum(_size(link) for link in node.css("a[href]"))


def _remove_path(content: LexborNode) -> None:
    """Remove links before the title: the pages above this one, and often its own short title."""
    title = content.css_first("h1")
    node = title
    while node is not None and node.mem_id != content.mem_id:
        for before in [each for each in _neighbours(node, "prev") if each.is_element_node]:
            beside = _word_letters(before.text()) - sum(
                _word_letters(link.text()) for link in before.css("a[href]")
            )
            has_link = before.tag == "a" or before.css_first("a[href]") is not None
            if title and has_link and beside <= _word_letters(title.text()):
                before.decompose()
        node = node.parent


def _word_letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def _trim(content: LexborNode) -> None:
    """Remove rules and lines that are no text from the end."""
    node = content
    for _ in range(_MOST_TRIMMED):
        last = node.last_child
        if last is None:
            node = content
        elif _is_trimmed(last):
            last.decompose()
        elif last.tag in _WRAPPERS:
            node = last
        else:
            break


def _is_trimmed(node: LexborNode) -> bool:
    text = "" if node.is_comment_node else " ".join((node.text() or "").split())
    if not node.is_element_node:
        return not text
    if not text:
        return node.tag == "hr" or (
            (node.tag in _WRAPPERS or node.tag in _LINES) and node.css_first("[id], img") is None
        )
    return (
        len(text) < _LONGEST_LINE
        and (node.tag == "div" or node.tag in _LINES)
        and _FURNITURE.fullmatch(text) is not None
    )


def _after(node: LexborNode, root: LexborNode) -> LexborNode | None:
    """The node that follows `node` and all within it, inside of `root`."""
    while node.mem_id != root.mem_id:  # `!=` compares their HTML
        if (following := node.next) is not None:
            return following
        if (parent := node.parent) is None:
            return None
        node = parent
    return None


def _clean(content: LexborNode) -> None:
    node: LexborNode | None = content.first_child
    while node is not None:
        doomed = _is_dropped(node) if node.is_element_node else _date_around(node)
        if doomed is not None and doomed.mem_id != content.mem_id:
            following = _after(doomed, content)
            anchor, parent = doomed.attrs.get("id"), doomed.parent
            if anchor and parent and parent.tag in _HEADINGS and not parent.attrs.get("id"):
                parent.attrs["id"] = anchor
            doomed.decompose()
            node = following
        else:
            node = (node.is_element_node and node.first_child) or _after(node, content)


def _is_dropped(node: LexborNode) -> LexborNode | None:
    """Return the element to remove because of `node`."""
    tag, attributes = node.tag or "", node.attributes
    if not attributes and tag not in _LOOKED_AT:
        return None
    tokens = _known(tag, attributes)
    if not tokens.isdisjoint(_NUMBERS):
        parent = node.parent
        for _ in range(4):
            if parent is None or parent.tag == "td":
                break
            parent = parent.parent
        return parent if parent is not None and parent.tag == "td" else node
    if _is_kept(tag, attributes) or (tag == "form" and node.css_first("h1, h2, main, article")):
        return None
    if tag in _HEADINGS or tag == "section" or ".section" in tokens:
        tokens -= {f"#{attributes.get('id')}"}  # made of its title
    if ".text-delta" in tokens and tag in _HEADINGS:  # Just the Docs, above a list of contents
        following = _next_element(node)
        if following is not None and following.tag in ("ol", "ul"):
            following.decompose()
            return node
    if not tokens.isdisjoint(_DROP) or (".contents" in tokens and tokens & {".topic", ".local"}):
        return node
    if ".hidden" in tokens and tokens & _ON_PAPER:
        return node
    if tag == "a" and (doomed := node if _is_button(node) else _dropped_link(node)):
        return doomed
    classes = attributes.get("class") or ""
    if tag == "aside" and not _ASIDES.search(classes):
        return None if (attributes.get("role") or "").startswith(("note", "doc-")) else node
    if tag == "footer" and node.parent is not None and node.parent.tag != "blockquote":
        return node
    if "data-pagefind-ignore" in attributes and "nextra-code" not in classes:  # all code there
        return node
    if attributes.get("aria-hidden") == "true":  # the title of Starlight's asides is hidden
        return None if "title" in classes else node
    style = (attributes.get("style") or "").replace(" ", "")
    if tag in _HEADINGS and "visibility:hidden" in style:  # Nextra's, in each of its tabs
        return node
    if "hidden" in attributes or "display:none" in style:
        if attributes.get("hidden") == "until-found" or "tab" in classes:
            return None
        return node
    return None


def _is_button(link: LexborNode) -> bool:
    """Tell whether a link leads to the next page, below a teaser to its page, or, alone in its
    block, to the page's editor."""
    attributes = link.attrs
    if attributes.sget("rel") in ("prev", "next") or _MORE.fullmatch(link.text().strip()):
        return True
    if not _EDIT.search(attributes.sget("href")):
        return False
    around = [*_neighbours(link, "prev"), *_neighbours(link, "next")]
    return all(each.tag in _APART or not each.text().strip() for each in around)


def _date_around(text: LexborNode) -> LexborNode | None:
    """The element around a text that says when the page was changed."""
    if not _DATE.match((text.text_content or "").strip()):
        return None
    parent = text.parent
    if parent is None or parent.tag in ("code", "pre"):
        return None
    around = [text, *_neighbours(text, "prev"), *_neighbours(text, "next")]
    if len(around) > _NEIGHBOURS or sum(len(each.text()) for each in around) > _LONGEST_NOTE:
        return None
    return parent


def _neighbours(node: LexborNode, direction: Literal["prev", "next"]) -> Iterator[LexborNode]:
    """Yield the nearest nodes beside `node`; few, since a page may have many in one element."""
    for _ in range(_NEIGHBOURS):
        if (beside := node.prev if direction == "prev" else node.next) is None:
            return
        yield beside
        node = beside


def _dropped_link(link: LexborNode) -> LexborNode | None:
    """Return what to remove because of a link to a heading, or to pages with a tag."""
    href, relation = link.attrs.sget("href"), link.attrs.sget("rel")
    text, parent = link.text().strip(), link.parent
    if href.startswith("#"):
        label = text or link.attrs.sget("aria-label") or link.attrs.sget("title")
        marks = text in _ANCHOR_MARKS and link.css_first("img") is None
        if not marks and not (_ANCHOR_LABEL.match(label) and parent and parent.tag in _HEADINGS):
            return None
        return link
    if parent is None or not (relation in ("tag", "category") or _TERM_PATH.search(href)):
        return None
    if not relation and (parent.tag not in ("div", "span") or "/releases/" in href):
        return None
    beside = list(islice(parent.iter(include_text=True), _MOST_TAGS + 1))
    alone = all(each.tag == "a" or not any(map(str.isalnum, each.text())) for each in beside)
    return parent if alone and len(beside) <= _MOST_TAGS else None


def _is_kept(tag: str, attributes: Mapping[str, str | None]) -> bool:
    """Tell whether an element is text in spite of its tag, and though it may be hidden."""
    match tag:
        case "script":
            return (attributes.get("type") or "").startswith("math/tex")
        case "input":
            return attributes.get("type") == "checkbox"
        case "iframe" | "video":
            return bool(attributes.get("title") or attributes.get("aria-label"))
        case _:
            return attributes.get("role") in ("tab", "tablist", "tabpanel")


def _next_element(node: LexborNode) -> LexborNode | None:
    following = node.next
    while following is not None and not following.is_element_node:
        following = following.next
    return following


def _blocks(node: LexborNode) -> list[LexborNode]:
    """The children of `node` that may repeat on other pages.

    Words within text are none, nor are headings, which pages share with texts of their own.
    """
    if node.tag in _HEADINGS or node.text(deep=False).strip():
        return []
    return [block for block in node.iter() if block.tag not in _HEADINGS and _has_text(block)]


def _hash(block: LexborNode) -> str:
    text = " ".join(block.text().split())
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
