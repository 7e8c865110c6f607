import re
import time
from pathlib import Path

import pytest

from lib.html_content import find_content, list_blocks
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


LINKS = "".join(f"<li><a href='/p{n}/'>Page {n}</a></li>" for n in range(5))


@pytest.mark.parametrize(
    ("path", "html", "reason"),
    [
        ("tags/tide/", f"<article><h1>Tide</h1><ul>{LINKS}</ul></article>", "lists pages by tag"),
        ("tags/a/", "<html class='docs-tags-doc-list-page'><main>x y</main>", "lists pages by tag"),
        ("docs/tags/", "<html class='docs-tags-list-page'><main>x</main>", "lists pages by tag"),
        ("blog/", "<main><article class='md-post--excerpt'>x</article></main>", "lists pages by"),
        ("genindex.html", "<main><table class='indextable'><td>x</table></main>", "is an index of"),
        ("search.html", "<main><h1>Search</h1><p>Searching for words.</p></main>", "is a search"),
        ("all/", "<main id='print-site-page'>x</main>", "has all pages in one"),
        ("_modules/a.html", "<main>x<a class='viewcode-back' href='#'></a></main>", "shows source"),
        ("src/a.rs.html", "<body class='rustdoc src'><main>fn main</main>", "shows source"),
        ("plugins/tags/", f"<main><h1>Tags</h1><p>{'word ' * 40}</p>{LINKS}</main>", ""),
        ("docs/search/", f"<main><h1>Search</h1><p>{'word ' * 100}</p></main>", ""),
        ("guide/", f"<main><h1>Guide</h1><ul>{LINKS}</ul></main>", ""),
        (
            "todo/",
            "<main><h1>Guide</h1>\n<section>\n<h2>To do</h2>\n</section></main>",
            "has no text",
        ),
    ],
)
def test_pages_that_only_list_others_are_left_out(path: str, html: str, reason: str) -> None:
    page = find_content(parse_html(html.encode()), f"https://b.example/{path}")
    assert page.left_out.startswith(reason)
    assert bool(page.left_out) is bool(reason)


def test_a_heading_that_is_the_sites_logo_is_no_title() -> None:
    logo = "<body><h1><a href='/'><img alt='Tides Inc.' src='l.png'></a></h1>"
    assert text(f"{logo}<article><p>Twice a day.</p></article>") == "Twice a day."


def test_the_title_of_a_list_of_contents_is_removed_with_it() -> None:
    html = "<main><h1>T</h1>{}<ul><li><a href='#a'>A</a></ul><h2 id=a>A</h2><p>Word.</p></main>"
    assert text(html.format("<h2 class='no_toc text-delta'>Contents</h2> ")) == "T A Word."
    assert text(html.format("<h2>Contents</h2>")) == "T Contents A A Word."


def test_a_post_has_the_headline_beside_its_text() -> None:
    html = """<header><h1><a href=/>Tides</a></h1></header><article><h2 itemprop=headline>News</h2>
    <p class=by>Ada</p><div itemprop=articleBody><p>Some text.</p></div></article>"""
    assert text(html) == "News Some text."


def test_a_page_that_redirects_only_without_scripts_redirects() -> None:
    html = """<head><noscript><meta http-equiv="refresh" content="0; url=../a.html"></noscript>
    </head><body><p>You should have been redirected.</p>{}</body>"""
    page = parse_html(html.format("").encode())
    assert find_content(page).left_out == "redirects to another page"
    page = parse_html(html.format("<p>word </p>" * 200).encode())
    assert not find_content(page).left_out


def test_words_within_text_and_headings_are_no_blocks_that_repeat() -> None:
    def count(html: str) -> int:
        return len(list_blocks(parse_html(f"<main>{html}</main>".encode())).blocks)

    assert count("<p>We use <b>Tides</b> daily.</p>") == 1
    assert count("<h2>Examples</h2><div><h2><a id=a>Examples</a></h2></div>") == 0
    assert count("<div><h2>Get help</h2><p>Ask us.</p></div>") == 2


