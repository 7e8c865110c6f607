import pytest
from selectolax.lexbor import LexborHTMLParser

from lib.html_math import is_display, read_tex


@pytest.mark.parametrize(
    ("html", "tex", "display"),
    [
        ('<span class="math">\\(x\\)</span>', "x", False),
        ('<span class="math">$x$</span>', "x", False),
        ('<div class="math"><span class="eqno">(2)<a>¶</a></span>\\[x\\]</div>', "x\\tag{2}", True),
        (
            '<p class="katex-display"><annotation encoding="application/x-tex">x</annotation>',
            "x",
            True,
        ),
        ('<script type="math/tex; mode=display">x</script>', "x", True),
        ("<math><mi>x</mi></math>", "", False),
        ("<span>\\begin{align}x\\end{align}</span>", "\\begin{align}x\\end{align}", False),
    ],
)
def test_reads_tex(html: str, tex: str, display: bool) -> None:
    body = LexborHTMLParser(html).body
    assert body is not None
    node = body.child or LexborHTMLParser(html).css_first("script")
    assert node is not None
    assert (read_tex(node), is_display(node)) == (tex, display)
