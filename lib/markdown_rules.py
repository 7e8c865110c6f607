"""markdown-it parsers for CommonMark, MDX and MyST, with rules for the syntax of site generators.

`parser_for` adds `:::` containers, `!!!` admonitions and `===` tabs with indented bodies, `$$`
formulas, MDX (imports, JSX, expressions, comments) and MyST directives, targets and roles.
`inline_text` and `html_text` return plain text as displayed.

`:::` containers and JSX are read flat: each line that opens or closes one is a block, and the
lines between are ordinary Markdown. So a container or tag that is never closed does no harm.
"""

import re
from collections.abc import Iterable, MutableMapping
from functools import cache
from typing import Any, Final, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.common.html_blocks import block_names
from markdown_it.ruler import RuleOptionsType, Ruler
from markdown_it.rules_block import StateBlock, html_block
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from mdit_py_plugins.deflist import deflist_plugin
from mdit_py_plugins.footnote.index import footnote_def

from lib.markdown_page import CODE, FORMULA, Flavour, line_of, mark_verbatim, push_line
from lib.sanitizer_syntax import HTML_NAMES, unescape

CLOSING_NAMES: Final = re.compile(r"</([A-Za-z][\w.:-]*)")
_TAG_START: Final = re.compile(r"<(/?)([A-Za-z][\w.:-]*)?")
_ATTRIBUTE: Final = re.compile(
    r"""([A-Za-z_$:@#][\w.:@\[\]-]*)(?:\s*=\s*("[^"]*"|'[^']*'|[^\s"'=<>`{]+|(?=\{)))?"""
)
_SPACE: Final = re.compile(r"\s*")
# Brackets of JavaScript, and the strings and comments in which they do not count.
_JS: Final = re.compile(
    r"""//[^\n]*+|/\*(?:[^*]++|\*(?!/))*+(?:\*/|\Z)|"(?:\\.|[^"\\\n])*+"|'(?:\\.|[^'\\\n])*+'"""
    r"""|`(?:\\.|[^`\\])*+`|\\.|[\[\](){}]""",
    re.DOTALL,
)


def _words(names: str) -> frozenset[str]:
    """Return the names in a space-separated string."""
    return frozenset(names.split())


MAX_NESTING: Final = 24
"""Quotes and containers; lists count twice. The rest reads as plain text."""
_MAX_TAG: Final = 20_000
_LABELS: Final = frozenset(
    {"label", "title", "alt", "alt-text", "caption", "description", "heading", "question", "tab"}
)
# Pages use these names as placeholders and type parameters: `<a>`, `<math>`.
_HTML: Final = HTML_NAMES - _words(
    "a acronym applet b basefont big dir frame frameset i keygen marquee math noframes q s slot "
    "strike u"
)


class _Tag(NamedTuple):
    name: str
    end: int
    closing: bool
    empty: bool
    """Whether it closes itself."""
    labels: tuple[str, ...]
    """Displayed attribute values: label of a tab, title, alternative text."""


def _scan_braces(src: str, pos: int, env: MutableMapping[str, Any]) -> int:
    """Return the offset after the brace that closes the one at `pos`, or -1."""
    depth = 0
    end = min(len(src), pos + min(_MAX_TAG, _left(src, env)))
    for found in _JS.finditer(src, pos, end):
        mark = found[0]
        if mark in "([{":
            depth += 1
        elif mark in ")]}":
            depth -= 1
            if depth <= 0:
                env["scan"] -= found.end() - pos
                return found.end()
    env["scan"] -= max(end - pos, 0)
    return -1


def report_limit(env: MutableMapping[str, Any], limit: str) -> None:
    """Record a limit, so that `parse_page` reports that text beyond it is read as plain text."""
    env.setdefault("limits", {})[limit] = None


def scan_limit(src: str) -> int:
    """Characters of tags and expressions to scan: some times the text, as an unclosed one is
    scanned again from each brace inside it."""
    return 12 * len(src) + 2_000


def _left(src: str, env: MutableMapping[str, Any]) -> int:
    left = int(env.setdefault("scan", scan_limit(src)))
    if left <= 0:
        report_limit(env, "too many unclosed tags or braces")
    return max(0, left)


def _scan_tag(src: str, pos: int, env: MutableMapping[str, Any]) -> _Tag | None:
    """Return the JSX or HTML tag at `pos`, or None if the `<` opens no tag."""
    tag, end = _tag_at(src, pos, env)
    env["scan"] = _left(src, env) - (end - pos)
    return tag


