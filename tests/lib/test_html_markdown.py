import time
from collections.abc import Iterator
from html import escape
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser, LexborNode

from lib.html_markdown import FLAVOUR, _Converted, to_markdown
from lib.html_tree import parse_html
from lib.markdown import parse_page
from lib.markdown_page import Block

URL = "https://example.org/docs/guide/"


def convert(html: str) -> _Converted:
    body = LexborHTMLParser(html).body
    assert body is not None
    return to_markdown(body, URL)


CASES = {
    "paragraphs": ("<p>One\n two</p>three<p>four", "One two\n\nthree\n\nfour"),
    "inline": (
        "<p>a <b> bold </b><i>it</i> <del>old</del> <code>x`y</code>",
        "a **bold** *it* ~~old~~ ``x`y``",
    ),
    "scripts": (
        "10<sup>-6</sup> H<sub>2</sub>O 1<sup>st</sup> x<sub><i>a</i></sub>",
        "10⁻⁶ H₂O 1<sup>st</sup> x<sub>*a*</sub>",
    ),
    "line breaks": ("<p>a<br>b<br><br><br>c<br>", "a  \nb  \nc"),
    "links": (
        '<a href="../a b.html#c">x</a> <a href="javascript:alert(1)">y</a> <a href="#z">z</a>',
        "[x](https://example.org/docs/a%20b.html#c) y [z](https://example.org/docs/guide/#z)",
    ),
    "buttons": (
        '<p><a href="/a">x</a><a href="/b">y</a><code><a href="/c">f</a><a href="/c">g</a></code>',
        "[x](https://example.org/a) [y](https://example.org/b)`fg`",
    ),
    "images": (
        '<p><img src="a.png" alt="An image"><img src="b.png"><img src="c.png" alt="x/c.png">'
        '<img src="data:x" alt="dot">',
        "![An image](https://example.org/docs/guide/a.png)dot",
    ),
    "lists": (
        "<ul><li>a<ol start=3><li>b<li>c</ol><li>d</ul><ul><li><p>e<p>f<li><p>g</ul>",
        "- a\n\n  3. b\n  4. c\n- d\n\n* e\n\n  f\n\n* g",
    ),
    "quote": ("<blockquote><p>a<p>b<ul><li>c</ul></blockquote>", "> a\n>\n> b\n>\n> - c"),
    "code": (
        '<div class="highlight-python"><pre><span class="ln">1</span>def f():\n    pass\n</pre>',
        "```python\ndef f():\n    pass\n```",
    ),
    "table": (
        "<table><thead><tr><th>A<th>B<tbody><tr><td>1|2<td><p>x<p>y</table>",
        "| A | B |\n| --- | --- |\n| 1\\|2 | x<br>y |",
    ),
    "spans": (
        "<table><tr><td rowspan=2>a<td colspan=2>b<tr><td>c<td>d</table>",
        "|  |  |  |\n| --- | --- | --- |\n| a | b |  |\n| a | c | d |",
    ),
    "definitions": ("<dl><dt>T<dd>d<dd><p>e<p>f</dl>", "T\n: d\n: e\n\n  f"),
    "rule": ("<hr>a<hr>b", "a\n\n***\n\nb"),
}


@pytest.mark.parametrize(("html", "markdown"), CASES.values(), ids=CASES)
def test_converts(html: str, markdown: str) -> None:
    assert convert(html).markdown == markdown


def test_headings_have_their_ids() -> None:
    page = convert('<h1 id="top">Top</h1><p>x<h3 id="a">A <code>b</code></h3><h2>C</h2>')
    headings = parse_page(page.markdown, FLAVOUR).headings
    assert [(each.level, each.text) for each in headings] == [(1, "Top"), (3, "A b"), (2, "C")]
    assert page.anchors == {headings[0].start: "top", headings[1].start: "a"}


