from lib.html_page import read_html_page


def test_a_page_is_markdown_with_the_ids_of_its_headings() -> None:
    html = b"""<html lang=en><title>Title - Site</title><link rel=canonical href=https://x.example/a>
    <nav>Menu</nav><main><h1 id=title>Title<a class=headerlink href=#title>#</a></h1>
    <p>Enough words for a page."""
    page = read_html_page(html, url="https://x.example/a")
    assert page.markdown.startswith("# Title\n")
    assert page.anchors == {0: "title"}
    assert (page.title, page.language, page.canonical) == ("Title", "en", "https://x.example/a")
    assert page.left_out == ""


def test_a_redirect_is_left_out() -> None:
    html = b'<meta http-equiv=refresh content="0; url=/new/"><a href=/new/>This page has moved</a>'
    assert read_html_page(html).left_out == "redirects to another page"
