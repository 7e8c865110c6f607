"""HTML and JSX tags with their attributes, and what a reader sees of them."""

import html
import re
from collections.abc import MutableMapping
from typing import Any, Final, NamedTuple

CLOSING_NAMES: Final = re.compile(r"</([A-Za-z][\w.:-]*)")
_TAG_START: Final = re.compile(r"<(/?)([A-Za-z][\w.:-]*)?")
_ATTRIBUTE: Final = re.compile(
    r"""([A-Za-z_$:@#][\w.:@\[\]-]*)(?:\s*=\s*("[^"]*"|'[^']*'|[^\s"'=<>`{]+|(?=\{)))?"""
)
_SPACE: Final = re.compile(r"\s*")
# The marks of JavaScript that open and close, with the strings and comments where they do not.
JS: Final = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`|[\[\](){}]""",
    re.DOTALL,
)


def words(names: str) -> frozenset[str]:
    """A set of names, written as a sentence."""
    return frozenset(names.split())


_MAX_TAG: Final = 20_000
MAX_FAILURES: Final = 64
LABELS: Final = frozenset(
    {"label", "title", "alt", "alt-text", "caption", "description", "heading", "question", "tab"}
)
_VOID: Final = frozenset({"br", "hr", "img", "input", "link", "meta", "area", "base", "col", "wbr"})
_HTML: Final = _VOID | words(
    "abbr address article aside audio bdi bdo blockquote body button canvas caption center cite "
    "code colgroup data datalist dd del details dfn dialog div dl dt em embed fieldset figcaption "
    "figure font footer form h1 h2 h3 h4 h5 h6 head header hgroup html iframe ins kbd label legend "
    "li main map mark menu meter nav noscript object ol optgroup option output p param picture pre "
    "progress rp rt ruby samp script search section select small source span strong style sub "
    "summary sup svg table tbody td template textarea tfoot th thead time title tr track tt ul var "
    "video"
)


class _AnyName:
    """Stands for the names closed on a page where the page is not at hand."""

    def __contains__(self, name: object) -> bool:
        return True


ANY_NAME: Final = _AnyName()


class _Tag(NamedTuple):
    name: str
    end: int
    closing: bool
    labels: tuple[str, ...]
    """What its attributes show a reader: a tab's label, a title, an image's alternative."""


def scan_braces(src: str, pos: int, env: MutableMapping[str, Any]) -> int:
    """The offset after the brace that closes the one at `pos`; -1 if none does."""
    if env.get("open_braces", 0) > MAX_FAILURES:
        return -1
    depth = 0
    for found in JS.finditer(src, pos, pos + _MAX_TAG):
        mark = found[0]
        if mark in "([{":
            depth += 1
        elif mark in ")]}":
            depth -= 1
            if depth <= 0:
                return found.end()
    # Each failure costs a scan of `_MAX_TAG` characters: a page full of them is given up on.
    env["open_braces"] = env.get("open_braces", 0) + 1
    return -1


def scan_tag(src: str, pos: int, env: MutableMapping[str, Any]) -> _Tag | None:
    """The JSX or HTML tag at `pos`; None where the `<` is only a `<`."""
    opening = _TAG_START.match(src, pos)
    assert opening is not None
    closing, name = opening[1] == "/", opening[2] or ""
    at = opening.end()
    limit = min(len(src), pos + _MAX_TAG)
    labels: list[str] = []
    while True:
        after = _SPACE.match(src, at, limit)
        spaced = after is not None and after.end() > at
        at = after.end() if after is not None else at
        if src.startswith(">", at):
            end, closed = at + 1, False
            break
        if src.startswith("/>", at):
            end, closed = at + 2, True
            break
        if src.startswith("{", at):
            at = scan_braces(src, at, env)
            if at < 0:
                return None
            continue
        attribute = _ATTRIBUTE.match(src, at, limit)
        if attribute is None or not spaced or closing or not name:
            return None
        at = attribute.end()
        key, value = attribute[1].lower(), attribute[2]
        if value == "":
            end_of_value = scan_braces(src, at, env)
            if end_of_value < 0:
                return None
            value = src[at:end_of_value]
            at = end_of_value
        if key in LABELS and value:
            labels.append(literal(value))
        elif key == "values" and value:
            labels.extend(literal(label) for label in _LABEL_PROPERTY.findall(value))
    if not _is_tag(src, pos, name, closing, closed, env):
        return None
    return _Tag(name, end, closing, tuple(label for label in labels if label))


_LABEL_PROPERTY: Final = re.compile(r"""\blabel:\s*("[^"]*"|'[^']*')""")


def _is_tag(
    src: str, pos: int, name: str, closing: bool, closed: bool, env: MutableMapping[str, Any]
) -> bool:
    """Tell a tag from a generic (`Vec<T>`), a placeholder (`<name>`) or a comparison."""
    if not name or closed or closing or name in _VOID:
        return True
    if name.lower() in _HTML:
        return True
    return name in env["closed"]


def literal(value: str) -> str:
    """The text of an attribute's value or an expression if it is a plain string, else ''."""
    value = value.strip()
    if value.startswith("{") and value.endswith("}"):
        value = value[1:-1].strip()
        if value[:1] not in "\"'`" or len(value) < 2 or value[-1] != value[0]:
            return ""
        if value[0] in value[1:-1].replace("\\" + value[0], ""):
            return ""  # 'a' + b + 'c'
        return value[1:-1]
    if len(value) >= 2 and value[0] in "\"'" and value[-1] == value[0]:
        value = value[1:-1]
    return html.unescape(value)


_PLAIN_EXPRESSION: Final = re.compile(r"\{[\w .\-]{1,60}\}")
COMMENT_EXPRESSION: Final = re.compile(r"\{\s*(?:/\*.*?\*/\s*)*\}", re.DOTALL)


def expression_text(expression: str) -> str:
    """What to show for `{…}`: a string's text; a bare name as it stands, for in pages that were
    never compiled it is a placeholder the author wrote; nothing for any other code."""
    if _PLAIN_EXPRESSION.fullmatch(expression):
        return expression
    return literal(expression)


_RAW_HTML: Final = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style)\b.*?(?:</\1\s*>|\Z)|<[?!].*?>", re.DOTALL | re.IGNORECASE
)
_BLOCK_TAGS: Final = words(
    "p div br hr li ul ol dl dt dd tr table thead tbody h1 h2 h3 h4 h5 h6 details summary section "
    "figure figcaption pre blockquote"
)


def html_text(content: str) -> str:
    """What a browser would show of a piece of HTML."""
    content = _RAW_HTML.sub("", content)
    env: dict[str, Any] = {"closed": ANY_NAME}
    parts: list[str] = []
    at = 0
    while True:
        opening = content.find("<", at)
        if opening < 0:
            parts.append(content[at:])
            break
        parts.append(content[at:opening])
        tag = scan_tag(content, opening, env)
        if tag is None:
            parts.append("<")
            at = opening + 1
            continue
        name = tag.name.lower()
        if name in ("td", "th") and not tag.closing:
            parts.append(" ")
        elif name in _BLOCK_TAGS:
            parts.append("\n")
        parts.extend(tag.labels)
        at = tag.end
    text = html.unescape("".join(parts))
    return "\n".join(line for line in map(str.strip, text.splitlines()) if line)