TEXTS = [
    "*a* **b** _c_ __d__ snake_case 2 * 3 a*b*c",
    "`code` \\ \\* C:\\dir <b> Vec<T> a < b <!-- c --> &amp; & &#35; AT&T;",
    "[a](b) ![c](d) [e]: f [^1]: g",
    "~~a~~ $x$ and $y$ costs $5 and $6",
    "{.class} a {#id} {{#include x}}",
    *"# a|## b|> c|- d|+ e|1. f|2) g|---|===|::: note|!!! note|$$|: a|~ b".split("|"),
    "| a | b |",
    *'+++|[^1]: a|[a]: b|``` x|~~~|{"a": 1}|/// x|??? note'.split("|"),
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("tag", ["p", "h2", "li", "td", "b", "dt"])
def test_text_is_read_back(text: str, tag: str) -> None:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    inner = f"<{tag}>{escaped}</{tag}>"
    html = {"li": f"<ul>{inner}</ul>", "td": f"<table><tr>{inner}<td>b</table>"}.get(tag, inner)
    page = parse_page(convert(html).markdown, FLAVOUR)
    (block,) = page.blocks
    while block.children:
        block = block.children[-1]
    shown = block.text.removesuffix(" | b")
    assert shown == text.strip()


def test_plain_text_has_no_escapes() -> None:
    text = "Costs $5 & more: a < b, 2 * 3, snake_case, arr[0], {x}, v1.2. #hash (see c:\\dir) ~5|6"
    assert convert(f"<p>{text.replace('<', '&lt;')}").markdown == text


_LETTERS = "ab1 \n*_`~[]()<>&;!$\\{}#.-+=|:/?^\"'é語\u00a0"
_Node = tuple[str, Any]
_texts: st.SearchStrategy[_Node] = st.text(alphabet=_LETTERS, max_size=12).map(
    lambda text: ("", text)
)
_inline: st.SearchStrategy[_Node] = st.recursive(
    _texts | st.just(("br", [])),
    lambda nodes: st.tuples(
        st.sampled_from(["b", "i", "del", "code", "span", "kbd", "a href='x(y)'"]),
        st.lists(nodes, max_size=3),
    ),
    max_leaves=6,
)
_blocks: st.SearchStrategy[_Node] = st.recursive(
    _inline | st.tuples(st.sampled_from(["p", "h2", "pre"]), st.lists(_inline, max_size=4)),
    lambda nodes: st.tuples(
        st.sampled_from(["div", "blockquote", "ul", "ol", "dl", "table", "details"]),
        st.lists(nodes, max_size=3),
    ),
    max_leaves=8,
)


def html_of(node: _Node) -> str:
    name, inner = node
    if not name:
        return escape(inner, quote=False)
    if name == "br":
        return "<br>"
    children = [html_of(child) for child in inner]
    tag = name.split()[0]
    if tag == "dl":
        children = [f"<dt>t</dt><dd>{child}</dd>" for child in children]
    elif tag == "table":
        children = [f"<tr><td>k<td>{child}</td></tr>" for child in children]
    elif tag in ("ul", "ol"):
        children = [f"<li>{child}</li>" for child in children]
    return f"<{name}>{''.join(children)}</{tag}>"


def shown_in(node: LexborNode) -> str:
    """What a browser shows, but for white space."""
    parts = []
    for child in node.iter(include_text=True):
        if child.is_text_node:
            parts.append(child.text_content or "")
        elif child.tag in ("a", "b", "i", "del", "code", "span", "kbd"):
            parts.append(shown_in(child))
        else:
            parts.append(f"\n{shown_in(child)}\n")
    return "".join(parts)


def words_of(block: Block) -> Iterator[str]:
    yield from block.text.split()
    for child in block.children:
        yield from words_of(child)


@given(st.lists(_blocks, max_size=4))
@settings(max_examples=300, deadline=None)
def test_pages_show_the_text_of_their_html(nodes: list[_Node]) -> None:
    body = LexborHTMLParser("".join(map(html_of, nodes))).body
    assert body is not None
    markdown, anchors = to_markdown(body, URL)
    page = parse_page(markdown, FLAVOUR)
    shown = [word for block in page.blocks for word in words_of(block)]
    expected = shown_in(body).split()
    if body.css_first("table") is None:
        assert shown == expected
    else:  # cells are joined by `|`, and lists in them have dashes
        ignored = str.maketrans("", "", "|-")
        assert "".join(shown).translate(ignored) == "".join(expected).translate(ignored)
    assert not anchors
    assert not page.problems


HOSTILE = {
    "nesting": ("<div><ul><li><blockquote>x", ""),
    "formatting that is never closed": ("<p><b><i><u><code>x", ""),
    "headings": ("<h2 id=a><a href=#a></a>x</h2>", ""),
    "cells": ("<td>x", "<table><tr>"),
    "cells that claim all": ("<tr><td rowspan=65534 colspan=1000>x", "<table>"),
    "tables in tables": ("<table><tr><td>x<td>", ""),
    "items": ("<li>x", "<ol>"),
    "links": ("<a href=x>y</a> ", "<p>"),
    "emphasis": ("<b>:</b>*_~~`$a [", "<p>"),
    "lines of code": ("<span class=ln>1</span>x<br>", "<pre>"),
    "tabs": ("<div role=tablist><a role=tab>x</a></div><div role=tabpanel>y</div>", ""),
    "footnotes": ("<sup><a href=#f>1</a></sup><div id=f>x</div>", ""),
    "terms": ("<dl><dt class=sig id=x>f()<dd><dl><dt>a<dd>b</dl></dl>", ""),
    "formulas": ("<span class=math>\\(x\\)</span> <math><mi>x", ""),
    "text": ("word &lt;a ", "<p>"),
}


@pytest.mark.parametrize(("unit", "before"), HOSTILE.values(), ids=HOSTILE)
def test_time_is_linear(unit: str, before: str) -> None:
    def seconds(count: int) -> float:
        body = parse_html((before + unit * count).encode()).body
        assert body is not None
        start = time.process_time()
        to_markdown(body, URL)
        return time.process_time() - start

    assert any(seconds(4_000) <= 2.3 * seconds(2_000) + 0.02 for _ in range(5))


def test_reserved_characters_are_replaced() -> None:
    """`lib.markdown_page` and `lib.templates` mark parts of pages with them."""
    page = convert("<h2>a\ufdd0</h2><pre>\ufdd4</pre><p>&#0;&#xD800;\ufdd3")
    assert page.markdown == "## a\ufffd\n\n```\n\ufffd\n```\n\n\ufffd\ufffd\ufffd"
