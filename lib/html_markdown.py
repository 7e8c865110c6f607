"""Convert an element of HTML to Markdown that `lib.markdown` reads back with the same text."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import quote, urljoin

from selectolax.lexbor import LexborNode

from lib.html_blocks import Cell, Table, Writer
from lib.html_code import read_code
from lib.html_inline import Inline, at_line_starts, code_span, heading_text
from lib.markdown_page import Flavour, fence

FLAVOUR: Final[Flavour] = "commonmark"
"""Flavour of the Markdown: it knows definition lists, footnotes and formulas."""


class _Converted(NamedTuple):
    """Markdown, and the ids of its headings by the offset of their line in it."""

    markdown: str
    anchors: Mapping[int, str]


_Leave: TypeAlias = Callable[[], None]
_Enter: TypeAlias = Callable[["_Converter", LexborNode], _Leave | None]
"""Handles an element. Returns what to do after its children, or None if they are done."""


def to_markdown(content: LexborNode, url: str) -> _Converted:
    """Convert `content`, whose relative links count from `url`."""
    converter = _Converter(url)
    converter.convert(content)
    return _Converted("".join(converter.writer.parts), converter.anchors)


_BLOCKS: Final = frozenset(
    "address article aside blockquote body center dd details dialog dir div dl dt fieldset "
    "figcaption figure footer form h1 h2 h3 h4 h5 h6 header hgroup hr html legend li listing main "
    "menu nav ol optgroup option p plaintext pre search section summary table tbody tfoot thead tr "
    "ul xmp caption".split()
)
_LISTS: Final = frozenset({"ul", "ol", "menu", "dir"})
_HEADINGS: Final = "h1, h2, h3, h4, h5, h6"


class _List:
    """A list whose items are being read."""

    def __init__(self, mark: str, number: int | None, *, tight: bool, joined: bool) -> None:
        self.mark = mark
        self.number = number
        self.tight = tight
        self.joined = joined
        """Whether its first item follows the text before it without an empty line."""

    def next_marker(self) -> str:
        if self.number is None:
            return f"{self.mark} "
        self.number += 1
        return f"{self.number - 1}{self.mark} "


class _Converter:
    """Walks an element and writes its Markdown."""

    def __init__(self, url: str) -> None:
        self.writer = Writer()
        self.inline = Inline()
        self.anchors: dict[int, str] = {}
        self._url = url
        self._addresses: dict[str, str] = {}
        self._line = 0
        """How many elements are open whose text has to be one line: a heading, a cell, a term."""
        self._lists: list[_List] = []
        self._closed_list: tuple[int, str] | None = None
        self._tables: list[Table] = []
        self._has_term = False
        self._inlines: list[Inline] = []
        self._ids: list[str] = []
        """Ids of elements that began after the last text."""

    def convert(self, root: LexborNode) -> None:
        stack: list[tuple[Iterator[LexborNode], _Leave]] = [
            (root.iter(include_text=True), self.flush)
        ]
        enters, text = _ENTERS, self.text
        while stack:
            children, leave = stack[-1]
            for node in children:
                tag = node.tag
                if tag == "-text":
                    text(node.text_content or "")
                    continue
                after = enters.get(tag or "", _enter_inline)(self, node)
                if after is not None:
                    stack.append((node.iter(include_text=True), after))
                    break
            else:
                stack.pop()
                leave()

    def text(self, text: str) -> None:
        self.inline.text(text)
        if self.inline.size > _MAX_PARAGRAPH and not self._line:
            self.flush()

    def flush(self) -> None:
        """End the paragraph."""
        if self._line:
            self.inline.line_break()
        elif text := self.inline.finish():
            self.write_text(text)

    def write_text(self, text: str) -> None:
        text = at_line_starts(text)
        # JSON at the start of a file is its front matter
        self._write(f"\\{text}" if text[0] == "{" and not self.writer.parts else text)

    def _write(self, block: str, *, tight: bool = False) -> int:
        self._closed_list = None
        self._has_term = False
        self._ids.clear()
        return self.writer.write(block, tight=tight)

    # One line of text

    def begin_line(self, newline: str = " ") -> None:
        self.flush()
        self._inlines.append(self.inline)
        self.inline = Inline()
        self.inline.newline = newline
        self._line += 1

    def end_line(self) -> str:
        text = self.inline.finish()
        self.inline = self._inlines.pop()
        self._line -= 1
        return text

    def leave_inline(self) -> None:
        self.inline.close()

    def nothing(self) -> None:
        pass

    def address(self, href: str | None) -> str:
        """Return the absolute address of a link; empty for one that leads nowhere."""
        if href is None:
            return ""
        if href not in self._addresses:
            self._addresses[href] = _absolute(href, self._url)
        return self._addresses[href]


_MAX_PARAGRAPH: Final = 15_000
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f]")
_UNSAFE: Final = re.compile(r"[\s()<>\\`|\"]")
_ENTITY: Final = re.compile(r"&(?=#?\w{1,31};)")


def _absolute(href: str, url: str) -> str:
    href = _CONTROLS.sub("", href).strip()
    if not href.startswith(("http://", "https://")):
        try:
            href = urljoin(url, href)
        except ValueError:
            return ""
        if not href.startswith(("http://", "https://", "mailto:")):
            return ""
    href = _UNSAFE.sub(lambda found: quote(found[0], safe=""), href)
    return _ENTITY.sub("&amp;", href)


def _enter_inline(converter: _Converter, node: LexborNode) -> _Leave | None:
    return converter.nothing


def _enter_block(converter: _Converter, node: LexborNode) -> _Leave | None:
    converter.flush()
    return converter.flush


def _skip(converter: _Converter, node: LexborNode) -> _Leave | None:
    return None


def _enter_heading(converter: _Converter, node: LexborNode) -> _Leave | None:
    if converter._line:
        return _enter_strong_line(converter, node)
    level = int((node.tag or "h1")[1])
    anchor = node.id or (converter._ids[-1] if converter._ids else "")
    converter.begin_line()

    def leave() -> None:
        text = converter.end_line()
        if text:
            at = converter._write(f"{'#' * level} {heading_text(text)}")
            if anchor:
                converter.anchors[at] = anchor

    return leave


def _enter_strong_line(converter: _Converter, node: LexborNode) -> _Leave | None:
    converter.flush()
    converter.inline.open("**", "**")

    def leave() -> None:
        converter.inline.close()
        converter.flush()

    return leave


def _enter_summary(converter: _Converter, node: LexborNode) -> _Leave | None:
    if node.css_first(_HEADINGS) is not None:
        return _enter_block(converter, node)
    return _enter_strong_line(converter, node)


def _format(before: str, after: str = "") -> _Enter:
    def enter(converter: _Converter, node: LexborNode) -> _Leave | None:
        converter.inline.open(before, after or before)
        return converter.leave_inline

    return enter


def _enter_code(converter: _Converter, node: LexborNode) -> _Leave | None:
    converter.inline.open_code()
    return converter.inline.close_code


def _enter_link(converter: _Converter, node: LexborNode) -> _Leave | None:
    address = converter.address(node.attributes.get("href"))
    if address:
        converter.inline.open("[", f"]({address})", repeat=False)
        return converter.leave_inline
    return converter.nothing


def _enter_break(converter: _Converter, node: LexborNode) -> _Leave | None:
    converter.inline.line_break()
    return None


def _enter_image(converter: _Converter, node: LexborNode) -> _Leave | None:
    attributes = node.attributes
    alt = " ".join((attributes.get("alt") or "").split())
    if not alt:
        return None
    address = converter.address(attributes.get("src"))
    if address and "emoji" not in (attributes.get("class") or ""):
        converter.inline.image(alt, address)
    else:
        converter.inline.text(alt)
    return None


def _enter_pre(converter: _Converter, node: LexborNode) -> _Leave | None:
    code = read_code(node)
    converter.flush()
    if not code.text.strip():
        return None
    if converter._line:
        for line in code.text.split("\n"):
            if line.strip():
                converter.inline.verbatim(code_span(line.strip()))
                converter.flush()
        return None
    converter._write(fence(code.text, code.language))
    return None


def _enter_quote(converter: _Converter, node: LexborNode) -> _Leave | None:
    converter.flush()
    if converter._line or not converter.writer.enter("> ", weight=1):
        return converter.flush

    def leave() -> None:
        converter.flush()
        converter.writer.leave()

    return leave


def _enter_rule(converter: _Converter, node: LexborNode) -> _Leave | None:
    converter.flush()
    if not converter._line and converter.writer.parts:
        converter._write("***")
    return None


def _enter_list(converter: _Converter, node: LexborNode) -> _Leave | None:
    converter.flush()
    number = None
    mark = "-"
    if node.tag == "ol":
        start = (node.attributes.get("start") or "").strip()
        number = int(start) if start.isascii() and start.isdigit() and len(start) < 9 else 1
        mark = "."
    depth = converter.writer.depth
    if converter._closed_list == (depth, mark):
        mark = "*" if number is None else ")"
    tight = _is_tight(node)
    inside = bool(converter._lists) and converter._lists[-1].tight
    joined = inside and number in (None, 1) and converter.writer.in_item
    converter._lists.append(_List(mark, number, tight=tight, joined=joined))

    def leave() -> None:
        converter.flush()
        converter._lists.pop()
        converter._closed_list = depth, mark

    return leave


def _is_tight(node: LexborNode) -> bool:
    """Tell whether the first item of a list has no block except lists."""
    item = next((child for child in node.iter() if child.tag == "li"), None)
    if item is None:
        return True
    return all(child.tag not in _BLOCKS or child.tag in _LISTS for child in item.iter())


def _enter_item(converter: _Converter, node: LexborNode) -> _Leave | None:
    converter.flush()
    if converter._line:
        converter.inline.verbatim("-")
        converter.inline.space()
        return converter.flush
    if not converter._lists:
        return converter.flush
    items = converter._lists[-1]
    tight = items.joined
    items.joined = items.tight
    if not converter.writer.enter(items.next_marker(), tight=tight):
        return converter.flush

    def leave() -> None:
        converter.flush()
        converter.writer.leave()

    return leave


def _enter_term(converter: _Converter, node: LexborNode) -> _Leave | None:
    if converter._line:
        return _enter_block(converter, node)
    converter.begin_line()

    def leave() -> None:
        text = converter.end_line()
        if text:
            converter.write_text(text)
            converter._has_term = True

    return leave


def _enter_definition(converter: _Converter, node: LexborNode) -> _Leave | None:
    converter.flush()
    if converter._line or not converter._has_term or not converter.writer.enter(": ", tight=True):
        return converter.flush
    converter._has_term = False

    def leave() -> None:
        converter.flush()
        converter.writer.leave()
        converter._has_term = True

    return leave


def _enter_table(converter: _Converter, node: LexborNode) -> _Leave | None:
    converter.flush()
    if converter._line:
        return converter.flush
    table = Table()
    converter._tables.append(table)

    def leave() -> None:
        converter._tables.pop()
        if markdown := table.markdown():
            converter._write(markdown)

    return leave


def _enter_head(converter: _Converter, node: LexborNode) -> _Leave | None:
    def leave() -> None:
        table = converter._tables[-1]
        table.head = table.head or len(table.rows)

    return converter.nothing if converter._line else leave


def _enter_row(converter: _Converter, node: LexborNode) -> _Leave | None:
    if converter._line:
        return _enter_block(converter, node)
    if converter._tables:
        converter._tables[-1].rows.append([])
    return converter.nothing


def _enter_cell(converter: _Converter, node: LexborNode) -> _Leave | None:
    if converter._line or not (converter._tables and converter._tables[-1].rows):
        converter.inline.space()
        return converter.inline.space
    row = converter._tables[-1].rows[-1]
    attributes = node.attributes
    columns, rows = (
        _span(attributes.get("colspan"), 1_000),
        _span(attributes.get("rowspan"), 65_534),
    )
    converter.begin_line("<br>")

    def leave() -> None:
        text = converter.end_line().replace("|", "\\|")
        row.append(Cell(text, columns, rows, node.tag == "th"))

    return leave


def _span(value: str | None, limit: int) -> int:
    value = (value or "").strip()
    if not (value.isascii() and value.isdigit()) or len(value) > 6:
        return 1
    return min(max(int(value), 1), limit)


_ENTERS: Final[Mapping[str, _Enter]] = {
    **dict.fromkeys(_BLOCKS, _enter_block),
    **dict.fromkeys(
        "script style template noscript svg button select textarea input canvas audio video iframe "
        "object embed map head title rp -comment".split(),
        _skip,
    ),
    **dict.fromkeys(_HEADINGS.split(", "), _enter_heading),
    **dict.fromkeys(("strong", "b"), _format("**")),
    **dict.fromkeys(("em", "i", "cite", "dfn", "var"), _format("*")),
    **dict.fromkeys(("del", "s", "strike"), _format("~~")),
    **dict.fromkeys(("code", "tt", "samp"), _enter_code),
    **dict.fromkeys(("pre", "listing", "xmp"), _enter_pre),
    **dict.fromkeys(_LISTS, _enter_list),
    "sub": _format("<sub>", "</sub>"),
    "sup": _format("<sup>", "</sup>"),
    "summary": _enter_summary,
    "a": _enter_link,
    "br": _enter_break,
    "img": _enter_image,
    "blockquote": _enter_quote,
    "hr": _enter_rule,
    "li": _enter_item,
    "dt": _enter_term,
    "dd": _enter_definition,
    "table": _enter_table,
    "thead": _enter_head,
    "tr": _enter_row,
    "td": _enter_cell,
    "th": _enter_cell,
}
