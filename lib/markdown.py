"""A Markdown file as a page: front matter, headings, and a tree of blocks with true offsets.

markdown-it reads the structure; the rules below teach it what sites write beside CommonMark:
MDX (imports, JSX, expressions, comments), `:::` containers, `!!!` admonitions and `===` tabs with
indented bodies, MyST directives, `$$` formulas, footnotes and definition lists. JSX and `:::`
containers are read flat: their tags are blocks of their own and what stands between them is
ordinary Markdown, which is how it reads on the page and survives a tag that is never closed.

Offsets count Unicode characters in the text as given, byte order mark and CR LF included. Blocks
and headings are whole lines; their `end` is before the last line's line break.
"""

import html
import re
import tomllib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import yaml
from markdown_it import MarkdownIt
from markdown_it.ruler import RuleOptionsType
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from mdit_py_plugins.deflist import deflist_plugin
from mdit_py_plugins.footnote.index import footnote_def

Flavour: TypeAlias = Literal["commonmark", "mdx", "myst"]

BlockKind: TypeAlias = Literal[
    "heading",
    "paragraph",
    "list",
    "item",
    "quote",
    "container",  # an admonition, tab, footnote or definition: `text` is its title
    "code",
    "table",
    "row",
    "math",
    "html",
    "marker",  # a line that opens or closes something: `text` is the title or label it shows
    "comment",
    "esm",
    "expression",
    "reference",
    "rule",
]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading wherever it stands, in quotes, lists and admonitions too: generators give an
    anchor to those as well."""

    level: int
    text: str
    """What a reader sees: inline markup rendered to plain text, the explicit id removed."""
    source: str
    """The inline source as written, the explicit id removed."""
    explicit_id: str | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Block:
    """A block of whole lines. The children of a block lie inside it, in order, and don't overlap
    but for sharing the line on which a list item or a quote begins."""

    kind: BlockKind
    start: int
    end: int
    text: str = ""
    """What a reader sees of this block itself, its children not included: plain text for prose,
    the code itself for code, ` | ` between the cells of a row, a title for a container."""
    language: str = ""
    """A fence's language, lower case."""
    title: str = ""
    """Code: the file name or caption shown above it."""
    body: int = -1
    """Code: where its own first line begins, below the fence that opens it."""
    heading: int | None = None
    """For a heading, its place in `Page.headings`."""
    children: tuple["Block", ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    flavour: Flavour
    front_matter: Mapping[str, object]
    title: str
    """The front matter's title, else the first h1; empty where there is neither."""
    headings: tuple[Heading, ...]
    blocks: tuple[Block, ...]
    imports: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """MDX: the imported name to the module it comes from."""
    problems: tuple[str, ...] = ()
    """Sentences on what could not be read; the rest of the page is there all the same."""
    references: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Link reference definitions, as `plain_text` wants them."""


def parse_page(text: str, flavour: Flavour) -> Page:
    """Read a page. Never raises, whatever the text: what is broken is named in `problems`."""
    problems: list[str] = []
    front = _split_front_matter(text)
    front_matter: dict[str, object] = {}
    body_start = 1 if text.startswith("\ufeff") else 0
    if front is not None:
        body_start = front.end
        front_matter, problem = _load_front_matter(front)
        if problem is not None:
            problems.append(problem)

    lines = _Lines(text, body_start)
    source = _NEWLINES.sub("\n", text[body_start:] if body_start else text).replace("\0", "\ufffd")
    env: dict[str, Any] = {"closed": frozenset(_CLOSING_NAMES.findall(source))}
    tokens: list[Token] = []
    parser = _parser(flavour)
    try:
        parser.block.parse(source, parser, env, tokens)
    except (RecursionError, IndexError) as error:  # pragma: no cover - a rule's bug, not the page's
        problems.append(f"the structure could not be read ({type(error).__name__})")
        tokens = []
    builder = _Builder(parser, env, text, lines, flavour)
    blocks = builder.build(tokens)
    headings = tuple(builder.headings)
    title = _front_title(front_matter) or next((h.text for h in headings if h.level == 1), "")
    return Page(
        flavour=flavour,
        front_matter=MappingProxyType(front_matter),
        title=title,
        headings=headings,
        blocks=blocks,
        imports=MappingProxyType(env.get("imports", {})),
        problems=tuple(problems),
        references=MappingProxyType(env.get("references", {})),
    )


def plain_text(source: str, page: Page) -> str:
    """What a reader sees of inline Markdown that stands on `page`."""
    env = {"references": page.references, "closed": _ANY_NAME}
    return _inline_text(_parser(page.flavour), env, source)


def render(block: Block, include: Callable[[Block], str | None] | None = None) -> str:
    """A block and its children as a reader sees them, in plain text: lists with dashes, code in a
    fence that names its language, a table's cells between bars. Empty for what a page does not
    show (imports, comments, bare tags). `include` may name the text of a file a block stands for.
    """
    kind = block.kind
    if include is not None and not block.children:
        included = include(block)
        if included is not None:
            return _fenced(block, included) if kind == "code" else included
    if kind == "code":
        return _fenced(block, block.text)
    if not block.children:
        return block.text
    parts = [block.text] if block.text else []
    for child in block.children:
        text = render(child, include)
        if not text:
            continue
        if child.kind == "item":
            text = "- " + text.replace("\n", "\n  ")
        parts.append(text)
    return "\n".join(parts)


def _fenced(block: Block, code: str) -> str:
    if not code.strip():
        return block.title
    title = f"{block.title}\n" if block.title else ""
    return f"{title}{fence(code, block.language)}"


def fence(code: str, language: str) -> str:
    """`code` between fences that no line of it closes."""
    marks = "```"
    while marks in code:
        marks += "`"
    return f"{marks}{language}\n{code.strip(chr(10))}\n{marks}"


# --- Front matter -------------------------------------------------------------------------------

_MAX_FRONT_MATTER: Final = 65_536
_FRONT_OPEN: Final = re.compile(r"\ufeff?(---|\+\+\+)[ \t]*(?:\r\n?|\n)")
_KEY_LINE: Final = re.compile(r"(?m)^[\w\"'][^\n]*?(?::(?:\s|$)|\s=\s)")


class _FrontMatter(NamedTuple):
    fence: str
    body: str
    end: int
    """Offset of the first character after the closing fence's line."""


def _split_front_matter(text: str) -> _FrontMatter | None:
    opening = _FRONT_OPEN.match(text)
    if opening is None:
        return None
    fence = opening[1]
    ending = "---|\\.\\.\\." if fence == "---" else "\\+\\+\\+"
    closing = re.compile(rf"(?m)(?:^|(?<=\r))(?:{ending})[ \t]*(?:\r\n?|\n|\Z)")
    found = closing.search(text, opening.end(), opening.end() + _MAX_FRONT_MATTER)
    if found is None:
        return None
    body = text[opening.end() : found.start()]
    if body.strip() and _KEY_LINE.search(body) is None and body.lstrip()[0] not in "#{":
        return None  # prose between two rules
    return _FrontMatter(fence, body, found.end())


def _load_front_matter(front: _FrontMatter) -> tuple[dict[str, object], str | None]:
    """The values, and a sentence if they cannot be read."""
    try:
        if front.fence == "+++":
            return dict(tomllib.loads(_NEWLINES.sub("\n", front.body))), None
        values = yaml.load(front.body, Loader=_YamlLoader)
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 2}" if error.problem_mark else ""
        return {}, f"the front matter is not valid YAML{line}: {error.problem or error.context}"
    except tomllib.TOMLDecodeError as error:
        return {}, f"the front matter is not valid TOML: {error}"
    # A date such as 2024-13-45 raises ValueError from the datetime constructor; a character
    # YAML forbids is a ReaderError, a thousand nested brackets a RecursionError.
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return {}, f"the front matter cannot be read: {reason}"
    if values is None:
        return {}, None
    if not isinstance(values, dict):
        return {}, "the front matter is not a mapping of names to values"
    return {str(key): value for key, value in values.items()}, None


_YamlLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _front_title(front_matter: Mapping[str, object]) -> str:
    title = front_matter.get("title")
    # YAML reads `title: 2024` as a number and `title: 2024-01-01` as a date: both are titles.
    if title is None or isinstance(title, bool | list | dict):
        return ""
    return " ".join(str(title).split())


# --- Lines --------------------------------------------------------------------------------------

_NEWLINES: Final = re.compile(r"\r\n?|\n")


class _Lines:
    """Where markdown-it's lines start and end in the text they were read from.

    Its rule is `\\r\\n`, `\\r` or `\\n`; `str.splitlines` also breaks at form feeds, U+2028 and
    others, after which every offset would be wrong.
    """

    def __init__(self, text: str, start: int) -> None:
        self.starts: list[int] = [start]
        self.ends: list[int] = []
        for found in _NEWLINES.finditer(text, start):
            self.ends.append(found.start())
            self.starts.append(found.end())
        self.ends.append(len(text))
        self.text = text

    def blank(self, line: int) -> bool:
        return not self.text[self.starts[line] : self.ends[line]].strip(" \t")

    def span(self, begin: int, end: int) -> tuple[int, int]:
        """Offsets of lines `begin` to `end` (exclusive), blank lines at the end left off."""
        end = min(end, len(self.starts))
        while end > begin + 1 and self.blank(end - 1):
            end -= 1
        return self.starts[begin], self.ends[max(end - 1, begin)]


