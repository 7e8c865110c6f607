"""HTML as themes and generators write it."""

import pytest
from selectolax.lexbor import LexborHTMLParser

from lib.html_markdown import to_markdown

URL = "https://example.org/docs/"


def convert(html: str) -> str:
    body = LexborHTMLParser(html).body
    assert body is not None
    return to_markdown(body, URL).markdown


NOTE = "> **Note**\n>\n> Mind the gap."
ADMONITIONS = {
    "docusaurus": '<div class="theme-admonition theme-admonition-note admonition_xJq3 alert">'
    '<div class="admonitionHeading_Gvgb"><span class="admonitionIcon_Rf37"></span>note</div>'
    '<div class="admonitionContent_BuS1"><p>Mind the gap.</p></div></div>',
    "material": '<div class="admonition note"><p class="admonition-title">Note</p>'
    "<p>Mind the gap.</p></div>",
    "material, collapsible": '<details class="note" open><summary>Note</summary>'
    "<p>Mind the gap.</p></details>",
    "vitepress": '<div class="tip custom-block"><p class="custom-block-title">Note</p>'
    "<p>Mind the gap.</p></div>",
    "starlight": '<aside aria-label="Note" class="starlight-aside starlight-aside--note">'
    '<p class="starlight-aside__title">Note</p>'
    '<div class="starlight-aside__content"><p>Mind the gap.</p></div></aside>',
    "github": '<div class="markdown-alert markdown-alert-note">'
    '<p class="markdown-alert-title">Note</p><p>Mind the gap.</p></div>',
    "mdbook": '<blockquote class="blockquote-tag blockquote-tag-note">'
    '<p class="blockquote-tag-title">Note</p><p>Mind the gap.</p></blockquote>',
    "docsy": '<div class="alert alert-primary" role="alert"><h4 class="alert-heading">Note</h4>'
    "<p>Mind the gap.</p></div>",
    "antora": '<div class="admonitionblock note"><table><tbody><tr><td class="icon">'
    '<i class="fa icon-note" title="Note"></i></td><td class="content">'
    '<div class="paragraph"><p>Mind the gap.</p></div></td></tr></tbody></table></div>',
}


@pytest.mark.parametrize("html", ADMONITIONS.values(), ids=ADMONITIONS)
def test_an_admonition_is_a_quote_that_begins_with_its_title(html: str) -> None:
    assert convert(html) == NOTE


TABS = {
    "docusaurus": '<div class="theme-tabs-container tabs-container"><ul role="tablist" '
    'class="tabs"><li role="tab" class="tabs__item">A</li><li role="tab">B</li></ul>'
    '<div class="margin-top--md"><div role="tabpanel" class="tabItem_Ymn6"><p>a</p></div>'
    '<div role="tabpanel" hidden><pre>b</pre></div></div></div>',
    "material": '<div class="tabbed-set tabbed-alternate"><input type="radio"><input type="radio">'
    '<div class="tabbed-labels"><label for="x">A</label><label>B</label></div>'
    '<div class="tabbed-content"><div class="tabbed-block"><p>a</p></div>'
    '<div class="tabbed-block"><pre>b</pre></div></div></div>',
    "sphinx-design": '<div class="sd-tab-set docutils"><input type="radio">'
    '<label class="sd-tab-label" for="a">A</label><div class="sd-tab-content"><p>a</p></div>'
    '<input type="radio"><label class="sd-tab-label" for="b">B</label>'
    '<div class="sd-tab-content"><pre>b</pre></div></div>',
    "sphinx-tabs": '<div class="sphinx-tabs docutils"><div role="tablist">'
    '<button role="tab" id="tab-0" aria-controls="p0">A</button>'
    '<button role="tab" id="tab-1">B</button></div>'
    '<div aria-labelledby="tab-0" class="sphinx-tabs-panel" id="p0" role="tabpanel"><p>a</p></div>'
    '<div aria-labelledby="tab-1" role="tabpanel" hidden><pre>b</pre></div></div>',
    "starlight": '<starlight-tabs><div class="tablist-wrapper"><ul role="tablist">'
    '<li role="presentation" class="tab"><a role="tab" href="#t1" id="t1">A</a></li>'
    '<li role="presentation" class="tab"><a role="tab" href="#t2" id="t2">B</a></li></ul></div>'
    '<div id="p1" aria-labelledby="t1" role="tabpanel">a</div>'
    '<div id="p2" aria-labelledby="t2" role="tabpanel" hidden><pre>b</pre></div></starlight-tabs>',
    "antora": '<div class="tabs"><div class="ulist tablist"><ul><li id="_a" class="tab"><p>A</p>'
    '</li><li id="_b" class="tab"><p>B</p></li></ul></div><div id="_a--panel" class="tabpanel" '
    'aria-labelledby="_a"><p>a</p></div><div id="_b--panel" class="tabpanel" '
    'aria-labelledby="_b"><pre>b</pre></div></div>',
    "hugo-book": '<div class="book-tabs"><input type="radio"><label for="t0">A</label>'
    '<div class="book-tabs-content"><p>a</p></div><input type="radio"><label>B</label>'
    '<div class="book-tabs-content"><pre>b</pre></div></div>',
    "docsy": '<ul class="nav nav-tabs" role="tablist"><li class="nav-item">'
    '<button class="nav-link" role="tab" aria-controls="t-0">A</button></li><li class="nav-item">'
    '<button role="tab" aria-controls="t-1">B</button></li></ul><div class="tab-content">'
    '<div class="tab-body tab-pane" id="t-0" role="tabpanel"><p>a</p></div>'
    '<div class="tab-body tab-pane" id="t-1" role="tabpanel"><pre>b</pre></div></div>',
}


