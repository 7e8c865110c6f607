"""Read the TeX of formulas from the HTML of KaTeX, MathJax and Sphinx."""

from typing import Final

from selectolax.lexbor import LexborNode

_SOURCE: Final = 'annotation[encoding="application/x-tex"], script[type^="math/tex"]'
_DISPLAY: Final = (
    'math[display="block"], mjx-container[display="true"], .katex-display, [type*="mode=display"]'
)
_DELIMITERS: Final = (("\\[", "\\]"), ("\\(", "\\)"), ("$$", "$$"), ("$", "$"))


def read_tex(node: LexborNode) -> str:
    """Return the TeX of a formula; empty if only its drawing is known."""
    source = node.css_first(_SOURCE)
    if source is not None:
        return _lines(source.text())
    number = node.css_first(".eqno")
    tag = ""
    if number is not None:
        tag = f"\\tag{{{number.text().strip(' ()¶')}}}"
        number.decompose()
    text = node.text().strip()
    for begin, end in _DELIMITERS:
        if text.startswith(begin) and text.endswith(end) and len(text) > len(begin + end):
            return _lines(text[len(begin) : -len(end)] + tag)
    return _lines(text + tag) if text.startswith("\\begin{") else ""


_MARKS: Final = {"msup": "^", "mover": "^", "msub": "_", "munder": "_", "mfrac": "/"} | (
    dict.fromkeys(("msubsup", "munderover"), "_^")
)


def mark_scripts(node: LexborNode) -> None:
    """Put the marks of TeX between the parts of powers, indices and fractions in MathML."""
    for each in node.css(", ".join(_MARKS)):
        parts = list(each.iter())
        for part, mark in zip(parts[1:], _MARKS[each.tag or ""], strict=False):
            part.insert_before(mark)


def is_display(node: LexborNode) -> bool:
    """Tell whether a formula stands apart from the text."""
    classes = (node.attributes.get("class") or "").split()
    return (
        node.tag == "div"
        or "katex-display" in classes
        or node.css_matches(_DISPLAY)
        or node.css_first(_DISPLAY) is not None
    )


def _lines(tex: str) -> str:
    return "\n".join(filter(str.strip, tex.strip().splitlines()))
