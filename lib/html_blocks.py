"""Write blocks of Markdown in quotes, list items and definitions, and tables."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

_MAX_DEPTH: Final = 10
"""Containers in each other. `lib.markdown` reads 24 levels, of which a list has two."""


class _Container(NamedTuple):
    marker: str
    tight: bool


class Writer:
    """The lines of a page. Blocks are separated by an empty line."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.size = 0
        self._containers: list[_Container] = []
        self._used = 0
        """How many of the containers have text."""
        self._prefixes = [""]
        """Start of a line in the outermost containers, by their number."""

    @property
    def depth(self) -> int:
        return len(self._containers)

    @property
    def in_item(self) -> bool:
        """Whether the innermost container has text."""
        return 0 < self._used == len(self._containers)

    def enter(self, marker: str, *, weight: int = 2, tight: bool = False, below: str = "") -> bool:
        """Begin a quote, item or definition. False if it would be nested too deep to be read.

        Its first line begins with `marker`, the others with `below`. It follows the line before it
        without an empty line if it is `tight`.
        """
        if len(self._containers) == _MAX_DEPTH:
            return False
        self._containers.append(_Container(marker, tight))
        below = below or (marker if marker.startswith(">") else " " * len(marker))
        self._prefixes.append(self._prefixes[-1] + below)
        return True

    def leave(self) -> None:
        self._containers.pop()
        self._prefixes.pop()
        self._used = min(self._used, len(self._containers))

    def write(self, block: str, *, tight: bool = False) -> int:
        """Write a block; return the offset of its first line."""
        prefix = self._prefixes[self._used]
        if self.parts:
            tight = tight or (
                self._used < len(self._containers) and self._containers[self._used].tight
            )
            self._add("\n" if tight else f"\n{prefix.rstrip()}\n")
        start = self.size
        self._add(prefix + "".join(each.marker for each in self._containers[self._used :]))
        self._used = len(self._containers)
        below = self._prefixes[-1]
        if below and "\n" in block:
            first, *lines = block.split("\n")
            bare = below.rstrip()
            block = "\n".join([first, *(below + line if line else bare for line in lines)])
        self._add(block)
        return start

    def _add(self, text: str) -> None:
        self.parts.append(text)
        self.size += len(text)


class Cell(NamedTuple):
    text: str
    columns: int
    rows: int
    is_header: bool


@dataclass
class Table:
    """A table while its cells are read."""

    rows: list[list[Cell]] = field(default_factory=list)
    head: int = 0
    """How many of the first rows are in its `thead`."""

    def markdown(self) -> str:
        """Return the table; it has an empty header if no row is one."""
        grid = list(_grid(self.rows))
        if not grid:
            return ""
        head = self.head
        if not head and all(cell.is_header for cell in self.rows[0]):
            head = 1
        width = max(map(len, grid))
        header = [""] * width
        for row in grid[:head]:
            for place, text in enumerate(row):
                if text and text != header[place]:
                    header[place] = f"{header[place]} {text}".lstrip()
        return "\n".join(map(_line, [header, ["---"] * width, *grid[head:]]))


_MAX_REPEATED: Final = 200


def _grid(rows: Sequence[Sequence[Cell]]) -> Iterator[list[str]]:
    """Yield the texts of each row by column.

    A text stands in each of its rows if it is short, and only in the first of its columns. Cells
    that are added are limited: a cell may claim 65,534 rows of 1,000 columns.
    """
    left = 1_000 + 2 * sum(map(len, rows))
    above: dict[int, tuple[int, str]] = {}
    """By column: how many rows a cell of a row above still fills, and with what."""
    for row in rows:
        texts: list[str] = []
        below: dict[int, tuple[int, str]] = {}
        for cell in row:
            _fill(texts, above, below)
            columns = min(cell.columns, 1 + max(left, 0))
            left -= columns - 1
            for place in range(columns):
                text = "" if place else cell.text
                if cell.rows > 1 and left > 0:
                    kept = text if len(text) <= _MAX_REPEATED else ""
                    below[len(texts)] = cell.rows - 1, kept
                texts.append(text)
        for column in sorted(above):
            if column >= len(texts):
                texts += [""] * (column - len(texts))
                _fill(texts, above, below)
        left -= len(below)
        above = below if left > 0 else {}
        if any(texts):
            yield texts


def _fill(
    texts: list[str], above: dict[int, tuple[int, str]], below: dict[int, tuple[int, str]]
) -> None:
    """Add the cells that come down from the rows above."""
    while (column := len(texts)) in above:
        rows, text = above.pop(column)
        if rows > 1:
            below[column] = rows - 1, text
        texts.append(text)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
