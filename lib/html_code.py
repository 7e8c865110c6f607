"""Read code from the HTML of highlighters."""

import re
from typing import Final, NamedTuple

from selectolax.lexbor import LexborNode

_LANGUAGE: Final = re.compile(r"(?:language|lang|highlight|src|brush)-([\w+#.-]{1,40})")
_NO_LANGUAGE: Final = frozenset({"none", "default", "text-only", "source", "wrapper"})
_NUMBERS: Final = (
    ".linenos, .lineno, .ln, .lnt, .line-number, .line-numbers-rows, .line-numbers, .gutter, "
    ".hljs-ln-numbers, .linenodiv, .src-line-numbers, button, script, style, .copy, .copybtn"
)


class _Code(NamedTuple):
    text: str
    language: str


def read_code(node: LexborNode) -> _Code:
    """Read a `pre`, without the numbers of its lines."""
    for number in node.css(_NUMBERS):
        number.decompose()
    return _Code(_text(node), _language(node))


def _text(node: LexborNode) -> str:
    for each in node.css("br"):
        each.replace_with("\n")
    text = node.text().replace("\r\n", "\n").replace("\r", "\n")
    return text.strip("\n")


def _language(node: LexborNode) -> str:
    inner = node.css_first("code")
    around: LexborNode | None = node
    places = [inner] if inner is not None else []
    for _ in range(4):
        if around is None:
            break
        places.append(around)
        around = around.parent
    for place in places:
        attributes = place.attributes
        for name in ("data-lang", "data-language"):
            if value := attributes.get(name):
                return value.lower()
        for name in (attributes.get("class") or "").split():
            if (found := _LANGUAGE.fullmatch(name)) and found[1] not in _NO_LANGUAGE:
                return found[1].lower()
    return ""
