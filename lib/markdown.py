"""Parse a Markdown file into front matter, headings and a tree of blocks.

markdown-it parses the structure (`lib.markdown_rules`); its tokens become blocks with offsets into
the file (`lib.markdown_page`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

from markdown_it import MarkdownIt
from markdown_it.token import Token

from lib.markdown_page import NEWLINES, Block, BlockKind, Flavour, Heading, Lines, Page
from lib.markdown_rules import (
    CLOSING_NAMES,
    MAX_NESTING,
    html_text,
    inline_text,
    parser_for,
    report_limit,
    scan_limit,
)
from lib.sites.config_files import FrontMatter, read_front_matter
from lib.templates import FILLER, Template, place_bodies, read_template


def _front_title(front_matter: Mapping[str, object]) -> str:
    """Return the title of the front matter in one line, or an empty string."""
    title = front_matter.get("title")
    # YAML parses `title: 2024` as a number and `title: 2024-01-01` as a date: both are titles
    if title is None or isinstance(title, bool | list | dict):
        return ""
    return " ".join(str(title).split())[:_MAX_NAME]


class _ParsedPage(NamedTuple):
    page: Page
    tokens: Sequence[Token]
    """markdown-it's, of the blocks."""
    env: dict[str, Any]
    """What the parser keeps of the page, such as its link definitions."""


def parse_page(text: str, flavour: Flavour, *, verbatim: bool = False) -> Page:
    """Parse a page. Never raises: errors are listed in `problems`.

    With `verbatim`, code spans and formulas in the text of blocks are marked (`VERBATIM`).
    """
    return parse_tokens(text, flavour, verbatim=verbatim).page


def parse_tokens(text: str, flavour: Flavour, *, verbatim: bool = False) -> _ParsedPage:
    """Parse a page as `parse_page`, and keep what it can be rendered from."""
    problems: list[str] = []
    front = read_front_matter(text, json=flavour in ("commonmark", "hugo"))
    if front is None:
        front = FrontMatter({}, 1 if text.startswith("\ufeff") else 0)
    elif front.problem:
        problems.append(front.problem)
    front_matter, body_start = front.values, front.end

    template = _template(text, body_start, flavour, front_matter)
    lines = Lines(template.text, body_start)
    source = template.text[body_start:].replace("\0", "\ufffd").replace(FILLER, "")
    if "\r" in source:
        source = NEWLINES.sub("\n", source)
    bodies, foreign = place_bodies(template, lines.starts)
    env: dict[str, Any] = {
        "bodies": bodies,
        "foreign": foreign,
        "closed": frozenset(CLOSING_NAMES.findall(source)),
        "scan": scan_limit(source),
        "verbatim": verbatim,
    }
    tokens: list[Token] = []
    parser = parser_for(flavour)
    try:
        parser.block.parse(source, parser, env, tokens)
    except (RecursionError, IndexError) as error:  # pragma: no cover - a bug in a rule
        problems.append(f"the Markdown cannot be parsed ({type(error).__name__})")
        tokens = []
    if any(t.level >= MAX_NESTING - 1 and t.type.removesuffix("_open") in _PARENTS for t in tokens):
        report_limit(env, f"nested more than {MAX_NESTING} levels deep (a list has two)")
    builder = _Builder(parser, env, template.text, lines)
    blocks, _ = builder.children(tokens, 0, 0, len(lines.starts))
    problems += (f"{limit}: read as plain text" for limit in env.get("limits", ()))
    headings = tuple(builder.headings)
    title = _front_title(front_matter) or next((h.text for h in headings if h.level == 1), "")
    page = Page(
        flavour=flavour,
        front_matter=MappingProxyType(front_matter),
        front_matter_complete=front.complete,
        hidden=[*template.hidden, *builder.hidden],
        shown=template.text if template.text is not text else "",
        title=title,
        headings=headings,
        blocks=blocks,
        imports=MappingProxyType(env.get("imports", {})),
        problems=tuple(problems),
        references=MappingProxyType(env.get("references", {})),
    )
    return _ParsedPage(page, tokens, env)


