"""Pages as HTML: the ids that citations link to, the text of the index, and nothing of the author's
markup that could run or load."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.markdown import parse_page
from lib.rendering import RenderedPage, RenderRequest, render_page
from lib.sites.quire import GENERATOR
from lib.sites.router import Router, link
from lib.sites.site import ContentRoot, Site
from tests.handbook import CHAPTERS
from tests.pages import texts

ELEMENTS = {
    *"p h1 h2 h3 h4 h5 h6 ul ol li blockquote dl dt dd pre code table thead tbody tr th td".split(),
    *"div strong em s br hr a".split(),
}
ATTRIBUTES = {"id", "href", "rel", "class", "tabindex", "data-language", "start"}
CLASSES = {"note", "footnote", "table", "math", "caption"}

SITE = Site(GENERATOR, content_roots=(ContentRoot("/book"),))

HOSTILE_HEADINGS = [
    *["Same", "Same", "same!", "Same-1", "Same", "# !!!", "???", "section", "🎉", "Emoji 🎉 party"],
    *[
        "日本語の見出し",
        "العربية والعبرية",
        "नमस्ते दुनिया",
        "`code` and <b>html</b>",
        "a -- b",
        "&amp; &lt;",
    ],
    *[
        "[link](x.md#y) text",
        "![image](a.png)",
        "**bold** _it_ ~~s~~",
        "$x^2$",
        "C# and C++",
        "{braces}",
    ],
    *[
        "explicit {#own}",
        "explicit again {#own}",
        "own",
        "{#only}",
        "a {#b .c d=e}",
        "quote {#\"'><}",
    ],
    *[
        "\\# escaped",
        "trailing ###",
        "x" * 600,
        "tab\tin",
        "<script>alert(1)</script>",
        "[^1] note",
    ],
    *["%41 percent", "a/b?c#d", "\u202eoverride", "\u00a0", "ǅ ŉ İ ß", "Ⓐ½²", "[unclosed", "*open"],
]


def render(text: str, path: str = "a.md", **pages: str) -> RenderedPage | None:
    return render_page(RenderRequest(text=text, path=path, addresses={"a.md": "a"} | pages))


def rendered(text: str, path: str = "a.md", **pages: str) -> str:
    page = render(text, path, **pages)
    assert page is not None
    return page.html


class Elements(HTMLParser):
    """Collects elements with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ("br", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)

    def handle_pi(self, data: str) -> None:
        raise AssertionError(data)


def check_safe(html: str) -> Elements:
    """Assert that HTML has only the renderer's own elements, and addresses that cannot run code."""
    elements = Elements(html)
    assert not elements.open
    for tag, attributes in elements.found:
        assert tag in ELEMENTS
        assert attributes.keys() <= ATTRIBUTES
        assert attributes.get("class") in CLASSES | {None}
        if "href" in attributes:
            parts = urlsplit(attributes["href"])
            assert parts.scheme in ("", "http", "https", "mailto")
            assert parts.scheme or not parts.netloc
    return elements


def cited_anchors(text: str, path: str = "a.md") -> list[str]:
    """The anchors that citations of the page link to, decoded; empty for those without."""
    page = parse_page(text, "mdx" if path.endswith(".mdx") else "commonmark")
    address = Router(SITE, Path("/book"), [path]).address(path, page, text)
    urls = [link(address, index) or "" for index in range(len(page.headings))]
    return [unquote(url.partition("#")[2]) for url in urls]