# --- Tags, braces and modules -------------------------------------------------------------------

_CLOSING_NAMES: Final = re.compile(r"</([A-Za-z][\w.:-]*)")
_TAG_START: Final = re.compile(r"<(/?)([A-Za-z][\w.:-]*)?")
_ATTRIBUTE: Final = re.compile(
    r"""([A-Za-z_$:@#][\w.:@\[\]-]*)(?:\s*=\s*("[^"]*"|'[^']*'|[^\s"'=<>`{]+|(?=\{)))?"""
)
_SPACE: Final = re.compile(r"\s*")
_JS: Final = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`|[\[\](){}]""",
    re.DOTALL,
)


def _words(names: str) -> frozenset[str]:
    return frozenset(names.split())


_MAX_TAG: Final = 20_000
_MAX_MODULE: Final = 100_000
_MAX_FAILURES: Final = 64
_LABELS: Final = frozenset(
    {"label", "title", "alt", "alt-text", "caption", "description", "heading", "question", "tab"}
)
_VOID: Final = frozenset({"br", "hr", "img", "input", "link", "meta", "area", "base", "col", "wbr"})
_HTML: Final = _VOID | _words(
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


_ANY_NAME: Final = _AnyName()


class _Tag(NamedTuple):
    name: str
    end: int
    closing: bool
    labels: tuple[str, ...]
    """What its attributes show a reader: a tab's label, a title, an image's alternative."""


def _scan_braces(src: str, pos: int, env: MutableMapping[str, Any]) -> int:
    """The offset after the brace that closes the one at `pos`; -1 if none does."""
    if env.get("open_braces", 0) > _MAX_FAILURES:
        return -1
    depth = 0
    for found in _JS.finditer(src, pos, pos + _MAX_TAG):
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


def _scan_tag(src: str, pos: int, env: MutableMapping[str, Any]) -> _Tag | None:
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
            at = _scan_braces(src, at, env)
            if at < 0:
                return None
            continue
        attribute = _ATTRIBUTE.match(src, at, limit)
        if attribute is None or not spaced or closing or not name:
            return None
        at = attribute.end()
        key, value = attribute[1].lower(), attribute[2]
        if value == "":
            end_of_value = _scan_braces(src, at, env)
            if end_of_value < 0:
                return None
            value = src[at:end_of_value]
            at = end_of_value
        if key in _LABELS and value:
            labels.append(_literal(value))
        elif key == "values" and value:
            labels.extend(_literal(label) for label in _LABEL_PROPERTY.findall(value))
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


def _literal(value: str) -> str:
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
_COMMENT_EXPRESSION: Final = re.compile(r"\{\s*(?:/\*.*?\*/\s*)*\}", re.DOTALL)


def _expression_text(expression: str) -> str:
    """What to show for `{…}`: a string's text; a bare name as it stands, for in pages that were
    never compiled it is a placeholder the author wrote; nothing for any other code."""
    if _PLAIN_EXPRESSION.fullmatch(expression):
        return expression
    return _literal(expression)


# --- Block rules --------------------------------------------------------------------------------

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


def _push_line(state: StateBlock, kind: str, start: int, end: int, content: str = "") -> bool:
    token = state.push(kind, "", 0)
    token.map = [start, end]
    token.content = content
    state.line = end
    return True


def _line_of(state: StateBlock, line: int, end: int, pos: int) -> int:
    """The line on which the offset `pos` lies; `end` if it lies on a later one."""
    while line < end and state.eMarks[line] < pos:
        line += 1
    return line


_ESM: Final = re.compile(
    r"import\s*(?:[\"']|[\w$*{][^\n]*|type\s)|"
    r"export\s+(?:(?:default|const|let|var|function|class|async|type|interface|enum)\b|[{*])"
)
_IMPORT: Final = re.compile(
    r"import\s+(?:([\w$]+)\s*,?\s*)?(?:\{[^}]*\}\s*)?from\s*[\"']([^\"'\n]+)"
)
_IMPORT_FROM: Final = re.compile(r"import\b[^;]*?\bfrom\s*[\"']|import\s*[\"']")
_BLANK_LINE: Final = re.compile(r"\n[ \t]*(?:\n|\Z)|\Z")


def _esm(state: StateBlock, start: int, end: int, silent: bool) -> bool:
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
    for found in _JS.finditer(src, pos, pos + (_MAX_MODULE if failures < _MAX_FAILURES else 0)):
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
    return _push_line(state, "esm", start, min(_line_of(state, start, end, stop) + 1, end))


def _expression(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A line that begins with `{` and whose matching `}` ends a line."""
    pos = state.bMarks[start] + state.tShift[start]
    if state.src[pos : pos + 1] != "{":
        return False
    stop = _scan_braces(state.src, pos, state.env)
    if stop < 0:
        return False
    line = _line_of(state, start, end, stop)
    if line >= end or state.src[stop : state.eMarks[line]].strip():
        return False
    if silent:
        return True
    body = state.src[pos:stop]
    if _COMMENT_EXPRESSION.fullmatch(body):
        return _push_line(state, "comment", start, line + 1)
    return _push_line(state, "expression", start, line + 1, _expression_text(body))


def _comment(state: StateBlock, start: int, end: int, silent: bool) -> bool:
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
    line = _line_of(state, start, end, stop + 3)
    if line >= end or state.src[stop + 3 : state.eMarks[line]].strip():
        return False
    return silent or _push_line(state, "comment", start, line + 1)


def _jsx(state: StateBlock, start: int, end: int, silent: bool) -> bool:
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
        line = _line_of(state, line, end, pos)
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
    return _push_line(state, "marker", start, line + 1, "\n".join(filter(None, shown)))


_MDX_FENCE: Final = re.compile(r"(`{3,}|~{3,})mdx-code-block[ \t]*")


