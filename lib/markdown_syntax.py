"""markdown-it, taught what sites write beside CommonMark: one parser for each flavour."""

from functools import lru_cache
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.ruler import RuleOptionsType
from markdown_it.rules_block import StateBlock
from mdit_py_plugins.deflist import deflist_plugin
from mdit_py_plugins.footnote.index import footnote_def

from lib.markdown_inline import inline_tag
from lib.markdown_mdx import comment, esm, expression, inline_expression, jsx, mdx_code_block
from lib.markdown_page import Flavour
from lib.markdown_rules import (
    container,
    directive,
    indented_container,
    inline_role,
    math,
    myst_line,
)

# What a line must begin with for a rule to be able to end a paragraph there. Asking every rule
# about every line of prose takes most of the parser's time.
_INTERRUPTING: Final = frozenset("#>`~*-+_<:$!?={(/%[|\\0123456789")


def _paragraph(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """markdown-it's `lheading` and `paragraph` in one pass, with two differences: rules are only
    asked about a line that can interest them, and with indented code switched off an indented
    line ends a paragraph like any other (as in MDX)."""
    src, starts, shifts, ends = state.src, state.bMarks, state.tShift, state.eMarks
    indents, indent = state.sCount, state.blkIndent
    terminators = state.md.block.ruler.getRules("paragraph")
    code = "code" in state.md.block.ruler.get_active_rules()
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


@lru_cache(maxsize=3)
def parser_for(flavour: Flavour) -> MarkdownIt:
    """The parser of a flavour; shared, as it keeps nothing of a page."""
    md = MarkdownIt("commonmark", {"maxNesting": 60}).enable(["table", "strikethrough"])
    block, inline = md.block.ruler, md.inline.ruler
    ends_all: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    ends_prose: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote"]}
    if flavour == "mdx":
        md.disable(["code", "html_block"])
        block.before("fence", "mdx_code_block", mdx_code_block, ends_all)
        block.before("heading", "esm", esm)
        block.before("heading", "mdx_comment", comment, ends_prose)
        block.before("heading", "jsx", jsx, ends_prose)
        block.before("heading", "expression", expression, ends_prose)
        inline.before("link", "expression", inline_expression)
    else:
        deflist_plugin(md)
        block.before("fence", "indented_container", indented_container, ends_all)
    if flavour == "myst":
        block.before("fence", "directive", directive, ends_all)
        block.before("fence", "myst_line", myst_line, ends_prose)
        inline.before("link", "role", inline_role)
    block.before("fence", "container", container, ends_all)
    block.before("fence", "math", math, ends_all)
    block.before("reference", "footnote_def", footnote_def, {"alt": ["paragraph", "reference"]})
    block.at("paragraph", _paragraph)
    md.disable("lheading")
    inline.at("html_inline", inline_tag)
    return md
