"""Blocks as the units that chunks are packed of.

A block that fits in a chunk is one unit. One that is over the budget is cut where its kind allows:
a list between items, a table between rows, code between lines, a paragraph between sentences. A
cut table repeats its header in what is embedded, cut code the language of its fence.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from lib.cutting import Piece, line_end, line_pieces, line_spans, text_pieces, trimmed
from lib.markdown import plain_text
from lib.markdown_page import Block, Page, fence, render
from lib.tags import html_text
from lib.tokens import CountTokens

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


def _kind(block: Block) -> Kind:
    if block.kind == "code":
        return "code"
    return "table" if block.kind in ("table", "row") else "prose"


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
        source = self.text[block.start : block.end]
        clean = render(block, self.include).strip()
        cost = self.count(clean)
        if cost > room:
            yield from self._split(block, clean, cost, room)
            return
        raw = cost if clean == source else self.count(source)
        if raw > self.budget and clean:
            yield from self._split(block, clean, cost, room)
            return
        yield Unit(
            block.start,
            block.end,
            clean,
            cost,
            raw,
            _kind(block),
            block.language,
            block.heading,
            block.heading is not None
            or (block.kind == "marker" and bool(clean))
            or (block.kind == "paragraph" and clean.endswith((":", "："))),
            block.kind == "marker" and not clean and _CLOSER.match(source) is not None,
        )

    def _split(self, block: Block, clean: str, cost: int, room: int) -> Iterable[Unit]:
        if block.kind == "table" and block.children:
            yield from self._split_table(block, room)
        elif block.children:
            if block.text:
                end = line_end(self.text, block.start)
                yield from self._split_markup(block.start, end, block.text, room)
            for child in block.children:
                yield from self.units(child, room)
        elif block.kind == "code":
            yield from self._split_code(block, cost, room)
        elif self.include is not None and self.include(block) is not None:
            # An included file: its pieces all stand for the one line that includes it.
            for piece in self._pieces(clean, room, cost):
                yield self._slice(block.start, block.end, clean[piece.start : piece.stop])
        elif block.kind in ("marker", "expression"):
            yield from self._split_markup(block.start, block.end, clean, room)
        elif block.kind in ("paragraph", "heading"):
            known = cost if clean == self.text[block.start : block.end] else None
            yield from self._split_text(block.start, block.end, room, known, heading=block.heading)
        else:
            for piece in self._pieces(self.text[block.start : block.end], room):
                start, end = block.start + piece.start, block.start + piece.stop
                source = self.text[start:end]
                shown = html_text(source) if block.kind == "html" else source.strip()
                yield self._slice(start, end, shown, _kind(block), raw=piece.cost)

    def _pieces(self, source: str, room: int, cost: int | None = None) -> Iterator[Piece]:
        return text_pieces(source, max(8, min(room, self.budget) - 1), self.count, cost)

    def _slice(
        self,
        start: int,
        end: int,
        clean: str,
        kind: Kind = "prose",
        *,
        raw: int | None = None,
        heading: int | None = None,
        keep_with_next: bool = False,
    ) -> Unit:
        """The unit of a slice that shows `clean`; `raw` if the slice has been counted."""
        source = self.text[start:end]
        if raw is None:
            raw = self.count(source)
        cost = raw if clean == source else self.count(clean)
        return Unit(start, end, clean, cost, raw, kind, "", heading, keep_with_next)

    def _split_table(self, block: Block, room: int) -> Iterable[Unit]:
        """Cut between rows; every piece shows the header, if there is room for it. A row that is
        over the budget alone is cut like a text."""
        header, *rows = block.children
        top = slice(*trimmed(self.text, block.start, rows[0].start if rows else block.end))
        top_raw = self.count(self.text[top.start : top.stop])
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
        first = next(text_pieces(self.text[begin:stop], self.budget, self.count))
        start, end = begin + first.start, begin + first.stop
        if self.count(shown) <= room:
            yield self._slice(start, end, shown, raw=first.cost, keep_with_next=True)
            return
        for piece in self._pieces(shown, room):
            part = shown[piece.start : piece.stop]
            yield self._slice(start, end, part, raw=first.cost, keep_with_next=True)

    def _split_text(
        self,
        begin: int,
        stop: int,
        room: int,
        plain_cost: int | None = None,
        *,
        heading: int | None = None,
    ) -> Iterable[Unit]:
        """Inline Markdown cut between sentences; `plain_cost` is what it costs if it is known to
        read as it is written."""
        for piece in self._pieces(self.text[begin:stop], room, plain_cost):
            start, end = begin + piece.start, begin + piece.stop
            source = self.text[start:end]
            clean = source if plain_cost is not None else plain_text(source, self.page)
            yield self._slice(start, end, clean.strip(), raw=piece.cost, heading=heading)

    def _split_code(self, block: Block, cost: int, room: int) -> Iterable[Unit]:
        """Cut between lines, rather where an empty line or one at the margin begins anew. The
        fence's own lines go with the first and the last piece."""
        included = self.include(block) if self.include is not None else None
        language = block.language
        fences = self.count(fence("", language))
        wrap = fences + (self.count(block.title) if block.title else 0)
        code = (included if included is not None else block.text).rstrip("\n")
        lines = counted = code.split("\n")
        spans: list[tuple[int, int]] = []
        top = block.start
        if included is None:
            opening = self.count(self.text[top : block.body]) + 2
            body = min(block.body, block.end)
            if opening > self.budget // 2:  # a fence's line so long leaves no room for its code
                top = body
                opening = 2
            wrap = max(wrap, opening)
            spans = line_spans(self.text, body, block.end)[: len(lines)]
            spans += [(block.end, block.end)] * (len(lines) - len(spans))
            if not self.text.startswith(code, body):
                # Counted as it stands in the file: with the indentation of the list it is in.
                counted = [self.text[start:end] for start, end in spans]
        for piece in line_pieces(counted, max(room - wrap - 1, 8), self.count, cost):
            code = "\n".join(lines[piece.start : piece.stop])
            if not code.strip():
                continue
            shown = fence(code, language)
            if piece.start == 0 and block.title:
                shown = f"{block.title}\n{shown}"
            start, end = block.start, block.end
            if included is None:
                start = spans[piece.start][0] if piece.start else top
                end = spans[piece.stop - 1][1] if piece.stop < len(lines) else block.end
                end = max(start, end)
            source = self.text[start:end]
            raw = piece.cost if source == code else self.count(source)
            part_cost = (
                piece.cost + fences if counted is lines and piece.start else self.count(shown)
            )
            if piece.stop - piece.start == 1 and (part_cost > room or raw > self.budget):
                yield from self._split_line(start, end, code, language, room - wrap, included)
            else:
                yield Unit(start, end, shown, part_cost, raw, "code", language)

    def _split_line(
        self, start: int, end: int, code: str, language: str, room: int, included: str | None
    ) -> Iterable[Unit]:
        """A single line of code over the budget: data, or a minified script."""
        source = self.text[start:end] if included is None else code
        for piece in self._pieces(source, room - 1):
            part = source[piece.start : piece.stop]
            shown = fence(part.strip().strip("`~"), language)
            if included is None:
                unit = self._slice(
                    start + piece.start, start + piece.stop, shown, "code", raw=piece.cost
                )
            else:
                unit = self._slice(start, end, shown, "code")
            yield replace(unit, language=language)