def _mdx_code_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
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
    _push_line(state, "marker", start, start + 1)
    line_max, state.lineMax = state.lineMax, stop
    state.md.block.tokenize(state, start + 1, stop)
    state.lineMax = line_max
    return _push_line(state, "marker", stop, stop + 1)


_ADMONITIONS: Final = _words(
    "abstract attention bug caution danger details error example failure hint important info note "
    "question quote seealso success summary tip todo tldr warning"
)
_CONTAINER: Final = re.compile(r"(?::{3,}|/{3,})[ \t]*(\{?)([\w.-]*)(\}?)(.*)")
_QUOTED_ATTRIBUTE: Final = re.compile(r"""([\w-]+)=("[^"]*"|'[^']*')""")


def _container(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A line that opens or closes a `:::` container (or a `///` block)."""
    pos = state.bMarks[start] + state.tShift[start]
    if state.src[pos : pos + 3] not in (":::", "///") or state.is_code_block(start):
        return False
    found = _CONTAINER.match(state.src, pos, state.eMarks[start])
    if found is None or (not found[2] and found[4].strip()):
        return False
    if silent:
        return True
    return _push_line(state, "marker", start, start + 1, _container_title(found[2], found[4]))


def _container_title(name: str, rest: str) -> str:
    """The title a container's first line shows; its kind where it has none of its own."""
    rest = rest.strip().rstrip(":").strip()
    quoted = {key.lower(): _literal(value) for key, value in _QUOTED_ATTRIBUTE.findall(rest)}
    if quoted:
        return " ".join(quoted[key] for key in sorted(_LABELS & quoted.keys()))
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


def _indented_container(state: StateBlock, start: int, end: int, silent: bool) -> bool:
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


def _math(state: StateBlock, start: int, end: int, silent: bool) -> bool:
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
    return _push_line(state, "math", start, line + 1, content.strip())


_DIRECTIVE: Final = re.compile(r"(`{3,}|~{3,}|:{3,})[ \t]*\{([A-Za-z][\w:.-]*)\}[ \t]*(.*)")
_CODE_DIRECTIVES: Final = _words(
    "code code-block code-cell sourcecode highlight prompt parsed-literal doctest testcode "
    "ipython literalinclude mermaid graphviz eval-rst raw csv-table"
)
_SILENT_DIRECTIVES: Final = _words(
    "toctree contents include index meta tableofcontents image bibliography"
)
_OPTION: Final = re.compile(r":([\w-]+):[ \t]*(.*)")


def _directive(state: StateBlock, start: int, end: int, silent: bool) -> bool:
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
        return _push_line(state, "math", start, after, state.getLines(inner, stop, indent, False))
    if name in _SILENT_DIRECTIVES:
        return _push_line(state, "marker", start, after, options.get("alt", ""))
    title = argument if name not in ("figure", "versionadded") else options.get("alt", "")
    if not title and name in _ADMONITIONS:
        title = name.capitalize()
    return _nested(state, start, inner, stop, after, title, indent)


_MYST_LINE: Final = re.compile(r"\([\w.: /-]+\)=[ \t]*|%.*|\+\+\+.*")


def _myst_line(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """`(target)=`, `% comment` and `+++`."""
    pos = state.bMarks[start] + state.tShift[start]
    if state.src[pos : pos + 1] not in ("(", "%", "+") or state.is_code_block(start):
        return False
    if not _MYST_LINE.fullmatch(state.src, pos, state.eMarks[start]):
        return False
    return silent or _push_line(state, "comment", start, start + 1)


# --- Inline rules -------------------------------------------------------------------------------


def _inline_tag(state: StateInline, silent: bool) -> bool:
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
    tag = _scan_tag(src, pos, state.env)
    if tag is None:
        return False
    if not silent:
        token = state.push("tag", tag.name.lower(), 0)
        token.content = " ".join(tag.labels)
    state.pos = tag.end
    return True


def _inline_expression(state: StateInline, silent: bool) -> bool:
    """`{…}` in MDX prose."""
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


_ROLE: Final = re.compile(r"\{[\w:.+-]+\}(?=`)")


def _inline_role(state: StateInline, silent: bool) -> bool:
    """The name of a MyST role before its text: `{ref}` in {ref}`text`."""
    if state.src[state.pos] != "{":
        return False
    found = _ROLE.match(state.src, state.pos)
    if found is None:
        return False
    state.pos = found.end()
    return True


@lru_cache(maxsize=3)
def _parser(flavour: Flavour) -> MarkdownIt:
    md = MarkdownIt("commonmark", {"maxNesting": 60}).enable(["table", "strikethrough"])
    block, inline = md.block.ruler, md.inline.ruler
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
    if flavour == "myst":
        block.before("fence", "directive", _directive, ends_all)
        block.before("fence", "myst_line", _myst_line, ends_prose)
        inline.before("link", "role", _inline_role)
    block.before("fence", "container", _container, ends_all)
    block.before("fence", "math", _math, ends_all)
    block.before("reference", "footnote_def", footnote_def, {"alt": ["paragraph", "reference"]})
    block.at("paragraph", _paragraph)
    md.disable("lheading")
    inline.at("html_inline", _inline_tag)
    return md


# --- From tokens to blocks ----------------------------------------------------------------------

# What the inline rules can find something in; brackets are another thing on a page that defines
# links. Most of prose has none of it, and reading it takes longer than all else.
_MARKUP: Final = re.compile(
    r"[\\`*~<{_&\]](?:(?<=[\\`*~<{])|(?<=\])\(|(?<=_)(?!\w)|(?<!\w_)(?<=_)|(?<=&)[#A-Za-z])"
)
_SOFT_BREAK: Final = re.compile(r" *\n[ \t]*")
_MAX_INLINE: Final = 60_000
_MAX_OPEN_BRACKETS: Final = 40
_ATTRIBUTE_LIST: Final = re.compile(r"[ \t]*(?<!\{)\{:?[ \t]*[.#][\w.#: =\"'-]*\}(?!\})")


def _inline_text(parser: MarkdownIt, env: dict[str, Any], source: str) -> str:
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


_EXPLICIT_ID: Final = re.compile(
    r"(?:^|[ \t]+)(?:"
    r"\\?\{:?[ \t]*(?:[.][\w-]+[ \t]+)*#([^\s{}]+)[^{}\n]*\}"  # {#id}, \{#id}, { #id .class }
    r"|\{/\*[ \t]*#([^\s{}*]+)[ \t]*\*/\}"  # {/* #id */}
    r"|\{:?[ \t]*(?:[.][\w-]+|[\w-]+=[^\s{}]+)(?:[ \t]+[^{}\n]*)?\}"  # { .class } { key=value }
    r")[ \t]*$"
)

_INFO_LANGUAGE: Final = re.compile(r"[^\s{},:\[]+")
_INFO_TITLE: Final = re.compile(
    r"""(?:title|filename|caption)=(?:"([^"]*)"|'([^']*)')|\[([^\]]+)\]"""
)

_LEAVES: Final[Mapping[str, BlockKind]] = {
    "comment": "comment",
    "esm": "esm",
    "expression": "expression",
    "marker": "marker",
    "math": "math",
    "hr": "rule",
}
_PARENTS: Final[Mapping[str, BlockKind]] = {
    "bullet_list": "list",
    "ordered_list": "list",
    "list_item": "item",
    "blockquote": "quote",
    "container": "container",
    "footnote_reference": "container",
    "dl": "list",
    "dt": "paragraph",
    "dd": "item",
}


class _Builder:
    """Turns one page's tokens into blocks; holds what they have in common."""

    def __init__(
        self,
        parser: MarkdownIt,
        env: dict[str, Any],
        text: str,
        lines: _Lines,
        flavour: Flavour,
    ) -> None:
        self.parser = parser
        self.env = env
        self.text = text
        self.lines = lines
        self.flavour = flavour
        self.headings: list[Heading] = []

    def build(self, tokens: Sequence[Token]) -> tuple[Block, ...]:
        blocks, _ = self._children(tokens, 0, 0, len(self.lines.starts))
        return blocks

    def plain(self, source: str) -> str:
        return _inline_text(self.parser, self.env, source)

    def _children(
        self, tokens: Sequence[Token], at: int, begin: int, end: int
    ) -> tuple[tuple[Block, ...], int]:
        """Blocks of the tokens from `at` to their parent's closing token, which stand on lines
        `begin` to `end`; and the place after that closing token."""
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
        """Lines for which the parser made no token: link definitions, and what stands deeper
        than it follows nested blocks."""
        while begin < end:
            line = self.text[self.lines.starts[begin] : self.lines.ends[begin]].strip(" \t>")
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
                blocks.append(Block("paragraph", start, finish, self.text[start:finish]))
            begin = stop

    def _block(self, tokens: Sequence[Token], at: int, first: int, last: int) -> tuple[Block, int]:
        token = tokens[at]
        start, end = self.lines.span(first, last)
        kind = token.type.removesuffix("_open")
        if kind == "paragraph":
            return Block("paragraph", start, end, self.plain(tokens[at + 1].content)), at + 3
        if kind == "heading":
            return self._heading(token, tokens[at + 1].content, start, end), at + 3
        if kind in ("fence", "code_block"):
            return self._code(token, first, start, end), at + 1
        if kind == "html_block":
            return _html(token.content, start, end), at + 1
        if kind == "table":
            return self._table(tokens, at, start, end)
        if kind == "dt":
            return Block("paragraph", start, end, self.plain(tokens[at + 1].content)), at + 3
        if kind in _PARENTS:
            inner = token.meta.get("inner", first)
            stop = token.meta.get("stop", last)
            children, after = self._children(tokens, at + 1, inner, stop)
            title = self.plain(token.content) if token.content else ""
            return Block(_PARENTS[kind], start, end, title, children=children), after
        text = token.content
        if kind == "marker" and text:
            text = self.plain(text)
        return Block(_LEAVES[kind], start, end, text), at + 1

    def _heading(self, token: Token, source: str, start: int, end: int) -> Block:
        found = _EXPLICIT_ID.search(source)
        explicit = None
        if found is not None:
            explicit = found[1] or found[2]
            source = source[: found.start()].rstrip()
        text = " ".join(self.plain(source).split())
        index = len(self.headings)
        level = int(token.tag[1:])
        self.headings.append(Heading(level, text, source, explicit, start, end))
        return Block("heading", start, end, text, heading=index)

    def _code(self, token: Token, first: int, start: int, end: int) -> Block:
        info = token.info.strip()
        language = _INFO_LANGUAGE.match(info.lstrip("{.").lstrip())
        first_body = first + 1 if token.type == "fence" else first
        first_body = min(token.meta.get("first", first_body), len(self.lines.starts) - 1)
        title = token.meta.get("title", "")
        if not title and (named := _INFO_TITLE.search(info)):
            title = named[1] or named[2] or named[3]
        return Block(
            "code",
            start,
            end,
            token.content,
            language[0].lower() if language is not None else "",
            title=title,
            body=self.lines.starts[first_body],
        )

    def _table(self, tokens: Sequence[Token], at: int, start: int, end: int) -> tuple[Block, int]:
        rows: list[Block] = []
        cells: list[str] = []
        while tokens[at].type != "table_close":
            token = tokens[at]
            if token.type == "inline":
                cells.append(" ".join(self.plain(token.content).split()))
            elif token.type == "tr_close":
                # markdown-it gives body rows no map of their own: they stand one to a line,
                # the first below the header and its rule.
                line = bisect_right(self.lines.starts, start) - 1
                line += len(rows) + 1 if rows else 0
                row_start, row_end = self.lines.span(line, line + 1)
                rows.append(Block("row", row_start, row_end, " | ".join(cells)))
                cells = []
            at += 1
        return Block("table", start, end, children=tuple(rows)), at + 1


_RAW_HTML: Final = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style)\b.*?(?:</\1\s*>|\Z)|<[?!].*?>", re.DOTALL | re.IGNORECASE
)
_BLOCK_TAGS: Final = _words(
    "p div br hr li ul ol dl dt dd tr table thead tbody h1 h2 h3 h4 h5 h6 details summary section "
    "figure figcaption pre blockquote"
)


def _html(content: str, start: int, end: int) -> Block:
    text = html_text(content)
    if not text and content.lstrip().startswith("<!--"):
        return Block("comment", start, end)
    return Block("html", start, end, text)


def html_text(content: str) -> str:
    """What a browser would show of a piece of HTML."""
    content = _RAW_HTML.sub("", content)
    env: dict[str, Any] = {"closed": _ANY_NAME}
    parts: list[str] = []
    at = 0
    while True:
        opening = content.find("<", at)
        if opening < 0:
            parts.append(content[at:])
            break
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
        parts.extend(tag.labels)
        at = tag.end
    text = html.unescape("".join(parts))
    return "\n".join(line for line in map(str.strip, text.splitlines()) if line)
