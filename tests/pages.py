"""Markdown for tests of parsing and chunking, and a token count that is easy to verify."""

import re

from hypothesis import strategies as st

from lib.markdown_page import Flavour

FLAVOURS: list[Flavour] = ["commonmark", "mdx", "myst", "python", "liquid", "jinja", "hugo"]

# Fragments that open, close or imitate syntax; joined at random they reach unusual cases quickly.
PIECES = [
    *["\n", "\r\n", "\r", "\n\n", "  ", "    ", "\t", "\0", "\ufeff", "\u2028", "\x0b", "\x85"],
    *["# ", "## a", "===", "---", "+++", "> ", "- ", "1. ", "```", "```py", "~~~", "$$", "|a|b|"],
    *["|-|-|", "<", ">", "<T>", "<Tab label='x'>", "</Tab>", "<br/>", "<!--", "-->", "{", "}"],
    *["{/*", "*/}", "{#id}", ":::", ":::note T", "!!! tip", '=== "t"', "```{note}", "(a)=", "% c"],
    *["import a from 'b'", "export const x = [", "[a]: b", "[^1]: c", "[x](y)", "![i](j)", "`c`"],
    *["{% comment %}", "{% endcomment %}", "{% raw %}", "{% endraw %}", "{{ x }}", "{# c #}"],
    *["{{< tab header='x' >}}", "{{< /tab >}}", "{{% highlight py %}}", "{{% /highlight %}}"],
    *["{% if false %}", "{% else %}", "{% endif %}", "{{< comment >}}", "{{< /comment >}}"],
    *["**b**", "_e_", "\\", "&amp;", "word", "漢字。", "नमस्ते।", "👩‍🚀", "title: [", "a: b", ": d"],
]
texts = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=30).map("".join))

SENTENCE = "The quick brown fox jumps over the lazy dog near the river bank. "


def words(text: str) -> int:
    """Count words and marks: easy to verify by hand."""
    return len(re.findall(r"\w+|[^\w\s]", text))