def _tag_at(src: str, pos: int, env: MutableMapping[str, Any]) -> tuple[_Tag | None, int]:
    """Return the tag at `pos` and the offset up to which it was scanned.

    Reads labels and JSX expressions from a complete page. `sanitizer_syntax.find_tag` reads partial
    text instead, as browsers and Markdown renderers do.
    """
    opening = _TAG_START.match(src, pos)
    assert opening is not None
    closing, name = opening[1] == "/", opening[2] or ""
    at = opening.end()
    limit = min(len(src), pos + min(_MAX_TAG, _left(src, env)))
    labels: list[str] = []
    while True:
        after = _SPACE.match(src, at, limit)
        spaced = after is not None and after.end() > at
        at = after.end() if after is not None else at
        closed = src.startswith("/>", at)
        if closed or src.startswith(">", at):
            end = at + 1 + closed
            break
        if src.startswith("{", at):
            end_of_value = _scan_braces(src, at, env)
            if end_of_value < 0:
                return None, at
            at = end_of_value
            continue
        attribute = _ATTRIBUTE.match(src, at, limit)
        if attribute is None or not spaced or closing or not name:
            return None, at
        at = attribute.end()
        key, value = attribute[1].lower(), attribute[2]
        if value == "":
            end_of_value = _scan_braces(src, at, env)
            if end_of_value < 0:
                return None, at
            value = src[at:end_of_value]
            at = end_of_value
        if key in _LABELS and value:
            labels.append(_literal(value))
        elif key == "values" and value:
            labels.extend(_literal(label) for label in _LABEL_PROPERTY.findall(value))
    # a generic (`Vec<T>`), a placeholder (`<name>`) or a comparison has no closing tag; in a part
    # of a page, whose closing tags are not known, any name is a tag
    known = not name or closed or closing or name.lower() in _HTML
    if not known and name not in env.get("closed", (name,)):
        return None, end
    return _Tag(name, end, closing, closed, tuple(label for label in labels if label)), end


_LABEL_PROPERTY: Final = re.compile(r"""\blabel:\s*("[^"]*"|'[^']*')""")


def _literal(value: str) -> str:
    """Return the text of an attribute value or expression that is a plain string, else ''."""
    value = value.strip()
    if value.startswith("{") and value.endswith("}"):
        value = value[1:-1].strip()
        if value[:1] not in "\"'`" or len(value) < 2 or value[-1] != value[0]:
            return ""
        if value[0] in value[1:-1].replace("\\" + value[0], ""):
            return ""  # an expression such as 'a' + b + 'c'
        return value[1:-1]
    if len(value) >= 2 and value[0] in "\"'" and value[-1] == value[0]:
        value = value[1:-1]
    return unescape(value)


_PLAIN_EXPRESSION: Final = re.compile(r"\{[\w .\-]{1,60}\}")
_COMMENT_EXPRESSION: Final = re.compile(r"\{\s*+(?:/\*(?:[^*]++|\*(?!/))*+\*/\s*+)*+\}")


def _expression_text(expression: str) -> str:
    """Return the displayed text of `{…}`.

    A string gives its text. A bare name stays as written: in pages that were never compiled it is
    a placeholder. Any other code gives an empty string.
    """
    return expression if _PLAIN_EXPRESSION.fullmatch(expression) else _literal(expression)