def test_what_is_not_printed_is_no_text() -> None:
    html = "<article><p>Some text.</p><div class='flex hx:print:hidden'><a href=b>Next</a></div>"
    assert text(html) == "Some text."


def test_what_is_only_printed_is_no_text() -> None:
    html = "<article><p class='hidden print:flex'>Docs</p><p class='flex print:block'>Some text."
    assert text(html) == "Some text."


EDIT = "<a href='https://github.com/o/r/edit/main/a.md'>Improve</a>"


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        (f"<div>{EDIT}</div>", "Word."),
        (f"<hr><div>Last updated: May 1</div> {EDIT}", "Word."),
        ("<p>Last modified by Ann</p>", "Word."),
        ("<div><a rel=prev href=a>Back</a><a rel=next href=b>Next</a></div>", "Word."),
        ("<div><a class=prev href=a>Back</a><a class=next href=b>Next</a></div>", "Word."),
        (f"<p>You may {EDIT} this.</p>", "Word. You may Improve this."),
        ("<p>Last updated files come first.</p>", "Word. Last updated files come first."),
    ],
)
def test_links_to_edit_a_page_and_its_date_are_no_text(html: str, expected: str) -> None:
    assert text(f"<article><p>Word.</p>{html}</article>") == expected


def test_a_block_of_links_is_a_menu() -> None:
    html = f"<article><h1>T</h1><ol>{LINKS}</ol><ul>{LINKS}<li>{'word ' * 9}</ul></article>"
    blocks, menus = list_blocks(parse_html(html.encode()))
    assert len(menus) == 1
    assert menus[0] in blocks
    element = find_content(parse_html(html.encode()), repeated=menus).element
    assert element is not None
    assert element.text().count("Page 0") == 1


@pytest.mark.parametrize(("html", "language"), [("<main lang=en>x", "en"), ("<main>x", "uk")])
def test_the_language_is_that_of_the_text(html: str, language: str) -> None:
    assert find_content(parse_html(f"<html lang=uk>{html}".encode())).language == language


def test_repeated_blocks_are_removed_with_those_within() -> None:
    html = "<main><p>Some text.</p><div><p>Ask us.</p><p>Or them.</p></div></main>"
    repeated = list_blocks(parse_html(html.replace("Some", "Other").encode())).blocks
    element = find_content(parse_html(html.encode()), repeated=repeated).element
    assert element is not None
    assert element.text().split() == ["Some", "text."]


def test_the_text_of_a_theme_without_article_or_main_is_its_densest_element() -> None:
    links = "".join(f"<a href=/{n}>Page {n}</a>" for n in range(20))
    html = f"""<body><div id=all><div id=hd><h1><a href=/>The site</a></h1>{links}</div><div id=bd>
    <div><div><h1>Title</h1><p>{"Prose. " * 40}</p></div></div><div id=side>{links}</div></div>
    <div id=ft>Previous, next</div></div>"""
    assert text(html) == f"Title {'Prose. ' * 40}".strip()


def test_a_card_beside_the_text_is_not_the_page() -> None:
    html = f"<main><h1>Title</h1><p>{'Prose. ' * 9}</p><article>A card.</article></main>"
    assert text(html).startswith("Title Prose.")
    assert text(html.replace("</main>", "<article>Another.</article></main>")).startswith("Title")


@pytest.mark.parametrize(
    "link",
    [
        '<a class="hash-link" href="#a" title="Direct link to A">x</a>',
        '<a href="#a">#</a>',
        '<a href="#a" aria-label="Permalink">¶</a>',
        '<a href="#a"><svg></svg></a>',
        '<a href="#a">Link to this heading</a>',
        '<a href="#a">Section titled “A”</a>',
    ],
)
def test_links_of_headings_to_themselves_are_removed(link: str) -> None:
    assert text(f"<article><h2 id=a>A {link}</h2><p>Text.</p></article>") == "A Text."


def test_a_heading_that_is_a_link_to_itself_is_kept() -> None:
    html = """<main><h2 id=a><a class=header href=#a>A</a></h2><p>See <a href=#a>A</a>,
    <a href=#b><img alt=B src=b></a> and issue <a href=https://b.example/2>#2</a>.</p></main>"""
    assert text(html) == "A See A , and issue #2 ."


