import re
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import markdown_rules as markdown_inline
from lib.markdown_page import Flavour
from lib.markdown_rules import html_text, inline_text, parser_for
from tests.pages import FLAVOURS


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("<td>a</td><td>b</td>", "a b"),
        ("<style>x</style>a<script>y", "a"),
        ('<img alt="A &amp; B" src="x">', "A & B"),
        ("1 < 2", "1 < 2"),
    ],
)
def test_html(source: str, expected: str) -> None:
    assert html_text(source) == expected


LINKS = {"A": {"title": "", "href": "x"}}


def check_shortcut(source: str, flavour: Flavour) -> None:
    parser = parser_for(flavour)
    for links in ({}, LINKS):
        env = {"references": links}
        quick = inline_text(parser, env, source)
        with patch.object(markdown_inline, "_MARKUP", re.compile("")):
            assert quick == inline_text(parser, env, source)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from("a|b |_|*|[|]|(|)|&|amp;|#|!|\n| |\t|é|😀|漢|^|-".split("|"))),
    st.sampled_from(FLAVOURS),
)
def test_prose_that_needs_no_rules_reads_as_the_rules_would_read_it(
    parts: list[str], flavour: Flavour
) -> None:
    check_shortcut("".join(parts), flavour)


@pytest.mark.parametrize(
    "source",
    r"_a_/a (_b_)/a_b_ c_/a_b_c/__a__b/[A]/[a][A]/[a](b)/![a](b)/[1]/&amp;/&#65;/5 & 6/*a*/~~a~~/"
    "`a`/<br>/{.a}/$5!/a \n  b/a\n\tb/a\nb".split("/"),
)
def test_markup_is_found(source: str) -> None:
    check_shortcut(source, "commonmark")