_RAW_HTML: Final = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style)\b.*?(?:</\1\s*+>|\Z)|<[?!][^>]*+(?:>|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_BLOCK_TAGS: Final = _words(
    "p div br hr li ul ol dl dt dd tr table thead tbody h1 h2 h3 h4 h5 h6 details summary section "
    "figure figcaption pre blockquote"
)


def html_text(content: str) -> str:
    """Return the plain text that a browser would display for HTML."""
    content = _RAW_HTML.sub("", content)
    env: dict[str, Any] = {}
    parts: list[str] = []
    at = 0
    while (opening := content.find("<", at)) >= 0:
        parts.append(content[at:opening])
        tag = _scan_tag(content, opening, env)
        if tag is None:
            parts.append("<")
            at = opening + 1
            continue
        name = tag.name.lower()
        if name in ("td", "th") and not tag.closing:
            parts.append(" ")
        elif name in _BLOCK_TAGS:
            parts.append("\n")
        parts.append(_label_text(tag))
        at = tag.end
    parts.append(content[at:])
    text = unescape("".join(parts))
    return "\n".join(line for line in map(str.strip, text.splitlines()) if line)


# Characters that an inline rule may act on; brackets also matter on a page with link definitions.
# Most prose has none, and the inline parser takes longer than all other steps together.
_MARKUP: Final = re.compile(
    r"[\\`*~<{_&$\]](?:(?<=[\\`*~<{$])|(?<=\])\(|(?<=_)(?!\w)|(?<=&)[#A-Za-z])"
)
_MAX_INLINE: Final = 20_000
_MAX_OPEN_BRACKETS: Final = 40
_ATTRIBUTE_LIST: Final = re.compile(
    r"(?<![ \t])[ \t]*+(?<!\{)\{:?[ \t]*+[.#][\w.#: =\"'-]*+\}(?!\})"
)


def has_markup(env: MutableMapping[str, Any], source: str) -> bool:
    """Tell whether inline Markdown may be more than plain text."""
    return bool(_MARKUP.search(source) or (env.get("references") and "[" in source))


def inline_tokens(parser: MarkdownIt, env: dict[str, Any], source: str) -> list[Token] | None:
    """Parse inline Markdown; `env` is the page's, with its link definitions.

    None for data or code without a fence: the inline rules find nothing in it, and some of them
    need more than linear time.
    """
    if len(source) > _MAX_INLINE or source.count("[") - source.count("]") > _MAX_OPEN_BRACKETS:
        report_limit(
            env, f"more than {_MAX_INLINE} characters or {_MAX_OPEN_BRACKETS} open brackets"
        )
        return None
    tokens: list[Token] = []
    parser.inline.parse(source, parser, env, tokens)
    return tokens


def inline_text(parser: MarkdownIt, env: dict[str, Any], source: str) -> str:
    """Return the plain text of inline Markdown; `env` is the page's, with its link definitions."""
    if not has_markup(env, source):
        if "\n " in source or " \n" in source or "\n\t" in source:
            first, *rest = source.split("\n")
            *lines, last = [first, *(line.lstrip(" \t") for line in rest)]
            return "\n".join([*(line.rstrip(" ") for line in lines), last])
        return source
    tokens = inline_tokens(parser, env, source)
    return source if tokens is None else tokens_text(tokens, verbatim=bool(env.get("verbatim")))


def tokens_text(tokens: Iterable[Token], *, verbatim: bool = False) -> str:
    """Return the plain text of inline tokens."""
    return "".join(_shown(tokens, verbatim=verbatim))


def _shown(children: Iterable[Token], *, verbatim: bool) -> Iterable[str]:
    for token in children:
        kind = token.type
        if verbatim and kind in ("code_inline", "formula"):
            yield mark_verbatim(CODE if kind == "code_inline" else FORMULA, token.content)
            continue
        if kind == "text":
            yield without_attributes(token.content)
        elif kind in ("text_special", "code_inline", "formula", "myst_role"):
            yield token.content
        elif kind in ("softbreak", "hardbreak"):
            yield "\n"
        elif kind == "image":
            yield from _shown(token.children or (), verbatim=verbatim)
        elif kind == "tag":
            if token.tag == "br":
                yield "\n"
            yield token.content


def without_attributes(text: str) -> str:
    """Remove attribute lists such as `{.class}`."""
    return _ATTRIBUTE_LIST.sub("", text) if "{" in text else text


def _label_text(tag: _Tag) -> str:
    """Return the labels of a tag, apart from the text beside it."""
    if not tag.labels:
        return ""
    labels = " ".join(tag.labels)
    is_component = tag.name[0].isupper() and not tag.empty
    return f"\n{labels.rstrip(':')}: " if is_component else f" {labels} "


def _inline_tag(state: StateInline, silent: bool) -> bool:
    """Inline rule: tags and comments in prose. Other `<` stay text."""
    src, pos = state.src, state.pos
    if src[pos] != "<":
        return False
    if src.startswith("<!--", pos):
        stop = src.find("-->", pos + 4)
        if stop < 0:
            return False
        state.pos = stop + 3
        return True
    tag = _scan_tag(src, pos, state.env)
    if tag is None:
        return False
    if not silent:
        token = state.push("tag", tag.name.lower(), 0)
        token.content = _label_text(tag) if pos else _label_text(tag).lstrip("\n")
    state.pos = tag.end
    return True


_MAX_MODULE: Final = 100_000
_ESM: Final = re.compile(
    r"import\s*(?:[\"']|[\w$*{][^\n]*|type\s)|"
    r"export\s+(?:(?:default|const|let|var|function|class|async|type|interface|enum)\b|[{*])"
)
_IMPORT: Final = re.compile(
    r"import\s++(?:([\w$]++)\s*+(?:,\s*+)?+)?+(?:\{[^{}]*+\}\s*+)?+from\s*+[\"']([^\"'\n]++)"
)
_IMPORT_FROM: Final = re.compile(r"import\b[^;]*?\bfrom\s*[\"']|import\s*[\"']")
_BLANK_LINE: Final = re.compile(r"\n[ \t]*(?:\n|\Z)|\Z")


def _esm(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Block rule: `import` and `export` at the margin, up to a blank line outside brackets."""
    pos = state.bMarks[start]
    src = state.src
    inside = state.level and not state.env.get("mdx_code_block")
    if silent or inside or state.tShift[start] or src[pos : pos + 1] not in ("i", "e"):
        return False
    if not _ESM.match(src, pos):
        return False
    depth, at = 0, pos
    stop = -1
    limit = min(len(src), pos + min(_MAX_MODULE, _left(src, state.env)))
    for found in _JS.finditer(src, pos, limit):
        if depth <= 0:
            blank = _BLANK_LINE.search(src, at, found.start())
            if blank is not None and blank.start() < found.start():
                stop = blank.start()
                break
        if found[0] in "([{":
            depth += 1
        elif found[0] in ")]}":
            depth -= 1
        at = found.end()
    state.env["scan"] -= max(0, (limit if stop < 0 else stop) - pos)
    if stop < 0:
        blank = _BLANK_LINE.search(src, at if depth <= 0 else pos)
        stop = blank.start() if blank is not None else len(src)
    block = src[pos:stop]
    if block.startswith("import") and not _IMPORT_FROM.match(block):
        return False
    imports = state.env.setdefault("imports", {})
    imports.update((name, module) for name, module in _IMPORT.findall(block) if name)
    return push_line(state, "esm", start, min(line_of(state, start, end, stop) + 1, end))


def _expression(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Block rule: lines from a leading `{` to a line that ends with the matching `}`."""
    pos = state.bMarks[start] + state.tShift[start]
    if state.src[pos : pos + 1] != "{":
        return False
    stop = _scan_braces(state.src, pos, state.env)
    if stop < 0:
        return False
    line = line_of(state, start, end, stop)
    if line >= end or state.src[stop : state.eMarks[line]].strip():
        return False
    body = state.src[pos:stop]
    if _COMMENT_EXPRESSION.fullmatch(body):
        return silent or push_line(state, "comment", start, line + 1)
    return silent or push_line(state, "expression", start, line + 1, _expression_text(body))


def _comment(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Block rule: `<!-- … -->`, which Docusaurus allows in MDX."""
    pos = state.bMarks[start] + state.tShift[start]
    if not state.src.startswith("<!--", pos) or state.env.get("open_comment"):
        return False
    stop = state.src.find("-->", pos + 4)
    if stop < 0:
        state.env["open_comment"] = True  # no later one closes either
        return False
    line = line_of(state, start, end, stop + 3)
    if line >= end or state.src[stop + 3 : state.eMarks[line]].strip():
        return False
    return silent or push_line(state, "comment", start, line + 1)


def _jsx(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Block rule: lines that contain only tags. Lines between them are ordinary Markdown."""
    src = state.src
    pos = state.bMarks[start] + state.tShift[start]
    if src[pos : pos + 1] != "<":
        return False
    shown: list[str] = []
    line = start
    styled = False
    while True:
        if src[pos] == "<":
            tag = _scan_tag(src, pos, state.env)
            if tag is None:
                return False
            styled = styled or tag.name in ("style", "script")
            shown.extend(tag.labels)
            pos = tag.end
        else:
            stop = _scan_braces(src, pos, state.env)
            if stop < 0:
                return False
            if not styled:
                shown.append(_expression_text(src[pos:stop]))
            pos = stop
        line = line_of(state, line, end, pos)
        if line >= end:
            return False
        while pos < state.eMarks[line] and src[pos] in " \t":
            pos += 1
        if pos >= state.eMarks[line]:
            break
        if src[pos] not in "<{":
            return False
    return silent or push_line(state, "marker", start, line + 1, "\n".join(filter(None, shown)))


def _template_body(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Block rule: code between two template tags, or the titles of a tag."""
    if start not in state.env["bodies"]:
        return False
    stop, body = state.env["bodies"][start]
    stop = min(stop, end)
    content = state.getLines(start, stop, state.blkIndent, True)
    if silent:
        return True
    if body.kind == "titles":
        return push_line(state, "marker", start, stop, content.strip())
    push_line(state, "fence", start, stop, content)
    state.tokens[-1].info = body.language
    state.tokens[-1].meta = {"first": start, "title": body.title}
    return True


_HTML_BLOCK: Final = re.compile(r"<(/?)([A-Za-z][\w-]*+)(?=[\s/>])")
_MARKDOWN_INSIDE: Final = re.compile(r"\smarkdown(?:=[\"']?(?:1|block|span)\b|[\s>])")
_FENCE_INSIDE: Final = re.compile(r"\n[ \t]*+(?:`{3}|~{3})")
_EMPTY: Final = _words("hr col source track")


def _html_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Block rule of kramdown and Python-Markdown: HTML ends at its closing tag.

    In CommonMark it ends at an empty line. Comments, scripts and `pre` are as there.
    """
    src, pos = state.src, state.bMarks[start] + state.tShift[start]
    found = _HTML_BLOCK.match(src, pos, state.eMarks[start])
    if found is None or found[2].lower() in ("script", "style", "pre", "textarea"):
        return html_block(state, start, end, silent)
    name = found[2].lower()
    if name not in block_names or state.is_code_block(start):
        return False
    tag = None if silent else _scan_tag(src, pos, state.env)
    if tag is None:
        return silent or html_block(state, start, end, silent)
    stop = tag.end
    if not (found[1] or tag.empty or name in _EMPTY or _MARKDOWN_INSIDE.search(src, pos, tag.end)):
        limit = min(state.eMarks[end - 1], pos + _left(src, state.env))
        depth = 1
        for other in _HTML_BLOCK.finditer(src, tag.end, limit):
            depth += 0 if other[2].lower() != name else -1 if other[1] else 1
            if not depth:
                stop = src.find(">", other.end())
                break
        state.env["scan"] -= (stop if not depth else limit) - pos
        if depth:
            return html_block(state, start, end, silent)
    last = line_of(state, start, end, stop)
    # Python-Markdown reads fences first
    if (
        last >= end
        or _FENCE_INSIDE.search(src, tag.end, stop)
        or any(
            state.sCount[line] < state.blkIndent and not state.isEmpty(line)
            for line in range(start + 1, last + 1)
        )
    ):
        return html_block(state, start, end, silent)
    content = state.getLines(start, last + 1, state.blkIndent, True)
    return push_line(state, "html_block", start, last + 1, content)


_MDX_FENCE: Final = re.compile(r"(`{3,}|~{3,})mdx-code-block[ \t]*")


def _mdx_code_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Block rule: Docusaurus parses the body of a `mdx-code-block` fence as MDX."""
    pos = state.bMarks[start] + state.tShift[start]
    opening = _MDX_FENCE.fullmatch(state.src, pos, state.eMarks[start])
    if opening is None:
        return False
    unclosed = state.env.setdefault("unclosed", {})
    if start < unclosed.get(opening[1], 0):
        return False
    for stop in range(start + 1, end):
        at = state.bMarks[stop] + state.tShift[stop]
        if state.src[at : state.eMarks[stop]].strip() == opening[1]:
            break
    else:
        unclosed[opening[1]] = end
        return False
    if silent:
        return True
    push_line(state, "marker", start, start + 1)
    line_max, state.lineMax, state.level = state.lineMax, stop, state.level + 1
    state.env["mdx_code_block"] = True
    state.md.block.tokenize(state, start + 1, stop)
    state.env["mdx_code_block"] = False
    state.lineMax, state.level = line_max, state.level - 1
    return push_line(state, "marker", stop, stop + 1)


def _inline_expression(state: StateInline, silent: bool) -> bool:
    """Inline rule: `{…}` in MDX prose."""
    if state.src[state.pos] != "{":
        return False
    stop = _scan_braces(state.src, state.pos, state.env)
    if stop < 0:
        return False
    if not silent:
        token = state.push("text", "", 0)
        token.content = _expression_text(state.src[state.pos : stop])
    state.pos = stop
    return True


ADMONITIONS: Final = _words(
    "abstract attention bug caution danger details error example failure hint important info note "
    "question quote seealso success summary tip todo tldr warning"
)
_CONTAINER: Final = re.compile(r"(?::{3,}+|/{3,}+)[ \t]*+(\{?)([\w.-]*+)(\}?)(.*+)")
_QUOTED_ATTRIBUTE: Final = re.compile(r"""(?<![\w-])([\w-]++)=("[^"]*"|'[^']*')""")


def _container(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Block rule: a line that opens or closes a `:::` container or a `///` block."""
    pos = state.bMarks[start] + state.tShift[start]
    if state.src[pos : pos + 3] not in (":::", "///") or state.is_code_block(start):
        return False
    found = _CONTAINER.match(state.src, pos, state.eMarks[start])
    if found is None or (not found[2] and found[4].strip()):
        return False
    if silent:
        return True
    return push_line(state, "marker", start, start + 1, _container_title(found[2], found[4]))


def _container_title(name: str, rest: str) -> str:
    """Return the title on a container's first line, else its kind."""
    rest = rest.strip().rstrip(":").strip()
    quoted = {key.lower(): _literal(value) for key, value in _QUOTED_ATTRIBUTE.findall(rest)}
    if quoted:
        return " ".join(quoted[key] for key in sorted(_LABELS & quoted.keys()))
    if rest.startswith("[") and "]" in rest:
        return rest[1 : rest.rindex("]")]
    rest = re.sub(r"\{[^{}]*\}", "", rest).strip(" |")
    if rest and name != "moniker":
        return rest
    if name.lower() in ADMONITIONS:
        return name.capitalize()
    return name if "." in name else ""  # mkdocstrings: `::: package.Class`


_INDENTED: Final = re.compile(
    r"(?:(!!!|\?\?\?\+?)[ \t]++([^\"\n]*+)|===[!+]?[ \t]++)(\"(?:[^\"\\]|\\.)*+\")?\s*+"
)


def _indented_container(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Block rule: `!!! note "Title"`, `??? note`, `=== "Tab"` with a body indented by four."""
    pos = state.bMarks[start] + state.tShift[start]
    if state.src[pos : pos + 3] not in ("!!!", "???", "===") or state.is_code_block(start):
        return False
    found = _INDENTED.fullmatch(state.src, pos, state.eMarks[start])
    if found is None or not (found[3] or (found[2] and found[2].strip())):
        return False
    if silent:
        return True
    kind, title = found[2], found[3]
    title = title[1:-1].replace('\\"', '"') if title else kind.split()[0].capitalize()
    indent = state.blkIndent + 4
    stop = start + 1
    while stop < end and (state.isEmpty(stop) or state.sCount[stop] >= indent):
        stop += 1
    return _nested(state, start, start + 1, stop, stop, title, indent)


def _nested(
    state: StateBlock, start: int, inner: int, stop: int, end: int, title: str, indent: int
) -> bool:
    """Parse lines `inner` to `stop` as the body of a container that ends before line `end`."""
    token = state.push("container_open", "div", 1)
    token.map = [start, end]
    token.meta = {"inner": inner, "stop": stop}
    token.content = title
    saved = state.parentType, state.lineMax, state.blkIndent
    state.parentType, state.lineMax, state.blkIndent = "container", stop, indent
    state.md.block.tokenize(state, inner, stop)
    state.parentType, state.lineMax, state.blkIndent = saved
    state.push("container_close", "div", -1)
    state.line = end
    return True


_FORMULA_END: Final = re.compile(r"\$\$[ \t]*(?:\([^()\n]*\)[ \t]*)?$")


def _math(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Block rule: `$$ … $$` over lines. An unclosed `$$` stays text."""
    pos = state.bMarks[start] + state.tShift[start]
    src = state.src
    if not src.startswith("$$", pos) or state.is_code_block(start):
        return False
    first = src[pos + 2 : state.eMarks[start]]
    line = start
    if not (first.strip() and _FORMULA_END.search(first)):
        # lines in which no formula ends are not searched again: time would be quadratic
        unclosed = state.env.setdefault("unclosed_math", {})
        if "$$" in first or start < unclosed.get(state.blkIndent, 0):
            return False
        line = start + 1
        while line < end and (state.sCount[line] >= state.blkIndent or state.isEmpty(line)):
            at = state.bMarks[line] + state.tShift[line]
            if _FORMULA_END.search(src[at : state.eMarks[line]]):
                break
            line += 1
        else:
            unclosed[state.blkIndent] = line
            return False
    if silent:
        return True
    content = state.getLines(start, line + 1, state.blkIndent, False)
    return push_line(state, "math", start, line + 1, content.strip())


# Pandoc's rule, by which two prices in a sentence are no formula.
_FORMULA: Final = re.compile(r"(\${1,2})(?![\s$])(?:[^$\\]|\\.)++(?<!\s)\1(?![\w$])", re.DOTALL)


def _formula(state: StateInline, silent: bool) -> bool:
    """Inline rule: `$ … $` and `$$ … $$`, whose content is no Markdown."""
    found = _FORMULA.match(state.src, state.pos) if state.src[state.pos] == "$" else None
    if found is None:
        return False
    if not silent:
        state.push("formula", "", 0).content = found[0]
    state.pos = found.end()
    return True


_DIRECTIVE: Final = re.compile(r"(`{3,}+|~{3,}+|:{3,}+)[ \t]*+\{([A-Za-z][\w:.-]*+)\}[ \t]*+(.*+)")
_CODE_DIRECTIVES: Final = _words(
    "code code-block code-cell sourcecode highlight prompt parsed-literal doctest testcode "
    "ipython literalinclude mermaid graphviz eval-rst raw csv-table"
)
_SILENT_DIRECTIVES: Final = _words(
    "toctree contents include index meta tableofcontents image bibliography"
)
_HIDDEN_DIRECTIVES: Final = _words("ifconfig todo")
"""What Sphinx leaves out by default, and what its configuration decides."""
_FOR_HTML: Final = re.compile(r"html\b(?!\s+and)")
_OPTION: Final = re.compile(r":([\w-]++):[ \t]*+(.*+)")
_YAML_OPTION: Final = re.compile(r"([\w-]++):[ \t]++[\"']?+(.*[^\"'\s])")


def _directive(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Block rule: a MyST directive with a Markdown body, or a code directive."""
    pos = state.bMarks[start] + state.tShift[start]
    if state.src[pos : pos + 1] not in ("`", "~", ":") or state.is_code_block(start):
        return False
    found = _DIRECTIVE.fullmatch(state.src[pos : state.eMarks[start]])
    if found is None:
        return False
    if silent:
        return True
    fence, name, argument = found[1], found[2].lower(), found[3].strip()
    stop = start + 1
    closed = False
    while stop < end:
        line = state.src[state.bMarks[stop] + state.tShift[stop] : state.eMarks[stop]]
        outdented = bool(line) and state.sCount[stop] < state.blkIndent
        closed = line.startswith(fence) and not line.rstrip(" \t").strip(fence[0])
        if outdented or closed:
            break
        stop += 1
    after = stop + closed

    def line_at(line: int) -> str:
        return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]].rstrip()

    inner = start + 1
    options: dict[str, str] = {}
    if inner < stop and line_at(inner) == "---":  # YAML between two rules
        last = next((line for line in range(inner + 1, stop) if line_at(line) == "---"), inner)
        lines = map(line_at, range(inner, last))
        options = {each[1]: each[2] for each in map(_YAML_OPTION.match, lines) if each}
        inner = last + (last > inner)
    while inner < stop and (option := _OPTION.fullmatch(line_at(inner))):
        options[option[1]] = option[2]
        inner += 1
    indent = state.sCount[start]
    if name in _HIDDEN_DIRECTIVES or (name == "only" and not _FOR_HTML.match(argument)):
        return _push_hidden(state, start, after)
    if name in _CODE_DIRECTIVES:
        token = state.push("fence", "code", 0)
        token.info = argument if name not in ("raw", "eval-rst", "mermaid") else name
        if name == "literalinclude":
            token.info = options.get("language", argument.rpartition(".")[2])
        token.content = state.getLines(inner, stop, indent, True)
        token.map = [start, after]
        token.meta = {"first": inner, "last": stop, "title": options.get("caption", "")}
        state.line = after
        return True
    if name == "math":
        return push_line(state, "math", start, after, state.getLines(inner, stop, indent, False))
    if name in _SILENT_DIRECTIVES:
        return push_line(state, "marker", start, after, options.get("alt", ""))
    title = argument if name not in ("figure", "only", "versionadded") else options.get("alt", "")
    if not title and name in ADMONITIONS:
        title = name.capitalize()
    return _nested(state, start, inner, stop, after, title, indent)


def _push_hidden(state: StateBlock, start: int, end: int) -> bool:
    push_line(state, "comment", start, end)
    state.tokens[-1].meta = {"hidden": True}
    return True


# Why not mdit-py-plugins: myst_blocks raises IndexError at an empty last line of a quote,
# dollarmath ignores `silent` and the end of a list, admon ends a body at two empty lines.
_MYST_LINE: Final = re.compile(r"\([\w.: /-]+\)=[ \t]*|%.*|\+\+\+.*")


def _myst_line(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Block rule: `(target)=`, `% comment` and `+++`."""
    pos = state.bMarks[start] + state.tShift[start]
    if state.src[pos : pos + 1] not in ("(", "%", "+") or state.is_code_block(start):
        return False
    if not _MYST_LINE.fullmatch(state.src, pos, state.eMarks[start]):
        return False
    if state.src[pos] == "%":
        return silent or _push_hidden(state, start, start + 1)
    return silent or push_line(state, "comment", start, start + 1)


_ROLE: Final = re.compile(r"\{([a-zA-Z0-9_\-+:]++)\}(`++)")


_LINKING_ROLES: Final = frozenset(
    "any doc download envvar eq keyword numref option pep ref rfc term token".split()
)


def _role_text(name: str, content: str) -> str:
    """The text that a role shows: of `title <target>`, the title."""
    title, opening, _ = content.rpartition("<")
    links = name in _LINKING_ROLES or ":" in name  # py:func
    return title.rstrip() if links and opening and title.strip() and content[-1] == ">" else content


def _role(state: StateInline, silent: bool) -> bool:
    """Inline rule: a MyST role with its text."""
    found = _ROLE.match(state.src, state.pos) if state.src[state.pos] == "{" else None
    if found is None:
        return False
    # the marks of one role are not searched again after the last of their length
    ends = state.env.setdefault("roles", {})
    key = (state.src, found[2])
    stop = state.src.find(found[2], found.end() + 1) if ends.get(key, 0) >= 0 else -1
    ends[key] = stop
    if stop < 0:
        return False
    if not silent:
        text = _role_text(found[1], state.src[found.end() : stop])
        state.push("myst_role", "", 0).content = text.replace("\n", " ")
    state.pos = stop + len(found[2])
    return True


# First characters that let a rule end a paragraph. Trying every rule on every line of prose takes
# most of the parsing time.
_INTERRUPTING: Final = frozenset("#>`~*-+_<:$!?={(/%[|\\0123456789")


class _Ruler(Ruler[Any]):
    """Skips the rules that could end a quote at a line which an outer quote has already checked.

    Each quote checks all lines of the quotes around it again.
    """

    def getRules(self, chainName: str = "") -> list[Any]:
        rules = super().getRules(chainName)
        if chainName != "blockquote":
            return rules

        def ends(state: StateBlock, line: int, end: int, silent: bool) -> bool:
            return state.sCount[line] >= 0 and any(rule(state, line, end, silent) for rule in rules)

        return [ends]


_TABLE_CELL: Final = re.compile(r":?+-++:?+")
_CELL_END: Final = re.compile(r"(?<!\\)\|")


def _cells(line: str) -> list[str]:
    cells = _CELL_END.split(line.strip())
    cells = cells[not cells[0] :]
    return [
        cell.replace("\\|", "|").strip()
        for cell in (cells[:-1] if cells and not cells[-1] else cells)
    ]


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Block rule: a table as one token, its rows in `meta`.

    markdown-it fills short rows up with empty cells, which takes quadratic time and memory.
    """
    if start + 2 > end or state.sCount[start + 1] < state.blkIndent:
        return False
    if state.is_code_block(start) or state.is_code_block(start + 1):
        return False

    def line(at: int) -> str:
        return state.src[state.bMarks[at] + state.tShift[at] : state.eMarks[at]]

    rule = line(start + 1)
    if (
        rule[:1] not in ("|", "-", ":")
        or rule[1:2] not in ("|", "-", ":", " ", "\t")
        or rule[:2] in ("- ", "-\t", "")
    ):
        return False
    if rule.strip("|-: \t") or "|" not in line(start):
        return False
    columns, header = _cells(rule), _cells(line(start))
    if not header or len(header) != len(columns) or not all(map(_TABLE_CELL.fullmatch, columns)):
        return False
    if silent:
        return True
    saved, state.parentType = state.parentType, "table"
    (ends,) = state.md.block.ruler.getRules("blockquote")
    rows = [header]
    at = start + 2
    while at < end and state.sCount[at] >= state.blkIndent and not ends(state, at, end, True):
        if state.isEmpty(at) or state.is_code_block(at):
            break
        rows.append(_cells(line(at))[: len(header)])
        at += 1
    state.parentType = saved
    push_line(state, "table", start, at)
    state.tokens[-1].meta = {"rows": rows}
    return True


def _paragraph(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Block rule: markdown-it's `lheading` and `paragraph` in one pass, with two differences.

    Rules are tried only on lines that may match them. Where indented code is disabled (MDX), an
    indented line can end a paragraph like any other.
    """
    src, starts, shifts, ends = state.src, state.bMarks, state.tShift, state.eMarks
    indents, indent = state.sCount, state.blkIndent
    terminators = state.md.block.ruler.getRules("paragraph")
    code = "code" in state.md.block.ruler.get_active_rules()
    bodies = state.env.get("bodies", ())
    last_line = state.lineMax
    old_parent, state.parentType = state.parentType, "paragraph"
    level = 0
    line = start + 1
    while line < last_line:
        pos = starts[line] + shifts[line]
        if pos >= ends[line]:
            break
        if code and indents[line] - indent > 3:
            line += 1
            continue
        char = src[pos]
        if char in "-=" and line < end and indents[line] >= indent:
            rest = src[pos : ends[line]].rstrip(" \t")
            if not rest.strip(char):
                level = 1 if char == "=" else 2
                break
        if indents[line] >= 0:
            below = starts[line + 1] + shifts[line + 1]
            if line in bodies:
                break
            if (char in _INTERRUPTING or (below < ends[line + 1] and src[below] in "|-:")) and any(
                rule(state, line, end, True) for rule in terminators
            ):
                break
        line += 1
    state.parentType = old_parent
    content = state.getLines(start, line, indent, False).strip()
    state.line = line + 1 if level else line
    kind, tag = ("heading", f"h{level}") if level else ("paragraph", "p")
    token = state.push(f"{kind}_open", tag, 1)
    token.map = [start, state.line]
    token = state.push("inline", "", 0)
    token.content = content
    token.map = [start, line]
    state.push(f"{kind}_close", tag, -1)
    return True


@cache
def parser_for(flavour: Flavour) -> MarkdownIt:
    """Return the parser of a flavour. It is shared, since it keeps no state of a page."""
    md = MarkdownIt("commonmark", {"maxNesting": MAX_NESTING}).enable(["table", "strikethrough"])
    md.block.ruler.__class__ = _Ruler
    block, inline = md.block.ruler, md.inline.ruler
    block.at("table", _table, {"alt": ["paragraph", "reference"]})
    ends_all: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    ends_prose: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote"]}
    if flavour == "mdx":
        md.disable(["code", "html_block"])
        block.before("fence", "mdx_code_block", _mdx_code_block, ends_all)
        block.before("heading", "esm", _esm)
        block.before("heading", "mdx_comment", _comment, ends_prose)
        block.before("heading", "jsx", _jsx, ends_prose)
        block.before("heading", "expression", _expression, ends_prose)
        inline.before("link", "expression", _inline_expression)
    else:
        deflist_plugin(md)
        block.before("fence", "indented_container", _indented_container, ends_all)
    if flavour in ("liquid", "jinja", "python"):
        block.at("html_block", _html_block, ends_prose)
    if flavour in ("liquid", "jinja", "hugo"):
        block.before("table", "template_body", _template_body, ends_all)
    if flavour == "myst":
        block.before("fence", "directive", _directive, ends_all)
        block.before("fence", "myst_line", _myst_line, ends_prose)
        inline.before("backticks", "myst_role", _role)
    block.before("fence", "container", _container, ends_all)
    block.before("fence", "math", _math, ends_all)
    block.before("reference", "footnote_def", footnote_def, {"alt": ["paragraph", "reference"]})
    block.at("paragraph", _paragraph)
    md.disable("lheading")
    inline.at("html_inline", _inline_tag)
    inline.before("escape", "formula", _formula)
    return md
