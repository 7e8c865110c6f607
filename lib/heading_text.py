"""The text of a heading as each generator reads it before making an anchor of it.

Generators agree on most headings and differ on the odd ones: whether an image's alternative text
counts, what becomes of emoji codes, inline HTML, MDX expressions, `--` and footnote marks. So the
raw inline source is parsed anew, once for each flavour of Markdown.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

_LEAVES: Final = frozenset(
    ("text", "text_special", "code_inline", "html_inline", "image", "softbreak", "hardbreak", "mdx")
)
_EMOJI_CODE = re.compile(r":[a-zA-Z0-9_+-]+:")
_SMART_DASHES = re.compile(r"---?")
_SMART_MARK = re.compile(r"['\"]|---?|\.\.\.|<<|>>")
_ANGLES = re.compile(r"<<|>>")
_FOOTNOTE = re.compile(r"\[\^[^\]\s]+\]")
_DIRECTIVE_NAME = re.compile(r"(?<!:):[A-Za-z](?:[\w-]*\w)?(?![:\w])")
_JSX_TAG = re.compile(r"</?(?:[A-Za-z_$][\w$.:-]*)?(?=[\s/>])")
_ATTRIBUTES = re.compile(r"[ \t]*\{:?[ \t]*(?:[.#][\w-]|[\w-]+[ \t]*=)[^{}\n]*\}")
_SPAN_ATTRIBUTES = re.compile(r"\{:[^{}\n]*\}")
_ROLE = re.compile(r"\{[A-Za-z][\w:+-]*\}(?=`)")


@dataclass(frozen=True, slots=True)
class Flavour:
    """How one generator reads inline Markdown."""

    mdx: bool = False
    image_alt: bool = True
    emoji_codes: bool = True
    """Whether `:tada:` stays as text; without, it has become a picture."""
    footnotes: bool = True
    """Whether `[^1]` is a footnote's mark, which is no text."""
    smart_dashes: bool = False
    """Whether `--` has become a dash and `<<` a quotation mark, which no anchor keeps."""
    attributes: bool = False
    """Whether `{.class}` and `{: .class}` are taken away."""
    span_attributes: bool = False
    """Whether only `{: .class}` is."""
    breaks: str = "\n"
    raw_entities: bool = False
    first_leaf_only: bool = False
    """Hugo reads only the first piece of what stands in emphasis or a link."""
    last_line_only: bool = False
    roles: bool = False
    """Whether `{role}` before code is MyST's."""


FLAVOURS: Final = {
    "docusaurus": Flavour(mdx=True, breaks="\n"),
    "mkdocs": Flavour(image_alt=False, attributes=True),
    "vitepress": Flavour(
        emoji_codes=False, footnotes=False, attributes=True, breaks="", raw_entities=True
    ),
    "mdbook": Flavour(image_alt=False, attributes=True),
    "hugo": Flavour(attributes=True, smart_dashes=True, first_leaf_only=True, last_line_only=True),
    "jekyll": Flavour(image_alt=False, span_attributes=True, smart_dashes=True),
    "sphinx": Flavour(image_alt=False, footnotes=False, roles=True),
}


def _braced(text: str, start: int) -> int:
    """Index after the `}` that closes the `{` at `start`; 0 when none does."""
    level, quote, at = 0, "", start
    while at < len(text):
        char = text[at]
        if quote:
            at += char == "\\"
            quote = "" if char == quote else quote
        elif char in "\"'`" and level:
            quote = char
        elif char == "{":
            level += 1
        elif char == "}":
            level -= 1
            if level == 0:
                return at + 1
        at += 1
    return 0


def _mdx_rule(state: StateInline, silent: bool) -> bool:
    """`{expression}` is text as it stands; a JSX tag is none, whatever its attributes."""
    text, start = state.src, state.pos
    if text[start] == "{":
        end, content = _braced(text, start), ""
        content = text[start + 1 : end - 1]
    elif text[start] == "<" and (match := _JSX_TAG.match(text, start)):
        end, at = 0, match.end()
        while at < len(text):
            if text[at] == "{":
                at = _braced(text, at) or len(text)
            elif text[at] in "\"'":
                at = text.find(text[at], at + 1) + 1 or len(text)
            elif text[at] == ">":
                end, at = at + 1, len(text)
            else:
                at += 1
        content = ""
    else:
        return False
    if not end:
        return False
    if not silent:
        state.push("mdx", "", 0).content = content
    state.pos = end
    return True


@lru_cache(maxsize=2)
def _parser(mdx: bool) -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("strikethrough")
    if mdx:
        parser.inline.ruler.before("autolink", "mdx", _mdx_rule)
        # `{` has to stop a run of text; `<` does already.
        parser.disable(["autolink", "html_inline"])
    # The rule that joins pieces of text hides which of them were entities.
    parser.core.ruler.disable("text_join")
    return parser


def _leaf(token: Token, flavour: Flavour) -> str:
    match token.type:
        case "code_inline" | "mdx":
            return token.content
        case "html_inline":
            return ""
        case "softbreak" | "hardbreak":
            return flavour.breaks
        case "image":
            return token.content if flavour.image_alt else ""
    text = token.content
    if token.type == "text_special":
        return token.markup if flavour.raw_entities and token.info == "entity" else text
    if not flavour.emoji_codes:
        text = _EMOJI_CODE.sub("", text)
    if flavour.footnotes:
        text = _FOOTNOTE.sub("", text)
    if flavour.smart_dashes:
        text = _SMART_DASHES.sub("", text)
    if flavour.mdx:
        text = _DIRECTIVE_NAME.sub("", text)
    return text


def heading_text(
    source: str, flavour: Flavour, references: Mapping[str, Any] = MappingProxyType({})
) -> str:
    """`source` is one heading's raw inline Markdown, its explicit id taken away already, and
    `references` the link definitions of its page."""
    if flavour.attributes:
        source = _ATTRIBUTES.sub("", source)
    if flavour.span_attributes:
        source = _SPAN_ATTRIBUTES.sub("", source)
    if flavour.roles:
        source = _ROLE.sub("", source)
    env = {"references": dict(references)}
    if flavour.footnotes:
        source = _outside_code(source, lambda part: _FOOTNOTE.sub("", part))
    elif flavour.roles:  # docutils takes the mark for its text
        source = _outside_code(source, lambda part: _FOOTNOTE.sub(lambda m: m[0][2:-1], part))
    if flavour.smart_dashes:
        source = _outside_code(source, lambda part: _ANGLES.sub("", part))
    inline = _parser(flavour.mdx).parseInline(source.strip(), env)
    pieces: list[str] = []
    depth, taken = 0, False
    for token in inline[0].children or []:
        if token.type not in _LEAVES:
            depth += token.nesting
            taken = taken and depth > 0
            continue
        if flavour.first_leaf_only and depth > 0:
            if not taken:
                marked = _SMART_MARK.search(token.content) if token.type == "text" else None
                pieces.append(token.content[: marked.start()] if marked else token.content)
            taken = True
            continue
        pieces.append(_leaf(token, flavour))
    text = "".join(pieces)
    return text.rpartition("\n")[2] if flavour.last_line_only else text


def _outside_code(source: str, change: Callable[[str], str]) -> str:
    parts = re.split(r"(`+[^`]*`+)", source)
    return "".join(part if index % 2 else change(part) for index, part in enumerate(parts))
