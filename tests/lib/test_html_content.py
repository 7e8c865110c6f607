from lib.html_content import find_content
from lib.html_tree import parse_html


def text(html: str) -> str:
    element = find_content(parse_html(html.encode())).element
    return " ".join(element.text(separator=" ").split()) if element else ""


def test_the_text_of_an_unknown_theme_is_its_article() -> None:
    html = "<nav>Home Guide</nav><main><article><h1>Title</h1><p>One two three.</article></main>"
    assert text(html) == "Title One two three."


def test_a_heading_beside_the_container_belongs_to_the_page() -> None:
    html = """<main><div><h1>Title</h1></div><div class=crumbs>Home</div>
    <div class=sl-markdown-content><p>One two three four five.</div></main>"""
    assert text(html) == "Title One two three four five."


def test_tabs_formulas_checkboxes_and_titled_videos_are_text() -> None:
    html = """<article><h1>T</h1><p>Some text.<script type="math/tex">x</script>
    <script>y</script><input type=checkbox><input type=radio><iframe title="Video"></iframe>
    <iframe></iframe><div role=tablist><button role=tab>A</button><button>B</button></div>
    <div role=tabpanel aria-hidden=true>C</div><div aria-hidden=true>D</div></article>"""
    element = find_content(parse_html(html.encode())).element
    assert element is not None
    assert [node.tag for node in element.css("script, input, iframe, button")] == (
        ["script", "input", "iframe", "button"]
    )
    assert element.text(separator=" ").split() == "T Some text. x A C".split()


def test_a_section_about_comments_is_not_the_readers_comments() -> None:
    html = """<article><p>Some text.</p><h2 id=comments>Comments</h2><p>A</p>
    <section id=feedback><h2>Feedback</h2></section><div class=section id=toc>B</div>
    <div id=disqus_thread>spam</div></article>"""
    assert text(html) == "Some text. Comments A Feedback B"


def test_a_heading_above_main_is_the_sites() -> None:
    html = """<div id=menu-bar><h1 class=menu-title>The book</h1></div>
    <div id=content><main><h2>Chapter</h2><p>Some text.</p></main></div>"""
    assert text(html) == "Chapter Some text."
