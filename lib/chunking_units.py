"""Blocks as the units that chunks are packed of.

A block that fits in a chunk is one unit. One that is over the budget is cut where its kind allows:
a list between items, a table between rows, code between lines, a paragraph between sentences. A
cut table repeats its header in what is embedded, cut code the language of its fence.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from lib.cutting import CountTokens, line_end, line_pieces, next_line, text_pieces, trimmed
from lib.markdown import Block, Page, fence, html_text, plain_text, render

Include: TypeAlias = Callable[[Block], str | None]
Kind: TypeAlias = Literal["prose", "code", "table"]


@dataclass(frozen=True, slots=True)
class Unit:
    """Something the packing does not cut."""

    start: int
    end: int
    clean: str
    cost: int
    """Tokens of `clean`."""
    raw: int
    """Tokens of the slice."""
    kind: Kind = "prose"
    language: str = ""
    heading: int | None = None
    keep_with_next: bool = False
    closes: bool = False
    """A closing tag or fence: shows nothing, but reads better at its content's end."""


def is_bare(unit: Unit) -> bool:
    """Whether there is nothing in it to stand under a heading."""
    return unit.heading is not None or not unit.clean


_CLOSER: Final = re.compile(r"[ \t]*(?:</|:{3,}[ \t]*$|/{3,}[ \t]*$)")