def _template(
    text: str, start: int, flavour: Flavour, front_matter: Mapping[str, object]
) -> Template:
    if flavour not in ("liquid", "jinja", "hugo"):
        return Template(text)
    if False in (front_matter.get("render_with_liquid"), front_matter.get("render_macros")):
        return Template(text)
    return read_template(text, start, flavour)


def plain_text(source: str, page: Page) -> str:
    """Return the plain text of inline Markdown from `page`."""
    return inline_text(parser_for(page.flavour), {"references": page.references}, source)


_EXPLICIT_ID: Final = re.compile(
    r"(?:^|[ \t])(?:"
    r"\\?\{:?[ \t]*+(?:[.][\w-]++[ \t]++)*+#([^\s{}]++)[^{}\n]*+\}"  # {#id}, \{#id}
    r"|\{/\*[ \t]*+#([^\s{}*]++)[ \t]*+\*/\}"  # {/* #id */}
    r"|\{:?[ \t]*+(?:[.][\w-]++|[\w-]++=[^\s{}]++)(?:[ \t]++[^{}\n]*+)?\}"  # { .a } { k=v }
    r")$"
)

# For a preprocessor of mdBook
_DIRECTIVES: Final = re.compile(r"(?:\{\{[#%!](?:[^{}\\]|\\.)*+\}\}\s*+)++")

_INFO_LANGUAGE: Final = re.compile(r"[^\s{},:\[=]{1,50}+(?![^\s{},:\[])")
_INFO_TITLE: Final = re.compile(
    r"""(?:title|filename|caption)=(?:"([^"]*)"|'([^']*)')|\[([^\[\]]+)\]"""
)
_MAX_NAME: Final = 1_000
"""Characters of a heading or title: each chunk below it repeats them."""

_PARENTS: Final[Mapping[str, BlockKind]] = {
    "bullet_list": "list",
    "ordered_list": "list",
    "list_item": "item",
    "blockquote": "quote",
    "container": "container",
    "footnote_reference": "container",
    "dl": "list",
    "dd": "item",
}


def is_directive(source: str) -> bool:
    """Tell whether a paragraph only instructs a preprocessor, such as `{{#include x.rs}}`."""
    return _DIRECTIVES.fullmatch(source) is not None


def code_label(token: Token) -> tuple[str, str]:
    """Return the language of a fence, in lower case, and the file name or caption above it."""
    info = token.info.strip()
    found = _INFO_LANGUAGE.match(info.lstrip("{.").lstrip())
    language = found[0].lower() if found is not None else ""
    title = token.meta.get("title", "")
    if not title and (named := _INFO_TITLE.search(info)):
        title = (named[1] or named[2] or named[3] or "")[:_MAX_NAME]
    return language, title


