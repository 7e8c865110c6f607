from selectolax.lexbor import LexborHTMLParser

from lib.html_code import read_code


def test_reads_code_without_the_numbers_of_its_lines() -> None:
    html = '<pre class="language-py"><code><span class="lineno">1</span>a<br>  b\n</code></pre>'
    node = LexborHTMLParser(html).css_first("pre")
    assert node is not None
    assert read_code(node) == ("a\n  b", "py", "")


def test_a_block_within_a_word_begins_no_line() -> None:
    html = "<pre><code><span>a <div>b</div></span>(c)\n</code></pre>"
    node = LexborHTMLParser(html).css_first("pre")
    assert node is not None
    assert read_code(node).text == "a b(c)"