class UnitMaker:
    """Makes the units of one page."""

    def __init__(
        self, text: str, page: Page, budget: int, count: CountTokens, include: Include | None
    ) -> None:
        self.text = text
        self.page = page
        self.budget = budget
        self.count = count
        self.include = include

    def units(self, block: Block, room: int) -> Iterable[Unit]:
        """A block as one unit if it fits in `room`, else as several."""
        unit = self._unit(block)
        if (unit.cost <= room and unit.raw <= self.budget) or not unit.clean:
            yield unit
        else:
            yield from self._split(block, unit, room)

    def _unit(self, block: Block) -> Unit:
        source = self.text[block.start : block.end]
        clean = render(block, self.include).strip()
        raw = self.count(source)
        kind: Kind = "prose"
        if block.kind == "code":
            kind = "code"
        elif block.kind in ("table", "row"):
            kind = "table"
        return Unit(
            block.start,
            block.end,
            clean,
            0 if not clean else raw if clean == source else self.count(clean),
            raw,
            kind,
            block.language,
            block.heading,
            block.heading is not None
            or (block.kind == "marker" and bool(clean))
            or (block.kind == "paragraph" and clean.endswith((":", "："))),
            block.kind == "marker" and not clean and _CLOSER.match(source) is not None,
        )

    def _split(self, block: Block, unit: Unit, room: int) -> Iterable[Unit]:
        if block.kind == "table" and block.children:
            yield from self._split_table(block, room)
        elif block.children:
            if block.text:
                end = line_end(self.text, block.start)
                yield from self._split_markup(block.start, end, block.text, room)
            for child in block.children:
                yield from self.units(child, room)
        elif block.kind == "code":
            yield from self._split_code(block, room)
        elif self.include is not None and self.include(block) is not None:
            # An included file: its pieces all stand for the one line that includes it.
            for piece in text_pieces(unit.clean, min(room, self.budget), self.count):
                yield self._slice(block.start, block.end, unit.clean[piece])
        elif block.kind in ("marker", "expression"):
            yield from self._split_markup(block.start, block.end, unit.clean, room)
        elif block.kind in ("paragraph", "heading"):
            for part in self._split_text(block.start, block.end, room):
                yield replace(part, heading=unit.heading)
        else:
            for piece in text_pieces(
                self.text[block.start : block.end], min(room, self.budget), self.count
            ):
                start, end = block.start + piece.start, block.start + piece.stop
                source = self.text[start:end]
                clean = html_text(source) if block.kind == "html" else source.strip()
                yield self._slice(start, end, clean, unit.kind)

    def _slice(
        self,
        start: int,
        end: int,
        clean: str,
        kind: Kind = "prose",
        *,
        keep_with_next: bool = False,
    ) -> Unit:
        raw = self.count(self.text[start:end])
        return Unit(start, end, clean, self.count(clean), raw, kind, keep_with_next=keep_with_next)

    def _split_table(self, block: Block, room: int) -> Iterable[Unit]:
        """Cut between rows; every piece shows the header, if there is room for it. A row that is
        over the budget alone is cut like a text."""
        header, *rows = block.children
        top = trimmed(self.text, block.start, rows[0].start if rows else block.end)
        top_raw = self.count(self.text[top])
        head_cost = self.count(header.text) + 1
        head = f"{header.text}\n" if head_cost <= room // 3 else ""
        head_cost = head_cost if head else 0
        if not head and (top_raw > self.budget or self.count(header.text) > room):
            yield from self._split_text(top.start, top.stop, room)
            top = slice(top.stop, top.stop)

        # The header's own lines wait for the first rows and go alone if they don't fit together.
        start, raw, cost = top.start, top_raw, head_cost
        group: list[Block] = []

        def flush() -> Iterable[Unit]:
            nonlocal top
            if group:
                shown = head + "\n".join(row.text for row in group)
                if not head and start == top.start:
                    shown = f"{header.text}\n{shown}"
                yield self._slice(start, group[-1].end, shown, "table")
            elif top.stop > top.start:
                yield self._slice(top.start, max(header.end, top.start), header.text, "table")
            group.clear()
            top = slice(block.end, block.end)

        for row in rows:
            row_cost = self.count(row.text) + 1
            row_raw = self.count(self.text[row.start : row.end]) + 1
            if row_cost + head_cost > room or row_raw > self.budget:
                yield from flush()
                for part in self._split_text(row.start, row.end, room - head_cost):
                    yield replace(
                        part, clean=head + part.clean, cost=part.cost + head_cost, kind="table"
                    )
                continue
            if (group or top.stop > top.start) and (
                cost + row_cost > room or raw + row_raw > self.budget
            ):
                yield from flush()
            if not group and top.start == top.stop:
                start, raw, cost = row.start, 0, head_cost
            group.append(row)
            cost, raw = cost + row_cost, raw + row_raw
        yield from flush()

    def _split_markup(self, begin: int, stop: int, shown: str, room: int) -> Iterable[Unit]:
        """Tags or the like of which a reader sees only `shown`: it stands for their first piece,
        and the others can be left off."""
        first, *_ = text_pieces(self.text[begin:stop], self.budget, self.count)
        fits = self.count(shown) <= room
        for piece in (
            [slice(0, len(shown))]
            if fits
            else text_pieces(shown, min(room, self.budget), self.count)
        ):
            yield self._slice(
                begin + first.start, begin + first.stop, shown[piece], keep_with_next=True
            )

    def _split_text(self, begin: int, stop: int, room: int) -> Iterable[Unit]:
        """Inline Markdown cut between sentences."""
        for piece in text_pieces(self.text[begin:stop], min(room, self.budget), self.count):
            start, end = begin + piece.start, begin + piece.stop
            clean = plain_text(self.text[start:end], self.page).strip()
            yield self._slice(start, end, clean)

    def _split_code(self, block: Block, room: int) -> Iterable[Unit]:
        """Cut between lines, rather where an empty line or one at the margin begins anew. The
        fence's own lines go with the first and the last piece."""
        included = self.include(block) if self.include is not None else None
        wrap = self.count(fence("", block.language)) + (
            self.count(block.title) if block.title else 0
        )
        code = (included if included is not None else block.text).rstrip("\n")
        lines = code.split("\n")
        counted: Sequence[str] = lines
        starts: list[int] = []
        top = block.start
        if included is None:
            # Counted as they stand in the file: with the indentation of the list they are in.
            counted = []
            opening = self.count(self.text[top : block.body]) + 2
            if opening > self.budget // 2:  # a fence's line so long leaves no room for its code
                top = min(block.body, block.end)
                opening = 2
            wrap = max(wrap, opening)
            at = block.body
            for _ in lines:
                at = min(at, block.end)
                starts.append(at)
                end = min(line_end(self.text, at), block.end)
                counted.append(self.text[at:end])
                at = next_line(self.text, at)
        limit = max(room - wrap - 1, 8)
        pieces = line_pieces(counted, limit, self.count)
        for number, (first, last) in enumerate(pieces):
            code = "\n".join(lines[first:last])
            if not code.strip():
                continue
            shown = fence(code, block.language)
            if number == 0 and block.title:
                shown = f"{block.title}\n{shown}"
            if included is not None:
                start, end = block.start, block.end
            else:
                start = top if number == 0 else starts[first]
                end = block.end if last == len(lines) else line_end(self.text, starts[last - 1])
            part = self._slice(start, max(start, end), shown, "code")
            part = replace(part, language=block.language)
            if (part.cost > room or part.raw > self.budget) and last - first == 1:
                yield from self._split_line(
                    part, code, block.language, room, wrap, included is None
                )
            else:
                yield part

    def _split_line(
        self, line: Unit, code: str, language: str, room: int, wrap: int, sliced: bool
    ) -> Iterable[Unit]:
        """A single line of code over the budget: data, or a minified script."""
        limit = max(room - wrap - 1, 8)
        source = self.text[line.start : line.end] if sliced else code
        for piece in text_pieces(source, min(limit, self.budget), self.count):
            shown = fence(source[piece].strip().strip("`~"), language)
            start, end = (
                (line.start + piece.start, line.start + piece.stop)
                if sliced
                else (line.start, line.end)
            )
            yield replace(self._slice(start, end, shown, "code"), language=language)