@dataclass
class _Builder:
    """Convert one page's tokens into blocks."""

    parser: MarkdownIt
    env: dict[str, Any]
    text: str
    lines: Lines
    headings: list[Heading] = field(default_factory=list)
    hidden: list[tuple[int, int]] = field(default_factory=list)
    """Comments that the site's own pages leave out."""

    def plain(self, source: str) -> str:
        return inline_text(self.parser, self.env, source)

    def children(
        self, tokens: Sequence[Token], at: int, begin: int, end: int
    ) -> tuple[tuple[Block, ...], int]:
        """Convert the tokens from `at` up to the closing token of their parent.

        They cover the lines `begin` to `end`. Also returns the index after the closing token.
        """
        blocks: list[Block] = []
        covered = begin
        while at < len(tokens) and tokens[at].nesting >= 0:
            token = tokens[at]
            first, last = token.map if token.map is not None else (covered, covered)
            last = max(last, first + 1)
            if first > covered:
                self._uncovered(blocks, covered, first)
            block, at = self._block(tokens, at, first, last)
            blocks.append(block)
            covered = max(covered, last)
        if covered < end:
            self._uncovered(blocks, covered, end)
        return tuple(blocks), at + 1

    def _uncovered(self, blocks: list[Block], begin: int, end: int) -> None:
        """Append blocks for lines without a token: link definitions, and text nested too deep."""
        while begin < end:
            line = self.text[self.lines.starts[begin] : self.lines.ends[begin]]
            line = line.strip(f" \t>{FILLER}")
            if not line:
                begin += 1
                continue
            stop = begin + 1
            while stop < end and not self.lines.blank(stop):
                stop += 1
            start, finish = self.lines.span(begin, stop)
            if line.startswith("["):
                blocks.append(Block("reference", start, finish))
            else:
                shown = self.text[start:finish].replace(FILLER, "")
                blocks.append(Block("paragraph", start, finish, shown))
            begin = stop

    def _block(self, tokens: Sequence[Token], at: int, first: int, last: int) -> tuple[Block, int]:
        token = tokens[at]
        start, end = self.lines.span(first, last)
        kind = token.type.removesuffix("_open")
        if kind in ("paragraph", "dt") or (
            kind == "heading" and not self.env["foreign"].isdisjoint(range(first, last))
        ):
            source = tokens[at + 1].content
            if is_directive(source):
                return Block("marker", start, end), at + 3
            return Block("paragraph", start, end, self.plain(source)), at + 3
        if kind == "heading":
            return self._heading(token, tokens[at + 1].content, start, end), at + 3
        if kind in ("fence", "code_block"):
            return self._code(token, first, start, end), at + 1
        if kind == "html_block":
            text = html_text(token.content)
            is_comment = not text and token.content.lstrip().startswith("<!--")
            return Block("comment" if is_comment else "html", start, end, text), at + 1
        if kind == "table":
            return self._table(token, first, start, end), at + 1
        if kind in _PARENTS:
            body = tokens[at + 1].map
            if kind == "dd" and body:  # after the first, markdown-it counts the term to it
                first = body[0]
                start = self.lines.starts[first]
            inner = token.meta.get("inner", first)
            stop = token.meta.get("stop", last)
            children, after = self.children(tokens, at + 1, inner, stop)
            title = self.plain(token.content) if token.content else ""
            if kind == "ordered_list":
                number = int(token.attrs.get("start", 1))
                children = tuple(
                    replace(item, title=f"{number + at}{token.markup}")
                    for at, item in enumerate(children)
                )
            return Block(_PARENTS[kind], start, end, title, children=children), after
        if token.meta.get("hidden"):
            self.hidden.append((start, end))
        text = token.content
        if kind == "marker" and text:
            text = self.plain(text)
        return Block("rule" if kind == "hr" else cast(BlockKind, kind), start, end, text), at + 1

    def _heading(self, token: Token, source: str, start: int, end: int) -> Block:
        source = source.rstrip(" \t")
        found = _EXPLICIT_ID.search(source, max(0, source.rfind("{") - 2))
        explicit = None
        if found is not None:
            explicit = found[1] or found[2]
            source = source[: found.start()].rstrip()
        text = " ".join(self.plain(source).split())[:_MAX_NAME]
        index = len(self.headings)
        level = int(token.tag[1:])
        self.headings.append(Heading(level, text, source, explicit, start, end))
        return Block("heading", start, end, text, heading=index)

    def _code(self, token: Token, first: int, start: int, end: int) -> Block:
        language, title = code_label(token)
        first_body = first + 1 if token.type == "fence" else first
        first_body = min(token.meta.get("first", first_body), len(self.lines.starts) - 1)
        body = self.lines.starts[first_body]
        return Block("code", start, end, token.content, language, title, body)

    def _table(self, token: Token, first: int, start: int, end: int) -> Block:
        rows: list[Block] = []
        for row in token.meta["rows"]:
            line = first + len(rows) + bool(rows)  # after the rule below the header
            text = " | ".join(" ".join(self.plain(cell).split()) for cell in row)
            rows.append(Block("row", *self.lines.span(line, line + 1), text))
        return Block("table", start, end, children=tuple(rows))
