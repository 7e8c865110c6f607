"""Walk the elements of a page and write its Markdown: what all kinds of elements share."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias
from urllib.parse import quote, urljoin

from selectolax.lexbor import LexborNode

from lib.html_blocks import Table, Writer
from lib.html_inline import Inline, at_line_starts, heading_text

Attributes: TypeAlias = Mapping[str, str | None]

Leave: TypeAlias = Callable[[], None]
"""Ends an element after its children."""
Enter: TypeAlias = Callable[["Converter", LexborNode, Attributes], Leave | None]
"""Begins an element, given its attributes. Returns None if its children are done."""

_MAX_PARAGRAPH: Final = 8_000
"""Characters without escapes: inline Markdown of more than 20,000 is read as plain text."""


class OpenList:
    """A list while its items are read."""

    def __init__(self, mark: str, number: int | None, writer: Writer, *, tight: bool, joined: bool):
        self.tight = tight
        """Whether its items follow each other without an empty line."""
        self._joined = joined
        """Whether the first one follows the text before it so."""
        self._mark = mark
        self._number = number
        self._writer = writer
        self._start = writer.size

    def enter_item(self) -> bool:
        """Begin an item; False if it would be nested too deep to be read."""
        number, tight = self._number, self.tight
        if self._writer.size == self._start:
            tight = self._joined and number in (None, 1)  # other numbers need an empty line
        if number is None:
            return self._writer.enter(f"{self._mark} ", tight=tight)
        self._number = number + 1
        return self._writer.enter(f"{number}{self._mark} ", tight=tight)


class Converter:
    """Walks an element without recursion.

    `enter` handles each element, by its classes or, as `enter_plain`, by its tag alone.
    """

    def __init__(self, url: str, enter: Enter, enter_plain: Enter) -> None:
        self.writer = Writer()
        self.inline = Inline()
        self.anchors: dict[int, str] = {}
        self.in_line = 0
        """How many elements are open whose text is one line: a heading, a cell, a term."""
        self.in_heading = False
        self.lists: list[OpenList] = []
        self.closed_list: tuple[int, str] | None = None
        """Depth and mark of the list that ends here; one beside it needs another mark."""
        self.tables: list[Table | None] = []
        """The open tables; None for one that only places its cells."""
        self.has_term = False
        """Whether the last block is the term of a definition."""
        self.level = 1
        """Level of the last heading of the text."""
        self.is_api: list[bool] = []
        """For each open definition list, whether it describes functions or classes."""
        self.api_levels = 0
        self.ids: list[str] = []
        """Ids of elements since the last block."""
        self.sections: list[str] = []
        """Ids of the open sections, empty for one that has its heading."""
        self.code_title = ""
        self.tab_label = ""
        """Titles for the next block: of code, and of the tab that consists of it."""
        self.labels: dict[int, str] = {}
        """Labels of the panels of tabs, by the node's `mem_id`."""
        self.labels_by_id: dict[str, str] = {}
        self.footnotes: dict[str, str] = {}
        """Labels of footnotes by the id of their text."""
        self.note = ""
        """Label of the footnote whose text is the next definition."""
        self.enter_plain = enter_plain
        self._enter = enter
        self._url = url
        self._addresses: dict[str, str] = {}
        self._inlines: list[Inline] = []

    def convert(self, root: LexborNode) -> None:
        stack: list[tuple[Iterator[LexborNode], Leave]] = [
            (root.iter(include_text=True), self.flush)
        ]
        enter, text = self._enter, self.text
        while stack:
            children, leave = stack[-1]
            for node in children:
                if node.is_text_node:
                    text(node.text_content or "")
                    continue
                after = enter(self, node, node.attributes)
                if after is not None:
                    stack.append((node.iter(include_text=True), after))
                    break
            else:
                stack.pop()
                leave()
        self.write_titles()

    def text(self, text: str) -> None:
        """Add text, in several paragraphs if it is long."""
        while len(text) > _MAX_PARAGRAPH and not self.in_line:
            end = text.rfind(" ", 0, _MAX_PARAGRAPH) + 1 or _MAX_PARAGRAPH
            self.inline.text(text[:end])
            self.flush()
            text = text[end:]
        self.inline.text(text)
        if self.inline.size > _MAX_PARAGRAPH and not self.in_line:
            self.flush()

    def flush(self) -> None:
        """End the paragraph."""
        if self.in_line:
            self.inline.line_break()
        elif text := self.inline.finish():
            self.write_text(text)

    def write_text(self, text: str) -> None:
        """Write a paragraph."""
        text = at_line_starts(text)
        # JSON at the start of a file is its front matter
        self.write(f"\\{text}" if text[0] == "{" and not self.writer.parts else text)

    def write(self, block: str, *, tight: bool = False) -> int:
        """Write a block; return the offset of its first line."""
        if self.code_title or self.tab_label:
            self.write_titles()
        self.closed_list = None
        self.has_term = False
        self.ids.clear()
        return self.writer.write(block, tight=tight)

    def take_code_title(self) -> str:
        """Return the title for a block of code; a tab's label has its own line beside another."""
        if self.code_title:
            title, self.code_title = self.code_title, ""
        else:
            title, self.tab_label = self.tab_label, ""
        return title.replace("`", "'").replace('"', "'")  # as the info of a fence cannot have them

    def write_titles(self) -> None:
        """Write the titles that wait for a block of code, as there is none."""
        titles = filter(None, (self.tab_label, self.code_title))
        self.tab_label = self.code_title = ""
        for title in titles:
            self.write_label(title)

    def write_label(self, label: str) -> None:
        """Write plain text in bold, as a paragraph."""
        inline = Inline()
        inline.open("**", "**")
        inline.text(label)
        if text := inline.finish():
            self.write_text(text)

    def write_heading(self, level: int, text: str, anchor: str) -> None:
        at = self.write(f"{'#' * level} {heading_text(text)}")
        if anchor:
            self.anchors[at] = anchor

    def begin_line(self, newline: str = " ") -> None:
        """Begin an element whose text is one line."""
        self.flush()
        self._inlines.append(self.inline)
        self.inline = Inline()
        self.inline.newline = newline
        self.in_line += 1

    def end_line(self) -> str:
        text = self.inline.finish()
        self.inline = self._inlines.pop()
        self.in_line -= 1
        return text

    def close_inline(self) -> None:
        self.inline.close()

    def begin_label(self) -> Leave:
        """Begin a paragraph in bold."""
        self.flush()
        self.inline.open("**", "**")
        return self._end_label

    def _end_label(self) -> None:
        self.inline.close()
        self.flush()

    def leave_container(self) -> None:
        self.flush()
        self.writer.leave()

    def nothing(self) -> None:
        """End an element that needs nothing."""

    def address(self, href: str | None) -> str:
        """Return the absolute address of a link; empty for one that leads nowhere."""
        if href is None:
            return ""
        if href not in self._addresses:
            self._addresses[href] = _absolute(href, self._url)
        return self._addresses[href]


_CONTROLS: Final = re.compile("[\x00-\x1f\x7f]")
_UNSAFE: Final = re.compile(r"[\s()<>\\`|\"]")
_ENTITY: Final = re.compile(r"&(?=#?\w{1,31};)")
_WEB: Final = ("http://", "https://")


def _absolute(href: str, url: str) -> str:
    href = _CONTROLS.sub("", href).strip()
    if not href.startswith(_WEB):
        try:
            href = urljoin(url, href)
        except ValueError:
            return ""
        if not href.startswith((*_WEB, "mailto:")):
            return ""
    href = _UNSAFE.sub(lambda found: quote(found[0], safe=""), href)
    return _ENTITY.sub("&amp;", href)


def shown(node: LexborNode) -> str:
    """Return the text of an element in one line."""
    return " ".join(node.text().split())
