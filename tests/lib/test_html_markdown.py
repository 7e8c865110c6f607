import pytest
from selectolax.lexbor import LexborHTMLParser

from lib.html_markdown import FLAVOUR, _Converted, to_markdown
from lib.markdown import parse_page

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
    "line breaks": ("<p>a<br>b<br><br><br>c<br>", "a  \nb  \nc"),
    "links": (
        '<a href="../a b.html#c">x</a> <a href="javascript:alert(1)">y</a> <a href="#z">z</a>',
        "[x](https://example.org/docs/a%20b.html#c) y [z](https://example.org/docs/guide/#z)",
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
