import time

import pytest
from selectolax.lexbor import LexborHTMLParser

from lib.documents import DocumentError
from lib.html_tree import parse_html


def text(tree: LexborHTMLParser) -> str:
    assert tree.body is not None
    return tree.body.text()


def depth(tree: LexborHTMLParser) -> int:
    levels: dict[int, int] = {}
    for node in tree.css("*"):
        parent = node.parent
        levels[node.mem_id] = 1 + (levels.get(parent.mem_id, 0) if parent else 0)
    return max(levels.values())


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("<meta charset=utf-8><p>é".encode(), "é"),
        ("<p>é".encode(), "é"),
        (b"<p>\x93\xe9\x94", "“é”"),
        ("<p>é日".encode("utf-16"), "é日"),
        ("\ufeff<p>é日".encode("utf-16-be"), "é日"),
        ("\ufeff<meta charset=windows-1252><p>é".encode(), "é"),
        ('<meta charset="shift_jis"><p>日本'.encode("shift_jis"), "日本"),
        (b'<meta content="text/html; charset=koi8-r" http-equiv=content-type><p>\xf1', "Я"),
        (b"<meta charset=ISO-8859-1><p>\x93\xe9\x94", "“é”"),
        ("<meta charset=unheard-of><p>é".encode(), "é"),
        (f"<!--{'-' * 1_100}--><meta charset=koi8-r><p>é".encode(), "é"),
        (b"<meta charset=utf-8><p>a\xffb", "a\ufffdb"),
    ],
)
def test_the_encoding_is_the_one_browsers_choose(data: bytes, expected: str) -> None:
    assert text(parse_html(data)) == expected


def numbered(tag: str, count: int) -> str:
    return "".join(f"<{tag} a{number}=1>" for number in range(count))


def attributes(count: int, value: str = "") -> str:
    return "".join(f" a{number}{value}" for number in range(count))


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 50_000 + "x",
        "<div>" * 50_000 + "x" + "</div>" * 50_000,
        "<ul><li>" * 20_000 + "x",
        "<ul><li>" * 2_000 + "x",
        "<dd><li>" * 20_000 + "x",
        "<font><div>" * 20_000 + "x",
        "<b><div></b>" * 20_000 + "x",
        numbered("b", 5_000) + "x",
        numbered("b", 50_000) + "x",
        "<p><b></p>" * 3_000 + "x",
        "<a" + attributes(200_000) + ">x</a>",
        "<a" + attributes(200_000, '=">"') + ">x</a>",
        numbered("body", 50_000) + "x",
        "<svg>" + "<g>" * 20_000 + "</svg>x",
        "<svg><p>" * 20_000 + "x",
        "<table><td>" * 20_000 + "x",
        "<table>" + "<div></div>" * 20_000 + "x",
        "<select>" + "<option>" * 20_000 + "</select>x",
        "<template>" * 20_000 + "</template>" * 20_000 + "x",
        "<!--" + "-" * 1_000_000 + "-->x",
        "<script>" + "<!--<script>" * 20_000 + "</script>" * 2 + "x",
        '<a b="' * 20_000 + '">x',
        "</b></p></div>" * 20_000 + "x",
    ],
    ids=lambda html: html[:20],
)
def test_hostile_files_take_linear_time_and_little_depth(html: str) -> None:
    began = time.process_time()
    tree = parse_html(html.encode())
    assert time.process_time() - began < 2
    assert text(tree).endswith("x")
    assert depth(tree) < 2_500


@pytest.mark.parametrize(
    ("html", "problem"),
    [
        ("<b>" * 400_001, "more than 400,000 tags"),
        ("<b>" * 10 + "<p>x" * 50_000, "more than 600,000 elements"),
    ],
)
def test_a_file_that_needs_too_much_memory_is_refused(html: str, problem: str) -> None:
    with pytest.raises(DocumentError, match=problem):
        parse_html(html.encode())


MESSY = """<!doctype html><html lang=en><head><title>A <b> title</title>
<style>a > b {}</style><script>if (a < b) document.write("<p>")</script></head><body class="x y">
<!-- a comment with <div> -->
<p>One<p>Two <b>bold <i>both</i> text</b><ul><li>a<li>b <a href="?a<b">c
</a><ul><li>d</ul></ul><table><tr><td>1<td>2</div><tr><td>3</table><div><span>e</div><dl><dt>f<dd>g
<dt>h</dl><svg viewBox="0 0 1 1"><title>t</title><path d="M0"/><g/></svg><textarea><b></textarea>
<select><option>i<option>j</select><br/><img src=a>1 < 2 &lt; 3<h2 id=k>l</h2><a name=m>n<p>o</p>"""


def test_a_file_with_many_tags_keeps_its_structure() -> None:
    def shape(tree: LexborHTMLParser) -> list[tuple[str | None, str | None]]:
        return [(node.tag, node.id) for node in tree.css("*")]

    few, many = parse_html(MESSY.encode()), parse_html(f"{MESSY}{'<br>' * 10_000}".encode())
    assert shape(many)[: len(shape(few))] == shape(few)
    assert " ".join(text(many).split()) == " ".join(text(few).split())


def test_tags_in_scripts_and_comments_are_no_tags() -> None:
    html = f"<script>'{'<div>' * 20_000}'</script><!--{'<div>' * 20_000}--><p>x"
    tree = parse_html(html.encode())
    assert not tree.css("div")
    assert text(tree).endswith("x")