def test_the_id_of_a_removed_link_is_the_headings() -> None:
    html = "<article><h2><a id=a class=anchor href=#a></a>A</h2><p>Text.</p></article>"
    element = find_content(parse_html(html.encode())).element
    assert element is not None
    assert [node.id for node in element.css("h2")] == ["a"]


def test_an_id_belongs_to_the_first_element_of_the_whole_page() -> None:
    html = "<nav id=a></nav><main><h1>T</h1><h2 id=a>A</h2>x<h2 id=b>B</h2>y</main>"
    element = find_content(parse_html(html.encode())).element
    assert element is not None
    assert [node.id for node in element.css("h2")] == [None, "b"]


@pytest.mark.parametrize(
    "end",
    [
        "<hr>",
        "<hr><p>Last updated: July 3, 2024</p>",
        "<p>Last updated on <b>2024-07-03</b> by <b>Ann</b></p><div></div>",
        "<div><hr><div>Last modified: 3 July</div><a href=/e>Improve this page</a></div>",
        "<p><a href=/e>Edit this page on GitHub</a></p>",
        "<div>Was this page helpful? Yes No</div><p>© 2024 The authors</p>",
        "<footer>Made with love</footer>",
        "<div><a rel=tag href=/tags/a/>a</a>, <a rel=tag href=/tags/b/>b</a></div>",
        "<div><a href=/tags/a/>#a</a><a href=/tags/b/>#b</a></div>",
    ],
)
def test_the_last_lines_that_are_no_text_are_removed(end: str) -> None:
    assert text(f"<article><h1>T</h1><p>Text.</p>{end}</article>") == "T Text."


@pytest.mark.parametrize(
    "end",
    [
        "<p>Updated in place.</p>",
        "<p>Last, edit this page.</p>",
        "<p>Made in 2024.</p>",
        "<h2 id=a>Copyright</h2>",
        "<pre>Last updated: 2024</pre>",
        "<div>New in <a href=https://git.example/releases/tag/v1>v1</a></div>",
        "<ul><li><a href=/plugins/tags/>Tags</a></ul>",
        "<blockquote>To be.<footer>Ann</footer></blockquote>",
        '<aside class="admonition tip">Tip</aside>',
        '<aside role="doc-footnote">One</aside>',
    ],
)
def test_last_lines_that_are_text_are_kept(end: str) -> None:
    assert text(f"<article><h1>T</h1><p>Text.</p>{end}</article>") != "T Text."


@pytest.mark.parametrize(
    ("path", "html", "reason"),
    [
        ("404.html", "<main><h1>Oh</h1><p>Nothing.</p></main>", "is the page of errors"),
        ("de/404/", "<main><h1>Oh</h1><p>Nothing.</p></main>", "is the page of errors"),
        ("a/", "<div>News!</div><main><h1>T</h1><h3>A page</h3></main>", "has no text"),
        ("templates/404/", f"<main><h1>404 pages</h1><p>{'word ' * 99}</p></main>", ""),
        ("x/", "<main><h1>404 - Page not found</h1><p>Sorry.</p></main>", "is the page of errors"),
        ("x/", f"<main><h1>404 errors</h1><p>{'word ' * 99}</p></main>", ""),
        ("x/", "<meta http-equiv=refresh content='0; URL=/y/'><main>Moved.</main>", "redirects"),
        ("x/", "<meta http-equiv=refresh content=300><main>Reloads itself.</main>", ""),
        ("x/", "<main><h1>Redirects</h1><p>A page redirects to another.</p></main>", ""),
        ("x/", "<meta name=robots content='noindex, follow'><main>Text.</main>", "asks not to be"),
        ("x/", "<meta name=robots content=index><main>Text.</main>", ""),
        ("x/", "<main><h1>Title</h1><nav>Menu</nav></main>", "has no text"),
        ("x/", "<frameset><frame src=a></frameset>", "has no text"),
        ("x/", "", "has no text"),
    ],
)
def test_pages_without_text_of_their_own_are_left_out(path: str, html: str, reason: str) -> None:
    page = find_content(parse_html(html.encode()), f"https://b.example/{path}")
    assert page.left_out.startswith(reason)
    assert bool(page.left_out) is bool(reason)


