"""Inline Markdown as the plain text that a reader sees."""

import re
from collections.abc import Iterable
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from lib.tags import scan_tag

# What the inline rules can find something in; brackets are another thing on a page that defines
# links. Most of prose has none of it, and reading it takes longer than all else.
_MARKUP: Final = re.compile(
    r"[\\`*~<{_&\]](?:(?<=[\\`*~<{])|(?<=\])\(|(?<=_)(?!\w)|(?<=&)[#A-Za-z])"
)
_SOFT_BREAK: Final = re.compile(r" *\n[ \t]*")
_MAX_INLINE: Final = 60_000
_MAX_OPEN_BRACKETS: Final = 40
_ATTRIBUTE_LIST: Final = re.compile(r"[ \t]*(?<!\{)\{:?[ \t]*[.#][\w.#: =\"'-]*\}(?!\})")


def inline_text(parser: MarkdownIt, env: dict[str, Any], source: str) -> str:
    """What a reader sees of inline Markdown; `env` is the page's, with its link definitions."""
    if not _MARKUP.search(source) and not (env.get("references") and "[" in source):
        if "\n " in source or " \n" in source or "\n\t" in source:
            return _SOFT_BREAK.sub("\n", source)
        return source
    # A paragraph this long, or with so many brackets left open, is no prose but data or code
    # without a fence. The inline rules find nothing there and some take more than linear time.
    if len(source) > _MAX_INLINE or source.count("[") - source.count("]") > _MAX_OPEN_BRACKETS:
        return source
    children: list[Token] = []
    parser.inline.parse(source, parser, env, children)
    return "".join(_shown(children))


def _shown(children: Iterable[Token]) -> Iterable[str]:
    for token in children:
        kind = token.type
        if kind == "text" and "{" in token.content:
            yield _ATTRIBUTE_LIST.sub("", token.content)
        elif kind in ("text", "text_special", "code_inline"):
            yield token.content
        elif kind in ("softbreak", "hardbreak"):
            yield "\n"
        elif kind == "image":
            yield "".join(_shown(token.children or ()))
        elif kind == "tag":
            if token.tag == "br":
                yield "\n"
            yield token.content


def inline_tag(state: StateInline, silent: bool) -> bool:
    """Tags and comments inside prose; a `<` that opens neither stays a `<`."""
    src, pos = state.src, state.pos
    if src[pos] != "<":
        return False
    if src.startswith("<!--", pos):
        stop = src.find("-->", pos + 4)
        if stop < 0:
            return False
        state.pos = stop + 3
        return True
    tag = scan_tag(src, pos, state.env)
    if tag is None:
        return False
    if not silent:
        token = state.push("tag", tag.name.lower(), 0)
        token.content = " ".join(tag.labels)
    state.pos = tag.end
    return True
