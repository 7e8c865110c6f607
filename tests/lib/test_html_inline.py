import pytest

from lib.html_inline import Inline, at_line_starts, code_span, heading_text


def test_marks_stand_where_markdown_reads_them() -> None:
    inline = Inline()
    inline.text("a ")
    inline.open("**", "**")
    inline.text(" b ")
    inline.close()
    inline.text("c")
    inline.open("*", "*")
    inline.text("(d)")
    inline.close()
    inline.text("e")
    assert inline.finish() == "a **b** c(d)e"


def test_elements_go_on_in_the_next_paragraph_except_links() -> None:
    inline = Inline()
    inline.open("**", "**")
    inline.open("[", "](/x)", repeat=False)
    inline.text("a")
    assert inline.finish() == "**[a](/x)**"
    inline.text("b")
    inline.close()
    inline.close()
    inline.text("c")
    assert inline.finish() == "**b**c"


@pytest.mark.parametrize(
    ("code", "markdown"),
    [("a", "`a`"), ("`", "`` ` ``"), ("a``b", "```a``b```")],
)
def test_code_spans(code: str, markdown: str) -> None:
    assert code_span(code) == markdown


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("C #", "C \\#"),
        ("C#", "C#"),
        ("A {#a}", "A &#123;#a}"),
        ("a}", "a}"),
        ("{a} {b}", "{a} {b}"),
        ("{ .a }", "&#123; .a }"),
        ("#", "\\#"),
    ],
)
def test_headings_keep_their_end(text: str, markdown: str) -> None:
    assert heading_text(text) == markdown


def test_line_starts() -> None:
    assert at_line_starts("1. a  \n- b  \nc") == "1\\. a  \n\\- b  \nc"