@pytest.mark.parametrize("html", TABS.values(), ids=TABS)
def test_a_tab_begins_with_its_label(html: str) -> None:
    """A tab that consists of code is the title of the code."""
    assert convert(html) == '**A**\n\na\n\n``` title="B"\nb\n```'


def test_a_tab_without_text_has_no_label() -> None:
    html = '<div role="tablist"><button role="tab">{}</button></div><div role="tabpanel">{}</div>'
    assert convert(html.format("A", "b") + html.format("C", "<div></div>")) == "**A**\n\nb"


def test_a_table_with_lists_and_admonitions_in_its_cells() -> None:
    assert convert(
        "<table><tr><th>A<th>B<tr><td>1<td><p>x</p><ul><li><p>y</p><li><p>z</p></ul>"
        '<div class="admonitionblock note"><table><tr><td class="icon"><i title="Note"></i>'
        '<td class="content">Careful.</table></div></table>'
    ) == ("| A | B |\n| --- | --- |\n| 1 | x<br>- y<br>- z<br>**Note**<br>Careful. |")


def test_a_tab_beside_another_set_of_tabs() -> None:
    inner = TABS["material"].replace("A", "C").replace("B", "D")
    html = TABS["material"].replace("<p>a</p>", f"<p>a</p>{inner}")
    labels = [line for line in convert(html).splitlines() if line.startswith(("**", "```"))]
    assert labels == ["**A**", "**C**", '``` title="D"', "```", '``` title="B"', "```"]


