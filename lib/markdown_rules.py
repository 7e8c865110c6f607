"""The rules for what sites put a box or a number around: `:::` containers, `!!!` admonitions and
`===` tabs with indented bodies, MyST directives, `$$` formulas.

`:::` containers are read flat: the lines that open and close them are blocks of their own.
"""

import re
from typing import Final

from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

from lib.markdown_lines import push_line
from lib.tags import LABELS, literal, words

_ADMONITIONS: Final = words(
    "abstract attention bug caution danger details error example failure hint important info note "
    "question quote seealso success summary tip todo tldr warning"
)
_CONTAINER: Final = re.compile(r"(?::{3,}|/{3,})[ \t]*(\{?)([\w.-]*)(\}?)(.*)")
_QUOTED_ATTRIBUTE: Final = re.compile(r"""([\w-]+)=("[^"]*"|'[^']*')""")


def container(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A line that opens or closes a `:::` container (or a `///` block)."""
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
    """The title a container's first line shows; its kind where it has none of its own."""
    rest = rest.strip().rstrip(":").strip()
    quoted = {key.lower(): literal(value) for key, value in _QUOTED_ATTRIBUTE.findall(rest)}
    if quoted:
        return " ".join(quoted[key] for key in sorted(LABELS & quoted.keys()))
    if rest.startswith("[") and "]" in rest:
        return rest[1 : rest.rindex("]")]
    rest = re.sub(r"\{[^{}]*\}", "", rest).strip(" |")
    if rest and name != "moniker":
        return rest
    if name.lower() in _ADMONITIONS:
        return name.capitalize()
    return name if "." in name else ""  # mkdocstrings: `::: package.Class`


_INDENTED: Final = re.compile(
    r"(?:(!!!|\?\?\?\+?)[ \t]+([^\"\n]*)|===[!+]?[ \t]+)(\"(?:[^\"\\]|\\.)*\")?\s*"
)


def indented_container(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """`!!! note "Title"`, `??? note` and `=== "Tab"` with a body indented by four."""
    pos = state.bMarks[start] + state.tShift[start]
    if state.src[pos : pos + 3] not in ("!!!", "???", "===") or state.is_code_block(start):
        return False
    found = _INDENTED.fullmatch(state.src, pos, state.eMarks[start])
    if found is None or (found[1] is None and found[3] is None):
        return False
    if found[1] and not found[2].strip() and not found[3]:
        return False
    if silent:
        return True
    title = found[3][1:-1].replace('\\"', '"') if found[3] else ""
    if not found[3] and found[2]:
        title = found[2].split()[0].capitalize()
    indent = state.blkIndent + 4
    stop = start + 1
    while stop < end and (state.isEmpty(stop) or state.sCount[stop] >= indent):
        stop += 1
    return _nested(state, start, start + 1, stop, stop, title, indent)


def _nested(
    state: StateBlock, start: int, inner: int, stop: int, end: int, title: str, indent: int
) -> bool:
    """Read lines `inner` to `stop` as the body of a container that ends before line `end`."""
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


def math(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """`$$ … $$` over lines. A `$$` that is never closed is text."""
    pos = state.bMarks[start] + state.tShift[start]
    src = state.src
    if not src.startswith("$$", pos) or state.is_code_block(start):
        return False
    first = src[pos + 2 : state.eMarks[start]]
    line = start
    if not (first.strip() and _FORMULA_END.search(first)):
        if "$$" in first:
            return False
        line = start + 1
        while line < end:
            if state.sCount[line] < state.blkIndent and not state.isEmpty(line):
                return False
            at = state.bMarks[line] + state.tShift[line]
            if _FORMULA_END.search(src[at : state.eMarks[line]]):
                break
            line += 1
        else:
            return False
    if silent:
        return True
    content = state.getLines(start, line + 1, state.blkIndent, False)
    return push_line(state, "math", start, line + 1, content.strip())


_DIRECTIVE: Final = re.compile(r"(`{3,}|~{3,}|:{3,})[ \t]*\{([A-Za-z][\w:.-]*)\}[ \t]*(.*)")
_CODE_DIRECTIVES: Final = words(
    "code code-block code-cell sourcecode highlight prompt parsed-literal doctest testcode "
    "ipython literalinclude mermaid graphviz eval-rst raw csv-table"
)
_SILENT_DIRECTIVES: Final = words(
    "toctree contents include index meta tableofcontents image bibliography"
)
_OPTION: Final = re.compile(r":([\w-]+):[ \t]*(.*)")


def directive(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A MyST directive whose body is Markdown, or a code block with its language as argument."""
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
    closing = re.compile(re.escape(fence) + re.escape(fence[0]) + "*[ \t]*")
    while stop < end:
        at = state.bMarks[stop] + state.tShift[stop]
        if at < state.eMarks[stop] and state.sCount[stop] < state.blkIndent:
            break
        if closing.fullmatch(state.src, at, state.eMarks[stop]):
            break
        stop += 1
    closed = stop < end and closing.match(state.src, state.bMarks[stop] + state.tShift[stop])
    after = stop + 1 if closed else stop

    inner = start + 1
    options: dict[str, str] = {}
    while inner < stop:
        at = state.bMarks[inner] + state.tShift[inner]
        option = _OPTION.fullmatch(state.src, at, state.eMarks[inner])
        if option is None:
            break
        options[option[1]] = option[2]
        inner += 1
    indent = state.sCount[start]
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
    title = argument if name not in ("figure", "versionadded") else options.get("alt", "")
    if not title and name in _ADMONITIONS:
        title = name.capitalize()
    return _nested(state, start, inner, stop, after, title, indent)


_MYST_LINE: Final = re.compile(r"\([\w.: /-]+\)=[ \t]*|%.*|\+\+\+.*")


def myst_line(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """`(target)=`, `% comment` and `+++`."""
    pos = state.bMarks[start] + state.tShift[start]
    if state.src[pos : pos + 1] not in ("(", "%", "+") or state.is_code_block(start):
        return False
    if not _MYST_LINE.fullmatch(state.src, pos, state.eMarks[start]):
        return False
    return silent or push_line(state, "comment", start, start + 1)


_ROLE: Final = re.compile(r"\{[\w:.+-]+\}(?=`)")


def inline_role(state: StateInline, silent: bool) -> bool:
    """The name of a MyST role before its text: `{ref}` in {ref}`text`."""
    if state.src[state.pos] != "{":
        return False
    found = _ROLE.match(state.src, state.pos)
    if found is None:
        return False
    state.pos = found.end()
    return True
