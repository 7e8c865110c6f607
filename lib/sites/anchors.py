"""Anchors of a page's headings, as its site's generator makes them.

An anchor is the id that the author wrote, where the generator accepts it, else a slug of the
heading's text, made unique within the page. Generators agree on most headings and differ on the
odd ones: an image's alternative text, emoji codes, inline HTML, MDX expressions, `--`, footnote
marks. So the raw inline source is parsed again, by the rules in `HeadingText`.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Protocol

import regex
from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from lib.sites.site import HeadingText, NamedHeading, Site

_LEAVES: Final = frozenset(
    ("text", "text_special", "code_inline", "html_inline", "image", "softbreak", "hardbreak", "mdx")
)
_EMOJI_CODE = re.compile(r":[a-zA-Z0-9_+-]+:")
_SMART_DASHES = re.compile(r"---?")
_SMART_MARK = re.compile(r"['\"]|---?|\.\.\.|<<|>>")
_ANGLES = re.compile(r"<<|>>")
_FOOTNOTE = re.compile(r"\[\^[^\]\s]{1,200}+\]")
_DIRECTIVE_NAME = re.compile(r"(?<!:):[A-Za-z](?:[\w-]*\w)?(?![:\w])")
_JSX_TAG = re.compile(r"</?(?:[A-Za-z_$][\w$.:-]*)?(?=[\s/>])")
_ATTRIBUTE_LISTS = re.compile(
    r"(?<![ \t])[ \t]*+\{:?[ \t]*+(?:[.#][\w-]|[\w-]++[ \t]*+=)[^{}\n]*+\}"
)
_SPAN_ATTRIBUTES = re.compile(r"\{:[^{}\n]*\}")
_ROLE = re.compile(r"\{([A-Za-z][\w:+-]*+)\}(`++)([^`]*+)")
_LINKING_ROLES: Final = frozenset(
    "any doc download envvar eq keyword numref option pep ref rfc term token".split()
)

_BRACES: Final = re.compile(
    r"\\?\{(?:[^{}\n/]++|/\*[^*\n]{0,100}+(?:\*(?!/)[^*\n]{0,100}+){0,9}+\*/|/)*+\}"
    r"(?=[ \t]*+(?:#++[ \t]*+)?(?:\r?\n[ \t>]*+[=-]++[ \t]*+)?\Z)"
)
_ATTRIBUTES: Final = re.compile(
    r"(?<![ \t])[ \t]*+\{:?"
    r"((?:[ \t]*+(?:[.#][^\s{}]++|[\w:-]++=(?>\"[^\"]*+\"|'[^']*+'|[^\s{}]++)))++)[ \t]*+\}\s*+$"
)
_MAX_HEADING: Final = 500
"""Characters. A longer heading has no anchor: some patterns below take quadratic time."""
_MAX_UNCLOSED: Final = 20
"""Tags and braces of a heading: each unclosed one is read to the end of the heading."""
_ATTRIBUTE: Final = re.compile(r"#([^\s{}#]+)|\bid=(?:\"([^\"]*)\"|'([^']*)'|([^\s{}]+))")


class _RoutedHeading(Protocol):
    """The fields of a parsed heading that anchors need."""

    @property
    def level(self) -> int: ...
    @property
    def source(self) -> str: ...
    @property
    def explicit_id(self) -> str | None: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


class RoutedPage(Protocol):
    """The fields of a parsed page that addresses need."""

    @property
    def front_matter(self) -> Mapping[str, object]: ...
    @property
    def front_matter_complete(self) -> bool: ...
    @property
    def title(self) -> str: ...
    @property
    def headings(self) -> Sequence[_RoutedHeading]: ...
    @property
    def references(self) -> Mapping[str, Any]: ...


def anchors(site: Site, page: RoutedPage, text: str = "") -> tuple[str | None, ...]:
    """The anchors of the page's headings; None where there is none, or only the build knows it.

    `text` is the source of the page.
    """
    rules = site.generator.heading_rules(site, text)
    named: list[NamedHeading] = []
    unknown: list[bool] = []
    for heading in page.headings:
        if heading.end - heading.start > _MAX_HEADING:
            named.append(("", False))
            unknown.append(True)
            continue
        source, explicit = rules.explicit_id(_written(heading, text), text, heading.end)
        if explicit is not None:
            named.append((explicit, True))
            unknown.append(False)
            continue
        plain = _heading_text(source, rules.text, page.references)
        named.append((rules.slugify(plain) if rules.slugify else "", False))
        written = text[heading.start : heading.end] if text else source
        templated = rules.template is not None and rules.template.search(written) is not None
        unknown.append(rules.slugify is None or templated)
    return tuple(
        None
        if unsure
        or not anchor
        or (rules.uncertain is not None and rules.uncertain.fullmatch(anchor))
        or (heading.level == 1 and not rules.h1_has_anchor)
        else anchor
        for heading, anchor, unsure in zip(page.headings, rules.number(named), unknown, strict=True)
    )


def _written(heading: _RoutedHeading, text: str) -> str:
    """The heading's inline source with the braces that follow it, as far as they are known."""
    if text and (found := _BRACES.search(text[heading.start : heading.end])):
        braces = found[0]
        if not heading.source.endswith(braces):
            return f"{heading.source} {braces}"
        return heading.source
    if heading.explicit_id is not None:
        return f"{heading.source} {{#{heading.explicit_id}}}"
    return heading.source