def rendered_ids(html: str) -> list[str]:
    found = Elements(html).found
    return [attributes.get("id", "") for tag, attributes in found if re.fullmatch("h[1-6]", tag)]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_the_handbook_s_headings_have_the_ids_of_its_citations(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    ids = rendered_ids(rendered(text))
    assert ids == cited_anchors(text)
    assert all(ids)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("path", ["a.md", "a.mdx"])
def test_hostile_headings_have_the_ids_of_their_citations(path: str) -> None:
    text = "\n\n".join(f"## {heading}\n\ntext" for heading in HOSTILE_HEADINGS)
    html = rendered(text, path)
    ids = rendered_ids(html)
    assert ids == cited_anchors(text, path)
    assert [at for at, each in enumerate(ids) if not each] == [HOSTILE_HEADINGS.index("x" * 600)]
    check_safe(html)


_headings = st.lists(
    st.one_of(st.sampled_from(HOSTILE_HEADINGS), st.text(max_size=20)), max_size=12
)


@given(_headings, st.sampled_from(["a.md", "a.mdx"]))
def test_any_headings_have_the_ids_of_their_citations(headings: list[str], path: str) -> None:
    text = "\n\n".join(f"{'#' * (1 + len(each) % 6)} {each}" for each in headings)
    assert rendered_ids(rendered(text, path)) == cited_anchors(text, path)


@given(texts, st.sampled_from(["a.md", "a.mdx"]))
def test_any_page_is_safe_and_has_its_ids(text: str, path: str) -> None:
    page = render(text, path)
    if page is not None:
        check_safe(page.html)
        assert rendered_ids(page.html) == cited_anchors(text, path)


def test_generated_ids_avoid_those_that_the_author_wrote() -> None:
    ids = rendered_ids(rendered("## A\n\n## B {#a}\n\n## A\n\n## !\n\n## ?\n"))
    assert ids == ["a-1", "a", "a-2", "section", "section-1"]


HOSTILE = """
<script>alert(1)</script> <img src=x onerror=alert(1)> <b onclick="x">bold</b> <!-- secret -->

<!-- secret -->

<iframe src="javascript:alert(1)"></iframe>

<div onclick="alert(1)" style="x">block <!-- secret --></div>

[a](javascript:alert(1)) [b](JaVaScRiPt:alert(1)) [c](data:text/html,x) [d](//evil.example/x)
[e](&#106;avascript:alert(1)) [f](vbscript:x) [g](file:///etc/passwd) [h](<java\tscript:x>)
[i](\x01javascript:alert(1)) ![j](http://evil.example/pixel.png "t") [k](https:evil)
<javascript:alert(1)> <https://fine.example/?a=b&c="d">

[m]

[m]: javascript:alert(1) "onclick"

```"><script>alert(1)</script> title="<img src=x>"
</code></pre><script>alert(1)</script>
```

| <script>alert(1)</script> | [x](javascript:alert(1)) |
|--|--|
| `<img src=x>` | ![](x) |

$$
</pre><script>alert(1)</script>
$$

## x {#"><script>alert(1)</script>}
## x {#a onclick=alert(1)}
"""


@pytest.mark.parametrize("path", ["a.md", "a.mdx"])
def test_hostile_markup_is_text(path: str) -> None:
    html = rendered(HOSTILE, path)
    elements = check_safe(html)
    assert "secret" not in html
    hrefs = {attributes["href"] for _, attributes in elements.found if "href" in attributes}
    assert hrefs == {"https://fine.example/?a=b&c=%22d%22"}


@pytest.mark.parametrize(
    ("href", "address"),
    [
        ("b.md", "./b"),
        ("b", "./b"),
        ("./b.md#part%20two", "./b#part%20two"),
        ("#here", "#here"),
        ("index.md", "./"),
        ("./", "./"),
        ("guide/c.md", "./guide/c"),
        ("guide/", "./guide/"),
        ("guide/index.md#x", "./guide/#x"),
        ("/guide/c.md", "./guide/c"),
        ("odd%20name.md", "./odd%20name%3F"),
        ("<odd name.md>", "./odd%20name%3F"),
        ("missing.md", None),
        ("../../etc/passwd", None),
        ("guide/%2e%2e/b.md", "./b"),
        ("b.md?x=1", "./b"),
        ("", None),
        ("#", None),
        ("https://other.example/b.md", "https://other.example/b.md"),
        ("mailto:a@b.example", "mailto:a@b.example"),
    ],
)
def test_links(href: str, address: str | None) -> None:
    html = rendered(
        f"[text]({href})",
        **{
            "index.md": "",
            "b.md": "b",
            "guide/index.md": "guide/",
            "guide/c.md": "guide/c",
            "odd name.md": "odd name?",
        },
    )
    found = [attributes["href"] for tag, attributes in Elements(html).found if tag == "a"]
    assert found == ([address] if address else [])
    assert "text" in html


def test_links_from_a_page_in_a_folder() -> None:
    pages = {"guide/c.md": "guide/c", "guide/d.md": "guide/d", "index.md": "", "a.md": "a"}
    html = rendered("[d](d.md) [i](../index.md) [a](../a.md#x) [j](..)", "guide/c.md", **pages)
    found = [attributes["href"] for tag, attributes in Elements(html).found if tag == "a"]
    assert found == ["../guide/d", "../", "../a#x", "../"]


def test_an_address_is_not_taken_for_a_scheme() -> None:
    html = rendered("[x](<javascript:alert(1).md>) [y](y.md)", **{"y.md": "javascript:alert(1)"})
    (link,) = [attributes["href"] for tag, attributes in Elements(html).found if tag == "a"]
    assert link == "./javascript%3Aalert%281%29"


SHOWN = """---
title: From the front matter
---

First *paragraph* with `code`,
two lines.\\
A third.

- [ ] task
- item

  with two paragraphs

3. third
4. fourth

> quoted

!!! tip "A *tip*"
    inside

:::note Title
flat
:::

Term
: Definition

| Head | Two |
|------|-----|
| a | b<br>c |

```python title="main.py"
if x < 1:
```

    indented

---

[^1]: Foot
"""


def test_the_usual_markup() -> None:
    page = render(SHOWN)
    assert page is not None
    assert (page.title, page.has_title) == ("From the front matter", False)
    for expected in [
        "<p>First <em>paragraph</em> with <code>code</code>,\ntwo lines.<br>\nA third.</p>",
        "<p>with two paragraphs</p>",
        '<ol start="3">\n<li>third</li>\n<li>fourth</li>',
        "<blockquote>\n<p>quoted</p>",
        '<div class="note">\n<p><strong>A <em>tip</em></strong></p>\n<p>inside</p>',
        "<p><strong>Title</strong></p>\n<p>flat</p>",
        "<dt>Term</dt>\n<dd>Definition</dd>",
        "<th>Head</th>",
        "<td>b<br>c</td>",
        '<p class="caption">main.py</p>\n<pre tabindex="0" data-language="python"><code>if x',
        "<code>indented\n</code>",
        "<hr>",
        '<div class="footnote">\n<p><strong>[^1]</strong></p>\n<p>Foot</p>',
    ]:
        assert expected in page.html
    check_safe(page.html)


@pytest.mark.parametrize("line", ["draft: true", "unlisted: true", "published: false"])
def test_a_draft_is_not_rendered(line: str) -> None:
    assert render(f"---\n{line}\n---\n\ntext\n") is None


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_the_text_is_that_of_the_index(path: Path) -> None:
    """A text fragment of a citation finds its sentence."""
    text = path.read_text(encoding="utf-8")
    shown = " ".join(Elements(rendered(text)).text.split())
    for block in parse_page(text, "commonmark").blocks:
        if block.kind in ("paragraph", "heading"):
            assert " ".join(block.text.split()) in shown