CODE = {
    "docusaurus": '<div class="language-js codeBlockContainer_Ckt0 theme-code-block">'
    '<div class="codeBlockTitle_Ktv7">a.js</div><div class="codeBlockContent_biex">'
    '<pre class="prism-code language-js"><code class="codeBlockLines_e6Vv">'
    '<span class="token-line"><span class="token plain">f()</span><br></span>'
    '<span class="token-line"><span class="token plain"></span><br></span>'
    '<span class="token-line"><span class="token plain">g()</span><br></span>'
    "</code></pre></div></div>",
    "sphinx": '<div class="literal-block-wrapper docutils container" id="id1">'
    '<div class="code-block-caption"><span class="caption-text">a.js</span></div>'
    '<div class="highlight-js notranslate"><div class="highlight"><pre><span></span>'
    '<span class="linenos">1</span>f()\n<span class="linenos">2</span>\n'
    '<span class="linenos">3</span>g()\n</pre></div></div></div>',
    "material": '<div class="language-js highlight"><table class="highlighttable"><tr>'
    '<th colspan="2" class="filename"><span class="filename">a.js</span></th></tr><tr>'
    '<td class="linenos"><div class="linenodiv"><pre>1\n2\n3</pre></div></td>'
    '<td class="code"><div><pre><span></span><code>f()\n\ng()\n</code></pre></div></td></tr>'
    "</table></div>",
    "starlight": '<div class="expressive-code"><figure class="frame has-title">'
    '<figcaption class="header"><span class="title">a.js</span></figcaption>'
    '<pre data-language="js"><code><div class="ec-line"><div class="gutter">1</div>'
    '<div class="code"><span>f()</span></div></div><div class="ec-line"><div class="code">\n'
    '</div></div><div class="ec-line"><div class="code">g()</div></div></code></pre></figure>'
    "</div>",
    "antora": '<div class="listingblock"><div class="title">a.js</div><div class="content">'
    '<pre class="highlightjs highlight"><code class="language-js hljs" data-lang="js">f()\n\ng()'
    "</code></pre></div></div>",
    "hugo": '<div class="hextra-code-filename">a.js</div><div class="highlight">'
    '<div class="chroma">'
    '<table class="lntable"><tr><td class="lntd"><pre class="chroma"><code>'
    '<span class="lnt">1\n</span><span class="lnt">2\n</span></code></pre></td>'
    '<td class="lntd"><pre class="chroma"><code class="language-js" data-lang="js">'
    '<span class="line"><span class="cl">f()\n</span></span><span class="line">\n</span>'
    '<span class="line"><span class="cl">g()\n</span></span></code></pre></td></tr></table></div>'
    "</div>",
    "jekyll": '<div class="code-title">a.js</div><div class="language-js highlighter-rouge">'
    '<div class="highlight"><pre class="highlight"><code><table class="rouge-table"><tbody><tr>'
    '<td class="rouge-gutter gl"><pre class="lineno">1\n2\n3\n</pre></td><td class="rouge-code">'
    "<pre>f()\n\ng()\n</pre></td></tr></tbody></table></code></pre></div></div>",
}


@pytest.mark.parametrize("html", CODE.values(), ids=CODE)
def test_code_has_its_language_and_title_and_no_numbers(html: str) -> None:
    assert convert(html) == '```js title="a.js"\nf()\n\ng()\n```'


def test_code_keeps_prompts_and_words_of_a_line_together() -> None:
    html = '<pre><span style="user-select:none">1</span><span style="user-select:none">$ </span>ls'
    assert convert(html) == "```\n$ ls\n```"


FOOTNOTES = {
    "remark": '<p>x<sup><a href="#user-content-fn-1" data-footnote-ref>1</a></sup>.</p>'
    '<section data-footnotes class="footnotes"><ol><li id="user-content-fn-1"><p>The note. '
    '<a href="#user-content-fnref-1" class="data-footnote-backref">↩</a></p></li></ol></section>',
    "python-markdown": '<p>x<sup id="fnref:1"><a class="footnote-ref" href="#fn:1">1</a></sup>.'
    '</p><div class="footnote"><hr><ol><li id="fn:1"><p>The note.&nbsp;'
    '<a class="footnote-backref" href="#fnref:1">↩</a></p></li></ol></div>',
    "sphinx": '<p>x<a class="footnote-reference brackets" href="#id2" id="id1" role="doc-noteref">'
    '<span class="fn-bracket">[</span>1<span class="fn-bracket">]</span></a>.</p>'
    '<hr class="footnotes docutils"><aside class="footnote-list brackets">'
    '<aside class="footnote brackets" id="id2" role="doc-footnote"><span class="label">'
    '<span class="fn-bracket">[</span><a role="doc-backlink" href="#id1">1</a>'
    '<span class="fn-bracket">]</span></span><p>The note.</p></aside></aside>',
    "docutils": '<p>x<a class="footnote-reference brackets" href="#id2" id="id1">1</a>.</p>'
    '<dl class="footnote brackets"><dt class="label" id="id2"><span class="brackets">'
    '<a class="fn-backref" href="#id1">1</a></span></dt><dd><p>The note.</p></dd></dl>',
    "asciidoctor": '<p>x<sup class="footnote">[<a id="_footnoteref_1" class="footnote" '
    'href="#_footnotedef_1" title="View footnote.">1</a>]</sup>.</p><div id="footnotes"><hr>'
    '<div class="footnote" id="_footnotedef_1"><a href="#_footnoteref_1">1</a>. The note.</div>'
    "</div>",
    "kramdown": '<p>x<sup><a href="#fn:1" class="footnote" rel="footnote" role="doc-noteref">1</a>'
    '</sup>.</p><div class="footnotes" role="doc-endnotes"><ol><li id="fn:1"><p><span class="label '
    'label-green">The</span> note. <a href="#fnref:1" class="reversefootnote" '
    'role="doc-backlink">↩</a></p></li></ol></div>',
    "mdbook": '<p>x<sup class="footnote-reference" id="fr-1-1"><a href="#footnote-1">1</a></sup>.'
    '</p><ol class="footnote-definition"><li id="footnote-1"><p>The note. '
    '<a href="#fr-1-1">↩</a></p></li></ol>',
}


