"""Convert an element of HTML to Markdown that `lib.markdown` reads back with the same text.

The flavour is CommonMark, with the tables, footnotes, definition lists and formulas that
`lib.markdown_rules` adds to it. Handlers of elements are functions by tag, here, and by the classes
of themes, in `lib.html_themes`.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from selectolax.lexbor import LexborNode

from lib.html_blocks import Cell, Table
from lib.html_code import read_code
from lib.html_inline import code_span
from lib.html_themes import (
    enter_definitions,
    enter_formula,
    enter_note_text,
    enter_term,
    find_theme,
    is_layout,
    read_reference,
    write_reference,
)
from lib.html_walk import Attributes, Converter, Enter, Leave, OpenList
from lib.markdown_page import Flavour, fence

FLAVOUR: Final[Flavour] = "commonmark"
_RESERVED: Final = re.compile("[\x00\ufdd0-\ufdd4]")
"""NUL, and the characters with which `lib.markdown_page` and `lib.templates` mark parts."""


class _Converted(NamedTuple):
    """Markdown, and the ids of its headings by the offset of their line in it."""

    markdown: str
    anchors: Mapping[int, str]


def to_markdown(content: LexborNode, url: str) -> _Converted:
    """Convert `content`, whose relative links count from `url`.

    An id counts if only one element has it; the caller removes it from the later ones.
    """
    converter = Converter(url, _enter, _enter_plain)
    converter.convert(content)
    markdown = _RESERVED.sub("\ufffd", "".join(converter.writer.parts))
    return _Converted(markdown, converter.anchors)


def _enter(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    if attributes:
        if anchor := attributes.get("id"):
            converter.ids.append(anchor)
        if theme := find_theme(converter, node, attributes):
            return theme(converter, node, attributes)
    return _enter_plain(converter, node, attributes)


def _enter_plain(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    enter = _ENTERS.get(node.tag or "")
    return enter(converter, node, attributes) if enter else converter.nothing


_BLOCKS: Final = frozenset(
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset "
    "figcaption figure footer form h1 h2 h3 h4 h5 h6 header hgroup hr html legend li listing main "
    "menu nav ol p plaintext pre search section summary table tbody tfoot thead tr ul xmp".split()
)
_LISTS: Final = frozenset({"ul", "ol", "menu", "dir"})
_HEADINGS: Final = "h1, h2, h3, h4, h5, h6"
_FILE: Final = re.compile(r"\S+\.(?:avif|gif|jpe?g|png|svg|webp)")
_ANCHORS: Final = "a[id], a[name], span[id], code[id]"


def _skip(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    return None


def _enter_script(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    if (attributes.get("type") or "").startswith("math/tex"):
        return enter_formula(converter, node, attributes)
    return None


def _enter_block(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    converter.flush()
    return converter.flush


def _enter_section(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    converter.flush()
    converter.sections.append(attributes.get("id") or "")

    def leave() -> None:
        converter.flush()
        converter.sections.pop()

    return leave


def _enter_heading(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    if converter.in_line:
        return converter.begin_label()
    level = int((node.tag or "h1")[1])
    anchor = attributes.get("id") or ""
    if converter.sections:
        anchor = anchor or converter.sections[-1]
        converter.sections[-1] = ""
    if not anchor and (inside := node.css_first(_ANCHORS)) is not None:
        anchor = inside.attributes.get("id") or inside.attributes.get("name") or ""
    if not anchor and converter.ids:
        anchor = converter.ids[-1]
    converter.begin_line()
    converter.in_heading = True

    def leave() -> None:
        converter.in_heading = False
        if text := converter.end_line():
            converter.level = level
            converter.write_heading(level, text, anchor)

    return leave


def _enter_summary(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    if attributes.get("aria-label") == "Toggle hidden content":  # of a cell in Jupyter Book
        return None
    if node.css_first(_HEADINGS) is not None:
        return _enter_block(converter, node, attributes)
    return converter.begin_label()


def _format(mark: str) -> Enter:
    def enter(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
        converter.inline.open(mark, mark)
        return converter.close_inline

    return enter


_SUPERSCRIPTS: Final = str.maketrans("0123456789+-−=()ni", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿⁱ")
_SUBSCRIPTS: Final = str.maketrans("0123456789+-−=()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎")
_MAX_SCRIPT: Final = 12


def _script(tag: str, characters: Mapping[int, int]) -> Enter:
    """A superscript or subscript: of Unicode if it has all characters, as plain text loses tags."""

    def enter(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
        if not converter.in_heading and tag == "sup" and (reference := read_reference(node)):
            write_reference(converter, *reference)
            return None
        text = node.text().strip()
        if 0 < len(text) <= _MAX_SCRIPT and all(ord(each) in characters for each in text):
            converter.inline.text(text.translate(characters))
            return None
        converter.inline.open(f"<{tag}>", f"</{tag}>")
        return converter.close_inline

    return enter


def _between(before: str, after: str) -> Enter:
    """Text before and after the element."""

    def enter(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
        converter.inline.text(before)
        return lambda: converter.inline.text(after)

    return enter


def _enter_code(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    inline = converter.inline
    inline.open_code()
    return lambda: converter.inline.close_code()


def _enter_link(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    href = attributes.get("href")
    if not href or (converter.in_heading and href.startswith("#")):
        return converter.nothing
    address = converter.address(href)
    if not address:
        return converter.nothing
    if _touches_link(node):  # two buttons
        converter.inline.space()
    converter.inline.open("[", f"]({address})", repeat=False)
    return converter.close_inline


def _touches_link(node: LexborNode) -> bool:
    before, parent = node.prev, node.parent
    in_code = parent is not None and parent.tag == "code"
    return before is not None and before.tag == "a" and bool(before.text().strip()) and not in_code


def _enter_break(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    converter.inline.line_break()
    return None


def _enter_image(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    alt = " ".join((attributes.get("alt") or "").split())
    if _FILE.fullmatch(alt):  # as docutils has it for an image without a description
        return None
    address = converter.address(attributes.get("src"))
    if address and alt and "emoji" not in (attributes.get("class") or ""):
        converter.inline.image(alt, address)
    else:
        converter.inline.text(alt)
    return None


def _enter_frame(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    """A video or a frame of another site: a link with its title."""
    title = attributes.get("title") or attributes.get("aria-label")
    if not title:
        return None
    address = converter.address(attributes.get("src"))
    converter.inline.open("[" if address else "", f"]({address})" if address else "", repeat=False)
    converter.inline.text(title)
    converter.inline.close()
    return None


def _enter_input(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    is_box = attributes.get("type") == "checkbox"
    if is_box and converter.lists and converter.inline.is_empty and not converter.in_line:
        converter.inline.verbatim("[x]" if "checked" in attributes else "[ ]")
        converter.inline.space()
    return None


def _enter_pre(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    code = read_code(node)
    converter.flush()
    if not code.text.strip():
        return None
    if converter.in_line:
        for line in code.text.split("\n"):
            if line.strip():
                converter.inline.verbatim(code_span(line.strip()))
                converter.flush()
    else:
        converter.code_title = converter.code_title or code.title
        converter.write(fence(code.text, code.language, converter.take_code_title()))
    return None


def _enter_quote(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    converter.flush()
    if converter.in_line or not converter.writer.enter("> "):
        return converter.flush
    return converter.leave_container


def _enter_rule(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    converter.flush()
    if not converter.in_line and converter.writer.parts:
        converter.write("***")
    return None


def _enter_list(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    converter.flush()
    number = None
    mark = "-"
    if node.tag == "ol":
        start = (attributes.get("start") or "").strip()
        number = int(start) if start.isascii() and start.isdigit() and len(start) < 9 else 1
        mark = "."
    depth = converter.writer.depth
    if converter.closed_list == (depth, mark):
        mark = "*" if number is None else ")"
    joined = bool(converter.lists) and converter.lists[-1].tight and converter.writer.in_item
    tight = _is_tight(node)
    converter.lists.append(OpenList(mark, number, converter.writer, tight=tight, joined=joined))

    def leave() -> None:
        converter.flush()
        converter.lists.pop()
        converter.closed_list = depth, mark

    return leave


def _is_tight(node: LexborNode) -> bool:
    """Tell whether the first item of a list has no block except lists."""
    item = next((child for child in node.iter() if child.tag == "li"), None)
    return item is None or all(
        child.tag not in _BLOCKS or child.tag in _LISTS for child in item.iter()
    )


def _enter_item(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    converter.flush()
    if converter.in_line:
        converter.inline.begin_item()
        return converter.flush
    if not converter.lists:
        return converter.flush
    if not converter.lists[-1].enter_item():
        return converter.flush
    return converter.leave_container


def _enter_definition(
    converter: Converter, node: LexborNode, attributes: Attributes
) -> Leave | None:
    converter.flush()
    if converter.note:
        label, converter.note = converter.note, ""
        return enter_note_text(converter, node, label)
    if converter.in_line or not converter.has_term:
        return converter.flush
    if not converter.writer.enter(": ", tight=True):
        return converter.flush
    converter.has_term = False

    def leave() -> None:
        converter.leave_container()
        converter.has_term = True  # for the next definition of the same term

    return leave


def _enter_table(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    converter.flush()
    if converter.in_line:
        return converter.flush
    if is_layout(converter, node, attributes):
        converter.tables.append(None)
    else:
        converter.tables.append(Table())

    def leave() -> None:
        converter.flush()
        table = converter.tables.pop()
        if table and (markdown := table.markdown()):
            converter.write(markdown)

    return leave


def _enter_head(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    table = converter.tables[-1] if converter.tables else None
    if converter.in_line or table is None:
        return _enter_block(converter, node, attributes)

    def leave() -> None:
        table.head = table.head or len(table.rows)

    return leave


def _enter_row(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    table = converter.tables[-1] if converter.tables else None
    if converter.in_line or table is None:
        return _enter_block(converter, node, attributes)
    table.rows.append([])
    return converter.nothing


def _enter_cell(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    if converter.in_line:
        converter.inline.space()
        return lambda: converter.inline.space()
    table = converter.tables[-1] if converter.tables else None
    if table is None or not table.rows:
        return _enter_block(converter, node, attributes)
    columns = _span(attributes.get("colspan"), 1_000)
    rows = _span(attributes.get("rowspan"), 65_534)
    row = table.rows[-1]
    is_header = node.tag == "th"
    converter.begin_line("<br>")

    def leave() -> None:
        text = converter.end_line().replace("|", "\\|")
        row.append(Cell(text, columns, rows, is_header))

    return leave


def _span(value: str | None, limit: int) -> int:
    value = (value or "").strip()
    if not (value.isascii() and value.isdigit()) or len(value) > 6:
        return 1
    return min(max(int(value), 1), limit)


_ENTERS: Final[Mapping[str, Enter]] = {
    **dict.fromkeys(_BLOCKS, _enter_block),
    **dict.fromkeys(
        "-comment area audio button canvas datalist embed head link map meta noscript object rp "
        "select style svg template textarea title".split(),
        _skip,
    ),
    **dict.fromkeys(_HEADINGS.split(", "), _enter_heading),
    **dict.fromkeys(("section", "article"), _enter_section),
    **dict.fromkeys(("strong", "b"), _format("**")),
    **dict.fromkeys(("em", "i", "cite", "dfn", "var"), _format("*")),
    **dict.fromkeys(("del", "s", "strike"), _format("~~")),
    **dict.fromkeys(("code", "tt", "samp"), _enter_code),
    **dict.fromkeys(("pre", "listing", "xmp"), _enter_pre),
    **dict.fromkeys(_LISTS, _enter_list),
    **dict.fromkeys(("iframe", "video"), _enter_frame),
    **dict.fromkeys(("td", "th"), _enter_cell),
    "sub": _script("sub", _SUBSCRIPTS),
    "sup": _script("sup", _SUPERSCRIPTS),
    "q": _between("“", "”"),
    "rt": _between("(", ")"),
    "summary": _enter_summary,
    "a": _enter_link,
    "br": _enter_break,
    "img": _enter_image,
    "input": _enter_input,
    "blockquote": _enter_quote,
    "hr": _enter_rule,
    "li": _enter_item,
    "dl": enter_definitions,
    "dt": enter_term,
    "dd": _enter_definition,
    "table": _enter_table,
    "thead": _enter_head,
    "tr": _enter_row,
    "math": enter_formula,
    "script": _enter_script,
}
