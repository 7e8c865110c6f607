"""Read code from the HTML of highlighters."""

import re
from typing import Final, NamedTuple

from selectolax.lexbor import LexborNode

_LANGUAGE: Final = re.compile(r"(?:language-|lang-|highlight-(?:source-)?|brush:)([\w+#.-]{1,40})")
_ALIASES: Final = {
    **dict.fromkeys(("ipython", "ipython2", "ipython3", "python3"), "python"),
    **dict.fromkeys("none default plaintext myst-ansi".split(), ""),
}
_HIGHLIGHTERS: Final = frozenset({"hljs", "sourceCode", "rust"})
"""Classes beside the name of the language, or that are one."""
_NO_TEXT: Final = (
    ".linenos, .lineno, .ln, .lnt, .line-number, .line-numbers-rows, .linenodiv, .gutter, "
    ".rouge-gutter, .hljs-ln-numbers, .src-line-numbers, button, script, style, "
    '.twoslash-popup-container, .twoslash-popup-code, span[style*="user-select"]'
)
_LINES: Final = "span.line, span[data-line], .token-line"
_BLOCKS: Final = frozenset({"div", "li", "p", "tr"})
_AROUND: Final = frozenset({"code", "div", "figure", "pre", "span", "table", "tbody", "td", "tr"})
_MAX_AROUND: Final = 9


class _Code(NamedTuple):
    text: str
    language: str
    title: str


def read_code(node: LexborNode) -> _Code:
    """Read a `pre`, without the numbers of its lines."""
    for each in node.css(_NO_TEXT):
        # a prompt cannot be selected either, but is text
        if "style" not in each.attributes or each.text().strip().isdigit():
            each.decompose()
    text = _text(node).replace("\r\n", "\n").replace("\r", "\n").replace("\xa0", " ")
    title = node.attributes.get("data-filename") or node.attributes.get("data-title") or ""
    return _Code(text.strip("\n"), _language(node), title)


def _text(node: LexborNode) -> str:
    if node.css_first("br, div, li, p, tr") is not None:
        return _text_of_blocks(node)
    text = node.text()
    if "\n" not in text and len(lines := node.css(_LINES)) > 1:
        return "\n".join(line.text() for line in lines)
    return text


def _text_of_blocks(root: LexborNode) -> str:
    """Return the text with a line break after each `br` and block."""
    parts: list[str] = []
    at_start = True
    stack = [(root.iter(include_text=True), False, 0)]
    while stack:
        children, is_block, before = stack[-1]
        for node in children:
            if node.is_text_node:
                if text := node.text_content or "":
                    parts.append(text)
                    at_start = text.endswith("\n")
                continue
            if node.tag == "br":
                parts.append("\n")
                at_start = True
                continue
            # a div in a span is a mark on a word, as Twoslash makes it
            begins = node.tag in _BLOCKS and not (node.parent and node.parent.tag == "span")
            if begins and not at_start:
                parts.append("\n")
                at_start = True
            stack.append((node.iter(include_text=True), begins, len(parts)))
            break
        else:
            stack.pop()
            if is_block and not (at_start and len(parts) > before):
                parts.append("\n")
                at_start = True
    return "".join(parts)


def _language(node: LexborNode) -> str:
    inner = node.css_first("code")
    around: LexborNode | None = node
    places = [inner] if inner is not None else []
    while around is not None and around.tag in _AROUND and len(places) < _MAX_AROUND:
        places.append(around)
        around = around.parent
    for place in places:
        attributes = place.attributes
        classes = (attributes.get("class") or "").split()
        name = attributes.get("data-lang") or attributes.get("data-language")
        if not name and place.tag == "pre":
            name = attributes.get("lang")
        if not name:
            found = next(filter(None, map(_LANGUAGE.fullmatch, classes)), None)
            name = found[1] if found else ""
        if not name and not _HIGHLIGHTERS.isdisjoint(classes) and place.tag in ("code", "pre"):
            name = next((each for each in classes if each not in ("hljs", "sourceCode")), "")
        if name:
            name = name.lower()
            return _ALIASES.get(name, name)
    return ""