@pytest.mark.parametrize("html", FOOTNOTES.values(), ids=FOOTNOTES)
def test_footnotes(html: str) -> None:
    assert convert(html).replace("***\n\n", "") == "x[^1].\n\n[^1]: The note."


def test_descriptions_of_functions_are_headings() -> None:
    html = (
        '<section id="module"><h1>Module</h1><dl class="py class"><dt class="sig sig-object py" '
        'id="m.C"><em class="property"><span class="pre">class</span> </em><span class="sig-name '
        'descname">C</span><span class="sig-paren">(</span><em class="sig-param">*args</em>, '
        '<em>b=1</em>)</dt><dd><p>A class.</p><dl class="py method"><dt class="sig" id="m.C.f">f() '
        '<span class="sig-return-icon">→</span> int</dt><dd><p>A method.</p>'
        '<dl class="field-list"><dt>Returns<span class="colon">:</span></dt><dd><p>One.</p></dd>'
        "</dl></dd></dl></dd></dl></section>"
    )
    body = LexborHTMLParser(html).body
    assert body is not None
    page = to_markdown(body, URL)
    assert page.markdown == (
        "# Module\n\n## `class C(*args, b=1)`\n\nA class.\n\n### `f() -> int`\n\nA method.\n\n"
        "Returns:\n: One."
    )
    assert list(page.anchors.values()) == ["module", "m.C", "m.C.f"]


@pytest.mark.parametrize(
    ("html", "markdown"),
    [
        (
            '<p>a <span class="katex"><span class="katex-mathml"><math><mi>x</mi><annotation '
            'encoding="application/x-tex">x^2</annotation></math></span></span>.',
            "a $x^2$.",
        ),
        ('a <span class="math notranslate">\\(x_1\\)</span>', "a $x_1$"),
        ('<div class="math">\n\\[x\n\n+ y\\]</div>', "$$\nx\n+ y\n$$"),
        ('<p>a <script type="math/tex">x</script>', "a $x$"),
        (
            '<a href="/a"><span class="title">A</span></a><span class="description">b</span>',
            "[A](https://example.org/a) b",
        ),
        ("<math><mi>c</mi><msup><mi>x</mi><mn>2</mn></msup></math>", "cx^2"),
        ('<ul class="tabs"><li><a>a</a></ul><p>b', "- a\n\nb"),
        ('<p>In <span class="filename">a.py</span>.', "In a.py."),
        ('<article class="topic"><h1>A</h1>b</article>', "# A\n\nb"),
        ('<div class="topic"><p class="topic-title">A</p>b</div>', "> **A**\n>\n> b"),
        ('<div class="prompt"><pre>[1]:</pre></div><div class="prompt">a</div>', "a"),
        ('<div class="language-js"><span class="lang">js</span><pre>a', "```js\na\n```"),
        ('<details><summary aria-label="Toggle hidden content">Show</summary>a', "a"),
        ('<div class="mermaid">graph TD\n A--&gt;B</div>', "```mermaid\ngraph TD\n A-->B\n```"),
        ('<div class="line-block"><div class="line">a</div><div class="line">b</div>', "a  \nb"),
        (
            '<div class="citation" id="x"><span class="label"><span>[</span>A98<span>]</span>'
            "</span><p>A book.</p></div>",
            "[A98]\n: A book.",
        ),
    ],
)
def test_other_elements(html: str, markdown: str) -> None:
    assert convert(html) == markdown