def attribute_list(source: str, _text: str, _end: int) -> tuple[str, str | None]:
    """Split `{#id .class key=value}` off a heading: the heading, and the id."""
    found = _ATTRIBUTES.search(source)
    return (source[: found.start()], attribute_id(found[1])) if found else (source, None)


def attribute_id(attributes: str) -> str | None:
    ids = [a or b or c or d for a, b, c, d in _ATTRIBUTE.findall(attributes)]
    return ids[-1] if ids else None


def _braced(text: str, start: int) -> int:
    """Index after the `}` that closes the `{` at `start`; 0 without one."""
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
    """`{expression}` is text as written; a JSX tag is not text."""
    text, start = state.src, state.pos
    if text[start] not in "{<" or state.env.get("unclosed", 0) > _MAX_UNCLOSED:
        return False
    if text[start] == "{":
        end, content = _braced(text, start), ""
        content = text[start + 1 : end - 1]
    elif match := _JSX_TAG.match(text, start):
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
        state.env["unclosed"] = state.env.get("unclosed", 0) + 1
        return False
    if not silent:
        state.push("mdx", "", 0).content = content
    state.pos = end
    return True


@lru_cache(maxsize=8)
def _parser(mdx: bool, typography: frozenset[str]) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"typographer": True}).enable(["strikethrough", *typography])
    if mdx:
        parser.inline.ruler.before("autolink", "mdx", _mdx_rule)
        parser.disable(["autolink", "html_inline"])
    # joined texts would not tell which of them were entities
    parser.core.ruler.disable("text_join")
    return parser


def _leaf(token: Token, rules: HeadingText) -> str:
    match token.type:
        case "code_inline" | "mdx":
            return token.content
        case "html_inline":
            return ""
        case "softbreak" | "hardbreak":
            return rules.breaks
        case "image":
            return token.content if rules.image_alt else ""
    text = token.content
    if token.type == "text_special":
        return token.markup if rules.raw_entities and token.info == "entity" else text
    if not rules.emoji_codes:
        text = _EMOJI_CODE.sub("", text)
    if rules.footnotes:
        text = _FOOTNOTE.sub("", text)
    if rules.smart_dashes:
        text = _SMART_DASHES.sub("", text)
    if rules.mdx:
        text = _DIRECTIVE_NAME.sub("", text)
    return text


def _heading_text(
    source: str, rules: HeadingText, references: Mapping[str, Any] = MappingProxyType({})
) -> str:
    """The text of a heading. `source` is its raw inline Markdown without the explicit id;
    `references` are the link definitions of its page."""
    if rules.attributes:
        source = _outside_code(source, lambda part: _ATTRIBUTE_LISTS.sub("", part))
    if rules.span_attributes:
        source = _outside_code(source, lambda part: _SPAN_ATTRIBUTES.sub("", part))
    if rules.roles:
        source = _ROLE.sub(lambda role: role[2] + role_text(role[1], role[3]), source)
    env = {"references": dict(references)}
    if rules.footnotes:
        source = _outside_code(source, lambda part: _FOOTNOTE.sub("", part))
    elif rules.roles:  # docutils takes the mark for its text
        source = _outside_code(source, lambda part: _FOOTNOTE.sub(lambda m: m[0][2:-1], part))
    if rules.smart_dashes:
        source = _outside_code(source, lambda part: _ANGLES.sub("", part))
    inline = _parser(rules.mdx, rules.typography).parseInline(source.strip(), env)
    pieces: list[str] = []
    depth, taken = 0, False
    for token in inline[0].children or []:
        if token.type not in _LEAVES:
            depth += token.nesting
            taken = taken and depth > 0
            continue
        if not rules.first_leaf_only or depth <= 0:
            pieces.append(_leaf(token, rules))
        elif not taken:
            marked = _SMART_MARK.search(token.content) if token.type == "text" else None
            pieces.append(token.content[: marked.start()] if marked else token.content)
            taken = True
    text = "".join(pieces)
    return text.rpartition("\n")[2] if rules.last_line_only else text


def role_text(name: str, content: str) -> str:
    """The text that a MyST role shows: of `title <target>`, the title."""
    title, opening, _ = content.rpartition("<")
    links = name in _LINKING_ROLES or ":" in name  # py:func
    return title.rstrip() if links and opening and title.strip() and content[-1] == ">" else content


def _outside_code(source: str, change: Callable[[str], str]) -> str:
    parts = re.split(r"(`+[^`]*`+)", source)
    return "".join(part if index % 2 else change(part) for index, part in enumerate(parts))


# `\p{Word}` of Ruby and github-slugger, without the joiners.
_NOT_IN_SLUG: Final = regex.compile(r"[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\- \t]+")


def word_slug(text: str) -> str:
    """Letters, marks, digits, connectors and hyphens; blanks become hyphens."""
    return re.sub("[ \t]", "-", _NOT_IN_SLUG.sub("", text))


def numbered(slugs: Iterable[NamedHeading], *, explicit_count: bool) -> list[str]:
    """The first of `x`, `x-1`, `x-2` that is free: mdBook, VitePress and Hugo.

    `explicit_count`: whether later headings avoid the explicit ids before them.
    """
    used: set[str] = set()
    following: dict[str, int] = {}
    anchors = []
    for slug, explicit in slugs:
        anchor = slug
        if not explicit:
            count = following.get(slug, 1)
            while anchor in used:
                anchor, count = f"{slug}-{count}", count + 1
            following[slug] = count
        if explicit_count or not explicit:
            used.add(anchor)
        anchors.append(anchor)
    return anchors
