"""The rules for MDX: imports and exports, JSX, expressions, comments.

JSX is read flat: a line of tags is a block of its own and what stands between such lines is
ordinary Markdown, which is how it reads on the page and survives a tag that is never closed.
"""

import re
from typing import Final

from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

from lib.markdown_lines import line_of, push_line
from lib.tags import COMMENT_EXPRESSION, JS, MAX_FAILURES, expression_text, scan_braces, scan_tag

_MAX_MODULE: Final = 100_000
_ESM: Final = re.compile(
    r"import\s*(?:[\"']|[\w$*{][^\n]*|type\s)|"
    r"export\s+(?:(?:default|const|let|var|function|class|async|type|interface|enum)\b|[{*])"
)
_IMPORT: Final = re.compile(
    r"import\s+(?:([\w$]+)\s*,?\s*)?(?:\{[^}]*\}\s*)?from\s*[\"']([^\"'\n]+)"
)
_IMPORT_FROM: Final = re.compile(r"import\b[^;]*?\bfrom\s*[\"']|import\s*[\"']")
_BLANK_LINE: Final = re.compile(r"\n[ \t]*(?:\n|\Z)|\Z")


def esm(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """`import` and `export` at the margin. Ends, as in MDX, at a blank line outside brackets."""
    pos = state.bMarks[start]
    src = state.src
    if silent or state.level or state.tShift[start] or src[pos : pos + 1] not in ("i", "e"):
        return False
    opening = _ESM.match(src, pos)
    if opening is None:
        return False
    depth, at = 0, pos
    stop = -1
    failures = state.env.get("open_modules", 0)
    for found in JS.finditer(src, pos, pos + (_MAX_MODULE if failures < MAX_FAILURES else 0)):
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
    if stop < 0:
        state.env["open_modules"] = failures + (depth > 0)
        blank = _BLANK_LINE.search(src, at if depth <= 0 else pos)
        stop = blank.start() if blank is not None else len(src)
    block = src[pos:stop]
    if block.startswith("import") and not _IMPORT_FROM.match(block):
        return False
    imports = state.env.setdefault("imports", {})
    for name, module in _IMPORT.findall(block):
        if name:
            imports[name] = module
    return push_line(state, "esm", start, min(line_of(state, start, end, stop) + 1, end))


def expression(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A line that begins with `{` and whose matching `}` ends a line."""
    pos = state.bMarks[start] + state.tShift[start]
    if state.src[pos : pos + 1] != "{":
        return False
    stop = scan_braces(state.src, pos, state.env)
    if stop < 0:
        return False
    line = line_of(state, start, end, stop)
    if line >= end or state.src[stop : state.eMarks[line]].strip():
        return False
    if silent:
        return True
    body = state.src[pos:stop]
    if COMMENT_EXPRESSION.fullmatch(body):
        return push_line(state, "comment", start, line + 1)
    return push_line(state, "expression", start, line + 1, expression_text(body))


def comment(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """`<!-- … -->`, which Docusaurus lets through in MDX."""
    pos = state.bMarks[start] + state.tShift[start]
    if not state.src.startswith("<!--", pos):
        return False
    if state.env.get("open_comment"):
        return False
    stop = state.src.find("-->", pos + 4)
    if stop < 0:
        state.env["open_comment"] = True  # nor will any that begins below end
        return False
    line = line_of(state, start, end, stop + 3)
    if line >= end or state.src[stop + 3 : state.eMarks[line]].strip():
        return False
    return silent or push_line(state, "comment", start, line + 1)


def jsx(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Lines with nothing but tags: what stands between such lines is Markdown of its own."""
    src = state.src
    pos = state.bMarks[start] + state.tShift[start]
    if src[pos : pos + 1] != "<":
        return False
    shown: list[str] = []
    line = start
    styled = False
    while True:
        if src[pos] == "<":
            tag = scan_tag(src, pos, state.env)
            if tag is None:
                return False
            styled = styled or tag.name in ("style", "script")
            shown.extend(tag.labels)
            pos = tag.end
        else:
            stop = scan_braces(src, pos, state.env)
            if stop < 0:
                return False
            if not styled:
                shown.append(expression_text(src[pos:stop]))
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
    if silent:
        return True
    return push_line(state, "marker", start, line + 1, "\n".join(filter(None, shown)))


_MDX_FENCE: Final = re.compile(r"(`{3,}|~{3,})mdx-code-block[ \t]*")


def mdx_code_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Docusaurus reads the body of a fence of this name as MDX; other tools see a fence."""
    pos = state.bMarks[start] + state.tShift[start]
    opening = _MDX_FENCE.fullmatch(state.src, pos, state.eMarks[start])
    if opening is None:
        return False
    stop = start + 1
    while stop < end:
        at = state.bMarks[stop] + state.tShift[stop]
        if state.src[at : state.eMarks[stop]].strip() == opening[1]:
            break
        stop += 1
    if stop >= end:
        return False
    if silent:
        return True
    push_line(state, "marker", start, start + 1)
    line_max, state.lineMax = state.lineMax, stop
    state.md.block.tokenize(state, start + 1, stop)
    state.lineMax = line_max
    return push_line(state, "marker", stop, stop + 1)


def inline_expression(state: StateInline, silent: bool) -> bool:
    """`{…}` in MDX prose."""
    if state.src[state.pos] != "{":
        return False
    stop = scan_braces(state.src, state.pos, state.env)
    if stop < 0:
        return False
    if not silent:
        token = state.push("text", "", 0)
        token.content = expression_text(state.src[state.pos : stop])
    state.pos = stop
    return True