def test_a_page_of_vitepress_without_a_document_is_its_content() -> None:
    html = """<div class=Layout><header><a href=/ja/>Language</a></header>
    <div id=VPContent><h1>Team</h1><p>Some text.</p></div></div>"""
    assert text(html) == "Team Some text."


THEMES = re.split(
    "<!-- theme: (.+) -->", Path(__file__).with_name("themes.html").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("html", THEMES[2::2], ids=THEMES[1::2])
def test_the_text_of_each_theme(html: str) -> None:
    assert text(f"<!doctype html><title>T</title>{html}") == "T One two."


@pytest.mark.parametrize(
    ("unit", "after"),
    [
        ("<article>x</article>", ""),
        ("<p data-pagefind-body>x</p>", ""),
        ("<h1><a href=/>x</a></h1>", "<div class=vp-doc>x</div>"),
        ("<a href=/tags/x/>y</a>", ""),
        ("<h2><a href=#x id=x></a></h2>", "x"),
        ("<td><span class=lnt>1</span></td>", "x"),
        ("<b>Last updated on</b>", "x"),
        ("<p hidden>x", "<p>x"),
    ],
)
def test_hostile_pages_take_linear_time(unit: str, after: str) -> None:
    tree = parse_html(f"{'<div>' * 500}{unit * 10_000}{after}".encode())
    began = time.process_time()
    find_content(tree)
    assert time.process_time() - began < 2


def test_the_labels_that_show_and_hide_a_cell_are_no_text() -> None:
    html = """<article><p>A cell.</p><details><summary><p class="collapsed title">Show</p>
    <p class="expanded title">Hide</p></summary><pre>x = 1</pre></details></article>"""
    assert text(html) == "A cell. x = 1"


def test_links_before_the_title_to_the_pages_above_it_are_removed() -> None:
    crumbs = "<div><a href=/>Docs</a> › <a href=/g>Guide</a> › <span>T</span></div>"
    assert text(f"<main>{crumbs}<div><h1>T</h1><p>Text.</p></div></main>") == "T Text."
    words = "<p>Moved from <a href=/>here</a>.</p>"
    assert text(f"<main>{words}<h1>T</h1><p>Text.</p></main>") == "Moved from here . T Text."


def test_a_form_around_the_text_is_kept() -> None:
    html = "<body><form><h1>T</h1><p>Text.</p><form><input></form><button>Send</button></form>"
    assert text(html) == "T Text."
    assert text("<main><h1>T</h1><p>Text.</p><form>Name: <input></form></main>") == "T Text."


def test_a_path_that_ends_with_a_short_title_is_no_text() -> None:
    html = """<main><div><a href=/>Guide</a><span>Cards</span></div><h1>Cards and lists</h1>
    <p>Some text.</p></main>"""
    assert text(html) == "Cards and lists Some text."


def test_nextra_has_its_code_and_neither_its_path_nor_titles_of_tabs() -> None:
    html = """<article><div class=nextra-breadcrumb><a href=/>Docs</a><span>Guide</span></div>
    <main data-pagefind-body><h1>Tabs</h1><p>Some text.</p><div data-pagefind-ignore=all
    class="nextra-code x:relative"><pre>x = 1</pre></div><div data-pagefind-ignore>No.</div>
    <div role=tabpanel><h3 id=a style="visibility:hidden;width:0">A</h3>One</div></main>
    <div class=x:print:hidden><a href=b>Next page</a></div></article>"""
    assert text(html) == "Tabs Some text. x = 1 One"


def test_a_link_below_a_teaser_is_no_text() -> None:
    html = """<main><h1>News</h1><p>Tides are late.</p><p><a href=/tides>Read more →</a></p>
    <p>To read more, see <a href=/moon>the moon</a> → or ask.</p></main>"""
    assert text(html) == "News Tides are late. To read more, see the moon → or ask."
