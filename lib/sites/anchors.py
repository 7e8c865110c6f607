"""Anchors of a page's headings, as its site's generator makes them.

An anchor is the id that the author wrote, where the generator accepts it, else a slug of the
heading's text, made unique within the page. Generators agree on most headings and differ on the
odd ones: an image's alternative text, emoji codes, inline HTML, `--`, footnote marks. So the raw
inline source is parsed again, by the rules in `HeadingText`.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Protocol

import regex
from markdown_it import MarkdownIt
from markdown_it.token import Token

from lib.sites.site import HeadingText, NamedHeading, Site

_LEAVES: Final = frozenset(
    ("text", "text_special", "code_inline", "html_inline", "image", "softbreak", "hardbreak")
)
_EMOJI_CODE = re.compile(r":[a-zA-Z0-9_+-]+:")
_SMART_DASHES = re.compile(r"---?")
_ANGLES = re.compile(r"<<|>>")
_FOOTNOTE = re.compile(r"\[\^[^\]\s]{1,200}+\]")
_DIRECTIVE_NAME = re.compile(r"(?<!:):[A-Za-z](?:[\w-]*\w)?(?![:\w])")
_EXPRESSION = re.compile(r"[{<]")  # also in an attribute of a tag
_ATTRIBUTE_LISTS = re.compile(
    r"(?<![ \t])[ \t]*+\{:?[ \t]*+(?:[.#][\w-]|[\w-]++[ \t]*+=)[^{}\n]*+\}"
)
_BRACES: Final = re.compile(
    r"\\?\{(?:[^{}\n/]++|/\*[^*\n]{0,100}+(?:\*(?!/)[^*\n]{0,100}+){0,9}+\*/|/)*+\}"
    r"(?=[ \t]*+(?:#++[ \t]*+)?(?:\r?\n[ \t>]*+[=-]++[ \t]*+)?\Z)"
)
_ATTRIBUTES: Final = re.compile(
    r"(?<![ \t])[ \t]*+\{:?((?:[ \t]*+"
    r"(?:[.#][^\s{}]++|[\w:-]++(?:=(?>\"[^\"]*+\"|'[^']*+'|[^\s{}]++))?+))++)[ \t]*+\}\s*+$"
)
_MAX_HEADING: Final = 500
"""Characters. A longer heading has no anchor: some patterns below take quadratic time."""
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
    rules = site.generator.heading_rules(site)
    named: list[NamedHeading] = []
    unknown: list[bool] = []
    for heading in page.headings:
        if heading.end - heading.start > _MAX_HEADING:
            named.append(("", False))
            unknown.append(True)
            continue
        source, explicit = rules.explicit_id(_written(heading, text))
        if explicit is not None:
            named.append((explicit, True))
            unknown.append(False)
            continue
        plain = _heading_text(source, rules.text, page.references)
        named.append((rules.slugify(plain or "") if rules.slugify else "", False))
        written = text[heading.start : heading.end] if text else source
        unknown.append(
            rules.slugify is None
            or plain is None
            or (rules.template is not None and rules.template.search(written) is not None)
        )
    return tuple(
        None if unsure or not anchor or (heading.level == 1 and not rules.h1_has_anchor) else anchor
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


def attribute_list(source: str) -> tuple[str, str | None]:
    """Split `{#id .class key=value}` off a heading: the heading, and the id."""
    found = _ATTRIBUTES.search(source)
    if found is None:
        return source, None
    ids = ["".join(forms) for forms in _ATTRIBUTE.findall(found[1])]
    return source[: found.start()], ids[-1] if ids else None


_PARSER: Final = MarkdownIt("commonmark").enable("strikethrough")
# joined texts would not tell which of them were entities
_PARSER.core.ruler.disable("text_join")


def _leaf(token: Token, rules: HeadingText) -> str:
    match token.type:
        case "code_inline":
            return token.content
        case "html_inline":
            return ""
        case "softbreak" | "hardbreak":
            return "\n"
        case "image":
            return token.content if rules.image_alt else ""
    text = token.content
    if token.type == "text_special":
        return token.markup if rules.raw_entities and token.info == "entity" else text
    if not rules.emoji_codes:
        text = _EMOJI_CODE.sub("", text)
    text = _FOOTNOTE.sub("", text)
    if rules.smart_dashes:
        text = _SMART_DASHES.sub("", text)
    if rules.mdx:
        text = _DIRECTIVE_NAME.sub("", text)
    return text


def _heading_text(
    source: str, rules: HeadingText, references: Mapping[str, Any] = MappingProxyType({})
) -> str | None:
    """The text of a heading; None if MDX runs code in it. `source` is its raw inline Markdown
    without the explicit id; `references` are the link definitions of its page."""
    if rules.attributes:
        source = _outside_code(source, lambda part: _ATTRIBUTE_LISTS.sub("", part))
    env = {"references": dict(references)}
    source = _outside_code(source, lambda part: _FOOTNOTE.sub("", part))
    if rules.smart_dashes:
        source = _outside_code(source, lambda part: _ANGLES.sub("", part))
    (inline,) = _PARSER.parseInline(source.strip(), env)
    leaves = [token for token in inline.children or [] if token.type in _LEAVES]
    if rules.mdx and any(t.type == "text" and _EXPRESSION.search(t.content) for t in leaves):
        return None
    return "".join(_leaf(token, rules) for token in leaves)


def _outside_code(source: str, change: Callable[[str], str]) -> str:
    parts = re.split(r"(`+[^`]*`+)", source)
    return "".join(part if index % 2 else change(part) for index, part in enumerate(parts))


# `\p{Word}` of Ruby and github-slugger, without the joiners.
_NOT_IN_SLUG: Final = regex.compile(r"[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\- \t]+")


def word_slug(text: str) -> str:
    """Letters, marks, digits, connectors and hyphens; blanks become hyphens."""
    return re.sub("[ \t]", "-", _NOT_IN_SLUG.sub("", text))


def numbered(slugs: Iterable[NamedHeading], *, explicit_count: bool) -> list[str]:
    """The first of `x`, `x-1`, `x-2` that is free.

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
